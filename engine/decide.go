package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// judgement is what one worker knows of one subject.
type judgement struct {
	subject *Subject
	source  FactSource
	now     time.Time
	answers map[string]answer
	shared  *shared
	asking  *atomic.Int32
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
	if c.quarantined() {
		return Decision{Reason: fmt.Sprintf("the rule is no longer asked for %v: it ran into its limit %d times or more", quarantine, maxOverruns), Cause: CauseLimit}
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

// hasWord reports whether text stands in s and is no part of a longer word there.
func hasWord(s, text string) bool {
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' }
	for at := 0; ; {
		i := strings.Index(s[at:], text)
		if i < 0 {
			return false
		}
		start, end := at+i, at+i+len(text)
		before, _ := utf8.DecodeLastRuneInString(s[:start])
		after, _ := utf8.DecodeRuneInString(s[end:])
		if !part(before) && !part(after) {
			return true
		}
		at = end
	}
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
			if found && len(text) > 3 && len(text) > most && hasWord(reason, text) {
				most, path = len(text), at.String()
			}
		})
	}
	if path != "" {
		return path
	}
	for i := range c.declared {
		if text := c.declared[i].text; len(text) > most && hasWord(reason, text) {
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
