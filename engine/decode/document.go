// Package decode is the one reader of YAML and JSON: everything Proviso is given, manifests, policies, profiles and
// backups, goes through it, so that no two parts of Proviso read the same bytes differently. It yields the values that
// the API server gets when kubectl sends the same file, each with its place, and refuses whatever other readers are
// known to understand differently: duplicate keys, trailing bytes, keys that differ only in case, numbers JSON has not.
//
// It never touches a file or the network by itself. Start at [Documents] and [Document.Into].
package decode

import (
	"io"
	"iter"
	"strings"
	"sync"
)

// Limits bound what one document may cost. A field that is zero or less stands for its default.
type Limits struct {
	// Bytes is the longest document, DefaultBytes where unset. The number of documents in a stream is not bounded: they
	// are read one by one.
	Bytes int
	// Depth is how many objects and lists may be nested in each other, DefaultDepth where unset.
	Depth int
	// Nodes is how many values a document may hold once its aliases are expanded, DefaultNodes where unset.
	Nodes int
}

// The default limits. The API server takes 3 MiB at a time and nests to 10,000; the deepest objects in the field, custom
// resource definitions, nest to about 60. The room above is for lists as kubectl get prints them.
const (
	DefaultBytes = 16 << 20
	DefaultDepth = 256
	DefaultNodes = 1_000_000
)

func (l Limits) orDefault() Limits {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Nodes <= 0 {
		l.Nodes = DefaultNodes
	}
	return l
}

// Position is a place in a file. Line counts from 1 and ends at a line feed; Column counts Unicode code points from 1.
type Position struct{ Line, Column int }

// Document is one decoded document. It may be used by many goroutines.
type Document struct {
	Text
	// Value is made of nil, bool, int64, float64, string, []any and map[string]any. Its strings share memory with Raw.
	Value any
	// Start is the place of the document's first key, element or scalar, past comments.
	Start Position

	once sync.Once
	root *place
}

// Documents reads the documents of a stream of YAML or JSON one by one; name is the file name that errors carry. What
// cannot be read is yielded as an *[Error], and reading goes on with the next document. Documents that hold nothing,
// only comments, or null are skipped, as kubectl does.
func Documents(r io.Reader, name string, limits Limits) iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		for text, err := range Texts(r, name, limits) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			d, err := text.Decode()
			if err == nil && d.Value == nil {
				continue
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// One reads a stream that must hold exactly one document, as a configuration file does.
func One(r io.Reader, name string, limits Limits) (*Document, error) {
	var only *Document
	for d, err := range Documents(r, name, limits) {
		if err != nil {
			return nil, err
		}
		if only != nil {
			return nil, failf(name, d.Start, "read a second document, want one (give each its own file)")
		}
		only = d
	}
	if only == nil {
		return nil, failf(name, Position{1, 1}, "read no document, want one (the file is empty or holds only comments)")
	}
	return only, nil
}

// Decode parses the text. Its errors are of type *[Error]. An empty text and one of comments only decode to a nil Value.
func (t Text) Decode() (*Document, error) {
	v, _, start, err := t.parse(false)
	if err != nil {
		return nil, err
	}
	return &Document{Text: t, Value: v, Start: start}, nil
}

// parse reads the text: as JSON where it is JSON, else as YAML. Places are made where wanted.
func (t Text) parse(places bool) (any, *place, Position, error) {
	text := t.Raw
	if t.ended != "" {
		text = t.ended
	}
	first := strings.TrimLeft(text, " \t\r\n")
	if t.isJSON || strings.HasPrefix(first, "[") && isJSON([]byte(first)) {
		return t.json(text, places)
	}
	if v, root, start, ok := t.block(text, places); ok {
		return v, root, start, nil
	}
	v, root, start, err := t.yaml(text, places)
	if err != nil && looksJSON(first) {
		// It is no JSON and no YAML either; what is wrong with the JSON tells more.
		if _, _, _, jsonErr := t.json(text, false); jsonErr != nil {
			err = jsonErr
		}
	}
	return v, root, start, err
}

// looksJSON reports whether text was meant as JSON: a brace, and then a double quote.
func looksJSON(text string) bool {
	rest, ok := strings.CutPrefix(text, "{")
	return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), `"`)
}

// Position is the place of the value at path: string keys and int indices, as in Position("spec", "rules", 0, "name").
// For a scalar it is where the value stands; for an object or list, where its key stands, so that a caret points at a
// word; for an element of a list, where the element begins. Where the path leads nowhere it is the place of the nearest
// ancestor that is there.
func (d *Document) Position(path ...any) Position {
	// Places are made when first asked for: most documents are never complained about.
	d.once.Do(func() { _, d.root, _, _ = d.parse(true) })
	if d.root == nil {
		return d.Start
	}
	at, where := d.root, d.root.position()
	for _, step := range path {
		var next *place
		switch step := step.(type) {
		case string:
			next = at.fields[step]
		case int:
			if step >= 0 && step < len(at.items) {
				next = at.items[step]
			}
		}
		if next == nil {
			break
		}
		at = next
		if p := at.position(); p.Line > 0 { // an empty element stands nowhere
			where = p
		}
	}
	return where
}

// Key is the place of the key that path ends in, or what Position gives where it ends in no key that is there.
func (d *Document) Key(path ...any) Position {
	where := d.Position(path...)
	at := d.root
	for _, step := range path {
		if at == nil {
			return where
		}
		switch step := step.(type) {
		case string:
			at = at.fields[step]
		case int:
			if step < 0 || step >= len(at.items) {
				return where
			}
			at = at.items[step]
		}
	}
	if at != nil && at.key.Line > 0 {
		return at.key
	}
	return where
}

// Lines are the file's lines first to last, counted from 1 and both included, as far as they belong to the document.
// They carry no line ends.
func (t Text) Lines(first, last int) []string {
	var lines []string
	rest := t.Raw
	for line := t.Line; line <= last && rest != ""; line++ {
		text, after, _ := strings.Cut(rest, "\n")
		if line >= first {
			lines = append(lines, strings.TrimSuffix(text, "\r"))
		}
		rest = after
	}
	return lines
}

// place is where a value stands in its file, and where what is in it stands. One is made for each value of a document
// whose places were asked for, and for no other.
type place struct {
	key, value Position
	fields     map[string]*place
	items      []*place
	collection bool
}

func (p *place) position() Position {
	if p.collection && p.key.Line > 0 || p.value.Line == 0 {
		return p.key
	}
	return p.value
}
