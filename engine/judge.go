package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ticks is how often the watchdog looks within a rule's limit.
	ticks = 20
	// grace is how many ticks a rule that was told to stop has for stopping; then it is left behind.
	grace = 2
	// reserve is the part of its limit that a run must have left beyond it: processors may be scarce.
	reserve = 4
	// factTicks is how many ticks a source of facts may take beyond the rule's limit; what asks it bounds it, too.
	factTicks = 240 * ticks
	// maxOverruns is how often a rule may run into its limit before it is no longer asked.
	maxOverruns = 3
	// maxHeapGrowth is how many bytes the heap may grow while one rule runs past a tick.
	maxHeapGrowth = 512 << 20
	// maxViolations is how many violations of one rule on one subject are kept.
	maxViolations = 100
)

// errLimit is the cause of a rule's context when the watchdog ends it.
var errLimit = errors.New("limit")

// Judge judges the subject by every policy that names its kind, sorted by policy id. It cannot fail and never stops
// early: what cannot be told is Unknown, and a rule that does not stop is answered for.
func (s *Set) Judge(ctx context.Context, sub Subject, facts FactSource, now time.Time) []Decision {
	list := s.matching(sub.Group(), sub.Kind)
	if len(list) == 0 {
		return nil
	}
	if facts == nil {
		facts = NoFacts{}
	}
	if sub.Operation == Delete {
		switch {
		case len(sub.Object) == 0:
			sub.Object = sub.Old
		case len(sub.Old) == 0:
			sub.Old = sub.Object
		}
	}
	b := &bench{set: s, list: list, out: make([]Decision, len(list)), done: make(chan struct{}), subject: &sub, facts: facts, now: now, parent: ctx}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	go b.work(0)
	b.watch()
	return b.out
}

// bench is the judging of one subject: a worker decides policy after policy, the watchdog counts ticks. A worker that
// is stuck is left behind and another takes its place; generation tells which worker's results count.
type bench struct {
	set     *Set
	list    []*compiled
	subject *Subject
	facts   FactSource
	now     time.Time
	parent  context.Context
	done    chan struct{}

	mu         sync.Mutex
	out        []Decision
	next       int
	generation int
	ctx        context.Context
	cancel     context.CancelCauseFunc
	// asking counts the workers that wait for a fact or for a slot of the slow lane: that time is not the rule's.
	asking atomic.Int32
	// slow is the policy at next, where its run holds a slot of the slow lane.
	slow *compiled
	// free is whether the run at next goes on without a slot.
	free bool
	// queued is whether the run at next waits for a slot, or is about to.
	queued bool
	// told is whether the run at next was told to yield and has not stopped yet.
	told bool
}

func (b *bench) work(generation int) {
	j := &judgement{subject: b.subject, source: b.facts, now: b.now, answers: map[string]answer{}, shared: &shared{map[any]any{}}, asking: &b.asking}
	yielded := false
	for {
		b.mu.Lock()
		if b.generation != generation {
			b.mu.Unlock()
			return
		}
		if b.next == len(b.list) {
			b.cancel(nil)
			b.mu.Unlock()
			close(b.done)
			return
		}
		c, ctx := b.list[b.next], b.ctx
		b.told, b.queued = false, yielded || c.suspect()
		queued := b.queued
		b.mu.Unlock()

		if queued && !b.queue(ctx, c, generation) {
			return
		}
		d := j.decide(ctx, c)
		d.Standing = j.standing(ctx, c, d)

		b.mu.Lock()
		// Whether the old object had a violation already may be what it was stopped in telling.
		open := d.Verdict == Unknown || d.Verdict == Fail && b.subject.Operation == Update && !d.Standing
		yielded = open && errors.Is(context.Cause(ctx), errYield)
		if b.generation == generation && !yielded {
			b.put(c, d)
		}
		b.mu.Unlock()
	}
}

// queue has a suspect rule wait for a slot of the slow lane, which put gives back, and reports whether the worker is still
// wanted. Where the time that is left is what the rule may take, it runs without one: what is only slow, as everything is on
// a machine that has too much to do, is judged, and what never ends is found out.
func (b *bench) queue(ctx context.Context, c *compiled, generation int) bool {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if deadline, bound := b.parent.Deadline(); bound {
		waiting, cancel = context.WithDeadline(ctx, deadline.Add(-b.set.limit-b.set.limit/reserve))
	}
	b.asking.Add(1)
	entered := waiting.Err() == nil && c.enter(waiting)
	b.asking.Add(-1)
	cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	if entered && (b.generation != generation || b.slow == c) {
		c.leave()
	}
	if b.generation != generation {
		return false
	}
	b.queued = false
	switch {
	case entered:
		b.slow = c
	default:
		b.free = true
	}
	return true
}

// put stores the decision for the policy at next and moves on.
func (b *bench) put(c *compiled, d Decision) {
	if b.slow == c {
		c.leave()
		b.slow = nil
	}
	b.free = false
	d.Policy = c.Policy
	if d.Verdict == Fail || d.Verdict == Unknown {
		if d.Waiver = b.set.waiverFor(c.ID, b.subject, b.now); d.Waiver != nil {
			d.Waived = d.Waiver.State(b.now) != WaiverExpired
		}
	}
	unknown := c.Unknown
	if d.mislabelled {
		unknown = min(unknown, c.Mode)
	}
	d.Effect = effect(d.Verdict, c.Mode, unknown, d.Waived, d.Standing)
	b.out[b.next] = d
	b.next++
}

func (b *bench) watch() {
	tick := b.set.limit / ticks
	timer := time.NewTimer(tick)
	defer timer.Stop()
	at, stuck, told, asked := -1, 0, false, 0
	var heap uint64
	for {
		select {
		case <-b.done:
			return
		case <-b.parent.Done():
			b.abandon(len(b.list), fmt.Sprintf("judging was stopped: %v", context.Cause(b.parent)))
			return
		case <-timer.C:
		}
		timer.Reset(tick)
		b.mu.Lock()
		moved := b.next != at
		at = b.next
		b.mu.Unlock()
		if moved {
			stuck, told, asked, heap = 0, false, 0, heapBytes()
			continue
		}
		if at == len(b.list) {
			continue // all is decided, and done is about to say so
		}
		if asked < factTicks && b.asking.Load() > 0 {
			asked++
			continue
		}
		stuck++
		if stuck == 1 && b.yields(at) {
			stuck = 0
			continue
		}
		switch {
		case told && stuck >= grace:
			if b.abandon(at+1, fmt.Sprintf("the rule did not stop at its limit of %v", b.set.limit)) {
				return
			}
			told = false
		case !told && (stuck >= ticks || heapBytes() > heap+maxHeapGrowth):
			why := fmt.Errorf("%w: the rule ran longer than %v", errLimit, b.set.limit)
			if stuck < ticks {
				why = fmt.Errorf("%w: the heap grew by more than %d MiB while the rule ran", errLimit, maxHeapGrowth>>20)
			}
			b.mu.Lock()
			if b.next == at {
				if b.asking.Load() == 0 {
					b.list[at].overran()
				}
				b.cancel(why)
				b.ctx, b.cancel = context.WithCancelCause(b.parent)
			}
			b.mu.Unlock()
			stuck, told = 0, true
		}
	}
}

// yields takes a slot of the slow lane for the rule that ran past a tick, or has it run again when there is one. It
// reports whether the rule was told to stop for that.
func (b *bench) yields(at int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != at || b.slow != nil || b.told || b.free || b.queued {
		return false
	}
	c := b.list[at]
	if c.tryEnter() {
		b.slow = c
		return false
	}
	b.told = true
	b.cancel(errYield)
	b.ctx, b.cancel = context.WithCancelCause(b.parent)
	return true
}

// abandon leaves the worker behind, answers Unknown for the policies before upTo that have no decision yet, and starts
// another worker on the rest. It reports whether none is left.
func (b *bench) abandon(upTo int, why string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.done:
		return true
	default:
	}
	b.generation++
	for b.next < upTo {
		b.put(b.list[b.next], Decision{Reason: why, Cause: CauseLimit})
	}
	b.cancel(errLimit)
	if b.next == len(b.list) {
		return true
	}
	b.ctx, b.cancel = context.WithCancelCause(b.parent)
	go b.work(b.generation)
	return false
}

func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
