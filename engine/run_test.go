package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

type inspectFunc func(yield func(*engine.Subject, error) bool)

func (f inspectFunc) Inspect(context.Context) iter.Seq2[*engine.Subject, error] {
	return iter.Seq2[*engine.Subject, error](f)
}

func subjects(n int) inspectFunc {
	return func(yield func(*engine.Subject, error) bool) {
		for i := range n {
			s := schedule(map[string]any{"n": int64(i), "pad": make([]any, 100)})
			s.Name = fmt.Sprint(i)
			s.Origin.File = "f.yaml"
			if !yield(&s, nil) {
				return
			}
		}
	}
}

func TestRunKeepsTheOrder(t *testing.T) {
	s := newSet(t, engine.Policy{Rule: ruleFunc(func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
		if in.Subject.Object["spec"].(map[string]any)["n"].(int64)%7 == 0 {
			runtime.Gosched()
		}
		return nil, nil
	})})
	r := s.Run(context.Background(), subjects(1000), nil, engine.Header{})
	next := 0
	for res := range r.Results {
		if res.Subject.Name != fmt.Sprint(next) {
			t.Fatalf("got %s at %d", res.Subject.Name, next)
		}
		next++
	}
	if tr := r.Trailer(); next != 1000 || tr.Summary.Pass != 1000 || !tr.Complete {
		t.Errorf("got %d, %+v", next, tr)
	}
}

func TestRunCounts(t *testing.T) {
	waiver := engine.Waiver{ID: "used", Policy: "a/fails", Subjects: engine.Selector{Name: "1"}, Owner: "o", Reason: "r", Approver: "a", Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	unused, expired := waiver, waiver
	unused.ID, unused.Subjects.Name = "unused", "99"
	expired.ID, expired.Subjects.Name, expired.Expires = "expired", "2", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	expiring := waiver
	expiring.ID, expiring.Subjects.Name, expiring.Expires = "expiring", "3", time.Date(2026, 1, 8, 0, 0, 0, 0, time.UTC)
	s, err := newSet(t,
		engine.Policy{ID: "a/fails", Severity: engine.High, Rule: fails("x")},
		engine.Policy{ID: "b/facts", Facts: map[string]engine.FactQuery{"n": {Kind: "Namespace", All: true}}},
		engine.Policy{ID: "c/none", Match: engine.Match{{Kinds: []string{"Pod"}}}},
	).WithWaivers([]engine.Waiver{unused, waiver, expired, expiring})
	if err != nil {
		t.Fatal(err)
	}
	in := inspectFunc(func(yield func(*engine.Subject, error) bool) {
		subjects(4)(yield)
		yield(&engine.Subject{APIVersion: "v1", Kind: "ConfigMap", Origin: engine.Origin{Position: engine.Position{File: "g.yaml"}}}, nil)
		yield(nil, &engine.Unread{Kind: engine.NotManifest, Err: errors.New("x")})
		yield(nil, &engine.Unread{Kind: engine.Hole, Err: errors.New("x")})
		yield(nil, fmt.Errorf("wrapped: %w", &engine.Unread{Err: errors.New("x")}))
		yield(nil, errors.New("plain"))
	})
	r := s.Run(context.Background(), in, nil, engine.Header{At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	for range r.Results {
	}
	got := r.Trailer()
	want := engine.Summary{Subjects: 5, Matched: 4, Policies: 3, Fail: 4, Unknown: 4, Waived: 2, Unread: 3}
	if got.Summary != want {
		t.Errorf("got  %+v\nwant %+v", got.Summary, want)
	}
	if got.Broken != 2 || got.Holes != 1 || got.NotManifests != 1 || got.Complete || got.Denied != 2 || got.Failed[engine.High] != 2 || got.UnknownFacts != 4 ||
		got.Coverage.Expected != 8 || got.Coverage.Covered != 4 || fmt.Sprint(got.Coverage.FirstFiles) != "[g.yaml]" ||
		fmt.Sprint(got.Coverage.KindsWithoutPolicy) != "[{ ConfigMap 1}]" {
		t.Errorf("got %+v", got)
	}
	states := ""
	for _, w := range got.Waivers {
		states += fmt.Sprintf("%s %s %d;", w.ID, w.State, w.Hides)
	}
	if states != "expired expired 1;expiring expiring 1;unused unused 0;used active 1;" {
		t.Errorf("got %s", states)
	}
}

func TestARunThatWasStoppedIsNotComplete(t *testing.T) {
	s := newSet(t, engine.Policy{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := s.Run(ctx, subjects(10000), nil, engine.Header{})
	n := 0
	for range r.Results {
		if n++; n == 10 {
			cancel()
		}
	}
	if r.Trailer().Complete || n == 10000 {
		t.Errorf("complete after %d", n)
	}
	r = s.Run(context.Background(), subjects(1000), nil, engine.Header{})
	for range r.Results {
		break
	}
	if r.Trailer().Complete {
		t.Error("complete after one result was taken")
	}
	r = s.Run(context.Background(), subjects(0), nil, engine.Header{})
	for range r.Results {
	}
	if r.Trailer().Complete {
		t.Error("complete with nothing checked")
	}
}

func TestAnInspectorThatPanicsLeavesTheRunIncomplete(t *testing.T) {
	s := newSet(t, engine.Policy{})
	r := s.Run(context.Background(), inspectFunc(func(yield func(*engine.Subject, error) bool) {
		subjects(3)(yield)
		panic("index out of range")
	}), nil, engine.Header{})
	for range r.Results {
	}
	if tr := r.Trailer(); tr.Summary.Pass != 3 || tr.Broken != 1 || tr.Complete {
		t.Errorf("got %+v", tr)
	}
}

// Memory does not grow with the number of subjects.
func TestRunStreams(t *testing.T) {
	s := newSet(t, engine.Policy{})
	peak := func(n int) uint64 {
		var most uint64
		i := 0
		for range s.Run(context.Background(), subjects(n), nil, engine.Header{}).Results {
			if i++; i%(n/10) == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		return most
	}
	small, large := peak(1000), peak(50000)
	if large > small+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", small, large)
	}
}
