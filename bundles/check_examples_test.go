package bundles_test

import (
	"strings"
	"testing"

	"proviso.dev/proviso/bundles"
)

// Fixtures are judged with a parameter's first example, and what ships stays its default.
func TestCheckJudgesByExamples(t *testing.T) {
	for examples, want := range map[string]string{
		"[30h, 99h]": "",
		"[]":         "",
		"[96h]":      "Schedule x must pass, and fails: kept 48h",
		"[7]":        "policy.yaml:9:5: the example expected string, but got number",
	} {
		files := edit(t, whole(), "policy.yaml", "default: 24h,", "default: 24h, examples: "+examples+",")
		cat, err := bundles.Check(nil, bundles.Source{Name: "p", FS: files})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("examples %s: %v, want %q", examples, err, want)
		}
		if got := cat.Folders[0].Params["minimum"]; got != "24h" {
			t.Errorf("examples %s: what ships is %v, want the default", examples, got)
		}
	}
}
