package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// observations are those on results as the records come, then one for each policy that counts its results, and one that
// counts what is missing.
func (a *assessment) observations(d *document, add func(oscalObservation)) error {
	for e, err := range a.Entries {
		if err == nil {
			err = cmp.Or(d.err, writable(fmt.Sprintf("time of record %d", e.Seq), e.At))
		}
		if err == nil {
			err = a.entry(&e, add)
		}
		if err != nil {
			return err
		}
	}
	for _, p := range a.policies {
		add(a.counted(p))
	}
	if a.lost > 0 {
		o := a.observation(a.missing(), fmt.Sprintf("%d missing", a.lost), "What was not judged, has no record, or was erased. It might have concerned any policy.", a.Until)
		o.Props = props("missing", a.lost)
		add(o)
	}
	return nil
}

func (a *assessment) missing() uuid { return a.uuid("missing", a.span) }

// observation is one that our tool made. Proviso tests, as OSCAL calls it when software does.
func (a *assessment) observation(id uuid, title, description string, at time.Time) oscalObservation {
	return oscalObservation{UUID: id, Title: title, Description: description, Methods: []string{"TEST"}, Types: []string{"control-objective"}, Origins: a.origins, Collected: at.UTC()}
}

// entry counts a record and adds what is to be told of it.
func (a *assessment) entry(e *Entry, add func(oscalObservation)) error {
	if m := e.Missing; m != nil {
		a.lost = max(a.lost, a.lost+max(m.Count, 1)) // a sum that overflows must not become 0, which is nothing missing
		text := "Missing: " + markup(strings.TrimPrefix(m.Source+": "+m.Reason, ": ")) + "."
		o := a.observation(a.uuid("missing", e.Seq, e.Digest, m.Kind), markup(cmp.Or(m.Kind, "missing")), text, e.At)
		o.Props = props("missing", max(m.Count, 1), "missing-kind", m.Kind, "missing-source", m.Source, "seq", e.Seq)
		o.Evidence = evidence(e)
		add(o)
		return nil
	}
	a.records++
	for i := range e.Results {
		r := &e.Results[i]
		p := a.byDigest[policyKey{r.Policy, r.Digest}]
		if p == nil {
			return fmt.Errorf("record %d judges by policy %q (%s), which is not among those in force (give OSCAL every policy of the period)", e.Seq, r.Policy, r.Digest)
		}
		verdict := p.count(e, r)
		if verdict == engine.Pass || verdict == engine.NotApplicable {
			continue
		}
		id := a.uuid("result", e.Seq, e.Digest, r.Policy, r.Digest)
		p.faults = append(p.faults, id)
		if r.Waived {
			p.waived[r.Waiver] = append(p.waived[r.Waiver], id)
		}
		add(a.fault(id, e, r, p, verdict))
	}
	return nil
}

// fault tells of a result that does not pass.
func (a *assessment) fault(id uuid, e *Entry, r *PeriodResult, p *oscalPolicy, verdict engine.Verdict) oscalObservation {
	s := e.Subject
	said := r.Reason
	if len(r.Violations) > 0 {
		var list []string
		for _, v := range r.Violations {
			text := v.Message
			if v.Path != "" {
				text += " (at " + v.Path + ")"
			}
			list = append(list, text)
		}
		said = strings.Join(list, "; ")
	}
	name := s.name()
	text := name + " does not pass: " + markup(said) + "."
	if verdict == engine.Unknown {
		text = "It is unknown whether " + name + " passes, and unknown is never a pass: " + markup(said) + "."
	}
	o := a.observation(id, verdict.String()+": "+name+": "+markup(p.ID), text, e.At)
	o.Props = append(props("policy", p.ID, "policy-digest", p.Digest, "severity", p.Severity, "verdict", verdict, "effect", r.Effect), s.props()...)
	if r.Waiver != "" {
		o.Props = append(o.Props, props("waiver", r.Waiver, "waived", r.Waived)...)
	}
	if e.Refused {
		o.Props = append(o.Props, props("refused-at-admission", true)...)
	}
	if e.Simulated {
		o.Props = append(o.Props, props("simulated-clock", true)...)
	}
	o.Evidence = evidence(e)
	item := a.item(s)
	o.Subjects = []oscalSubject{{item, "inventory-item"}}
	if !a.seen[item] {
		a.seen[item] = true
		a.subjects = append(a.subjects, s)
	}
	return o
}

// item is the identifier of a subject.
func (a *assessment) item(s PeriodSubject) uuid {
	return a.uuid("subject", s.APIVersion, s.Kind, s.Namespace, s.Name, s.Source)
}

// name is kind, namespace and name, fit for Markdown.
func (s PeriodSubject) name() string {
	return markup(s.Kind) + " " + markup(strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"))
}

func (s PeriodSubject) props() []oscalProp {
	return props("api-version", s.APIVersion, "kind", s.Kind, "namespace", s.Namespace, "name", s.Name, "source", s.Source)
}

// evidence refers to a record.
func evidence(e *Entry) []oscalEvidence {
	return []oscalEvidence{{e.reference(), fmt.Sprintf("Record %d of the log.", e.Seq), props("seq", e.Seq, "record-digest", e.Digest, "event", e.Event)}}
}

// counted tells how many results a policy has, with the first and last that pass.
func (a *assessment) counted(p *oscalPolicy) oscalObservation {
	o := a.observation(p.uuid, "Policy "+markup(p.ID)+": "+p.counts.String(),
		"What policy "+markup(p.ID)+" said, counted. What does not pass is an observation of its own.", a.Until)
	o.Props = append(props("policy", p.ID, "policy-digest", p.Digest, "severity", p.Severity), p.counts.props()...)
	if p.pass > 0 {
		o.Props = append(o.Props, props("first-pass-seq", p.first.Seq, "last-pass-seq", p.last.Seq)...)
		o.Evidence = evidence(&p.first)
		if p.last.Seq != p.first.Seq {
			o.Evidence = append(o.Evidence, evidence(&p.last)...)
		}
	}
	return o
}
