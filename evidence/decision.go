package evidence

import (
	"errors"

	"proviso.dev/proviso/engine"
)

// SubjectOf names a subject for a record.
func SubjectOf(sub *engine.Subject) Subject {
	meta, _ := sub.Object["metadata"].(map[string]any)
	text := func(key string) string { s, _ := meta[key].(string); return s }
	return Subject{APIVersion: sub.APIVersion, Kind: sub.Kind, Namespace: sub.Namespace, Name: sub.Name, UID: text("uid"), ResourceVersion: text("resourceVersion"),
		Source: sub.Origin.Source, File: sub.Origin.File, Line: sub.Origin.Line, Column: sub.Origin.Column, Bytes: sub.Origin.Digest}
}

var causes = map[engine.Cause]string{engine.CauseField: "field", engine.CauseFact: "fact", engine.CauseError: "error", engine.CauseLimit: "limit"}

// ResultsOf is what the policies said, every verdict as it is.
func ResultsOf(decisions []engine.Decision) []Result {
	results := make([]Result, 0, len(decisions))
	for i := range decisions {
		d := &decisions[i]
		r := Result{Policy: d.Policy.ID, Digest: d.Policy.Digest, Severity: d.Policy.Severity.String(), Verdict: d.Verdict.String(), Effect: d.Effect.String(),
			Violations: d.Violations, Reason: d.Reason, Cause: causes[d.Cause], Waived: d.Waived, Standing: d.Standing, Controls: d.Policy.Controls}
		if d.Waiver != nil {
			r.Waiver = d.Waiver.ID
		}
		results = append(results, r)
	}
	return results
}

var states = map[engine.FactState]string{engine.FactUnknown: "unknown", engine.FactFound: "found", engine.FactAbsent: "absent"}

// FactsOf is what was known around the subject, and the values that are to be kept with it.
func FactsOf(answers []engine.Answered, salt []byte) (facts []Fact, keep []any, err error) {
	for _, a := range answers {
		f := Fact{Query: queryOf(a.Query), State: states[a.State]}
		if a.Err != nil {
			f.State, f.Reason, f.Doubtful = states[engine.FactUnknown], a.Err.Error(), errors.Is(a.Err, engine.ErrDoubtful)
		}
		if f.State == states[engine.FactFound] {
			kept := KeptFact(a.Value, salt)
			line, err := Encode(kept)
			if err != nil {
				return nil, nil, err
			}
			f.Value = DigestOf(line)
			keep = append(keep, kept)
		}
		facts = append(facts, f)
	}
	return facts, keep, nil
}

func queryOf(q engine.FactQuery) Query {
	return Query{Group: q.Group, Kind: q.Kind, Namespace: q.Namespace, Name: q.Name, Names: q.Names, Listed: q.Names != nil, Wildcard: q.Wildcard, Labels: q.Labels, All: q.All}
}

// Add counts a decision.
func (c *Counts) Add(d *Decision) {
	c.Decisions++
	for i := range d.Results {
		c.count(&d.Results[i])
	}
}

func (c *Counts) count(r *Result) {
	switch r.Verdict {
	case engine.Pass.String():
		c.Pass++
	case engine.Fail.String():
		c.Fail++
	case engine.NotApplicable.String():
		c.NotApplicable++
	default:
		c.Unknown++
	}
	if r.Waived {
		c.Waived++
	}
}
