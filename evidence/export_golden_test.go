package evidence

import (
	"bytes"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

// What is derived from records is compared with what proviso wrote years before: another text is another format, and the old
// one is still to be verified.
func TestDerivedStays(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 6, 1, 12, minute, 0, 0, time.UTC) }
	m := &Manifest{Format: exportFormat, Producer: Producer{ID: "p", Origin: "proviso.dev/evidence/p"}, Signer: "00", Head: Checkpoint{"o", 9, "r"}, Records: 8, LeftOut: 1, Seals: 1, Unsigned: 2, Seed: "r",
		Filter: Filter{From: at(0), Until: at(50), Namespace: "a", WithoutInputs: true}}
	var rows, gaps, page bytes.Buffer
	d := newDerived(&rows, &gaps, m)
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
		{Population: &Population{}, At: at(22)},
	} {
		r.Seq, r.Run = uint64(i), "run"
		d.add(&r, "sha256:3")
		if r.Population != nil {
			d.listed(&r, &Item{N: 7, Hole: &Hole{Source: "s", File: "g", Reason: "denied"}})
		}
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
		SummaryCSV:  {rows.Bytes(), "sha256:e5a26ab13b85c2f70c7f5e319265889d940cb8f794a4eec5fdf9c7c6621fa801"},
		GapsFile:    {gaps.Bytes(), "sha256:fa426c0c8d101037a24888127727b52f8c9501ef6f0200bf848f3b2418047572"},
		SummaryHTML: {page.Bytes(), "sha256:bcc8618e758b9ed8868408dafce8877eb1ec6eeeace4df2cbbb7e2be36acbf2e"},
	} {
		if have := DigestOf(c.text); have != c.want {
			t.Errorf("%s of format %d has the digest %s, want %s:\n%s", name, exportFormat, have, c.want, c.text)
		}
	}
}

// Who is shown one namespace alone is told that there are holes, and not what they are called.
func TestHolesOfOthers(t *testing.T) {
	var rows, gaps bytes.Buffer
	d := newDerived(&rows, &gaps, &Manifest{Filter: Filter{Namespace: "a"}})
	d.add(&Record{Population: &Population{Items: 3, Holes: 2}}, "")
	if err := d.end(); err != nil || d.lacking != 1 || !bytes.Contains(gaps.Bytes(), []byte(`"lost":2`)) {
		t.Errorf("%v: %s", err, &gaps)
	}
}
