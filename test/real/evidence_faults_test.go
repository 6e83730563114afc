//go:build unix

package real

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// long skips what takes minutes unless real servers were asked for.
func long(t testing.TB) {
	t.Helper()
	if os.Getenv("PROVISO_TOOLS") == "" {
		t.Skip("takes minutes: run `make real`, or set PROVISO_TOOLS")
	}
}

func needsStrace(t testing.TB) {
	t.Helper()
	long(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace: ", err)
	}
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %s", out)
	}
}

// calls are the system calls that writing rests on; durable are those of them that a record's durability rests on.
var calls, durable = []string{"pwrite64", "write", "fsync", "renameat,renameat2,rename", "openat", "ftruncate", "mkdirat", "unlinkat", "close", "flock,fcntl", "fstat,newfstatat"},
	[]string{"pwrite64", "fsync", "renameat,renameat2,rename"}

// injections runs a child for each call with the N-th of it hindered, for N from 1 until it is hindered no more. strace
// counts the calls of each thread, so the same N hits another call each time.
func injections(t *testing.T, kind string, calls []string, each func(t *testing.T, h *hindered, inject []string) bool) {
	for _, call := range calls {
		t.Run(strings.ReplaceAll(call, ",", "+"), func(t *testing.T) {
			t.Parallel()
			var h hindered
			hits, misses := 0, 0
			for n := 1; n <= 150 && misses < 3 && !t.Failed(); n++ {
				if each(t, &h, []string{"-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, kind, n)}) {
					hits++
					misses = 0
				} else {
					misses++
				}
			}
			t.Logf("%d times", hits)
			if hits == 0 && slices.Contains(durable, call) {
				t.Error("it was never hindered")
			}
		})
	}
}

// hindered is the folder that the children of one test write to, one after another, or one for each.
type hindered struct {
	dir   string
	fresh bool
	n     int
}

func (h *hindered) folder(t *testing.T) string {
	t.Helper()
	if h.n++; h.dir == "" {
		h.dir = t.TempDir()
	}
	if !h.fresh {
		h.n = 0
	}
	dir := filepath.Join(h.dir, fmt.Sprint("evidence", h.n))
	if _, err := evidenceKeyOf(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Killed at every system call, in a folder that grows and in one that is being founded: nothing acknowledged is lost, and the
// next run goes on (EVD-06).
func TestRealEvidenceKilledAtEveryCall(t *testing.T) {
	needsStrace(t)
	for _, c := range []struct {
		mode  string
		fresh bool
		calls []string
	}{{producer.Strict, false, calls}, {producer.Strict, true, durable}, {producer.Batch, false, durable}} {
		t.Run(fmt.Sprintf("%s fresh=%t", c.mode, c.fresh), func(t *testing.T) {
			injections(t, "signal=KILL", c.calls, func(t *testing.T, h *hindered, inject []string) bool {
				h.fresh = c.fresh
				dir := h.folder(t)
				var out bytes.Buffer
				cmd := child(t, dir, c.mode, 3, 2, inject...)
				cmd.Stdout = &out
				err := cmd.Run()
				acknowledged := acks(out.Bytes())
				if c.mode == producer.Batch && err != nil {
					acknowledged = nil // it may lose a tenth of a second
				}
				taken(t, dir, acknowledged)
				return err != nil
			})
		})
	}
}

// An error of each call, once: the writer goes on, or says that it cannot; it never acknowledges what it loses, and never
// trusts a handle whose fsync failed (F12).
func TestRealEvidenceErrorsOfTheDisk(t *testing.T) {
	needsStrace(t)
	for _, kind := range []string{"error=EIO", "error=ENOSPC"} {
		t.Run(kind, func(t *testing.T) {
			injections(t, kind, append([]string{"ftruncate"}, durable...), func(t *testing.T, h *hindered, inject []string) bool {
				dir := h.folder(t)
				var out, said bytes.Buffer
				cmd := child(t, dir, producer.Strict, 3, 2, inject...)
				cmd.Stdout, cmd.Stderr = &out, &said
				err := cmd.Run()
				if err != nil && cmd.ProcessState.ExitCode() != cleanEnd {
					t.Errorf("%s: it ended with %v: %s", inject[3], err, said.String())
				}
				taken(t, dir, acks(out.Bytes()))
				return said.Len() > 0
			})
		})
	}
}

// Killed at random under load, again and again: one folder, one chain.
func TestRealEvidenceKilledUnderLoad(t *testing.T) {
	long(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	acknowledged := map[uint64]string{}
	for n := range 50 {
		var out bytes.Buffer
		cmd := child(t, dir, producer.Strict, unending, 32)
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(50+mathrand.IntN(1000))*time.Millisecond, func() { cmd.Process.Kill() })
		cmd.Wait()
		if n%5 == 0 {
			asLeft(t, dir)
		}
		for seq, digest := range acks(out.Bytes()) {
			if before, there := acknowledged[seq]; there && before != digest {
				t.Fatalf("record %d was acknowledged twice: a fork", seq)
			}
			acknowledged[seq] = digest
		}
	}
	t.Logf("%d records were acknowledged", len(acknowledged))
	if len(acknowledged) < 1000 {
		t.Errorf("only %d records were acknowledged", len(acknowledged))
	}
	taken(t, dir, acknowledged)
}

func TestRealEvidenceTwoProcesses(t *testing.T) {
	long(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	cmd := child(t, dir, producer.Strict, unending, 1)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go in.WriteTo(&bytes.Buffer{})
	for began := time.Now(); asLeft(t, dir) < 1500 && !t.Failed(); {
		if time.Since(began) > time.Minute {
			t.Fatal("it does not go on")
		}
	}
	for _, frozen := range []bool{false, true} {
		// A frozen writer still has the lock: nobody takes it over and forks the log.
		if frozen {
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		_, err := openEvidence(dir, producer.Strict, nil)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d is writing to it", cmd.Process.Pid)) {
			t.Errorf("second writer, frozen %t: %v", frozen, err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	taken(t, dir, nil)
}

// fileSystem mounts one of 32 MiB.
func fileSystem(t *testing.T, kind string) string {
	t.Helper()
	long(t)
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system")
	}
	dir := t.TempDir()
	args := []string{"-t", "tmpfs", "-o", "size=32m", "tmpfs", dir}
	if kind == "ext4" {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 32<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
			t.Skipf("make an ext4 of 32 MiB: %v: %s", err, out)
		}
		args = []string{"-o", "loop", image, dir}
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("mount %s: %v: %s", kind, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// A disk that fills up while records come, and is freed again (F10).
func TestRealEvidenceFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		for _, mode := range []string{producer.Strict, producer.Blocking, producer.Batch} {
			for _, freed := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s %s freed=%t", kind, mode, freed), func(t *testing.T) {
					root := fileSystem(t, kind)
					dir := filepath.Join(root, "evidence")
					var mu sync.Mutex
					var troubles []error
					w, err := openEvidence(dir, mode, func(err error) {
						mu.Lock()
						troubles = append(troubles, err)
						mu.Unlock()
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					t.Cleanup(func() {
						w.Close(ctx, "stopped")
						cancel()
					})
					seq, pack, err := enforce(w)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(root, "ballast"), make([]byte, 20<<20), 0o600); err != nil {
						t.Fatal(err)
					}
					acknowledged, asked, refused := map[uint64]string{}, 0, 0
					ask := func(n int) (failed int) {
						var some sync.WaitGroup
						for i := range n {
							some.Go(func() {
								rec, in := judged(fmt.Sprint(asked+i), seq, pack)
								a, err := w.Append(t.Context(), rec, in)
								mu.Lock()
								defer mu.Unlock()
								switch {
								case err == nil:
									acknowledged[a.Seq] = string(a.Digest)
								case mode == producer.Strict && errors.Is(err, syscall.ENOSPC), mode != producer.Strict && errors.Is(err, producer.ErrUnrecorded):
									failed++
								default:
									t.Errorf("append: %v", err)
								}
							})
						}
						some.Wait()
						asked += n
						return failed
					}
					for (refused == 0 || !errors.Is(w.Stats().Trouble, syscall.ENOSPC)) && asked < 200000 {
						refused += ask(64)
					}
					if refused == 0 {
						t.Fatalf("none of %d refused", asked)
					}
					if freed {
						if err := os.Remove(filepath.Join(root, "ballast")); err != nil {
							t.Fatal(err)
						}
						deadline := time.Now().Add(time.Minute)
						for ask(1) > 0 {
							refused++
							if time.Now().After(deadline) {
								t.Fatal("space returned, and nothing is recorded")
							}
						}
						// A slow disk may for a while take longer than blocking waits.
						for n := ask(64); n > 0; n = ask(64) {
							refused += n
							if mode != producer.Blocking || time.Now().After(deadline) {
								t.Fatalf("%d refused after space returned", n)
							}
						}
					}
					if err := w.Close(ctx, "stopped"); err != nil {
						t.Fatalf("close: %v; troubles: %v", err, troubles)
					}
					v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
					if err != nil {
						t.Fatal(err)
					}
					for _, p := range v.Problems {
						t.Errorf("verify: %s: %s", p.Code, p)
					}
					// Some gave up while their record was written: it is there, and a gap says that it is not what was answered.
					gaps, twice := uint64(0), uint64(0)
					for _, h := range v.Holes {
						var n uint64
						if h.Code == evidence.DeclaredGap {
							fmt.Sscanf(h.Text, "%d requests", &n)
							gaps += n
							if strings.Contains(h.Text, "answered without its record") {
								twice += n
							}
						}
					}
					if v.Counts.Decisions+gaps-twice != uint64(asked) || gaps < uint64(refused) || mode != producer.Batch && gaps > uint64(refused) {
						t.Errorf("%d asked, %d refused: %d recorded, %d in gaps, %d in both", asked, refused, v.Counts.Decisions, gaps, twice)
					}
					if mode != producer.Batch || freed {
						found := linesOf(t, dir)
						for seq, digest := range acknowledged {
							if found[seq] != digest {
								t.Errorf("record %d was acknowledged and is not there", seq)
							}
						}
					}
				})
			}
		}
	}
}
