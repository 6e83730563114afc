package report_test

import (
	"fmt"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// held is a run that was held against an earlier one.
func held(t *testing.T, s *engine.Since) engine.Report {
	r := run(t, nil, nil, steps{})
	trailer := r.Trailer
	r.Trailer = func() engine.Trailer {
		t := trailer()
		t.Since = s
		return t
	}
	return r
}

func TestSinceIsTold(t *testing.T) {
	thing := engine.Named{APIVersion: "v1", Kind: "Thing", Namespace: "n", Name: "x", Source: "deploy", File: "deploy/x.yaml"}
	out := func(v engine.Verdict, e engine.Effect) engine.Outcome { return engine.Outcome{Verdict: v, Effect: e} }
	s := &engine.Since{Evidence: "dir", Run: "R", At: now, Simulated: true, Unread: 2, Unchanged: 7, NewPolicies: []string{"p/new"}, GonePolicies: []string{"p/old"}, ChangedPolicies: []string{"p/other"}}
	pass := out(engine.Pass, engine.EffectRecord)
	s.New.Add(engine.Change{Policy: "p/a", Severity: engine.Critical, Subject: thing, Was: &pass, Is: out(engine.Fail, engine.EffectDeny)})
	s.Worse.Add(engine.Change{Policy: "p/b", Severity: engine.Low, Subject: thing, Is: out(engine.Unknown, engine.EffectWarn)})
	s.NewPolicy.Add(engine.Change{Policy: "p/new", Subject: thing, Is: out(engine.Fail, engine.EffectDeny)})
	failed := out(engine.Fail, engine.EffectDeny)
	s.ChangedPolicy.Add(engine.Change{Policy: "p/other", Severity: engine.Critical, Subject: thing, Was: &failed, Is: pass})
	s.NotKnown.Add(engine.Change{Policy: "p/e", Subject: thing, Was: &failed, Is: out(engine.Unknown, engine.EffectDeny)})
	s.Fixed.Add(engine.Change{Policy: "p/c", Subject: thing, Was: &failed, Is: pass})
	s.Better.Add(engine.Change{Policy: "p/d", Subject: thing, Was: &failed, Is: out(engine.Fail, engine.EffectRecord)})
	s.Gone.Add(engine.Former{Subject: thing, Fails: 1})
	s.Unseen.Add(engine.Former{Subject: thing})
	text := written(t, report.Text, held(t, s), report.Options{})
	want := `since the scan of 2026-03-01T12:00:00Z (dir; it was simulated; it did not read 2 things)
  new  CRITICAL  p/a  Thing n/x: fail, was pass
  worse  LOW  p/b  Thing n/x: unknown (warn), was not judged
  of a new policy  p/new  Thing n/x: fail, was not judged
  of a changed policy  CRITICAL  p/other  Thing n/x: pass, was fail
  not known any more  p/e  Thing n/x: unknown, was fail
  fixed  p/c  Thing n/x: pass, was fail
  better  p/d  Thing n/x: fail (record), was fail
  gone  Thing n/x, from deploy: it failed 1 policy, and gone is not fixed
  not seen  Thing n/x, from deploy
  policies in force now and not then: p/new
  policies no longer in force: p/old
  policies that were changed, or their parameters or modes: p/other
  1 new, 1 worse, 1 of a new policy, 1 of a changed policy, 1 not known any more, 1 fixed, 1 better, 1 gone, 1 not seen, 7 unchanged
`
	if !strings.Contains(text, want) {
		t.Errorf("the text is\n%s\nwant in it\n%s", text, want)
	}
	doc := validate(t, written(t, report.JSON, held(t, s), report.Options{}))
	since := doc["since"].(map[string]any)
	if got := fmt.Sprint(since["counts"]); got != "map[better:1 changedPolicy:1 fixed:1 gone:1 new:1 newPolicy:1 notKnown:1 unchanged:7 unseen:1 worse:1]" {
		t.Errorf("counts are %s", got)
	}
	first := since["new"].([]any)[0].(map[string]any)
	if fmt.Sprint(first["was"], first["is"], first["severity"]) != "map[effect:record verdict:pass] map[effect:deny verdict:fail]critical" {
		t.Errorf("the first change is %v", first)
	}
	if was := since["worse"].([]any)[0].(map[string]any)["was"]; was != nil {
		t.Errorf("what was not judged was %v", was)
	}
	if doc := validate(t, written(t, report.JSON, held(t, nil), report.Options{})); doc["since"] != nil {
		t.Error("a run that was held against nothing tells what changed")
	}
	validate(t, written(t, report.JSON, held(t, &engine.Since{At: now}), report.Options{}))
}

// However much changed, the lists end, and say so; names are shown and never obeyed.
func TestSinceIsCutOff(t *testing.T) {
	s := &engine.Since{At: now}
	for i := range 1200 {
		s.New.Add(engine.Change{Policy: "p/a", Subject: engine.Named{Kind: "Thing", Name: fmt.Sprint("x\x1b[2J", i)}, Is: engine.Outcome{Verdict: engine.Fail}})
	}
	for all, more := range map[bool]string{false: "  new  1180 more\n", true: "  new  200 more\n"} {
		text := written(t, report.Text, held(t, s), report.Options{All: all})
		if !strings.Contains(text, more) || !strings.Contains(text, "  1200 new, ") || strings.Contains(text, "\x1b") {
			t.Errorf("all=%v: want %q in\n%.2000s", all, more, text)
		}
	}
	since := validate(t, written(t, report.JSON, held(t, s), report.Options{}))["since"].(map[string]any)
	if n := len(since["new"].([]any)); n != 1000 || since["counts"].(map[string]any)["new"] != 1200.0 {
		t.Errorf("%d of %v are listed", n, since["counts"])
	}
}
