//go:build unix

package evidence_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// now is a run of today's subjects.
func now(scope []string, items ...judged) engine.Report {
	return engine.Report{Header: engine.Header{Scope: scope}, Trailer: func() engine.Trailer { return engine.Trailer{} }, Results: iter.Seq[engine.Result](func(yield func(engine.Result) bool) {
		for _, item := range items {
			r := engine.Result{Subject: item.sub}
			if item.hole != nil {
				r.Unread = &engine.Unread{Source: item.hole.Source, Kind: engine.Hole, Err: errors.New("not seen")}
			}
			for policy, outcome := range item.said {
				verdict, effect, _ := strings.Cut(outcome, " ")
				d := engine.Decision{Policy: &engine.Policy{ID: policy}, Verdict: map[string]engine.Verdict{"pass": engine.Pass, "fail": engine.Fail, "notApplicable": engine.NotApplicable}[verdict]}
				mode, _ := engine.ParseMode(effect)
				d.Effect = engine.Effect(mode)
				r.Decisions = append(r.Decisions, d)
			}
			if !yield(r) {
				return
			}
		}
	})}
}

func told(t *testing.T, p *evidence.Previous, r engine.Report, then, now map[string]evidence.InForce) (*engine.Since, map[string]string) {
	t.Helper()
	r = p.Compare(r, "dir", then, now)
	for range r.Results {
	}
	s := r.Trailer().Since
	where := map[string]string{}
	for word, l := range map[string]engine.Listed[engine.Change]{"new": s.New, "worse": s.Worse, "notKnown": s.NotKnown, "fixed": s.Fixed, "better": s.Better, "newPolicy": s.NewPolicy, "changedPolicy": s.ChangedPolicy} {
		for _, c := range l.List {
			where[c.Subject.Name+" "+c.Policy] += word
		}
	}
	for word, l := range map[string]engine.Listed[engine.Former]{"gone": s.Gone, "unseen": s.Unseen} {
		for _, f := range l.List {
			where[f.Subject.Name] += fmt.Sprintf("%s %d", word, f.Fails)
		}
	}
	return s, where
}

// inForce are policies by their ids, which are all there is of them.
func inForce(ids ...string) map[string]evidence.InForce {
	all := map[string]evidence.InForce{}
	for _, id := range ids {
		all[id] = evidence.InForce{}
	}
	return all
}

func TestCompare(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	cases := []struct{ was, is, want string }{
		{"pass record", "pass record", ""}, {"fail deny", "fail deny", ""}, {"notApplicable record", "pass record", ""}, {"unknown deny", "unknown deny", ""},
		{"pass record", "fail deny", "new"}, {"unknown deny", "fail record", "new"}, {"notApplicable record", "fail warn", "new"},
		{"pass record", "unknown warn", "worse"}, {"fail warn", "fail deny", "worse"}, {"fail record", "fail deny", "worse"}, {"unknown record", "unknown deny", "worse"},
		{"fail deny", "pass record", "fixed"}, {"fail record", "pass record", "fixed"},
		{"fail deny", "unknown deny", "notKnown"}, {"fail deny", "notApplicable record", "better"}, {"fail deny", "fail record", "better"}, {"unknown deny", "pass record", "better"}, {"fail deny", "", "better"}, {"unknown deny", "", "better"},
		{"pass record", "", ""},
		{"", "fail deny", "new"}, {"", "unknown deny", "worse"}, {"", "pass record", ""},
	}
	var was, is []judged
	want := map[string]string{}
	said := func(outcome string) map[string]string {
		if outcome == "" {
			return nil
		}
		return map[string]string{"p/p": outcome}
	}
	for i, c := range cases {
		name := fmt.Sprintf("%02d", i)
		was = append(was, thing("s", "f", name, nil, said(c.was)))
		is = append(is, thing("s", "f", name, nil, said(c.is)))
		if c.want != "" {
			want[name+" p/p"] = c.want
		}
	}
	scanned(t, dir, k, "run-1", "done", []string{"s"}, was...)
	p := openPrevious(t, dir)
	s, got := told(t, p, now([]string{"s"}, is...), inForce("p/p"), inForce("p/p"))
	for i, c := range cases {
		if name := fmt.Sprintf("%02d p/p", i); got[name] != want[name] {
			t.Errorf("%q that was %q: %q, want %q", c.is, c.was, got[name], c.want)
		}
	}
	if s.Unchanged != 5 || s.Run != "run-1" || !s.At.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("%d unchanged since %s at %v", s.Unchanged, s.Run, s.At)
	}
}

// What is no longer there is named, and never fixed; what was not looked at is not called gone.
func TestCompareSubjectsAndPolicies(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	failing := map[string]string{"p/p": "fail deny", "p/old": "fail deny"}
	scanned(t, dir, k, "run-1", "done", []string{"s", "h", "t"}, thing("s", "f", "stays", nil, failing), thing("s", "f", "goes", nil, failing),
		thing("s", "f", "solo", nil, map[string]string{"p/p": "fail deny"}), thing("h", "f", "hidden", nil, failing), thing("t", "f", "elsewhere", nil, nil),
		thing("s", "1.yaml", "twin", nil, failing), thing("s", "2.yaml", "twin", nil, map[string]string{"p/p": "pass record"}))
	p := openPrevious(t, dir)
	s, got := told(t, p, now([]string{"s", "h"}, thing("s", "f", "stays", nil, map[string]string{"p/p": "fail deny", "p/new": "fail deny", "p/also": "pass record"}),
		thing("s", "f", "comes", nil, map[string]string{"p/p": "fail deny"}), judged{hole: &evidence.Hole{Source: "h"}},
		thing("s", "4.yaml", "solo", nil, map[string]string{"p/p": "pass record"}), thing("s", "5.yaml", "solo", nil, map[string]string{"p/p": "pass record"}),
		thing("s", "2.yaml", "twin", nil, map[string]string{"p/p": "pass record"}), thing("s", "3.yaml", "twin", map[string]any{"spec": "other"}, map[string]string{"p/p": "pass record"})),
		inForce("p/p", "p/old"), inForce("p/p", "p/new", "p/also"))
	want := map[string]string{"goes": "gone 2", "hidden": "unseen 2", "elsewhere": "unseen 0", "stays p/new": "newPolicy", "comes p/p": "new", "solo p/p": "fixed", "twin": "gone 2"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if fmt.Sprint(s.NewPolicies, s.GonePolicies, s.Unchanged) != "[p/also p/new] [p/old] 2" {
		t.Errorf("new policies %v, gone %v, unchanged %d", s.NewPolicies, s.GonePolicies, s.Unchanged)
	}
	// A policy that compares with what was passes as soon as that is what was.
	r := now([]string{"s"}, thing("s", "f", "stays", nil, map[string]string{"p/p": "pass record"}))
	compares := r.Results
	r.Results = func(yield func(engine.Result) bool) {
		for result := range compares {
			result.Decisions[0].Policy.Facts = map[string]engine.FactQuery{"previous": {Group: "artifact.proviso.dev", Kind: "Previous", Name: ".metadata.name"}}
			if !yield(result) {
				return
			}
		}
	}
	if s, got := told(t, p, r, inForce("p/p"), inForce("p/p")); s.Fixed.Count() != 0 || got["stays p/p"] != "better" {
		t.Errorf("a policy that compares: %v", got)
	}
	// A run that was cut short says of nothing that it is gone.
	r = now([]string{"s", "h", "t"})
	r.Trailer = func() engine.Trailer { return engine.Trailer{Stopped: true} }
	if s, _ := told(t, p, r, nil, nil); s.Gone.Count() != 0 || s.Unseen.Count() != 7 {
		t.Errorf("a run that was stopped: %d gone, %d unseen", s.Gone.Count(), s.Unseen.Count())
	}
}

// What only a changed policy did is neither fixed nor new; what is done about a verdict follows from the modes, too.
func TestComparePolicyChanged(t *testing.T) {
	failed := map[string]string{"p/p": "fail deny", "p/gone": "fail deny"}
	passed := map[string]string{"p/p": "pass record"}
	for name, c := range map[string]struct {
		now  evidence.InForce
		want map[string]string
	}{
		"as it was":        {evidence.InForce{Judges: "text", Modes: "deny"}, map[string]string{"heals p/p": "fixed", "fails p/p": "new", "comes p/p": "new", "warned p/p": "better", "left p/p": "better"}},
		"another text":     {evidence.InForce{Judges: "other", Modes: "deny"}, map[string]string{"heals p/p": "changedPolicy", "fails p/p": "changedPolicy", "comes p/p": "new", "warned p/p": "changedPolicy", "left p/p": "changedPolicy"}},
		"other modes":      {evidence.InForce{Judges: "text", Modes: "warn"}, map[string]string{"heals p/p": "fixed", "fails p/p": "new", "comes p/p": "new", "warned p/p": "changedPolicy", "left p/p": "better"}},
		"other, and modes": {evidence.InForce{Judges: "other", Modes: "warn"}, map[string]string{"heals p/p": "changedPolicy", "fails p/p": "changedPolicy", "comes p/p": "new", "warned p/p": "changedPolicy", "left p/p": "changedPolicy"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, k := t.TempDir(), newKey(t)
			scanned(t, dir, k, "run-1", "done", []string{"s"}, thing("s", "f", "heals", nil, failed), thing("s", "f", "fails", nil, passed), thing("s", "f", "warned", nil, failed), thing("s", "f", "left", nil, failed), thing("s", "f", "same", nil, failed))
			then := map[string]evidence.InForce{"p/p": {Judges: "text", Modes: "deny"}, "p/gone": {Judges: "text"}}
			s, got := told(t, openPrevious(t, dir), now([]string{"s"}, thing("s", "f", "heals", nil, passed), thing("s", "f", "fails", nil, map[string]string{"p/p": "fail deny"}),
				thing("s", "f", "comes", nil, map[string]string{"p/p": "fail deny"}), thing("s", "f", "warned", nil, map[string]string{"p/p": "fail warn"}),
				thing("s", "f", "left", nil, nil), thing("s", "f", "same", nil, map[string]string{"p/p": "fail deny"})),
				then, map[string]evidence.InForce{"p/p": c.now})
			if fmt.Sprint(got) != fmt.Sprint(c.want) || s.Unchanged != 1 {
				t.Errorf("got %v and %d unchanged, want %v and 1", got, s.Unchanged, c.want)
			}
			if changed := len(s.ChangedPolicies) > 0; changed != (name != "as it was") || fmt.Sprint(s.GonePolicies) != "[p/gone]" {
				t.Errorf("policies changed %v, gone %v", s.ChangedPolicies, s.GonePolicies)
			}
		})
	}
}

// A folder has many names, and what is in it is the same by all of them; an S3 address and a cluster have one.
func TestCompareSources(t *testing.T) {
	failing := map[string]string{"p/p": "fail deny"}
	for _, c := range []struct {
		was, is string
		same    bool
	}{
		{"../s", "./../s", true}, {"../s", "../s/", true}, {"s", "./s/x/..", true}, {"etcd:./e.db", "etcd:e.db", true},
		{"s", "t", false}, {"cluster:a/b", "cluster:a//b", false}, {"s3://b/p", "s3://b//p", false}, {"s", "etcd:s", false},
	} {
		dir, k := t.TempDir(), newKey(t)
		scanned(t, dir, k, "run-1", "done", []string{c.was}, thing(c.was, c.was+"/a.yaml", "a", nil, failing), thing(c.was, c.was+"/b.yaml", "twin", nil, failing), thing(c.was, c.was+"/c.yaml", "twin", nil, failing))
		p := openPrevious(t, dir)
		s, got := told(t, p, now([]string{c.is}, thing(c.is, c.is+"/a.yaml", "a", nil, failing), thing(c.is, c.is+"/c.yaml", "twin", nil, failing), thing(c.is, c.is+"/b.yaml", "twin", nil, failing)), inForce("p/p"), inForce("p/p"))
		if want := map[bool]int{true: 3}[c.same]; s.Unchanged != want || c.same && len(got) > 0 {
			t.Errorf("%s that was %s: %d unchanged and %v, want %d", c.is, c.was, s.Unchanged, got, want)
		}
		_, state, err := p.Fact(t.Context(), engine.FactQuery{Kind: "Previous", Name: "b"}, thing(c.is, "", "b", nil, nil).sub)
		if want := map[bool]engine.FactState{true: engine.FactAbsent, false: engine.FactUnknown}[c.same]; state != want {
			t.Errorf("what was not in %s, which was %s: %v (%v), want %v", c.is, c.was, state, err, want)
		}
	}
}

// Of several of one name, each in another file now, what they hold tells which was which.
func TestCompareRenamed(t *testing.T) {
	failed, passed := map[string]string{"p/p": "fail deny"}, map[string]string{"p/p": "pass record"}
	of := func(text string) map[string]any { return map[string]any{"spec": text} }
	secret := func(file, text string, said map[string]string) judged {
		j := thing("s", file, "secret", map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"a": text}}, said)
		j.sub.APIVersion, j.sub.Kind = "v1", "Secret"
		return j
	}
	dir, k := t.TempDir(), newKey(t)
	scanned(t, dir, k, "run-1", "done", []string{"s"}, thing("s", "1.yaml", "twin", of("one"), failed), thing("s", "2.yaml", "twin", of("two"), passed),
		secret("1.yaml", "one", failed), secret("2.yaml", "two", passed),
		thing("s", "1.yaml", "pair", of("one"), failed), thing("s", "1.yaml", "pair", of("two"), passed),
		thing("s", "1.yaml", "other", of("one"), failed), thing("s", "2.yaml", "other", of("two"), passed))
	s, got := told(t, openPrevious(t, dir), now([]string{"./s"}, thing("./s", "4.yaml", "twin", of("two"), passed), thing("./s", "3.yaml", "twin", of("one"), passed),
		secret("4.yaml", "two", passed), secret("3.yaml", "one", failed),
		thing("s", "1.yaml", "pair", of("two"), passed), thing("s", "1.yaml", "pair", of("one"), failed),
		thing("s", "3.yaml", "other", of("three"), failed)), inForce("p/p"), inForce("p/p"))
	want := map[string]string{"twin p/p": "fixed", "other p/p": "new", "other": "gone 1gone 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) || s.Unchanged != 5 {
		t.Errorf("got %v and %d unchanged, want %v and 5", got, s.Unchanged, want)
	}
}
