package engine

import (
	"context"
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

// A slow rule is judged in the time its request has, even while rules that never end hold the slow lane.
func TestSlowRulesAreJudgedInTheirTime(t *testing.T) {
	for range cap(slowLane) {
		slowLane <- struct{}{}
	}
	defer func() {
		for range cap(slowLane) {
			<-slowLane
		}
	}()
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
