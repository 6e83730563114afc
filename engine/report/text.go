package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// defaultWidth is how many columns a screen has where nobody says otherwise.
const (
	defaultWidth = 100
	// How many files and kinds without a policy are named where not all is asked for.
	maxNamedFiles = 5
	maxNamedKinds = 10
)

// Text writes for people: each finding with the source lines it is about, what to do and why it is asked; then what was
// not read, waivers that need a hand, and the run in one sentence. A finding is written as soon as it is known.
//
// What was not read is kept to the end, a bounded number of each kind; the rest is counted.
func Text(w io.Writer, r engine.Report, o Options) error {
	t := &page{w: bufio.NewWriter(w), glyphs: glyphs{o.ASCII}, color: o.Color, width: o.Width}
	if t.width <= 0 {
		t.width = defaultWidth
	}
	var missed unreads
	var files fileCount
	var found plans
	for result := range r.Results {
		if result.Unread != nil {
			missed.add(result.Unread)
			continue
		}
		files.see(result.Subject)
		found.add(result.Subject)
		for i := range result.Decisions {
			if d := &result.Decisions[i]; listed(d, o) {
				t.decision(result.Subject, d)
			}
		}
		if err := t.w.Flush(); err != nil {
			return err
		}
	}
	trailer := r.Trailer()
	t.plans(&found, o)
	t.unread(&missed, o)
	t.since(trailer.Since, o)
	t.trailer(trailer, files.n, o)
	if p := o.Profile; p.File != "" {
		t.line("judged by the profile %s (%s)", p.File, string(p.Digest))
	}
	if r.Simulated {
		t.line("judged as if it were %s", r.At.UTC().Format(time.RFC3339))
	}
	return t.w.Flush()
}

// page writes to a buffer whose first error stays and comes back from its Flush.
type page struct {
	glyphs
	w     *bufio.Writer
	color bool
	width int
	last  kind // what was written last: a block is set off by empty lines
}

// line writes a line of which every argument is escaped.
func (t *page) line(format string, args ...any) {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = t.escape(a)
		case painted:
			args[i] = t.paint(a)
		}
	}
	fmt.Fprintf(t.w, format+"\n", args...)
}

// painted is text in a colour, where colours are wanted.
type painted struct{ code, text string }

const (
	bold   = "1"
	red    = "1;31"
	yellow = "33"
	cyan   = "36"
	grey   = "2"
)

func (t *page) paint(p painted) string {
	if !t.color || p.text == "" {
		return t.escape(p.text)
	}
	return "\x1b[" + p.code + "m" + t.escape(p.text) + "\x1b[0m"
}

// hue is the colour of a decision's label.
func hue(d *engine.Decision) string {
	switch {
	case d.Verdict == engine.Pass || d.Verdict == engine.NotApplicable || d.Waived:
		return grey
	case d.Verdict == engine.Unknown || d.Effect != engine.EffectDeny || d.Policy.Severity <= engine.Medium:
		return yellow
	}
	return red
}

// kind is what a part of the page is.
type kind uint8

const (
	nothing kind = iota
	oneLine
	block
)

// begin sets off what comes next.
func (t *page) begin(k kind) {
	if t.last == block || t.last == oneLine && k == block {
		t.w.WriteByte('\n')
	}
	t.last = k
}

func (t *page) decision(s *engine.Subject, d *engine.Decision) {
	p := d.Policy
	list := points(s, d)
	head := where(list[0].at, s.Origin.Source)
	if d.Verdict == engine.Pass || d.Verdict == engine.NotApplicable {
		t.begin(oneLine)
		reason := ""
		if d.Reason != "" {
			reason = ": " + d.Reason
		}
		t.line("%s  %s  %s  %s%s", painted{bold, head}, painted{hue(d), label(d)}, name(p), s.String(), reason)
		return
	}
	t.begin(block)
	t.line("%s  %s  %s", painted{bold, head}, painted{hue(d), label(d)}, name(p))
	if p.Title != "" {
		t.line("  %s", p.Title)
	}
	from := ""
	if s.Origin.Template != "" {
		from = ", from " + s.Origin.Template
	}
	t.line("  %s%s", s.String(), from)
	t.points(s, list)
	if note := waiver(d); note != "" {
		t.line("  %s", note)
	}
	t.paragraph("fix: ", fix(d))
	t.paragraph("why: ", controls(p))
	t.line("  more: %s", explain(p))
}

// paragraph writes a text of several lines under one name; nothing where there is no text.
func (t *page) paragraph(name, text string) {
	for _, l := range paragraph(name, text, t.glyphs) {
		t.raw("  ", l, "")
	}
}

// unread lists what was not read.
func (t *page) unread(missed *unreads, o Options) {
	if len(missed.kept) > 0 {
		t.begin(block)
	}
	words := [...]string{engine.Broken: "cannot read: ", engine.Hole: "not seen: ", engine.NotManifest: "no Kubernetes object: "}
	manifests := missed.seen[engine.NotManifest]
	for _, u := range missed.kept {
		switch {
		case export(u):
			t.line("%s%s", painted{yellow, "not understood: "}, unreadText(u))
			manifests--
		case u.Kind != engine.NotManifest || o.All:
			t.line("%s%s", painted{yellow, words[u.Kind]}, unreadText(u))
		}
	}
	for kind, word := range words {
		if n := missed.omitted(engine.UnreadKind(kind)); n > 0 && (engine.UnreadKind(kind) != engine.NotManifest || o.All) {
			t.line("%s%d more", painted{yellow, word}, n)
		}
	}
	if n := manifests; n > 0 && !o.All {
		t.line("%s", plural(n, "document is no Kubernetes object", "documents are no Kubernetes objects")+" (--all names them)")
	}
}

func (t *page) trailer(r engine.Trailer, files int, o Options) {
	set := false
	for _, use := range r.Waivers {
		if note := ledger(use); note != "" {
			if !set {
				t.begin(block)
			}
			set = true
			t.line("%s", painted{yellow, note})
		}
	}
	t.begin(block)
	t.line("%s", painted{bold, summary(r, files)})
	if n := r.Summary.Subjects - r.Summary.Matched; n > 0 {
		most := maxNamedKinds
		if o.All {
			most = len(r.Coverage.KindsWithoutPolicy)
		}
		t.line("no policy speaks of %s: %s", plural(n, "subject", "subjects"), unspoken(r.Coverage.KindsWithoutPolicy, most))
	}
	if n := r.Coverage.FilesWithoutPolicy; n > 0 {
		first := r.Coverage.FirstFiles
		if !o.All {
			first = first[:min(len(first), maxNamedFiles)]
		}
		names := strings.Join(first, ", ")
		if more := n - len(first); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		t.line("no policy speaks of anything in %s: %s", plural(n, "file", "files"), names)
	}
	if why := incomplete(r); len(why) > 0 {
		t.line("%s%s", painted{yellow, "incomplete: "}, strings.Join(why, "; "))
	}
}
