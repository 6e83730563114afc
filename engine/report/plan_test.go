package report_test

import (
	"strings"
	"testing"

	"proviso.dev/proviso/engine/report"
)

// TestAPlanOfAnyShapeObeysTheSchema gives plans as anybody may write them.
func TestAPlanOfAnyShapeObeysTheSchema(t *testing.T) {
	for _, odd := range []any{nil, "text", int64(-1), []any{nil, "x", []any{int64(1), nil}, map[string]any{"by": "x", "items": int64(1), "count": "3", "step": 1.5}}, map[string]any{}} {
		s := restorePlan("velero", "x")
		for key := range s.Object {
			s.Object[key] = odd
		}
		doc := validate(t, written(t, report.JSON, run(t, policies(), nil, steps{s}), report.Options{}))
		if n := len(doc["plans"].([]any)); n != 1 {
			t.Errorf("%v: %d plans", odd, n)
		}
		for _, f := range []report.Format{report.Text, report.Graph, report.DOT} {
			written(t, f, run(t, policies(), nil, steps{s}), report.Options{All: true})
		}
	}
}

func TestPlansAreBounded(t *testing.T) {
	var in steps
	for range 130 {
		in = append(in, restorePlan("velero", "x"))
	}
	doc := validate(t, written(t, report.JSON, run(t, policies(), nil, in), report.Options{}))
	if n := len(doc["plans"].([]any)); n != 100 || doc["plansOmitted"] != 30.0 {
		t.Errorf("%d plans, %v omitted", n, doc["plansOmitted"])
	}
	if text := written(t, report.Text, run(t, policies(), nil, in), report.Options{}); !strings.Contains(text, "30 more restore plans\n") {
		t.Errorf("the text does not count the rest:\n%s", text)
	}
}

func TestOnlyOurPlansCount(t *testing.T) {
	other := restorePlan("velero", "x")
	other.APIVersion = "example.org/v1"
	for _, name := range []string{"graph", "dot"} {
		f, _ := report.Lookup(name)
		if got := written(t, f, run(t, policies(), nil, steps{other}), report.Options{}); got != "" {
			t.Errorf("%s writes of another group's kind:\n%s", name, got)
		}
	}
}
