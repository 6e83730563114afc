package exported

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Problem is a value that is not what its place wants.
type Problem struct {
	// Path leads to the value from the root of its document, as [proviso.dev/proviso/engine/decode.Document.Position] takes it.
	Path []any
	Err  error
}

// Object reads the fields of one object and notes what is mistyped. A field that is null reads as one that is absent. All
// objects reached from one [Read] share one list of problems.
type Object struct {
	fields   map[string]any
	path     []any
	problems *[]Problem
}

// Read is the reader of the object at path of a document.
func Read(fields map[string]any, path ...any) Object {
	return Object{fields: fields, path: path, problems: new([]Problem)}
}

// Problems are what was mistyped so far, in the order it was met.
func (o Object) Problems() []Problem { return *o.problems }

// At is the path of a field.
func (o Object) At(steps ...any) []any { return append(slices.Clone(o.path), steps...) }

// Keys are the names of the fields, sorted.
func (o Object) Keys() []string {
	keys := make([]string, 0, len(o.fields))
	for k := range o.fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Has reports whether a field is there and not null.
func (o Object) Has(key string) bool { return o.fields[key] != nil }

// HasOther reports whether a field is there and not null that is none of those named.
func (o Object) HasOther(than ...string) bool {
	for key, v := range o.fields {
		if v != nil && !slices.Contains(than, key) {
			return true
		}
	}
	return false
}

// Raw is a field's value as it was decoded.
func (o Object) Raw(key string) any { return o.fields[key] }

// Mistyped notes that a field is not what it must be.
func (o Object) Mistyped(key, format string, args ...any) {
	path := o.path
	if key != "" {
		path = o.At(key)
	}
	*o.problems = append(*o.problems, Problem{Path: path, Err: fmt.Errorf(format, args...)})
}

func field[T any](o Object, key, want string) (T, bool) {
	v, there := o.fields[key]
	t, ok := v.(T)
	if there && v != nil && !ok {
		o.Mistyped(key, "read %s: it is %s, want %s", key, name(v), want)
	}
	return t, ok
}

func name(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case string:
		return "a text"
	case []any:
		return "a list"
	}
	return "an object"
}

// Text is a field that is a text and not empty.
func (o Object) Text(key string) (string, bool) {
	t, ok := field[string](o, key, "a text")
	return t, ok && t != ""
}

// Bool is a field that is true or false.
func (o Object) Bool(key string) (bool, bool) { return field[bool](o, key, "true or false") }

// Int is a field that is a whole number, or one written as a text, as Google's APIs write 64-bit numbers.
func (o Object) Int(key string) (int64, bool) {
	switch v := o.fields[key].(type) {
	case nil:
		return 0, false
	case int64:
		return v, true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), true
		}
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, true
		}
	}
	o.Mistyped(key, "read %s: it is no whole number", key)
	return 0, false
}

// Time is a field that is an instant, as RFC 3339 in UTC. Instants are texts, and numbers of seconds since 1970 as the
// AWS tools write them where they are told to.
func (o Object) Time(key string) (string, bool) {
	switch v := o.fields[key].(type) {
	case nil:
		return "", false
	case int64:
		return time.Unix(v, 0).UTC().Format(time.RFC3339), true
	case float64:
		if math.Abs(v) < 1<<53 {
			return time.Unix(int64(math.Floor(v)), 0).UTC().Format(time.RFC3339), true
		}
	case string:
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02"} {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UTC().Format(time.RFC3339), true
			}
		}
	}
	o.Mistyped(key, "read %s: it is no time (want RFC 3339)", key)
	return "", false
}

// In is a field that is an object; one that is absent reads as empty.
func (o Object) In(key string) Object {
	m, _ := field[map[string]any](o, key, "an object")
	return Object{fields: m, path: o.At(key), problems: o.problems}
}

// Objects is a field that is a list of objects.
func (o Object) Objects(key string) ([]Object, bool) {
	list, ok := field[[]any](o, key, "a list")
	if !ok {
		return nil, false
	}
	out := make([]Object, 0, len(list))
	for i, v := range list {
		m, isObject := v.(map[string]any)
		if !isObject {
			*o.problems = append(*o.problems, Problem{Path: o.At(key, i), Err: fmt.Errorf("read %s: an element is %s, want an object", key, name(v))})
			return nil, false
		}
		out = append(out, Object{fields: m, path: o.At(key, i), problems: o.problems})
	}
	return out, true
}

// Texts is a field that is a list of texts.
func (o Object) Texts(key string) ([]string, bool) {
	list, ok := field[[]any](o, key, "a list")
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for i, v := range list {
		t, isText := v.(string)
		if !isText {
			*o.problems = append(*o.problems, Problem{Path: o.At(key, i), Err: fmt.Errorf("read %s: an element is %s, want a text", key, name(v))})
			return nil, false
		}
		out = append(out, t)
	}
	return out, true
}

// Labels is a field that is a map of texts, as tags and labels are written; nil where it is absent.
func (o Object) Labels(key string) map[string]any {
	m := o.In(key)
	if !o.Has(key) {
		return nil
	}
	labels := map[string]any{}
	for _, k := range m.Keys() {
		if v, isText := field[string](m, k, "a text"); isText {
			labels[k] = v
		}
	}
	return labels
}

// Last is what follows the last slash of a resource's name.
func Last(resource string) string { return resource[strings.LastIndexByte(resource, '/')+1:] }

// Between is the segment of a resource's name that follows the one called before, whatever its case: the
// subscription in "/subscriptions/1/resourceGroups/g"; empty where there is none.
func Between(resource, before string) string {
	segments := strings.Split(resource, "/")
	for i, s := range segments[:len(segments)-1] {
		if strings.EqualFold(s, before) {
			return segments[i+1]
		}
	}
	return ""
}
