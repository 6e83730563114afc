//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// Of each code the first hundred are told and the rest is counted: many of one hide none of another.
func TestManyOfOneCode(t *testing.T) {
	whole, _ := scan(t)
	f := whole.unsealed()
	for n := range 150 {
		f.put(fmt.Sprintf("a%03d", n), nil)
		f.put(fmt.Sprintf("objects/%064x.tmp", n), nil)
	}
	f.edit(evidence.TrustedRootFile, func(b []byte) []byte { return append(b, ' ') })
	v := f.verify(t, evidence.Options{})
	for _, all := range [][]evidence.Problem{v.Problems, v.Holes} {
		code := all[0].Code
		of := slices.DeleteFunc(slices.Clone(all), func(p evidence.Problem) bool { return p.Code != code })
		if len(of) != 101 || len(of) == len(all) || of[100] != (evidence.Problem{Code: code, Text: "and 50 more"}) {
			t.Errorf("%d of %d are told as %s, the last of them is %v", len(of), len(all), code, of[len(of)-1])
		}
	}
	tells(t, v.Problems, evidence.FileAltered, "it is not the empty root")
	tells(t, v.Holes, evidence.Unsealed, "the folder has no seal")
}

// What was not judged is counted whether it is told or not, and what an open run may still judge is not.
func TestUnjudged(t *testing.T) {
	whole, k := scan(t)
	hole := func(n int) func(*evidence.Record) {
		return func(r *evidence.Record) { r.Hole = &evidence.Hole{Kind: "broken", Reason: fmt.Sprint(n)} }
	}
	interrupted := func(r records, c evidence.Counts) records {
		r[len(r)-1].Close = &evidence.Close{Reason: "failed: interrupted", Counts: c}
		return r
	}
	for name, c := range map[string]struct {
		records func(records) records
		want    uint64
	}{
		"all of it": {func(r records) records { return r }, 0},
		"two without": {func(r records) records {
			return interrupted(slices.Delete(r, 5, 7), evidence.Counts{Decisions: 2, Pass: 1, Fail: 1})
		}, 2},
		"still running": {func(r records) records { return r[:5] }, 0},
		"cut off before": {func(r records) records {
			return append(r[:5], with(r[0], func(r *evidence.Record) { r.Open, r.Run = &evidence.Open{Kind: "scan", Unclosed: true}, "next" }))
		}, 2},
		"holes and a gap": {func(r records) records {
			return slices.Insert(r, 7, with(r[6], hole(1)), with(r[6], func(r *evidence.Record) { r.Gap = &evidence.Gap{Lost: 3} }))
		}, 2},
		"more than is told": {func(r records) records {
			for n := range 120 {
				r = slices.Insert(r, 7, with(r[6], hole(n)))
			}
			return r
		}, 120},
	} {
		t.Run(name, func(t *testing.T) {
			if v := (insider{key: k}).resign(t, whole.clone(), c.records(whole.records(t))).verify(t, evidence.Options{}); v.Unjudged != c.want {
				t.Errorf("%d were not judged, want %d: %v %v", v.Unjudged, c.want, v.Problems, v.Holes)
			}
		})
	}
}

// A run by another clock is told as one: where records say it, and where the seal alone does.
func TestSimulatedRun(t *testing.T) {
	whole, k := scan(t)
	says := func(f folder) (run bool, text, asJSON string) {
		t.Helper()
		v := f.verify(t, evidence.Options{})
		raw, err := json.Marshal(v)
		var b bytes.Buffer
		if err != nil || v.Text(&b) != nil {
			t.Fatal(err)
		}
		return v.Runs[0].Simulated, b.String(), string(raw)
	}
	byRecord := func(r records) records {
		r[3] = with(r[3], func(r *evidence.Record) { d := *whole.records(t)[3].Decision; d.Simulated = true; r.Decision = &d })
		return r
	}
	for name, f := range map[string]folder{
		"a record": insider{key: k}.resign(t, whole.clone(), byRecord(whole.records(t))),
		"the seal": insider{key: k, seal: func(s *evidence.Seal) { s.Simulated = true }}.resign(t, whole.clone(), whole.records(t)),
	} {
		if run, text, asJSON := says(f); !run || !strings.Contains(text, ", done, simulated: ") || !strings.Contains(asJSON, `"simulated":true`) {
			t.Errorf("%s says it, and it is not told:\n%s%s", name, text, asJSON)
		}
	}
	if run, text, asJSON := says(whole); run || strings.Contains(text+asJSON, "simulated") {
		t.Errorf("nothing says it, and it is told:\n%s%s", text, asJSON)
	}
}

// What the log was held against is told.
func TestContinued(t *testing.T) {
	whole, k := scan(t)
	lines := whole.lines(evidence.RecordsFile(0))
	head := func(n int) []byte { return headOf(t, k, whole.producer(t).Origin, lines, n) }
	for want, against := range map[string][][]byte{
		"the log continues the checkpoint of 5 records you kept (--against 1)":                        {head(5)},
		"the log continues the 3 checkpoints you kept, the newest of them of 7 records (--against 2)": {head(1), head(7), head(5)},
	} {
		if v := whole.verify(t, evidence.Options{Against: against}); !slices.Contains(v.Checked, want) {
			t.Errorf("no %q among %q", want, v.Checked)
		}
	}
	if v := whole.verify(t, evidence.Options{}); strings.Contains(fmt.Sprint(v.Checked), "continues") {
		t.Errorf("it says %q", v.Checked)
	}
}

// A folder that holds one of evidence is told from an auditor bundle, of which one file of its manifest is enough.
func TestNoManifest(t *testing.T) {
	f, _ := export(t)
	manifest := []string{evidence.ManifestFile, evidence.ManifestStatement, evidence.ManifestKey}
	for _, left := range manifest {
		f := f.clone()
		for _, name := range manifest {
			if name != left {
				delete(f, name)
			}
		}
		refused(t, f.verify(t, evidence.Options{}), evidence.FileMissing, "it is not there")
	}
	for _, name := range manifest {
		delete(f, name)
	}
	if v, err := evidence.Verify(fstest.MapFS(f), evidence.Options{}); err == nil {
		t.Errorf("%+v", v)
	}
	maps.DeleteFunc(f, func(name string, _ *fstest.MapFile) bool { return !strings.HasPrefix(name, evidence.ExportDir+"/") })
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.CopyFS(dir, fstest.MapFS(f)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s is no folder of evidence; there is one in %s: name that", dir, filepath.Join(dir, "evidence"))
	if _, _, err := evidence.OpenPath(dir); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
