//go:build unix

package producer_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
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

// killed is the folder as a process that was killed now would leave it: each part is copied after what must not be ahead of it.
func killed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, part := range []string{"log/checkpoint", "log/.state", "log", "records", "."} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(to, name), 0o755)
			}
			if _, err := os.Stat(filepath.Join(to, name)); err == nil {
				return nil
			}
			raw, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, name), raw, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// records are the records of a folder, as they are read.
func records(t testing.TB, dir string) (all []evidence.Record, lines []string) {
	t.Helper()
	names, err := filepath.Glob(dir + "/records/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			line = strings.TrimSuffix(line, "\n")
			var rec evidence.Record
			if err := evidence.Decode([]byte(line), &rec); err != nil {
				t.Fatalf("%s: %v: %s", name, err, line)
			}
			all, lines = append(all, rec), append(lines, line)
		}
	}
	return all, lines
}

// written is a folder with a run of n decisions in it, closed.
func written(t testing.TB, k key, n int) string {
	t.Helper()
	dir := t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, n)
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// judge appends an activation and n decisions.
func judge(t testing.TB, w *producer.Writer, n int) {
	t.Helper()
	seq := activate(t, w)
	errs := make(chan error, n)
	for i := range n {
		rec, in := decision(t, i)
		rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
		go func() {
			_, err := w.Append(t.Context(), rec, in)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// serving is an admission run, whose records need no population.
func serving(k producer.Signer, mode string) producer.Options {
	o := scan(k)
	o.Kind, o.Mode = "admission", mode
	return o
}

func TestRunsFollow(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, 5)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	o := serving(k, producer.Strict)
	o.Run = "run-2"
	w = open(t, dir, o)
	judge(t, w, 3)
	crashed := killed(t, dir)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	o.Run = "run-3"
	w = open(t, crashed, o)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, crashed)
	all, _ := records(t, crashed)
	var opens []evidence.Open
	for _, r := range all {
		if r.Open != nil {
			opens = append(opens, *r.Open)
		}
	}
	if len(all) != 8+5+2 || len(opens) != 3 {
		t.Fatalf("%d records, %d opens", len(all), len(opens))
	}
	if opens[1].Unclosed || opens[1].Recovered != 0 || opens[1].Dropped != 0 {
		t.Errorf("after a Close: %+v", opens[1])
	}
	if !opens[2].Unclosed || opens[2].Dropped != 0 {
		t.Errorf("after a kill: %+v", opens[2])
	}
}

func TestOneWriter(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, scan(k))
	for range 2 {
		if _, err := producer.Open(t.Context(), dir, scan(k)); err == nil || !strings.Contains(err.Error(), "this process is writing to it") {
			t.Errorf("second writer: %v", err)
		}
	}
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	open(t, dir, scan(k))
}

// alter changes a file of a folder.
func alter(t testing.TB, dir, name string, f func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(raw), 0o644); err != nil {
		t.Fatal(err)
	}
}

const firstRecords, firstInputs = "records/0000000000.jsonl", "inputs/0000000000.jsonl"

// forged appends a record that no log knows, which rests on an input.
func forged(t testing.TB, dir string, input evidence.Record) {
	t.Helper()
	all, lines := records(t, dir)
	rec := all[len(all)-1]
	rec.Seq, rec.Previous, rec.Close, rec.Decision = rec.Seq+1, evidence.DigestOf([]byte(lines[len(lines)-1])), nil, input.Decision
	line, err := evidence.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, dir, firstRecords, func(b []byte) []byte { return append(append(b, line...), '\n') })
}

func TestRecovers(t *testing.T) {
	k := newKey(t)
	for name, c := range map[string]struct {
		damage                      func(t *testing.T, dir string)
		records, recovered, dropped int
	}{
		"a torn record": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, func(b []byte) []byte { return append(b, `{"type":"https://proviso`...) })
		}, 13, 0, 24},
		"pages never written": {func(t *testing.T, dir string) {
			alter(t, dir, firstRecords, func(b []byte) []byte { return append(b, "\x00\x00\x00\n{\"type\"\n"...) })
		}, 13, 0, 12},
		"a torn input": {func(t *testing.T, dir string) {
			alter(t, dir, firstInputs, func(b []byte) []byte { return append(b, `{"digest`...) })
		}, 13, 0, 8},
		"a record after the checkpoint": {func(t *testing.T, dir string) {
			rec, _ := decision(t, 1)
			forged(t, dir, rec)
		}, 14, 1, 0},
		"a record whose input is torn": {func(t *testing.T, dir string) {
			rec, _ := decision(t, 99)
			forged(t, dir, rec)
			alter(t, dir, firstInputs, func(b []byte) []byte { return append(b, `{"digest`...) })
		}, 13, 0, -1},
		"half made files": {func(t *testing.T, dir string) {
			for _, name := range []string{"producer.json.tmp", "objects/1.tmp", firstRecords + ".tmp", "seals/000001.tmp/files.json", "log/checkpoint.tmp", "log/checkpoint1804289383",
				"log/.state/treeState12345", "log/tile/0/000.p/5123456", "log/tile/0/000.p/77", "log/tile/entries/0001804289383"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}, 13, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t, k, 10)
			_, before := records(t, dir)
			c.damage(t, dir)
			o := serving(k, producer.Strict)
			w := open(t, dir, o)
			if err := w.Close(t.Context(), "stopped"); err != nil {
				t.Fatal(err)
			}
			all, lines := records(t, dir)
			if len(all) != c.records+2 || all[c.records].Open == nil {
				t.Fatalf("%d records, %d of them before the new run: want %d", len(all), len(all)-2, c.records)
			}
			if strings.Join(lines[:len(before)], "\n") != strings.Join(before, "\n") {
				t.Error("the records before are not what they were")
			}
			got := *all[c.records].Open
			if got.Recovered != uint64(c.recovered) || c.dropped >= 0 && got.Dropped != int64(c.dropped) || c.dropped < 0 && got.Dropped < 100 {
				t.Errorf("open says %+v: want %d recovered, %d dropped", got, c.recovered, c.dropped)
			}
			v, err := evidence.Verify(os.DirFS(dir), evidence.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range v.Problems {
				// The forged record is of a run that was closed.
				if p.Code != evidence.OrderBroken {
					t.Errorf("verify: %s", p)
				}
			}
		})
	}
}

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

// Killed after Tessera wrote a full bundle and before it noted so, the partial one it goes on from must still be there.
func TestFullBundleNotNoted(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, 100)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := killed(t, dir)
	judge(t, w, 300)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := killed(t, dir)
	for _, part := range []string{"records", "inputs", "log/tile"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(after, part)+"/.", filepath.Join(before, part)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w = open(t, before, serving(k, producer.Strict))
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, before)
	if left, err := filepath.Glob(before + "/log/tile/*/000.p"); err != nil || len(left) != 1 {
		t.Errorf("partial tiles below full ones: %v %v: want that of level 1 alone", left, err)
	}
}

// A founding that was cut off is begun anew; only when producer.json is there is the folder somebody's.
func TestFoundingCutOff(t *testing.T) {
	k := newKey(t)
	whole := t.TempDir()
	w := open(t, whole, scan(k))
	halfway := killed(t, whole)
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	for _, gone := range [][]string{{"producer.json"}, {"producer.json", "log/checkpoint"}, {"producer.json", "log"}, {"producer.json", "salt", "log/.state/treeState"}} {
		dir := killed(t, halfway)
		for _, name := range append(gone, "records", "inputs", "objects") {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "producer.json.tmp"), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		w := open(t, dir, serving(k, producer.Strict))
		if err := w.Close(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
		verified(t, dir)
	}
}
