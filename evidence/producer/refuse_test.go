//go:build unix

package producer_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

func TestRefuses(t *testing.T) {
	k := newKey(t)
	line := func(f func(lines [][]byte) [][]byte) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Join(f(bytes.SplitAfter(b, []byte("\n"))), nil) }
	}
	restore := func(t *testing.T, dir, part string, o producer.Options) {
		t.Helper()
		old := t.TempDir()
		if out, err := exec.Command("cp", "-a", filepath.Join(dir, part), old).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		w := open(t, dir, o)
		judge(t, w, 300)
		if err := w.Close(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", filepath.Join(old, filepath.Base(part)), filepath.Join(dir, part)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"an altered record": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, func(b []byte) []byte { return bytes.Replace(b, []byte(`"name":"c3"`), []byte(`"name":"c4"`), 1) })
		}, ": the log has another leaf for it"},
		"a record taken out": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte { return append(l[:3], l[4:]...) }))
		}, "records/0000000000.jsonl:4: the log has another leaf for it"},
		"the last record taken out": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte { return l[:12] }))
		}, "there are 12 records, and the log speaks of 13"},
		"an altered record and leaf": {func(t *testing.T, dir string) {
			var before, after []byte
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte {
				before, l[11] = bytes.TrimSuffix(l[11], []byte("\n")), bytes.Replace(l[11], []byte(`"fail"`), []byte(`"pass"`), 1)
				after = bytes.TrimSuffix(l[11], []byte("\n"))
				return l
			}))
			for _, name := range bundles(t, dir) {
				alter(t, dir, name, func(b []byte) []byte { return bytes.Replace(b, leaf(before), leaf(after), 1) })
			}
		}, ":13: it does not follow the record before it"},
		"an altered last record and leaf": {func(t *testing.T, dir string) {
			var before, after []byte
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte {
				before, l[12] = bytes.TrimSuffix(l[12], []byte("\n")), bytes.Replace(l[12], []byte(`"done"`), []byte(`"DONE"`), 1)
				after = bytes.TrimSuffix(l[12], []byte("\n"))
				return l
			}))
			for _, name := range bundles(t, dir) {
				alter(t, dir, name, func(b []byte) []byte { return bytes.Replace(b, leaf(before), leaf(after), 1) })
			}
		}, ":13: the records up to here are not those that were signed"},
		"records swapped": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l }))
		}, "records/0000000000.jsonl:4: the log has another leaf for it"},
		"a record twice": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, line(func(l [][]byte) [][]byte { return append(l, l[12]) }))
		}, "records/0000000000.jsonl:14: it is record 12, and record 13 belongs here"},
		"a record of another log": {func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(written(t, k, 11), firstRecords))
			if err != nil {
				t.Fatal(err)
			}
			alter(t, dir, firstRecords, func(b []byte) []byte { return append(b, bytes.SplitAfter(raw, []byte("\n"))[13]...) })
		}, ":14: it was written by"},
		"a record that is no text of ours": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, func(b []byte) []byte { return append(b, "{ }\n"...) })
		}, ":14: decode evidence"},
		"all records gone": {func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/" + firstRecords); err != nil {
				t.Fatal(err)
			}
		}, "there are 0 records, and the log speaks of 13"},
		"an old copy of the records": {func(t *testing.T, dir string) { restore(t, dir, "records", serving(k, producer.Strict)) }, "an older copy of the records was put back"},
		"an altered tile state": {func(t *testing.T, dir string) {
			alter(t, dir, "log/.state/treeState", func(b []byte) []byte { return b[:20] })
		}, "read the log's state"},
		"another root": {func(t *testing.T, dir string) {
			alter(t, dir, "log/.state/treeState", func(b []byte) []byte {
				return []byte(`{"size":13,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}`)
			})
		}, "the tree of the log's 13 leaves is not that of the records"},
		"another checkpoint": {func(t *testing.T, dir string) {
			raw, err := os.ReadFile(filepath.Join(written(t, k, 1), evidence.CheckpointFile))
			if err != nil {
				t.Fatal(err)
			}
			alter(t, dir, evidence.CheckpointFile, func([]byte) []byte { return raw })
		}, "log/checkpoint: open checkpoint"},
		"an altered producer": {func(t *testing.T, dir string) {
			alter(t, dir, evidence.ProducerFile, func(b []byte) []byte {
				return bytes.Replace(b, []byte(`proviso.dev/evidence/`), []byte(`proviso.dev/evidenze/`), 1)
			})
		}, "the verifier key is not that of"},
		"another format": {func(t *testing.T, dir string) {
			alter(t, dir, evidence.ProducerFile, func(b []byte) []byte { return bytes.Replace(b, []byte(`"format":1`), []byte(`"format":2`), 1) })
		}, "format 2"},
		"a short salt": {func(t *testing.T, dir string) {
			alter(t, dir, evidence.SaltFile, func(b []byte) []byte { return b[1:] })
		}, "it has 31 bytes"},
		"no producer": {func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/" + evidence.ProducerFile); err != nil {
				t.Fatal(err)
			}
		}, "it has no producer.json, and inputs/0000000000.jsonl is in it"},
		"a file of records missing": {func(t *testing.T, dir string) {
			if err := os.Rename(dir+"/"+firstRecords, dir+"/records/0000000001.jsonl"); err != nil {
				t.Fatal(err)
			}
		}, "want records/0000000000.jsonl there"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t, k, 10)
			c.damage(t, dir)
			before := snapshot(t, dir)
			w, err := producer.Open(t.Context(), dir, scan(k))
			if err == nil {
				w.Close(t.Context(), "done")
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %q", err, c.want)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("what was refused was altered:\n%s\n%s", before, after)
			}
		})
	}
	t.Run("an old copy of the log", func(t *testing.T) {
		dir := written(t, k, 10)
		restore(t, dir, "log", serving(k, producer.Strict))
		w := open(t, dir, scan(k))
		if err := w.Close(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
		if v, err := evidence.Verify(os.DirFS(dir), evidence.Options{}); err != nil || v.Head.Size != 13+303+2 || v.Unsigned != 0 {
			t.Errorf("%v: %+v", err, v)
		} else if all, _ := records(t, dir); all[13+303].Open.Recovered != 303 {
			t.Errorf("%+v", all[13+303].Open)
		}
	})
	t.Run("another key", func(t *testing.T) {
		dir, other := written(t, k, 1), newKey(t)
		if _, err := producer.Open(t.Context(), dir, scan(other)); err == nil || !strings.Contains(err.Error(), "sign with the first, or start a new folder for the new key") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a folder of something else", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/thesis.txt", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.Open(t.Context(), dir, scan(k)); err == nil || !strings.Contains(err.Error(), "thesis.txt is in it") {
			t.Errorf("%v", err)
		}
		if found, err := os.ReadDir(dir); err != nil || len(found) != 1 {
			t.Errorf("something was left in it: %v, %v", found, err)
		}
	})
}

// bundles are the files of the log's entries.
func bundles(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(dir + "/log/tile/entries/000.p/*")
	if err != nil || len(found) == 0 {
		t.Fatal("no entries", err)
	}
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], dir)
	}
	return found
}

// leaf is the leaf of a line.
func leaf(line []byte) []byte {
	sum := sha256.Sum256(line)
	return sum[:]
}

// snapshot is every file of a folder with its digest.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintln(&b, strings.TrimPrefix(path, dir), evidence.DigestOf(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
