package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
	"proviso.dev/proviso/engine/report"
)

// judging is what lint and scan share: flags, wiring, exit code.
type judging struct {
	profile      string
	facts        []string
	outputs      []string
	allowUnknown bool
	now          string
	failOn       string
	all          bool
	color        string
	stdinName    string
	namespace    string
	quiet        bool
	sample       int
	// evidence is the folder that a scan's evidence goes to, key what signs it.
	evidence, key string
	// sinceDir is earlier evidence to hold a scan against, trust whom to believe about it.
	sinceDir, trust string
	// formats are those of the verb; nil is all.
	formats []string
}

func (j *judging) flags(c *cobra.Command) {
	if j.formats == nil {
		j.formats = report.Formats()
	}
	f := c.Flags()
	f.StringVar(&j.profile, "profile", "", "profile to judge by, or none (default proviso.yaml if there is one)")
	f.StringVarP(&j.namespace, "namespace", "n", "", "namespace of objects that name none, as kubectl apply puts them there")
	f.StringArrayVar(&j.facts, "facts", nil, "file or folder of objects that answer facts; may be repeated")
	f.StringArrayVarP(&j.outputs, "output", "o", nil, "FORMAT or FORMAT=FILE; may be repeated: "+strings.Join(j.formats, ", ")+" (default text)")
	f.BoolVar(&j.allowUnknown, "allow-unknown", false, "take unknowns whose sole cause is an unanswered fact out of the exit code; they are still shown")
	f.StringVar(&j.now, "now", "", "judge at this RFC 3339 time instead of the clock's; the report is marked simulated")
	f.StringVar(&j.failOn, "fail-on", "", "exit 3 on failures of this severity and above: critical, high, medium, low or never (default: whatever the profile denies)")
	f.BoolVar(&j.all, "all", false, "list what passes and what does not apply, too")
	f.StringVar(&j.color, "color", "auto", "color of text on a terminal: auto, always or never")
	f.StringVar(&j.stdinName, "stdin-filename", "stdin", "the name that stands for - in reports")
	f.BoolVarP(&j.quiet, "quiet", "q", false, "no progress on standard error")
}

// judge runs the policies over the paths and writes the report.
func (j *judging) judge(ctx context.Context, s streams, paths []string, operation string) error {
	now, simulated, err := j.instant()
	if err != nil {
		return err
	}
	if err := j.checkFailOn(); err != nil {
		return err
	}
	chosen, err := findProfile(j.profile)
	if err != nil {
		return err
	}
	selection, err := chosen.selection()
	if err != nil {
		return err
	}
	earlier, err := stoppable(ctx, func() (*earlier, error) { return j.since(s, &selection) })
	if err != nil {
		return err
	}
	defer earlier.Close()
	set, err := selection.Set()
	if err != nil {
		return err
	}
	var stdin []byte
	if slices.Contains(paths, "-") || slices.Contains(j.facts, "-") {
		if stdin, err = stoppable(ctx, func() ([]byte, error) { return manifest.ReadStdin(s.in) }); err != nil {
			return err
		}
	}
	outs, err := j.open(s.out, chosen.mark(), slices.Concat(paths, j.facts, []string{j.profile, "proviso.yaml"}))
	if err != nil {
		return err
	}
	defer outs.discard()
	asked := &sources{paths: paths}
	if operation == "" {
		if asked, err = openSources(ctx, paths, set, j.sample); err != nil {
			return err
		}
	}
	for _, note := range asked.notes {
		fmt.Fprintf(s.err, "proviso: note: %s\n", note)
	}
	held, err := stoppable(ctx, func() (map[string][]byte, error) {
		return manifest.Hold(append(slices.Clone(asked.paths), j.facts...)...)
	})
	if err != nil {
		return err
	}
	files := &manifest.Files{Paths: asked.paths, Stdin: stdin, Held: held, StdinName: j.stdinName, Namespace: j.namespace, Operation: operation, Misspelt: set.Misspelt}
	facts := manifest.NewFacts(asked.paths, j.facts, stdin, set.FactKinds())
	facts.Namespace, facts.Held = j.namespace, held
	snapshots := manifest.NewFacts(nil, j.facts, stdin, set.FactKinds())
	snapshots.Held = held
	asked.facts.files, asked.facts.snapshots, asked.facts.earlier = facts, snapshots, earlier
	in := each{files.Inspect}
	for _, i := range asked.inspectors {
		in = append(in, i.Inspect)
	}
	header := engine.Header{At: now, Scope: paths, Simulated: simulated, Answers: j.evidence != ""}
	var inspected engine.Inspector
	var rec *recording
	switch {
	case j.evidence != "":
		if rec, err = j.beginRecording(ctx, s, selection, asked, set, header); err != nil {
			return err
		}
		if err := rec.list(ctx, joined(in, selection.Profile, now)); err != nil {
			return rec.abandon(ctx, fmt.Errorf("record: %w", err))
		}
		inspected = rec.withTrouble(facts.Trouble)
	case operation == "":
		inspected = joined(append(in, facts.Trouble), selection.Profile, now)
	default:
		inspected = append(in, facts.Trouble)
	}
	r := set.Run(ctx, inspected, asked.facts, header)
	if rec != nil {
		r = rec.results(ctx, r)
	}
	r = earlier.compare(r, set)
	if !j.quiet {
		stop := progress(s.err, &r)
		defer stop()
	}
	trailer, err := report.Tee(r, outs.write...)
	if rec != nil {
		if bad := rec.finish(ctx, trailer); bad != nil {
			return errors.Join(bad, outs.keep())
		}
	}
	if err := errors.Join(err, outs.keep()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: the report covers only what was judged before")
	}
	code := j.exit(trailer)
	if plain := (&judging{}).exit(trailer); plain != code {
		// The report says what was found; who reads it must not wonder at the code.
		fmt.Fprintf(s.err, "proviso: note: exit code %d; without %s it is %d\n", code, strings.Join(j.lenience(), " and "), plain)
	} else if code == exitOK && len(trailer.Failed) > 0 {
		fmt.Fprintln(s.err, "proviso: note: exit code 0 although something fails: the profile's mode says to warn or to record, not to deny")
	}
	if code != exitOK {
		return exitCode(code)
	}
	return nil
}

// lenience are the flags that change the exit code.
func (j *judging) lenience() []string {
	var flags []string
	if j.failOn != "" {
		flags = append(flags, "--fail-on "+j.failOn)
	}
	if j.allowUnknown {
		flags = append(flags, "--allow-unknown")
	}
	return flags
}

// each inspects one thing after another.
type each []func(context.Context) iter.Seq2[*engine.Subject, error]

// Inspect is part of engine.Inspector.
func (e each) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for _, inspect := range e {
			for sub, err := range inspect(ctx) {
				if !yield(sub, err) {
					return
				}
			}
		}
	}
}

func (j *judging) instant() (time.Time, bool, error) {
	if j.now == "" {
		return time.Now().UTC(), false, nil
	}
	t, err := time.Parse(time.RFC3339, j.now)
	if err != nil {
		return t, false, fmt.Errorf("--now %q is no time: want for example 2026-01-31T12:00:00Z", j.now)
	}
	return t.UTC(), true, nil
}

func (j *judging) checkFailOn() error {
	if _, ok := engine.ParseSeverity(j.failOn); !ok && j.failOn != "" && j.failOn != "never" {
		return fmt.Errorf("--fail-on %q: want critical, high, medium, low or never", j.failOn)
	}
	if !slices.Contains([]string{"auto", "always", "never"}, j.color) {
		return fmt.Errorf("--color %q: want auto, always or never", j.color)
	}
	return nil
}

// exit is the one place where what a run found becomes an exit code.
func (j *judging) exit(t engine.Trailer) int {
	violations := t.Denied > 0
	if threshold, ok := engine.ParseSeverity(j.failOn); ok {
		violations = false
		for severity, n := range t.Failed {
			violations = violations || n > 0 && severity >= threshold
		}
	} else if j.failOn == "never" {
		violations = false
	}
	unknown := t.Unknown
	if j.allowUnknown {
		unknown -= t.UnknownFacts
	}
	switch {
	case t.Broken > 0:
		return exitTrouble
	case violations:
		return exitViolations
	case t.Holes > 0, unknown > 0, t.Summary.Matched == 0:
		return exitIncomplete
	}
	return exitOK
}

// open makes the outputs. A file is written beside its name and takes it when it is whole, unless something other than a
// file stands there, a pipe or a device, which is written to as it is.
func (j *judging) open(stdout io.Writer, profile report.Profile, inputs []string) (*reportOutputs, error) {
	outputs := j.outputs
	if len(outputs) == 0 {
		outputs = []string{"text"}
	}
	outs := &reportOutputs{}
	fail := func(format string, args ...any) (*reportOutputs, error) {
		outs.discard()
		return nil, fmt.Errorf(format, args...)
	}
	taken := map[string]bool{}
	for _, o := range outputs {
		name, file, toFile := strings.Cut(o, "=")
		format, ok := report.Lookup(name)
		if !ok {
			return fail("-o %s: there is no format %q: want %s", o, name, strings.Join(j.formats, ", "))
		}
		if !slices.Contains(j.formats, name) {
			return fail("-o %s: it shows restore plans, which only a scan of backups has (proviso scan velero:DIR -o %s): want %s", o, o, strings.Join(j.formats, ", "))
		}
		place := file
		if full, err := filepath.Abs(file); err == nil && toFile {
			place = full
		}
		if taken[place] {
			return fail("-o %s: two formats want the same place: give each its own, as in -o sarif=out.sarif", o)
		}
		taken[place] = true
		options := report.Options{All: j.all, Version: versionText(), Profile: profile}
		w := stdout
		if toFile {
			if j.evidence != "" && liesIn(j.evidence, file) {
				return fail("-o %s: it lies in %s, the folder of --evidence: name a place outside of it", o, j.evidence)
			}
			f, err := createOutput(file, inputs)
			if err != nil {
				return fail("-o %s: %w", o, err)
			}
			outs.files, w = append(outs.files, f), f
		} else {
			options.Color, options.Width = colors(j.color, stdout)
		}
		outs.write = append(outs.write, func(r engine.Report) error { return format(w, r, options) })
	}
	return outs, nil
}

// reportOutputs are what a report is written by, and the files it goes to that have not their names yet.
type reportOutputs struct {
	write []func(engine.Report) error
	files []*outputFile
}

// keep gives the files their names.
func (o *reportOutputs) keep() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.keep())
	}
	o.files = nil
	return errors.Join(errs...)
}

// discard takes away the files that were not kept.
func (o *reportOutputs) discard() {
	for _, f := range o.files {
		f.discard()
	}
	o.files = nil
}
