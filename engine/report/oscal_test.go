package report_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

func TestOSCALGolden(t *testing.T) {
	named := report.PeriodResult{Policy: "named", Verdict: "pass"}
	refused := judgedEntry("weekly", "fail")
	refused.Refused = true
	simulated := judgedEntry("monthly", "fail")
	simulated.Simulated = true
	p := period(
		judgedEntry("nightly", "pass", named),
		judgedEntry("hourly", "fail", named, report.PeriodResult{Policy: "own", Verdict: "notApplicable"}),
		waivedEntry("legacy", "fail"),
		judgedEntry("<script>alert(1)</script> [x](javascript:y)", "unknown"),
		refused,
		simulated,
		report.Entry{Missing: &report.Missing{Kind: "hole", Source: "velero:s3://backups", Reason: "access denied\nby the bucket's policy"}},
		report.Entry{Missing: &report.Missing{Kind: "gap", Reason: "disk full", Count: 7}},
		judgedEntry("nightly", "pass"),
		report.Entry{Results: []report.PeriodResult{{Policy: "locked", Verdict: "pass"}}},
	)
	text, _ := assessed(t, p)
	golden(t, "oscal.golden", text)
	if again, _ := assessed(t, p); again != text {
		t.Error("the same period gives other bytes")
	}
}

// TestOSCALSchemaRefuses shows that the schema we are judged by sees what is wrong.
func TestOSCALSchemaRefuses(t *testing.T) {
	text, _ := assessed(t, period(judgedEntry("nightly", "fail")))
	for name, twist := range map[string][2]string{
		"an empty list":    {`"methods":["TEST"]`, `"methods":[]`},
		"a state of ours":  {`"state":"not-satisfied"`, `"state":"unknown"`},
		"a name's colon":   {`"name":"policy"`, `"name":"our:policy"`},
		"a line end":       {`"value":"kept"`, `"value":"kept\n"`},
		"a UUID":           {`"uuid": "`, `"uuid": "x`},
		"a time":           {`"collected":"2026-03-01T12:00:00Z"`, `"collected":"2026-03-01T12:00:00"`},
		"an unknown field": {`"methods":["TEST"]`, `"methods":["TEST"],"verdict":"fail"`},
	} {
		bad := strings.Replace(text, twist[0], twist[1], 1)
		if bad == text {
			t.Errorf("%s: the document has no %s", name, twist[0])
		} else if oscalValid(bad) == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestOSCALStates(t *testing.T) {
	simulated := judgedEntry("a", "pass")
	simulated.Simulated = true
	refused := judgedEntry("a", "fail")
	refused.Refused = true
	pass := judgedEntry("a", "pass")
	for _, c := range []struct {
		name          string
		entries       []report.Entry
		state, reason string
		remarks       string
	}{
		{"pass", []report.Entry{pass, pass}, "satisfied", "pass", "2 results are pass, none is fail or unknown."},
		{"fail", []report.Entry{pass, judgedEntry("b", "fail")}, "not-satisfied", "fail", "1 result is fail."},
		{"a waived fail", []report.Entry{pass, waivedEntry("b", "fail")}, "not-satisfied", "fail", "What is waived does not pass either"},
		{"a refused fail", []report.Entry{pass, refused}, "not-satisfied", "fail", "1 result is fail."},
		{"unknown", []report.Entry{pass, judgedEntry("b", "unknown")}, "not-satisfied", "other", "1 verdict is unknown, and unknown is never a pass."},
		{"a waived unknown", []report.Entry{pass, waivedEntry("b", "unknown")}, "not-satisfied", "other", "1 verdict is unknown"},
		{"fail and unknown", []report.Entry{judgedEntry("b", "unknown"), judgedEntry("b", "fail")}, "not-satisfied", "fail", "1 verdict is unknown"},
		{"a verdict nobody knows", []report.Entry{pass, judgedEntry("b", "PASS")}, "not-satisfied", "other", "1 verdict is unknown"},
		{"no verdict", []report.Entry{pass, judgedEntry("b", "")}, "not-satisfied", "other", "1 verdict is unknown"},
		{"a hole", []report.Entry{pass, {Missing: &report.Missing{Kind: "hole", Reason: "denied"}}}, "not-satisfied", "other", "1 missing, not judged"},
		{"a gap", []report.Entry{pass, {Missing: &report.Missing{Kind: "gap", Count: 3}}}, "not-satisfied", "other", "3 missing, not judged"},
		{"gaps past counting", []report.Entry{pass, {Missing: &report.Missing{Count: math.MaxUint64}}, {Missing: &report.Missing{}}}, "not-satisfied", "other", " missing, not judged"},
		{"a simulated clock", []report.Entry{pass, simulated}, "not-satisfied", "other", "1 verdict is by a simulated clock"},
		{"nothing applies", []report.Entry{judgedEntry("a", "notApplicable")}, "not-satisfied", "other", "Nothing was judged."},
		{"nothing", nil, "not-satisfied", "other", "Nothing was judged."},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, doc := assessed(t, period(c.entries...))
			s := findingOf(t, doc, "art-5(1)(e)").Target.Status
			if s.State != c.state || s.Reason != c.reason || !strings.Contains(s.Remarks, c.remarks) {
				t.Errorf("status is %+v, want %s, %s, %q", s, c.state, c.reason, c.remarks)
			}
			if other := findingOf(t, doc, "17a-4(f)").Target.Status; other.State != "not-satisfied" || !strings.Contains(other.Remarks, "Nothing was judged.") {
				t.Errorf("of a control whose policy judged nothing it says %+v", other)
			}
		})
	}
}

// TestOSCALTellsWhatIsClaimed: how a policy stands to a control is told, and a part is never the whole.
func TestOSCALTellsWhatIsClaimed(t *testing.T) {
	_, doc := assessed(t, period(judgedEntry("a", "pass"), report.Entry{Results: []report.PeriodResult{{Policy: "locked", Verdict: "pass"}}}))
	const part = "None of them claims to satisfy the control"
	for control, want := range map[string]struct {
		relations, said string
		whole           bool
	}{
		"art-5(1)(e)": {"supports", "kept (supports)", false},
		"cp-9":        {"evidence-for supports", "kept (evidence-for), named (supports)", false},
		"17a-4(f)":    {"satisfies", "locked (satisfies)", true},
	} {
		f := findingOf(t, doc, control)
		if got := strings.Join(f.Target.Props.get("relation"), " "); got != want.relations || f.Target.Status.State != "satisfied" {
			t.Errorf("%s: relations %q, status %+v", control, got, f.Target.Status)
		}
		if !strings.Contains(f.Description, want.said) || strings.Contains(f.Description, part) == want.whole {
			t.Errorf("%s: %s", control, f.Description)
		}
	}
	if r := findingOf(t, doc, "cp-9").Target.Status.Remarks; !strings.Contains(r, "Nothing was judged by named.") {
		t.Errorf("remarks hide the policy that judged nothing: %s", r)
	}
}

// TestOSCALTellsWhatOneRecordShows: a record shows that several things are missing, each of its kind.
func TestOSCALTellsWhatOneRecordShows(t *testing.T) {
	p := period()
	p.Entries = func(yield func(report.Entry, error) bool) {
		for _, kind := range []string{"unclosed", "silence"} {
			if !yield(report.Entry{At: now, Missing: &report.Missing{Kind: kind, Reason: "r", Count: 2}}, nil) {
				return
			}
		}
	}
	_, doc := assessed(t, p)
	all := doc.Results.Results[0].Observations
	if all[0].UUID == all[1].UUID || all[0].Title != "unclosed" || all[1].Title != "silence" {
		t.Errorf("it tells %+v", all[:2])
	}
	if s := findingOf(t, doc, "17a-4(f)").Target.Status; s.State != "not-satisfied" || !strings.Contains(s.Remarks, "4 missing") {
		t.Errorf("status is %+v", s)
	}
}

func TestOSCALRefersToRecords(t *testing.T) {
	_, doc := assessed(t, period(judgedEntry("a", "pass"), judgedEntry("b", "fail"), waivedEntry("c", "fail"), judgedEntry("d", "pass"), judgedEntry("b", "fail")))
	r := doc.Results.Results[0]
	var hrefs []string
	known := map[string]bool{}
	for _, o := range r.Observations {
		known[o.UUID] = true
		for _, e := range o.Evidence {
			hrefs = append(hrefs, strings.Join(o.Props.get("verdict"), "")+" "+e.Href)
		}
	}
	at := func(verdict string, seq int) string {
		return fmt.Sprintf("%s ../records/0000000000.jsonl#sha256:%064d", verdict, seq)
	}
	want := []string{at("fail", 1), at("fail", 2), at("fail", 4), at("", 0), at("", 3)}
	if fmt.Sprint(hrefs) != fmt.Sprint(want) {
		t.Errorf("evidence is\n%q, want\n%q", hrefs, want)
	}
	if len(r.Local.Items) != 2 || r.Observations[0].Subjects[0] != r.Observations[2].Subjects[0] || r.Local.Items[0].UUID != r.Observations[0].Subjects[0].UUID {
		t.Errorf("subjects are %v", r.Local.Items)
	}
	if len(r.Risks) != 1 || r.Risks[0].Status != "deviation-approved" || len(r.Risks[0].Observations) != 1 || r.Risks[0].Observations[0].UUID != r.Observations[1].UUID {
		t.Errorf("risks are %+v", r.Risks)
	}
	f := findingOf(t, doc, "art-5(1)(e)")
	if len(f.Risks) != 1 || f.Risks[0].UUID != r.Risks[0].UUID || len(f.Observations) != 4 {
		t.Errorf("the finding is %+v", f)
	}
}

func TestOSCALRefuses(t *testing.T) {
	errRead := errors.New("read records/0000000000.jsonl: input/output error")
	for _, c := range []struct {
		name  string
		spoil func(p *report.Period)
		want  string
	}{
		{"no controls", func(p *report.Period) { p.Policies = p.Policies[3:] }, report.ErrNoControls.Error()},
		{"no policies", func(p *report.Period) { p.Policies = nil }, report.ErrNoControls.Error()},
		{"no start", func(p *report.Period) { p.From = time.Time{} }, "start of the period, 0001-01-01T00:00:00Z, is not in the years"},
		{"a far end", func(p *report.Period) { p.Until = p.Until.AddDate(5000, 0, 0) }, "end of the period"},
		{"an end before the start", func(p *report.Period) { p.Until = p.From.Add(-1) }, "before it starts"},
		{"a policy that was not in force", func(p *report.Period) {
			p.Entries = entriesOf(report.Entry{Results: []report.PeriodResult{{Policy: "other", Verdict: "pass"}}})
		}, `record 0 judges by policy "other"`},
		{"a policy's other version", func(p *report.Period) {
			p.Entries = entriesOf(report.Entry{Results: []report.PeriodResult{{Policy: "kept", Digest: "sha256:f", Verdict: "pass"}}})
		}, `record 0 judges by policy "kept" (sha256:f)`},
		{"a record without a time", func(p *report.Period) {
			p.Entries = func(yield func(report.Entry, error) bool) { yield(report.Entry{Seq: 7}, nil) }
		}, "time of record 7"},
		{"a record that cannot be read", func(p *report.Period) {
			p.Entries = func(yield func(report.Entry, error) bool) { yield(report.Entry{}, errRead) }
		}, errRead.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := period(judgedEntry("a", "pass"))
			c.spoil(&p)
			if err := report.OSCAL(io.Discard, p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
	p := period()
	p.Policies = nil
	if err := report.OSCAL(io.Discard, p); !errors.Is(err, report.ErrNoControls) {
		t.Errorf("error is %v", err)
	}
}

// TestOSCALOfPolicyVersions: one that changed within the period is two, and one that is named by two activations is one,
// with the controls of both. What one policy said counts once for a control, in however many relations.
func TestOSCALOfPolicyVersions(t *testing.T) {
	p := period()
	changed, twice := *p.Policies[0], *p.Policies[0]
	changed.Digest = "sha256:2"
	twice.Controls = append([]engine.Control{{Framework: "gdpr", ID: "art-5(1)(e)", Relation: "evidence-for"}}, twice.Controls...)
	p.Policies = append(p.Policies, p.Policies[0], &twice, &changed)
	p.Entries = entriesOf(judgedEntry("a", "pass"), report.Entry{Results: []report.PeriodResult{{Policy: "kept", Digest: "sha256:2", Verdict: "fail"}}})
	_, doc := assessed(t, p)
	f := findingOf(t, doc, "art-5(1)(e)")
	if f.Target.Status.Reason != "fail" || len(f.Observations) != 3 || !strings.Contains(f.Description, "Found: 1 pass, 1 fail") {
		t.Errorf("the finding is %+v", f)
	}
	if got := fmt.Sprint(f.Target.Props.get("relation")); got != "[evidence-for supports]" {
		t.Errorf("relations are %s", got)
	}
	if want := "kept (supports), kept (evidence-for), kept (supports)."; !strings.Contains(f.Description, want) {
		t.Errorf("%s lacks %s", f.Description, want)
	}
}

func TestOSCALWriteErrorsComeBack(t *testing.T) {
	entries := []report.Entry{judgedEntry("a", "pass"), waivedEntry("b", "fail"), {Missing: &report.Missing{Kind: "gap"}}}
	text, _ := assessed(t, period(entries...))
	for n := 0; n < len(text); n += 97 {
		w := full(n)
		if err := report.OSCAL(&w, period(entries...)); !errors.Is(err, errFull) {
			t.Errorf("after %d bytes of %d: error %v", n, len(text), err)
		}
	}
	taken := 0
	p := period()
	p.Entries = func(yield func(report.Entry, error) bool) {
		for e := range entriesOf(make([]report.Entry, 100_000)...) {
			e.Results = judgedEntry("a", "fail").Results
			if taken++; !yield(e, nil) {
				return
			}
		}
	}
	w := full(10)
	if err := report.OSCAL(&w, p); !errors.Is(err, errFull) || taken > 1000 {
		t.Errorf("it took %d records after its writer failed: %v", taken, err)
	}
}
