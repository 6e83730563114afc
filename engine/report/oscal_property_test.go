package report_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// oddTexts draws what strangers write: nothing, blanks, scripts, line ends, control characters, and whatever there is.
func oddTexts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "\n", "\t x \r\n", "\u00a0", "\u2028", "\ufeff", "<script>alert(1)</script>", "](javascript:x)", "a\nb", "\x00", "\xff\xfe",
			"`code` **bold** {{ insert: param, x }}", "164.312(a)(2)(iv)", "名前", "__", "_.a", "a__b", "//host/x", "%zz", "c:\\x", "#", "?q", hostile}),
		rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }))
}

func oddPeriods() *rapid.Generator[report.Period] {
	return rapid.Custom(func(t *rapid.T) report.Period {
		odd := oddTexts()
		text := func(what string) string { return odd.Draw(t, what) }
		at := rapid.Custom(func(t *rapid.T) time.Time {
			return time.Unix(rapid.Int64Range(946684800+86400, 32503679999-86400).Draw(t, "second"), rapid.Int64Range(0, 999999999).Draw(t, "nanosecond")).
				In(time.FixedZone("", 60*rapid.IntRange(-719, 719).Draw(t, "zone")))
		})
		p := report.Period{From: at.Draw(t, "from"), Version: text("version"), Origin: text("origin"), Key: text("key"),
			Cluster: report.PeriodCluster{UID: text("uid"), Name: text("cluster"), Region: text("region"), Jurisdiction: text("jurisdiction")}}
		p.Until = p.From.Add(time.Duration(rapid.Int64Range(0, 40000000).Draw(t, "length")) * time.Second)
		if p.Until.UTC().Year() > 2999 {
			p.Until = p.From
		}
		for range rapid.IntRange(1, 4).Draw(t, "policies") {
			policy := &engine.Policy{ID: text("id"), Ref: text("ref"), Title: text("title"), Digest: engine.Digest(text("digest")), Severity: engine.Severity(rapid.IntRange(0, 4).Draw(t, "severity"))}
			for range rapid.IntRange(1, 3).Draw(t, "controls") {
				policy.Controls = append(policy.Controls, engine.Control{Framework: text("framework"), ID: text("control"), Relation: text("relation")})
			}
			p.Policies = append(p.Policies, policy)
		}
		var entries []report.Entry
		first := rapid.Uint64Range(0, math.MaxUint64-5000).Draw(t, "seq")
		for i := range rapid.IntRange(0, 8).Draw(t, "entries") {
			e := report.Entry{Seq: first + uint64(i), Digest: engine.Digest(text("record")), At: at.Draw(t, "at"), File: text("file"), Event: text("event"),
				Simulated: rapid.Bool().Draw(t, "simulated"), Refused: rapid.Bool().Draw(t, "refused"),
				Subject: report.PeriodSubject{APIVersion: text("apiVersion"), Kind: text("kind"), Namespace: text("namespace"), Name: text("name"), Source: text("source")}}
			if rapid.IntRange(0, 9).Draw(t, "missing") == 0 {
				e.Missing = &report.Missing{Kind: text("kind"), Source: text("source"), Reason: text("reason"), Count: rapid.Uint64Range(0, 1000).Draw(t, "count")}
			} else if policy := rapid.SampledFrom(p.Policies).Draw(t, "policy"); true {
				r := report.PeriodResult{Policy: policy.ID, Digest: policy.Digest, Verdict: rapid.SampledFrom([]string{"pass", "fail", "unknown", "notApplicable", "", "Pass"}).Draw(t, "verdict"),
					Effect: text("effect"), Reason: text("reason"), Waiver: text("waiver"), Waived: rapid.Bool().Draw(t, "waived")}
				for range rapid.IntRange(0, 2).Draw(t, "violations") {
					r.Violations = append(r.Violations, engine.Violation{Message: text("message"), Path: text("path")})
				}
				e.Results = []report.PeriodResult{r}
			}
			entries = append(entries, e)
		}
		p.Entries = func(yield func(report.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
		return p
	})
}

var (
	declared = regexp.MustCompile(`"uuid": ?"([^"]*)"`)
	referred = regexp.MustCompile(`"(?:observation|risk|subject|actor|component)-uuid":"([^"]*)"`)
	// obeyed is what Markdown would act on where it stands in a title, a description, prose or remarks without a backslash.
	obeyed = regexp.MustCompile("(^|[^\\\\])(\\\\\\\\)*[<>`*{}\\[\\]]")
)

// TestOSCALIsValidWhateverTheBytes: each document is valid by NIST's schema, the same each time, every identifier stands for
// one thing and each reference for a thing that is there, nothing in a text is obeyed, and satisfied is what passed only.
func TestOSCALIsValidWhateverTheBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := oddPeriods().Draw(t, "period")
		text, doc := assessed(t, p)
		if again, _ := assessed(t, p); again != text {
			t.Fatalf("the same period gives other bytes")
		}
		seen := map[string]bool{}
		for _, m := range declared.FindAllStringSubmatch(text, -1) {
			if seen[m[1]] {
				t.Fatalf("%s is there twice in:\n%s", m[1], text)
			}
			seen[m[1]] = true
		}
		for _, m := range referred.FindAllStringSubmatch(text, -1) {
			if !seen[m[1]] {
				t.Fatalf("%s refers to nothing in:\n%s", m[0], text)
			}
		}
		for _, r := range text {
			if r != '\n' && r < ' ' || r == '\u2028' || r == '\u202e' {
				t.Fatalf("it lets %U through", r)
			}
		}
		r := doc.Results.Results[0]
		for _, o := range r.Observations {
			for _, e := range o.Evidence {
				if strings.HasPrefix(e.Href, "#") { // it would name a resource of the document's own
					t.Fatalf("evidence is at %q", e.Href)
				}
			}
			for _, text := range []string{o.Title, o.Description} {
				if obeyed.MatchString(text) {
					t.Fatalf("Markdown obeys %q", text)
				}
			}
		}
		missing := false
		said := map[engine.Control][]string{} // of each control, without its relation
		for _, policy := range p.Policies {
			for _, c := range policy.Controls {
				said[engine.Control{Framework: c.Framework, ID: c.ID}] = nil
			}
		}
		for e := range p.Entries {
			missing = missing || e.Missing != nil
			for _, x := range e.Results {
				for _, policy := range p.Policies {
					if policy.ID != x.Policy || policy.Digest != x.Digest || x.Verdict == "notApplicable" {
						continue
					}
					for _, c := range policy.Controls {
						key := engine.Control{Framework: c.Framework, ID: c.ID}
						said[key] = append(said[key], fmt.Sprint(x.Verdict, e.Simulated))
					}
				}
			}
		}
		controls := slices.SortedFunc(maps.Keys(said), func(a, b engine.Control) int {
			return cmp.Or(strings.Compare(a.Framework, b.Framework), strings.Compare(a.ID, b.ID))
		})
		if len(r.Findings) != len(controls) {
			t.Fatalf("%d findings on %d controls", len(r.Findings), len(controls))
		}
		targets := map[string]bool{}
		for i, f := range r.Findings {
			targets[f.Target.ID] = true
			if obeyed.MatchString(f.Title) || obeyed.MatchString(f.Description) {
				t.Fatalf("Markdown obeys %q or %q", f.Title, f.Description)
			}
			all := slices.Compact(slices.Sorted(slices.Values(said[controls[i]])))
			if want := !missing && slices.Equal(all, []string{"passfalse"}); want != (f.Target.Status.State == "satisfied") {
				t.Fatalf("%s: policies said %v, missing %v", f.Title, all, missing)
			}
		}
		if len(targets) != len(controls) {
			t.Fatalf("%d objectives of %d controls", len(targets), len(controls))
		}
	})
}

// TestOSCALOfThousands: many results are a valid document, and one that passes takes no place.
func TestOSCALOfThousands(t *testing.T) {
	var entries []report.Entry
	for i := range 5000 {
		verdict := "pass"
		if i%5 == 0 {
			verdict = "fail"
		}
		entries = append(entries, judgedEntry(fmt.Sprint(i), verdict))
	}
	_, doc := assessed(t, period(entries...))
	r := doc.Results.Results[0]
	if len(r.Observations) != 1000+4 || len(r.Local.Items) != 1000 {
		t.Errorf("%d observations on %d subjects", len(r.Observations), len(r.Local.Items))
	}
	if got := r.Observations[1000].Props; fmt.Sprint(got.get("pass"), got.get("fail"), got.get("first-pass-seq"), got.get("last-pass-seq")) != "[4000] [1000] [1] [4999]" {
		t.Errorf("the passes are counted as %v", got)
	}
}
