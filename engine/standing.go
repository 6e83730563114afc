package engine

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
)

// standing reports whether an update changes nothing about the decision: every violation is one that the old object has
// too, at the same path and with the same value; or what cannot be told could not be told of the old one, for the same
// reason, and nothing that the policy reads has changed, for that could be a violation that nobody sees.
func (j *judgement) standing(ctx context.Context, c *compiled, d Decision) bool {
	if j.subject.Operation != Update || c.StrictUpdate || len(j.subject.Old) == 0 {
		return false
	}
	if d.Verdict != Fail && (d.Verdict != Unknown || d.Cause != CauseField && d.Cause != CauseError || c.changed(j.subject)) {
		return false
	}
	was := *j.subject
	was.Object = was.Old
	before := &judgement{subject: &was, source: j.source, now: j.now, answers: map[string]answer{}, shared: &shared{map[any]any{}}, asking: j.asking}
	then := before.decide(ctx, c)
	if then.Verdict != d.Verdict || len(d.Violations) >= maxViolations {
		return false // of a list that was cut, the rest is not known
	}
	if d.Verdict == Unknown {
		return then.Cause == d.Cause && then.Path == d.Path && then.Reason == d.Reason
	}
	// An element that moved within its list is still the same; one more like it is not.
	had := map[string]int{}
	for _, v := range then.Violations {
		had[v.trace(was.Object)]++
	}
	for _, v := range d.Violations {
		at := v.trace(j.subject.Object)
		if had[at]--; had[at] < 0 {
			return false
		}
	}
	return true
}

// changed reports whether an update changes a field of the object that the policy reads.
func (c *compiled) changed(s *Subject) bool {
	for i := range c.declared {
		if d := &c.declared[i]; d.root == "object" && !reflect.DeepEqual(d.values(s.Old), d.values(s.Object)) {
			return true
		}
	}
	return false
}

// values are what stands at the declared path.
func (d *declaration) values(object map[string]any) (all []any) {
	d.path.Walk(object, func(at Path, v any, _ bool) { all = append(all, at.String(), v) })
	return all
}

// trace is what tells two violations apart whatever the index of the element they are about: path, message and value.
func (v Violation) trace(object map[string]any) string {
	path, err := ParsePath(v.Path)
	if err != nil {
		return v.Path + "\x00" + v.Message
	}
	var value []byte
	path.Walk(object, func(_ Path, found any, ok bool) {
		if ok {
			value, _ = json.Marshal(found) // what came from JSON goes back into it
		}
	})
	var b strings.Builder
	for _, step := range path {
		if step.Kind == KeyStep {
			b.WriteString("." + step.Key)
		} else {
			b.WriteString("[]")
		}
	}
	return b.String() + "\x00" + v.Message + "\x00" + string(value)
}
