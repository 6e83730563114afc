package decode

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// What this file refuses, the YAML library reads and Kubernetes' YAML library does not, or reads otherwise.

// maxLongKey is how long a key may be; from 1024 bytes on YAML wants it announced with "?".
const maxLongKey = 1000

// errMark is what a plain scalar is that starts like a mark of YAML.
var errMark = errors.New("a value or key starts with \"?\" or \":\", which some readers take for a mark (quote it)")

// control finds the first character that YAML 1.1 forbids and the library lets pass.
func control(text string) int { return strings.IndexByte(text, 0x7f) }

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
		return "", false, fmt.Errorf("the tag %s stands before no value (write the value, or \"\")", n.Tag)
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
			return text[:end], strings.Trim(text[:end], ",[]{}") == "!"
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

// offset is where the library's line and column are in the text.
func (r *yamlReader) offset(line, column int) int {
	if r.starts == nil {
		r.starts = []int{0, 0}
		for i := 0; i < len(r.text); i++ {
			if r.text[i] == '\n' {
				r.starts = append(r.starts, i+1)
			}
		}
	}
	if line <= 0 || line >= len(r.starts) {
		return len(r.text)
	}
	at := r.starts[line]
	for range column - 1 {
		if at >= len(r.text) {
			break
		}
		at++
		for at < len(r.text) && r.text[at]&0xc0 == 0x80 {
			at++
		}
	}
	return at
}

// longKey reports whether a key is so long that YAML wants it announced.
func (r *yamlReader) longKey(n *yaml.Node) bool {
	if n.Style&yaml.DoubleQuotedStyle == 0 {
		return len(n.Value) > maxLongKey
	}
	line, _, _ := strings.Cut(r.from(n), "\n")
	return len(n.Value) > maxLongKey || strings.IndexByte(line, '\\') >= 0 && len(line) > maxLongKey
}

// tabs refuses tabs that stand where YAML wants spaces. Those in quotes, blocks, comments and behind a value may stay.
func (r *yamlReader) tabs(root *yaml.Node) {
	if strings.IndexByte(r.text, '\t') < 0 && !strings.Contains(r.text, `\/`) {
		return
	}
	inside := make([]bool, len(r.text))
	r.cover(root, inside)
	lineStart, comment := 0, false
	for i := range len(r.text) {
		switch c := r.text[i]; {
		case c == '\n' || c == '\r':
			lineStart, comment = i+1, false
		case inside[i] || comment:
		case c == '#' && (i == lineStart || strings.IndexByte(" \t", r.text[i-1]) >= 0):
			comment = true
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
		quote := r.text[start+open]
		for i := start + open + 1; i < len(r.text); i++ {
			inside[i] = true
			if r.text[i] == '\\' && quote == '"' {
				i++
				if i < len(r.text) && r.text[i] == '/' {
					panic(r.t.failf(i-1, "read YAML: the escape \\/ stands in double quotes, which YAML 1.1 does not know (write /)"))
				}
				if i < len(inside) {
					inside[i] = true
				}
			} else if r.text[i] == quote {
				if quote == '"' || i+1 >= len(r.text) || r.text[i+1] != quote {
					return
				}
				i++
			}
		}
	case block:
		r.coverBlock(start, inside)
	}
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
		if deep < 0 && !blank {
			deep = max(indent, 1)
		}
		if !blank && indent < deep {
			return
		}
		for j := i + max(deep, 0); j < i+len(line); j++ {
			inside[j] = true
		}
	}
}
