package main

import (
	"bytes"
	"fmt"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
	"proviso.dev/proviso/evidence"
)

// silence is how long an admission run may write nothing, as proviso evidence verify has it.
const silence = 5 * time.Minute

// lacking is what is missing in a period, but for what records in it tell of on their own.
type lacking struct {
	x       *evidence.Exporting
	entries []report.Entry
	// erasures are all there are: what the period rests on may have been erased at any time after it.
	erasures []*erasure
	erased   map[engine.Digest][]*erasure
	run      *runRead
}

// erasure concerns the period where it was made in it, or took something that the period rests on.
type erasure struct {
	report.Entry
	concerns bool
}

// runRead is a run as far as it was read.
type runRead struct {
	open report.Entry
	scan bool
	// within is set where a record of it is in the period, last is the time of the newest.
	within bool
	last   time.Time
	// end is why it ended; empty where it did not.
	end string
	// population is what a scan lists, listed its record, results how many of the items have one.
	population *evidence.Population
	listed     report.Entry
	results    int
	// silences are those within the period. told are the requests that gaps tell of, untold those that are lost beside them, and
	// unheard those of the untold that the period tells of first.
	silences, told, untold, unheard uint64
}

// lackingIn reads all records up to the head that is exported: a run, and what is missing in it, may reach out of the period,
// and its items be of any namespace.
func lackingIn(x *evidence.Exporting) (*lacking, error) {
	l := &lacking{x: x, erased: map[engine.Digest][]*erasure{}}
	for rec, err := range x.Folder.Records() {
		if err != nil {
			return nil, err
		}
		if rec.Seq >= x.Head.Size {
			break
		}
		if rec.Open != nil {
			if err := l.end(rec.At); err != nil {
				return nil, err
			}
			l.run = &runRead{open: entryOf(rec), scan: rec.Open.Kind == "scan", last: rec.At}
		}
		if l.run == nil {
			return nil, fmt.Errorf("record %d belongs to no run", rec.Seq)
		}
		l.read(rec)
	}
	return l, l.end(time.Time{})
}

// read takes the next record of the run.
func (l *lacking) read(rec *evidence.Kept) {
	r := l.run
	within := l.x.Filter.Within(rec.At)
	if quiet := rec.At.Sub(r.last); !r.scan && quiet > silence && reaches(&l.x.Filter, r.last, rec.At) {
		r.silences++
	}
	r.within, r.last = r.within || within, rec.At
	switch {
	case rec.Heartbeat != nil:
		r.lost(rec.Heartbeat.Lost, within)
	case rec.Close != nil:
		r.lost(rec.Close.Counts.Lost, within)
		r.end = rec.Close.Reason
	case rec.Gap != nil:
		r.told += rec.Gap.Lost
	case rec.Population != nil:
		r.population, r.listed = rec.Population, entryOf(rec)
	case rec.Decision != nil, rec.Hole != nil && rec.Hole.Item != nil:
		r.results++
	case rec.Erasure != nil:
		e := &erasure{entryOf(rec), within}
		e.Missing = &report.Missing{Kind: "erasure", Reason: rec.Erasure.Reason, Count: max(1, uint64(len(rec.Erasure.Inputs)))}
		l.erasures = append(l.erasures, e)
		for _, d := range rec.Erasure.Inputs {
			l.erased[d] = append(l.erased[d], e)
		}
	}
}

// reaches reports whether a time from one instant until another is in the period in part.
func reaches(f *evidence.Filter, from, until time.Time) bool {
	return (f.Until.IsZero() || from.Before(f.Until)) && !until.Before(f.From)
}

// lost takes how many requests a record says are lost so far.
func (r *runRead) lost(said uint64, within bool) {
	untold := said - min(said, r.told)
	if within && untold > r.untold {
		r.unheard += untold - r.untold
	}
	r.untold = untold
}

// restsOn notes what a decision of the period rests on.
func (l *lacking) restsOn(d *evidence.Decision) {
	for i := -1; i < len(d.Facts); i++ {
		value := d.Input
		if i >= 0 {
			value = d.Facts[i].Value
		}
		for _, e := range l.erased[value] {
			e.concerns = true
		}
	}
}

// end tells what is missing in the run that was read; next is when another began after it, zero where none did.
func (l *lacking) end(next time.Time) error {
	r := l.run
	if r == nil {
		return nil
	}
	tell := func(of report.Entry, kind, reason string, count uint64) {
		of.Missing = &report.Missing{Kind: kind, Reason: reason, Count: count}
		l.entries = append(l.entries, of)
	}
	// What goes on after the period did not end in it; but a scan is one whole.
	over := r.within && (r.scan || l.x.Filter.Until.IsZero() || r.last.Before(l.x.Filter.Until))
	switch {
	case r.end == "done" || r.end == "stopped":
	case r.end != "" && over:
		tell(r.open, "unclosed", "the run ended before it was done: "+r.end, 1)
	case r.end == "" && (over || !next.IsZero() && l.x.Filter.Within(next)):
		tell(r.open, "unclosed", "the run has no end: it is still running, or was cut off", 1)
	}
	if r.silences > 0 {
		tell(r.open, "silence", fmt.Sprintf("nothing was written for more than %v in the run", silence), r.silences)
	}
	if r.unheard > 0 {
		tell(r.open, "gap", "the run counts requests as lost of which no gap tells", r.unheard)
	}
	if r.population == nil || !r.within {
		return nil
	}
	if without := r.population.Items - r.population.Holes - r.results; without > 0 {
		tell(r.listed, "unjudged", "items of the population have no result", uint64(without))
	}
	holes, err := l.unread(r.population)
	if err == nil && holes > 0 {
		tell(r.listed, "hole", "the list of the population has it as not read", holes)
	}
	return err
}

// unread counts what a population knows to be there and was not read. Names stay where the list of the population stays.
func (l *lacking) unread(p *evidence.Population) (holes uint64, err error) {
	if p.Holes == 0 {
		return 0, nil
	}
	list, err := l.x.Folder.Object(p.List)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(list) {
		var item evidence.Item
		if err := evidence.Decode(bytes.TrimSuffix(line, []byte("\n")), &item); err != nil {
			return 0, fmt.Errorf("read the list of the population: %w", err)
		}
		if item.Hole != nil && item.Hole.Kind != evidence.NotManifest {
			holes++
		}
	}
	return holes, nil
}
