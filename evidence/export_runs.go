package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
)

// derivedRun is a run whose end was not met yet.
type derivedRun struct {
	// Record is its Open.
	*Record
	// within is set where a record of it is in the period, partial where one of it was left out.
	within, partial bool
	// by is the record of its population, digest that record's.
	by     *Record
	digest engine.Digest
	// results are the items that have one, as they came: a scan judges in order, so few ranges hold many.
	results []Range
	// decided counts the decisions, holes the items of which a record says why they have none.
	decided, holes uint64
}

// met notes which item a record is the result of.
func (run *derivedRun) met(r *Record) {
	if run.by == nil {
		return
	}
	switch {
	case r.Decision != nil:
		if n, err := strconv.ParseUint(r.Decision.Event, 10, 32); err == nil {
			run.result(n)
			run.decided++
		}
	case r.Hole != nil && r.Hole.Item != nil && *r.Hole.Item >= 0:
		run.result(uint64(*r.Hole.Item))
		run.holes++
	}
}

func (run *derivedRun) result(n uint64) {
	if at := len(run.results) - 1; at >= 0 && run.results[at].Last+1 == n {
		run.results[at].Last = n
		return
	}
	run.results = append(run.results, Range{n, n})
}

// has reports whether an item has a result; the results are sorted.
func (run *derivedRun) has(n uint64) bool {
	_, there := slices.BinarySearchFunc(run.results, n, func(r Range, n uint64) int {
		switch {
		case r.Last < n:
			return -1
		case r.First > n:
			return 1
		}
		return 0
	})
	return there
}

// populated takes the population of the run.
func (d *derived) populated(r *Record, digest engine.Digest) {
	if d.run == nil {
		d.unread(r, digest)
		return
	}
	if d.run.by, d.run.digest = r, digest; d.run.within {
		d.unread(r, digest)
	}
}

// entered notes that a record of the run is in the period: what its population knows to be there and was not read is told then.
func (d *derived) entered() {
	if d.run.within {
		return
	}
	if d.run.within = true; d.run.by != nil {
		d.unread(d.run.by, d.run.digest)
	}
}

// unread tells what a population knows to be there and was not read.
func (d *derived) unread(r *Record, digest engine.Digest) {
	switch {
	case r.Population.Holes == 0:
	case d.filter.Namespace != "":
		// The list that names them is left out.
		d.miss(Missing{Kind: "hole", Seq: r.Seq, At: r.At, Lost: uint64(r.Population.Holes), Reason: "the population has entries that were not judged, and may be of any namespace"})
	default:
		d.items(r.Population, func(item *Item) {
			h := item.Hole
			if h == nil || h.Kind == NotManifest {
				return
			}
			d.miss(Missing{Kind: "hole", Seq: r.Seq, At: r.At, Item: &item.N, Source: h.Source, File: h.File, Reason: h.Reason})
			row := d.itemRow(r, digest, item.N)
			row[3], row[12], row[13], row[24] = "hole", h.Source, h.File, h.Reason
			d.row(row)
		})
	}
}

// items reads the list of a population.
func (d *derived) items(p *Population, do func(*Item)) {
	if !strings.HasPrefix(string(p.List), "sha256:") {
		d.fault(fmt.Errorf("the list of the population is not named by its digest: %q", p.List))
		return
	}
	d.fault(eachLine(d.fsys, ObjectFile(p.List), func(raw []byte, _ int64, _ int) error {
		var item Item
		if err := Decode(raw, &item); err != nil {
			return err
		}
		do(&item)
		return nil
	}))
}

// ended tells what the run lacks that is over: end is its Close, or nil where there is none.
func (d *derived) ended(end *Record) {
	run := d.run
	d.run = nil
	told := Missing{Kind: "unclosed", Seq: run.Seq, At: run.At, Reason: "no end is here of the run " + run.Run}
	switch {
	case end == nil && run.by != nil && run.partial:
		d.uncounted++
		told.Reason += ", and records of it are left out: which items of its population have no result, nobody can tell by this"
	case end == nil:
	case end.Close.Reason == "done" || !run.within:
		return
	default:
		told.Seq, told.At, told.Reason = end.Seq, end.At, fmt.Sprintf("the run %s ended before it was done: %s", run.Run, end.Close.Reason)
	}
	if end == nil {
		d.lacks(run, told)
	} else if end.Close.Reason != "stopped" {
		d.miss(told)
	}
	switch {
	case run.by == nil || !run.within || end == nil && run.partial:
	case run.partial:
		// What its end counts is of records that are left out, too.
		d.counted(run, end.Close.Counts.Decisions, told.Reason)
	case d.filter.Namespace != "":
		d.counted(run, run.decided, told.Reason)
	default:
		d.unjudged(run, told.Reason)
	}
}

// counted tells how many items of a population have no result, where the list that names them is not to be had, or the results.
func (d *derived) counted(run *derivedRun, decided uint64, why string) {
	p := run.by.Population
	if with := uint64(max(p.Holes, 0)) + decided + run.holes; p.Items > 0 && uint64(p.Items) > with {
		n := uint64(p.Items) - with
		d.without += n
		if run.partial {
			d.tornItems += n
		}
		d.lacks(run, Missing{Kind: "unjudged", Seq: run.by.Seq, At: run.by.At, Lost: n, Reason: withoutResult(n) + ": " + why})
	}
}

// lacks tells what a run lacks.
func (d *derived) lacks(run *derivedRun, m Missing) {
	d.miss(m)
	if run.partial && len(d.torn) < told {
		d.torn = append(d.torn, m)
	}
}

func withoutResult(n uint64) string {
	return plural(n, "item of the population has", "items of the population have") + " no result"
}

// unjudged tells which items of a population have no result, each in a row of its own: who draws a sample draws of them, too.
func (d *derived) unjudged(run *derivedRun, why string) {
	slices.SortFunc(run.results, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	m := Missing{Kind: "unjudged", Seq: run.by.Seq, At: run.by.At}
	first, last := "", 0
	d.items(run.by.Population, func(item *Item) {
		s := item.Subject
		if s == nil || item.N < 0 || run.has(uint64(item.N)) {
			return
		}
		if m.Lost++; m.Lost == 1 {
			m.Item, m.Source, m.File = &item.N, s.Source, s.File
			first = s.Kind + " " + strings.Join(nonEmpty(s.Namespace, s.Name), "/")
		}
		last = item.N
		row := d.itemRow(run.by, run.digest, item.N)
		row[3], row[24], row[25] = "unjudged", "it has no result: "+why, string(item.Input)
		subjectCells(row, s)
		d.row(row)
	})
	if m.Lost == 0 {
		return
	}
	d.without += m.Lost
	m.Reason = fmt.Sprintf("%s; the first is item %d, %s, the last item %d: %s", withoutResult(m.Lost), *m.Item, first, last, why)
	d.miss(m)
}

// itemRow begins the row of an item that a population lists and no record of its own tells of.
func (d *derived) itemRow(by *Record, digest engine.Digest, n int) []string {
	row := d.rowOf(by, digest)
	row[0], row[4] = d.draw(fmt.Sprintf("%d %d", by.Seq, n)), strconv.Itoa(n)
	return row
}
