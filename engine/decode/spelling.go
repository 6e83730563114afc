package decode

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// What this file refuses, the YAML library reads and Kubernetes' YAML library does not, or reads otherwise.

// maxLongKey is how long a key may be; from 1024 bytes on YAML wants it announced with "?".
const maxLongKey = 1000

// errMark is what a plain scalar is that starts like a mark of YAML.
var errMark = errors.New("\"?\" or \":\" stands in a value or key, which some readers take for a mark (quote it)")

// control is where the first character stands that YAML 1.1 forbids, or -1; the library lets some of them pass.
func control(text string) int {
	return strings.IndexFunc(text, func(c rune) bool {
		return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c >= 0x7f && c < 0xa0 && c != 0x85 || c == 0xfffe || c == 0xffff
	})
}

// lateStart is where a line "..." stands before any content, or -1.
func lateStart(text string) int {
	i := 0
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(strings.TrimLeft(line, "\r"), "..."):
			return i
		case !commentsOnly(line):
			return -1
		}
		i += len(line)
	}
	return -1
}

// anchorName reports whether name is one that every reader takes for an anchor.
func anchorName(name string) bool {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// tag is the tag the author wrote on a scalar.
func (r *yamlReader) tag(n *yaml.Node) (tag string, given bool, err error) {
	written, bare := r.written(n)
	switch {
	case bare:
		return "", false, errors.New("the tag \"!\" means different things to different readers (remove it)")
	case n.Style&yaml.TaggedStyle == 0:
		return "", false, nil
	case n.Value == "" && n.Style == yaml.TaggedStyle, strings.ContainsAny(written, ",[]{}"):
		return "", false, errors.New("a tag stands before no value (write the value, or \"\"; quote it if text is meant)")
	}
	return n.Tag, true, nil
}

// written is the tag as it stands in the text, and whether it is "!" alone, which the library drops.
func (r *yamlReader) written(n *yaml.Node) (tag string, bare bool) {
	text := r.from(n)
	for {
		switch {
		case strings.HasPrefix(text, "&"):
			end := strings.IndexAny(text, " \t\r\n")
			if end < 0 {
				return "", false
			}
			text = strings.TrimLeft(text[end:], " \t\r\n")
			continue
		case strings.HasPrefix(text, "!"):
			end := strings.IndexAny(text, " \t\r\n")
			if end < 0 {
				end = len(text)
			}
			return text[:end], end == 1 || strings.IndexByte(",[]{}", text[1]) >= 0
		}
		return "", false
	}
}

// from is the text from where n starts.
func (r *yamlReader) from(n *yaml.Node) string {
	if i := r.offset(n.Line, n.Column); i < len(r.text) {
		return r.text[i:]
	}
	return ""
}

// markEvery is how many code points lie between two marks.
const markEvery = 256

// offset is where the library's line and column are in the text. It takes no longer on long lines than on short ones.
func (r *yamlReader) offset(line, column int) int {
	if r.starts == nil {
		r.starts = []int{0, 0}
		for i := 0; i < len(r.text); i++ {
			if r.text[i] == '\n' {
				r.starts = append(r.starts, i+1)
			}
		}
	}
	if r.runes == nil {
		r.mark()
	}
	if line <= 0 || line >= len(r.starts) {
		return len(r.text)
	}
	if r.marks == nil {
		return min(r.starts[line]+max(column, 1)-1, len(r.text))
	}
	n := r.runes[line] + max(column, 1) - 1
	if n/markEvery >= len(r.marks) {
		return len(r.text)
	}
	at := r.marks[n/markEvery]
	for range n % markEvery {
		_, size := utf8.DecodeRuneInString(r.text[at:])
		at += size
	}
	return at
}

func (r *yamlReader) mark() {
	r.runes = make([]int, len(r.starts))
	if strings.IndexFunc(r.text, func(c rune) bool { return c >= utf8.RuneSelf }) < 0 {
		return
	}
	n, line := 0, 1
	for i := range r.text {
		if n%markEvery == 0 {
			r.marks = append(r.marks, i)
		}
		for line < len(r.starts) && r.starts[line] <= i {
			r.runes[line] = n
			line++
		}
		n++
	}
	for ; line < len(r.starts); line++ {
		r.runes[line] = n
	}
}

// key is the text of a mapping's key; flow says that the mapping is written in {}.
func (r *yamlReader) key(n *yaml.Node, flow bool) string {
	r.visit(n)
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "a key is an alias, an object or a list (write text before the colon)")
	}
	tag, bare := r.written(n)
	text := n.Value
	var err error
	switch {
	case n.Anchor != "" || bare || tag != "":
		err = errors.New("a key carries an anchor or a tag (remove it)")
	case r.longKey(n):
		err = fmt.Errorf("a key is longer than %d bytes (shorten it)", maxLongKey)
	case !r.oneLine(n), flow && n.Style != 0 && r.colonBelow(n):
		err = errors.New("a key goes over several lines (write it on one)")
	case n.Style != 0:
	case text != "" && (text[0] == '?' || text[0] == ':'):
		err = errMark
	case flow && strings.IndexByte(text, '?') >= 0:
		err = errMark
	case flow && !r.colonThenSpace(n):
		err = errors.New("a key in {} or [] is followed by \":\" without a space (put a space behind the colon)")
	default:
		text, err = keyText(text)
	}
	if err != nil {
		r.fail(n, "%w", err)
	}
	return text
}

// oneLine reports whether a key stands on one line.
func (r *yamlReader) oneLine(n *yaml.Node) bool {
	rest := r.from(n)
	if n.Style == 0 {
		return strings.HasPrefix(rest, n.Value)
	}
	return rest != "" && !strings.ContainsAny(rest[:quotedEnd(rest)], "\r\n\u0085\u2028\u2029")
}

// colonBelow reports whether the colon of a key in quotes stands on another line.
func (r *yamlReader) colonBelow(n *yaml.Node) bool {
	rest := r.from(n)
	rest = strings.TrimLeft(rest[quotedEnd(rest):], " \t")
	return rest != "" && strings.IndexByte("\r\n#", rest[0]) >= 0
}

// colonThenSpace reports whether a key without quotes has no colon behind it, or one that is followed by a space.
func (r *yamlReader) colonThenSpace(n *yaml.Node) bool {
	rest, ok := strings.CutPrefix(r.from(n), n.Value)
	if !ok {
		return false
	}
	if next := strings.TrimLeft(rest, " \t"); next == "" || next[0] != ':' {
		// No colon on this line; one on the next is taken for the key's by some readers only.
		next = strings.TrimLeft(next, " \t\r\n")
		return next != "" && next[0] != ':' && next[0] != '#'
	} else {
		rest = next[1:]
	}
	return rest == "" || strings.IndexByte(" \t\r\n", rest[0]) >= 0
}

// longKey reports whether a key is so long that YAML wants it announced.
func (r *yamlReader) longKey(n *yaml.Node) bool {
	if n.Style&yaml.DoubleQuotedStyle == 0 {
		return len(n.Value) > maxLongKey
	}
	rest := r.from(n)
	return len(n.Value) > maxLongKey || rest != "" && quotedEnd(rest) > maxLongKey
}

// tabs refuses tabs that stand where YAML wants spaces. Those in quotes, blocks, comments and behind a value may stay.
func (r *yamlReader) tabs(root *yaml.Node) {
	if !strings.ContainsAny(r.text, "\t\u0085\u2028\u2029") && !strings.Contains(r.text, `\/`) {
		return
	}
	inside := make([]bool, len(r.text))
	r.cover(root, inside)
	lineStart, comment := 0, false
	for i := range len(r.text) {
		switch c := r.text[i]; {
		case c == '\n' || c == '\r':
			lineStart, comment = i+1, false
		case inside[i]:
		case !comment && c == '#' && (i == lineStart || strings.IndexByte(" \t", r.text[i-1]) >= 0):
			comment = true
		case strings.HasPrefix(r.text[i:], "\u0085"), strings.HasPrefix(r.text[i:], "\u2028"), strings.HasPrefix(r.text[i:], "\u2029"):
			panic(r.t.failf(i, "read YAML: a Unicode line separator stands in the text (replace it, or quote the value)"))
		case comment:
		case c == '\t':
			before := strings.TrimRight(r.text[lineStart:i], " \t")
			if last := strings.TrimLeft(before, " "); last == "" || last == "-" || last == "?" || last == ":" || strings.HasSuffix(before, " -") || strings.HasSuffix(before, " ?") {
				panic(r.t.failf(i, "read YAML: a tab stands where YAML indents with spaces (replace it with spaces)"))
			}
		}
	}
}

// cover marks the text of the quoted and block scalars below n.
func (r *yamlReader) cover(n *yaml.Node, inside []bool) {
	if n == nil {
		return
	}
	for _, child := range n.Content {
		r.cover(child, inside)
	}
	if n.Kind != yaml.ScalarNode {
		return
	}
	start := r.offset(n.Line, n.Column)
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
	block := n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case quoted:
		open := strings.IndexAny(r.text[start:], `"'`)
		if open < 0 {
			return
		}
		end := start + open + quotedEnd(r.text[start+open:])
		for i := start + open + 1; i < end; i++ {
			inside[i] = true
		}
		if body := r.text[start+open : end]; body[0] == '"' {
			if i := escapedSlash(body); i >= 0 {
				panic(r.t.failf(start+open+i, "read YAML: the escape \\/ stands in double quotes, which YAML 1.1 does not know (write /)"))
			}
		}
	case block:
		r.coverBlock(start, inside)
	}
}

// quotedEnd is where the quoted scalar that text starts with ends, its quote included.
func quotedEnd(text string) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] != quote:
		case quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(text)
}

func escapedSlash(body string) int {
	for i := 0; i+1 < len(body); i++ {
		if body[i] == '\\' {
			if i++; body[i] == '/' {
				return i - 1
			}
		}
	}
	return -1
}

// coverBlock marks the lines of the block scalar whose header stands at start: those indented at least as far as the
// first of them.
func (r *yamlReader) coverBlock(start int, inside []bool) {
	deep := -1
	for i := start; i < len(r.text); {
		next := strings.IndexByte(r.text[i:], '\n')
		if next < 0 {
			return
		}
		i += next + 1
		line, _, _ := strings.Cut(r.text[i:], "\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		blank := strings.TrimRight(line, " \r") == ""
		first := deep < 0 && !blank
		if first {
			deep = max(indent, 1)
		}
		if !blank && indent < deep {
			return
		}
		for j := i + max(deep, 0); j < i+len(line); j++ {
			inside[j] = !first || j > i+deep || r.text[j] != '\t'
		}
	}
}
