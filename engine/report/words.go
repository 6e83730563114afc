package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// listed reports whether a decision is told one by one, and not only counted.
func listed(d *engine.Decision, o Options) bool {
	return o.All || d.Verdict == engine.Fail || d.Verdict == engine.Unknown
}

// point is one thing a decision says, and where.
type point struct {
	message string
	path    string
	at      engine.Position
}

// points is what a decision says, in the order of the source: each violation of a fail, the reason of any other.
func points(s *engine.Subject, d *engine.Decision) []point {
	place := func(path string) engine.Position {
		at := s.Origin.Place(path)
		at.File = cmp.Or(at.File, s.Origin.File)
		return at
	}
	if len(d.Violations) == 0 {
		return []point{{d.Reason, d.Path, place(d.Path)}}
	}
	list := make([]point, len(d.Violations))
	for i, v := range d.Violations {
		list[i] = point{v.Message, v.Path, place(v.Path)}
	}
	slices.SortStableFunc(list, func(a, b point) int {
		return cmp.Or(strings.Compare(a.at.File, b.at.File), cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column))
	})
	return list
}

// where names a place: file:line:column, as much of it as is known, the source where there is no file.
func where(p engine.Position, source string) string {
	file := cmp.Or(p.File, source, "-")
	switch {
	case p.Line > 0 && p.Column > 0:
		return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
	case p.Line > 0:
		return fmt.Sprintf("%s:%d", file, p.Line)
	}
	return file
}

// label says in words how bad a decision is: CRITICAL; HIGH, warn; UNKNOWN HIGH; WAIVED CRITICAL.
func label(d *engine.Decision) string {
	var words []string
	if d.Waived {
		words = append(words, "WAIVED")
	}
	severity := strings.ToUpper(d.Policy.Severity.String())
	switch d.Verdict {
	case engine.Pass:
		return "pass"
	case engine.NotApplicable:
		return "not applicable"
	case engine.Unknown:
		words = append(words, "UNKNOWN")
	default:
		severity = cmp.Or(severity, "FAIL")
	}
	if severity != "" {
		words = append(words, severity)
	}
	text := strings.Join(words, " ")
	if !d.Waived && d.Effect != engine.EffectDeny {
		text += ", " + d.Effect.String()
	}
	return text
}

// name is how people cite a policy: its id and its number.
func name(p *engine.Policy) string {
	if p.Ref == "" {
		return p.ID
	}
	return p.ID + " (" + p.Ref + ")"
}

// controls lists what a policy speaks to: gdpr art-44 (supports), …
func controls(p *engine.Policy) string {
	list := make([]string, len(p.Controls))
	for i, c := range p.Controls {
		list[i] = fmt.Sprintf("%s %s (%s)", c.Framework, c.ID, c.Relation)
	}
	return strings.Join(list, ", ")
}

// explain is the command that tells more of a policy.
func explain(p *engine.Policy) string { return "proviso policy explain " + p.ID }

// paragraph is a text of several lines under one name, each line escaped; nothing where there is no text.
func paragraph(name, text string, g glyphs) []string {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = name + g.escape(strings.TrimRight(l, " \r"))
		name = strings.Repeat(" ", len(name))
	}
	return lines
}

// fix is what to do about a failure. What is unknown says itself what is missing: to mend what may be right would be wrong.
func fix(d *engine.Decision) string {
	if d.Verdict == engine.Unknown {
		return ""
	}
	return d.Policy.Fix
}

// details are the lines below a finding, for formats that have no place of their own for them.
func details(s *engine.Subject, d *engine.Decision) []string {
	var lines []string
	if s.Origin.Template != "" {
		lines = append(lines, "from: "+safe(s.Origin.Template))
	}
	if note := waiver(d); note != "" {
		lines = append(lines, safe(note))
	}
	lines = append(lines, paragraph("fix: ", fix(d), glyphs{})...)
	lines = append(lines, paragraph("why: ", controls(d.Policy), glyphs{})...)
	return append(lines, "more: "+safe(explain(d.Policy)))
}

// unspoken names the kinds that no policy names, the first of them: "VolumeSnapshotLocation (2), Service".
func unspoken(kinds []engine.KindCount, most int) string {
	var names []string
	for i, k := range kinds {
		if i == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more kinds", len(kinds)-most)
		}
		name := k.Kind
		if k.Count > 1 {
			name += fmt.Sprintf(" (%d)", k.Count)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// waiver says which waiver covers a decision, or covered it once, or "".
func waiver(d *engine.Decision) string {
	w := d.Waiver
	switch {
	case w == nil:
		return ""
	case d.Waived:
		return fmt.Sprintf("waived by %s through %s, owner %s, approved by %s: %s", w.ID, engine.LastDay(w.Expires), w.Owner, w.Approver, w.Reason)
	}
	return fmt.Sprintf("waiver %s ended after %s, owner %s", w.ID, engine.LastDay(w.Expires), w.Owner)
}

// ledger says what is to be done about a waiver, or "".
func ledger(u engine.WaiverUse) string {
	covers := plural(u.Hides, "decision", "decisions")
	switch u.State {
	case engine.WaiverExpiring:
		return fmt.Sprintf("waiver %s ends after %s and hides %s, owner %s", u.ID, engine.LastDay(u.Expires), covers, u.Owner)
	case engine.WaiverExpired:
		if u.Hides == 0 {
			return fmt.Sprintf("waiver %s ended after %s and covers nothing: remove it", u.ID, engine.LastDay(u.Expires))
		}
		return fmt.Sprintf("waiver %s ended after %s and no longer hides %s, owner %s", u.ID, engine.LastDay(u.Expires), covers, u.Owner)
	case engine.WaiverUnused:
		return fmt.Sprintf("waiver %s hides nothing in this run", u.ID)
	}
	return ""
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// summary is the run in one sentence. What was judged is the sum of what follows it, apart from what does not apply.
func summary(t engine.Trailer, files int) string {
	s := t.Summary
	in := ""
	if files > 0 {
		in = " in " + plural(files, "file", "files")
	}
	failed := 0
	for _, n := range t.Failed {
		failed += n
	}
	fails := fmt.Sprintf("%d fail", failed)
	if by := bySeverity(t.Failed); by != "" {
		fails += " (" + by + ")"
	}
	text := fmt.Sprintf("%s x %s%s: %d judged, %d pass, %s, %d unknown", plural(s.Policies, "policy", "policies"),
		plural(s.Subjects, "subject", "subjects"), in, s.Pass+s.Fail+s.Unknown, s.Pass, fails, t.Unknown)
	if s.Waived > 0 {
		text += fmt.Sprintf(", %d waived", s.Waived)
	}
	if s.NotApplicable > 0 {
		text += fmt.Sprintf("; %d not applicable", s.NotApplicable)
	}
	return text
}

func bySeverity(counts map[engine.Severity]int) string {
	var list []string
	for s := engine.Critical; ; s-- {
		if n := counts[s]; n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, cmp.Or(s.String(), "without severity")))
		}
		if s == engine.NoSeverity {
			return strings.Join(list, ", ")
		}
	}
}

// incomplete says why a run is not complete; nothing where it is.
func incomplete(t engine.Trailer) []string {
	if t.Complete {
		return nil
	}
	var why []string
	switch {
	case t.Summary.Subjects == 0:
		why = append(why, "nothing was checked: no subject was found")
	case t.Summary.Policies == 0:
		why = append(why, "nothing was checked: no policy was selected")
	case t.Summary.Matched == 0:
		why = append(why, "nothing was checked: no policy speaks of any of the "+plural(t.Summary.Subjects, "subject", "subjects"))
	}
	if n := t.Summary.Unknown - t.Unknown; n > 0 {
		why = append(why, plural(n, "waived decision is unknown", "waived decisions are unknown"))
	}
	if n := t.Unknown; n > 0 {
		text := plural(n, "decision is unknown", "decisions are unknown")
		if f := t.UnknownFacts; f > 0 {
			text += fmt.Sprintf(" (%d for want of a fact)", f)
		}
		why = append(why, text)
	}
	if n := t.Broken; n > 0 {
		why = append(why, plural(n, "input cannot be read", "inputs cannot be read"))
	}
	if n := t.Holes; n > 0 {
		why = append(why, plural(n, "thing that exists was not seen", "things that exist were not seen"))
	}
	if len(why) == 0 {
		why = append(why, "the run was stopped before its end")
	}
	return why
}

// fileCount counts the files of subjects that come file by file.
type fileCount struct {
	last string
	n    int
}

func (c *fileCount) see(s *engine.Subject) {
	if f, _ := s.Origin.Archive(); f != "" && f != c.last { // an archive is one file
		c.last = f
		c.n++
	}
}
