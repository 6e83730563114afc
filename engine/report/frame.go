package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
)

const (
	// contextLines is how many lines are shown before a guilty one.
	contextLines = 2
	// leastWidth is how many columns of a source line are shown on the narrowest screen.
	leastWidth = 20
)

// points writes what a decision says: under the source line it is about where there is one, else as a list. Points of
// one line share a frame, and no line is shown twice.
func (t *page) points(s *engine.Subject, list []point) {
	var loose []point
	digits := 0
	for _, p := range list {
		digits = max(digits, len(strconv.Itoa(p.at.Line)))
	}
	shown := s.Origin.Line - 1
	for i := 0; i < len(list); {
		n := i + 1
		for n < len(list) && list[n].at.Line == list[i].at.Line && list[n].at.File == list[i].at.File {
			n++
		}
		group := list[i:n]
		i = n
		first := max(group[0].at.Line-contextLines, shown+1, 1)
		lines := source(s, group[0].at, first)
		if lines == nil {
			loose = append(loose, group...)
			continue
		}
		if shown >= s.Origin.Line && first > shown+1 {
			t.line("  ...")
		}
		if strings.EqualFold(s.Kind, "Secret") {
			redact(lines, s.Object)
		}
		t.frame(lines, group, digits)
		shown = group[0].at.Line
	}
	for _, p := range loose {
		place := p.path
		if at := p.at; at.File != s.Origin.File && at.File != "" {
			place = strings.TrimSpace(where(at, "") + " " + place)
		}
		if place != "" { // behind the message, which may begin with a number
			place = " (at " + place + ")"
		}
		t.line("  - %s%s", p.message, place)
	}
}

// source is the lines from first to the one at stands on, which is last; fewer where a document starts in between, so
// that no neighbour is shown, and nil where the source has no such line.
func source(s *engine.Subject, at engine.Position, first int) []string {
	if s.Origin.Lines == nil || at.Line < first || at.File != s.Origin.File {
		return nil
	}
	lines := slices.Clone(s.Origin.Lines(first, at.Line))
	if len(lines) != at.Line-first+1 {
		return nil
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, "\r\n")
	}
	for i := len(lines) - 2; i >= 0; i-- {
		if strings.HasPrefix(lines[i], "---") {
			return lines[i+1:]
		}
	}
	return lines
}

// frame shows lines, of which the last is guilty, with a mark under each column that is. Their numbers take digits columns.
func (t *page) frame(lines []string, group []point, digits int) {
	last := group[0].at.Line
	gutter := 2 + len("> ") + digits + len(" | ")
	width := max(t.width-gutter, leastWidth)
	guilty := lines[len(lines)-1]
	indent := len(guilty) - len(strings.TrimLeft(guilty, " "))
	marks := make([]int, len(group))
	for i, p := range group {
		marks[i] = t.column(guilty, max(p.at.Column, 1))
		if p.at.Column == 0 {
			marks[i] = indent
		}
	}
	from := 0
	if t.columns(guilty) > width && marks[0] > width*2/3 {
		from = marks[0] - width/2
	}
	for i, l := range lines {
		n := fmt.Sprintf("%*d", digits, last-len(lines)+1+i)
		if i < len(lines)-1 {
			t.raw("    "+n+" | ", t.window(l, from, width), grey)
		} else {
			t.raw("  > "+n+" | ", t.window(l, from, width), "")
		}
	}
	margin := "    " + strings.Repeat(" ", digits) + " | "
	for i, p := range group {
		mark := marks[i] - from
		switch message := t.escape(p.message); {
		case mark < 0 || mark > width:
			t.raw(margin, fmt.Sprintf("(column %d) %s", p.at.Column, message), red)
		case mark > indent && mark+2+t.columns(p.message) > width:
			t.raw(margin, strings.Repeat(" ", mark)+"^", red)
			t.raw(margin, message, red)
		default:
			t.raw(margin, strings.Repeat(" ", mark)+"^ "+message, red)
		}
	}
}

// raw writes a line that is escaped already.
func (t *page) raw(margin, line, code string) {
	if t.color && code != "" {
		line = "\x1b[" + code + "m" + line + "\x1b[0m"
	}
	t.w.WriteString(strings.TrimRight(margin+line, " "))
	t.w.WriteByte('\n')
}

// keyed is a line that starts with a key; the key is its third part, what is before the value its first.
var keyed = regexp.MustCompile(`^(\s*(?:- +)*(["']?)([A-Za-z0-9_./-]+)["']?:(?:\s+|$))`)

// redact hides the values in a Secret's lines, and whole lines where no key of the object starts them: they are of a
// block of text. It hides every value, not only those of data and stringData, since annotations hold copies of them.
func redact(lines []string, object map[string]any) {
	known := map[string]bool{}
	keysOf(object, known)
	for i, line := range lines {
		key := ""
		if m := keyed.FindStringSubmatch(line); m != nil && known[m[3]] {
			key = m[1]
		} else {
			key = line[:len(line)-len(strings.TrimLeft(line, " "))]
		}
		if strings.TrimSpace(line[len(key):]) != "" {
			lines[i] = key + "<redacted>"
		}
	}
}

func keysOf(v any, known map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			known[k] = true
			keysOf(e, known)
		}
	case []any:
		for _, e := range v {
			keysOf(e, known)
		}
	}
}
