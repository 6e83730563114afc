package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// oscalPolicy is a policy with what it said in the period.
type oscalPolicy struct {
	*engine.Policy
	uuid uuid // of the observation that counts its results
	counts
	// named are the controls, each with each relation once.
	named []engine.Control
	// first and last are the records of the first and last pass.
	first, last Entry
	// faults are the observations on results that do not pass; waived those that a waiver covers, by its id.
	faults []uuid
	waived map[string][]uuid
}

// names adds controls that the policy names.
func (p *oscalPolicy) names(controls []engine.Control) {
	for _, c := range controls {
		if !slices.Contains(p.named, c) {
			p.named = append(p.named, c)
		}
	}
}

// counts are numbers of results. Those that do not pass are counted again where they are waived, or the subject was refused;
// those by a simulated clock in simulated.
type counts struct{ pass, fail, unknown, notApplicable, waivers, refused, simulated int }

// count adds a result and returns its verdict.
func (p *oscalPolicy) count(e *Entry, r *PeriodResult) engine.Verdict {
	verdict := engine.Unknown
	switch r.Verdict {
	case engine.NotApplicable.String():
		p.notApplicable++
		return engine.NotApplicable
	case engine.Pass.String():
		if p.pass++; p.pass == 1 {
			p.first = *e
		}
		p.last = *e
		verdict = engine.Pass
	case engine.Fail.String():
		p.fail++
		verdict = engine.Fail
	default:
		p.unknown++
	}
	if e.Simulated {
		p.simulated++
	}
	if verdict != engine.Pass && r.Waived {
		p.waivers++
	}
	if verdict != engine.Pass && e.Refused {
		p.refused++
	}
	return verdict
}

func (c *counts) add(x counts) {
	c.pass += x.pass
	c.fail += x.fail
	c.unknown += x.unknown
	c.notApplicable += x.notApplicable
	c.waivers += x.waivers
	c.refused += x.refused
	c.simulated += x.simulated
}

func (c counts) String() string {
	text := fmt.Sprintf("%d pass, %d fail, %d unknown", c.pass, c.fail, c.unknown)
	for _, x := range []struct {
		n    int
		what string
	}{{c.waivers, "waived"}, {c.refused, "refused at admission"}, {c.simulated, "by a simulated clock"}} {
		if x.n > 0 {
			text += fmt.Sprintf(", of these %d %s", x.n, x.what)
		}
	}
	return text
}

func (c counts) props() []oscalProp {
	return props("pass", c.pass, "fail", c.fail, "unknown", c.unknown, "not-applicable", c.notApplicable,
		"waived", c.waivers, "refused-at-admission", c.refused, "simulated-clock", c.simulated)
}

// oscalControl is a control with the policies that name it, each with its relation.
type oscalControl struct {
	framework, id string
	claims        []claim
}

type claim struct {
	*oscalPolicy
	relation string
}

// controlsOf are the controls that policies name, by framework and id.
func controlsOf(policies []*oscalPolicy) []*oscalControl {
	found := map[[2]string]*oscalControl{}
	for _, p := range policies {
		for _, c := range p.named {
			key := [2]string{c.Framework, c.ID}
			if found[key] == nil {
				found[key] = &oscalControl{framework: c.Framework, id: c.ID}
			}
			found[key].claims = append(found[key].claims, claim{p, c.Relation})
		}
	}
	return slices.SortedFunc(maps.Values(found), func(x, y *oscalControl) int {
		return cmp.Or(strings.Compare(x.framework, y.framework), strings.Compare(x.id, y.id))
	})
}

// objective names the objective of a control. Two underscores are never within a token.
func (c *oscalControl) objective() string { return token(c.framework) + "__" + token(c.id) }

func (c *oscalControl) name() string { return markup(c.framework + " " + c.id) }

// props are the control's, and every relation that is claimed, once.
func (c *oscalControl) props() []oscalProp {
	list := props("framework", c.framework, "control", c.id)
	var relations []string
	for _, x := range c.claims {
		relations = append(relations, x.relation)
	}
	slices.Sort(relations)
	for _, r := range slices.Compact(relations) {
		list = append(list, props("relation", r)...)
	}
	return list
}

// claimed says how each policy stands to the control, and what that does not say.
func (c *oscalControl) claimed() string {
	var list []string
	whole := false
	for _, x := range c.claims {
		list = append(list, fmt.Sprintf("%s (%s)", markup(x.ID), markup(x.relation)))
		whole = whole || x.relation == "satisfies"
	}
	text := "Everything that these policies apply to passes them: " + strings.Join(list, ", ") + "."
	if !whole {
		text += " None of them claims to satisfy the control: they judge a part of it."
	}
	return text
}

// objectives are in our namespace: in OSCAL's own one has to name its method by a property that OSCAL does not allow there.
func (a *assessment) objectives(add func(oscalObjective)) {
	for _, c := range a.controls {
		add(oscalObjective{token(c.id), c.props(), []oscalPart{{c.objective(), oscalSpace, "assessment-objective", c.claimed()}}})
	}
}

func (a *assessment) activities(add func(oscalActivity)) {
	for _, p := range a.policies {
		activity := oscalActivity{UUID: a.uuid("activity", p.ID, p.Digest), Title: "Policy " + markup(p.ID), Description: "It judges: " + markup(cmp.Or(p.Title, p.ID)) + "."}
		activity.Props = append([]oscalProp{{Name: "method", Value: "TEST"}}, props("policy", p.ID, "policy-ref", p.Ref, "policy-digest", p.Digest, "severity", p.Severity)...)
		for _, c := range p.named {
			if activity.Controls == nil {
				activity.Controls = &oscalReviewed{}
			}
			activity.Controls.Controls = append(activity.Controls.Controls,
				oscalSelection{Props: props("framework", c.Framework, "control", c.ID, "relation", c.Relation), Controls: []oscalControlID{{token(c.ID)}}})
		}
		add(activity)
	}
}

// reviewed selects the controls and their objectives, framework by framework.
func (a *assessment) reviewed() oscalReviewed {
	r := oscalReviewed{Description: "The controls that policies in force name. Their frameworks are not imported: no catalog, profile or plan in OSCAL is behind them."}
	last := ""
	for _, c := range a.controls {
		if r.Controls == nil || c.framework != last {
			selection := oscalSelection{Props: props("framework", c.framework)}
			r.Controls, r.Objectives = append(r.Controls, selection), append(r.Objectives, selection)
			last = c.framework
		}
		n := len(r.Controls) - 1
		r.Controls[n].Controls = append(r.Controls[n].Controls, oscalControlID{token(c.id)})
		r.Objectives[n].Objectives = append(r.Objectives[n].Objectives, oscalObjectiveID{c.objective()})
	}
	return r
}

// risks are the waivers that cover something: what they cover is not satisfied, it is a risk that somebody approved.
func (a *assessment) risks(add func(oscalRisk)) {
	for _, p := range a.policies {
		for _, waiver := range slices.Sorted(maps.Keys(p.waived)) {
			covered := p.waived[waiver]
			add(oscalRisk{
				UUID:        a.risk(p, waiver),
				Title:       "Waiver " + markup(waiver) + " of policy " + markup(p.ID),
				Description: plural(len(covered), "result that does", "results that do") + " not pass policy " + markup(p.ID) + " under waiver " + markup(waiver) + ".",
				Statement:   "The waiver changes what is done about these results. It does not change that they do not pass: " + markup(cmp.Or(p.Title, p.ID)) + ".",
				Props:       props("waiver", waiver, "policy", p.ID, "policy-digest", p.Digest, "severity", p.Severity),
				Status:      "deviation-approved", Origins: a.origins, Observations: related(covered),
			})
		}
	}
}

func (a *assessment) risk(p *oscalPolicy, waiver string) uuid {
	return a.uuid("risk", a.span, p.ID, p.Digest, waiver)
}

func related(ids []uuid) []oscalRelated {
	list := make([]oscalRelated, len(ids))
	for i, id := range ids {
		list[i] = oscalRelated{id}
	}
	return list
}
