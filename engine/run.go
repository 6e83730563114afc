package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"time"
)

// Unread is something an inspector could not turn into a subject.
type Unread struct {
	Source string
	Position
	Err  error
	Kind UnreadKind
}

// UnreadKind says what an Unread means for the run.
type UnreadKind uint8

// The kinds of Unread. Broken is input that cannot be read or parsed. Hole is something that exists but was not seen:
// a right, a listing, a rendering is missing. NotManifest is well-formed input that is no Kubernetes object.
const (
	Broken UnreadKind = iota
	Hole
	NotManifest
)

func (u *Unread) Error() string {
	switch {
	case u.Line > 0 && u.Column > 0:
		return fmt.Sprintf("%s:%d:%d: %v", u.File, u.Line, u.Column, u.Err)
	case u.Line > 0:
		return fmt.Sprintf("%s:%d: %v", u.File, u.Line, u.Err)
	case u.File != "":
		return fmt.Sprintf("%s: %v", u.File, u.Err)
	}
	return u.Err.Error()
}

func (u *Unread) Unwrap() error { return u.Err }

// Result is one step of a run: a subject with its decisions, or something unread.
type Result struct {
	Subject   *Subject
	Decisions []Decision
	// Answers are the facts the decisions rest on, where Header.Answers asks for them.
	Answers []Answered
	Unread  *Unread
}

// Report is what one run found: a header, the results as they come, and, once all results were taken, a trailer.
type Report struct {
	Header
	Results iter.Seq[Result]
	// Trailer is to be called after Results has been taken to its end.
	Trailer func() Trailer
}

// Header says what was asked.
type Header struct {
	// At is the instant the run judges by.
	At time.Time
	// Scope is what was to be inspected, as the user named it.
	Scope     []string
	SetDigest Digest
	Policies  int
	// Simulated marks a run whose At is not the clock's.
	Simulated bool
	// Answers keeps the facts of every subject for evidence.
	Answers bool
}

// Run judges everything the inspector yields, several subjects at a time, and reports in the inspector's order. Memory
// does not grow with the number of subjects.
func (s *Set) Run(ctx context.Context, in Inspector, facts FactSource, h Header) Report {
	h.SetDigest, h.Policies = s.digest, len(s.policies)
	t := newTally(s, h.At)
	return Report{Header: h, Trailer: t.trailer, Results: func(yield func(Result) bool) {
		for r := range s.stream(ctx, in, facts, h) {
			t.add(r)
			if !yield(r) {
				t.Stopped = true
				return
			}
		}
		t.Stopped = ctx.Err() != nil
	}}
}

// perWorker is how many results may wait, for each worker, on one that is slow.
const perWorker = 16

func (s *Set) stream(ctx context.Context, in Inspector, facts FactSource, h Header) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		workers := runtime.GOMAXPROCS(0)
		type job struct {
			Result
			ready chan struct{}
		}
		todo, order := make(chan *job, workers), make(chan *job, workers*perWorker)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for j := range todo {
					source := facts
					var answers *Answers
					if h.Answers {
						answers = &Answers{From: facts}
						source = answers
					}
					j.Decisions = s.Judge(ctx, *j.Subject, source, h.At)
					if answers != nil {
						j.Answers = answers.Kept()
					}
					close(j.ready)
				}
			})
		}
		wg.Go(func() {
			defer close(order)
			defer close(todo)
			defer func() {
				// What an inspector that panics has not yielded was not seen, and the run must say so.
				if p := recover(); p != nil {
					j := &job{Result: Result{Unread: &Unread{Err: fmt.Errorf("inspecting panicked: %v", p)}}, ready: make(chan struct{})}
					close(j.ready)
					select {
					case order <- j:
					case <-ctx.Done():
					}
				}
			}()
			for sub, err := range in.Inspect(ctx) {
				j := &job{Result: Result{Subject: sub}, ready: make(chan struct{})}
				if err != nil {
					j.Unread = asUnread(err)
					j.Subject = nil
					close(j.ready)
				} else {
					select {
					case todo <- j:
					case <-ctx.Done():
						return
					}
				}
				select {
				case order <- j:
				case <-ctx.Done():
					return
				}
			}
		})
		for j := range order {
			<-j.ready
			if !yield(j.Result) {
				break
			}
		}
		cancel()
		wg.Wait()
	}
}

func asUnread(err error) *Unread {
	var u *Unread
	if errors.As(err, &u) {
		return u
	}
	return &Unread{Err: err}
}
