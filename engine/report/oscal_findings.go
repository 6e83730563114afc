package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// findings are one for each control.
func (a *assessment) findings(add func(oscalFinding)) {
	for _, c := range a.controls {
		add(a.finding(c))
	}
}

func (a *assessment) finding(c *oscalControl) oscalFinding {
	var sum counts
	var silent []string
	f := oscalFinding{UUID: a.uuid("finding", a.span, c.framework, c.id)}
	for i, x := range c.claims {
		if slices.ContainsFunc(c.claims[:i], func(y claim) bool { return y.oscalPolicy == x.oscalPolicy }) {
			continue // it names the control twice, in two relations
		}
		sum.add(x.counts)
		if x.pass+x.fail+x.unknown == 0 {
			silent = append(silent, markup(x.ID))
		}
		f.Observations = append(f.Observations, oscalRelated{x.uuid})
		f.Observations = append(f.Observations, related(x.faults)...)
		for _, waiver := range slices.Sorted(maps.Keys(x.waived)) {
			f.Risks = append(f.Risks, oscalRelatedRisk{a.risk(x.oscalPolicy, waiver)})
		}
	}
	if a.lost > 0 {
		f.Observations = append(f.Observations, oscalRelated{a.missing()})
	}
	status := a.status(sum, silent)
	f.Title = c.name() + ", as far as policies judge it: " + strings.ReplaceAll(status.State, "-", " ") + " (" + status.Reason + ")"
	f.Description = "Objective: " + c.claimed() + " Found: " + sum.String() + "."
	f.Props = append(c.props(), sum.props()...)
	f.Target = oscalTarget{"objective-id", c.objective(), c.name(), c.props(), status}
	return f
}

// status is the only place where counts become a state. Whatever is not known keeps it from satisfied.
func (a *assessment) status(c counts, silent []string) oscalStatus {
	var why []string
	if c.fail > 0 {
		why = append(why, plural(c.fail, "result is fail", "results are fail")+".")
	}
	if c.unknown > 0 {
		why = append(why, plural(c.unknown, "verdict is", "verdicts are")+" unknown, and unknown is never a pass.")
	}
	if c.waivers > 0 {
		why = append(why, "What is waived does not pass either: it is told as a risk.")
	}
	if a.lost > 0 {
		why = append(why, fmt.Sprintf("%d missing, not judged, without a record or erased: what the policies would say of that is unknown.", a.lost))
	}
	if c.simulated > 0 {
		why = append(why, plural(c.simulated, "verdict is", "verdicts are")+" by a simulated clock: what the real one would have given is unknown.")
	}
	if c.pass+c.fail+c.unknown == 0 {
		why = append(why, "Nothing was judged.")
	} else if len(silent) > 0 {
		why = append(why, "Nothing was judged by "+strings.Join(silent, ", ")+".")
	}
	s := oscalStatus{"not-satisfied", "other", strings.Join(why, " ")}
	switch {
	case c.fail > 0:
		s.Reason = "fail"
	case c.pass > 0 && c.unknown == 0 && a.lost == 0 && c.simulated == 0:
		s.State, s.Reason = "satisfied", "pass"
		s.Remarks = strings.TrimSpace(plural(c.pass, "result is pass", "results are pass") + ", none is fail or unknown. " + s.Remarks)
	}
	return s
}
