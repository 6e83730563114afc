package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
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

// decide makes one decision. A label that is misspelt takes nothing from a failure, and leaves nothing else certain.
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
	facts := map[string]any{}
	d = j.judge(ctx, c, facts)
	if d.Verdict == Fail {
		return d
	}
	m := c.misspeltLabel(j.subject.Object)
	if d.Verdict == Unknown {
		d.mislabelled = m != nil // it may be why
		return d
	}
	if m != nil {
		return Decision{Reason: m.Error(), Cause: CauseField, Path: m.Path, mislabelled: true}
	}
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		if why := c.misspeltFact(facts[name]); why != "" {
			return Decision{Reason: fmt.Sprintf("fact %s: %s", name, why), Cause: CauseError}
		}
	}
	return d
}

// judge has the rule judge once the declared types and facts are settled, before any language runs; it leaves the facts it
// found in found.
func (j *judgement) judge(ctx context.Context, c *compiled, found map[string]any) Decision {
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
			in.Facts[name], found[name] = a.value, a.value
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

// misspeltFact says of an object or a list of objects which one has a misspelt label; "" is none.
func (c *compiled) misspeltFact(v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		object := asMap(e)
		if m := c.misspeltLabel(object); m != nil {
			kind, _ := object["kind"].(string)
			meta := asMap(object["metadata"])
			name, _ := meta["name"].(string)
			if namespace, _ := meta["namespace"].(string); namespace != "" {
				name = namespace + "/" + name
			}
			return fmt.Sprintf("%s %s: %v", kind, name, m)
		}
	}
	return ""
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

// tidy shortens, sorts, drops repetitions, and keeps at most maxViolations.
func tidy(list []Violation) []Violation {
	list = slices.Clone(list) // it is the rule's
	for i := range list {
		list[i].Message = shorten(list[i].Message)
	}
	slices.SortFunc(list, func(a, b Violation) int {
		return cmp(a.Path, b.Path, a.Message, b.Message)
	})
	list = slices.Compact(list)
	if n := len(list); n > maxViolations {
		list = append(list[:maxViolations-1:maxViolations-1], Violation{Message: fmt.Sprintf("and %d more violations of this policy", n-maxViolations+1)})
	}
	return list
}

// maxMessage is how many bytes of what a rule says are kept: it may quote what somebody made long.
const maxMessage = 4 << 10

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	// Two that differ further on stay two.
	return fmt.Sprintf("%s… (sha256 %.8x)", text[:end], sha256.Sum256([]byte(text)))
}

func cmp(a, b, c, d string) int {
	if r := strings.Compare(a, b); r != 0 {
		return r
	}
	return strings.Compare(c, d)
}
