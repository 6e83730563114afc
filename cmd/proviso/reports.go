package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// reportsParameter is what policies call the evidence of scans that is at hand; they speak where it is set.
const reportsParameter = "scanReports"

// reports answer what the last scan said of a backup, from the evidence that scans leave in a folder. What they answer was
// read before: no request waits for a disk.
type reports struct {
	dir string
	// trust is whom to believe; nil is the key in the folder.
	trust *evidence.Trust
	now   func() time.Time
	state atomic.Pointer[readReports]
}

// readReports are the reports as they were read: up to a seal.
type readReports struct {
	seal    string
	backups map[backupName]*lastScan
	// doubt is what the newest scan did not read and belongs to no backup that it found: others may be behind it.
	doubt string
	// err is why nothing is known.
	err error
}

type backupName struct{ namespace, name string }

// lastScan is what a scan said of a backup.
type lastScan struct {
	at  time.Time
	run string
	// folders are where the backup lies, by source.
	folders map[string]string
	// looked is whether what the backup holds was looked into, and not the Backup alone; whole whether all of it was read.
	looked, whole           bool
	fails, unknowns, waived []any
}

// backupKinds are the subjects that speak of a backup, and have its name.
var backupKinds = map[[2]string]bool{{"velero.io", "Backup"}: true, {artifacts, "BackupContents"}: true, {artifacts, "RestorePlan"}: true}

// Fact answers a query for a LastScan by the name of a backup; everything else the other source answers.
func (r *reports) Fact(_ context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	state := r.state.Load()
	switch {
	case q.Name == "":
		return nil, engine.FactUnknown, errors.New("what the last scan said is asked for by the name of a backup")
	case state == nil:
		return nil, engine.FactUnknown, fmt.Errorf("the reports in %s were not read yet", r.dir)
	case state.err != nil:
		return nil, engine.FactUnknown, fmt.Errorf("%w: %w", state.err, engine.ErrDoubtful)
	}
	name := backupName{q.Namespace, q.Name}
	last := state.backups[name]
	switch {
	case last == nil && state.doubt != "":
		return nil, engine.FactUnknown, fmt.Errorf("no scan found backup %s, and the last did not read everything: %s", q.Name, state.doubt)
	case last == nil:
		return nil, engine.FactAbsent, nil
	}
	return map[string]any{
		"apiVersion": artifacts + "/v1alpha1", "kind": "LastScan", "metadata": map[string]any{"name": name.name, "namespace": name.namespace},
		"at": last.at.UTC().Format(time.RFC3339), "run": last.run, "contents": last.looked, "complete": last.looked && last.whole,
		"fails": last.fails, "unknowns": last.unknowns, "waived": last.waived,
	}, engine.FactFound, nil
}

// beside answers from the reports what they know, and everything else from another source.
type beside struct {
	reports *reports
	engine.FactSource
}

// Fact is part of engine.FactSource.
func (b beside) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	if q.Group == artifacts && q.Kind == "LastScan" {
		return b.reports.Fact(ctx, q, about)
	}
	return b.FactSource.Fact(ctx, q, about)
}

// keep reads the reports again when there is a newer seal, until the context ends.
func (r *reports) keep(ctx context.Context, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := ""
	for {
		err := r.read()
		if text := fmt.Sprint(err); text != told && err != nil {
			log.Error("the reports of scans are not known: what depends on them is unknown", "dir", r.dir, "error", text)
		} else if text != told {
			log.Info("the reports of scans are read", "dir", r.dir, "seal", r.state.Load().seal, "backups", len(r.state.Load().backups))
		}
		told = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// read reads the reports where they were sealed anew, or could not be read before.
func (r *reports) read() error {
	state := r.readNewer(r.state.Load())
	r.state.Store(state)
	return state.err
}

func (r *reports) readNewer(before *readReports) *readReports {
	fail := func(err error) *readReports {
		return &readReports{err: fmt.Errorf("read the reports of scans in %s: %w", r.dir, err)}
	}
	fsys, closer, err := evidence.OpenPath(r.dir)
	if err != nil {
		return fail(err)
	}
	defer closer.Close()
	seal, err := newestSeal(fsys)
	if err != nil {
		return fail(err)
	}
	if before != nil && before.seal == seal {
		return before
	}
	v, err := evidence.Verify(fsys, evidence.Options{Trust: r.trust, Now: r.now()})
	switch {
	case err != nil:
		return fail(err)
	case len(v.Problems) > 0:
		return fail(&evidence.NotVerified{Problems: v.Problems})
	}
	folder, err := evidence.OpenFolder(fsys)
	if err != nil {
		return fail(err)
	}
	defer folder.Close()
	read := &readReports{seal: seal, backups: map[backupName]*lastScan{}}
	if err := read.scans(folder, v); err != nil {
		return fail(err)
	}
	return read
}

// newestSeal names the newest seal that is whole, with what it seals.
func newestSeal(fsys fs.FS) (string, error) {
	dirs, err := fs.Glob(fsys, evidence.SealsDir+"/*/"+evidence.SealStatement)
	if err != nil {
		return "", err
	}
	if len(dirs) == 0 {
		return "", errors.New("nothing is sealed there: want a folder that scan --evidence wrote")
	}
	newest := slices.Max(dirs)
	raw, err := fs.ReadFile(fsys, newest)
	if err != nil {
		return "", err
	}
	return path.Base(path.Dir(newest)) + " " + string(evidence.DigestOf(raw)), nil
}

// scans takes what the newest scan that looked into a backup said of it; of one that none looked into, what the newest said
// that saw it.
func (r *readReports) scans(folder *evidence.Folder, v *evidence.Verified) error {
	scans := v.Scans()
	var this *runReports
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		if len(scans) == 0 || rec.Seq < scans[0].First {
			continue
		}
		if rec.Seq == scans[0].First {
			this = &runReports{run: &scans[0], found: map[backupName]*lastScan{}}
		}
		if err := this.take(folder, &rec.Record); err != nil {
			return err
		}
		if rec.Seq < this.run.Last {
			continue
		}
		scans = scans[1:]
		if this.simulated {
			continue // a scan by another clock proves no age
		}
		r.doubt = this.unread()
		for name, found := range this.found {
			if was := r.backups[name]; was == nil || found.looked || !was.looked {
				r.backups[name] = found
			}
		}
	}
	return nil
}

// runReports are what one scan says of backups.
type runReports struct {
	run   *evidence.Run
	found map[backupName]*lastScan
	holes []*evidence.Hole
	// simulated is whether it judged by another clock.
	simulated bool
}

func (r *runReports) take(folder *evidence.Folder, rec *evidence.Record) error {
	switch {
	case rec.Hole != nil:
		r.holes = append(r.holes, rec.Hole)
	case rec.Population != nil && rec.Population.Holes > 0:
		raw, err := folder.Object(rec.Population.List)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			var item evidence.Item
			if err := evidence.Decode([]byte(strings.TrimSuffix(line, "\n")), &item); err != nil {
				return err
			}
			if item.Hole != nil {
				r.holes = append(r.holes, item.Hole)
			}
		}
	case rec.Decision != nil:
		r.decision(rec.Decision)
	}
	return nil
}

func (r *runReports) decision(d *evidence.Decision) {
	r.simulated = r.simulated || d.Simulated
	sub := &engine.Subject{APIVersion: d.Subject.APIVersion, Kind: d.Subject.Kind}
	if !backupKinds[[2]string{sub.Group(), sub.Kind}] {
		return
	}
	if _, within := (engine.Position{File: d.Subject.File}).Archive(); within {
		return // a Backup that is itself in a backup
	}
	name := backupName{d.Subject.Namespace, d.Subject.Name}
	last := r.found[name]
	if last == nil {
		last = &lastScan{at: r.run.Start, run: r.run.ID, whole: true, folders: map[string]string{}, fails: []any{}, unknowns: []any{}, waived: []any{}}
		r.found[name] = last
	}
	if sub.Kind == "BackupContents" {
		last.looked = true
	}
	last.folders[d.Subject.Source] = path.Dir(d.Subject.File)
	for i := range d.Results {
		said := &d.Results[i]
		entry := map[string]any{"policy": said.Policy, "severity": said.Severity, "kind": sub.Kind}
		switch {
		case said.Verdict != engine.Fail.String() && said.Verdict != engine.Unknown.String():
		case said.Waived:
			last.waived = append(last.waived, entry)
		case said.Verdict == engine.Fail.String():
			last.fails = append(last.fails, entry)
		default:
			last.unknowns = append(last.unknowns, entry)
		}
	}
}

// unread lays what was not read to the backup in whose folder it lies, and to every backup of its source where it lies in
// none; then it says what that is.
func (r *runReports) unread() (doubt string) {
	for _, hole := range r.holes {
		if hole.Kind == unreadKinds[engine.NotManifest] {
			continue
		}
		var own, same []*lastScan
		for _, last := range r.found {
			folder, there := last.folders[hole.Source]
			if there && folder != "." && strings.HasPrefix(hole.File, folder+"/") {
				own = append(own, last)
			}
			if there || hole.Source == "" {
				same = append(same, last)
			}
		}
		if own == nil {
			own, doubt = same, strings.TrimSpace(hole.Source+" "+hole.File)+": "+hole.Reason
		}
		for _, last := range own {
			last.whole = false
		}
	}
	return doubt
}
