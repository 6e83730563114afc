package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Waiver is a dated, owned, reasoned and approved exception. It changes what is done about a decision, never the
// decision: a waived policy is still judged.
type Waiver struct {
	ID string
	// Policy is the id of the one policy that is waived.
	Policy   string
	Subjects Selector
	Owner    string
	Reason   string
	Approver string
	// Expires is the first instant at which the waiver no longer holds.
	Expires time.Time
	// Ticket is optional.
	Ticket string
}

// Selector picks subjects. Every part that is given must hold; an empty one is no part. "*" in Namespace and Name is any
// text.
type Selector struct {
	Group, Kind, Namespace, Name string
	Labels                       map[string]string
}

// WaiverState says where a waiver stands at one instant.
type WaiverState string

// The states of a waiver. Unused is one that hid nothing in a run.
const (
	WaiverActive   WaiverState = "active"
	WaiverExpiring WaiverState = "expiring"
	WaiverExpired  WaiverState = "expired"
	WaiverUnused   WaiverState = "unused"
)

// expiringWithin is how long before its end a waiver is reported as expiring.
const expiringWithin = 14 * 24 * time.Hour

// State is the waiver's state at now, whether it was used or not.
func (w *Waiver) State(now time.Time) WaiverState {
	switch {
	case !now.Before(w.Expires):
		return WaiverExpired
	case now.Add(expiringWithin).After(w.Expires):
		return WaiverExpiring
	}
	return WaiverActive
}

// Validate says everything that keeps the waiver from being one.
func (w *Waiver) Validate() error {
	var errs []error
	for name, text := range map[string]string{"id": w.ID, "policy": w.Policy, "owner": w.Owner, "reason": w.Reason, "approver": w.Approver} {
		if strings.TrimSpace(text) == "" {
			errs = append(errs, fmt.Errorf("%s is missing", name))
		}
	}
	if w.Expires.IsZero() {
		errs = append(errs, errors.New("expires is missing: a waiver has an end"))
	}
	anything := func(pattern string) bool { return strings.Trim(pattern, "*") == "" }
	if s := w.Subjects; s.Kind == "" && anything(s.Namespace) && anything(s.Name) && len(s.Labels) == 0 {
		errs = append(errs, errors.New("subjects picks everything: name at least a kind, a namespace, a name or labels"))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("waiver %q: %w", w.ID, err)
	}
	return nil
}

// Matches reports whether the selector picks the subject.
func (s Selector) Matches(sub *Subject) bool {
	if s.Group != "" && s.Group != sub.Group() || s.Kind != "" && s.Kind != sub.Kind ||
		s.Namespace != "" && !MatchesName(s.Namespace, sub.Namespace) || s.Name != "" && !MatchesName(s.Name, sub.Name) {
		return false
	}
	if len(s.Labels) == 0 {
		return true
	}
	meta, _ := sub.Object["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	for k, want := range s.Labels {
		if have, ok := labels[k].(string); !ok || have != want {
			return false
		}
	}
	return true
}

// waiverFor is the waiver that holds for the policy and subject; where none does, one that has expired, so that the
// expiry can be told.
func (s *Set) waiverFor(policy string, sub *Subject, now time.Time) *Waiver {
	var expired *Waiver
	for _, w := range s.waivers[policy] {
		if !w.Subjects.Matches(sub) {
			continue
		}
		if w.State(now) != WaiverExpired {
			return w
		}
		if expired == nil {
			expired = w
		}
	}
	return expired
}

// LastDay is the end of a waiver as people write it: where it is the start of a day, the day before, which is the last that counts.
func LastDay(t time.Time) string {
	if t = t.UTC(); t.Equal(t.Truncate(24 * time.Hour)) {
		return t.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}
