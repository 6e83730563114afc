package test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// twin is one policy in both languages. Their decisions must be equal on every subject, for ever.
type twin struct {
	name      string
	policy    *bundles.Folder
	rego, cel *engine.Set
	files     map[string][]byte
}

func twins(t *testing.T) []twin {
	t.Helper()
	archives, err := filepath.Glob("twins/*.txtar")
	if err != nil || len(archives) < 8 {
		t.Fatalf("found %d twins, %v; want at least eight", len(archives), err)
	}
	var all []twin
	for _, file := range archives {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tw := twin{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), files: map[string][]byte{}}
		for _, f := range archive.Files {
			tw.files[f.Name] = f.Data
		}
		pkg, _, _ := strings.Cut(strings.TrimPrefix(string(tw.files["policy.rego"]), "package "), "\n")
		dir := strings.NewReplacer(".", "/", "_", "-").Replace(pkg)
		for language, set := range map[string]**engine.Set{"rego": &tw.rego, "cel": &tw.cel} {
			cat, err := bundles.Read(nil, bundles.Source{Name: file, FS: fstest.MapFS{
				dir + "/policy.yaml":        {Data: tw.files["policy.yaml"]},
				dir + "/policy." + language: {Data: tw.files["policy."+language]},
			}})
			if err != nil {
				t.Fatal(err)
			}
			tw.policy = cat.Folders[0]
			if *set, err = engine.NewSet([]engine.Policy{tw.policy.Policy}); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, tw)
	}
	return all
}

func (tw twin) subjects(t *testing.T, file string) []engine.Subject {
	t.Helper()
	var list []engine.Subject
	for doc, err := range decode.Documents(bytes.NewReader(tw.files[file]), file, decode.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, subjectOf(doc.Value.(map[string]any)))
	}
	return list
}

func subjectOf(object map[string]any) engine.Subject {
	text := func(v any) string { s, _ := v.(string); return s }
	meta, _ := object["metadata"].(map[string]any)
	return engine.Subject{APIVersion: text(object["apiVersion"]), Kind: text(object["kind"]), Name: text(meta["name"]), Namespace: text(meta["namespace"]), Object: object}
}

// variants are a subject as it is, with each declared path gone, null, empty or of another type, with nothing at all,
// and for every operation.
func (tw twin) variants(sub engine.Subject, old map[string]any) map[string]engine.Subject {
	all := map[string]engine.Subject{"as it is": sub}
	for _, declared := range []map[string]engine.Type{tw.policy.Requires, tw.policy.Optional} {
		for text := range declared {
			path, err := engine.ParsePath(text)
			if err != nil {
				continue
			}
			for what, value := range map[string]any{"gone": nil, "empty": "", "a number": int64(7), "a fraction": 1.5, "a list": []any{}, "an object": map[string]any{}, "true": true, "text": "30d"} {
				if object, changed := path.With(sub.Object, value); changed {
					other := sub
					other.Object = object
					all[text+" "+what] = other
				}
			}
		}
	}
	empty := sub
	empty.Object = map[string]any{}
	all["empty"] = empty
	none := sub
	none.Object = nil
	all["nil"] = none
	for what, s := range all {
		for _, op := range []string{engine.Create, engine.Update, engine.Delete} {
			s.Operation = op
			s.User = map[string]any{"username": "ann", "groups": []any{"system:authenticated"}}
			if op == engine.Update {
				s.Old = old
			}
			all[what+" on "+op] = s
		}
	}
	return all
}

// namespaces answer the twins' facts: two are there, one is proved absent, of others nobody knows.
type namespaces struct{}

func (namespaces) Fact(_ context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	switch q.Name {
	case "restricted":
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"class": "restricted"}}}, engine.FactFound, nil
	case "open":
		return map[string]any{"metadata": map[string]any{}}, engine.FactFound, nil
	case "gone":
		return nil, engine.FactAbsent, nil
	}
	return nil, engine.FactUnknown, nil
}

func TestTwins(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tw := range twins(t) {
		t.Run(tw.name, func(t *testing.T) {
			var old map[string]any
			if tw.files["old.yaml"] != nil {
				old = tw.subjects(t, "old.yaml")[0].Object
			}
			judged := map[engine.Verdict]int{}
			for file, want := range map[string]engine.Verdict{"good.yaml": engine.Pass, "bad.yaml": engine.Fail, "unknown.yaml": engine.Unknown} {
				for _, sub := range tw.subjects(t, file) {
					for what, s := range tw.variants(sub, old) {
						r := tw.rego.Judge(context.Background(), s, namespaces{}, now)[0]
						c := tw.cel.Judge(context.Background(), s, namespaces{}, now)[0]
						if r.Verdict != c.Verdict || fmt.Sprint(r.Violations) != fmt.Sprint(c.Violations) {
							t.Errorf("%s, %s:\n rego %v %v %s\n cel  %v %v %s", file, what, r.Verdict, r.Violations, r.Reason, c.Verdict, c.Violations, c.Reason)
						}
						if ownWords := tw.name == "cannot-tell" || r.Cause != engine.CauseError; ownWords && r.Reason != c.Reason {
							t.Errorf("%s, %s:\n rego %s\n cel  %s", file, what, r.Reason, c.Reason)
						}
						judged[r.Verdict]++
						whole := what == "as it is" || what == "as it is on UPDATE"
						if ops := tw.policy.Match[0].Operations; whole && slices.Contains(ops, engine.Create) == (what == "as it is") && r.Verdict != want {
							t.Errorf("%s, %s: got %v (%s), want %v", file, what, r.Verdict, r.Reason, want)
						}
					}
				}
			}
			for _, v := range []engine.Verdict{engine.Pass, engine.Fail, engine.Unknown} {
				if judged[v] == 0 {
					t.Errorf("no subject was judged %v", v)
				}
			}
		})
	}
}
