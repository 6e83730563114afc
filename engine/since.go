package engine

import "time"

// Since says how a run differs from an earlier one, decision by decision.
type Since struct {
	// Evidence is where the earlier run was read, Run its name there, At the instant it judged by, which is not that of the clock
	// where it is Simulated.
	Evidence  string
	Run       string
	At        time.Time
	Simulated bool
	// Unread counts what the earlier run knew to be there and did not read: what is new may have been there.
	Unread int
	// New fails, and did not before or was not there; Worse is any other step down. Fixed failed and passes; NotKnown failed, and
	// nobody can tell any more; Better is any other step up, such as a failure that is waived now or no longer judged.
	New, Worse, NotKnown, Fixed, Better Listed[Change]
	// NewPolicy are failures and unknowns of policies that were not in force then. ChangedPolicy are other outcomes of what was
	// there then, by policies that are not as they were, in their text, parameters or modes: whether the subject is better or
	// worse they do not say.
	NewPolicy, ChangedPolicy Listed[Change]
	// Gone were there and are not; Unseen are not there, either, and their source was not looked at or not read whole. Neither
	// is fixed.
	Gone, Unseen Listed[Former]
	// NewPolicies and GonePolicies are in force now and not then, and the other way round; ChangedPolicies are in force now as
	// they were not then.
	NewPolicies, GonePolicies, ChangedPolicies []string
	// Unchanged counts decisions.
	Unchanged int
}

// Change is a decision that is another than it was.
type Change struct {
	Policy   string
	Severity Severity
	Subject  Named
	// Was is nil where the earlier run did not judge that.
	Was *Outcome
	Is  Outcome
}

// Former is a subject that was there, and how many failures it had.
type Former struct {
	Subject Named
	Fails   int
}

// Named names a subject without holding it.
type Named struct{ APIVersion, Kind, Namespace, Name, Source, File string }

// Named names the subject.
func (s *Subject) Named() Named {
	return Named{s.APIVersion, s.Kind, s.Namespace, s.Name, s.Origin.Source, s.Origin.File}
}

// String is as that of [Subject].
func (n Named) String() string {
	return (&Subject{Kind: n.Kind, Namespace: n.Namespace, Name: n.Name}).String()
}

// Outcome is what is true and what is done about it.
type Outcome struct {
	Verdict Verdict
	Effect  Effect
}

// rank orders outcomes from good to bad: by verdict, pass, unknown, fail, and within one by what is done.
func (o Outcome) rank() int {
	strictness := int(EffectRecord - o.Effect)
	switch o.Verdict {
	case Pass, NotApplicable:
		return 0
	case Fail:
		return 4 + strictness
	}
	return 1 + strictness
}

// WorseThan reports whether o is a step down from what was.
func (o Outcome) WorseThan(was Outcome) bool { return o.rank() > was.rank() }

// maxListed is how many of one kind are listed.
const maxListed = 1000

// Listed is a list that is cut off: Omitted counts what it leaves out.
type Listed[T any] struct {
	List    []T
	Omitted int
}

// Add takes one more.
func (l *Listed[T]) Add(v T) {
	if len(l.List) == maxListed {
		l.Omitted++
		return
	}
	l.List = append(l.List, v)
}

// Count is of all.
func (l Listed[T]) Count() int { return len(l.List) + l.Omitted }
