package report_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// now is the instant all tests judge by.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type ruleFunc func(ctx context.Context, in engine.Input) ([]engine.Violation, error)

func (f ruleFunc) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	return f(ctx, in)
}

// always is a rule that finds the same wherever it is asked.
func always(v ...engine.Violation) ruleFunc {
	return func(context.Context, engine.Input) ([]engine.Violation, error) { return v, nil }
}

// steps is an inspector that yields *engine.Subject and error values.
type steps []any

func (s steps) Inspect(context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for _, step := range s {
			sub, _ := step.(*engine.Subject)
			err, _ := step.(error)
			if !yield(sub, err) {
				return
			}
		}
	}
}

// inFile gives a subject a source file; where maps paths to line and column.
func inFile(s *engine.Subject, file, text string, start int, where map[string][2]int) *engine.Subject {
	lines := strings.Split(text, "\n")
	s.Origin = engine.Origin{
		Source:   "deploy",
		Position: engine.Position{File: file, Line: start, Column: 1},
		Digest:   engine.Digest("sha256:" + strings.Repeat("a", 64)),
		Locate: func(path string) engine.Position {
			at, ok := where[path]
			if !ok {
				return engine.Position{}
			}
			return engine.Position{File: file, Line: at[0], Column: at[1]}
		},
		Lines: func(first, last int) []string {
			if first < 1 || last > len(lines) {
				return nil
			}
			return lines[first-1 : last]
		},
	}
	return s
}

func object(apiVersion, kind, namespace, name string, spec map[string]any) *engine.Subject {
	return &engine.Subject{APIVersion: apiVersion, Kind: kind, Namespace: namespace, Name: name, Operation: engine.Create,
		Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
}

const locationYAML = `apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata:
  name: eu-prod
  namespace: velero
spec:
  provider: aws
  objectStorage:
    bucket: backups
  config:
    s3ForcePathStyle: "true"
    region: us-east-1
    s3Url: http://minio.example`

const scheduleYAML = `{{/* made by a chart */}}
---
apiVersion: velero.io/v1
kind: Schedule
metadata:
  name: orders
spec:
  template:
    ttl: 24h0m0s
---
apiVersion: v1
kind: ConfigMap
metadata: {name: nobody-cares}`

func policies() []engine.Policy {
	velero := func(kinds ...string) engine.Match { return engine.Match{{Group: "velero.io", Kinds: kinds}} }
	return []engine.Policy{
		{
			ID: "residency/location-region-allowed", Ref: "RES-01", Title: "Backup locations lie in an allowed jurisdiction",
			Severity: engine.Critical, Match: velero("BackupStorageLocation"),
			Controls: []engine.Control{{Framework: "gdpr", ID: "art-44", Relation: "supports"}},
			Fix:      "Point the location at a bucket in an allowed region,\nor have the data's owner widen the profile.",
			Digest:   engine.Digest("sha256:" + strings.Repeat("b", 64)),
			Rule: ruleFunc(func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
				spec, _ := in.Subject.Object["spec"].(map[string]any)
				if spec["region"] != "us-east-1" {
					return nil, nil
				}
				return []engine.Violation{
					{Message: "region us-east-1 lies in us, want one of eu", Path: "spec.config.region"},
					{Message: "the endpoint is http, want https", Path: "spec.config.s3Url"},
					{Message: "the bucket's name tells no region", Path: "spec.objectStorage.bucket"},
				}, nil
			}),
		},
		{
			ID: "retention/schedule-ttl", Ref: "RET-02", Title: "Schedules keep their backups long enough",
			Severity: engine.High, Match: velero("Schedule"), Mode: engine.ModeWarn,
			Controls: []engine.Control{{Framework: "iso27001", ID: "A.8.13", Relation: "supports"}, {Framework: "dora", ID: "art-12", Relation: "evidence-for"}},
			Fix:      "Set spec.template.ttl to 840h0m0s.",
			Rule:     always(engine.Violation{Message: "backups are kept 24h, want at least 840h", Path: "spec.template.ttl"}),
		},
		{
			ID: "encryption/location-kms", Ref: "ENC-01", Title: "Backups are encrypted with a key of our own", Severity: engine.Medium,
			Match: velero("BackupStorageLocation"), Requires: map[string]engine.Type{"spec.kms": engine.String},
			Fix: "Set spec.config.kmsKeyId.", Rule: always(),
		},
		{ID: "governance/named", Title: "Things have names", Severity: engine.Low, Match: velero("*"), Rule: always()},
		{
			ID: "immutability/location-lock", Ref: "IMM-01", Title: "Locations are locked", Severity: engine.High, Match: velero("BackupStorageLocation"),
			Fix: "Turn on object lock.", Rule: always(engine.Violation{Message: "no object lock is configured", Path: "spec"}),
		},
		{
			ID: "access/schedule-owner", Title: "Schedules have an owner", Severity: engine.Low, Match: velero("Schedule"),
			Fix: "Add the label owner.", Rule: always(engine.Violation{Message: "there is no owner"}),
		},
		{
			ID: "recoverability/update-only", Title: "Updates keep what there was", Severity: engine.Low,
			Match: engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}, Operations: []string{engine.Update}}}, Rule: always(),
		},
		{
			ID: "recoverability/drill", Title: "Restores are rehearsed", Severity: engine.High, Unknown: engine.ModeWarn,
			Match: engine.Match{{Group: "artifact.proviso.dev", Kinds: []string{"BackupContents"}}},
			Facts: map[string]engine.FactQuery{"drill": {Group: "artifact.proviso.dev", Kind: "Drill", All: true}}, Rule: always(),
		},
	}
}

func waivers() []engine.Waiver {
	w := func(id, policy, kind string, end time.Time) engine.Waiver {
		return engine.Waiver{ID: id, Policy: policy, Subjects: engine.Selector{Kind: kind}, Owner: "storage-team", Reason: "moving in spring",
			Approver: "dpo", Expires: end, Ticket: "OPS-7"}
	}
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	return []engine.Waiver{
		w("W-1", "immutability/location-lock", "BackupStorageLocation", day(3, 10)),
		w("W-2", "access/schedule-owner", "Schedule", day(1, 31)),
		w("W-3", "governance/named", "Schedule", day(12, 1)),
	}
}

func subjects() steps {
	schedule := inFile(object("velero.io/v1", "Schedule", "", "orders", nil), "./deploy/my schedules.yaml", scheduleYAML, 3,
		map[string][2]int{"spec.template.ttl": {9, 10}})
	schedule.Origin.Template = "chart/templates/schedule.yaml"
	contents := object("artifact.proviso.dev/v1alpha1", "BackupContents", "velero", "nightly", nil)
	contents.Origin = engine.Origin{Source: "velero:backups"}
	return steps{
		inFile(object("velero.io/v1", "BackupStorageLocation", "velero", "eu-prod", map[string]any{"region": "us-east-1"}), "deploy/locations.yaml", locationYAML, 1,
			map[string][2]int{"spec.config.region": {12, 13}, "spec.config.s3Url": {13, 12}, "spec.objectStorage.bucket": {9, 13}, "spec": {6, 1}, "spec.kms": {6, 1}}),
		schedule,
		&engine.Unread{Source: "deploy", Position: engine.Position{File: "deploy/broken.yaml", Line: 3, Column: 5}, Err: errors.New("did not find expected key")},
		&engine.Unread{Source: "deploy", Position: engine.Position{File: "deploy/values.yaml", Line: 1, Column: 1}, Err: errors.New("it has no apiVersion"), Kind: engine.NotManifest},
		inFile(object("v1", "ConfigMap", "", "nobody-cares", nil), "deploy/config.yaml", "kind: ConfigMap", 1, nil),
		contents,
		restorePlan("velero", "nightly"),
		&engine.Unread{Source: "velero:backups", Err: errors.New("list s3://backups/nightly: access denied"), Kind: engine.Hole},
	}
}

// restorePlan is a plan whose texts all hold name.
func restorePlan(namespace, name string) *engine.Subject {
	s := object("artifact.proviso.dev/v1alpha1", "RestorePlan", namespace, name, nil)
	s.Origin = engine.Origin{Source: "velero:backups"}
	o := s.Object
	o["complete"], o["nodes"], o["edges"] = false, int64(12), int64(5)
	o["missing"] = []any{
		map[string]any{"group": "", "kind": "Secret", "namespace": "shop", "name": name + "-db", "relation": "env", "optional": false, "by": []any{"Pod shop/" + name}, "count": int64(3)},
		map[string]any{"group": "storage.k8s.io", "kind": "StorageClass", "name": "fast", "relation": "storageClass", "optional": false, "external": true, "by": []any{"PersistentVolumeClaim shop/data"}, "count": int64(1)},
	}
	o["definitions"] = []any{
		map[string]any{"group": "x.io", "kind": "Thing", "versions": []any{"v1"}, "crd": "things.x.io", "present": true, "served": []any{"v2"}, "count": int64(1), "problem": "version v1 is not served"},
		map[string]any{"group": "x.io", "kind": "Good", "versions": []any{"v2"}, "crd": "goods.x.io", "present": true, "served": []any{"v2"}, "count": int64(1)},
	}
	o["cycles"] = []any{[]any{"PersistentVolumeClaim shop/a", "PersistentVolumeClaim shop/b"}}
	o["order"] = []any{
		map[string]any{"step": int64(1), "items": []any{"Namespace shop", "StorageClass a", "StorageClass b", "StorageClass c", "StorageClass d", "StorageClass e", "StorageClass f"}},
		map[string]any{"step": int64(2), "items": []any{"PersistentVolumeClaim shop/data"}},
	}
	o["graph"] = []any{
		map[string]any{"from": "Pod shop/" + name, "to": "Secret shop/" + name + "-db", "relation": "env", "missing": true},
		map[string]any{"from": "Pod shop/" + name, "to": "PersistentVolumeClaim shop/data", "relation": "claim"},
	}
	o["graphTruncated"] = true
	return s
}

// run is a run over the steps by the policies.
func run(t testing.TB, ps []engine.Policy, ws []engine.Waiver, in engine.Inspector) engine.Report {
	t.Helper()
	set, err := engine.NewSet(ps)
	if err != nil {
		t.Fatal(err)
	}
	if set, err = set.WithWaivers(ws); err != nil {
		t.Fatal(err)
	}
	return set.Run(t.Context(), in, nil, engine.Header{At: now, Scope: []string{"deploy", "velero:backups"}})
}

func sample(t testing.TB) engine.Report { return run(t, policies(), waivers(), subjects()) }

// written is what a format writes of a report.
func written(t testing.TB, f report.Format, r engine.Report, o report.Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := f(&out, r, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// many is an inspector of n subjects, every tenth of which fails.
type many int

func (n many) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for i := range int(n) {
			region := "eu-west-1"
			if i%10 == 0 {
				region = "us-east-1"
			}
			s := object("velero.io/v1", "BackupStorageLocation", "velero", fmt.Sprintf("l%d", i), map[string]any{"region": region})
			s.Origin = engine.Origin{Source: "cluster", Position: engine.Position{File: fmt.Sprintf("f%d.yaml", i/50), Line: 1 + i%50}}
			if !yield(s, nil) {
				return
			}
		}
	}
}
