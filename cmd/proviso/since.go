package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// sinceParameter is what policies call the log that a scan is held against; they speak where it is set.
const sinceParameter = "previousEvidence"

// earlier is the scan that this one is held against; nil is none.
type earlier struct {
	*evidence.Previous
	name   string
	closer io.Closer
	// then are the policies that were in force, by id.
	then map[string]evidence.InForce
	// notes is where those go.
	notes io.Writer
	// clusters are what those of this scan say they are, by their sources; other is set where one is another than it was.
	clusters map[string]toldCluster
	other    error
}

// since opens the evidence of the earlier scan, and tells the policies of it. What does not verify ends the scan before it
// begins.
func (j *judging) since(s streams, to *bundles.Selection) (*earlier, error) {
	if j.sinceDir == "" {
		if j.trust != "" {
			return nil, errors.New("--trust says whom to believe about earlier evidence: name that with --since")
		}
		return nil, nil
	}
	o, err := verifyOptions(j.trust, nil)
	if err != nil {
		return nil, err
	}
	fsys, closer, err := evidence.OpenPath(j.sinceDir)
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	e, err := openEarlier(evidence.OpenPrevious(fsys, o))
	var bad *evidence.NotVerified
	switch {
	case errors.As(err, &bad):
		fmt.Fprintf(s.err, "proviso: --since %s: %s\n", j.sinceDir, printable(err.Error()))
		return nil, errors.Join(exitCode(exitUnverified), closer.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("--since %s: %w", j.sinceDir, err), closer.Close())
	}
	e.name, e.closer, e.notes, e.clusters = j.sinceDir, closer, s.err, map[string]toldCluster{}
	if !e.Verified.Established {
		fmt.Fprintf(s.err, "proviso: note: who signed %s is not established: name a key you trust with --trust\n", j.sinceDir)
	}
	if n := len(e.CutOff); n > 0 {
		last := &e.CutOff[n-1]
		fmt.Fprintf(s.err, "proviso: note: --since %s: the last scan that ended is that of %s; the one begun at %s is not compared with: %s\n",
			j.sinceDir, e.At.UTC().Format(time.RFC3339), last.Start.UTC().Format(time.RFC3339), notDone(last))
	}
	if !slices.ContainsFunc(j.outputs, showsSince) && len(j.outputs) > 0 {
		fmt.Fprintf(s.err, "proviso: note: --since %s: %s cannot show what changed since: give text or json, too\n", j.sinceDir, "-o "+strings.Join(j.outputs, " -o "))
	}
	to.With = map[string][]string{sinceParameter: {e.Verified.Producer.Origin}}
	return e, nil
}

// showsSince reports whether an output says what changed.
func showsSince(output string) bool {
	format, _, _ := strings.Cut(output, "=")
	return format == "text" || format == "json"
}

// notDone is why a scan counts for nothing that others are held against.
func notDone(r *evidence.Run) string {
	switch {
	case !r.Closed:
		return "it has no end, and still runs or was cut off"
	case r.Reason != "done":
		return "it " + printable(r.Reason)
	}
	return "it is not signed to its end"
}

// openEarlier reads from the policies it was judged by which they were.
func openEarlier(p *evidence.Previous, err error) (*earlier, error) {
	if err != nil {
		return nil, err
	}
	raw, err := p.Object(p.Pack)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	pack, err := bundles.ReadPack(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the policies of the previous scan: %w", err), p.Close())
	}
	e := &earlier{Previous: p, then: map[string]evidence.InForce{}}
	for _, policy := range pack.Policies {
		parameters := map[string]any{}
		if len(policy.Parameters) > 0 {
			d := json.NewDecoder(bytes.NewReader(policy.Parameters))
			d.UseNumber()
			if err := d.Decode(&parameters); err != nil {
				return nil, errors.Join(fmt.Errorf("read the policies of the previous scan: the parameters of %s: %w", policy.ID, err), p.Close())
			}
		}
		e.then[policy.ID] = inForce(policy.Digest, parameters, policy.Mode, policy.Unknown)
	}
	return e, nil
}

// inForce is what tells whether a policy is as it was. What --since itself sets is no change of it.
func inForce(digest engine.Digest, parameters map[string]any, mode, unknown string) evidence.InForce {
	parameters = maps.Clone(parameters)
	delete(parameters, sinceParameter)
	text := ""
	if len(parameters) > 0 {
		raw, err := json.Marshal(parameters) // keys are sorted
		if text = string(raw); err != nil {
			text = err.Error() // it is no number: nobody can tell, so it counts as changed
		}
	}
	return evidence.InForce{Judges: string(digest) + " " + text, Modes: mode + " " + unknown}
}

// compare is the report with what changed since.
func (e *earlier) compare(r engine.Report, set *engine.Set) engine.Report {
	if e == nil {
		return r
	}
	if e.other = e.sameClusters(r.Scope); e.other != nil {
		return e.refused(r)
	}
	now := map[string]evidence.InForce{}
	for _, p := range set.Policies() {
		now[p.ID] = inForce(p.Digest, p.Params, p.Mode.String(), p.Unknown.String())
	}
	return e.Compare(r, e.name, e.then, now)
}

// Close closes the evidence.
func (e *earlier) Close() error {
	if e == nil {
		return nil
	}
	return errors.Join(e.Previous.Close(), e.closer.Close())
}

// Fact is part of engine.FactSource.
func (e *earlier) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	if e == nil {
		return nil, engine.FactUnknown, errors.New("no earlier evidence was named: scan … --since DIR")
	}
	if e.other != nil {
		return nil, engine.FactUnknown, fmt.Errorf("%w: %w", e.other, engine.ErrDoubtful)
	}
	return e.Previous.Fact(ctx, q, about)
}
