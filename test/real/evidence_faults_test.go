//go:build unix

package real

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// What the child of these suites is told: the folder, its mode, how many records, and by how many at once.
const (
	childFolder = "PROVISO_TEST_EVIDENCE"
	childMode   = "PROVISO_TEST_EVIDENCE_MODE"
	childCount  = "PROVISO_TEST_EVIDENCE_COUNT"
	childAtOnce = "PROVISO_TEST_EVIDENCE_AT_ONCE"
)

// cleanEnd is the exit code of a child that could not write and said so.
const cleanEnd = 3

// evidenceKey is the key of a folder, kept beside it for the children.
type evidenceKey struct{ *ecdsa.PrivateKey }

func (k evidenceKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return k.PrivateKey.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k evidenceKey) Public() crypto.PublicKey { return k.PrivateKey.Public() }

func evidenceKeyOf(dir string) (evidenceKey, error) {
	name := filepath.Clean(dir) + ".key"
	der, err := os.ReadFile(name)
	if err == nil {
		k, err := x509.ParseECPrivateKey(der)
		return evidenceKey{k}, err
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		der, err = x509.MarshalECPrivateKey(k)
	}
	if err == nil {
		err = os.WriteFile(name, der, 0o600)
	}
	return evidenceKey{k}, err
}

func openEvidence(dir, mode string, trouble func(error)) (*producer.Writer, error) {
	k, err := evidenceKeyOf(dir)
	if err != nil {
		return nil, err
	}
	return producer.Open(context.Background(), dir, producer.Options{Signer: k, Kind: "admission", Mode: mode, Wait: 300 * time.Millisecond, Run: fmt.Sprint("run of ", os.Getpid()),
		Engine: evidence.Engine{Version: "test"}, OnTrouble: trouble})
}

// judged is a decision and its input.
func judged(n string, activation uint64, pack evidence.Activation) (evidence.Record, evidence.Input) {
	in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: n, Object: map[string]any{"n": n, "text": strings.Repeat("text ", 30)}}
	raw, err := evidence.Encode(in)
	if err != nil {
		panic(err) // strings have an encoding
	}
	return evidence.Record{Decision: &evidence.Decision{Event: n, Source: "admission", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: n}, Input: evidence.DigestOf(raw),
		Activation: activation, PolicySet: pack.PolicySet, Results: []evidence.Result{{Policy: "a/b", Verdict: "pass"}}}}, in
}

// enforce puts policies into force.
func enforce(w *producer.Writer) (uint64, evidence.Activation, error) {
	pack, err := w.Object(strings.NewReader("the policies"))
	if err != nil {
		return 0, evidence.Activation{}, err
	}
	a := evidence.Activation{PolicySet: pack, Pack: pack, Mode: "deny", Unknown: "deny"}
	at, err := w.Append(context.Background(), evidence.Record{Activation: &a})
	return at.Seq, a, err
}

// TestRealEvidenceChild is the process that the suites below kill and hinder: it appends, and says what was acknowledged.
func TestRealEvidenceChild(t *testing.T) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		t.Skip("it is a child of the other suites")
	}
	if err := appendAndSay(dir); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(cleanEnd)
	}
}

func appendAndSay(dir string) error {
	w, err := openEvidence(dir, os.Getenv(childMode), func(err error) { fmt.Fprintln(os.Stderr, "child: trouble:", err) })
	if err != nil {
		return err
	}
	fmt.Println("open")
	seq, pack, err := enforce(w)
	if err != nil {
		return errors.Join(err, w.Close(context.Background(), "cannot write"))
	}
	count, _ := strconv.Atoi(os.Getenv(childCount))
	many, _ := strconv.Atoi(os.Getenv(childAtOnce))
	var all sync.WaitGroup
	for worker := range many {
		all.Go(func() {
			for n := range count {
				rec, in := judged(fmt.Sprint(os.Getpid(), "-", worker, "-", n), seq, pack)
				if a, err := w.Append(context.Background(), rec, in); err == nil {
					fmt.Printf("ack %d %s\n", a.Seq, a.Digest)
				}
			}
		})
	}
	all.Wait()
	return w.Close(context.Background(), "stopped")
}

// child is such a process, under strace where injections are given.
func child(t testing.TB, dir, mode string, count, atOnce int, inject ...string) *exec.Cmd {
	t.Helper()
	args := []string{os.Args[0], "-test.run=^TestRealEvidenceChild$"}
	if len(inject) > 0 {
		args = append(append([]string{"strace", "-f", "-qqq", "-o", os.DevNull}, inject...), args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childFolder+"="+dir, childMode+"="+mode, childCount+"="+strconv.Itoa(count), childAtOnce+"="+strconv.Itoa(atOnce), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = withParent()
	return cmd
}

// acks are what a child said was acknowledged, by seq.
func acks(out []byte) map[uint64]string {
	said := map[uint64]string{}
	for line := range strings.Lines(string(out)) {
		var seq uint64
		var digest string
		// What it was cut off in was not said.
		if n, _ := fmt.Sscanf(line, "ack %d %s", &seq, &digest); n == 2 && strings.HasSuffix(line, "\n") {
			said[seq] = digest
		}
	}
	return said
}

// taken opens the folder after a child, closes it, has it verified, and looks for what was acknowledged.
func taken(t testing.TB, dir string, acknowledged map[uint64]string) {
	t.Helper()
	w, err := openEvidence(dir, producer.Strict, func(err error) { t.Errorf("trouble: %v", err) })
	if err != nil {
		t.Fatalf("open after it: %v", err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	found := linesOf(t, dir)
	for seq, digest := range acknowledged {
		if seq >= uint64(len(found)) || found[seq] != digest {
			t.Errorf("record %d was acknowledged as %s and is not there", seq, digest)
		}
	}
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Errorf("verify: %s: %s", p.Code, p)
	}
	if v.Unsigned > 0 || v.Records != uint64(len(found)) {
		t.Errorf("%d of %d records are not signed", v.Unsigned, v.Records)
	}
}

// linesOf are the digests of the records of a folder.
func linesOf(t testing.TB, dir string) (digests []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "records", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			digests = append(digests, string(evidence.DigestOf([]byte(strings.TrimSuffix(line, "\n")))))
		}
	}
	return digests
}

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
			if hits < 3 && slices.Contains(durable, call) {
				t.Errorf("hindered %d times only", hits)
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

// A record is acknowledged once its file was synced, after what it rests on was (F11). No kill shows that: a killed process
// leaves its pages to the kernel.
func TestRealEvidenceSyncedBeforeAcknowledged(t *testing.T) {
	needsStrace(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := child(t, dir, producer.Strict, 20, 1, "-y", "-o", trace, "-e", "trace=pwrite64,fsync,write")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// dirty are the files written and not synced since, unnamed the folders of which no name was synced.
	dirty, unnamed := map[string]bool{}, map[string]bool{"records": true, "inputs": true}
	begun := map[string]string{}
	acknowledged := 0
	for line := range strings.Lines(string(raw)) {
		thread, _, _ := strings.Cut(line, " ")
		if strings.Contains(line, "fsync resumed>") {
			line = begun[thread] // it is done now
		} else if strings.Contains(line, "fsync(") && strings.Contains(line, "<unfinished") {
			begun[thread] = line
			continue
		}
		path := ""
		if _, rest, ok := strings.Cut(line, "<"+dir+"/"); ok {
			path, _, _ = strings.Cut(rest, ">")
		}
		kind, _, _ := strings.Cut(path, "/")
		switch {
		case strings.Contains(line, "pwrite64("):
			if kind == "records" && dirty["inputs"] {
				t.Errorf("records were written before inputs were synced: %s", line)
			}
			dirty[kind] = true
		case strings.Contains(line, "fsync(") && path == kind:
			delete(unnamed, kind)
		case strings.Contains(line, "fsync("):
			delete(dirty, kind)
		case strings.Contains(line, `"ack `):
			acknowledged++
			if len(dirty) > 0 || len(unnamed) > 0 {
				t.Errorf("acknowledged while %v is not synced, and names in %v are not: %s", dirty, unnamed, line)
			}
		}
	}
	if acknowledged != 20 {
		t.Errorf("%d acknowledged", acknowledged)
	}
}

// Killed at random under load, again and again: one folder, one chain.
func TestRealEvidenceKilledUnderLoad(t *testing.T) {
	long(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	acknowledged := map[uint64]string{}
	for range 50 {
		var out bytes.Buffer
		cmd := child(t, dir, producer.Strict, 1<<20, 32)
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(50+mathrand.IntN(1000))*time.Millisecond, func() { cmd.Process.Kill() })
		cmd.Wait()
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
	cmd := child(t, dir, producer.Strict, 1<<20, 1)
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
					for refused == 0 && asked < 100000 {
						refused += ask(64)
					}
					refused += ask(64)
					if refused < 64 {
						t.Fatalf("%d of %d refused", refused, asked)
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
						if n := ask(64); n > 0 {
							t.Errorf("%d refused after space returned", n)
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
					gaps := uint64(0)
					for _, h := range v.Holes {
						var n uint64
						if h.Code == evidence.DeclaredGap {
							fmt.Sscanf(h.Text, "%d requests", &n)
							gaps += n
						}
					}
					if v.Counts.Decisions+gaps != uint64(asked) || gaps < uint64(refused) {
						t.Errorf("%d asked, %d refused: %d recorded, %d in gaps", asked, refused, v.Counts.Decisions, gaps)
					}
					if mode != producer.Batch && gaps != uint64(refused) {
						t.Errorf("%d refused, %d in gaps", refused, gaps)
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
