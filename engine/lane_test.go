package engine_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

// A rule that runs long runs on a few subjects at a time, so that what is quick keeps processors; one that is only slow
// still answers for all of them.
func TestSlowRulesLeaveProcessors(t *testing.T) {
	const limit, subjects = 300 * time.Millisecond, 12
	slots := max(1, runtime.GOMAXPROCS(0)/2)
	for name, tc := range map[string]struct {
		runs time.Duration
		want engine.Verdict
	}{
		"slow":    {limit * 3 / 10, engine.Fail},
		"endless": {time.Hour, engine.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			var late, most atomic.Int32
			s := newSet(t, engine.Policy{Rule: ruleFunc(func(ctx context.Context, _ engine.Input) ([]engine.Violation, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(min(tc.runs, limit*3/10)):
				}
				// Past the first ticks: the rest is run in the slow lane.
				n := late.Add(1)
				defer late.Add(-1)
				for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(tc.runs):
				}
				return []engine.Violation{{Message: "bad"}}, nil
			})}).WithLimit(limit)
			var wg sync.WaitGroup
			for range subjects {
				wg.Go(func() {
					ds := s.Judge(context.Background(), schedule(nil), nil, time.Time{})
					if ds[0].Verdict != tc.want {
						t.Errorf("got %v, %q", ds[0].Verdict, ds[0].Reason)
					}
				})
			}
			wg.Wait()
			if n := int(most.Load()); n > slots {
				t.Errorf("%d ran past a tick at once, want at most %d", n, slots)
			}
		})
	}
}

// Requests that wait for a rule that never ends still have it found out: who has no time left for it takes no turn.
func TestEndlessRulesAreFoundOutByRequests(t *testing.T) {
	const limit = 100 * time.Millisecond
	s := newSet(t, engine.Policy{Rule: ruleFunc(func(ctx context.Context, _ engine.Input) ([]engine.Violation, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})}).WithLimit(limit)
	ask := func() engine.Decision {
		ctx, cancel := context.WithTimeout(context.Background(), limit*3/2)
		defer cancel()
		return s.Judge(ctx, schedule(nil), nil, time.Time{})[0]
	}
	end := time.Now().Add(5 * time.Second)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for time.Now().Before(end) && !strings.Contains(ask().Reason, "no longer asked") {
			}
		})
	}
	wg.Wait()
	if d := ask(); !strings.Contains(d.Reason, "no longer asked") {
		t.Errorf("after 5s it is still asked: %q", d.Reason)
	}
}
