//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// judged is an item of a scan: a subject with what the policies said of it, "a/b": "fail warn"; or a hole.
type judged struct {
	sub  *engine.Subject
	said map[string]string
	hole *evidence.Hole
}

func thing(source, file, name string, object map[string]any, said map[string]string) judged {
	return judged{sub: &engine.Subject{APIVersion: "x.io/v1", Kind: "Thing", Name: name, Object: object, Origin: engine.Origin{Source: source, Position: engine.Position{File: file}}}, said: said}
}

// scanned records a scan as proviso scan does. Nothing more than the open is recorded where the reason is empty.
func scanned(t testing.TB, dir string, k key, run, reason string, scope []string, items ...judged) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := producer.Open(ctx, dir, producer.Options{Signer: k, Kind: "scan", Run: run, Scope: scope, Engine: evidence.Engine{Version: "test"}, OnTrouble: func(err error) { t.Error(err) }})
	must(err)
	add := func(rec evidence.Record, keep ...any) producer.Appended {
		t.Helper()
		a, err := w.Append(ctx, rec, keep...)
		must(err)
		return a
	}
	pack, err := w.Object(strings.NewReader("the policies"))
	must(err)
	active := add(evidence.Record{Activation: &evidence.Activation{PolicySet: pack, Pack: pack, Mode: "deny", Unknown: "deny"}})
	var list bytes.Buffer
	var tree evidence.Tree
	p := &evidence.Population{Items: len(items)}
	var decisions []evidence.Record
	for n, item := range items {
		entry := evidence.Item{N: n, Hole: item.hole}
		if item.hole != nil {
			p.Holes++
		} else {
			about, input := evidence.SubjectOf(item.sub), evidence.InputOf(item.sub, w.Salt())
			raw, err := evidence.Encode(input)
			must(err)
			must(w.Keep(ctx, input))
			entry.Subject, entry.Input = &about, evidence.DigestOf(raw)
			d := &evidence.Decision{Event: fmt.Sprint(n), Source: "scan", Subject: about, Input: entry.Input, Activation: active.Seq, PolicySet: pack, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Results: []evidence.Result{}}
			for policy, outcome := range item.said {
				verdict, effect, _ := strings.Cut(outcome, " ")
				d.Results = append(d.Results, evidence.Result{Policy: policy, Verdict: verdict, Effect: effect})
			}
			decisions = append(decisions, evidence.Record{Decision: d})
		}
		line, err := evidence.Encode(entry)
		must(err)
		tree.Add(line)
		list.Write(append(line, '\n'))
	}
	p.Root = tree.Root()
	p.List, err = w.Object(&list)
	must(err)
	add(evidence.Record{Population: p})
	before, err := w.Checkpoint(ctx)
	must(err)
	for _, d := range decisions {
		add(d)
	}
	if reason == "done" {
		add(evidence.Record{Close: &evidence.Close{Reason: reason}})
		must(w.Seal(ctx, evidence.Seal{Run: run, Kind: "scan", Population: p, Complete: true}, before, func(_ context.Context, statement []byte) ([]byte, error) { return bundleOf(t, k, statement), nil }))
	}
	must(w.Close(ctx, reason))
}

func openPrevious(t testing.TB, dir string) *evidence.Previous {
	t.Helper()
	p, err := evidence.OpenPrevious(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// What an object was is told of the same source alone, and that it was not is told only where all was read.
func TestWhatWasBefore(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	spec := func(text string) map[string]any { return map[string]any{"spec": text} }
	scanned(t, dir, k, "run-1", "done", []string{"deploy"}, thing("deploy", "a.yaml", "a", spec("older"), nil))
	scanned(t, dir, k, "run-2", "done", []string{"deploy", "cluster:prod", "bucket:empty"},
		thing("deploy", "a.yaml", "a", spec("before"), nil),
		thing("deploy", "b.yaml", "b", spec("one"), nil), thing("deploy", "c.yaml", "b", spec("other"), nil),
		judged{hole: &evidence.Hole{Source: "deploy", File: "readme.yaml", Kind: "notManifest", Reason: "no manifest"}},
		thing("cluster:prod", "", "a", spec("live"), nil),
		judged{hole: &evidence.Hole{Source: "cluster:prod", Kind: "hole", Reason: "forbidden"}},
		thing("velero", "backups/x/x.tar.gz!a.json", "a", spec("in x"), nil), thing("velero", "backups/y/y.tar.gz!a.json", "a", spec("in y"), nil))
	scanned(t, dir, k, "run-3", "failed: disk", []string{"deploy", "cluster:later"}, thing("deploy", "a.yaml", "a", spec("never judged to the end"), nil))
	p := openPrevious(t, dir)
	if p.Run.ID != "run-2" || p.Unread != 1 {
		t.Fatalf("the last scan is %s, %d unread, want run-2 and 1", p.Run.ID, p.Unread)
	}
	for name, c := range map[string]struct{ source, file, name, want string }{
		"there":                       {"deploy", "a.yaml", "a", "before"},
		"in another file now":         {"deploy", "moved.yaml", "a", "before"},
		"not there":                   {"deploy", "new.yaml", "new", "absent"},
		"twice, the same file":        {"deploy", "c.yaml", "b", "other"},
		"twice, another file":         {"deploy", "d.yaml", "b", "doubtful: several Thing b"},
		"there, not all read":         {"cluster:prod", "", "a", "live"},
		"not there, not all read":     {"cluster:prod", "", "new", "unknown: did not read all of cluster:prod"},
		"a source not looked at":      {"cluster:dev", "", "a", "unknown: did not look at cluster:dev"},
		"a source of the scan after":  {"cluster:later", "", "a", "unknown: did not look at cluster:later"},
		"a source that held nothing":  {"empty", "", "a", "absent"},
		"in the same backup":          {"velero", "backups/y/y.tar.gz!a.json", "a", "in y"},
		"in a backup that is no more": {"velero", "backups/z/z.tar.gz!a.json", "a", "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			about := thing(c.source, c.file, c.name, nil, nil).sub
			v, state, err := p.Fact(t.Context(), engine.FactQuery{Group: "artifact.proviso.dev", Kind: "Previous", Name: c.name}, about)
			got := ""
			switch state {
			case engine.FactFound:
				got = fmt.Sprint(v.(map[string]any)["object"].(map[string]any)["spec"])
			case engine.FactAbsent:
				got = "absent"
			default:
				if got = "unknown: "; errors.Is(err, engine.ErrDoubtful) {
					got = "doubtful: "
				}
				got += err.Error()
			}
			kind, text, _ := strings.Cut(c.want, ": ")
			if !strings.HasPrefix(got, kind) || !strings.Contains(got, text) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// What was not read and names no source may belong to any.
func TestWhatWasBeforeAHoleWithoutASource(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	scanned(t, dir, k, "run-1", "done", []string{"s"}, thing("s", "f", "a", nil, nil), judged{hole: &evidence.Hole{Kind: "hole", Reason: "panicked"}})
	if _, state, _ := openPrevious(t, dir).Fact(t.Context(), engine.FactQuery{Kind: "Previous", Name: "b"}, thing("s", "f", "b", nil, nil).sub); state != engine.FactUnknown {
		t.Errorf("what may have been there is %v", state)
	}
}

// A scan that no signed head covers is not the last.
func TestPreviousIsSigned(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	scanned(t, dir, k, "run-1", "done", []string{"s"}, thing("s", "f", "a", nil, nil))
	head, err := os.ReadFile(dir + "/" + evidence.CheckpointFile)
	if err != nil {
		t.Fatal(err)
	}
	scanned(t, dir, k, "run-2", "done", []string{"s"}, thing("s", "f", "a", nil, nil))
	if err := errors.Join(os.WriteFile(dir+"/"+evidence.CheckpointFile, head, 0o600), os.RemoveAll(dir+"/"+evidence.SealDir(2))); err != nil {
		t.Fatal(err)
	}
	if p := openPrevious(t, dir); p.Run.ID != "run-1" {
		t.Errorf("the last scan is %s, want run-1: run-2 is not signed", p.Run.ID)
	}
}

// Evidence that was altered says nothing about what was before.
func TestPreviousVerifiesFirst(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	scanned(t, dir, k, "run-1", "done", nil, thing("s", "f", "a", nil, map[string]string{"p/p": "fail deny"}))
	name := dir + "/" + evidence.RecordsFile(0)
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(raw, []byte(`"fail"`), []byte(`"pass"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *evidence.NotVerified
	if _, err := evidence.OpenPrevious(os.DirFS(dir), evidence.Options{Now: time.Now()}); !errors.As(err, &bad) {
		t.Errorf("altered evidence is opened: %v", err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	other := &evidence.Trust{Keys: []evidence.TrustedKey{{Key: newKey(t).public(t)}}}
	if _, err := evidence.OpenPrevious(os.DirFS(dir), evidence.Options{Now: time.Now(), Trust: other}); !errors.As(err, &bad) {
		t.Errorf("evidence of another's key is opened: %v", err)
	}
	empty := t.TempDir()
	scanned(t, empty, k, "run-1", "failed: x", nil)
	if _, err := evidence.OpenPrevious(os.DirFS(empty), evidence.Options{Now: time.Now()}); err == nil || errors.As(err, &bad) {
		t.Errorf("a folder without a scan that ended: %v", err)
	}
}

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

func told(t *testing.T, p *evidence.Previous, r engine.Report, then, now []string) (*engine.Since, map[string]string) {
	t.Helper()
	r = p.Compare(r, "dir", then, now)
	for range r.Results {
	}
	s := r.Trailer().Since
	where := map[string]string{}
	for word, l := range map[string]engine.Listed[engine.Change]{"new": s.New, "worse": s.Worse, "fixed": s.Fixed, "better": s.Better, "newPolicy": s.NewPolicy} {
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

func TestCompare(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	cases := []struct{ was, is, want string }{
		{"pass record", "pass record", ""}, {"fail deny", "fail deny", ""}, {"notApplicable record", "pass record", ""}, {"unknown deny", "unknown deny", ""},
		{"pass record", "fail deny", "new"}, {"unknown deny", "fail record", "new"}, {"notApplicable record", "fail warn", "new"},
		{"pass record", "unknown warn", "worse"}, {"fail warn", "fail deny", "worse"}, {"fail record", "fail deny", "worse"}, {"unknown record", "unknown deny", "worse"},
		{"fail deny", "pass record", "fixed"}, {"fail record", "pass record", "fixed"},
		{"fail deny", "unknown deny", "better"}, {"fail deny", "notApplicable record", "better"}, {"fail deny", "fail record", "better"}, {"unknown deny", "pass record", "better"}, {"fail deny", "", "better"}, {"unknown deny", "", "better"},
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
	s, got := told(t, p, now([]string{"s"}, is...), []string{"p/p"}, []string{"p/p"})
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
		thing("s", "2.yaml", "twin", nil, map[string]string{"p/p": "pass record"}), thing("s", "3.yaml", "twin", nil, map[string]string{"p/p": "pass record"})),
		[]string{"p/p", "p/old"}, []string{"p/p", "p/new", "p/also"})
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
	if s, got := told(t, p, r, []string{"p/p"}, []string{"p/p"}); s.Fixed.Count() != 0 || got["stays p/p"] != "better" {
		t.Errorf("a policy that compares: %v", got)
	}
	// A run that was cut short says of nothing that it is gone.
	r = now([]string{"s", "h", "t"})
	r.Trailer = func() engine.Trailer { return engine.Trailer{Stopped: true} }
	if s, _ := told(t, p, r, nil, nil); s.Gone.Count() != 0 || s.Unseen.Count() != 7 {
		t.Errorf("a run that was stopped: %d gone, %d unseen", s.Gone.Count(), s.Unseen.Count())
	}
}
