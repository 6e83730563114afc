//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	if p.Run.ID != "run-2" || p.Unread != 1 || len(p.CutOff) != 1 || p.CutOff[0].ID != "run-3" {
		t.Fatalf("the last scan is %s, %d unread, and %v did not end, want run-2, 1 and run-3", p.Run.ID, p.Unread, p.CutOff)
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

// A scan that judged nothing was made when it began.
func TestPreviousThatJudgedNothing(t *testing.T) {
	dir := t.TempDir()
	before := time.Now()
	scanned(t, dir, newKey(t), "run-1", "done", []string{"deploy"})
	if p := openPrevious(t, dir); p.At.Before(before.Truncate(time.Second)) || p.At.After(time.Now()) || p.Simulated {
		t.Errorf("it is said to be of %v, simulated %v", p.At, p.Simulated)
	}
}
