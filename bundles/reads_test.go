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
		err := checkCondition(rule)
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

// Stepping over the parts of the object itself reads all of it.
func TestSteppingOverTheObjectReadsIt(t *testing.T) {
	for rule, want := range map[string]string{
		`cel: object.transformList(k, v, k == "spec", v).exists(s, s.?secret.orValue("") == "x")`: "the rule reads object[*]",
		`cel: object.exists(k, k == "spec")`:                                                      "the rule reads object[*]",
		`cel: object["a.b"].c == "x"`:                                                             "the rule reads object[\"a.b\"].c",
		`cel: object.spec.list.exists(e, e.name == params[e.name])`:                               "",
		`rego: some _, v in input.object; v.secret == "x"`:                                        "the rule reads object[*]",
		`rego: input.object[_].secret == "x"`:                                                     "the rule reads object[*]",
		`rego: some {"secret": "x"} in input.object`:                                              "the rule reads object[*]",
		`rego: "x" in input.object`:                                                               "the rule reads object[*]",
	} {
		err := checkCondition(rule)
		if want != "" && !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "the rule reads object,") {
			t.Errorf("%s: got %v, want %q", rule, err, want)
		}
	}
}

// checkCondition checks a policy that declares spec.list[*].name and violates where the condition, "cel: …" or "rego: …",
// holds. The error speaks of its missing fixtures too.
func checkCondition(rule string) error {
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
	return err
}
