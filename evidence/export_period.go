package evidence

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter says which records an export holds. The zero value is all of them.
type Filter struct {
	// From and Until are the period, of the producer's clock: from From on, and before Until. Zero is no bound.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Namespace leaves out the decisions about other namespaces, and facts in which another is named.
	Namespace string `json:"namespace,omitempty"`
	// WithoutInputs leaves out what was judged, and what was known around it.
	WithoutInputs bool `json:"withoutInputs,omitempty"`
}

// Where an instant lies to a period.
const (
	beforePeriod = -1
	inPeriod     = 0
	afterPeriod  = 1
)

// side tells where an instant lies to the period.
func (f *Filter) side(at time.Time) int {
	switch {
	case at.Before(f.From):
		return beforePeriod
	case !f.Until.IsZero() && !at.Before(f.Until):
		return afterPeriod
	}
	return inPeriod
}

// Within reports whether an instant is in the period.
func (f *Filter) Within(at time.Time) bool { return f.side(at) == inPeriod }

// words say what is left out; "nothing" where nothing is.
func (f *Filter) words() string {
	var all []string
	if !f.From.IsZero() {
		all = append(all, "what was recorded before "+f.From.Format(time.RFC3339Nano))
	}
	if !f.Until.IsZero() {
		all = append(all, "what was recorded from "+f.Until.Format(time.RFC3339Nano)+" on")
	}
	if f.Namespace != "" {
		text := "what was judged outside the namespace " + f.Namespace + ", and facts that name another"
		if !f.WithoutInputs {
			text += " (what was judged in it is whole, whatever it names)"
		}
		all = append(all, text)
	}
	if f.WithoutInputs {
		all = append(all, "what was judged, and the facts around it, but for their digests")
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, "; ")
}

// stretches follows which records of a log are left out. Where the period alone decides, neighbours may be left out if both the
// record before them and the one after lie on the same side of it; the start of the log counts as before, its end as after.
type stretches struct {
	// side is that of the last record that is there, away the first that was left out since; nil is none.
	side int
	away *uint64
}

// meet takes a record that is there, or the end of the log, and says what is wrong with what was left out before it.
func (s *stretches) meet(seq uint64, side int) (place, wrong string) {
	if s.away != nil && (side == inPeriod || side != s.side) {
		place, wrong = fmt.Sprintf("record %d", *s.away), "it was left out, and nothing shows that it is outside of the period"
		if last := seq - 1; last > *s.away {
			place, wrong = fmt.Sprintf("records %d to %d", *s.away, last), "they were left out, and nothing shows that they are outside of the period"
		}
	}
	s.side, s.away = side, nil
	return place, wrong
}

// leave takes a record that is not there.
func (s *stretches) leave(seq uint64) {
	if s.away == nil {
		s.away = &seq
	}
}

// crossed holds a record that an export has, or the end of the log, against what was left out before it.
func (e *exportCheck) crossed(v *verification, seq uint64, side int) {
	if place, wrong := e.meet(seq, side); wrong != "" && e.m.Filter.Namespace == "" {
		v.problem(RecordMissing, place, "%s", wrong)
	}
}

// forces follows which policies are in force.
type forces struct {
	// now are the activations of the run that none of their webhook follows, and whether they were told.
	now []*inForce
	// told are those that were in force while the period lasted.
	told []Activation
}

type inForce struct {
	*Activation
	told bool
}

// record takes the next record, and whether it is in the period.
func (f *forces) record(r *Record, within bool) {
	if r.Open != nil {
		f.now = nil
	}
	if a := r.Activation; a != nil {
		f.now = append(slices.DeleteFunc(f.now, func(old *inForce) bool { return old.Webhook == a.Webhook }), &inForce{Activation: a})
	}
	for _, a := range f.now {
		if within && !a.told {
			f.told, a.told = append(f.told, *a.Activation), true
		}
	}
}
