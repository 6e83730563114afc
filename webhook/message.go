package webhook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"proviso.dev/proviso/engine"
)

// words turns decisions into what people read: a denial of at most five lines, and short warnings.
type words struct {
	subject   *engine.Subject
	id        string
	set       engine.Digest
	namespace string
}

const (
	// longestWarning is how many characters a warning may have; the API server cuts what is longer than 120.
	longestWarning = 119
	// mostWarnings is how many are given; kubectl prints each on a line of its own.
	mostWarnings = 10
	// longestLine keeps a value that somebody made long from filling the screen.
	longestLine = 500
)

func (w words) say(decisions []engine.Decision) (denial string, warnings []string) {
	var denied []*engine.Decision
	for i := range decisions {
		d := &decisions[i]
		switch {
		case d.Verdict == engine.Pass || d.Verdict == engine.NotApplicable:
		case d.Effect == engine.EffectDeny:
			denied = append(denied, d)
		case d.Effect == engine.EffectWarn || d.Waived:
			warnings = append(warnings, w.warning(d))
		}
		if d.Waiver != nil && !d.Waived {
			warnings = append(warnings, shorten(fmt.Sprintf("proviso: waiver %s ended after %s and no longer covers %s", d.Waiver.ID, engine.LastDay(d.Waiver.Expires), name(d.Policy))))
		}
	}
	if n := len(warnings); n > mostWarnings {
		warnings = append(warnings[:mostWarnings-1:mostWarnings-1], shorten(fmt.Sprintf("proviso: and %d more warnings", n-mostWarnings+1)))
	}
	if len(denied) == 0 {
		return "", warnings
	}
	// What is known to be wrong comes before what cannot be told.
	slices.SortStableFunc(denied, func(a, b *engine.Decision) int {
		return cmp.Or(unknowns(a)-unknowns(b), int(b.Policy.Severity)-int(a.Policy.Severity))
	})
	first := denied[0]
	head := fmt.Sprintf("%s %s: %s: %s", strings.ToUpper(first.Policy.Severity.String()), name(first.Policy), w.subject, finding(first))
	if more := len(denied) - 1; more > 0 {
		var others []string
		for _, d := range denied[1:min(len(denied), 4)] {
			others = append(others, d.Policy.ID)
		}
		rest := ""
		if n := more - len(others); n > 0 {
			rest = fmt.Sprintf(" and %d more", n)
		}
		head = cut(head, longestLine-120) + "; denied too by " + strings.Join(others, ", ") + rest
	}
	lines := []string{head, "fix: " + fix(first)}
	if c := controls(first.Policy); c != "" {
		lines = append(lines, "control: "+c)
	}
	waiver := fmt.Sprintf("waiver: an approved Waiver (proviso.dev) for policy %s in namespace %s admits it until it expires", first.Policy.ID, w.namespace)
	if len(denied) > 1 {
		waiver = fmt.Sprintf("waiver: approved Waivers (proviso.dev) in namespace %s, one for each of the %d policies, admit it until they expire", w.namespace, len(denied))
	}
	lines = append(lines, waiver,
		fmt.Sprintf("decision %s, policies %s", w.id, w.set))
	for i, l := range lines {
		lines[i] = cut(oneLine(l), longestLine)
	}
	return strings.Join(lines, "\n"), warnings
}

func name(p *engine.Policy) string {
	if p.Ref == "" {
		return p.ID
	}
	return p.ID + " (" + p.Ref + ")"
}

// finding is the value found and wanted, as the policy says it; of an unknown, what is missing.
func finding(d *engine.Decision) string {
	if d.Verdict == engine.Unknown {
		return "it cannot be told whether this is compliant: " + d.Reason
	}
	v := d.Violations[0]
	text := v.Message
	if v.Path != "" {
		text = v.Path + ": " + text
	}
	if more := len(d.Violations) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

func unknowns(d *engine.Decision) int {
	if d.Verdict == engine.Unknown {
		return 1
	}
	return 0
}

// fix is what to do about a denial. To mend what may be right would be wrong: of an unknown, what would make it known.
func fix(d *engine.Decision) string {
	switch {
	case d.Verdict != engine.Unknown:
		return d.Policy.Fix
	case d.Cause == engine.CauseField:
		return "Write what is asked for: nobody can tell without."
	case d.Cause == engine.CauseFact:
		return "Try again; where it stays so, Proviso cannot see what stands around the object."
	}
	return "Tell whoever runs Proviso: the rule gave no answer."
}

func controls(p *engine.Policy) string {
	var all []string
	for _, c := range p.Controls {
		all = append(all, c.Framework+" "+c.ID)
	}
	return strings.Join(all, ", ")
}

func (w words) warning(d *engine.Decision) string {
	what := d.Policy.Severity.String()
	switch {
	case d.Waived:
		what = "waived by " + d.Waiver.ID + " through " + engine.LastDay(d.Waiver.Expires)
	case d.Standing:
		what += ", there before"
	case d.Verdict == engine.Unknown:
		what = "unknown"
	}
	text := d.Reason
	if d.Verdict == engine.Fail {
		text = finding(d)
	}
	id := d.Policy.Ref
	if id == "" {
		id = d.Policy.ID
	}
	return shorten(fmt.Sprintf("proviso %s [%s]: %s", id, what, text))
}

func shorten(text string) string { return cut(oneLine(text), longestWarning) }

// oneLine takes out what a terminal or a log would take for something else.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
}

func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// own is the denial of an object of Proviso's own kinds.
func own(sub engine.Subject, problems []string, id string) string {
	more := ""
	if n := len(problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("%s: %s%s\ndecision %s", &sub, cut(oneLine(problems[0]), longestLine), more, id)
}
