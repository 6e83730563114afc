package bundles

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	admission "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/policies"
)

// anywhere serves every kind under a plural made of its name.
func anywhere(_, kind string) (resources, versions []string, ok bool) {
	return []string{strings.ToLower(kind) + "s"}, []string{"v1"}, true
}

func floorOf(t *testing.T, p *Profile, src Source) (*Catalogue, *engine.Set, *Floor) {
	t.Helper()
	cat, err := Read(nil, src)
	if err != nil {
		t.Fatal(err)
	}
	set, err := cat.Select(p, Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	return cat, set, cat.Floor(set, anywhere)
}

// same holds the API server's words against the judge's: let through is a pass or none of its business, denied is a fail
// whose messages are all told, or an unknown.
func same(t *testing.T, set *engine.Set, s *server, sub engine.Subject, what string) engine.Verdict {
	t.Helper()
	id := s.Annotations["proviso.dev/policy"]
	for _, d := range set.Judge(context.Background(), sub, nil, fixtureTime) {
		if d.Policy.ID != id {
			continue
		}
		denied := s.denies(t, sub)
		judged := d.Verdict == engine.Fail || d.Verdict == engine.Unknown
		if judged && d.Standing {
			return d.Verdict // the API server may let it pass or not: it has no memory
		}
		if judged != (len(denied) > 0) {
			t.Errorf("%s: %s: the judge says %s (%s), the API server denies %q", id, what, d.Verdict, d.Reason, denied)
		}
		if d.Cause == engine.CauseField && len(denied) > 1 && strings.HasPrefix(denied[0], id+": ") { // not where its when fails for it
			t.Errorf("%s: %s: one thing cannot be read (%s), and the API server says %q", id, what, d.Reason, denied)
		}
		for _, v := range d.Violations {
			if !strings.Contains(strings.Join(denied, "\n"), v.Message) {
				t.Errorf("%s: %s: the API server does not say %q: %q", id, what, v.Message, denied)
			}
		}
		return d.Verdict
	}
	return engine.NotApplicable
}

// Each exported built-in policy gives the verdicts of the judge on its own fixtures, whole, with each declared field taken
// away or mistyped, and as updates.
func TestFloorAgreesWithJudge(t *testing.T) {
	cat, set, floor := floorOf(t, nil, Source{FS: policies.FS})
	if len(floor.Policies) < 3 || len(floor.Policies)+len(floor.Left) != len(set.Policies()) {
		t.Fatalf("%d exported and %d left of %d policies", len(floor.Policies), len(floor.Left), len(set.Policies()))
	}
	for _, exported := range floor.Policies {
		f, err := cat.Folder(exported.ID)
		if err != nil {
			t.Fatal(err)
		}
		s, seen := newServer(t, exported.Policy), map[engine.Verdict]int{}
		err = fs.WalkDir(policies.FS, f.Dir, func(file string, d fs.DirEntry, err error) error {
			if dir := path.Base(path.Dir(file)); err != nil || dir != "good" && dir != "bad" {
				return err
			}
			raw, err := fs.ReadFile(policies.FS, file)
			if err != nil {
				return err
			}
			for sub, err := range fixtureSubjects(file, raw, set) {
				if err != nil {
					return err
				}
				seen[same(t, set, s, *sub, sub.String())]++
				for _, paths := range []map[string]engine.Type{f.Requires, f.Optional} {
					for text, typ := range paths {
						if sub.Operation == engine.Update && !f.StrictUpdate && strings.HasPrefix(text, "status.") {
							continue // the floor lets status be written
						}
						for _, bent := range bend(*sub, text, typ) {
							seen[same(t, set, s, bent, sub.String()+" with another "+text)]++
						}
					}
				}
				if sub.Operation == engine.Create {
					update := *sub
					update.Operation, update.Old, update.User = engine.Update, map[string]any{"metadata": map[string]any{}}, map[string]any{"username": "ann"}
					same(t, set, s, update, "update of nothing to "+sub.String())
					update.Old = sub.Object
					same(t, set, s, update, "update of nothing in "+sub.String())
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen[engine.Pass] == 0 || seen[engine.Fail] == 0 || seen[engine.Unknown] == 0 {
			t.Errorf("%s: its fixtures show %v, want pass, fail and unknown", exported.ID, seen)
		}
	}
}

// bend takes a declared field away, mistypes it, empties it, nulls it, and writes its key in another case.
func bend(sub engine.Subject, text string, typ engine.Type) []engine.Subject {
	var all []engine.Subject
	root, rest := &sub.Object, text
	if after, ok := strings.CutPrefix(text, "old."); ok {
		root, rest = &sub.Old, after
	}
	p, err := engine.ParsePath(rest)
	if err != nil || strings.HasPrefix(text, "user.") {
		return nil
	}
	if sub.Operation == engine.Delete {
		sub.Object = nil // it is what old is
		root = &sub.Old
	}
	whole := *root
	for _, value := range []any{nil, mistyped(typ), ""} {
		bent, changed := p.With(whole, value)
		if changed {
			*root = bent
			all = append(all, sub)
		}
	}
	last := p[len(p)-1]
	if parent := p[:len(p)-1]; last.Kind == engine.KeyStep && len(parent) > 0 {
		parent.Walk(whole, func(at engine.Path, v any, found bool) {
			m, ok := v.(map[string]any)
			if !ok {
				return
			}
			for _, extra := range []map[string]any{{strings.ToUpper(last.Key): "x"}, {last.Key: nil}} {
				with := map[string]any{}
				for _, from := range []map[string]any{m, extra} {
					for k, e := range from {
						with[k] = e
					}
				}
				*root, _ = at.With(whole, with)
				all = append(all, sub)
			}
		})
	}
	return all
}

// folder is a policy of one's own.
func folder(yaml, cel string) fstest.MapFS {
	return fstest.MapFS{
		"access/mine/policy.yaml": {Data: []byte("title: Mine\nseverity: low\nfix: Mend it.\n" + yaml)},
		"access/mine/policy.cel":  {Data: []byte(cel)},
	}
}

func TestFloorLeavesOut(t *testing.T) {
	const widget = "match: [{group: acme.dev, kinds: [Widget]}]\n"
	for _, c := range []struct{ name, yaml, cel, want string }{
		{"facts", widget + "facts: {ns: {kind: Namespace, name: .metadata.namespace}}\n", `facts.ns == null ? [{"message": "m"}] : []`, "it asks for facts"},
		{"now", widget, `now > timestamp("2026-01-01T00:00:00Z") ? [{"message": "m"}] : []`, "it reads now"},
		{"now in when", widget + "when: now > timestamp('2026-01-01T00:00:00Z')\n", `[{"message": "m"}]`, "it reads now"},
		{"host function", widget, `[verdict.unknown("m")]`, "it calls verdict.unknown, which only Proviso has"},
		{"host function in when", widget + "when: retention.exceeds('2d', '1d')\n", `[{"message": "m"}]`, "it calls retention.exceeds, which only Proviso has"},
		{"artifacts only", "match: [{group: artifact.proviso.dev, kinds: [Bucket]}]\n", `[{"message": "m"}]`, "it judges nothing that passes through an API server"},
		{"created without old", "match: [{group: acme.dev, kinds: [Widget], operations: [CREATE]}]\nrequires: {old.spec: object}\n", `[{"message": "m"}]`, "it judges nothing that passes"},
		{"variable of the document's name", widget, `[1].map(params, {"message": "m"})`, "the API server's CEL does not compile it"},
		{"variable of the API server's name", widget, `["a"].map(variables, {"message": params.?x.orValue("m")})`, "the API server's name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, floor := floorOf(t, nil, Source{FS: folder(c.yaml, c.cel)})
			if len(floor.Policies) != 0 || len(floor.Left) != 1 || !strings.Contains(floor.Left[0].Reason, c.want) {
				t.Errorf("left %v and exported %d, want %q", floor.Left, len(floor.Policies), c.want)
			}
		})
	}
	t.Run("kind nobody knows", func(t *testing.T) {
		cat, set, _ := floorOf(t, nil, Source{FS: folder("match: [{group: acme.dev, kinds: ['*']}]\n", `[{"message": "m"}]`)})
		floor := cat.Floor(set, func(string, string) ([]string, []string, bool) { return nil, nil, false })
		if len(floor.Left) != 1 || !strings.Contains(floor.Left[0].Reason, "resource name of kind *") {
			t.Errorf("left %v", floor.Left)
		}
	})
}

// What an admission policy has other names for, or shows otherwise.
func TestFloorDocument(t *testing.T) {
	all := "match: [{group: acme.dev, kinds: [Widget], operations: [CREATE, UPDATE, DELETE]}]\n"
	params := `params: {type: object, properties: {mixed: {type: object, default: {a: 1, b: [x, 2, 1.5], "c\"d": "q\"\n", e: null, f: true}}, tierLabel: {type: string, default: Acme.dev/tier}}}` + "\n"
	widget := func(spec, labels map[string]any) map[string]any {
		return map[string]any{"apiVersion": "acme.dev/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "labels": labels, "finalizers": []any{"keep"}}, "spec": spec, "status": map[string]any{"n": int64(1)}}
	}
	object := widget(map[string]any{"a": "x", "list": []any{map[string]any{"n": int64(1)}}}, nil)
	other := widget(map[string]any{"a": "y"}, nil)
	busy := widget(map[string]any{"a": "x", "list": []any{map[string]any{"n": int64(1)}}}, nil)
	busy["status"] = map[string]any{"n": int64(2)}
	labelled := widget(map[string]any{"a": "x", "list": []any{map[string]any{"n": int64(1)}}}, map[string]any{"l": "1"})
	user := map[string]any{"username": "ann", "groups": []any{"g"}}
	for _, c := range []struct {
		name, yaml, cel string
		sub             engine.Subject
		want            engine.Verdict
	}{
		{"operation and user", all + "requires: {user.username: string}\n", `operation == "CREATE" && user.username == "ann" && request.userInfo.username == user.username ? [{"message": "m"}] : []`,
			engine.Subject{Operation: engine.Create, Object: object, User: user}, engine.Fail},
		{"parameters of mixed types", all + params, `params.mixed.a == 1 && params.mixed.b[0] == "x" && params.mixed.b[2] == 1.5 && params.mixed["c\"d"] == "q\"\n" && params.mixed.e == null && params.mixed.f ? [{"message": "m"}] : []`,
			engine.Subject{Operation: engine.Create, Object: object}, engine.Fail},
		{"no old object", all, `size(old) == 0 && oldObject == null ? [{"message": "m"}] : []`, engine.Subject{Operation: engine.Create, Object: object}, engine.Fail},
		{"deleted object", all + "requires: {spec.a: string}\n", `object.spec.a == "x" && old.spec.a == "x" ? [{"message": "m"}] : []`,
			engine.Subject{Operation: engine.Delete, Object: object, Old: object}, engine.Fail},
		{"changed", all + "requires: {spec.a: string, old.spec.a: string}\n", `object.spec.a != old.spec.a ? [{"message": "m", "path": "spec.a"}] : []`,
			engine.Subject{Operation: engine.Update, Object: object, Old: other, User: user}, engine.Fail},
		{"old needed and not there", all + "requires: {old.spec.a: string}\n", `[{"message": "m"}]`, engine.Subject{Operation: engine.Create, Object: object}, engine.NotApplicable},
		{"parts of both types", all + "optional: {spec.a: string}\n", `[{"message": object.spec.a, "path": "spec.a"}] + [1, "a"].filter(x, x == "b").map(x, {"message": "m", "path": ""})`,
			engine.Subject{Operation: engine.Create, Object: object}, engine.Fail},
		{"each element", all + "requires: {'spec.list[*].n': int}\n", `object.spec.list.all(e, e.n == 1) ? [] : [{"message": "m"}]`, engine.Subject{Operation: engine.Create, Object: object}, engine.Pass},
		{"list missing", all + "requires: {'spec.list[*].n': int}\n", `[{"message": "m"}]`, engine.Subject{Operation: engine.Create, Object: other}, engine.Unknown},
		{"rule fails", all + "optional: {spec.none: int}\n", `object.spec.none == 1 ? [] : []`, engine.Subject{Operation: engine.Create, Object: object}, engine.Unknown},
		{"when fails", all + "when: object.spec.none == 1\noptional: {spec.none: int}\n", `[]`, engine.Subject{Operation: engine.Create, Object: object}, engine.Unknown},
		{"when is false and something missing", all + "when: 'false'\nrequires: {spec.none: int}\n", `[]`, engine.Subject{Operation: engine.Create, Object: object}, engine.NotApplicable},
		{"when is false and something mistyped", all + "when: 'false'\noptional: {spec.a: int}\n", `[]`, engine.Subject{Operation: engine.Create, Object: object}, engine.Unknown},
		{"label in another case", all + params + "optional: {metadata.labels: object}\n", `object.?metadata.?labels[?params.tierLabel].hasValue() ? [{"message": "m"}] : []`,
			engine.Subject{Operation: engine.Create, Object: widget(nil, map[string]any{"acme.dev/Tier": "1"})}, engine.Unknown},
		{"the label itself", all + params + "optional: {metadata.labels: object}\n", `object.?metadata.?labels[?params.tierLabel].hasValue() ? [{"message": "m"}] : []`,
			engine.Subject{Operation: engine.Create, Object: widget(nil, map[string]any{"Acme.dev/tier": "1"})}, engine.Fail},
		{"strict about a label", all + "strictUpdate: true\nrequires: {spec.a: string}\n", `[{"message": "m"}]`, engine.Subject{Operation: engine.Update, Object: labelled, Old: object}, engine.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, set, floor := floorOf(t, nil, Source{FS: folder(c.yaml, c.cel)})
			if len(floor.Policies) != 1 {
				t.Fatalf("left out: %v", floor.Left)
			}
			c.sub.APIVersion, c.sub.Kind = "acme.dev/v1", "Widget"
			if got := same(t, set, newServer(t, floor.Policies[0].Policy), c.sub, c.name); got != c.want {
				t.Errorf("the judge says %s, want %s", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name, yaml string
		object     map[string]any
		denied     bool
	}{
		{"strict, and only status changes", "strictUpdate: true\n", busy, false},
		{"strict, and status is read", "strictUpdate: true\noptional: {status.n: int}\n", busy, true},
		{"not strict, and status is read", "optional: {status.n: int}\n", busy, false},
		{"what is read stays", "requires: {spec.a: string}\n", labelled, false},
		{"what is read changes", "requires: {spec.a: string}\n", other, true},
		{"a finalizer goes", "strictUpdate: true\n", withFinalizers(object), false},
		{"a finalizer comes", "strictUpdate: true\n", withFinalizers(object, "keep", "more"), true},
		{"a field goes", "strictUpdate: true\n", map[string]any{"metadata": object["metadata"]}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, floor := floorOf(t, nil, Source{FS: folder(all+c.yaml, `[{"message": "m"}]`)})
			sub := engine.Subject{APIVersion: "acme.dev/v1", Kind: "Widget", Operation: engine.Update, Object: c.object, Old: object}
			if denied := newServer(t, floor.Policies[0].Policy).denies(t, sub); len(denied) > 0 != c.denied {
				t.Errorf("denied %q, want %v", denied, c.denied)
			}
		})
	}
}

func withFinalizers(object map[string]any, names ...any) map[string]any {
	p, _ := engine.ParsePath("metadata.finalizers")
	with, _ := p.With(object, names)
	return with
}

// A binding does what the profile says about failures.
func TestFloorModes(t *testing.T) {
	src := Source{FS: folder("match: [{group: acme.dev, kinds: [Widget, Gadget]}]\n", `[{"message": "m"}]`)}
	for _, c := range []struct {
		mode, unknown string
		want          admission.ValidationAction
	}{{"deny", "deny", admission.Deny}, {"warn", "warn", admission.Warn}, {"record", "record", admission.Audit}, {"deny", "warn", admission.Deny}} {
		_, _, floor := floorOf(t, &Profile{Mode: c.mode, Unknown: c.unknown}, src)
		p := floor.Policies[0]
		if got := p.Binding.Spec.ValidationActions; !slices.Equal(got, []admission.ValidationAction{c.want}) {
			t.Errorf("%s, %s: actions %v", c.mode, c.unknown, got)
		}
		if p.Binding.Spec.PolicyName != "proviso-access-mine" || p.Policy.Name != p.Binding.Name || *p.Policy.Spec.FailurePolicy != admission.Fail {
			t.Errorf("binding %v of %v", p.Binding, p.Policy)
		}
		raw, err := floor.YAML()
		if text := string(raw); err != nil || strings.Contains(text, "status:") || strings.Count(text, "---\n") != 2 || !strings.Contains(text, "- widgets\n") || !strings.Contains(text, "- gadgets\n") {
			t.Errorf("%v\n%s", err, raw)
		}
	}
}

// What counts as a value of a declared type is the same on both sides, wherever it stands.
func TestFloorTypes(t *testing.T) {
	values := []any{nil, "", "x", "0", "1h", "1.5h30m", "-3m", "+.5s", "1h ", "720", "10Gi", "1.5k", "-1e3", "5.", ".", int64(1), 1.5, true, map[string]any{}, []any{}, []any{"x"}}
	places := map[string]func(v any) map[string]any{
		"spec.v":          func(v any) map[string]any { return map[string]any{"v": v} },
		"spec.list[*]":    func(v any) map[string]any { return map[string]any{"list": []any{v}} },
		"spec.list[1].in": func(v any) map[string]any { return map[string]any{"list": []any{int64(1), map[string]any{"in": v}}} },
		`spec["a.b/c"].labels["d\"e"].f`: func(v any) map[string]any {
			return map[string]any{"a.b/c": map[string]any{"labels": map[string]any{`d"e`: map[string]any{"f": v}}}}
		},
		"spec.other":    func(v any) map[string]any { return map[string]any{"v": v} },
		"spec.v.deeper": func(v any) map[string]any { return map[string]any{"v": v} },
	}
	for _, typ := range engine.Types() {
		for _, declared := range []string{"requires", "optional"} {
			for place, spec := range places {
				src := Source{FS: folder(fmt.Sprintf("match: [{group: acme.dev, kinds: [Widget]}]\n%s: {%q: %s}\n", declared, place, typ), `[]`)}
				_, set, floor := floorOf(t, nil, src)
				if len(floor.Policies) != 1 {
					t.Fatalf("%s %s: left out: %v", place, typ, floor.Left)
				}
				s := newServer(t, floor.Policies[0].Policy)
				for _, v := range values {
					sub := engine.Subject{APIVersion: "acme.dev/v1", Kind: "Widget", Operation: engine.Create, Object: map[string]any{"spec": spec(v)}}
					same(t, set, s, sub, fmt.Sprintf("%s: %s of %s for %#v", place, declared, typ, v))
				}
			}
		}
	}
}
