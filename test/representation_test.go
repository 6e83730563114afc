package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
	"proviso.dev/proviso/policies"
	"proviso.dev/proviso/webhook"
)

// failing is a subject that fails a built-in policy, with what it takes to judge it again.
type failing struct {
	policy *bundles.Folder
	set    *engine.Set
	facts  engine.FactSource
	object map[string]any
	others []map[string]any // the other objects of the fixture, which answer its facts
	name   string
}

func failingSubjects(t testing.TB) []failing {
	t.Helper()
	cat, err := bundles.Read(nil, bundles.Source{FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	var all []failing
	for _, f := range cat.Folders {
		set, err := engine.NewSet([]engine.Policy{f.Policy})
		if err != nil {
			t.Fatal(err)
		}
		files, err := fs.Glob(policies.FS, f.Dir+"/bad/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := policies.FS.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			facts := manifest.NewFacts([]string{"-"}, []string{"-"}, raw, set.FactKinds())
			in := &manifest.Files{Paths: []string{"-"}, Stdin: raw, Operation: engine.Create}
			var objects []map[string]any
			for sub, err := range in.Inspect(context.Background()) {
				if err == nil {
					objects = append(objects, sub.Object)
				}
			}
			for sub, err := range in.Inspect(context.Background()) {
				if err != nil {
					continue
				}
				others := slices.DeleteFunc(slices.Clone(objects), func(o map[string]any) bool {
					return o["kind"] == sub.Kind && reflect.DeepEqual(o["metadata"], sub.Object["metadata"])
				})
				for _, d := range set.Judge(context.Background(), *sub, facts, fixed) {
					if d.Verdict == engine.Fail {
						all = append(all, failing{f, set, facts, sub.Object, others, fmt.Sprintf("%s: %s", file, sub)})
					}
				}
			}
		}
	}
	if len(all) < 40 {
		t.Fatalf("found %d failing subjects", len(all))
	}
	return all
}

var fixed = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// passes reads text as lint does and says what passed, if anything did.
func (f failing) passes(text string) string {
	in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte(text), Operation: engine.Create, Misspelt: f.set.Misspelt}
	for sub, err := range in.Inspect(context.Background()) {
		if err != nil {
			continue
		}
		for _, d := range f.set.Judge(context.Background(), *sub, f.facts, fixed) {
			if d.Verdict == engine.Pass {
				return sub.String()
			}
		}
	}
	return ""
}

// spot is one key of an object, by the path to it.
type spot struct {
	path  engine.Path
	value any
}

func spots(v any, at engine.Path) []spot {
	var all []spot
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			p := append(at[:len(at):len(at)], engine.Step{Key: k})
			all = append(all, spot{p, v[k]})
			all = append(all, spots(v[k], p)...)
		}
	case []any:
		for i, e := range v {
			all = append(all, spots(e, append(at[:len(at):len(at)], engine.Step{Index: i, Kind: engine.IndexStep}))...)
		}
	}
	return all
}

// rewrite is a copy of object in which the map that holds the spot is changed.
func rewrite(v any, path engine.Path, change func(m map[string]any, key string)) any {
	switch v := v.(type) {
	case map[string]any:
		m := maps.Clone(v)
		if len(path) == 1 {
			change(m, path[0].Key)
		} else {
			m[path[0].Key] = rewrite(v[path[0].Key], path[1:], change)
		}
		return m
	case []any:
		list := slices.Clone(v)
		list[path[0].Index] = rewrite(v[path[0].Index], path[1:], change)
		return list
	}
	return v
}

// otherCases are the key with its letters' case changed.
func otherCases(key string) []string {
	var all []string
	for _, k := range []string{strings.ToUpper(key), strings.ToLower(key), strings.ToUpper(key[:1]) + key[1:]} {
		if k != key && !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

// otherTypes are values that say the same to a reader who is not strict.
func otherTypes(v any) []any {
	switch v := v.(type) {
	case string:
		return []any{[]any{v}, map[string]any{"value": v}, v == "true", int64(len(v))}
	case bool:
		return []any{fmt.Sprint(v), map[bool]int64{true: 1}[v], []any{v}, map[bool]string{true: "yes", false: "no"}[v]}
	case int64, float64:
		return []any{fmt.Sprint(v), []any{v}}
	case []any:
		return []any{map[string]any{"items": v}, "text"}
	case map[string]any:
		return []any{[]any{v}, "text"}
	}
	return nil
}

// mutants are the object with one thing about its representation changed.
func mutants(object map[string]any) map[string]any {
	all := map[string]any{}
	for _, s := range spots(object, nil) {
		at := s.path.String()
		key := s.path[len(s.path)-1].Key
		for _, other := range otherCases(key) {
			all["case of "+at+" to "+other] = rewrite(object, s.path, func(m map[string]any, k string) {
				if _, there := m[other]; !there { // to take another's place would be to change what is said
					m[other] = m[k]
					delete(m, k)
				}
			})
			for what, extra := range map[string]any{"the same": s.value, "true": "true", "a real true": true, "nothing": nil, "false": "false"} {
				all["extra "+other+" beside "+at+" with "+what] = rewrite(object, s.path, func(m map[string]any, _ string) {
					if _, there := m[other]; !there {
						m[other] = extra
					}
				})
			}
		}
		for i, other := range otherTypes(s.value) {
			all[fmt.Sprintf("type of %s to %T (%d)", at, other, i)] = rewrite(object, s.path, func(m map[string]any, k string) { m[k] = other })
		}
		all["extra field beside "+at] = rewrite(object, s.path, func(m map[string]any, _ string) { m["x-extra"] = map[string]any{"a": "b"} })
	}
	return all
}

// ENG-01: from any failing subject, no change of its representation leads to a pass.
func TestNoRepresentationPasses(t *testing.T) {
	n := 0
	for _, f := range failingSubjects(t) {
		for what, object := range mutants(f.object) {
			n++
			if !meaningful(f, what) {
				continue
			}
			if got := f.passes(string(mustJSON(object))); got != "" {
				t.Errorf("%s passes after %s", f.name, what)
			}
		}
		for what, text := range map[string]string{
			"yaml": yamlOf(f.object, false, false), "keys in reverse": yamlOf(f.object, true, false),
			"aliases": yamlOf(f.object, false, true), "a list": `{"apiVersion":"v1","kind":"List","items":[` + string(mustJSON(f.object)) + `]}`,
			"duplicate keys": strings.Replace(string(mustJSON(f.object)), `"metadata":`, `"metadata":{"name":"other"},"metadata":`, 1),
		} {
			n++
			if got := f.passes(text); got != "" {
				t.Errorf("%s passes as %s:\n%s", f.name, what, text)
			}
		}
	}
	t.Logf("%d mutants", n)
}

// The same of what a rule must know around the subject: from a failing subject, no change of how its facts are written
// leads to a pass.
func TestNoRepresentationOfAFactPasses(t *testing.T) {
	n := 0
	for _, f := range failingSubjects(t) {
		if len(f.policy.Facts) == 0 {
			continue
		}
		for i, other := range f.others {
			for what, mutant := range mutants(other) {
				if !meaningful(f, what) || !strings.Contains(what, "metadata") || strings.Contains(what, "metadata.name") {
					continue // labels decide; what else a fact says is not declared by type
				}
				n++
				var text strings.Builder
				for j, o := range f.others {
					if j == i {
						text.Write(mustJSON(mutant))
					} else {
						text.Write(mustJSON(o))
					}
					text.WriteString("\n---\n")
				}
				text.Write(mustJSON(f.object))
				changed := f
				changed.facts = manifest.NewFacts([]string{"-"}, []string{"-"}, []byte(text.String()), f.set.FactKinds())
				if got := changed.passes(string(mustJSON(f.object))); got != "" {
					t.Errorf("%s passes after %s of the fact %v %v", f.name, what, other["kind"], other["metadata"])
				}
			}
		}
	}
	if n == 0 {
		t.Error("no fact was changed")
	}
	t.Logf("%d mutants", n)
}

// Several changes at once, chosen at random.
func TestNoRepresentationPassesInCombination(t *testing.T) {
	all := failingSubjects(t)
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(all).Draw(t, "subject")
		object := f.object
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			choices := mutants(object)
			for what := range choices {
				if !meaningful(f, what) {
					delete(choices, what)
				}
			}
			what := rapid.SampledFrom(slices.Sorted(maps.Keys(choices))).Draw(t, "change")
			object = choices[what].(map[string]any)
		}
		text := yamlOf(object, rapid.Bool().Draw(t, "reverse"), rapid.Bool().Draw(t, "aliases"))
		if got := f.passes(text); got != "" {
			t.Fatalf("%s passes:\n%s", f.name, text)
		}
	})
}

// meaningful leaves out changes that do change what is said, and not only how: labels and annotations are the user's own
// keys, so another case is another label, but for the labels that classify.
func meaningful(f failing, what string) bool {
	if strings.HasPrefix(what, "type of ") {
		return true
	}
	own := strings.Contains(what, "metadata.labels[") || strings.Contains(what, "metadata.labels.") || strings.Contains(what, "metadata.annotations")
	return !own || strings.HasPrefix(what, "case of ") && strings.Contains(what, "proviso.dev/")
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// yamlOf writes a value as YAML in flow style, its keys in order or in reverse, and, with aliases, every scalar that
// occurs again as an alias of the first.
func yamlOf(v any, reverse, aliases bool) string {
	anchors := map[string]string{}
	var write func(b *bytes.Buffer, v any)
	write = func(b *bytes.Buffer, v any) {
		switch v := v.(type) {
		case map[string]any:
			keys := slices.Sorted(maps.Keys(v))
			if reverse {
				slices.Reverse(keys)
			}
			b.WriteString("{")
			for i, k := range keys {
				if i > 0 {
					b.WriteString(", ")
				}
				b.Write(mustJSON(k))
				b.WriteString(": ")
				write(b, v[k])
			}
			b.WriteString("}")
		case []any:
			b.WriteString("[")
			for i, e := range v {
				if i > 0 {
					b.WriteString(", ")
				}
				write(b, e)
			}
			b.WriteString("]")
		default:
			text := string(mustJSON(v))
			if name, ok := anchors[text]; ok && aliases {
				b.WriteString("*" + name + " ")
				return
			}
			if aliases {
				anchors[text] = fmt.Sprintf("a%d", len(anchors))
				text = "&" + anchors[text] + " " + text
			}
			b.WriteString(text)
		}
	}
	var b bytes.Buffer
	b.WriteString("# made by a test\n")
	write(&b, v)
	b.WriteString("\n")
	return b.String()
}

// Whoever makes a text long, in an element that he adds, keeps no policy from saying what is wrong with the others, where the
// webhook lets in what cannot be told. (A Backup is Velero's, and never stopped.)
func TestLongTextsHideNoFailure(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	tried := 0
	for _, f := range failingSubjects(t) {
		sub := engine.Subject{APIVersion: f.object["apiVersion"].(string), Kind: f.object["kind"].(string), Operation: engine.Create}
		if strings.HasPrefix(sub.Group(), "artifact.") || sub.Kind == "Backup" || webhook.SideOf(sub.Group(), sub.Kind, sub.Operation, nil) == webhook.FailClosed {
			continue
		}
		meta, _ := f.object["metadata"].(map[string]any)
		sub.Name, _ = meta["name"].(string)
		sub.Namespace, _ = meta["namespace"].(string)
		for _, s := range spots(f.object, nil) {
			list, ok := s.value.([]any)
			if !ok || len(list) == 0 {
				continue
			}
			judged := func(element any) engine.Decision {
				sub := sub
				sub.Object = rewrite(f.object, s.path, func(m map[string]any, key string) { m[key] = append(slices.Clone(list), element) }).(map[string]any)
				return f.set.Judge(context.Background(), sub, f.facts, fixed)[0]
			}
			added := map[string]func(more string) any{}
			if text, ok := list[0].(string); ok {
				added["itself"] = func(more string) any { return text + more }
			}
			for _, leaf := range spots(list[0], nil) {
				if text, ok := leaf.value.(string); ok {
					added[leaf.path.String()] = func(more string) any {
						return rewrite(list[0], leaf.path, func(m map[string]any, key string) { m[key] = text + more })
					}
				}
			}
			for where, element := range added {
				if judged(element("a")).Verdict != engine.Fail {
					continue
				}
				tried++
				if d := judged(element(long)); d.Verdict != engine.Fail {
					t.Errorf("%s: with one more in %s, of which %s is long: %s: %.200s", f.name, s.path, where, d, d.Reason)
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("tried %d", tried)
	}
}
