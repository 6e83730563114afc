//go:build unix

package producer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// While a folder is listed for a seal nothing is written that the seal does not list.
func TestSealUnderLoad(t *testing.T) {
	for _, mode := range []string{producer.Strict, producer.Batch} {
		k, dir := newKey(t), t.TempDir()
		w := open(t, dir, serving(k, mode))
		first := ""
		begun := false
		w.WhileListing(func() {
			if begun = !begun; begun {
				first = snapshot(t, dir)
			} else if again := snapshot(t, dir); again != first {
				t.Errorf("the folder changes while it is listed:\n%s\n%s", first, again)
			}
		})
		stop := make(chan struct{})
		var load sync.WaitGroup
		for range 4 {
			load.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}}, fmt.Sprint(n)); err != nil {
						t.Error(err)
						return
					}
					if _, err := w.Object(strings.NewReader(fmt.Sprint(n))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		sealed := 0
		for ; sealed < 3; sealed++ {
			at := w.Stats().Records + 50
			for w.Stats().Records < at {
				time.Sleep(time.Millisecond)
			}
			if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
				t.Fatal(err)
			}
			asSealed(t, dir, sealed+1)
		}
		if first == "" {
			t.Error("nobody looked on")
		}
		close(stop)
		load.Wait()
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
		if v := verified(t, dir); v.Seals != sealed {
			t.Errorf("%d seals", v.Seals)
		}
	}
}

// asSealed checks that a seal lists the records its head covers, and nothing it does not have.
func asSealed(t *testing.T, dir string, number int) {
	t.Helper()
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var l evidence.FileList
	if err := json.Unmarshal(read(evidence.SealDir(number)+"/"+evidence.SealFiles), &l); err != nil {
		t.Fatal(err)
	}
	checkpoint := read(evidence.SealDir(number) + "/" + evidence.SealCheckpoint)
	head := bytes.Split(checkpoint, []byte("\n"))[1]
	lines := 0
	for _, f := range l.Files {
		switch {
		case f.Path == evidence.CheckpointFile:
			if f.Digest != evidence.DigestOf(checkpoint) {
				t.Errorf("seal %d lists another head than it has", number)
			}
		case strings.HasPrefix(f.Path, "records/"):
			part := read(f.Path)[:f.Size]
			lines += bytes.Count(part, []byte("\n"))
			if evidence.DigestOf(part) != f.Digest {
				t.Errorf("seal %d: %s is not as listed", number, f.Path)
			}
		}
	}
	if fmt.Sprint(lines) != string(head) {
		t.Errorf("seal %d lists %d records, and its head has %s", number, lines, head)
	}
}

// A KMS that hangs while a seal is signed keeps no record from its place, and no bound is missing.
func TestSealSignedSlowly(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, 10)
	crashed := ""
	for n := range 2 {
		if err := w.Seal(t.Context(), evidence.Seal{}, nil, func(ctx context.Context, statement []byte) ([]byte, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the signature may take for ever")
			}
			late, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if _, err := w.Append(late, evidence.Record{Change: &evidence.Change{What: "x"}}, fmt.Sprint(n)); err != nil {
				t.Errorf("while a seal is signed: %v", err)
			}
			if _, err := w.Checkpoint(late); err != nil {
				t.Errorf("while a seal is signed: %v", err)
			}
			crashed = killed(t, dir)
			return bundleOf(ctx, k, statement)
		}); err != nil {
			t.Fatal(err)
		}
		asSealed(t, dir, n+1)
		if v := verified(t, dir); v.Seals != n+1 {
			t.Errorf("%d seals", v.Seals)
		}
	}
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no") }); err == nil {
		t.Error("what nobody signed is a seal")
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	w = open(t, crashed, serving(k, producer.Strict))
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if v := verified(t, crashed); v.Seals != 2 {
		t.Errorf("after a kill: %d seals", v.Seals)
	}
}

// Who has no time for a seal gets none, and holds up nobody.
func TestSealWithoutTime(t *testing.T) {
	k := &failing{key: newKey(t)}
	o := serving(k, producer.Strict)
	o.OnTrouble = func(error) {}
	dir := t.TempDir()
	w := open(t, dir, o)
	judge(t, w, 1)
	k.broken.Store(true)
	appended(t, w, evidence.Record{Change: &evidence.Change{What: "x"}})
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := w.Seal(ctx, evidence.Seal{}, nil, wrapped(k.key)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("seal: %v", err)
		}
		cancel()
	}
	k.broken.Store(false)
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k.key)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

// A seal lists what was written, read once: of what the disk altered since, the next one does not make what always was.
func TestSealReadsWhatIsDoneOnce(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Batch))
	for range 2 { // as many as fit in the queue
		judge(t, w, evidence.SegmentRecords)
		if _, err := w.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	list := func(number int) map[string]evidence.File {
		t.Helper()
		if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, evidence.SealDir(number), evidence.SealFiles))
		if err != nil {
			t.Fatal(err)
		}
		var l evidence.FileList
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		files := map[string]evidence.File{}
		for _, f := range l.Files {
			files[f.Path] = f
		}
		return files
	}
	first := list(1)
	for _, name := range []string{evidence.RecordsFile(0), evidence.InputsFile(0), "log/tile/0/000", "log/tile/entries/000"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if next := list(2)[name]; next != first[name] || next.Path == "" {
			t.Errorf("%s: listed as %+v, then as %+v", name, first[name], next)
		}
		if err := os.RemoveAll(filepath.Join(dir, evidence.SealDir(2))); err != nil {
			t.Fatal(err)
		}
	}
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil || len(v.Problems) == 0 {
		t.Errorf("what the disk altered verifies: %v", err)
	}
}

// What somebody else put into the folder is not sealed, and no seal is numbered by it: who takes it away again has the evidence
// as it was.
func TestSealsItsOwnFiles(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, 2)
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
		t.Fatal(err)
	}
	strange := []string{"NOTES.txt", "seals/.DS_Store", "seals/backup/files.json", "seals/0000007/files.json", "seals/-00001/files.json", "objects/" + strings.Repeat("a", 64), "objects/" + strings.Repeat("Z", 64)}
	empty := []string{"seals/emptydir", "seals/000002", "seals/000004"}
	for _, name := range append(strange, empty...) {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(empty, name) {
			if err := os.Mkdir(at, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(at, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir, serving(k, producer.Strict))
	for range 2 {
		if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		if !slices.Contains(strange, p.Place) {
			t.Errorf("with what is strange: %s", p)
		}
	}
	for _, name := range strange {
		if !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool { return p.Place == name }) {
			t.Errorf("nothing is said of %s", name)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if v := verified(t, dir); v.Seals != 3 {
		t.Errorf("%d seals", v.Seals)
	}
}
