package evidence

import (
	"io/fs"
	"maps"
	"slices"

	"proviso.dev/proviso/engine"
)

// comparison holds a run against the earlier one while it streams.
type comparison struct {
	*Previous
	engine.Since
	// then and now are the policies in force, by id.
	then, now map[string]InForce
	taken     []bool
	sources   sourceStates
	// salt is what the commitments of Secrets were made under; nil where it is not there to be read.
	salt []byte
}

// InForce is a policy as it is in force: Judges stands for its text and its parameters, Modes for what is done about what it
// finds.
type InForce struct{ Judges, Modes string }

// Compare is the report with what changed since in its trailer. The earlier evidence is called name; then and now are the
// policies that were in force and are, by id.
func (p *Previous) Compare(r engine.Report, name string, then, now map[string]InForce) engine.Report {
	c := &comparison{Previous: p, then: then, now: now, taken: make([]bool, len(p.subjects)), sources: sourceStates{},
		Since: engine.Since{Evidence: name, Run: p.Run.ID, At: p.At, Simulated: p.Simulated, Unread: p.Unread}}
	c.NewPolicies, c.GonePolicies = without(c.now, c.then), without(c.then, c.now)
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if was, there := then[id]; there && was != now[id] {
			c.ChangedPolicies = append(c.ChangedPolicies, id)
		}
	}
	if salt, err := fs.ReadFile(p.folder.fsys, SaltFile); err == nil { // no bundle has it, and only its owner may read it
		c.salt = salt
	}
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

func without(a, b map[string]InForce) (left []string) {
	for _, id := range slices.Sorted(maps.Keys(a)) {
		if _, there := b[id]; !there {
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
	at, found := c.match(result.Subject, &n)
	if found {
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
		if before := was[id]; before.WorseThan(notJudged) {
			c.unjudged(engine.Change{Policy: id, Subject: n, Was: &before, Is: notJudged})
		}
	}
}

// unjudged puts a decision that was made then and is not made now where it belongs.
func (c *comparison) unjudged(d engine.Change) {
	switch now, there := c.now[d.Policy]; {
	case !there:
	case now.Judges != c.then[d.Policy].Judges:
		c.ChangedPolicy.Add(d)
	default:
		c.Better.Add(d)
	}
}

// match is the earlier subject that this one was: the one of that name; of several, the one in the same file; of several there
// and of those in other files, the one that held the same.
func (c *comparison) match(sub *engine.Subject, n *engine.Named) (at int32, found bool) {
	all := c.named[keyOf(n)]
	free := slices.DeleteFunc(slices.Clone(all), func(i int32) bool { return c.taken[i] })
	if len(free) == 0 || len(all) == 1 {
		return first(free)
	}
	here := slices.DeleteFunc(slices.Clone(free), func(i int32) bool { return !c.sameFile(i, n) })
	if len(here) == 1 {
		return first(here)
	}
	among := here
	if len(here) == 0 {
		among = free
	}
	in := InputOf(sub, c.salt)
	for _, i := range among {
		in.Source = c.subjects[i].Source
		if raw, err := Encode(in); err == nil && DigestOf(raw) == c.subjects[i].input {
			return i, true
		}
	}
	return first(here)
}

func first(of []int32) (int32, bool) {
	if len(of) == 0 {
		return 0, false
	}
	return of[0], true
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
	then, there := c.then[d.Policy]
	now := c.now[d.Policy]
	// What is done about a verdict follows from the modes; the verdict does not.
	changed := then.Judges != now.Judges || then.Modes != now.Modes && d.Is.Verdict == was.Verdict
	switch worse, better := d.Is.WorseThan(was), was.WorseThan(d.Is); {
	case !there:
		if worse {
			c.NewPolicy.Add(d)
		}
	case known && changed && (worse || better):
		c.ChangedPolicy.Add(d)
	case worse && d.Is.Verdict == engine.Fail && was.Verdict != engine.Fail:
		c.New.Add(d)
	case worse:
		c.Worse.Add(d)
	case better && was.Verdict == engine.Fail && d.Is.Verdict == engine.Pass && !comparing:
		c.Fixed.Add(d)
	case better && was.Verdict == engine.Fail && d.Is.Verdict == engine.Unknown:
		c.NotKnown.Add(d)
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
