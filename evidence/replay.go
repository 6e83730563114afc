package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"proviso.dev/proviso/engine"
)

// Difference is a result that judging again does not give.
type Difference struct {
	Seq      uint64 `json:"seq"`
	Subject  string `json:"subject"`
	Policy   string `json:"policy"`
	Recorded string `json:"recorded"`
	Replayed string `json:"replayed"`
}

// Replayed is what judging again gave.
type Replayed struct {
	Records     int          `json:"records"`
	Results     int          `json:"results"`
	Differences []Difference `json:"differences"`
	// Unrepeatable counts unknown results that a limit of time or memory made: another machine has other limits. NotJudged
	// counts those of the Records that say, for a problem, that no policy was asked; Refused those of them by which nothing was
	// let in. Erased counts the records whose input or facts are gone.
	Unrepeatable int `json:"unrepeatable"`
	NotJudged    int `json:"notJudged"`
	Refused      int `json:"refused"`
	Erased       int `json:"erased"`
}

// Replay judges again what a Decision records: the input and the facts that were kept, at the recorded instant, by the
// policies in force.
func (f *Folder) Replay(ctx context.Context, rec *Record, set *engine.Set, r *Replayed) error {
	d := rec.Decision
	if len(d.Problems) > 0 { // no policy was asked, and none is
		r.Records++
		r.NotJudged++
		if d.Answer != nil && !d.Answer.Allowed {
			r.Refused++
		}
		r.Results += len(d.Results)
		for i := range d.Results {
			was := &d.Results[i]
			r.Differences = append(r.Differences, Difference{rec.Seq, d.Subject.words(), was.Policy, was.words(), "where there is a problem no policy is asked"})
		}
		return nil
	}
	input, err := f.Input(d.Input)
	source := recordedFacts{}
	for i := 0; i < len(d.Facts) && err == nil; i++ {
		err = source.add(f, &d.Facts[i])
	}
	switch {
	case errors.Is(err, ErrErased):
		r.Erased++
		return nil
	case err != nil:
		return fmt.Errorf("replay record %d: %w", rec.Seq, err)
	}
	sub := input.Subject()
	again := ResultsOf(set.Judge(ctx, sub, source, d.Now))
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("replay record %d: %w", rec.Seq, err)
	}
	r.Records++
	r.Results += len(d.Results)
	byPolicy := map[string]*Result{}
	for i := range again {
		byPolicy[again[i].Policy] = &again[i]
	}
	differ := func(policy, recorded, replayed string) {
		r.Differences = append(r.Differences, Difference{rec.Seq, sub.String(), policy, recorded, replayed})
	}
	if is := SubjectOf(&sub); is.APIVersion != d.Subject.APIVersion || is.Kind != d.Subject.Kind || is.Namespace != d.Subject.Namespace || is.Name != d.Subject.Name || sub.Operation != d.Operation {
		differ("", fmt.Sprintf("%s %s %s", d.Subject.APIVersion, d.Subject.words(), d.Operation), "the input is of another object or operation")
	}
	for i := range d.Results {
		was := &d.Results[i]
		is := byPolicy[was.Policy]
		delete(byPolicy, was.Policy)
		switch {
		case is == nil:
			differ(was.Policy, was.Verdict, "the policy does not judge it")
		case was.Verdict == engine.Unknown.String() && was.Cause == causes[engine.CauseLimit]:
			r.Unrepeatable++
		case !was.same(is):
			differ(was.Policy, was.words(), is.words())
		}
	}
	for _, is := range again {
		if byPolicy[is.Policy] != nil {
			differ(is.Policy, "no result", is.words())
		}
	}
	return nil
}

// same compares all that decides; the words of a reason may name files as they were called then.
func (r *Result) same(o *Result) bool {
	return r.Digest == o.Digest && r.Severity == o.Severity && r.Verdict == o.Verdict && r.Effect == o.Effect && r.Cause == o.Cause &&
		r.Waiver == o.Waiver && r.Waived == o.Waived && r.Standing == o.Standing && slices.Equal(r.Violations, o.Violations) && slices.Equal(r.Controls, o.Controls)
}

func (s *Subject) words() string { return s.Kind + " " + s.Namespace + "/" + s.Name }

func (r *Result) words() string {
	text := r.Verdict + ", " + r.Effect
	for _, v := range r.Violations {
		text += "; " + v.Path + ": " + v.Message
	}
	if r.Reason != "" {
		text += "; " + r.Reason
	}
	return text
}

// recordedFacts answers what was answered then, and nothing else.
type recordedFacts map[string]engine.Answered

func (s recordedFacts) add(f *Folder, fact *Fact) error {
	key, err := Encode(fact.Query)
	if err != nil {
		return err
	}
	if _, known := s[string(key)]; known {
		return nil // asked again about the old object
	}
	a := engine.Answered{}
	switch fact.State {
	case states[engine.FactFound]:
		a.State = engine.FactFound
		if a.Value, err = f.Value(fact.Value); err != nil {
			return err
		}
	case states[engine.FactAbsent]:
		a.State = engine.FactAbsent
	default:
		a.Err = errors.New(fact.Reason)
		if fact.Doubtful {
			a.Err = fmt.Errorf("%w: %w", a.Err, engine.ErrDoubtful)
		}
	}
	s[string(key)] = a
	return nil
}

// Fact is part of engine.FactSource.
func (s recordedFacts) Fact(_ context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	key, err := Encode(queryOf(q))
	if err != nil {
		return nil, engine.FactUnknown, err
	}
	a, known := s[string(key)]
	if !known {
		return nil, engine.FactUnknown, errors.New("the record has no answer to it")
	}
	return a.Value, a.State, a.Err
}
