package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Path names a place in an object: spec.rules[0].name, spec.rules[*].name, metadata.labels["example.com/tier"].
type Path []Step

// Step is one step of a Path: a key, an index, or every element.
type Step struct {
	Key   string
	Index int
	Kind  StepKind
}

// StepKind tells what a Step is.
type StepKind uint8

// The kinds of Step.
const (
	KeyStep StepKind = iota
	IndexStep
	EachStep
)

// ParsePath reads a path; one leading dot is allowed.
func ParsePath(text string) (Path, error) {
	bad := func(why string) (Path, error) {
		return nil, fmt.Errorf("read path %q: %s (want for example spec.rules[*].name or metadata.labels[\"a.b/c\"])", text, why)
	}
	rest := strings.TrimPrefix(text, ".")
	if rest == "" {
		return bad("it is empty")
	}
	var p Path
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return bad("a quoted key is not closed")
			}
			key, err := strconv.Unquote(quoted)
			if err != nil {
				return bad("a quoted key cannot be read")
			}
			p = append(p, Step{Key: key})
			rest = rest[len(quoted)+2:]
		case rest[0] == '[':
			inside, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				return bad("a bracket is not closed")
			}
			if inside == "*" {
				p = append(p, Step{Kind: EachStep})
			} else {
				n, err := strconv.Atoi(inside)
				if err != nil || n < 0 {
					return bad("an index is not a number")
				}
				p = append(p, Step{Index: n, Kind: IndexStep})
			}
			rest = after
		default:
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return bad("a key is empty")
			}
			p = append(p, Step{Key: rest[:end]})
			rest = rest[end:]
		}
		if strings.HasPrefix(rest, ".") {
			if rest = rest[1:]; rest == "" {
				return bad("it ends in a dot")
			}
		} else if rest != "" && rest[0] != '[' {
			return bad("a dot is missing")
		}
	}
	return p, nil
}

// String writes the path in the form ParsePath reads.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch s.Kind {
		case EachStep:
			b.WriteString("[*]")
		case IndexStep:
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
		default:
			if s.Key == "" || strings.ContainsAny(s.Key, `.[]"\ `) {
				b.WriteString("[" + strconv.Quote(s.Key) + "]")
				continue
			}
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Key)
		}
	}
	return b.String()
}

// Covers reports whether declaring p declares q: p is q or an ancestor of it. An index counts as an element.
func (p Path) Covers(q Path) bool {
	if len(p) > len(q) {
		return false
	}
	for i := range p {
		if p[i].Kind == KeyStep != (q[i].Kind == KeyStep) || p[i].Key != q[i].Key {
			return false
		}
	}
	return true
}

// Walk calls visit for every place p leads to in v: with the value and true; with nil and false where a key is absent or
// null; with what stands in the way and false where that is neither an object nor a list to step into. An each-step over
// an empty list leads nowhere and visits nothing.
func (p Path) Walk(v any, visit func(at Path, v any, found bool)) {
	p.walk(v, make(Path, 0, len(p)), visit)
}

func (p Path) walk(v any, at Path, visit func(Path, any, bool)) {
	if len(p) == 0 {
		visit(at, v, v != nil)
		return
	}
	step := p[0]
	switch step.Kind {
	case EachStep:
		list, ok := v.([]any)
		if !ok {
			visit(at, v, false)
			return
		}
		for i, e := range list {
			p[1:].walk(e, append(at, Step{Index: i, Kind: IndexStep}), visit)
		}
	case IndexStep:
		list, ok := v.([]any)
		if !ok {
			visit(at, v, false)
			return
		}
		if step.Index >= len(list) {
			visit(append(at, step), nil, false)
			return
		}
		p[1:].walk(list[step.Index], append(at, step), visit)
	default:
		m, ok := v.(map[string]any)
		if !ok {
			visit(at, v, false)
			return
		}
		e, ok := m[step.Key]
		if !ok {
			visit(append(at, p...), nil, false)
			return
		}
		p[1:].walk(e, append(at, step), visit)
	}
}

// Misspelling is a key that differs from a declared one only in the case of its letters. The API server does not take
// it for the declared key; other readers do (encoding/json, sigs.k8s.io/yaml), so nothing may be concluded from it.
type Misspelling struct{ Path, Want string }

func (m Misspelling) Error() string {
	return fmt.Sprintf("%s differs only in case from %s: write %s", m.Path, m.Want, m.Want)
}

// Misspellings finds the keys of object that differ only in case from a key on one of the declared paths.
func Misspellings(object map[string]any, declared []Path) []Misspelling {
	var found []Misspelling
	seen := map[string]bool{}
	for _, p := range declared {
		p.misspelt(object, nil, func(m Misspelling) {
			if !seen[m.Path] {
				seen[m.Path] = true
				found = append(found, m)
			}
		})
	}
	return found
}

func (p Path) misspelt(v any, at Path, report func(Misspelling)) {
	if len(p) == 0 {
		return
	}
	step := p[0]
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if step.Kind == EachStep || step.Kind == IndexStep && step.Index == i {
				p[1:].misspelt(e, append(at[:len(at):len(at)], Step{Index: i, Kind: IndexStep}), report)
			}
		}
	case map[string]any:
		if step.Kind != KeyStep {
			return
		}
		for k := range v {
			if len(k) == len(step.Key) && k != step.Key && strings.EqualFold(k, step.Key) {
				was, want := append(at[:len(at):len(at)], Step{Key: k}), append(at[:len(at):len(at)], step)
				report(Misspelling{was.String(), want.String()})
			}
		}
		if e, ok := v[step.Key]; ok {
			p[1:].misspelt(e, append(at[:len(at):len(at)], step), report)
		}
	}
}

// Steps are the path's keys (string) and indices (int), up to the first [*].
func (p Path) Steps() []any {
	var steps []any
	for _, s := range p {
		switch s.Kind {
		case KeyStep:
			steps = append(steps, s.Key)
		case IndexStep:
			steps = append(steps, s.Index)
		default:
			return steps
		}
	}
	return steps
}

// With is a copy of the object in which every place the path leads to holds value, or is gone where value is nil; and
// whether there was any. What is not on the way is shared.
func (p Path) With(object map[string]any, value any) (map[string]any, bool) {
	out, changed := p.with(object, value)
	m, _ := out.(map[string]any)
	return m, changed
}

func (p Path) with(v, value any) (any, bool) {
	if len(p) == 0 {
		return value, v != nil
	}
	switch v := v.(type) {
	case map[string]any:
		e, ok := v[p[0].Key]
		if p[0].Kind != KeyStep || !ok {
			return v, false
		}
		inner, changed := p[1:].with(e, value)
		m := maps.Clone(v)
		if m[p[0].Key] = inner; inner == nil {
			delete(m, p[0].Key)
		}
		return m, changed
	case []any:
		list, did := slices.Clone(v), false
		for i, e := range list {
			if p[0].Kind == EachStep || p[0].Kind == IndexStep && p[0].Index == i {
				inner, changed := p[1:].with(e, value)
				list[i], did = inner, did || changed
			}
		}
		return list, did
	}
	return v, false
}
