package evidence

import (
	"bytes"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/engine"
)

// What is derived from records is compared with what proviso wrote years before: another text is another format, and the old
// one is still to be verified.
func TestDerivedStays(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 6, 1, 12, minute, 0, 0, time.UTC) }
	m := &Manifest{Format: exportFormat, Producer: Producer{ID: "p", Origin: "proviso.dev/evidence/p"}, Signer: "00", Head: Checkpoint{"o", 9, "r"}, Records: 8, LeftOut: 1, Seals: 1, Unsigned: 2, Seed: "r",
		Filter: Filter{From: at(0), Until: at(50), WithoutInputs: true}}
	var list []byte
	for _, item := range []Item{{N: 0, Hole: &Hole{Source: "s", File: "g", Reason: "denied"}},
		{N: 1, Subject: &Subject{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "a", Name: "=x", Source: "s", File: "f", Line: 3}, Input: "sha256:4"}} {
		line, err := Encode(item)
		if err != nil {
			t.Fatal(err)
		}
		list = append(append(list, line...), '\n')
	}
	lists := fstest.MapFS{"objects/1": {Data: list}}
	var rows, gaps, page bytes.Buffer
	d := newDerived(lists, &rows, &gaps, m)
	cluster := &Cluster{UID: "u", Name: "prod", Region: "eu-central-1", Jurisdiction: "DE"}
	item := 1
	results := []Result{
		{Policy: "a/pass", Severity: "low", Verdict: "pass", Effect: "record"},
		{Policy: "a/fail", Severity: "high", Verdict: "fail", Effect: "deny", Violations: []engine.Violation{{Path: "spec", Message: "is <b>"}}, Waived: true, Waiver: "w"},
		{Policy: "a/unknown", Severity: "high", Verdict: "unknown", Effect: "warn", Reason: "=why"},
		{Policy: "a/none", Severity: "high", Verdict: "notApplicable", Effect: "record"},
	}
	for i, r := range []Record{
		{Open: &Open{Kind: "admission", Unclosed: true}, At: at(1)},
		{Decision: &Decision{Event: "e", Source: "admission", Subject: Subject{APIVersion: "v1", Kind: "Secret", Namespace: "a", Name: "=x", Source: "s", File: "f", Line: 3}, Operation: "CREATE",
			Input: "sha256:1", Results: results, Answer: &Answer{Allowed: true}, Simulated: true, Now: at(2), Problems: []string{"p"}}, At: at(2), Cluster: cluster},
		{Hole: &Hole{Item: &item, Source: "s", File: "f", Reason: "unreadable"}, At: at(3)},
		{Gap: &Gap{Lost: 2, From: at(3), Until: at(4), Reason: "disk full"}, At: at(20)},
		{Erasure: &Erasure{Inputs: []engine.Digest{"sha256:2"}, Reason: "asked for"}, At: at(21)},
		{Population: &Population{Items: 2, Holes: 1, List: "sha256:1"}, At: at(22)},
		{Close: &Close{Reason: "failed: interrupted"}, At: at(23)},
		{Open: &Open{Kind: "scan"}, At: at(24)},
		{Population: &Population{Items: 2, Holes: 1, List: "sha256:1"}, At: at(25)},
	} {
		r.Seq, r.Run = uint64(i), "run"
		d.add(&r, "sha256:3")
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	if err := d.page(&page, m); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		want engine.Digest
	}{
		SummaryCSV:  {rows.Bytes(), "sha256:ff5909b5e01b02ae9736eda360a522679aa68b0e3133a8a4d12946dd3e5aa6a6"},
		GapsFile:    {gaps.Bytes(), "sha256:e5210c0b769a1a84fd9c9aaa2f85436823b4045755acf8aebf4170dbb66fbe98"},
		SummaryHTML: {page.Bytes(), "sha256:98aff0ba1722f74823c4fe1aea65900b5eb557ddbe762a4c36bbe98377028b6d"},
	} {
		if have := DigestOf(c.text); have != c.want {
			t.Errorf("%s of format %d has the digest %s, want %s:\n%s", name, exportFormat, have, c.want, c.text)
		}
	}
}

// Who is shown one namespace alone is told that there are holes, and not what they are called.
func TestHolesOfOthers(t *testing.T) {
	var rows, gaps bytes.Buffer
	d := newDerived(nil, &rows, &gaps, &Manifest{Filter: Filter{Namespace: "a"}})
	d.add(&Record{Population: &Population{Items: 3, Holes: 2}}, "")
	if err := d.end(); err != nil || d.lacking != 1 || !bytes.Contains(gaps.Bytes(), []byte(`"lost":2`)) {
		t.Errorf("%v: %s", err, &gaps)
	}
}

// What a run lacks is told where a record of it is in the period, and all of it then.
func TestWhatIsMissingIsOfThePeriod(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 6, 1, 12, minute, 0, 0, time.UTC) }
	list, err := Encode(Item{N: 0, Hole: &Hole{Source: "s", File: "g", Reason: "denied"}})
	if err != nil {
		t.Fatal(err)
	}
	lists := fstest.MapFS{"objects/1": {Data: append(list, '\n')}}
	for from, want := range map[int]int{0: 3, 1: 2, 2: 2, 3: 2, 4: 0} {
		var rows, gaps bytes.Buffer
		d := newDerived(lists, &rows, &gaps, &Manifest{Filter: Filter{From: at(from)}})
		for i, r := range []Record{
			{Open: &Open{Kind: "scan", Unclosed: true}},
			{Population: &Population{Items: 1, Holes: 1, List: "sha256:1"}},
			{Change: &Change{What: "reload"}},
			{Close: &Close{Reason: "failed: interrupted"}},
			{Open: &Open{Kind: "scan"}},
			{Close: &Close{Reason: "done"}},
		} {
			r.Seq, r.Run, r.At = uint64(i), "run", at(i)
			d.add(&r, "sha256:3")
		}
		if err := d.end(); err != nil || d.lacking != want || (want > 0) != bytes.Contains(rows.Bytes(), []byte("denied")) {
			t.Errorf("from %d: %v: %d lacking, want %d:\n%s\n%s", from, err, d.lacking, want, &gaps, &rows)
		}
	}
}
