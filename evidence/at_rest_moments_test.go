//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// listing is a folder that something happens to after it was looked at.
type listing struct {
	fs.ReadLinkFS
	after func(name string)
}

func (l listing) ReadDir(name string) ([]fs.DirEntry, error) {
	found, err := fs.ReadDir(l.ReadLinkFS, name)
	l.after(name)
	return found, err
}

func (l listing) Lstat(name string) (fs.FileInfo, error) {
	info, err := l.ReadLinkFS.Lstat(name)
	l.after(name)
	return info, err
}

// incomplete verifies a folder that is being written, and an export of it, in which nothing is altered.
func incomplete(t *testing.T, fsys fs.FS, k key) {
	t.Helper()
	for what, from := range map[string]fs.FS{"folder": fsys, "bundle": fstest.MapFS(unpacked(t, exported(t, fsys, k, evidence.ExportOptions{})))} {
		if v, err := evidence.Verify(from, evidence.Options{Now: time.Now()}); err != nil || v.ExitCode() != evidence.ExitIncomplete {
			t.Errorf("%s: %v: %+v", what, err, v)
		}
	}
}

func atPath(t *testing.T, dir string) fs.FS {
	t.Helper()
	fsys, closer, err := evidence.OpenPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	return fsys
}

// A folder that is founded while it is listed is listed as founded.
func TestFoundedMeanwhile(t *testing.T) {
	k := newKey(t)
	dir, more, _ := growing(t, k)
	more(1)
	hidden := t.TempDir()
	root, err := os.OpenRoot(hidden)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	still, err := evidence.AtRest(listing{root.FS().(fs.ReadLinkFS), func(name string) {
		if _, err := os.Stat(filepath.Join(hidden, evidence.ProducerFile)); name == "records" && err != nil {
			if err := os.CopyFS(hidden, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	incomplete(t, still, k)
}

// A run that begins after another was sealed, while the folder is listed, makes nothing of the listing altered.
func TestNewRunMeanwhile(t *testing.T) {
	for _, at := range []string{"seals", "log/checkpoint", "log", "log/tile", "log/.state", "records", "inputs", "objects", "."} {
		for _, of := range []string{"cluster-a", "cluster-b"} {
			k := newKey(t)
			dir, runs := t.TempDir(), 0
			scanInto(t, dir, k, "cluster-a", 2)
			still, err := evidence.AtRest(meanwhile(t, dir, func(name string) {
				if name == at && runs == 0 {
					runs++
					begin(t, dir, k, of)
				}
			}))
			if err != nil || runs != 1 {
				t.Fatalf("%s: %v, %d runs", at, err, runs)
			}
			if v, err := evidence.Verify(still, evidence.Options{Now: time.Now()}); err != nil || len(v.Problems) > 0 {
				t.Errorf("%s, of %s: %v: %v", at, of, err, v)
			}
		}
	}
}

// Where runs follow one another faster than the folder is listed, that is said.
func TestNewRunsMeanwhile(t *testing.T) {
	k := newKey(t)
	dir, runs := t.TempDir(), 0
	scanInto(t, dir, k, "cluster-a", 2)
	_, err := evidence.AtRest(meanwhile(t, dir, func(name string) {
		if name == "." {
			runs++
			scanInto(t, dir, k, "cluster-a", 2)
		}
	}))
	if err == nil || !strings.Contains(err.Error(), "another run meanwhile: read it again later") {
		t.Errorf("after %d runs: %v", runs, err)
	}
}

// meanwhile is a folder of which something looks on as it is listed.
func meanwhile(t *testing.T, dir string, after func(name string)) fs.FS {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return listing{root.FS().(fs.ReadLinkFS), after}
}

// begin begins a run that keeps an input and an object, and is cut off.
func begin(t *testing.T, dir string, k key, of string) {
	t.Helper()
	w, err := producer.Open(t.Context(), dir, producer.Options{Signer: k, Kind: "scan", Run: "another", Cluster: &evidence.Cluster{UID: "cluster-a"}, Engine: evidence.Engine{Version: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Object(strings.NewReader("the policies of " + of)); err != nil {
		t.Fatal(err)
	}
	if err := w.Keep(t.Context(), evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: "of " + of}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background(), "stopped") })
}

// A folder of a tile's parts is empty before it is gone.
func TestSweptMeanwhile(t *testing.T) {
	k := newKey(t)
	dir, more, _ := growing(t, k)
	more(50)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	parts, seen := "log/tile/0/000.p", false
	still, err := evidence.AtRest(listing{root.FS().(fs.ReadLinkFS), func(name string) {
		if name != "log/tile/0" || seen {
			return
		}
		for seen = true; there(root, parts); {
			more(20)
		}
		if err := root.Mkdir(parts, 0o755); err != nil {
			t.Fatal(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !seen {
		t.Error("nobody looked there")
	}
	incomplete(t, still, k)
}

// What a record will speak of is kept before it, also right after a seal.
func TestKeptBeforeItsRecord(t *testing.T) {
	k := newKey(t)
	dir, more, seal := growing(t, k)
	more(3)
	seal()
	raw := encoded(t, evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: "late"})
	line := encoded(t, map[string]any{"digest": evidence.DigestOf(raw), "value": map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "late"}})
	later(t, dir, evidence.InputsFile(0), append(line, '\n'))
	incomplete(t, atPath(t, dir), k)
}

func later(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// A torn end is read as it was, though the next run cuts it off and writes something else there.
func TestTornMeanwhile(t *testing.T) {
	k := newKey(t)
	dir, more, _ := growing(t, k)
	more(3)
	whole := read(t, dir)[evidence.RecordsFile(0)].Data
	torn := []byte(`{"type":"` + strings.Repeat("x", 20000))
	later(t, dir, evidence.RecordsFile(0), torn)
	fsys := atPath(t, dir)
	if err := os.Truncate(filepath.Join(dir, evidence.RecordsFile(0)), int64(len(whole))); err != nil {
		t.Fatal(err)
	}
	later(t, dir, evidence.RecordsFile(0), bytes.Repeat([]byte("{\"type\":\"another\"}\n"), 2000))
	if raw, err := fs.ReadFile(fsys, evidence.RecordsFile(0)); err != nil || !bytes.Equal(raw, append(whole, torn...)) {
		t.Errorf("%v: read %d bytes, want %d", err, len(raw), len(whole)+len(torn))
	}
	incomplete(t, fsys, k)
}

// Only the newest file of records may end torn, and only where it is not full: files are begun and filled in order.
func TestTornElsewhere(t *testing.T) {
	k := newKey(t)
	dir, more, seal := growing(t, k)
	more(evidence.SegmentRecords + 10)
	seal()
	for name, want := range map[string]int{evidence.RecordsFile(0): evidence.ExitUnverified, evidence.InputsFile(0): evidence.ExitUnverified,
		evidence.RecordsFile(evidence.SegmentRecords): evidence.ExitIncomplete, evidence.InputsFile(evidence.SegmentRecords): evidence.ExitIncomplete} {
		f := read(t, dir)
		f.edit(name, func(b []byte) []byte { return append(b, `{"zzz`...) })
		if v := f.verify(t, evidence.Options{}); v.ExitCode() != want {
			t.Errorf("%s: want %d: %+v, %+v", name, want, v.Problems, v.Holes)
		}
	}
}
