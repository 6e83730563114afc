package bundles_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

const policyYAML = `title: Backups are kept
severity: high
match:
  - {group: velero.io, kinds: [Schedule]}
requires: {spec.template.ttl: duration}
params:
  type: object
  properties:
    minimum: {type: string, default: 24h, minLength: 2}
    classLabel: {type: string, default: proviso.dev/data-class}
controls:
  - {framework: gdpr, id: art-44, relation: supports}
fix: Keep them.
ref: RET-99
`

const policyCEL = `duration(object.spec.template.ttl) < duration(params.minimum) || params.classLabel == "" ?
  [{"message": "kept " + object.spec.template.ttl, "path": "spec.template.ttl"}] : []
`

// whole is a policy folder that Check has nothing to say about.
func whole() fstest.MapFS {
	schedule := func(ttl, comment string) string {
		return "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: x}\nspec:\n  template:\n    ttl: " + ttl + comment + "\n"
	}
	return fstest.MapFS{
		"retention/kept/policy.yaml":    {Data: []byte(policyYAML)},
		"retention/kept/policy.cel":     {Data: []byte(policyCEL)},
		"retention/kept/good/long.yaml": {Data: []byte(schedule("48h", ""))},
		"retention/kept/bad/short.yaml": {Data: []byte(schedule("1h", ` # want "kept 1h"`))},
		"retention/kept/README.md": {Data: []byte("# Title\n\n## Why\n\nx\n\n## Bad\n\n```yaml\n" + schedule("1h", "") + "```\n\n## Good\n\n```yaml\n" +
			schedule("48h", "") + "```\n\n## Fix\n\nx\n")},
	}
}

func edit(t *testing.T, files fstest.MapFS, name, old, new string) fstest.MapFS {
	t.Helper()
	name = "retention/kept/" + name
	if old == "" {
		files[name] = &fstest.MapFile{Data: []byte(new)}
		return files
	}
	before := string(files[name].Data)
	if !strings.Contains(before, old) {
		t.Fatalf("%s does not hold %q", name, old)
	}
	files[name] = &fstest.MapFile{Data: []byte(strings.Replace(before, old, new, 1))}
	return files
}

func TestCheck(t *testing.T) {
	if _, err := bundles.Check(nil, bundles.Source{Name: "p", FS: whole()}); err != nil {
		t.Fatalf("the whole folder: %v", err)
	}
	for _, c := range []struct{ name, file, old, new, want string }{
		{"unknown severity", "policy.yaml", "severity: high", "severity: hihg", `p/retention/kept/policy.yaml:2:11: unknown severity "hihg": want critical, high, medium or low`},
		{"unknown key", "policy.yaml", "title:", "tilte:", `did you mean title`},
		{"unknown framework", "policy.yaml", "framework: gdpr", "framework: gpdr", `there is no framework "gpdr" (did you mean gdpr?)`},
		{"unknown control", "policy.yaml", "id: art-44", "id: art-999", `framework gdpr has no control "art-999"`},
		{"unknown relation", "policy.yaml", "supports", "fulfils", `unknown relation "fulfils"`},
		{"unknown type", "policy.yaml", "ttl: duration", "ttl: time", `unknown type "time"`},
		{"bad schema", "policy.yaml", "type: string, default: 24h", "type: text, default: 24h", "policy.yaml:6:1: params is no JSON Schema"},
		{"bad default", "policy.yaml", "default: 24h", "default: 1", "the default expected string, but got number"},
		{"no fix", "policy.yaml", "fix: Keep them.", "", "fix is missing"},
		{"broken yaml", "policy.yaml", "controls:", "controls: [", "policy.yaml:1"},
		{"when that does not compile", "policy.yaml", "requires:", "when: object.spec.(\nrequires:", "p/retention/kept/policy.yaml:5:19: "},
		{"when that reads facts", "policy.yaml", "requires:", "when: facts.x == 1\nrequires:", "when reads a fact"},
		{"rule that does not compile", "policy.cel", "duration(params", "duratoin(params", "p/retention/kept/policy.cel:1:46: undeclared reference to 'duratoin'"},
		{"undeclared path", "policy.cel", "params.classLabel == \"\"", "object.spec.paused == true || params.classLabel == \"\"", "policy.cel:1:77: the rule reads spec.paused, which policy.yaml does not declare"},
		{"undeclared parameter", "policy.cel", "params.minimum", "params.minimun", `the rule reads the parameter "minimun", which policy.yaml does not declare (did you mean minimum?)`},
		{"unused parameter", "policy.cel", ` || params.classLabel == ""`, "", "policy.yaml:10:5: the parameter classLabel is declared and never read"},
		{"unused path", "policy.yaml", "params:", "optional: {spec.paused: bool}\nparams:", "policy.yaml:6:12: the path spec.paused is declared and never read"},
		{"unused fact", "policy.yaml", "params:", "facts: {ns: {kind: Namespace, name: .metadata.namespace}}\nparams:", "the fact ns is declared and never read"},
		{"two rules", "policy.rego", "", "package retention.kept", "holds 2 of policy.rego and policy.cel, want exactly one"},
		{"stray file", "notes.txt", "", "x", "p/retention/kept/notes.txt: is no file of a policy"},
		{"good that fails", "good/long.yaml", "48h", "1h", "good/long.yaml:6:10: Schedule x must pass, and fails: kept 1h"},
		{"good that is not judged", "good/long.yaml", "kind: Schedule", "kind: Backup", "nothing in it passes"},
		{"good that is unknown", "good/long.yaml", "48h", "2d", "Schedule x is unknown: spec.template.ttl holds"},
		{"good that is broken", "good/long.yaml", "spec:", "spec: [", "good/long.yaml:"},
		{"bad that passes", "bad/short.yaml", "1h #", "99h #", "nothing in it fails"},
		{"want without violation", "bad/short.yaml", "spec:", `spec: # want "never said"`, `bad/short.yaml:4: no violation on this line says "never said"`},
		{"violation without want", "bad/short.yaml", ` # want "kept 1h"`, "", `bad/short.yaml:6:10: no want comment on this line speaks of the violation "kept 1h"`},
		{"violation without a path", "policy.cel", `, "path": "spec.template.ttl"`, "", `bad/short.yaml:1:1: no want comment on this line speaks of the violation "kept 1h" of the object as a whole`},
		{"want that says something else", "bad/short.yaml", "kept 1h", "kept 2h", `no violation on this line says "kept 2h"`},
		{"missing heading", "README.md", "## Fix", "## Mend", "the headings are Why, Bad, Good, Mend, want Why, Bad, Good, Fix"},
		{"example that does not fail", "README.md", "ttl: 1h", "ttl: 99h", "README.md:10: nothing in it fails"},
		{"example that does not pass", "README.md", "ttl: 48h", "ttl: 2h", "README.md:26:10: Schedule x must pass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bundles.Check(nil, bundles.Source{Name: "p", FS: edit(t, whole(), c.file, c.old, c.new)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestCheckMissingFixtures(t *testing.T) {
	for _, name := range []string{"good/long.yaml", "bad/short.yaml", "README.md", "policy.cel"} {
		files := whole()
		delete(files, "retention/kept/"+name)
		if _, err := bundles.Check(nil, bundles.Source{FS: files}); err == nil {
			t.Errorf("without %s the policy is whole", name)
		}
	}
}

func TestReadReportsEveryProblem(t *testing.T) {
	files := whole()
	files["retention/other/policy.yaml"] = &fstest.MapFile{Data: []byte("title: x\nseverity: none\n")}
	files["wrong/place/deep/policy.yaml"] = &fstest.MapFile{Data: []byte("title: [")}
	_, err := bundles.Read(nil, bundles.Source{FS: files}, bundles.Source{Name: "mine", FS: whole()})
	for _, want := range []string{"retention/other/policy.yaml:2:11: unknown severity", "fix is missing", "wrong/place/deep/policy.yaml", "mine/retention/kept/policy.yaml:1:", "the policy is there twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among:\n%v", want, err)
		}
	}
	if _, err := bundles.Read(nil, bundles.Source{Name: "none", FS: fstest.MapFS{}}); err == nil || !strings.Contains(err.Error(), "none: holds no policy") {
		t.Errorf("an empty source: %v", err)
	}
}

func profile(t *testing.T, text string) (*bundles.Profile, error) {
	t.Helper()
	return bundles.ParseProfile("proviso.yaml", []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\n"+text))
}

func load(t *testing.T, text string) (*engine.Set, error) {
	t.Helper()
	p, err := profile(t, text)
	if err != nil {
		return nil, err
	}
	return bundles.Load(p, bundles.Defaults{}, bundles.Source{FS: whole()})
}

func TestProfileProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "parametres: {}", `proviso.yaml:3:1: `},
		{"did you mean", "parametres: {}", `did you mean parameters`},
		{"nested unknown key", "policies: {retention/kept: {moed: warn}}", `did you mean mode`},
		{"key of another case", "Mode: warn", "proviso.yaml:3:1: "},
		{"a key that says nothing", "mode:", `proviso.yaml:3:1: mode says nothing: give it a value, or take it out`},
		{"one in a policy", "policies: {retention/kept: {mode: null}}", `says nothing`},
		{"unknown mode", "mode: block", `proviso.yaml:3:7: unknown mode "block": want deny, warn or record`},
		{"unknown policy", "policies: {retention/kpet: {mode: warn}}", `there is no policy "retention/kpet" (did you mean retention/kept?)`},
		{"unknown policy in a waiver", "waivers: [{id: a, policy: retention/kpet, subjects: {kind: Schedule}, owner: o, reason: r, approver: a, expires: 2030-01-01}]", `proviso.yaml:3:27: there is no policy "retention/kpet"`},
		{"unknown framework", "frameworks: [gpdr]", `proviso.yaml:3:14: there is no framework "gpdr" (did you mean gdpr?): want some of cftc, `},
		{"one policy by id and by number", "policies: {retention/kept: {mode: warn}, ret-99: {mode: deny}}", `retention/kept is ret-99, which is set already: keep one`},
		{"parameter of no policy", "parameters: {minimun: 2h}", `no policy has a parameter "minimun" (did you mean minimum?)`},
		{"parameter of another policy", "policies: {retention/kept: {parameters: {minimun: 2h}}}", `retention/kept has no parameter "minimun"`},
		{"parameter of a wrong type", "policies:\n  retention/kept:\n    parameters:\n      minimum: 2", `proviso.yaml:6:16: minimum: expected string, but got number`},
		{"parameter for all of a wrong type", "parameters: {minimum: x}", `proviso.yaml:3:23: minimum: length must be >= 2, but got 1`},
		{"label nobody reads", "labels: {clas: x}", `no policy reads a label called "clas" (did you mean class?)`},
		{"waiver without an end", "waivers: [{id: a, policy: retention/kept, subjects: {kind: Schedule}, owner: o, reason: r, approver: a}]", "expires is missing"},
		{"waiver for everything", "waivers: [{id: a, policy: retention/kept, subjects: {}, owner: o, reason: r, approver: a, expires: 2030-01-01}]", "subjects picks everything"},
		{"waiver that ends never", "waivers: [{id: a, policy: retention/kept, subjects: {kind: Schedule}, owner: o, reason: r, approver: a, expires: never}]", `expires "never" is no date`},
		{"region that is known already", "regions: [{provider: aws, region: eu-central-1, country: RU}]", "eu-central-1"},
		{"cluster in an unknown region", "clusters: [{name: a, region: atlantis-1}]", "proviso.yaml:3:30: "},
		{"cluster outside its jurisdiction", "clusters: [{name: a, region: us-east-1, jurisdiction: eu}]", "region us-east-1 does not lie in eu"},
		{"two clusters of one name", "clusters: [{name: a}, {name: a}]", "a name of its own"},
		{"selects nothing", "policies: {retention/kept: {disabled: true}}", "the profile selects no policy"},
		{"no profile", "kind: Profil", "proviso.yaml:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := load(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestProfileSettings(t *testing.T) {
	sub := engine.Subject{APIVersion: "velero.io/v1", Kind: "Schedule", Name: "x", Object: map[string]any{"spec": map[string]any{"template": map[string]any{"ttl": "30h"}}}}
	waiver := "\nwaivers: [{id: W, policy: retention/kept, subjects: {name: x}, owner: o, reason: r, approver: a, expires: 2026-01-31}]"
	for _, c := range []struct{ name, text, now, want string }{
		{"defaults", "", "2026-01-01T00:00:00Z", "pass record"},
		{"parameter for all", "parameters: {minimum: 48h}", "2026-01-01T00:00:00Z", "fail deny"},
		{"parameter of one wins", "parameters: {minimum: 48h}\npolicies: {retention/kept: {parameters: {minimum: 2h}}}", "2026-01-01T00:00:00Z", "pass record"},
		{"mode of all", "parameters: {minimum: 48h}\nmode: warn", "2026-01-01T00:00:00Z", "fail warn"},
		{"mode of one wins", "parameters: {minimum: 48h}\nmode: warn\npolicies: {retention/kept: {mode: record}}", "2026-01-01T00:00:00Z", "fail record"},
		{"label", `labels: {class: ""}`, "2026-01-01T00:00:00Z", "fail deny"},
		{"mode by number", "parameters: {minimum: 48h}\npolicies: {RET-99: {mode: warn}}", "2026-01-01T00:00:00Z", "fail warn"},
		{"waived by number", "parameters: {minimum: 48h}" + strings.Replace(waiver, "retention/kept", "ret-99", 1), "2026-01-31T00:00:00Z", "fail record"},
		{"framework", "frameworks: [gdpr]", "2026-01-01T00:00:00Z", "pass record"},
		{"waived to the end of the day", "parameters: {minimum: 48h}" + waiver, "2026-01-31T23:59:59Z", "fail record"},
		{"waived no longer", "parameters: {minimum: 48h}" + waiver, "2026-02-01T00:00:00Z", "fail deny"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := load(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			d := set.Judge(context.Background(), sub, nil, now)[0]
			if got := fmt.Sprint(d.Verdict, " ", d.Effect); got != c.want {
				t.Errorf("got %s (%s), want %s", got, d.Reason, c.want)
			}
		})
	}
}

// The digest of a set follows what decides: the rules and their parameters.
func TestDigestFollowsTheParameters(t *testing.T) {
	digest := func(text string) engine.Digest {
		set, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return set.Digest()
	}
	first, again, other := digest(""), digest(""), digest("parameters: {minimum: 48h}")
	if first != again || first == other {
		t.Errorf("the digest does not follow the parameters: %s, %s, %s", first, again, other)
	}
}

// The published schema and the reader know the same keys.
func TestProfileSchemaIsTheReader(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(bundles.ProfileSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	var compare func(at string, typ reflect.Type, schema map[string]any)
	compare = func(at string, typ reflect.Type, schema map[string]any) {
		for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			if typ.Elem().Kind() == reflect.Interface {
				return
			}
			next := "items"
			if typ.Kind() == reflect.Map {
				next = "additionalProperties"
			}
			schema, _ = schema[next].(map[string]any)
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		properties, _ := schema["properties"].(map[string]any)
		var keys, fields []string
		for k := range properties {
			keys = append(keys, k)
		}
		for i := range typ.NumField() {
			if tag, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); tag != "" {
				fields = append(fields, tag)
				p, _ := properties[tag].(map[string]any)
				compare(at+"."+tag, typ.Field(i).Type, p)
			}
		}
		slices.Sort(keys)
		slices.Sort(fields)
		if !slices.Equal(keys, fields) || schema["additionalProperties"] != false {
			t.Errorf("%s: the schema has %v, the reader %v", at, keys, fields)
		}
	}
	compare("profile", reflect.TypeFor[bundles.Profile](), schema)

	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("profile.json", bytes.NewReader(bundles.ProfileSchema())); err != nil {
		t.Fatal(err)
	}
	if _, err := compiler.Compile("profile.json"); err != nil {
		t.Error(err)
	}
}

func TestSkeletonIsWholeButForItsRule(t *testing.T) {
	for _, language := range []string{"cel", "rego"} {
		files, err := bundles.Skeleton("retention/tapes-kept", language)
		if err != nil {
			t.Fatal(err)
		}
		tree := fstest.MapFS{}
		for name, data := range files {
			tree["retention/tapes-kept/"+name] = &fstest.MapFile{Data: data}
		}
		_, err = bundles.Check(nil, bundles.Source{FS: tree})
		if err == nil {
			t.Fatalf("%s: an unwritten policy is whole", language)
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.Contains(line, "bad/write-me.yaml") && !strings.Contains(line, "it still says") {
				t.Errorf("%s: %s", language, line)
			}
		}
		// Each sentence that is to be replaced is asked for.
		for name, data := range files {
			for i, text := range strings.Split(string(data), "\n") {
				said := strings.Contains(text, "Say ")
				if asked := strings.Contains(err.Error(), fmt.Sprintf("%s:%d: it still says", name, i+1)); asked != said {
					t.Errorf("%s: %s:%d: asked for is %t of %q", language, name, i+1, asked, text)
				}
			}
		}
	}
	for _, c := range []struct{ id, language string }{{"tapes", "cel"}, {"nowhere/tapes", "cel"}, {"retention/Tapes", "cel"}, {"retention/../x", "cel"}, {"retention/tapes", "lua"}} {
		if _, err := bundles.Skeleton(c.id, c.language); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
}

// Whatever a profile holds, it is read or refused, and what is refused has a place.
func FuzzProfile(f *testing.F) {
	for _, text := range []string{"", "mode: warn", "parameters: {minimum: 48h}", "waivers: [{id: a, expires: 2030-01-01}]", "regions: [{provider: a, region: b, country: DE}]",
		"clusters: [{name: a, region: eu-west-1}]", "sets: {alps: [AT, CH]}", "policies: {retention/kept: {parameters: {minimum: 1}}}", "labels: {class: x}", "bundles: [builtin]"} {
		f.Add("apiVersion: proviso.dev/v1alpha1\nkind: Profile\n" + text)
	}
	source := bundles.Source{FS: whole()}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := bundles.ParseProfile("proviso.yaml", []byte(text))
		if err == nil {
			_, err = bundles.Load(p, bundles.Defaults{}, source)
		}
		if err != nil && !strings.Contains(err.Error(), "proviso.yaml") && !strings.Contains(err.Error(), "waiver") {
			t.Errorf("%q: no place: %v", text, err)
		}
	})
}
