package main

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// scanned is what the scans of one source said of a backup.
type scanned struct {
	// at and run are of the last that judged what the backup holds; where none did, of the last that saw it.
	at  time.Time
	run string
	// judged is whether any policy was asked about it, looked whether about what the backup holds and not the Backup alone; whole
	// is whether all of it was read.
	judged, looked, whole bool
	folders               []string
	said                  map[saidOf]said
}

// saidOf is a policy on a kind of subject.
type saidOf struct{ kind, policy string }

// said is what a policy said last.
type said struct {
	at       time.Time
	severity string
	outcome  saidHow
}

type saidHow uint8

const (
	saidSound saidHow = iota
	saidWaived
	saidOpen
	saidFailed
)

// after is what counts of two scans. That it is not known any more mends no failure.
func (s said) after(was said) said {
	if s.outcome == saidOpen && was.outcome == saidFailed {
		s.at, s.outcome = was.at, saidFailed
	}
	return s
}

// lastScan unites what was said of backups of one name, by source: all of them must be good.
func (n backupName) lastScan(found map[string]*scanned) map[string]any {
	looked, whole := false, true
	for _, b := range found {
		looked, whole = looked || b.looked, whole && b.whole
	}
	var oldest *scanned
	lists := map[saidHow][]any{saidWaived: {}, saidOpen: {}, saidFailed: {}}
	for _, source := range slices.Sorted(maps.Keys(found)) {
		b := found[source]
		if b.looked == looked && (oldest == nil || b.at.Before(oldest.at)) {
			oldest = b
		}
		for _, of := range slices.SortedFunc(maps.Keys(b.said), func(a, b saidOf) int {
			return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.kind, b.kind))
		}) {
			s := b.said[of]
			lists[s.outcome] = append(lists[s.outcome], map[string]any{"policy": of.policy, "severity": s.severity, "kind": of.kind, "source": source, "at": s.at.UTC().Format(time.RFC3339)})
		}
	}
	return map[string]any{
		"apiVersion": artifacts + "/v1alpha1", "kind": "LastScan", "metadata": map[string]any{"name": n.name, "namespace": n.namespace},
		"at": oldest.at.UTC().Format(time.RFC3339), "run": oldest.run, "contents": looked, "complete": looked && whole,
		"fails": lists[saidFailed], "unknowns": lists[saidOpen], "waived": lists[saidWaived],
	}
}

// scans takes what the scans said, the oldest first.
func (r *readReports) scans(folder *evidence.Folder, v *evidence.Verified) error {
	scans, cutOff := v.Scans()
	for i := range cutOff {
		cutOff[i].Last = min(cutOff[i].Last, v.Head.Size-1) // what nobody signed says nothing
	}
	r.cutOff = len(cutOff)
	done := map[uint64]bool{}
	for _, run := range scans {
		done[run.First] = true
	}
	scans = slices.SortedFunc(slices.Values(append(scans, cutOff...)), func(a, b evidence.Run) int { return cmp.Compare(a.First, b.First) })
	var this *runReports
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		if len(scans) == 0 || rec.Seq < scans[0].First || rec.Seq >= v.Head.Size {
			continue
		}
		if rec.Seq == scans[0].First {
			this = &runReports{run: &scans[0], cutOff: !done[rec.Seq], found: map[backupName]map[string]*scanned{}, sources: map[string]bool{}, policies: map[string]bool{}}
		}
		if err := this.take(folder, &rec.Record); err != nil {
			return err
		}
		if rec.Seq < this.run.Last {
			continue
		}
		scans = scans[1:]
		if this.simulated { // a scan by another clock proves no age
			r.simulated++
			continue
		}
		r.add(this)
	}
	return nil
}

// runReports are what one scan says of backups.
type runReports struct {
	run   *evidence.Run
	found map[backupName]map[string]*scanned
	holes []*evidence.Hole
	// sources are what it looked at, policies those that judged a backup.
	sources, policies map[string]bool
	// simulated is whether it judged by another clock, cutOff whether it did not end as it should.
	simulated, cutOff bool
}

func (r *runReports) take(folder *evidence.Folder, rec *evidence.Record) error {
	switch {
	case rec.Open != nil:
		for _, source := range rec.Open.Scope {
			_, named, _ := strings.Cut(source, ":") // velero:DIR is the source DIR
			r.sources[source], r.sources[named] = true, true
		}
	case rec.Hole != nil:
		r.hole(rec.Hole)
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
				r.hole(item.Hole)
			}
		}
	case rec.Decision != nil:
		r.decision(rec.Decision)
	}
	return nil
}

func (r *runReports) hole(h *evidence.Hole) {
	r.sources[h.Source] = true
	if h.Kind != unreadKinds[engine.NotManifest] {
		r.holes = append(r.holes, h)
	}
}

// backupKinds are the subjects that speak of a backup, and have its name.
var backupKinds = map[[2]string]bool{{"velero.io", "Backup"}: true, {artifacts, "BackupContents"}: true, {artifacts, "RestorePlan"}: true}

func (r *runReports) decision(d *evidence.Decision) {
	r.simulated = r.simulated || d.Simulated
	r.sources[d.Subject.Source] = true
	sub := &engine.Subject{APIVersion: d.Subject.APIVersion, Kind: d.Subject.Kind}
	if !backupKinds[[2]string{sub.Group(), sub.Kind}] {
		return
	}
	if _, within := (engine.Position{File: d.Subject.File}).Archive(); within {
		return // a Backup that is itself in a backup
	}
	name := backupName{d.Subject.Namespace, d.Subject.Name}
	if r.found[name] == nil {
		r.found[name] = map[string]*scanned{}
	}
	b := r.found[name][d.Subject.Source]
	if b == nil {
		b = &scanned{at: r.run.Start, run: r.run.ID, whole: true, said: map[saidOf]said{}}
		r.found[name][d.Subject.Source] = b
	}
	if folder := path.Dir(d.Subject.File); folder != "." && !slices.Contains(b.folders, folder) {
		b.folders = append(b.folders, folder)
	}
	if len(d.Problems) > 0 {
		b.whole = false
	}
	for i := range d.Results {
		result := &d.Results[i]
		s := said{at: r.run.Start, severity: result.Severity}
		switch {
		case result.Verdict == engine.NotApplicable.String() || result.Verdict == engine.Pass.String():
		case result.Waived:
			s.outcome = saidWaived
		case result.Verdict == engine.Fail.String():
			s.outcome = saidFailed
		default:
			s.outcome = saidOpen
		}
		// What no policy applies to was read, and not judged.
		if sub.Kind == "BackupContents" && result.Verdict != engine.NotApplicable.String() {
			b.looked = true
		}
		b.judged, r.policies[result.Policy] = true, true
		of := saidOf{sub.Kind, result.Policy}
		if was, twice := b.said[of]; !twice || s.outcome > was.outcome {
			b.said[of] = s
		}
	}
}

// add takes in what the next scan says. What it does not speak of stands: it may have had other policies, or another bucket.
func (r *readReports) add(run *runReports) {
	for name, found := range run.found {
		if r.backups[name] == nil {
			r.backups[name] = map[string]*scanned{}
		}
		for source, b := range found {
			before := r.backups[name][source]
			if run.cutOff && before != nil {
				before.worsen(b)
				continue
			}
			if before == nil {
				before = &scanned{said: map[saidOf]said{}}
				r.backups[name][source] = before
			}
			before.add(b)
			before.whole = before.whole && !run.cutOff
		}
	}
	if !run.cutOff {
		r.gone(run)
	}
	r.unread(run)
}

// add takes in what the next scan of the source says. What is sound needs no remembering.
func (b *scanned) add(next *scanned) {
	for of, s := range next.said {
		if s = s.after(b.said[of]); s.outcome == saidSound {
			delete(b.said, of)
		} else {
			b.said[of] = s
		}
	}
	b.folders = next.folders
	if next.looked || !b.looked {
		b.at, b.run, b.looked, b.whole = next.at, next.run, next.looked, next.whole
	} else {
		b.whole = b.whole && next.whole
	}
}

// worsen takes in what a scan of the source that did not end found worse than it was. What else it would have found nobody knows.
func (b *scanned) worsen(next *scanned) {
	b.whole = b.whole && next.whole
	for of, s := range next.said {
		if s.outcome > b.said[of].outcome {
			b.said[of], b.whole = s, false
		}
	}
}

// gone forgets the backups that a source does not have any more: a scan read it whole, judged others of its backups as deeply,
// and had every policy by which one that is missing was not good.
func (r *readReports) gone(run *runReports) {
	looked, judged := map[string]bool{}, map[string]bool{}
	for _, found := range run.found {
		for source, b := range found {
			looked[source], judged[source] = looked[source] || b.looked, judged[source] || b.judged
		}
	}
	for _, h := range run.holes {
		if h.Source == "" {
			return
		}
		delete(looked, h.Source)
		delete(judged, h.Source)
	}
	for name, found := range r.backups {
		maps.DeleteFunc(found, func(source string, b *scanned) bool {
			if run.found[name][source] != nil || !judged[source] || b.looked && !looked[source] {
				return false
			}
			for of := range b.said {
				if !run.policies[of.policy] {
					return false
				}
			}
			return true
		})
	}
}

// unread lays what was not read to the backup in whose folder it lies, and to every backup of its source that was judged where
// it lies in none: others may be behind it then.
func (r *readReports) unread(run *runReports) {
	if !run.cutOff {
		for source := range run.sources {
			delete(r.doubts, source)
		}
		delete(r.doubts, "")
	}
	for _, hole := range run.holes {
		var own, same []*scanned
		for _, found := range r.backups {
			for source, b := range found {
				if source != hole.Source && (hole.Source != "" || !run.sources[source]) {
					continue
				}
				if slices.ContainsFunc(b.folders, func(folder string) bool { return strings.HasPrefix(hole.File, folder+"/") }) {
					own = append(own, b)
				}
				if b.looked {
					same = append(same, b)
				}
			}
		}
		if own == nil {
			own, r.doubts[hole.Source] = same, strings.TrimSpace(hole.Source+" "+hole.File)+": "+hole.Reason
		}
		for _, b := range own {
			b.whole = false
		}
	}
}
