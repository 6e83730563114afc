//go:build unix

package producer_test

import (
	"errors"
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
