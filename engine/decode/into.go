package decode

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Into fills out, a pointer to one of our own kinds: a struct whose fields carry json tags. It is strict: a key that no
// field has, a key that differs from a field's only in case, and a value of the wrong type are errors, and all of them
// are reported, joined, each as an *[Error] at its place. What is absent leaves its field as it was. A type that
// implements encoding.TextUnmarshaler is filled from text; json.Unmarshaler, from the value's JSON.
func (d *Document) Into(out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode %s: want a pointer to fill, have %T", d.File, out)
	}
	f := &filler{d: d}
	f.fill(target.Elem(), d.Value)
	return errors.Join(f.errs...)
}

type filler struct {
	d    *Document
	path []any
	errs []error
}

func (f *filler) fail(where Position, format string, args ...any) {
	f.errs = append(f.errs, failf(f.d.File, where, format, args...))
}

// name is the current path for people, "the document" at its root.
func (f *filler) name() string {
	if len(f.path) == 0 {
		return "the document"
	}
	var b strings.Builder
	for i, step := range f.path {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step) + "]")
		case string:
			switch {
			case step == "" || strings.ContainsAny(step, `.[]"\ `):
				b.WriteString("[" + strconv.Quote(step) + "]")
			case i > 0:
				b.WriteString("." + step)
			default:
				b.WriteString(step)
			}
		}
	}
	return b.String()
}

func (f *filler) mistyped(want string, v any) {
	f.fail(f.d.Position(f.path...), "%s holds %s, want %s", f.name(), describe(v), want)
}

func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("the text %.40q", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	}
	return fmt.Sprintf("the number %v", v)
}

func (f *filler) fill(out reflect.Value, v any) {
	if v == nil {
		// A key with nothing behind it is taken for an absent one, as Kubernetes does.
		return
	}
	if out.Kind() == reflect.Pointer {
		if out.IsNil() {
			out.Set(reflect.New(out.Type().Elem()))
		}
		f.fill(out.Elem(), v)
		return
	}
	if out.CanAddr() && f.custom(out.Addr().Interface(), v) {
		return
	}
	switch out.Kind() {
	case reflect.Interface:
		if out.NumMethod() > 0 {
			f.fail(f.d.Position(f.path...), "%s cannot be filled: %s is an interface", f.name(), out.Type())
			return
		}
		out.Set(reflect.ValueOf(v))
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			f.object(out, m)
		} else {
			f.mistyped("an object", v)
		}
	case reflect.Map:
		f.dictionary(out, v)
	case reflect.Slice:
		f.list(out, v)
	default:
		f.scalar(out, v)
	}
}

// custom lets a type that reads itself do so.
func (f *filler) custom(out, v any) bool {
	var err error
	switch out := out.(type) {
	case json.Unmarshaler:
		var text []byte
		if text, err = json.Marshal(v); err == nil {
			err = out.UnmarshalJSON(text)
		}
	case encoding.TextUnmarshaler:
		s, ok := v.(string)
		if !ok {
			f.mistyped("text", v)
			return true
		}
		err = out.UnmarshalText([]byte(s))
	default:
		return false
	}
	if err != nil {
		f.fail(f.d.Position(f.path...), "%s cannot be read: %w", f.name(), err)
	}
	return true
}

func (f *filler) scalar(out reflect.Value, v any) {
	switch out.Kind() {
	case reflect.String:
		if s, ok := v.(string); ok {
			out.SetString(s)
		} else {
			f.mistyped("text (quote it)", v)
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			out.SetBool(b)
		} else {
			f.mistyped("true or false", v)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, ok := v.(int64); ok && !out.OverflowInt(n) {
			out.SetInt(n)
		} else {
			f.mistyped("a whole number", v)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, ok := v.(int64); ok && n >= 0 && !out.OverflowUint(uint64(n)) {
			out.SetUint(uint64(n))
		} else {
			f.mistyped("a whole number from 0 up", v)
		}
	case reflect.Float32, reflect.Float64:
		switch n := v.(type) {
		case int64:
			out.SetFloat(float64(n))
		case float64:
			if out.Kind() == reflect.Float32 && math.Abs(n) > math.MaxFloat32 {
				f.mistyped("a smaller number", v)
				return
			}
			out.SetFloat(n)
		default:
			f.mistyped("a number", v)
		}
	default:
		f.fail(f.d.Position(f.path...), "%s cannot be filled: its type %s is not supported", f.name(), out.Type())
	}
}

func (f *filler) dictionary(out reflect.Value, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		f.mistyped("an object", v)
		return
	}
	if out.Type().Key().Kind() != reflect.String {
		f.fail(f.d.Position(f.path...), "%s cannot be filled: the keys of %s are no text", f.name(), out.Type())
		return
	}
	filled := reflect.MakeMapWithSize(out.Type(), len(m))
	for _, key := range sortedKeys(m) {
		element := reflect.New(out.Type().Elem()).Elem()
		f.path = append(f.path, key)
		f.fill(element, m[key])
		f.path = f.path[:len(f.path)-1]
		filled.SetMapIndex(reflect.ValueOf(key).Convert(out.Type().Key()), element)
	}
	out.Set(filled)
}

func (f *filler) list(out reflect.Value, v any) {
	list, ok := v.([]any)
	if !ok {
		f.mistyped("a list", v)
		return
	}
	filled := reflect.MakeSlice(out.Type(), len(list), len(list))
	for i, e := range list {
		f.path = append(f.path, i)
		f.fill(filled.Index(i), e)
		f.path = f.path[:len(f.path)-1]
	}
	out.Set(filled)
}

func (f *filler) object(out reflect.Value, m map[string]any) {
	fields := map[string]reflect.Value{}
	fieldsOf(out, fields)
	for _, key := range sortedKeys(m) {
		f.path = append(f.path, key)
		if field, ok := fields[key]; ok {
			f.fill(field, m[key])
		} else {
			f.unknown(key, fields)
		}
		f.path = f.path[:len(f.path)-1]
	}
}

// fieldsOf collects the fields of a struct by the keys encoding/json gives them; embedded structs lend theirs.
func fieldsOf(out reflect.Value, fields map[string]reflect.Value) {
	for i := range out.NumField() {
		field := out.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct:
			fieldsOf(out.Field(i), fields)
		case !field.IsExported():
		case name != "":
			fields[name] = out.Field(i)
		default:
			fields[field.Name] = out.Field(i)
		}
	}
}

func (f *filler) unknown(key string, fields map[string]reflect.Value) {
	at, name := f.d.Key(f.path...), f.name()
	names := make([]string, 0, len(fields))
	for n := range fields {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if strings.EqualFold(n, key) {
			f.fail(at, "%s differs only in case from %s (write %s)", name, n, n)
			return
		}
	}
	if near := Nearest(key, names); near != "" {
		f.fail(at, "%s is no known key (did you mean %s?)", name, near)
		return
	}
	f.fail(at, "%s is no known key (want one of %s)", name, strings.Join(names, ", "))
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
