package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ticks is how often the watchdog looks within a rule's limit.
	ticks = 20
	// grace is how many ticks a rule that was told to stop has for stopping; then it is left behind.
	grace = 2
	// maxOverruns is how often a rule may run into its limit before it is no longer asked.
	maxOverruns = 3
	// maxHeapGrowth is how many bytes the heap may grow while one rule runs past a tick.
	maxHeapGrowth = 512 << 20
	// maxViolations is how many violations of one rule on one subject are kept.
	maxViolations = 100
)

// overruns counts how often a policy ran into a limit that only the watchdog enforces.
type overruns struct{ atomic.Int32 }

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
}

func (b *bench) work(generation int) {
	j := &judgement{subject: b.subject, source: b.facts, now: b.now, answers: map[string]answer{}, shared: &shared{map[any]any{}}}
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
		b.mu.Unlock()

		d := j.decide(ctx, c)

		b.mu.Lock()
		if b.generation == generation {
			b.put(c, d)
		}
		b.mu.Unlock()
	}
}

// put stores the decision for the policy at next and moves on.
func (b *bench) put(c *compiled, d Decision) {
	d.Policy = c.Policy
	if d.Verdict == Fail || d.Verdict == Unknown {
		if d.Waiver = b.set.waiverFor(c.ID, b.subject, b.now); d.Waiver != nil {
			d.Waived = d.Waiver.State(b.now) != WaiverExpired
		}
	}
	d.Effect = effect(d.Verdict, c.Mode, c.Unknown, d.Waived)
	b.out[b.next] = d
	b.next++
}

func (b *bench) watch() {
	tick := b.set.limit / ticks
	timer := time.NewTimer(tick)
	defer timer.Stop()
	at, stuck, told := -1, 0, false
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
			stuck, told, heap = 0, false, heapBytes()
			continue
		}
		stuck++
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
				b.list[at].overruns.Add(1)
				b.cancel(why)
				b.ctx, b.cancel = context.WithCancelCause(b.parent)
			}
			b.mu.Unlock()
			stuck, told = 0, true
		}
	}
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

// judgement is what one worker knows of one subject.
type judgement struct {
	subject *Subject
	source  FactSource
	now     time.Time
	answers map[string]answer
	shared  *shared
}

// decide makes one decision. The declared types and facts are settled before any language runs.
func (j *judgement) decide(ctx context.Context, c *compiled) (d Decision) {
	defer func() {
		if r := recover(); r != nil {
			d = Decision{Reason: fmt.Sprintf("the rule panicked: %v", r), Cause: CauseError}
		}
	}()
	switch j.subject.Operation {
	case "", Create, Update, Delete:
	default:
		return Decision{Reason: fmt.Sprintf("unknown operation %q: want CREATE, UPDATE or DELETE", j.subject.Operation), Cause: CauseError}
	}
	if why := c.excludes(j.subject); why != "" {
		return Decision{Verdict: NotApplicable, Reason: why}
	}
	if c.overruns.Load() >= maxOverruns {
		return Decision{Reason: fmt.Sprintf("the rule is no longer asked: it ran into its limit %d times", maxOverruns), Cause: CauseLimit}
	}
	in := Input{Subject: j.subject, Params: c.Params, Now: j.now, shared: j.shared}
	missing, where, absent := c.unread(j.subject)
	if missing != "" && !absent {
		return Decision{Reason: missing, Cause: CauseField, Path: where}
	}
	if c.When != nil {
		ok, err := c.When(ctx, in)
		switch {
		case err != nil && missing != "":
			return Decision{Reason: missing, Cause: CauseField, Path: where}
		case err != nil:
			return c.failed(ctx, j.subject, fmt.Errorf("when: %w", err))
		case !ok:
			return Decision{Verdict: NotApplicable, Reason: "when is false"}
		}
	}
	if missing != "" {
		return Decision{Reason: missing, Cause: CauseField, Path: where}
	}
	if len(c.facts) > 0 {
		in.Facts = make(map[string]any, len(c.facts))
		for _, name := range c.facts {
			q, why, ok := c.Facts[name].resolve(j.subject)
			if !ok && why != "" {
				return Decision{Reason: fmt.Sprintf("fact %s cannot be asked for: %s", name, why), Cause: CauseFact}
			}
			if !ok {
				in.Facts[name] = nil
				continue
			}
			a := j.fact(ctx, q)
			if a.state == FactUnknown {
				reason := fmt.Sprintf("fact %s (%s) is unknown", name, q)
				if a.why != "" {
					reason += ": " + a.why
				}
				return Decision{Reason: reason, Cause: a.cause}
			}
			if m := c.misspeltFact(a.value); m != nil {
				return Decision{Reason: fmt.Sprintf("fact %s (%s): %v", name, q, m), Cause: CauseError}
			}
			in.Facts[name] = a.value
		}
	}
	violations, err := c.Rule.Eval(ctx, in)
	if err != nil {
		return c.failed(ctx, j.subject, err)
	}
	if len(violations) == 0 {
		return Decision{Verdict: Pass}
	}
	for _, v := range violations {
		if v.Message == "" {
			return Decision{Reason: "the rule answered with a violation that has no message", Cause: CauseError}
		}
	}
	return Decision{Verdict: Fail, Violations: tidy(violations)}
}

// unread says why a declared path cannot be read, and where; "" where all can. What stands there and cannot be read comes
// before what is only absent.
func (c *compiled) unread(s *Subject) (why, where string, absent bool) {
	for i := range c.declared {
		w, at, gone := c.declared[i].check(s)
		if w != "" && (why == "" || absent && !gone) {
			why, where, absent = w, at, gone
		}
	}
	if m := c.misspeltLabel(s.Object); m != nil {
		return m.Error(), m.Path, false
	}
	return why, where, absent
}

// labelled are the places of labels that policies judge by: the object's own, and those Velero gives the backups of a
// schedule.
var labelled = []Path{{{Key: "metadata"}, {Key: "labels"}}, {{Key: "spec"}, {Key: "template"}, {Key: "metadata"}, {Key: "labels"}}}

// misspeltLabel finds a label that differs only in case from one that decides.
func (c *compiled) misspeltLabel(object map[string]any) *Misspelling {
	if len(c.labels) == 0 {
		return nil
	}
	for _, at := range labelled {
		var v any = object
		for _, step := range at {
			m, _ := v.(map[string]any)
			v = m[step.Key]
		}
		for key := range asMap(v) {
			for _, want := range c.labels {
				if key != want && strings.EqualFold(key, want) {
					return &Misspelling{append(slices.Clone(at), Step{Key: key}).String(), append(slices.Clone(at), Step{Key: want}).String()}
				}
			}
		}
	}
	return nil
}

// misspeltFact is misspeltLabel for an object or a list of objects.
func (c *compiled) misspeltFact(v any) *Misspelling {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if m := c.misspeltLabel(asMap(e)); m != nil {
				return m
			}
		}
		return nil
	}
	return c.misspeltLabel(asMap(v))
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// failed is the decision about a rule that could not tell.
func (c *compiled) failed(ctx context.Context, s *Subject, err error) Decision {
	cause := context.Cause(ctx)
	if errors.Is(cause, errLimit) {
		return Decision{Reason: strings.TrimPrefix(cause.Error(), errLimit.Error()+": "), Cause: CauseLimit}
	}
	return Decision{Reason: err.Error(), Cause: CauseError, Path: c.blame(s, err.Error())}
}

// blame is the declared path that the reason speaks of, by quoting its value or by naming it; "" where there is none. A
// rule's error does not say where in the object it comes from, and the reader wants to see that line.
func (c *compiled) blame(s *Subject, reason string) (path string) {
	most := 0
	for i := range c.declared {
		d := &c.declared[i]
		if d.root != "object" {
			continue
		}
		d.path.Walk(s.Object, func(at Path, v any, found bool) {
			text, _ := v.(string)
			if found && len(text) > 3 && len(text) > most && strings.Contains(reason, text) {
				most, path = len(text), at.String()
			}
		})
	}
	if path != "" {
		return path
	}
	for i := range c.declared {
		if text := c.declared[i].text; len(text) > most && strings.Contains(reason, text) {
			most, path = len(text), text
		}
	}
	return path
}

// tidy sorts, drops repetitions, and keeps at most maxViolations.
func tidy(list []Violation) []Violation {
	slices.SortFunc(list, func(a, b Violation) int {
		return cmp(a.Path, b.Path, a.Message, b.Message)
	})
	list = slices.Compact(list)
	if n := len(list); n > maxViolations {
		list = append(list[:maxViolations-1:maxViolations-1], Violation{Message: fmt.Sprintf("and %d more violations of this policy", n-maxViolations+1)})
	}
	return list
}

func cmp(a, b, c, d string) int {
	if r := strings.Compare(a, b); r != 0 {
		return r
	}
	return strings.Compare(c, d)
}
