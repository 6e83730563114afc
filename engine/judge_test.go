package engine_test

import (
	"context"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

type ruleFunc func(ctx context.Context, in engine.Input) ([]engine.Violation, error)

func (f ruleFunc) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	return f(ctx, in)
}

func BenchmarkJudgeNoop(b *testing.B) {
	var ps []engine.Policy
	for i := range 100 {
		ps = append(ps, engine.Policy{ID: string(rune('a'+i/26)) + string(rune('a'+i%26)), Match: engine.Match{{Kinds: []string{"Pod"}}}, Rule: ruleFunc(func(context.Context, engine.Input) ([]engine.Violation, error) { return nil, nil })})
	}
	s, err := engine.NewSet(ps)
	if err != nil {
		b.Fatal(err)
	}
	sub := engine.Subject{APIVersion: "v1", Kind: "Pod", Name: "x", Object: map[string]any{}}
	b.ReportAllocs()
	for b.Loop() {
		s.Judge(context.Background(), sub, nil, time.Time{})
	}
}
