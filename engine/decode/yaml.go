package decode

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// yamlReader turns the node tree of the YAML library into values. The library parses; what scalars, keys, tags and merge
// keys mean is decided here, because Kubernetes' clients read YAML 1.1 and the library does not.
type yamlReader struct {
	t      Text
	text   string
	lines  []int      // offsets of the lines as YAML counts them, where that is not how files count them; else nil
	begins []Position // where those lines start in the file, once that is wanted
	starts []int      // offsets of the lines as YAML counts them, from 1, once they are wanted
	// marks are the offsets of every 256th code point and runes the number of code points before each line, once they are
	// wanted and the text is not ASCII.
	marks, runes []int
	places       bool
	depth        int
	flow         int // how many of the depth are written in {} or []
	nodes        int
	sealed       sealed
	// visited counts keys and values, aliased those that are there by way of an alias; within is how many aliases deep we
	// are, and open are the values they name.
	visited, aliased, within int
	open                     map[*yaml.Node]bool
}

// maxAliased is how many nodes may come from aliases. Kubernetes' YAML library refuses documents nearly all of which are
// aliases; with this and maxAliasedShare everything it refuses is refused here too.
const (
	maxAliased      = 100_000
	maxAliasedShare = 0.98
)

// yaml reads with the YAML library what block does not.
func (t Text) yaml(text string, places bool) (v any, root *place, start Position, err error) {
	defer func() {
		if bad := t.gaveUp(recover(), "YAML"); bad != nil {
			v, root, err = nil, nil, bad
		}
	}()
	if n := separators(text); n > 2*t.limits.Nodes {
		return nil, nil, start, failf(t.File, Position{t.Line, t.Column}, "read YAML: the document holds more than %d values, which is the limit (split it with ---)", t.limits.Nodes)
	}
	lines := oddLines(text)
	r := &yamlReader{t: t, text: text, lines: lines, starts: lines, places: places, open: map[*yaml.Node]bool{}}
	if i := invalidUTF8(text); i >= 0 {
		return nil, nil, start, t.failf(i, "read YAML: the bytes are not UTF-8 (save the file as UTF-8)")
	}
	if i := lateStart(text); i >= 0 {
		return nil, nil, start, t.failf(i, "read YAML: \"...\" ends a document that has not begun (remove the line)")
	}
	if i := control(text); i >= 0 {
		return nil, nil, start, t.failf(i, "read YAML: a control character stands in the text (remove it, or write it as an escape in double quotes)")
	}
	loader, err := yaml.NewLoader(strings.NewReader(text), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(2*t.limits.Depth+2))))
	if err != nil {
		return nil, nil, start, failf(t.File, Position{t.Line, t.Column}, "read YAML: %w", err)
	}
	var doc, next yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		if !commentsOnly(text) || hasDirective(text) {
			return nil, nil, start, failf(t.File, Position{t.Line, t.Column}, "read YAML: the text ends a document or gives directives, but holds no value (remove it)")
		}
		r.tabs(nil)
		return nil, nil, Position{t.Line, t.Column}, nil
	} else if err != nil {
		return nil, nil, start, r.parseError(err, text)
	}
	if err := loader.Load(&next); err == nil {
		r.fail(&next, "a second document follows after \"...\" (put --- on a line of its own between documents)")
	} else if !errors.Is(err, io.EOF) {
		return nil, nil, start, r.parseError(err, text)
	}
	content := &doc
	if doc.Kind == yaml.DocumentNode {
		if len(doc.Content) == 0 {
			return nil, nil, Position{t.Line, t.Column}, nil
		}
		content = doc.Content[0]
	}
	if content.Kind == yaml.ScalarNode && content.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		r.fail(content, "a block of text stands alone, and readers differ in how far it goes (quote it, or put it behind a key)")
	}
	r.tabs(content)
	start = r.at(content.Line, content.Column)
	v, root = r.value(content)
	return v, root, start, nil
}

// separators counts what could stand between two values, cheaply: the library builds its tree before anything can be
// counted in it, and a tree costs 200 bytes a node.
func separators(text string) int {
	n := 0
	for _, c := range []string{"\n", ",", "[", "{", ": ", "- "} {
		n += strings.Count(text, c)
	}
	return n
}

// oddLines is where the lines of text start, counted as YAML 1.1 does, if it holds one of the line ends that files do not
// have.
func oddLines(text string) []int {
	if !strings.ContainsAny(text, "\u0085\u2028\u2029") && strings.Count(text, "\r") == strings.Count(text, "\r\n") {
		return nil
	}
	starts := []int{0, 0}
	for i := 0; i < len(text); i++ {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "\r\n"):
			i++
		case rest[0] == '\n', rest[0] == '\r':
		case strings.HasPrefix(rest, "\u0085"):
			i++
		case strings.HasPrefix(rest, "\u2028"), strings.HasPrefix(rest, "\u2029"):
			i += 2
		default:
			continue
		}
		starts = append(starts, i+1)
	}
	return starts
}

// at is where the library's line and column are in the file.
func (r *yamlReader) at(line, column int) Position {
	switch {
	case line <= 0:
		return Position{r.t.Line, r.t.Column}
	case r.lines != nil && line < len(r.lines):
		if r.begins == nil {
			c := r.t.cursor(r.text)
			for _, offset := range r.lines {
				r.begins = append(r.begins, c.position(offset))
			}
		}
		p := r.begins[line]
		return Position{p.Line, p.Column + max(column, 1) - 1}
	case line == 1:
		return Position{r.t.Line, r.t.Column + max(column, 1) - 1}
	}
	return Position{r.t.Line + line - 1, max(column, 1)}
}

func (r *yamlReader) parseError(err error, text string) *Error {
	var problem *yaml.LoadError
	if !errors.As(err, &problem) {
		return failf(r.t.File, Position{r.t.Line, r.t.Column}, "read YAML: %w", err)
	}
	mark := problem.Mark
	if mark.Line == 0 {
		mark = problem.ContextMark
	}
	there := ""
	if mark.Index >= 0 && mark.Index < len(text) {
		there = text[mark.Index:]
	}
	return failf(r.t.File, r.at(mark.Line, mark.Column), "read YAML: %s", explain(problem.Message, there))
}

func (r *yamlReader) fail(n *yaml.Node, format string, args ...any) {
	panic(failf(r.t.File, r.at(n.Line, n.Column), "read YAML: %w", fmt.Errorf(format, args...)))
}

func (r *yamlReader) visit(n *yaml.Node) {
	if name := cmp.Or(n.Anchor, n.Value); (n.Anchor != "" || n.Kind == yaml.AliasNode) && !anchorName(name) {
		r.fail(n, "an anchor holds more than letters, digits, - and _ (rename it, or quote the value if text is meant)")
	}
	r.visited++
	if r.within > 0 {
		r.aliased++
	}
	if r.aliased > maxAliased || r.aliased > 100 && r.visited > 1000 && float64(r.aliased) > maxAliasedShare*float64(r.visited) {
		r.fail(n, "aliases expand to too many values (write the values out)")
	}
}

// value is what node n stands for. The place is nil where places are not wanted.
func (r *yamlReader) value(n *yaml.Node) (any, *place) {
	r.visit(n)
	if n.Kind == yaml.AliasNode {
		return r.alias(n)
	}
	if r.nodes++; r.nodes > r.t.limits.Nodes {
		r.fail(n, "the document holds more than %d values, aliases expanded, which is the limit (split it)", r.t.limits.Nodes)
	}
	var at *place
	if r.places {
		at = &place{value: r.at(n.Line, n.Column), collection: n.Kind != yaml.ScalarNode}
		if n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 {
			at.value = Position{} // an empty value stands nowhere: its key does
		}
	}
	if n.Kind == yaml.ScalarNode {
		v, err := r.scalar(n)
		if err != nil {
			r.fail(n, "%w", err)
		}
		return v, at
	}
	if r.depth++; r.depth > r.t.limits.Depth {
		r.fail(n, "objects and lists are nested deeper than %d, which is the limit", r.t.limits.Depth)
	}
	if n.Style&yaml.FlowStyle != 0 {
		r.flow++
	}
	defer func() {
		r.depth--
		if n.Style&yaml.FlowStyle != 0 {
			r.flow--
		}
	}()
	if n.Kind == yaml.SequenceNode {
		list := make([]any, len(n.Content))
		for i, e := range n.Content {
			v, where := r.value(e)
			if list[i] = v; at != nil {
				at.items = append(at.items, where)
			}
		}
		return list, at
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "a node of an unknown kind stands here")
	}
	m := make(map[string]any, len(n.Content)/2)
	if at != nil {
		at.fields = make(map[string]*place, len(n.Content)/2)
	}
	r.fields(n, m, at)
	return m, at
}

func (r *yamlReader) alias(n *yaml.Node) (any, *place) {
	if n.Alias == nil || r.open[n.Alias] {
		r.fail(n, "the value that the alias names contains itself")
	}
	r.open[n.Alias] = true
	r.within++
	v, at := r.value(n.Alias)
	r.within--
	delete(r.open, n.Alias)
	return v, at
}

func (r *yamlReader) scalar(n *yaml.Node) (any, error) {
	tag, given, err := r.tag(n)
	switch {
	case err != nil:
		return nil, err
	case n.Style&^yaml.TaggedStyle == 0 && r.flow > 0 && (strings.HasPrefix(n.Value, ":") || strings.IndexByte(n.Value, '?') >= 0):
		return nil, errMark
	case given:
		return tagged(tag, n.Value)
	case n.Style != 0:
		return n.Value, nil
	}
	return plain(n.Value)
}
