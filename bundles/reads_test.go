package bundles_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/bundles"
)

// Declaring a part of a list's elements declares neither the whole element nor another part of it, however it is come by.
func TestElementsAreReadAsDeclared(t *testing.T) {
	for rule, want := range map[string]string{
		`cel: object.spec.list.exists(e, e.name == "bad")`:                                               "",
		`cel: object.spec.list.exists(e, true)`:                                                          "",
		`cel: object.spec.list.exists(e, e.secret == "bad")`:                                             "reads spec.list[*].secret,",
		`cel: object.spec.list.exists(e, e["sec" + "ret"] == "bad") && object.spec.list[0].name == ""`:   "reads spec.list[*],",
		`cel: object.spec.list.exists(e, e == {"name": "a"})`:                                            "reads spec.list[*],",
		`cel: object.spec.list.map(e, {"x": e})[0].x.secret == "bad"`:                                    "reads spec.list[*],",
		`rego: some e in input.object.spec.list; e.name == "bad"`:                                        "",
		`rego: some e in input.object.spec.list; e.secret == "bad"`:                                      "reads spec.list[*].secret,",
		`rego: some e in input.object.spec.list; some k in ["name", "secret"]; e[k] == "bad"`:            "reads spec.list[*],",
		`rego: some e in input.object.spec.list; contains(json.marshal(e), "bad")`:                       "reads spec.list[*],",
		`rego: some e in input.object.spec.list; object.get(e, concat("", ["sec", "ret"]), "") == "bad"`: "reads spec.list[*],",
		`rego: some e in input.object.spec.list; e == {"name": "a"}`:                                     "reads spec.list[*],",
	} {
		language, source, _ := strings.Cut(rule, ": ")
		if language == "cel" {
			source += ` ? [{"message": "m"}] : []`
		} else {
			source = "package retention.kept\n\nviolations contains {\"message\": \"m\", \"path\": \"\"} if {\n\t" + strings.ReplaceAll(source, "; ", "\n\t") + "\n}\n"
		}
		_, err := bundles.Check(nil, bundles.Source{FS: fstest.MapFS{
			"retention/kept/policy.yaml":        {Data: []byte("title: t\nseverity: low\nmatch: [{group: velero.io, kinds: [Schedule]}]\noptional: {\"spec.list[*].name\": string}\nfix: f\n")},
			"retention/kept/policy." + language: {Data: []byte(source)},
		}})
		var about []string
		for line := range strings.Lines(err.Error()) { // there are no fixtures, which is told too
			if strings.Contains(line, "spec.list") {
				about = append(about, line)
			}
		}
		got := strings.Join(about, "")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
}
