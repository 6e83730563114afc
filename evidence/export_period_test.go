//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// bordered is a folder of three scans by policies of their own, with two seconds between their records, signed anew.
func bordered(t *testing.T, k key) folder {
	t.Helper()
	dir := t.TempDir()
	for range 3 {
		scanInto(t, dir, k, "cluster-a", 3)
	}
	f := read(t, dir).unsealed()
	all := f.records(t)
	start := readAt.UTC().Add(-24 * time.Hour).Truncate(time.Second)
	for n := range all {
		all[n].At = start.Add(time.Duration(2*n) * time.Second)
		if a := all[n].Activation; a != nil {
			a.Pack = packOf(n / 7)
			f.put(evidence.ObjectFile(a.Pack), []byte(packText(n/7)))
		}
	}
	return insider{key: k}.resign(t, f, all)
}

func packText(run int) string      { return fmt.Sprint("the policies of run ", run) }
func packOf(run int) engine.Digest { return evidence.DigestOf([]byte(packText(run))) }

// leaving is an export that leaves out records, and says so: all that an exporter can do who lies.
func leaving(t *testing.T, f folder, k key, out func(seq uint64) bool) folder {
	t.Helper()
	const name = "evidence/records/0000000000.jsonl"
	var lines [][]byte
	var kept []evidence.Range
	for _, line := range f.lines(name) {
		var r evidence.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if out(r.Seq) {
			continue
		}
		lines = append(lines, line)
		if n := len(kept); n > 0 && kept[n-1].Last+1 == r.Seq {
			kept[n-1].Last++
		} else {
			kept = append(kept, evidence.Range{First: r.Seq, Last: r.Seq})
		}
	}
	f = f.clone()
	f.put(name, bytes.Join(lines, nil))
	return f.reexported(t, k, func(m *evidence.Manifest) {
		m.Included, m.Records, m.LeftOut = kept, uint64(len(lines)), m.Head.Size-uint64(len(lines))
	})
}

// EVD-10: no record of the period can be left out unseen: not one, not a whole run, not any stretch, wherever it begins and ends.
func TestExportEveryStretch(t *testing.T) {
	k := newKey(t)
	from := bordered(t, k)
	all := from.records(t)
	at := func(n int) time.Time { return all[n].At.Add(-time.Second) }
	for what, filter := range map[string]evidence.Filter{
		"all":          {},
		"no inputs":    {WithoutInputs: true},
		"part of runs": {From: at(5), Until: at(16)},
		"one run":      {From: at(7), Until: at(14)},
		"from":         {From: at(9)},
		"until":        {Until: at(9)},
		"nothing":      {From: at(9), Until: at(9).Add(time.Millisecond)},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "nothing" {
				refusesEmpty(t, from, k, filter)
				return
			}
			whole := unpacked(t, exported(t, fstest.MapFS(from), k, evidence.ExportOptions{Filter: filter}))
			if v := whole.verify(t, evidence.Options{}); len(v.Problems) > 0 {
				t.Fatalf("as it was: %v", v.Problems)
			} else if says := strings.Contains(strings.Join(v.Unchecked, "\n"), "was recorded outside of it and left out"); says != (v.LeftOut > 0) {
				t.Errorf("%d records are left out, and not checked is %q", v.LeftOut, v.Unchecked)
			}
			for first := range all {
				for last := first; last < len(all); last++ {
					// What lies beside the period may be left out; what lies in it, or shows where it begins and ends, not.
					lost := slices.ContainsFunc(all[first:last+1], func(r evidence.Record) bool { return filter.Within(r.At) })
					v := leaving(t, whole, k, func(seq uint64) bool { return uint64(first) <= seq && seq <= uint64(last) }).verify(t, evidence.Options{})
					missing := slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool {
						return p.Code == evidence.RecordMissing && strings.Contains(p.Text, "nothing shows that")
					})
					if lost && !missing {
						t.Errorf("records %d to %d are left out, and it is not seen: exit code %d", first, last, v.ExitCode())
					}
				}
			}
		})
	}
}

// refusesEmpty demands that there is no export of a period in which nothing was recorded.
func refusesEmpty(t *testing.T, f folder, k key, filter evidence.Filter) {
	t.Helper()
	o := &evidence.ExportOptions{Filter: filter, Key: k.public(t), Sign: signer(t, k), Scratch: t.TempDir()}
	if _, err := evidence.Export(t.Context(), fstest.MapFS(f), io.Discard, o); err == nil {
		t.Error("a period without a record is exported")
	}
}

// Who leaves out a record is seen by the digest where nothing else was altered, and by what the manifest declares where it is
// signed anew.
func TestExportEveryRecord(t *testing.T) {
	k := newKey(t)
	from := os.DirFS(scanOf(t, k, 12, tenant))
	const name = "evidence/records/0000000000.jsonl"
	at := read(t, fmt.Sprint(from)).records(t)
	for what, o := range map[string]evidence.ExportOptions{"all": {}, "a period": {Filter: evidence.Filter{From: at[5].At, Until: at[9].At}}, "a tenant": {Filter: evidence.Filter{Namespace: "tenant-1"}}} {
		whole := unpacked(t, exported(t, from, k, o))
		lines := whole.lines(name)
		for n, rec := range whole.exportedRecords(t) {
			f := whole.clone()
			f.put(name, bytes.Join(slices.Delete(slices.Clone(lines), n, n+1), nil))
			refused(t, f.verify(t, evidence.Options{}), evidence.FileAltered, name)
			refused(t, f.reexported(t, k, nil).verify(t, evidence.Options{}), evidence.RecordMissing, fmt.Sprintf("record %d: the manifest says that it is there", rec.Seq))
			if v := leaving(t, whole, k, func(seq uint64) bool { return seq == rec.Seq }).verify(t, evidence.Options{}); v.ExitCode() == evidence.ExitVerified {
				t.Errorf("%s: record %d was left out, and all is well", what, rec.Seq)
			}
		}
	}
}

// exportedRecords are the records of an export's first file.
func (f folder) exportedRecords(t *testing.T) []evidence.Record {
	t.Helper()
	return folder{evidence.RecordsFile(0): f["evidence/"+evidence.RecordsFile(0)]}.records(t)
}

// No honest export is said to lack a record, whatever the producer's clock did and whatever the period.
func TestExportOfAnyClock(t *testing.T) {
	k := newKey(t)
	from := bordered(t, k)
	random := rand.New(rand.NewPCG(1, 2))
	old := &evidence.KeyChange{Before: k.public(t).VerifierKey("old"), Head: string(headOf(t, k, "old", nil, 0))}
	for range 60 {
		all := from.records(t)
		start, latest := all[0].At, time.Time{}
		for n := range all {
			all[n].At = start.Add(time.Duration(random.IntN(12)) * time.Minute)
			if all[n].Backwards = all[n].At.Before(latest); !all[n].Backwards {
				latest = all[n].At
			}
		}
		// A record that is exported whatever the period.
		all[10] = with(all[10], func(r *evidence.Record) {
			r.Backwards, r.Key = all[10].Backwards, old
		})
		f := insider{key: k}.resign(t, from, all)
		filter := evidence.Filter{From: start.Add(time.Duration(random.IntN(12)) * time.Minute)}
		filter.Until = filter.From.Add(time.Duration(1+random.IntN(4)) * time.Minute)
		x := unpacked(t, exported(t, fstest.MapFS(f), k, evidence.ExportOptions{Filter: filter}))
		for _, p := range x.verify(t, evidence.Options{}).Problems {
			if p.Code == evidence.RecordMissing || p.Code == evidence.FileAltered {
				t.Fatalf("%+v: %s", filter, p)
			}
		}
	}
}

// What is told of a period is of that period: the policies that were in force in it, and what was decided in it.
func TestExportTellsOfThePeriod(t *testing.T) {
	k := newKey(t)
	from := bordered(t, k)
	all := from.records(t)
	at := func(n int) time.Time { return all[n].At.Add(-time.Second) }
	pack := func(runs ...int) (packs []engine.Digest) {
		for _, run := range runs {
			packs = append(packs, packOf(run))
		}
		return packs
	}
	for name, c := range map[string]struct {
		filter  evidence.Filter
		packs   []engine.Digest
		decided uint64
	}{
		"all":                        {evidence.Filter{}, pack(0, 1, 2), 9},
		"between runs":               {evidence.Filter{From: at(7), Until: at(14)}, pack(1), 3},
		"from the second on":         {evidence.Filter{From: at(7)}, pack(1, 2), 6},
		"until the second":           {evidence.Filter{Until: at(7)}, pack(0), 3},
		"in a run":                   {evidence.Filter{From: at(11), Until: at(12)}, pack(1), 1},
		"from within a run":          {evidence.Filter{From: at(5), Until: at(7)}, pack(0), 1},
		"an open, and no activation": {evidence.Filter{From: at(7), Until: at(8)}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var packs []engine.Digest
			left := &evidence.LeftOutError{Why: "no more is wanted"}
			f := unpacked(t, exported(t, fstest.MapFS(from), k, evidence.ExportOptions{Filter: c.filter, OSCAL: func(_ io.Writer, x *evidence.Exporting) error {
				for _, a := range x.Activations {
					packs = append(packs, a.Pack)
				}
				return left
			}}))
			if !slices.Equal(packs, c.packs) {
				t.Errorf("in force: %v, want %v", packs, c.packs)
			}
			if n := f.manifest(t).Counts.Decisions; n != c.decided || bytes.Count(f[evidence.SummaryCSV].Data, []byte(",decision,")) != int(n) {
				t.Errorf("%d decisions, want %d:\n%s", n, c.decided, f[evidence.SummaryCSV].Data)
			}
			if v := f.verify(t, evidence.Options{}); len(v.Problems) > 0 {
				t.Error(v.Problems)
			}
		})
	}
}
