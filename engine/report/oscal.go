package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// oscalVersion is the version of OSCAL that [OSCAL] writes.
const oscalVersion = "1.2.2"

// ErrNoControls is what keeps a period from being told in OSCAL: an assessment of no control is none there.
var ErrNoControls = errors.New("no policy that was in force names a control, and OSCAL tells of controls only (give policies controls)")

// OSCAL writes the assessment-results of a period for the controls that the policies in force name. Each control has one
// objective of our own, that everything these policies apply to passes them, and one finding on it; how the policies stand
// to the control, satisfies, supports or evidence-for, is told with both, so that no control seems satisfied as a whole where
// a part of it was judged. Each result that is fail or unknown is an observation that refers to its record; what passes is
// counted. An objective is satisfied only where something passed, nothing failed, waived or not, nothing is unknown, no clock
// was simulated and nothing is missing in the whole period, for what is missing might have concerned any policy.
//
// Equal periods are equal bytes. Records are written as they come; kept are the names of subjects that do not pass, once
// each, and an identifier for each result that does not.
func OSCAL(w io.Writer, p Period) error {
	a, err := newAssessment(p)
	if err == nil {
		err = a.write(w)
	}
	if err != nil {
		return fmt.Errorf("write OSCAL: %w", err)
	}
	return nil
}

// assessment is a period on its way to be written.
type assessment struct {
	Period
	span     string // names the period, for identifiers
	tool     uuid
	origins  []oscalOrigin
	policies []*oscalPolicy
	byDigest map[policyKey]*oscalPolicy
	controls []*oscalControl
	// subjects are those that do not pass, each once.
	subjects []PeriodSubject
	seen     map[uuid]bool
	// records counts those with results, lost what is missing.
	records, lost uint64
}

type policyKey struct {
	id     string
	digest engine.Digest
}

func newAssessment(p Period) (*assessment, error) {
	a := &assessment{Period: p, byDigest: map[policyKey]*oscalPolicy{}, seen: map[uuid]bool{}}
	if err := cmp.Or(writable("start of the period", p.From), writable("end of the period", p.Until)); err != nil {
		return nil, err
	}
	if p.Until.Before(p.From) {
		return nil, fmt.Errorf("the period ends %s, before it starts %s", stamp(p.Until), stamp(p.From))
	}
	a.span = stamp(p.From) + "/" + stamp(p.Until)
	a.tool = a.uuid("tool", p.Version)
	a.origins = []oscalOrigin{{[]oscalActor{{"tool", a.tool}}}}
	for _, policy := range p.Policies {
		key := policyKey{policy.ID, policy.Digest}
		if a.byDigest[key] == nil {
			a.byDigest[key] = &oscalPolicy{Policy: policy, uuid: a.uuid("policy", a.span, policy.ID, policy.Digest), waived: map[string][]uuid{}}
			a.policies = append(a.policies, a.byDigest[key])
		}
		a.byDigest[key].names(policy.Controls)
	}
	slices.SortFunc(a.policies, func(x, y *oscalPolicy) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(string(x.Digest), string(y.Digest)))
	})
	if a.controls = controlsOf(a.policies); len(a.controls) == 0 {
		return nil, ErrNoControls
	}
	return a, nil
}

// writable refuses the times that OSCAL has no form for.
func writable(what string, t time.Time) error {
	if y := t.UTC().Year(); y < 2000 || y > 2999 {
		return fmt.Errorf("the %s, %s, is not in the years 2000 to 2999, which OSCAL can write", what, stamp(t))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// uuid is the identifier of what the parts name within the log.
func (a *assessment) uuid(parts ...any) uuid {
	name := strconv.Quote(a.Origin)
	for _, part := range parts {
		name += strconv.Quote(fmt.Sprint(part))
	}
	return newUUID(uuidSpace[:], name)
}

func (a *assessment) write(w io.Writer) error {
	d := newDocument(w)
	d.between = `{"assessment-results": {` + "\n  "
	d.field("uuid", a.uuid("assessment-results", a.span, a.Key))
	title := "Evidence of " + markup(a.Origin)
	d.field("metadata", oscalMetadata{title, a.Until.UTC(), "1", oscalVersion})
	plan := oscalResource{a.uuid("plan", a.span), "The policies in force",
		"There is no assessment plan in OSCAL. What was assessed is what the policies in force judge; local-definitions name them, and their texts lie with the evidence."}
	planned, _ := plan.UUID.MarshalText()
	d.field("import-ap", oscalImport{"#" + string(planned), plan.Description})
	inside(d, "local-definitions", func() {
		elements(d, "objectives-and-methods", a.objectives)
		elements(d, "activities", a.activities)
	})
	d.key("results")
	d.text("[{")
	d.between = "\n  "
	d.field("uuid", a.uuid("result", a.span))
	d.field("title", title)
	d.field("description", "What Proviso judged from "+stamp(a.From)+" until "+stamp(a.Until)+", as its signed log tells it.")
	d.field("start", a.From.UTC())
	d.field("end", a.Until.UTC())
	if about := a.about(); about != nil {
		d.field("props", about)
	}
	d.field("reviewed-controls", a.reviewed())
	var err error
	elements(d, "observations", func(add func(oscalObservation)) { err = a.observations(d, add) })
	if err != nil {
		return err
	}
	inside(d, "local-definitions", func() { a.local(d) })
	elements(d, "risks", a.risks)
	elements(d, "findings", a.findings)
	d.field("remarks", a.remarks())
	d.text("\n}]")
	d.between = ",\n  "
	d.field("back-matter", oscalBackMatter{[]oscalResource{plan}})
	d.text("\n}")
	return d.end()
}

// inside writes an object with the fields that write writes.
func inside(d *document, name string, write func()) {
	d.key(name)
	d.text("{")
	d.between = "\n  "
	write()
	d.text("}")
	d.between = ",\n  "
}

// elements writes a list as each adds to it, and nothing where it adds nothing.
func elements[T any](d *document, name string, each func(add func(T))) {
	open := false
	each(func(e T) {
		if !open {
			d.open(name)
			open = true
		}
		d.element(e)
	})
	if open {
		d.close()
	}
}

// about says whose evidence it is.
func (a *assessment) about() []oscalProp {
	return append(props("log-origin", a.Origin, "log-key", a.Key, "proviso-version", a.Version), a.Cluster.props()...)
}

func (c PeriodCluster) props() []oscalProp {
	return props("cluster-uid", c.UID, "cluster-name", c.Name, "cluster-region", c.Region, "cluster-jurisdiction", c.Jurisdiction)
}

// local defines what the observations refer to.
func (a *assessment) local(d *document) {
	if c := a.Cluster; c != (PeriodCluster{}) {
		d.field("components", []oscalComponent{{a.uuid("cluster", c.UID, c.Name), "this-system", "Cluster " + markup(cmp.Or(c.Name, c.UID)), "The Kubernetes cluster that was judged.", c.props(), oscalState{"operational"}}})
	}
	elements(d, "inventory-items", func(add func(oscalItem)) {
		for _, s := range a.subjects {
			add(oscalItem{a.item(s), "Subject " + s.name(), s.props()})
		}
	})
	d.field("assessment-assets", oscalAssets{
		[]oscalComponent{{a.tool, "software", "Proviso " + markup(cmp.Or(a.Version, "of unknown version")), "It judges Kubernetes objects and backups by policies, and keeps signed evidence.",
			props("proviso-version", a.Version), oscalState{"operational"}}},
		[]oscalPlatform{{a.uuid("platform"), "Proviso", []oscalUses{{a.tool}}}},
	})
}

// remarks says what the findings do not.
func (a *assessment) remarks() string {
	text := "A satisfied objective says that everything its policies apply to passed them, in this log and period. It does not say that a law or standard is satisfied. " +
		"What does not apply to a policy is no result of it. " + plural(int(a.records), "record with results was", "records with results were") + " read."
	if a.lost > 0 {
		text += fmt.Sprintf(" %d missing, so no objective is satisfied.", a.lost)
	}
	return text
}
