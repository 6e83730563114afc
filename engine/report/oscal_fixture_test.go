package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// oscalSchema is NIST's, which asserts formats, too.
var oscalSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := os.ReadFile("testdata/oscal_complete_schema-1-2-2.json")
	if err != nil {
		return nil, err
	}
	return jsonschema.CompileString("oscal.json", string(text))
})

// oscalDocument is what the tests read of assessment-results.
type oscalDocument struct {
	Results struct {
		UUID    string
		Results []struct {
			Remarks      string
			Observations []struct {
				UUID, Title, Description string
				Props                    oscalProps
				Subjects                 []struct {
					UUID string `json:"subject-uuid"`
				}
				Evidence []struct {
					Href  string
					Props oscalProps
				} `json:"relevant-evidence"`
			}
			Local struct {
				Items []struct{ UUID string } `json:"inventory-items"`
			} `json:"local-definitions"`
			Risks []struct {
				UUID, Title, Status string
				Observations        []struct {
					UUID string `json:"observation-uuid"`
				} `json:"related-observations"`
			}
			Findings []oscalFinding
		}
	} `json:"assessment-results"`
}

type oscalFinding struct {
	Title, Description string
	Target             struct {
		ID     string `json:"target-id"`
		Props  oscalProps
		Status struct{ State, Reason, Remarks string }
	}
	Observations []struct {
		UUID string `json:"observation-uuid"`
	} `json:"related-observations"`
	Risks []struct {
		UUID string `json:"risk-uuid"`
	} `json:"related-risks"`
}

type oscalProps []struct{ Name, Value string }

func (ps oscalProps) get(name string) (values []string) {
	for _, p := range ps {
		if p.Name == name {
			values = append(values, p.Value)
		}
	}
	return values
}

// assessed is what OSCAL writes of a period, valid by NIST's schema.
func assessed(t fataler, p report.Period) (string, oscalDocument) {
	t.Helper()
	var out bytes.Buffer
	if err := report.OSCAL(&out, p); err != nil {
		t.Fatalf("%v", err)
	}
	text := out.String()
	if err := oscalValid(text); err != nil {
		t.Fatalf("%#v in:\n%s", err, text)
	}
	var doc oscalDocument
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v", err)
	}
	return text, doc
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func oscalValid(text string) error {
	schema, err := oscalSchema()
	if err != nil {
		return err
	}
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return err
	}
	return schema.Validate(doc)
}

// entriesOf yields the entries, numbered from 0 and an hour apart.
func entriesOf(list ...report.Entry) iter.Seq2[report.Entry, error] {
	return func(yield func(report.Entry, error) bool) {
		for i, e := range list {
			e.Seq, e.At = uint64(i), now.Add(time.Duration(i)*time.Hour)
			e.Digest, e.File = engine.Digest(fmt.Sprintf("sha256:%064d", i)), "../records/0000000000.jsonl"
			if !yield(e, nil) {
				return
			}
		}
	}
}

// judgedEntry is a record of a Schedule by the policy kept, or by others.
func judgedEntry(name, verdict string, more ...report.PeriodResult) report.Entry {
	r := report.PeriodResult{Policy: "kept", Verdict: verdict, Effect: "record"}
	switch verdict {
	case "fail":
		r.Effect, r.Violations = "deny", []engine.Violation{{Message: "kept 24h, want 840h", Path: "spec.template.ttl"}}
	case "unknown":
		r.Effect, r.Reason = "deny", "spec.template.ttl is missing"
	}
	return report.Entry{Event: "e-" + name, Results: append([]report.PeriodResult{r}, more...),
		Subject: report.PeriodSubject{APIVersion: "velero.io/v1", Kind: "Schedule", Namespace: "velero", Name: name, Source: "cluster:prod"}}
}

func waivedEntry(name, verdict string) report.Entry {
	e := judgedEntry(name, verdict)
	e.Results[0].Waiver, e.Results[0].Waived, e.Results[0].Effect = "W-1", true, "record"
	return e
}

func period(entries ...report.Entry) report.Period {
	return report.Period{
		From: now, Until: now.AddDate(0, 1, 0), Version: "1.2.3", Origin: "proviso.dev/evidence/prod", Key: "sha256:" + strings.Repeat("c", 64),
		Cluster: report.PeriodCluster{UID: "9f1c", Name: "prod", Region: "eu-west-1", Jurisdiction: "eu"},
		Policies: []*engine.Policy{
			{ID: "kept", Ref: "RET-02", Title: "Schedules keep their backups long enough", Severity: engine.High, Controls: []engine.Control{
				{Framework: "gdpr", ID: "art-5(1)(e)", Relation: "supports"}, {Framework: "nist800-53r5", ID: "cp-9", Relation: "evidence-for"}}},
			{ID: "named", Title: "Things have names", Severity: engine.Low, Controls: []engine.Control{{Framework: "nist800-53r5", ID: "cp-9", Relation: "supports"}}},
			{ID: "locked", Title: "Locations are locked", Severity: engine.Critical, Controls: []engine.Control{{Framework: "sec", ID: "17a-4(f)", Relation: "satisfies"}}},
			{ID: "own", Title: "A policy that speaks to no control"},
		},
		Entries: entriesOf(entries...),
	}
}

// findingOf is the finding on a control.
func findingOf(t *testing.T, doc oscalDocument, control string) oscalFinding {
	t.Helper()
	for _, f := range doc.Results.Results[0].Findings {
		if strings.Join(f.Target.Props.get("control"), " ") == control {
			return f
		}
	}
	t.Fatalf("no finding on %s", control)
	panic("unreachable")
}
