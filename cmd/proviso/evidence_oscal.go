package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
	"proviso.dev/proviso/evidence"
)

// assessment writes OSCAL assessment results of what is exported.
func assessment(w io.Writer, x *evidence.Exporting) error {
	p := report.Period{From: x.First, Until: x.Last, Version: versionText(), Origin: x.Producer.Origin, Key: "sha256:" + x.Signer, Entries: entriesOf(x)}
	if !x.Filter.From.IsZero() {
		p.From = x.Filter.From
	}
	if !x.Filter.Until.IsZero() {
		p.Until = x.Filter.Until
	}
	if len(x.Clusters) == 1 {
		c := x.Clusters[0]
		p.Cluster = report.PeriodCluster{UID: c.UID, Name: c.Name, Region: c.Region, Jurisdiction: c.Jurisdiction}
	}
	sets := map[engine.Digest]*engine.Set{}
	for i := range x.Activations {
		a := &x.Activations[i]
		if sets[a.Pack] == nil {
			set, err := packed(x.Folder, a)
			if err != nil {
				return err
			}
			sets[a.Pack] = set
			p.Policies = append(p.Policies, set.Policies()...)
		}
		if holds := sets[a.Pack].Digest(); holds != a.PolicySet {
			return fmt.Errorf("the pack %s holds the policies %s, and %q were put into force", a.Pack, holds, a.PolicySet)
		}
	}
	err := report.OSCAL(w, p)
	if errors.Is(err, report.ErrNoControls) {
		return &evidence.LeftOutError{Why: err.Error()}
	}
	return err
}

// entriesOf are the records of the period, as OSCAL takes them, and what is missing in it.
func entriesOf(x *evidence.Exporting) iter.Seq2[report.Entry, error] {
	return func(yield func(report.Entry, error) bool) {
		l, err := lackingIn(x)
		if err != nil {
			yield(report.Entry{}, err)
			return
		}
		for _, e := range l.entries {
			if !yield(e, nil) {
				return
			}
		}
		for rec, err := range x.Records {
			if err != nil {
				yield(report.Entry{}, err)
				return
			}
			e := entryOf(rec)
			switch {
			case !x.Filter.Within(rec.At) && (rec.Gap == nil || !reaches(&x.Filter, rec.Gap.From, rec.Gap.Until)):
				continue // it shows where the period begins or ends, and is no part of it
			case rec.Decision != nil:
				l.restsOn(rec.Decision)
				decided(&e, rec.Decision)
			case rec.Hole != nil && rec.Hole.Kind == evidence.NotManifest:
				continue
			case rec.Hole != nil:
				e.Missing = &report.Missing{Kind: "hole", Source: rec.Hole.Source, Reason: rec.Hole.Reason, Count: 1}
			case rec.Gap != nil:
				e.Missing = &report.Missing{Kind: "gap", Reason: rec.Gap.Reason, Count: max(1, rec.Gap.Lost)}
			}
			if (e.Results != nil || e.Missing != nil) && !yield(e, nil) {
				return
			}
		}
		for _, e := range l.erasures {
			if e.concerns && !yield(e.Entry, nil) {
				return
			}
		}
	}
}

// entryOf names a record, and says nothing of it yet.
func entryOf(rec *evidence.Kept) report.Entry {
	return report.Entry{Seq: rec.Seq, Digest: rec.Digest, At: rec.At, File: "../" + evidence.ExportDir + "/" + evidence.RecordsFile(rec.Seq)}
}

// decided is what a decision says, or that it says nothing: where there are problems no policy was asked.
func decided(e *report.Entry, d *evidence.Decision) {
	s := &d.Subject
	e.Event, e.Simulated, e.Refused = d.Event, d.Simulated, d.Answer != nil && !d.Answer.Allowed
	e.Subject = report.PeriodSubject{APIVersion: s.APIVersion, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Source: s.Source}
	if len(d.Problems) > 0 && e.Refused {
		return // it let nothing in
	}
	if len(d.Problems) > 0 {
		about := strings.Join(strings.Fields(s.Kind+" "+s.Namespace+" "+s.Name), " ")
		e.Missing = &report.Missing{Kind: "unjudged", Source: about, Reason: strings.Join(d.Problems, "; "), Count: 1}
		return
	}
	for i := range d.Results {
		r := &d.Results[i]
		e.Results = append(e.Results, report.PeriodResult{Policy: r.Policy, Digest: r.Digest, Verdict: r.Verdict, Effect: r.Effect, Violations: r.Violations,
			Reason: r.Reason, Waiver: r.Waiver, Waived: r.Waived})
	}
}
