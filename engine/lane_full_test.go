package engine

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// takes is a rule that takes some time and finds something wrong.
type takes time.Duration

func (d takes) Eval(ctx context.Context, _ Input) ([]Violation, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(d)):
		return []Violation{{Message: "bad"}}, nil
	}
}

// fill takes every slot of the slow lane until the test ends.
func fill(t *testing.T) {
	for range cap(slowLane) {
		slowLane <- struct{}{}
	}
	t.Cleanup(func() {
		for range cap(slowLane) {
			<-slowLane
		}
	})
}

// A slow rule is judged in the time its request has, even while rules that never end hold the slow lane.
func TestSlowRulesAreJudgedInTheirTime(t *testing.T) {
	fill(t)
	const limit = 400 * time.Millisecond
	s, err := NewSet([]Policy{{ID: "a/slow", Match: Match{{Kinds: []string{"Thing"}}}, Rule: takes(limit / 4)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	sub := Subject{APIVersion: "v1", Kind: "Thing", Object: map[string]any{}}
	if d := s.WithLimit(limit).Judge(ctx, sub, nil, time.Time{})[0]; d.Verdict != Fail {
		t.Errorf("got %v, %q", d.Verdict, d.Reason)
	}
}

// A rule that is told to run again while it looks at the old object is asked about that again, too: what stood there before
// is not held against an update.
func TestSlowRulesTellWhatStood(t *testing.T) {
	fill(t)
	const limit = 400 * time.Millisecond
	for _, part := range []time.Duration{40, 30, 12} {
		s, err := NewSet([]Policy{{ID: "a/slow", Match: Match{{Kinds: []string{"Thing"}}}, Rule: takes(limit / part)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
		object := map[string]any{"spec": "x"}
		sub := Subject{APIVersion: "v1", Kind: "Thing", Operation: Update, Object: object, Old: object}
		if d := s.WithLimit(limit).Judge(ctx, sub, nil, time.Time{})[0]; d.Verdict != Fail || !d.Standing {
			t.Errorf("a rule that takes %v: got %v, standing %v", limit/part, d.Verdict, d.Standing)
		}
		cancel()
	}
}

// However ticks fall, nothing panics and every slot is given back.
func TestSlowLaneIsLeftAsItWas(t *testing.T) {
	const limit = 4 * time.Millisecond
	s, err := NewSet([]Policy{{ID: "a/slow", Match: Match{{Kinds: []string{"Thing"}}}, Rule: takes(limit / 15)}, {ID: "b/slower", Match: Match{{Kinds: []string{"Thing"}}}, Rule: takes(limit / 4)}})
	if err != nil {
		t.Fatal(err)
	}
	s = s.WithLimit(limit)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 60 {
				s.Judge(t.Context(), Subject{APIVersion: "v1", Kind: "Thing", Object: map[string]any{}}, nil, time.Time{})
			}
		})
	}
	wg.Wait()
	if n := len(slowLane); n > 0 {
		t.Errorf("%d slots are taken when nothing runs", n)
	}
	for _, c := range s.policies {
		if n := c.slow.Load(); n != 0 {
			t.Errorf("%s: %d runs hold a slot when nothing runs", c.ID, n)
		}
	}
}

// A rule that ran into its limit too often is tried again after a while, and one more overrun is enough then.
func TestQuarantineEnds(t *testing.T) {
	s, err := NewSet([]Policy{{ID: "a/slow", Match: Match{{Kinds: []string{"Thing"}}}, Rule: takes(time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	s = s.WithLimit(40 * time.Millisecond)
	ask := func() string {
		return s.Judge(t.Context(), Subject{APIVersion: "v1", Kind: "Thing", Object: map[string]any{}}, nil, time.Time{})[0].Reason
	}
	for range maxOverruns {
		ask()
	}
	if why := ask(); !strings.Contains(why, "no longer asked") {
		t.Fatalf("after %d overruns: %s", maxOverruns, why)
	}
	before := time.Now().Add(-quarantine)
	s.policies[0].last.Store(&before)
	if why := ask(); !strings.Contains(why, "ran longer") {
		t.Errorf("after the quarantine: %s", why)
	}
	if why := ask(); !strings.Contains(why, "no longer asked") {
		t.Errorf("after one more overrun: %s", why)
	}
}

// Overruns count for an hour: a rule that runs into its limit once a day is not what keeps the machine busy.
func TestRareOverrunsAreForgotten(t *testing.T) {
	var p pace
	for range 3 * maxOverruns {
		if p.overran(); p.quarantined() {
			t.Fatal("rare overruns put a rule into quarantine")
		}
		before := p.last.Load().Add(-forgetting - time.Minute)
		p.last.Store(&before)
	}
	for range maxOverruns {
		p.overran()
	}
	if !p.quarantined() {
		t.Error("overruns one after the other do not")
	}
}

// While a rule runs long somewhere its next run waits for a slot at once.
func TestSuspectWhileItRunsLong(t *testing.T) {
	var p pace
	if p.suspect() || !p.tryEnter() || !p.suspect() {
		t.Error("a run that holds a slot makes no suspect")
	}
	if p.leave(); p.suspect() {
		t.Error("it is suspect for ever")
	}
}
