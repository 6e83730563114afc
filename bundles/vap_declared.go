package bundles

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
)

// declared writes what requires and optional demand as two expressions, each a list of texts: of what stands there and
// cannot be read, and of what is required and absent. A list is empty where all is well; "" is where there is nothing to ask.
func (e *export) declared() (doubtful, missing string) {
	var doubts, gaps []string
	for _, required := range []bool{true, false} {
		paths := e.Optional
		if required {
			paths = e.Requires
		}
		for _, text := range slices.Sorted(maps.Keys(paths)) {
			root, rest := e.name("object"), text
			for _, r := range []string{"old", "user"} {
				if after, ok := strings.CutPrefix(text, r+"."); ok {
					root, rest = e.name(r), after
				}
			}
			path, err := engine.ParsePath(rest)
			if err != nil {
				continue // engine.NewSet refuses such a policy
			}
			w := &walker{typ: paths[text], required: required}
			doubts = append(doubts, fmt.Sprintf("(%s ? [] : [%s])", w.stands(root, path, true, 0),
				strconv.Quote(fmt.Sprintf("%s cannot be read: want %s, its keys in the declared case", text, paths[text]))))
			if required {
				gaps = append(gaps, fmt.Sprintf("(%s ? [] : [%s])", w.there(root, path, 0), strconv.Quote(text+" is missing")))
			}
		}
	}
	for _, at := range labelled {
		for _, name := range slices.Sorted(maps.Keys(e.Params)) {
			label, _ := e.Params[name].(string)
			if !strings.HasSuffix(name, "Label") || label == "" {
				continue
			}
			doubts = append(doubts, fmt.Sprintf("(%s ? [] : [%s])", exact(e.name("object"), at, label),
				strconv.Quote(fmt.Sprintf("a label of %s differs only in case from %s", at, label))))
		}
	}
	return strings.Join(doubts, "\n+ "), strings.Join(gaps, "\n+ ")
}

// labelled are the places of labels that policies judge by, as in package engine.
var labelled = []engine.Path{{{Key: "metadata"}, {Key: "labels"}}, {{Key: "spec"}, {Key: "template"}, {Key: "metadata"}, {Key: "labels"}}}

// name is what a part of our document is called in the API server.
func (e *export) name(part string) string {
	if e.renamed[part] {
		e.used[part] = true
		return "variables." + part
	}
	return part
}

// walker writes what is asked of one declared path.
type walker struct {
	typ      engine.Type
	required bool
}

// stands writes whether what stands on the path under v, which is there, can be read. Sure says that v is an object.
func (w *walker) stands(v string, path engine.Path, sure bool, depth int) string {
	null := ""
	if !w.required {
		null = v + " == null || "
	}
	if len(path) == 0 {
		return "(" + null + w.typed(v) + ")"
	}
	step, next := path[0], ""
	switch step.Kind {
	case engine.EachStep:
		each := fmt.Sprintf("e%d", depth)
		next = fmt.Sprintf("type(%s) == list && %s.all(%s, %s)", v, v, each, w.stands(each, path[1:], false, depth+1))
	case engine.IndexStep:
		next = fmt.Sprintf("type(%s) == list && (%s.size() <= %d || %s)", v, v, step.Index, w.stands(fmt.Sprintf("%s[%d]", v, step.Index), path[1:], false, depth))
	default:
		key := strconv.Quote(step.Key)
		next = fmt.Sprintf("(!(%s in %s) || %s)", key, v, w.stands(member(v, step.Key), path[1:], false, depth))
		// The API server does not take a key in another case for this one; other readers do.
		next = fmt.Sprintf("!%s.exists(k%d, k%d != %s && k%d.lowerAscii() == %s) && %s", v, depth, depth, key, depth, strconv.Quote(strings.ToLower(step.Key)), next)
		if sure {
			return next
		}
		next = fmt.Sprintf("type(%s) == map && %s", v, next)
	}
	if null == "" {
		return "(" + next + ")"
	}
	return "(" + null + next + ")"
}

// there writes whether nothing is absent on the path under v, of which all that stands there can be read.
func (w *walker) there(v string, path engine.Path, depth int) string {
	if len(path) == 0 {
		return "true"
	}
	switch step := path[0]; step.Kind {
	case engine.EachStep:
		each := fmt.Sprintf("e%d", depth)
		return fmt.Sprintf("%s.all(%s, %s)", v, each, w.there(each, path[1:], depth+1))
	case engine.IndexStep:
		return fmt.Sprintf("%s.size() > %d && %s", v, step.Index, w.there(fmt.Sprintf("%s[%d]", v, step.Index), path[1:], depth))
	default:
		in := fmt.Sprintf("%q in %s", step.Key, v)
		if len(path) == 1 {
			return in
		}
		return in + " && " + w.there(member(v, step.Key), path[1:], depth)
	}
}

// The grammars of engine.Duration and engine.Quantity.
const (
	durationText = `^[+-]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	quantityText = `^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]+)?$`
)

// typed writes whether v has the declared type; a required text is not empty.
func (w *walker) typed(v string) string {
	is := func(t string) string { return fmt.Sprintf("type(%s) == %s", v, t) }
	number := "(" + is("int") + " || " + is("double") + ")"
	matches := func(pattern string) string {
		return fmt.Sprintf("%s && string(%s).matches(%s)", is("string"), v, strconv.Quote(pattern))
	}
	switch w.typ {
	case engine.String:
		if w.required {
			return is("string") + " && " + v + ` != ""`
		}
		return is("string")
	case engine.Int:
		return is("int")
	case engine.Number:
		return number
	case engine.Bool:
		return is("bool")
	case engine.Object:
		return is("map")
	case engine.Array:
		return is("list")
	case engine.Duration:
		return matches(durationText)
	}
	return number + " || " + matches(quantityText)
}

// exact writes whether no label at the place differs only in case from the one that decides.
func exact(v string, at engine.Path, label string) string {
	if len(at) == 0 {
		return fmt.Sprintf("type(%s) != map || !%s.exists(k, k != %q && k.lowerAscii() == %q)", v, v, label, strings.ToLower(label))
	}
	return fmt.Sprintf("type(%s) != map || !(%q in %s) || %s", v, at[0].Key, v, exact(member(v, at[0].Key), at[1:], label))
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// member writes a key of v.
func member(v, key string) string {
	if plainKey.MatchString(key) && !slices.Contains([]string{"in", "true", "false", "null"}, key) {
		return v + "." + key
	}
	return fmt.Sprintf("%s[%q]", v, key)
}

// changed writes whether an update changes anything that can be to blame. Velero writes its own objects' status all the
// time, and nobody may be kept from that: only a policy that is strict about updates and reads the status is asked about
// it. A strict one is asked about any other change, too.
func (e *export) changed() string {
	apart := []string{"metadata", "status"}
	sections := map[string]bool{}
	for _, paths := range []map[string]engine.Type{e.Requires, e.Optional} {
		for text := range paths {
			if strings.HasPrefix(text, "user.") {
				continue
			}
			path, err := engine.ParsePath(strings.TrimPrefix(text, "old."))
			if err != nil {
				continue // engine.NewSet refuses such a policy
			}
			if path[0].Key == "status" {
				apart = apart[:1]
			}
			sections[sectionOf(path)] = true
		}
	}
	for name := range e.Params {
		if strings.HasSuffix(name, "Label") {
			for _, path := range labelled {
				sections[sectionOf(path)] = true
			}
		}
	}
	terms := []string{`request.operation != "UPDATE"`}
	if !e.StrictUpdate {
		delete(sections, optional("status"))
		for _, s := range slices.Sorted(maps.Keys(sections)) {
			terms = append(terms, fmt.Sprintf("object%s != oldObject%s", s, s))
		}
		return strings.Join(terms, "\n|| ")
	}
	differs := func(new, old string, apart []string) {
		list := `["` + strings.Join(apart, `", "`) + `"]`
		terms = append(terms, fmt.Sprintf("%s.exists(k, !(k in %s) && (!(k in %s) || %s[k] != %s[k]))", new, list, old, new, old),
			fmt.Sprintf("%s.exists(k, !(k in %s) && !(k in %s))", old, list, new))
	}
	differs("object", "oldObject", apart)
	differs("object.metadata", "oldObject.metadata", []string{"managedFields", "resourceVersion", "generation", "finalizers"})
	terms = append(terms, `object.metadata.?finalizers.orValue([]).exists(f, !(f in oldObject.metadata.?finalizers.orValue([])))`)
	return strings.Join(terms, "\n|| ")
}

// sectionOf is the part of an object that a path lies in, as a step from the object.
func sectionOf(path engine.Path) string {
	if path[0].Key == "metadata" && len(path) > 1 && path[1].Kind == engine.KeyStep {
		return optional(path[0].Key) + optional(path[1].Key)
	}
	return optional(path[0].Key)
}

func optional(key string) string {
	if plainKey.MatchString(key) {
		return ".?" + key
	}
	return fmt.Sprintf("[?%q]", key)
}

// literal writes a parameter's value. A literal of the API server's CEL holds values of one type, so mixed ones are dyn.
func literal(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool, int64, int:
		return fmt.Sprint(v), nil
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return text, nil
	case string:
		return strconv.Quote(v), nil
	case []any:
		return elements("[", "]", v, nil)
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		values := make([]any, len(keys))
		for i, k := range keys {
			values[i] = v[k]
		}
		return elements("{", "}", values, keys)
	}
	return "", fmt.Errorf("a parameter holds a %T, which CEL has no literal for", v)
}

func elements(open, end string, values []any, keys []string) (string, error) {
	mixed := false
	for _, v := range values {
		_, text := v.(string)
		mixed = mixed || !text
	}
	parts := make([]string, len(values))
	for i, v := range values {
		text, err := literal(v)
		if err != nil {
			return "", err
		}
		if mixed {
			text = "dyn(" + text + ")"
		}
		if keys != nil {
			text = strconv.Quote(keys[i]) + ": " + text
		}
		parts[i] = text
	}
	return open + strings.Join(parts, ", ") + end, nil
}
