package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

type ruleFunc func(ctx context.Context, in engine.Input) ([]engine.Violation, error)

func (f ruleFunc) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	return f(ctx, in)
}

func passes(context.Context, engine.Input) ([]engine.Violation, error) { return nil, nil }

func fails(messages ...string) ruleFunc {
	return func(context.Context, engine.Input) ([]engine.Violation, error) {
		var vs []engine.Violation
		for _, m := range messages {
			vs = append(vs, engine.Violation{Message: m, Path: "spec"})
		}
		return vs, nil
	}
}

var schedules = engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}}}

func schedule(spec map[string]any) engine.Subject {
	return engine.Subject{APIVersion: "velero.io/v1", Kind: "Schedule", Namespace: "velero", Name: "daily",
		Object: map[string]any{"metadata": map[string]any{"namespace": "velero", "labels": map[string]any{"team": "a"}}, "spec": spec}}
}

func newSet(t testing.TB, policies ...engine.Policy) *engine.Set {
	t.Helper()
	for i := range policies {
		p := &policies[i]
		if p.Match == nil {
			p.Match = schedules
		}
		if p.ID == "" {
			p.ID = fmt.Sprintf("test/p%04d", i)
		}
		if p.Rule == nil {
			p.Rule = ruleFunc(passes)
		}
	}
	s, err := engine.NewSet(policies)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func judge(t testing.TB, p engine.Policy, sub engine.Subject, facts engine.FactSource) engine.Decision {
	t.Helper()
	ds := newSet(t, p).Judge(context.Background(), sub, facts, time.Time{})
	if len(ds) != 1 {
		t.Fatalf("got %d decisions, want 1", len(ds))
	}
	return ds[0]
}

type factFunc func(q engine.FactQuery) (any, engine.FactState, error)

func (f factFunc) Fact(_ context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	return f(q)
}

func TestVerdicts(t *testing.T) {
	full := map[string]any{"ttl": "24h", "n": int64(3), "list": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}
	ns := map[string]engine.FactQuery{"ns": {Kind: "Namespace", Name: ".metadata.namespace"}}
	when := func(ok bool, err error) engine.Condition {
		return func(context.Context, engine.Input) (bool, error) { return ok, err }
	}
	for _, c := range []struct {
		name   string
		policy engine.Policy
		spec   map[string]any
		op     string
		facts  engine.FactSource
		want   engine.Verdict
		reason string
		cause  engine.Cause
	}{
		{"nothing wrong", engine.Policy{}, full, "", nil, engine.Pass, "", 0},
		{"something wrong", engine.Policy{Rule: fails("bad")}, full, "", nil, engine.Fail, "", 0},
		{"an error", engine.Policy{Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { return nil, errors.New("no such key") })}, full, "", nil, engine.Unknown, "no such key", engine.CauseError},
		{"a panic", engine.Policy{Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { panic("index") })}, full, "", nil, engine.Unknown, "the rule panicked: index", engine.CauseError},
		{"a violation without text", engine.Policy{Rule: fails("")}, full, "", nil, engine.Unknown, "no message", engine.CauseError},
		{"required and there", engine.Policy{Requires: map[string]engine.Type{"spec.ttl": engine.Duration}}, full, "", nil, engine.Pass, "", 0},
		{"required and missing", engine.Policy{Requires: map[string]engine.Type{"spec.x.y": engine.String}}, full, "", nil, engine.Unknown, "spec.x.y is missing", engine.CauseField},
		{"required and null", engine.Policy{Requires: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"ttl": nil}, "", nil, engine.Unknown, "spec.ttl is missing", engine.CauseField},
		{"required and empty", engine.Policy{Requires: map[string]engine.Type{"spec.ttl": engine.String}}, map[string]any{"ttl": ""}, "", nil, engine.Unknown, "spec.ttl is empty", engine.CauseField},
		{"mistyped", engine.Policy{Requires: map[string]engine.Type{"spec.n": engine.String}}, full, "", nil, engine.Unknown, "spec.n holds the number 3, want text", engine.CauseField},
		{"a number that is text", engine.Policy{Optional: map[string]engine.Type{"spec.n": engine.Int}}, map[string]any{"n": "7"}, "", nil, engine.Unknown, `spec.n holds the text "7", want a whole number`, engine.CauseField},
		{"days are no duration", engine.Policy{Optional: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"ttl": "30d"}, "", nil, engine.Unknown, "want a duration", engine.CauseField},
		{"optional and absent", engine.Policy{Optional: map[string]engine.Type{"spec.x": engine.Int}}, full, "", nil, engine.Pass, "", 0},
		{"optional under a mistyped parent", engine.Policy{Optional: map[string]engine.Type{"spec.ttl.x": engine.Int}}, full, "", nil, engine.Unknown, "spec.ttl holds the text", engine.CauseField},
		{"each element", engine.Policy{Requires: map[string]engine.Type{"spec.list[*].name": engine.String}}, full, "", nil, engine.Pass, "", 0},
		{"one element without", engine.Policy{Requires: map[string]engine.Type{"spec.list[*].name": engine.String}}, map[string]any{"list": []any{map[string]any{"name": "a"}, map[string]any{}}}, "", nil, engine.Unknown, "spec.list[*].name is missing", engine.CauseField},
		{"no list", engine.Policy{Requires: map[string]engine.Type{"spec.list[*].name": engine.String}}, map[string]any{"list": map[string]any{"name": "a"}}, "", nil, engine.Unknown, "spec.list holds an object, want a list", engine.CauseField},
		{"another case", engine.Policy{Requires: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"TTL": "24h"}, "", nil, engine.Unknown, "spec.TTL differs only in case from spec.ttl", engine.CauseField},
		{"both cases", engine.Policy{Optional: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"ttl": "24h", "Ttl": "1h"}, "", nil, engine.Unknown, "spec.Ttl differs only in case from spec.ttl", engine.CauseField},
		{"when is false", engine.Policy{When: when(false, nil), Requires: map[string]engine.Type{"spec.x": engine.Int}}, full, "", nil, engine.NotApplicable, "when is false", 0},
		{"when fails", engine.Policy{When: when(true, errors.New("no such key"))}, full, "", nil, engine.Unknown, "when: no such key", engine.CauseError},
		{"when fails for want of a field", engine.Policy{When: when(true, errors.New("no such key")), Requires: map[string]engine.Type{"spec.x": engine.Int}}, full, "", nil, engine.Unknown, "spec.x is missing", engine.CauseField},
		{"when is false and a declared path mistyped", engine.Policy{When: when(false, nil), Optional: map[string]engine.Type{"spec.n": engine.String}}, full, "", nil, engine.Unknown, "spec.n holds", engine.CauseField},
		{"when is false and a required path null", engine.Policy{When: when(false, nil), Requires: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"ttl": nil}, "", nil, engine.Unknown, "spec.ttl is missing", engine.CauseField},
		{"when is false and an optional path null", engine.Policy{When: when(false, nil), Optional: map[string]engine.Type{"spec.ttl": engine.Duration}}, map[string]any{"ttl": nil}, "", nil, engine.NotApplicable, "when is false", 0},
		{"fact found", engine.Policy{Facts: ns, Rule: ruleFunc(func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
			return fails(fmt.Sprint(in.Facts["ns"]))(nil, in)
		})}, full, "", factFunc(func(q engine.FactQuery) (any, engine.FactState, error) {
			return map[string]any{"name": q.Name}, engine.FactFound, nil
		}), engine.Fail, "", 0},
		{"fact absent", engine.Policy{Facts: ns, Rule: ruleFunc(func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
			if v, there := in.Facts["ns"]; v != nil || !there {
				return nil, errors.New("not null")
			}
			return nil, nil
		})}, full, "", factFunc(func(engine.FactQuery) (any, engine.FactState, error) { return "left over", engine.FactAbsent, nil }), engine.Pass, "", 0},
		{"fact unknown", engine.Policy{Facts: ns}, full, "", nil, engine.Unknown, "fact ns (Namespace velero) is unknown", engine.CauseFact},
		{"fact fails", engine.Policy{Facts: ns}, full, "", factFunc(func(engine.FactQuery) (any, engine.FactState, error) {
			return map[string]any{}, engine.FactFound, errors.New("forbidden")
		}), engine.Unknown, "forbidden", engine.CauseFact},
		{"fact of another shape", engine.Policy{Facts: ns}, full, "", factFunc(func(engine.FactQuery) (any, engine.FactState, error) {
			return []any{}, engine.FactFound, nil
		}), engine.Unknown, "the source answered with a list", engine.CauseFact},
		{"fact by a missing name", engine.Policy{Facts: map[string]engine.FactQuery{"c": {Kind: "StorageClass", Name: ".spec.class"}}}, full, "", nil, engine.Unknown, "fact c cannot be asked for: spec.class is missing", engine.CauseFact},
		{"optional fact by a missing name", engine.Policy{Facts: map[string]engine.FactQuery{"c": {Kind: "StorageClass", Name: ".spec.class", Optional: true}}}, full, "", nil, engine.Pass, "", 0},
		{"old in a scan", engine.Policy{Requires: map[string]engine.Type{"old.spec.ttl": engine.Duration}}, full, "", nil, engine.NotApplicable, "needs the old object", 0},
		{"old on update", engine.Policy{Requires: map[string]engine.Type{"old.spec.ttl": engine.Duration}}, full, engine.Update, nil, engine.Unknown, "old.spec.ttl is missing", engine.CauseField},
		{"old on delete is the object", engine.Policy{Match: engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}, Operations: []string{engine.Delete}}}, Requires: map[string]engine.Type{"old.spec.ttl": engine.Duration}}, full, engine.Delete, nil, engine.Pass, "", 0},
		{"user in lint", engine.Policy{Requires: map[string]engine.Type{"user.username": engine.String}}, full, engine.Create, nil, engine.NotApplicable, "needs the user", 0},
		{"delete by default", engine.Policy{Rule: fails("bad")}, full, engine.Delete, nil, engine.NotApplicable, "operation DELETE", 0},
		{"only delete in a scan", engine.Policy{Match: engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}, Operations: []string{engine.Delete}}}, Rule: fails("bad")}, full, "", nil, engine.NotApplicable, "operation a scan", 0},
		{"another version", engine.Policy{Match: engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}, Versions: []string{"v2"}}}}, full, "", nil, engine.NotApplicable, "version v1 is not one of [v2]", 0},
		{"any kind", engine.Policy{Match: engine.Match{{Group: "*", Kinds: []string{"*"}}}, Rule: fails("bad")}, full, "", nil, engine.Fail, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := schedule(c.spec)
			sub.Operation = c.op
			d := judge(t, c.policy, sub, c.facts)
			if d.Verdict != c.want || !strings.Contains(d.Reason, c.reason) || d.Cause != c.cause {
				t.Errorf("got %v, %q, cause %d; want %v, %q, cause %d", d.Verdict, d.Reason, d.Cause, c.want, c.reason, c.cause)
			}
		})
	}
}

func TestAnErrorIsPlacedByWhatItSpeaksOf(t *testing.T) {
	spec := map[string]any{"region": "eu-nowhere-1", "provider": "aws1"}
	for reason, want := range map[string]string{
		`locate "eu-nowhere-1": not a region`: "spec.region",
		"write spec.provider":                 "spec.provider",
		"no such key":                         "",
		"aws1me":                              "",
		`profile "xaws1" is not one`:          "",
	} {
		d := judge(t, engine.Policy{Requires: map[string]engine.Type{"spec.region": engine.String, "spec.provider": engine.String},
			Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { return nil, errors.New(reason) })}, schedule(spec), nil)
		if d.Path != want {
			t.Errorf("%s: got %q, want %q", reason, d.Path, want)
		}
	}
}

// Where a label differs only in case from one that decides, on the subject, its template, or a fact, a failure stays one, and
// nothing else is certain.
func TestMisspeltLabels(t *testing.T) {
	sub := schedule(map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"Example.com/Class": "x"}}}})
	p := engine.Policy{Params: map[string]any{"classLabel": "example.com/class"}}
	if d := judge(t, p, sub, nil); d.Verdict != engine.Unknown || d.Path != `spec.template.metadata.labels["Example.com/Class"]` {
		t.Errorf("template: got %v, %q at %q", d.Verdict, d.Reason, d.Path)
	}
	sub = schedule(nil)
	if d := judge(t, p, sub, nil); d.Verdict != engine.Pass {
		t.Errorf("no such label: got %v, %q", d.Verdict, d.Reason)
	}
	p.Facts = map[string]engine.FactQuery{"ns": {Kind: "Namespace", All: true}}
	d := judge(t, p, sub, factFunc(func(engine.FactQuery) (any, engine.FactState, error) {
		return []any{map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": "hr", "labels": map[string]any{"EXAMPLE.com/class": "x"}}}}, engine.FactFound, nil
	}))
	if d.Verdict != engine.Unknown || d.Cause != engine.CauseError || !strings.Contains(d.Reason, "fact ns: Namespace hr: ") || !strings.Contains(d.Reason, "differs only in case") {
		t.Errorf("fact: got %v, %q", d.Verdict, d.Reason)
	}

	p.Facts, p.Mode, p.Unknown = nil, engine.ModeDeny, engine.ModeWarn
	sub = schedule(nil)
	sub.Object["metadata"] = map[string]any{"labels": map[string]any{"Example.com/Class": "x"}}
	if d := judge(t, p, sub, nil); d.Verdict != engine.Unknown || d.Effect != engine.EffectDeny {
		t.Errorf("what is misspelt is done with as a failure is: got %v, %v", d.Verdict, d.Effect)
	}
	p.Rule = ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) {
		return []engine.Violation{{Message: "it is wrong"}}, nil
	})
	if d := judge(t, p, sub, nil); d.Verdict != engine.Fail {
		t.Errorf("what is misspelt hides a failure: got %v, %q", d.Verdict, d.Reason)
	}
	p.Rule = ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) {
		return nil, errors.New("cannot read the label")
	})
	if d := judge(t, p, sub, nil); d.Verdict != engine.Unknown || d.Effect != engine.EffectDeny {
		t.Errorf("what the rule itself cannot tell for it: got %v, %v", d.Verdict, d.Effect)
	}
	p.When = func(context.Context, engine.Input) (bool, error) { return false, nil }
	if d := judge(t, p, sub, nil); d.Verdict != engine.Unknown {
		t.Errorf("what is misspelt may be what the policy is for: got %v", d.Verdict)
	}
}

func TestReasonsTellNoSecret(t *testing.T) {
	sub := engine.Subject{APIVersion: "v1", Kind: "Secret", Object: map[string]any{"data": map[string]any{"password": "aHVudGVyMg=="}}}
	d := judge(t, engine.Policy{Match: engine.Match{{Kinds: []string{"Secret"}}}, Requires: map[string]engine.Type{"data.password": engine.Int}}, sub, nil)
	if d.Reason != "data.password holds text, want a whole number" {
		t.Errorf("got %q", d.Reason)
	}
}

func TestUnknownNamesThePlace(t *testing.T) {
	d := judge(t, engine.Policy{Requires: map[string]engine.Type{"spec.list[*].n": engine.Int}}, schedule(map[string]any{"list": []any{map[string]any{"n": "x"}}}), nil)
	if d.Path != "spec.list[0].n" {
		t.Errorf("got %q", d.Path)
	}
}

func TestJudgeNeverStopsEarlyAndSorts(t *testing.T) {
	s := newSet(t,
		engine.Policy{ID: "b/panics", Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { panic("x") })},
		engine.Policy{ID: "a/fails", Rule: fails("two", "one", "one")},
		engine.Policy{ID: "c/passes"})
	got := ""
	for _, d := range s.Judge(context.Background(), schedule(nil), nil, time.Time{}) {
		got += fmt.Sprintf("%s %v %v;", d.Policy.ID, d.Verdict, d.Violations)
	}
	if want := "a/fails fail [{one spec} {two spec}];b/panics unknown [];c/passes pass [];"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestViolationsAreCapped(t *testing.T) {
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprint(i))
	}
	d := judge(t, engine.Policy{Rule: fails(many...)}, schedule(nil), nil)
	if n := len(d.Violations); n != 100 || !strings.Contains(d.Violations[99].Message, "4901 more") {
		t.Errorf("got %d, last %v", n, d.Violations[n-1])
	}
}

// A rule that obeys its context is ended at its limit; one that does not is answered for; the others are not touched,
// and after three overruns the rule is no longer asked.
func TestWatchdog(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var asked atomic.Int32
	s := newSet(t,
		engine.Policy{ID: "a/obeys", Rule: ruleFunc(func(ctx context.Context, _ engine.Input) ([]engine.Violation, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})},
		engine.Policy{ID: "b/stuck", Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) {
			asked.Add(1)
			<-release
			return nil, nil
		})},
		engine.Policy{ID: "c/fails", Rule: fails("bad")}).WithLimit(200 * time.Millisecond)
	for round := range 5 {
		ds := s.Judge(context.Background(), schedule(nil), nil, time.Time{})
		for _, d := range ds[:2] {
			if d.Verdict != engine.Unknown || d.Cause != engine.CauseLimit {
				t.Errorf("round %d: %s: got %v, %q", round, d.Policy.ID, d.Verdict, d.Reason)
			}
			if round >= 3 && !strings.Contains(d.Reason, "no longer asked") {
				t.Errorf("round %d: %s: %q", round, d.Policy.ID, d.Reason)
			}
		}
		if ds[2].Verdict != engine.Fail {
			t.Errorf("round %d: the neighbour got %v, %q", round, ds[2].Verdict, ds[2].Reason)
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the stuck rule was asked %d times, want 3", n)
	}
}

func TestCancelledJudging(t *testing.T) {
	s := newSet(t, engine.Policy{Rule: ruleFunc(func(ctx context.Context, _ engine.Input) ([]engine.Violation, error) {
		select {}
	})})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	ds := s.Judge(ctx, schedule(nil), nil, time.Time{})
	if len(ds) != 1 || ds[0].Verdict != engine.Unknown || !strings.Contains(ds[0].Reason, "stopped") {
		t.Errorf("got %+v", ds)
	}
}

func TestMemoryIsALimit(t *testing.T) {
	d := judge(t, engine.Policy{Rule: ruleFunc(func(ctx context.Context, _ engine.Input) ([]engine.Violation, error) {
		var hoard [][]byte
		for ctx.Err() == nil && len(hoard) < 3000 {
			hoard = append(hoard, make([]byte, 1<<20))
			time.Sleep(500 * time.Microsecond)
		}
		return nil, ctx.Err()
	})}, schedule(nil), nil)
	if d.Verdict != engine.Unknown || d.Cause != engine.CauseLimit {
		t.Errorf("got %v, %q", d.Verdict, d.Reason)
	}
}

func TestFactsAreFetchedOncePerSubject(t *testing.T) {
	calls := 0
	src := factFunc(func(engine.FactQuery) (any, engine.FactState, error) {
		calls++
		return map[string]any{}, engine.FactFound, nil
	})
	q := map[string]engine.FactQuery{"ns": {Kind: "Namespace", Name: ".metadata.namespace"}}
	newSet(t, engine.Policy{Facts: q}, engine.Policy{Facts: q}).Judge(context.Background(), schedule(nil), src, time.Time{})
	if calls != 1 {
		t.Errorf("asked %d times, want once", calls)
	}
}

func TestFactQueriesAreResolved(t *testing.T) {
	include := map[string]any{"template": map[string]any{"includedNamespaces": []any{"orders", "billing"}}}
	for _, c := range []struct {
		query engine.FactQuery
		spec  map[string]any
		want  string
	}{
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]"}, include, "Namespace orders, billing"},
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]", Wildcard: true}, map[string]any{}, "Namespace *"},
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]", Wildcard: true}, map[string]any{"template": map[string]any{"includedNamespaces": []any{}}}, "Namespace *"},
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]"}, map[string]any{}, "fact f cannot be asked for: spec.template.includedNamespaces[*] is missing"},
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]"}, map[string]any{"template": map[string]any{"includedNamespaces": "orders"}}, "fact f cannot be asked for: spec.template.includedNamespaces holds the text \"orders\", want a name"},
		{engine.FactQuery{Kind: "Namespace", Name: ".spec.template.includedNamespaces[*]"}, map[string]any{"template": map[string]any{"includedNamespaces": []any{int64(1)}}}, "fact f cannot be asked for: spec.template.includedNamespaces[0] holds the number 1, want a name"},
		{engine.FactQuery{Group: "velero.io", Kind: "BackupStorageLocation", Namespace: ".metadata.namespace", Name: "default"}, nil, "BackupStorageLocation default in namespace velero"},
		{engine.FactQuery{Kind: "Namespace", All: true}, nil, "every Namespace"},
	} {
		asked := ""
		d := judge(t, engine.Policy{Facts: map[string]engine.FactQuery{"f": c.query}}, schedule(c.spec), factFunc(func(q engine.FactQuery) (any, engine.FactState, error) {
			asked = q.String()
			return nil, engine.FactUnknown, nil
		}))
		if asked == "" {
			asked = d.Reason
		}
		if asked != c.want {
			t.Errorf("got %q, want %q", asked, c.want)
		}
	}
}

func TestNewSetReportsEveryProblem(t *testing.T) {
	_, err := engine.NewSet([]engine.Policy{
		{},
		{ID: "a/norule", Match: schedules},
		{ID: "a/nomatch", Rule: ruleFunc(passes)},
		{ID: "a/op", Rule: ruleFunc(passes), Match: engine.Match{{Kinds: []string{"Pod"}, Operations: []string{"PATCH"}}}},
		{ID: "a/type", Rule: ruleFunc(passes), Match: schedules, Requires: map[string]engine.Type{"spec": "text"}},
		{ID: "a/path", Rule: ruleFunc(passes), Match: schedules, Requires: map[string]engine.Type{"spec..x": engine.Int}},
		{ID: "a/fact", Rule: ruleFunc(passes), Match: schedules, Facts: map[string]engine.FactQuery{"f": {Kind: "Namespace"}}},
		{ID: "a/twice", Rule: ruleFunc(passes), Match: schedules},
		{ID: "a/twice", Rule: ruleFunc(passes), Match: schedules},
	})
	for _, want := range []string{"without an id", "no rule", "matches nothing", `unknown operation "PATCH"`, `unknown type "text"`, "a key is empty", "exactly one of", "there twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the errors: %v", want, err)
		}
	}
}

func TestEffects(t *testing.T) {
	soon := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	waiver := engine.Waiver{ID: "w1", Policy: "test/p0000", Subjects: engine.Selector{Kind: "Schedule", Labels: map[string]string{"team": "a"}}, Owner: "o", Reason: "r", Approver: "a", Expires: soon}
	unknown := ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { return nil, errors.New("x") })
	for _, c := range []struct {
		name   string
		policy engine.Policy
		waived bool
		now    time.Time
		want   engine.Effect
	}{
		{"fail", engine.Policy{Rule: fails("x")}, false, time.Time{}, engine.EffectDeny},
		{"fail, warned", engine.Policy{Rule: fails("x"), Mode: engine.ModeWarn}, false, time.Time{}, engine.EffectWarn},
		{"unknown is denied by default", engine.Policy{Rule: unknown, Mode: engine.ModeWarn}, false, time.Time{}, engine.EffectDeny},
		{"unknown, warned", engine.Policy{Rule: unknown, Unknown: engine.ModeWarn}, false, time.Time{}, engine.EffectWarn},
		{"pass", engine.Policy{}, false, time.Time{}, engine.EffectRecord},
		{"waived", engine.Policy{Rule: fails("x")}, true, soon.Add(-time.Second), engine.EffectRecord},
		{"waiver has expired", engine.Policy{Rule: fails("x")}, true, soon, engine.EffectDeny},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSet(t, c.policy)
			if c.waived {
				var err error
				if s, err = s.WithWaivers([]engine.Waiver{waiver}); err != nil {
					t.Fatal(err)
				}
			}
			d := s.Judge(context.Background(), schedule(nil), nil, c.now)[0]
			if d.Effect != c.want {
				t.Errorf("got %v, want %v", d.Effect, c.want)
			}
			if c.waived && (d.Waiver == nil || d.Verdict != engine.Fail) {
				t.Errorf("a waived policy is still judged and names its waiver; got %v, %v", d.Verdict, d.Waiver)
			}
		})
	}
}

func TestWaiversMustBeWhole(t *testing.T) {
	s := newSet(t, engine.Policy{})
	_, err := s.WithWaivers([]engine.Waiver{{ID: "w", Policy: "p"}, {ID: "w", Policy: "p", Owner: "o", Reason: "r", Approver: "a", Expires: time.Now(), Subjects: engine.Selector{Kind: "Pod"}}})
	for _, want := range []string{"owner is missing", "reason is missing", "approver is missing", "expires is missing", "picks everything", "there twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the errors: %v", want, err)
		}
	}
}

func TestSelectors(t *testing.T) {
	sub := schedule(nil)
	for _, c := range []struct {
		sel  engine.Selector
		want bool
	}{
		{engine.Selector{Kind: "Schedule"}, true},
		{engine.Selector{Kind: "Backup"}, false},
		{engine.Selector{Name: "dai*"}, true},
		{engine.Selector{Name: "*"}, true},
		{engine.Selector{Name: "dail"}, false},
		{engine.Selector{Namespace: "vel*o", Group: "velero.io"}, true},
		{engine.Selector{Kind: "Schedule", Group: "k8up.io"}, false},
		{engine.Selector{Labels: map[string]string{"team": "a"}}, true},
		{engine.Selector{Labels: map[string]string{"team": "a", "x": ""}}, false},
	} {
		if got := c.sel.Matches(&sub); got != c.want {
			t.Errorf("%+v: got %v", c.sel, got)
		}
	}
}

func TestMisspeltKind(t *testing.T) {
	s := newSet(t, engine.Policy{Requires: map[string]engine.Type{"spec.ttl": engine.Duration, "spec.list[*].name": engine.String}})
	for _, c := range []struct {
		sub  engine.Subject
		want string
	}{
		{engine.Subject{APIVersion: "velero.io/v1", Kind: "schedule"}, "kind differs only in case from Schedule: write Schedule"},
		{engine.Subject{APIVersion: "Velero.io/v1", Kind: "Schedule"}, "apiVersion differs only in case from velero.io/v1: write velero.io/v1"},
		{schedule(map[string]any{"list": []any{map[string]any{"Name": "x"}}}), "spec.list[0].Name differs only in case from spec.list[0].name: write spec.list[0].name"},
		{schedule(map[string]any{"ttl": "24h"}), ""},
		{engine.Subject{APIVersion: "v1", Kind: "Pod"}, ""},
	} {
		got := ""
		for _, m := range s.Misspelt(&c.sub) {
			got += m.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func loaded(b *testing.B, n, matching int) *engine.Set {
	policies := make([]engine.Policy, n)
	for i := range policies {
		policies[i].Requires = map[string]engine.Type{"spec.ttl": engine.Duration}
		if i >= matching {
			policies[i].Match = engine.Match{{Group: "velero.io", Kinds: []string{fmt.Sprintf("Kind%d", i%100)}}}
		}
	}
	return newSet(b, policies...)
}

// The cost of judging follows the policies that match, not those that are loaded.
func BenchmarkJudge(b *testing.B) {
	sub := schedule(map[string]any{"ttl": "24h"})
	for _, size := range []struct{ loaded, matching int }{{10, 10}, {100, 100}, {1000, 100}, {10000, 100}} {
		s := loaded(b, size.loaded, size.matching)
		b.Run(fmt.Sprintf("loaded=%d/matching=%d", size.loaded, size.matching), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Judge(context.Background(), sub, nil, time.Time{})
			}
		})
	}
}

// What a rule says may quote what somebody made long: so much of it is kept, and the rule's own list stays as it is.
func TestMessagesAreBounded(t *testing.T) {
	said := []engine.Violation{{Message: strings.Repeat("ä", 100_000)}}
	rule := ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { return said, nil })
	d := judge(t, engine.Policy{Rule: rule}, schedule(nil), nil)
	if got := d.Violations[0].Message; len(got) > 4140 || !strings.Contains(got, "ä… (sha256 ") {
		t.Errorf("%d bytes are kept, ending in %q", len(got), got[len(got)-10:])
	}
	said = append(said, engine.Violation{Message: said[0].Message + "b"})
	if d := judge(t, engine.Policy{Rule: rule}, schedule(nil), nil); len(d.Violations) != 2 {
		t.Error("two that differ in what was cut are one")
	}
	if len(said[0].Message) != 200_000 {
		t.Error("the rule's own list is written to")
	}
}
