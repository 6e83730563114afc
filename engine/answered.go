package engine

import (
	"context"
	"slices"
	"sync"
)

// Answered is a fact as a source answered it, for evidence.
type Answered struct {
	Query FactQuery
	Value any
	State FactState
	Err   error
}

// Answers is a FactSource that keeps what another answers about one subject. It may be used by many goroutines.
type Answers struct {
	From FactSource

	mu   sync.Mutex
	kept []Answered
}

// Fact asks the other source.
func (a *Answers) Fact(ctx context.Context, q FactQuery, about *Subject) (any, FactState, error) {
	v, state, err := a.From.Fact(ctx, q, about)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = append(a.kept, Answered{q, v, state, err})
	return v, state, err
}

// Kept are the answers so far. What a rule that was left behind asks later is not among them.
func (a *Answers) Kept() []Answered {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.kept)
}
