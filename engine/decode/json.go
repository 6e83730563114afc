package decode

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader reads one JSON value. It stops at the first error by panicking with *Error, which json recovers.
type jsonReader struct {
	t      Text
	text   string
	pos    int
	nodes  int
	depth  int
	sealed sealed
	places bool
	cursor cursor
	// fields and items hold what was read of the objects and lists that are still open, so that each is made in its size.
	fields []field
	items  []any
	// unescaped is room for the string being read.
	unescaped []byte
}

// field is a key of an object, where it starts, and its value.
type field struct {
	key   string
	start int
	value any
}

// JSON reads a text that must be one JSON value and nothing else; name is the file name that errors carry. It reads what
// [One] reads of the same text, and no YAML. Errors are of type *[Error].
func JSON(text, name string, limits Limits) (*Document, error) {
	t := Text{File: name, Raw: text, Line: 1, Column: 1, isJSON: true, limits: limits.orDefault()}
	if len(text) > t.limits.Bytes {
		return nil, failf(name, Position{1, 1}, "read JSON: it is longer than %d bytes, which is the limit (split it)", t.limits.Bytes)
	}
	return t.Decode()
}

func (t Text) json(text string, places bool) (v any, root *place, start Position, err error) {
	r := &jsonReader{t: t, text: text, places: places, cursor: t.cursor(text)}
	defer func() {
		if bad := t.gaveUp(recover(), "JSON"); bad != nil {
			v, root, err = nil, nil, bad
		}
	}()
	r.space()
	start = t.position(r.pos)
	v, root = r.value()
	r.space()
	if r.pos < len(text) {
		r.fail(r.pos, "text follows the value (remove it, or put --- on a line of its own before it)")
	}
	return v, root, start, nil
}

func (r *jsonReader) fail(at int, format string, args ...any) {
	panic(r.t.failf(at, "read JSON: %w", fmt.Errorf(format, args...)))
}

func (r *jsonReader) space() {
	if r.pos < len(r.text) && r.text[r.pos] <= ' ' {
		r.spaces()
	}
}

func (r *jsonReader) spaces() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return
		}
	}
}

// want takes the byte c, after spaces.
func (r *jsonReader) want(c byte, where string) {
	if r.pos < len(r.text) && r.text[r.pos] == c {
		r.pos++
		return
	}
	r.space()
	if r.pos >= len(r.text) || r.text[r.pos] != c {
		r.unexpected(fmt.Sprintf("%q %s", c, where))
	}
	r.pos++
}

func (r *jsonReader) unexpected(want string) {
	if r.pos >= len(strings.TrimRight(r.text, " \t\r\n")) {
		r.fail(r.pos, "the text ends here, want %s (the file is cut short)", want)
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.pos:])
	r.fail(r.pos, "%q stands here, want %s", c, want)
}

// at is the place of what starts at offset; nil where places are not wanted.
func (r *jsonReader) at(offset int, collection bool) *place {
	if !r.places {
		return nil
	}
	return &place{value: r.cursor.position(offset), collection: collection}
}

func (r *jsonReader) value() (any, *place) {
	r.space()
	if r.nodes++; r.nodes > r.t.limits.Nodes {
		r.fail(r.pos, "the document holds more than %d values, which is the limit (split it)", r.t.limits.Nodes)
	}
	if r.pos >= len(r.text) {
		r.unexpected("a value")
	}
	start := r.pos
	switch c := r.text[r.pos]; {
	case c == '{':
		return r.object()
	case c == '[':
		return r.list()
	case c == '"':
		return r.quoted(), r.at(start, false)
	case c == '-', c >= '0' && c <= '9':
		return r.number(), r.at(start, false)
	case r.literal("true"):
		return true, r.at(start, false)
	case r.literal("false"):
		return false, r.at(start, false)
	case r.literal("null"):
		return nil, r.at(start, false)
	}
	r.unexpected("a value")
	return nil, nil
}

func (r *jsonReader) literal(word string) bool {
	if !strings.HasPrefix(r.text[r.pos:], word) {
		return false
	}
	r.pos += len(word)
	return true
}

func (r *jsonReader) open() {
	if r.depth++; r.depth > r.t.limits.Depth {
		r.fail(r.pos, "objects and lists are nested deeper than %d, which is the limit", r.t.limits.Depth)
	}
	r.pos++
	r.space()
}

// closes takes c if it comes next.
func (r *jsonReader) closes(c byte) bool {
	if r.pos < len(r.text) && r.text[r.pos] == c {
		r.pos++
		r.depth--
		return true
	}
	return false
}

func (r *jsonReader) object() (any, *place) {
	at := r.at(r.pos, true)
	r.open()
	if at != nil {
		at.fields = map[string]*place{}
	}
	if r.closes('}') {
		return map[string]any{}, at
	}
	from := len(r.fields)
	for {
		r.space()
		start := r.pos
		if start >= len(r.text) || r.text[start] != '"' {
			r.unexpected("a key in double quotes")
		}
		key := r.quoted()
		var keyAt Position
		if at != nil {
			keyAt = r.cursor.position(start)
		}
		r.want(':', "after the key")
		outer := r.sealed
		r.sealed = outer.below(key)
		v, where := r.value()
		r.sealed = outer
		r.fields = append(r.fields, field{key, start, v})
		if at != nil {
			where.key = keyAt
			at.fields[key] = where
		}
		r.space()
		if r.closes('}') {
			return r.made(from), at
		}
		r.want(',', "or '}' after a value")
	}
}

// made is the object of the fields that were read since there were from of them.
func (r *jsonReader) made(from int) map[string]any {
	fields := r.fields[from:]
	m := make(map[string]any, len(fields))
	for i := range fields {
		f := &fields[i]
		if m[f.key] = f.value; len(m) == i {
			r.twice(f.key, f.start)
		}
	}
	r.fields = r.fields[:from]
	return m
}

// twice fails for a key that is there a second time, naming both places.
func (r *jsonReader) twice(key string, second int) {
	// Keys of one object stand at its own depth; the first is looked for again only now that it matters.
	again := &jsonReader{t: r.t, text: r.text, places: true}
	first := Position{}
	func() {
		defer func() {
			if p := recover(); p != nil {
				if _, ours := p.(*Error); !ours {
					panic(p)
				}
			}
		}()
		again.stopAt(second, key, &first)
	}()
	if first.Line > 0 {
		r.fail(second, "%s is there twice, first at %d:%d (remove one)", r.sealed.key(key), first.Line, first.Column)
	}
	r.fail(second, "%s is there twice (remove one)", r.sealed.key(key))
}

// stopAt finds the first place of the key whose repetition starts at offset second, within the same object.
func (r *jsonReader) stopAt(second int, key string, first *Position) {
	type frame struct {
		object bool
		seen   int
	}
	var stack []frame
	expectKey := false
	for r.pos < second {
		switch c := r.text[r.pos]; c {
		case '"':
			start := r.pos
			if text := r.quoted(); expectKey && text == key {
				if top := &stack[len(stack)-1]; top.seen < 0 {
					top.seen = start
				}
			}
			expectKey = false
			continue
		case '{', '[':
			stack = append(stack, frame{c == '{', -1})
			expectKey = c == '{'
		case '}', ']':
			stack = stack[:len(stack)-1]
			expectKey = false
		case ',':
			expectKey = stack[len(stack)-1].object
		}
		r.pos++
	}
	if top := stack[len(stack)-1]; top.seen >= 0 {
		*first = r.t.position(top.seen)
	}
}

func (r *jsonReader) list() (any, *place) {
	at := r.at(r.pos, true)
	r.open()
	if r.closes(']') {
		return []any{}, at
	}
	from := len(r.items)
	for {
		v, where := r.value()
		r.items = append(r.items, v)
		if at != nil {
			at.items = append(at.items, where)
		}
		r.space()
		if r.closes(']') {
			list := make([]any, len(r.items)-from)
			copy(list, r.items[from:])
			r.items = r.items[:from]
			return list, at
		}
		r.want(',', "or ']' after an element")
	}
}

// number reads a number: int64 where it has no fraction and fits, else float64.
func (r *jsonReader) number() any {
	start := r.pos
	digits := func() {
		from := r.pos
		for r.pos < len(r.text) && r.text[r.pos] >= '0' && r.text[r.pos] <= '9' {
			r.pos++
		}
		if r.pos == from {
			r.unexpected("a digit")
		}
	}
	next := func(set string) bool {
		if r.pos < len(r.text) && strings.IndexByte(set, r.text[r.pos]) >= 0 {
			r.pos++
			return true
		}
		return false
	}
	next("-")
	if !next("0") {
		digits()
	} else if r.pos < len(r.text) && r.text[r.pos] >= '0' && r.text[r.pos] <= '9' {
		r.fail(start, "a number starts with 0 (remove the zero, or quote the number if text is meant)")
	}
	fraction := next(".")
	if fraction {
		digits()
	}
	if next("eE") {
		next("+-")
		digits()
	}
	text := r.text[start:r.pos]
	if !fraction {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.fail(start, "the number is too large (quote it if text is meant)")
	}
	return f
}
