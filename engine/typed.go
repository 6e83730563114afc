package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Type is the declared type of a path a rule reads.
type Type string

// The types a policy can declare. Duration is text that Go's time.ParseDuration reads, as Kubernetes' metav1.Duration
// does; Quantity is a number or text in the grammar of Kubernetes' resource.Quantity.
const (
	String   Type = "string"
	Int      Type = "int"
	Number   Type = "number"
	Bool     Type = "bool"
	Object   Type = "object"
	Array    Type = "array"
	Duration Type = "duration"
	Quantity Type = "quantity"
)

// Types lists every Type.
func Types() []Type { return []Type{String, Int, Number, Bool, Object, Array, Duration, Quantity} }

var quantity = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]+)?$`)

// is reports whether a value that is there has type t.
func (t Type) is(v any) bool {
	switch v := v.(type) {
	case string:
		switch t {
		case Duration:
			_, err := time.ParseDuration(v)
			return err == nil
		case Quantity:
			return quantity.MatchString(v)
		}
		return t == String
	case bool:
		return t == Bool
	case int64:
		return t == Int || t == Number || t == Quantity
	case float64:
		return t == Number || t == Quantity
	case map[string]any:
		return t == Object
	case []any:
		return t == Array
	}
	return false
}

func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		if len(v) > 40 {
			v = v[:40] + "…"
		}
		return fmt.Sprintf("the text %q", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	}
	return fmt.Sprintf("a %T", v)
}

// isNull reports whether null is written at the path or on the way to it.
func isNull(root map[string]any, at Path) bool {
	var v any = root
	for _, step := range at {
		switch inner := v.(type) {
		case map[string]any:
			e, there := inner[step.Key]
			if !there {
				return false
			}
			v = e
		case []any:
			if step.Kind != IndexStep || step.Index >= len(inner) {
				return false
			}
			v = inner[step.Index]
		}
		if v == nil {
			return true
		}
	}
	return false
}

// describeSecret says what kind of value it is and nothing of the value: reasons reach every report.
func describeSecret(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	}
	return describe(v)
}

var typeNames = map[Type]string{
	String: "text", Int: "a whole number", Number: "a number", Bool: "true or false", Object: "an object", Array: "a list",
	Duration: "a duration such as 720h0m0s", Quantity: "a quantity such as 10Gi",
}

// declaration is one declared path, parsed once. Root is "object", "old" or "user".
type declaration struct {
	root     string
	path     Path
	text     string
	typ      Type
	required bool
}

// roots are the parts of the document, apart from the object, that a path may start from.
var roots = []string{"old", "user"}

func declarations(p *Policy) ([]declaration, error) {
	var all []declaration
	for required, paths := range map[bool]map[string]Type{true: p.Requires, false: p.Optional} {
		for text, t := range paths {
			if !slices.Contains(Types(), t) {
				return nil, fmt.Errorf("read type of %s: unknown type %q (want one of %v)", text, t, Types())
			}
			d := declaration{root: "object", text: text, typ: t, required: required}
			for _, r := range roots {
				if rest, ok := strings.CutPrefix(text, r+"."); ok {
					d.root, text = r, rest
				}
			}
			path, err := ParsePath(text)
			if err != nil {
				return nil, err
			}
			d.path = path
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b declaration) int { return strings.Compare(a.text, b.text) })
	return all, nil
}

// sound reports whether the declared path can be read, without making the words for why not.
func (d *declaration) sound(p Path, v any) bool {
	if len(p) == 0 {
		if v == nil || v == "" {
			return !d.required && (v == nil || d.typ == String)
		}
		return d.typ.is(v)
	}
	if v == nil {
		return !d.required
	}
	if p[0].Kind == KeyStep {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		for k := range m {
			if len(k) == len(p[0].Key) && k != p[0].Key && strings.EqualFold(k, p[0].Key) {
				return false
			}
		}
		return d.sound(p[1:], m[p[0].Key])
	}
	list, ok := v.([]any)
	if !ok {
		return false
	}
	if p[0].Kind == IndexStep {
		if p[0].Index >= len(list) {
			return !d.required
		}
		return d.sound(p[1:], list[p[0].Index])
	}
	for _, e := range list {
		if !d.sound(p[1:], e) {
			return false
		}
	}
	return true
}

// check says what keeps the declared path from being read, and where; "" where nothing does. Absent is whether it is only
// that nothing stands there: that can be because the policy does not apply. What does stand there and cannot be read leaves
// in doubt whether it does.
func (d *declaration) check(in *Subject) (why, where string, absent bool) {
	root, prefix := in.Object, ""
	switch d.root {
	case "old":
		root, prefix = in.Old, "old."
	case "user":
		root, prefix = in.User, "user."
	}
	if d.sound(d.path, root) {
		return "", "", false
	}
	found := describe
	if in.Kind == "Secret" {
		found = describeSecret
	}
	d.path.Walk(root, func(at Path, v any, there bool) {
		if why != "" {
			return
		}
		if d.root != "user" {
			where = at.String()
		}
		switch {
		case !there && v != nil:
			want := Object
			if d.path[len(at)].Kind != KeyStep {
				want = Array
			}
			why = fmt.Sprintf("%s%s holds %s, want %s", prefix, at, found(v), typeNames[want])
		case !there && d.required:
			why, absent = fmt.Sprintf("%s%s is missing", prefix, d.path), !isNull(root, at)
		case there && d.required && v == "":
			why = fmt.Sprintf("%s%s is empty", prefix, at)
		case there && !d.typ.is(v):
			why = fmt.Sprintf("%s%s holds %s, want %s", prefix, at, found(v), typeNames[d.typ])
		}
	})
	// A misspelt key explains a missing one, and makes one that is there doubtful.
	d.path.misspelt(root, nil, func(m Misspelling) { why, where, absent = prefix+m.Error(), m.Path, false })
	return why, where, absent
}
