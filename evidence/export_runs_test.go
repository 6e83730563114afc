//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/evidence"
)

// ending is the end of a run, of the records before it.
func ending(before records, reason string) records {
	return append(slices.Clip(before), with(before[len(before)-1], func(r *evidence.Record) {
		r.Decision, r.Close = nil, &evidence.Close{Reason: reason}
		for i := range before {
			if d := before[i].Decision; d != nil {
				r.Close.Counts.Add(d)
			}
		}
	}))
}

// What a run that was not done did not judge is told by name, and may be drawn; where names or records are left out it is
// counted as far as it can be.
func TestExportOfUnfinishedRuns(t *testing.T) {
	k := newKey(t)
	whole := read(t, scanOf(t, k, 20, tenant)).unsealed()
	all := records(whole.records(t))
	start := readAt.UTC().Add(-24 * time.Hour).Truncate(time.Second)
	at := func(n int) time.Time { return start.Add(time.Duration(2*n) * time.Second) }
	const failed = "failed: interrupted"
	next := with(all[9], func(r *evidence.Record) {
		r.Decision, r.Run, r.Open = nil, "next", &evidence.Open{Kind: "admission", Mode: "strict", Unclosed: true}
	})
	for name, c := range map[string]struct {
		records records
		filter  evidence.Filter
		gaps    string
		says    string
		rows    []int
	}{
		"done":                       {all, evidence.Filter{}, "", "", nil},
		"interrupted":                {ending(all[:10], failed), evidence.Filter{}, "unclosed 10 0; unjudged 2 13; ", "13 items of the population have no result; the first is item 7, ConfigMap tenant-1/settings-7-of-tenant-1, the last item 19: the run large ended before it was done: failed: interrupted", span(7, 19)},
		"interrupted at once":        {ending(all[:3], failed), evidence.Filter{}, "unclosed 3 0; unjudged 2 20; ", "the first is item 0", span(0, 19)},
		"interrupted before it read": {ending(all[:2], failed), evidence.Filter{}, "unclosed 2 0; ", failed, nil},
		"out of order":               {ending(append(append(records{}, all[:3]...), all[9], all[4], all[22]), failed), evidence.Filter{}, "unclosed 6 0; unjudged 2 17; ", "the first is item 0, ConfigMap tenant-0/settings-0-of-tenant-0, the last item 18", append([]int{0, 2, 3, 4, 5}, span(7, 18)...)},
		"all but one":                {ending(append(append(records{}, all[:6]...), all[7:23]...), failed), evidence.Filter{}, "unclosed 22 0; unjudged 2 1; ", "1 item of the population has no result; the first is item 3", []int{3}},
		"cut off":                    {all[:10], evidence.Filter{}, "unclosed 0 0; unjudged 2 13; ", "the last item 19: no end is here of the run large", span(7, 19)},
		"cut off, and the next":      {append(slices.Clip(all[:10]), next, ending(records{next}, "stopped")[1]), evidence.Filter{}, "unclosed 0 0; unjudged 2 13; ", "no end is here of the run large", span(7, 19)},
		"one tenant":                 {ending(all[:10], failed), evidence.Filter{Namespace: "tenant-1"}, "unclosed 10 0; unjudged 2 13; ", "13 items of the population have no result: the run large ended", nil},
		"all of the one tenant":      {append(slices.Clip(all[:3]), all[4]), evidence.Filter{Namespace: "tenant-1"}, "unclosed 0 0; unjudged 2 19; ", "19 items of the population have no result: no end is here", nil},
		"one tenant, cut off":        {all[:10], evidence.Filter{Namespace: "tenant-1"}, "unclosed 0 0; ", "records of it are left out: which items of its population have no result, nobody can tell by this", nil},
		"from within":                {ending(all[:10], failed), evidence.Filter{From: at(7)}, "unclosed 10 0; unjudged 2 13; ", "13 items of the population have no result: the run large ended", nil},
		"until within":               {ending(all[:10], failed), evidence.Filter{Until: at(6)}, "unclosed 0 0; ", "nobody can tell by this", nil},
		"until within, of one done":  {all, evidence.Filter{Until: at(6)}, "unclosed 0 0; ", "nobody can tell by this", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range c.records {
				c.records[n].At = at(n)
			}
			f := insider{key: k}.resign(t, whole, c.records)
			x := unpacked(t, exported(t, fstest.MapFS(f), k, evidence.ExportOptions{Filter: c.filter}))
			v := x.verify(t, evidence.Options{})
			if len(v.Problems) > 0 || v.ExitCode() != evidence.ExitIncomplete {
				t.Errorf("exit code %d: %v", v.ExitCode(), v.Problems)
			}
			var gaps []evidence.Missing
			if err := json.Unmarshal(x[evidence.GapsFile].Data, &gaps); err != nil {
				t.Fatal(err)
			}
			told, without := "", uint64(0)
			for _, g := range gaps {
				told += fmt.Sprint(g.Kind, " ", g.Seq, " ", g.Lost, "; ")
				without += g.Lost
				if !slices.ContainsFunc(v.Holes, func(p evidence.Problem) bool {
					return p.Code == evidence.Unclosed && strings.Contains(p.Text, map[string]string{"unjudged": "no result"}[g.Kind]) && (g.Kind != "unclosed" || strings.Contains(p.Text, "run large") || strings.Contains(p.Text, failed))
				}) {
					t.Errorf("verify does not tell of %s: %v", g.Reason, v.Holes)
				}
			}
			if v.Unjudged != without {
				t.Errorf("verify counts %d unjudged, want %d", v.Unjudged, without)
			}
			if told != c.gaps || !bytes.Contains(x[evidence.GapsFile].Data, []byte(c.says)) {
				t.Errorf("gaps are %q, want %q that say %q:\n%s", told, c.gaps, c.says, x[evidence.GapsFile].Data)
			}
			want := fmt.Sprintf("<td>Items without a result</td><td>%d</td>", without)
			if strings.Contains(c.says, "nobody can tell") {
				want = "<td>Items without a result</td><td>0, and of 1 run nobody can tell: records are left out</td>"
			}
			if !bytes.Contains(x[evidence.SummaryHTML].Data, []byte(want)) {
				t.Errorf("the page does not say %q", want)
			}
			rows, err := csv.NewReader(bytes.NewReader(x[evidence.SummaryCSV].Data)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			draws := map[string]bool{}
			var items []int
			for _, row := range rows {
				if draws[row[0]] {
					t.Errorf("two rows are drawn by %s", row[0])
				}
				draws[row[0]] = true
				if row[3] != "unjudged" {
					continue
				}
				n, err := strconv.Atoi(row[4])
				if s := tenant(n); err != nil || row[9] != s.Namespace || row[10] != s.Name || row[1] != "2" || !strings.HasPrefix(row[24], "it has no result: ") || !strings.HasPrefix(row[25], "sha256:") {
					t.Errorf("row %q of item %d: %v", row, n, err)
				}
				items = append(items, n)
			}
			if !slices.Equal(items, c.rows) {
				t.Errorf("rows of items %v, want %v", items, c.rows)
			}
		})
	}
}

func span(first, last int) (all []int) {
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// An exporter who leaves out what was not judged is found out.
func TestExportHidesNoItem(t *testing.T) {
	k := newKey(t)
	whole := read(t, scanOf(t, k, 6, tenant)).unsealed()
	f := insider{key: k}.resign(t, whole, ending(whole.records(t)[:5], "failed: interrupted"))
	for name, keep := range map[string]func(line string) bool{
		evidence.SummaryCSV: func(line string) bool { return !strings.Contains(line, ",unjudged,5,") },
		evidence.GapsFile:   func(line string) bool { return !strings.Contains(line, `"unclosed"`) },
	} {
		x := unpacked(t, exported(t, fstest.MapFS(f), k, evidence.ExportOptions{}))
		before := len(x[name].Data)
		x.edit(name, func(raw []byte) []byte {
			var kept []string
			for line := range strings.Lines(string(raw)) {
				if keep(line) {
					kept = append(kept, line)
				}
			}
			return []byte(strings.Join(kept, ""))
		})
		if len(x[name].Data) == before {
			t.Fatalf("%s has nothing to hide: %s", name, x[name].Data)
		}
		refused(t, x.reexported(t, k, nil).verify(t, evidence.Options{}), evidence.FileAltered, name+": it is not what the records give")
	}
}

// A population that names no list is told of, whatever else does not hold.
func TestVerifyExportWithoutList(t *testing.T) {
	k := newKey(t)
	whole := read(t, scanOf(t, k, 6, tenant)).unsealed()
	f := insider{key: k}.resign(t, whole, ending(whole.records(t)[:5], "failed: interrupted"))
	for _, list := range []string{`""`, `"sha256:"`, `"sha256:../producer.json"`} {
		x := unpacked(t, exported(t, fstest.MapFS(f), k, evidence.ExportOptions{}))
		x.edit("evidence/"+evidence.RecordsFile(0), func(raw []byte) []byte {
			return regexp.MustCompile(`"list":"[^"]*"`).ReplaceAll(raw, []byte(`"list":`+list))
		})
		refused(t, x.reexported(t, k, nil).verify(t, evidence.Options{}), evidence.ObjectMissing, "the list of the population")
	}
}

// Runs that were judged by another clock are told apart where people look.
func TestExportOfSimulated(t *testing.T) {
	k := newKey(t)
	whole := read(t, scanOf(t, k, 4, tenant)).unsealed()
	all := whole.records(t)
	const says = "run large was judged by another clock: simulated, as of 2031-02-03T04:05:06Z"
	for name, simulated := range map[string]bool{"simulated": true, "not simulated": false} {
		for n := range all {
			if all[n].Decision != nil {
				decides(&all[n], func(d *evidence.Decision) {
					d.Simulated, d.Now = simulated, time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
				})
			}
		}
		f := insider{key: k}.resign(t, whole, all)
		x := unpacked(t, exported(t, fstest.MapFS(f), k, evidence.ExportOptions{}))
		if v := x.verify(t, evidence.Options{}); len(v.Problems) > 0 {
			t.Errorf("%s: %v", name, v.Problems)
		}
		for _, file := range []string{evidence.SummaryHTML, evidence.InstructionsFile} {
			if n := bytes.Count(x[file].Data, []byte(says)); (n == 1) != simulated {
				t.Errorf("%s: %s says it %d times", name, file, n)
			}
		}
		if n := x.manifest(t).Simulated; (n == 4) != simulated {
			t.Errorf("%s: the manifest counts %d", name, n)
		}
		lied := x.reexported(t, k, func(m *evidence.Manifest) { m.Simulated = 2 }).verify(t, evidence.Options{})
		refused(t, lied, evidence.CountsDiffer, "it says simulated 2")
	}
}

// A namespace of which nothing was judged has no export, as a period without a record has none.
func TestExportOfNobody(t *testing.T) {
	k := newKey(t)
	dir := scanOf(t, k, 4, tenant)
	for _, filter := range []evidence.Filter{{Namespace: "nosuch"}, {Namespace: "tenant-1", From: readAt.AddDate(50, 0, 0)}, {From: readAt.AddDate(50, 0, 0)}} {
		var b bytes.Buffer
		_, err := evidence.Export(t.Context(), os.DirFS(dir), &b, &evidence.ExportOptions{Filter: filter, Key: k.public(t), Sign: signer(t, k), Scratch: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "no record is within the filter") || b.Len() > 0 {
			t.Errorf("%+v: %d bytes, %v", filter, b.Len(), err)
		}
	}
}
