package evidence

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"proviso.dev/proviso/engine"
)

// Missing is an entry of an export's gaps.json: something that is known to be missing, and how it is known.
type Missing struct {
	// Kind is hole, gap, erasure, unclosed, unjudged, silence or unsigned.
	Kind string    `json:"kind"`
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`
	// Item is its number in the population; of what is unjudged, that of the first.
	Item   *int   `json:"item,omitempty"`
	Source string `json:"source,omitempty"`
	File   string `json:"file,omitempty"`
	Reason string `json:"reason"`
	// Lost counts the requests without a record, the values that were erased, the holes whose names are left out, the items without
	// a result, or the records that are not signed yet.
	Lost  uint64    `json:"lost,omitempty"`
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// told is how many failures, and how many entries of gaps.json, the page for people shows; the files beside it have all.
const told = 1000

// derived is what an export says of its records for people. It is made of the records alone, in their order, by who exports
// and again by who verifies: what a page says is what was signed, or it is refused.
type derived struct {
	// fsys has the lists of populations.
	fsys     fs.FS
	filter   *Filter
	seed     string
	size     uint64
	unsigned uint64
	csv      *csv.Writer
	gaps     io.Writer

	counts      Counts
	clusters    []Cluster
	first, last time.Time
	policies    map[string]*policyCounts
	failed      []failure
	failures    int
	missing     []Missing
	lacking     int
	// without counts the items of populations that have no result, uncounted the runs of which nobody can tell.
	without   uint64
	uncounted int
	// torn is what the runs lack of which records are left out, tornItems how many items of their populations.
	torn      []Missing
	tornItems uint64
	// simulated counts the decisions by another clock, otherClocks the runs of them, the newest of which is otherClock; clocks name
	// the first.
	simulated   uint64
	otherClocks int
	otherClock  string
	clocks      []string
	// run is the run that is open, after the seq that follows, quiet since when nothing was written in it; zero is no matter.
	run   *derivedRun
	after uint64
	quiet time.Time
	err   error
}

type policyCounts struct {
	severity string
	Counts
}

type failure struct {
	seq                           uint64
	subject, policy, effect, text string
}

// countedWriter buffers and counts.
type countedWriter struct {
	to *bufio.Writer
	n  int64
}

func newCounted(w io.Writer) *countedWriter {
	return &countedWriter{to: bufio.NewWriterSize(w, 256<<10)}
}

func (c *countedWriter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.to.Write(b)
}

func (c *countedWriter) Flush() error { return c.to.Flush() }

var csvColumns = []string{"draw", "seq", "at", "what", "event", "origin", "cluster", "apiVersion", "kind", "namespace", "name", "operation", "source", "file", "line",
	"pass", "fail", "unknown", "notApplicable", "waived", "failed", "not known", "answer", "simulated", "reason", "input", "record"}

func newDerived(fsys fs.FS, rows, gaps io.Writer, m *Manifest) *derived {
	d := &derived{fsys: fsys, filter: &m.Filter, seed: m.Seed, size: m.Head.Size, unsigned: m.Unsigned, csv: csv.NewWriter(rows), gaps: gaps, clusters: []Cluster{}, policies: map[string]*policyCounts{}}
	d.fault(d.csv.Write(csvColumns))
	_, err := io.WriteString(gaps, "[")
	d.fault(err)
	return d
}

// fault notes the first error.
func (d *derived) fault(err error) {
	if d.err == nil {
		d.err = err
	}
}

// row writes a row, in which no program finds more than text.
func (d *derived) row(cells []string) {
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	d.fault(d.csv.Write(cells))
}

// rowOf begins the row of a record.
func (d *derived) rowOf(r *Record, digest engine.Digest) []string {
	row := make([]string, len(csvColumns))
	seq := strconv.FormatUint(r.Seq, 10)
	row[0], row[1], row[2], row[26] = d.draw(seq), seq, r.At.Format(time.RFC3339Nano), string(digest)
	if r.Cluster != nil {
		row[6] = strings.Join(nonEmpty(r.Cluster.Name, r.Cluster.UID), " ")
	}
	return row
}

func subjectCells(row []string, s *Subject) {
	row[7], row[8], row[9], row[10] = s.APIVersion, s.Kind, s.Namespace, s.Name
	row[12], row[13], row[14] = s.Source, s.File, strconv.Itoa(s.Line)
}

// add takes the next record.
func (d *derived) add(r *Record, digest engine.Digest) {
	if d.first.IsZero() {
		d.first = r.At
	}
	if c := r.Cluster; c != nil && !slices.Contains(d.clusters, *c) {
		d.clusters = append(d.clusters, *c)
	}
	within := d.filter.Within(r.At)
	if d.run != nil && d.run.Open.Kind == "admission" && within && !d.quiet.IsZero() && r.At.Sub(d.quiet) > silence && r.Open == nil {
		d.miss(Missing{Kind: "silence", Seq: r.Seq, At: r.At, From: d.quiet, Until: r.At, Reason: "nothing was written in between"})
	}
	if d.last, d.quiet = r.At, r.At; !within {
		d.quiet = time.Time{}
	}
	if d.run != nil {
		d.run.partial = d.run.partial || r.Seq != d.after
		if within && r.Open == nil {
			d.entered()
		}
		d.run.met(r)
	}
	d.after = r.Seq + 1
	row := d.rowOf(r, digest)
	switch {
	case r.Open != nil:
		if d.run != nil {
			d.ended(nil)
		} else if r.Open.Unclosed && within {
			d.miss(Missing{Kind: "unclosed", Seq: r.Seq, At: r.At, Reason: "the run before it has no end"})
		}
		d.run = &derivedRun{Record: r, within: within}
	case r.Close != nil:
		if d.run != nil {
			d.ended(r)
		}
	case r.Population != nil:
		d.populated(r, digest)
	case !within && r.Gap == nil && r.Erasure == nil:
		// It shows where the period begins or ends, and is no part of it.
	case r.Decision != nil:
		row[3] = "decision"
		d.decision(r, row)
	case r.Hole != nil:
		h := r.Hole
		d.counts.Holes++
		row[3], row[12], row[13], row[24] = "hole", h.Source, h.File, h.Reason
		if h.Kind == NotManifest {
			break
		}
		d.miss(Missing{Kind: "hole", Seq: r.Seq, At: r.At, Item: h.Item, Source: h.Source, File: h.File, Reason: h.Reason})
	case r.Gap != nil:
		g := r.Gap
		d.counts.Lost += g.Lost
		row[3], row[24] = "gap", fmt.Sprintf("%d requests from %s until %s: %s", g.Lost, g.From.Format(time.RFC3339Nano), g.Until.Format(time.RFC3339Nano), g.Reason)
		d.miss(Missing{Kind: "gap", Seq: r.Seq, At: r.At, Lost: g.Lost, From: g.From, Until: g.Until, Reason: g.Reason})
	case r.Erasure != nil:
		d.miss(Missing{Kind: "erasure", Seq: r.Seq, At: r.At, Lost: uint64(len(r.Erasure.Inputs)), Reason: r.Erasure.Reason})
	}
	if row[3] != "" {
		d.row(row)
	}
}

// draw is what to sort by for a sample: nobody chooses it who does not choose the root of the log.
func (d *derived) draw(what string) string {
	sum := sha256.Sum256([]byte(d.seed + " " + what))
	return fmt.Sprintf("%x", sum[:8])
}

// cell is a text that no program takes for a formula, on one line.
func cell(text string) string {
	if start := strings.TrimLeft(text, " "); start != "" && strings.ContainsAny(start[:1], "=+-@\t\r\n") || strings.ContainsAny(text, "\uFF1D\uFF0B\uFF0D\uFF20") {
		text = "'" + text
	}
	return oneLine(text)
}

// oneLine replaces what breaks lines or turns their direction. It is not [plain], which asks what today's Unicode prints:
// what is derived must be the same for ever.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\u200E' || r == '\u200F' || r >= '\u202A' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069' {
			return '\uFFFD'
		}
		return r
	}, text)
}

func (d *derived) decision(r *Record, row []string) {
	c := r.Decision
	d.counts.Add(c)
	var one Counts
	one.Add(c)
	s := &c.Subject
	subjectCells(row, s)
	row[4], row[5], row[11], row[25] = c.Event, c.Source, c.Operation, string(c.Input)
	for i, n := range []uint64{one.Pass, one.Fail, one.Unknown, one.NotApplicable, one.Waived} {
		row[15+i] = strconv.FormatUint(n, 10)
	}
	if c.Simulated {
		row[23] = "judged by another clock: " + c.Now.Format(time.RFC3339Nano)
		d.clocked(r)
	}
	if a := c.Answer; a != nil && a.Allowed {
		row[22] = "allowed"
	} else if a != nil {
		row[22] = "denied"
	}
	row[24] = strings.Join(c.Problems, "; ")
	var failed, unknown []string
	for i := range c.Results {
		result := &c.Results[i]
		p := d.policies[result.Policy]
		if p == nil {
			p = &policyCounts{severity: result.Severity}
			d.policies[result.Policy] = p
		}
		p.count(result)
		switch result.Verdict {
		case engine.Pass.String(), engine.NotApplicable.String():
			continue
		case engine.Fail.String():
			failed = append(failed, result.Policy)
		default:
			unknown = append(unknown, result.Policy)
		}
		if d.failures++; d.failures > told {
			continue
		}
		text := result.Reason
		for _, v := range result.Violations {
			text += v.Path + ": " + v.Message + "; "
		}
		effect := result.Verdict + ", " + result.Effect
		if result.Waived {
			effect += ", waived by " + result.Waiver
		}
		d.failed = append(d.failed, failure{r.Seq, strings.Join(nonEmpty(s.Kind, s.Namespace, s.Name), " "), result.Policy, effect, strings.TrimSuffix(text, "; ")})
	}
	row[20], row[21] = strings.Join(failed, " "), strings.Join(unknown, " ")
}

// clocked notes a run that was judged by another clock.
func (d *derived) clocked(r *Record) {
	if d.simulated++; d.simulated > 1 && r.Run == d.otherClock {
		return
	}
	d.otherClock = r.Run
	if d.otherClocks++; d.otherClocks <= told {
		d.clocks = append(d.clocks, fmt.Sprintf("run %s was judged by another clock: simulated, as of %s", r.Run, r.Decision.Now.Format(time.RFC3339Nano)))
	}
}

// simulations name the runs that were judged by another clock.
func (d *derived) simulations() []string {
	if more := d.otherClocks - len(d.clocks); more > 0 {
		return append(slices.Clip(d.clocks), fmt.Sprintf("and %d more runs were", more))
	}
	return d.clocks
}

func (d *derived) miss(m Missing) {
	raw, err := Encode(m)
	if err == nil {
		before := ",\n"
		if d.lacking == 0 {
			before = "\n"
		}
		_, err = fmt.Fprintf(d.gaps, "%s%s", before, raw)
	}
	d.fault(err)
	if d.lacking++; d.lacking <= told {
		d.missing = append(d.missing, m)
	}
}

// end writes what is left of the files beside the page.
func (d *derived) end() error {
	if d.run != nil {
		d.run.partial = d.run.partial || d.after != d.size
		d.ended(nil)
	}
	if d.unsigned > 0 {
		d.miss(Missing{Kind: "unsigned", Seq: d.size, At: d.last, Lost: d.unsigned, Reason: "records came after the head: they are not signed yet, and not here"})
	}
	_, err := io.WriteString(d.gaps, "\n]\n")
	d.csv.Flush()
	return errors.Join(d.err, err, d.csv.Error())
}

// exported are the records that are exported, from first to last.
func (e *exporting) exported() iter.Seq2[*Kept, error] {
	return func(yield func(*Kept, error) bool) {
		for k, err := range e.folder.Records() {
			if err = errors.Join(err, e.ctx.Err()); err == nil && k.Seq >= e.m.Head.Size {
				return
			}
			if err != nil || e.selection.records[k.Seq] {
				if !yield(k, err) || err != nil {
					return
				}
			}
		}
	}
}

// putDerived writes what is made of the records for people.
func (e *exporting) putDerived() error {
	var d *derived
	err := e.written(GapsFile, func(gaps io.Writer) error {
		return e.written(SummaryCSV, func(rows io.Writer) error {
			d = newDerived(e.fsys, rows, gaps, e.m)
			for k, err := range e.exported() {
				if err != nil {
					return err
				}
				d.add(&k.Record, k.Digest)
			}
			return d.end()
		})
	})
	if err != nil {
		return err
	}
	e.m.Counts, e.m.Clusters, e.m.First, e.m.Last, e.m.Simulated = d.counts, d.clusters, d.first, d.last, d.simulated
	e.simulations = d.simulations()
	return e.written(SummaryHTML, func(w io.Writer) error { return d.page(w, e.m) })
}
