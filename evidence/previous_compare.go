package evidence

import (
	"maps"
	"slices"

	"proviso.dev/proviso/engine"
)

// comparison holds a run against the earlier one while it streams.
type comparison struct {
	*Previous
	engine.Since
	// then and now are the policies in force.
	then, now map[string]bool
	taken     []bool
	sources   sourceStates
}

// Compare is the report with what changed since in its trailer. The earlier evidence is called name; then and now are the ids
// of the policies that were in force and are.
func (p *Previous) Compare(r engine.Report, name string, then, now []string) engine.Report {
	c := &comparison{Previous: p, then: setOf(then), now: setOf(now), taken: make([]bool, len(p.subjects)), sources: sourceStates{},
		Since: engine.Since{Evidence: name, Run: p.Run.ID, At: p.At, Unread: p.Unread}}
	c.NewPolicies, c.GonePolicies = without(c.now, c.then), without(c.then, c.now)
	c.sources.asked(r.Scope)
	results, trailer := r.Results, r.Trailer
	r.Results = func(yield func(engine.Result) bool) {
		for result := range results {
			c.add(&result)
			if !yield(result) {
				return
			}
		}
	}
	r.Trailer = func() engine.Trailer {
		t := trailer()
		if t.Stopped {
			c.sources.unread("") // what comes after was not seen
		}
		c.rest()
		t.Since = &c.Since
		return t
	}
	return r
}

func setOf(ids []string) map[string]bool {
	set := map[string]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

func without(a, b map[string]bool) (left []string) {
	for _, id := range slices.Sorted(maps.Keys(a)) {
		if !b[id] {
			left = append(left, id)
		}
	}
	return left
}

func (c *comparison) add(result *engine.Result) {
	if u := result.Unread; u != nil {
		if u.Kind == engine.NotManifest {
			c.sources.read(u.Source)
		} else {
			c.sources.unread(u.Source)
		}
		return
	}
	n := result.Subject.Named()
	c.sources.read(n.Source)
	var was map[string]engine.Outcome
	at, _, found := c.find(n)
	if found = found && !c.taken[at]; found {
		c.taken[at] = true
		was = make(map[string]engine.Outcome, len(c.subjects[at].results))
		for _, r := range c.subjects[at].results {
			was[c.policies[r.policy]] = r.Outcome
		}
	}
	for i := range result.Decisions {
		d := &result.Decisions[i]
		before, judged := was[d.Policy.ID]
		delete(was, d.Policy.ID)
		change := engine.Change{Policy: d.Policy.ID, Severity: d.Policy.Severity, Subject: n, Is: engine.Outcome{Verdict: d.Verdict, Effect: d.Effect}}
		if judged {
			change.Was = &before
		}
		c.change(change, found, comparing(d.Policy))
	}
	// What the policies no longer speak of did not get well by that.
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if before := was[id]; c.now[id] && before.WorseThan(notJudged) {
			c.Better.Add(engine.Change{Policy: id, Subject: n, Was: &before, Is: notJudged})
		}
	}
}

// notJudged is the outcome where a policy does not speak of a subject.
var notJudged = engine.Outcome{Verdict: engine.NotApplicable, Effect: engine.EffectRecord}

// comparing reports whether a policy holds a subject against what it was. Once what is wrong is in the evidence, too, such a
// policy passes again, and nothing was mended by that.
func comparing(p *engine.Policy) bool {
	for _, q := range p.Facts {
		if q.Group == "artifact.proviso.dev" && q.Kind == "Previous" {
			return true
		}
	}
	return false
}

// change puts a decision where it belongs; known is whether the subject was there.
func (c *comparison) change(d engine.Change, known, comparing bool) {
	was := notJudged
	if d.Was != nil {
		was = *d.Was
	}
	switch worse, better := d.Is.WorseThan(was), was.WorseThan(d.Is); {
	case !c.then[d.Policy]:
		if worse {
			c.NewPolicy.Add(d)
		}
	case worse && d.Is.Verdict == engine.Fail && was.Verdict != engine.Fail:
		c.New.Add(d)
	case worse:
		c.Worse.Add(d)
	case better && was.Verdict == engine.Fail && d.Is.Verdict == engine.Pass && !comparing:
		c.Fixed.Add(d)
	case better:
		c.Better.Add(d)
	case known:
		c.Unchanged++
	}
}

// rest names the subjects that are no longer there.
func (c *comparison) rest() {
	for i := range c.subjects {
		if c.taken[i] {
			continue
		}
		s := &c.subjects[i]
		former := engine.Former{Subject: s.Named}
		for _, r := range s.results {
			if r.Verdict == engine.Fail {
				former.Fails++
			}
		}
		if c.sources.whole(s.Source) {
			c.Gone.Add(former)
		} else {
			c.Unseen.Add(former)
		}
	}
}
