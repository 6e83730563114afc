package decode

import (
	"strings"
	"unicode/utf8"
)

// blockReader reads the YAML that people and tools write for Kubernetes: block mappings and lists, scalars and flow
// collections on one line, literal blocks. It is ten times as fast as the YAML library, and gives up at the first thing
// it does not know, a mistake included, so that the library stays the judge of everything unusual. What it does read it
// reads as the library does; a differential test holds it to that.
type blockReader struct {
	t      Text
	text   string // ends in a line feed
	places bool
	nodes  int
	depth  int

	// The current line: its number from 0, its start, its first byte that is no space, its line feed.
	line, start, at, end int
	eof                  bool
	cursor               cursor
}

// errUnusual unwinds from what blockReader does not know.
type errUnusual struct{}

func unusual() { panic(errUnusual{}) }

// block reads the text if it holds nothing unusual; otherwise ok is false, and nothing is known of the text.
func (t Text) block(text string, places bool) (v any, root *place, start Position, ok bool) {
	if !usual(text) {
		return nil, nil, start, false
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(errUnusual); !ours {
				panic(r)
			}
			v, root, ok = nil, nil, false
		}
	}()
	r := &blockReader{t: t, text: text, places: places, line: -1, end: -1, cursor: t.cursor(text)}
	r.next()
	if r.eof {
		return nil, nil, Position{t.Line, t.Column}, true
	}
	start = r.position(r.at)
	v, root = r.node()
	if !r.eof {
		unusual()
	}
	return v, root, start, true
}

// usual reports whether text is free of the characters that YAML treats in a way of its own, and of those it forbids.
func usual(text string) bool {
	if strings.HasPrefix(text, "...") || strings.Contains(text, "\n...") || strings.Contains(text, "\n---") {
		return false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= ' ' && c < 0x7f, c == '\n', c == '\t':
		case c < utf8.RuneSelf:
			return false
		default:
			u, size := utf8.DecodeRuneInString(text[i:])
			if u == utf8.RuneError || u < 0xa0 || u == 0x2028 || u == 0x2029 || u == 0xfeff || u == 0xfffe || u == 0xffff {
				return false
			}
			i += size - 1
		}
	}
	return true
}

// next goes to the next line that holds more than spaces and a comment.
func (r *blockReader) next() {
	for {
		r.start = r.end + 1
		r.line++
		if r.start >= len(r.text) {
			r.eof = true
			return
		}
		r.end = r.start + strings.IndexByte(r.text[r.start:], '\n')
		r.at = r.start
		for r.text[r.at] == ' ' {
			r.at++
		}
		switch r.text[r.at] {
		case '\n', '#':
			continue
		case '\t':
			unusual()
		}
		return
	}
}

func (r *blockReader) indent() int { return r.at - r.start }

func (r *blockReader) position(offset int) Position { return r.cursor.position(offset) }

func (r *blockReader) where(offset int, collection bool) *place {
	if !r.places {
		return nil
	}
	return &place{value: r.position(offset), collection: collection}
}

func (r *blockReader) count() {
	if r.nodes++; r.nodes > r.t.limits.Nodes {
		unusual()
	}
}

func (r *blockReader) enter() {
	r.count()
	if r.depth++; r.depth > r.t.limits.Depth {
		unusual()
	}
}

// dash reports whether the current line starts a list element.
func (r *blockReader) dash() bool {
	return r.text[r.at] == '-' && (r.text[r.at+1] == ' ' || r.text[r.at+1] == '\n')
}

// node reads the block that starts on the current line.
func (r *blockReader) node() (any, *place) {
	if r.dash() {
		return r.sequence(r.indent())
	}
	return r.mapping(r.indent(), r.at)
}

// mapping reads a mapping whose keys stand in column indent, counted from 0; the first starts at offset.
func (r *blockReader) mapping(indent, offset int) (any, *place) {
	r.enter()
	m := make(map[string]any, 4)
	at := r.where(offset, true)
	if at != nil {
		at.fields = map[string]*place{}
	}
	for {
		key, after := r.key(offset)
		if after < 0 {
			unusual()
		}
		if _, twice := m[key]; twice {
			unusual()
		}
		var keyAt Position
		if at != nil {
			keyAt = r.position(offset)
		}
		v, where := r.entry(after, indent, true)
		m[key] = v
		if at != nil {
			where.key = keyAt
			at.fields[key] = where
		}
		if r.eof || r.indent() < indent {
			break
		}
		if r.indent() > indent || r.dash() {
			unusual()
		}
		offset = r.at
	}
	r.depth--
	return m, at
}

// sequence reads a list whose dashes stand in column indent.
func (r *blockReader) sequence(indent int) (any, *place) {
	r.enter()
	list := make([]any, 0, 2)
	at := r.where(r.at, true)
	for !r.eof && r.indent() == indent && r.dash() {
		v, where := r.element(indent)
		list = append(list, v)
		if at != nil {
			at.items = append(at.items, where)
		}
	}
	if !r.eof && r.indent() > indent {
		unusual()
	}
	r.depth--
	return list, at
}

func (r *blockReader) element(indent int) (any, *place) {
	offset := r.at + 1
	for r.text[offset] == ' ' {
		offset++
	}
	if c := r.text[offset]; c != '\n' && c != '#' {
		if _, after := r.key(offset); after >= 0 {
			return r.mapping(offset-r.start, offset)
		}
		if c == '-' && (r.text[offset+1] == ' ' || r.text[offset+1] == '\n') {
			unusual()
		}
	}
	return r.entry(r.at+1, indent, false)
}

// entry reads what follows a key or a dash in column indent, from offset on, and goes on to the line after it.
func (r *blockReader) entry(offset, indent int, keyed bool) (v any, at *place) {
	for r.text[offset] == ' ' {
		offset++
	}
	if c := r.text[offset]; c == '\n' || c == '#' {
		r.next()
		switch {
		case !r.eof && r.indent() > indent:
			return r.node()
		case !r.eof && keyed && r.indent() == indent && r.dash():
			return r.sequence(indent)
		}
		r.count()
		if r.places {
			at = &place{}
		}
		return nil, at
	}
	at = r.where(offset, false)
	switch r.text[offset] {
	case '|':
		r.count()
		v = r.literal(offset, indent)
	case '[', '{':
		v, at, offset = r.flow(offset)
		r.lineEnd(offset)
	case '"', '\'':
		r.count()
		v, offset = r.quoted(offset)
		r.lineEnd(offset)
	default:
		r.count()
		v = r.plain(offset)
	}
	r.next()
	if !r.eof && r.indent() > indent {
		unusual() // a value of several lines, or a mistake
	}
	return v, at
}

// lineEnd wants nothing but spaces and a comment from offset on.
func (r *blockReader) lineEnd(offset int) {
	start := offset
	for r.text[offset] == ' ' {
		offset++
	}
	if c := r.text[offset]; c != '\n' && (c != '#' || offset == start) {
		unusual()
	}
}

// keyByte are the bytes of keys without quotes.
var keyByte = func() (set [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-" {
		set[c] = true
	}
	return set
}()

// maxKey is well below the 1024 bytes after which YAML wants a key to be announced with "?".
const maxKey = 256

// key reads the key at offset and says where its value may start: behind the colon. After is -1 where no key of a usual
// form stands there.
func (r *blockReader) key(offset int) (key string, after int) {
	switch c := r.text[offset]; {
	case c == '"' || c == '\'':
		key, after = r.quoted(offset)
		if after-offset > maxKey {
			return "", -1
		}
	case c == '-' || !keyByte[c]:
		return "", -1
	default:
		after = offset
		for keyByte[r.text[after]] {
			after++
		}
		key = r.text[offset:after]
		if r.text[after] != ':' || len(key) > maxKey {
			return "", -1
		}
		if v, err := plain(key); err != nil || v != any(key) {
			unusual() // a key that is no text in YAML
		}
	}
	if r.text[after] != ':' || r.text[after+1] != ' ' && r.text[after+1] != '\n' {
		return "", -1
	}
	return key, after + 1
}

// quoted reads a string in quotes that ends on its line, and says where it ended.
func (r *blockReader) quoted(offset int) (string, int) {
	quote := r.text[offset]
	from := offset + 1
	escapes := false
	for i := from; i < r.end; i++ {
		switch c := r.text[i]; {
		case c == '\t':
			unusual()
		case c == '\\' && quote == '"':
			escapes = true
			i++
		case c == quote && quote == '\'' && r.text[i+1] == '\'':
			escapes = true
			i++
		case c == quote:
			body := r.text[from:i]
			if escapes {
				body = unescape(body, quote)
			}
			return body, i + 1
		}
	}
	unusual()
	return "", 0
}

func unescape(body string, quote byte) string {
	if quote == '\'' {
		return strings.ReplaceAll(body, "''", "'")
	}
	var b strings.Builder
	b.Grow(len(body))
	for i := 0; i < len(body); i++ {
		c := body[i]
		if c == '\\' {
			i++
			switch body[i] {
			case '"', '\\':
				c = body[i]
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			default:
				unusual()
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// plain reads a scalar without quotes that ends on its line.
func (r *blockReader) plain(offset int) any {
	switch c := r.text[offset]; c {
	case '?', ':', ',', ']', '}', '&', '*', '!', '>', '%', '@', '`', '\t':
		unusual()
	case '-':
		if n := r.text[offset+1]; n == ' ' || n == '\n' || n == '\t' {
			unusual()
		}
	}
	end := offset
	for ; end < r.end; end++ {
		switch r.text[end] {
		case ':':
			if n := r.text[end+1]; n == ' ' || n == '\n' {
				unusual()
			}
		case '\t':
			unusual()
		case '#':
			if r.text[end-1] == ' ' {
				return r.resolve(r.text[offset:end])
			}
		}
	}
	return r.resolve(r.text[offset:end])
}

func (r *blockReader) resolve(text string) any {
	v, err := plain(strings.TrimRight(text, " "))
	if err != nil {
		unusual()
	}
	return v
}
