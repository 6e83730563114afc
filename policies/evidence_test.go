package policies_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// What the fixtures of the policies on evidence cannot show: what they say where nobody set them, what is unknown and why, and
// what other parameters make of it.
func TestPoliciesOnEvidence(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	const (
		drift   = "immutability/lock-not-drifted"
		kept    = "retention/evidence-kept"
		restore = "recoverability/restore-of-proved-backup"

		since   = `{"previousEvidence":["log"]}`
		buckets = `{"evidenceBuckets":["x"]}`
		reports = `{"scanReports":["dir"]}`
		locked  = `"objectLock":{"enabled":true,"mode":"COMPLIANCE","years":7},"versioning":{"status":"Enabled"}`
		refused = `"calls":{"objectLock":{"state":"refused"},"versioning":{"state":"refused"},"lifecycle":{"state":"refused"}}`
		of      = `{"spec":{"backupName":"b"}}`
		last    = `{"LastScan":{"at":"2025-12-31T00:00:00Z","complete":true,"fails":[],"unknowns":[]}}`
	)
	for _, c := range []struct{ policy, operation, object, facts, params, want string }{
		{drift, "", `{` + locked + `}`, ``, ``, "notApplicable"},
		{drift, "", `{` + locked + `}`, `{}`, since, "unknown: fact previous"},
		{drift, "", `{}`, `{"Previous":null}`, since, "pass"},
		{drift, "", `{` + locked + `}`, `{"Previous":{"object":{` + refused + `}}}`, since, "unknown: how the bucket locked is not known: the call was refused"},
		{drift, "", `{` + locked + `}`, `{"Previous":{}}`, since, "unknown: what the bucket was is not told"},
		{drift, "", `{` + locked + `}`, `{"Previous":{"object":{` + strings.Replace(locked, "COMPLIANCE", "STRICT", 1) + `}}}`, since, "unknown: the lock's mode was STRICT"},
		{drift, "", `{` + refused + `}`, `{"Previous":{"object":{` + locked + `}}}`, since, "unknown: how the bucket locks is not known: the call was refused"},
		{drift, "", `{"objectLock":{"enabled":true,"mode":"COMPLIANCE","years":7}}`, `{"Previous":{"object":{` + locked + `}}}`, since, "unknown: whether the bucket keeps versions is not known: the call was not made"},
		{drift, "", `{"objectLock":{"enabled":true,"mode":"COMPLIANCE","days":2556},"versioning":{"status":"Enabled"}}`, `{"Previous":{"object":{` + locked + `}}}`, since, "fail: want at least 7 years as before"},
		{drift, "", `{"objectLock":{"enabled":"yes"}}`, `{"Previous":{"object":{` + locked + `}}}`, since, "unknown: objectLock.enabled holds"},

		{kept, "", `{}`, ``, ``, "notApplicable"},
		{kept, "", `{}`, ``, `{"evidenceBuckets":["y"]}`, "notApplicable"},
		{kept, "", `{` + refused + `}`, ``, buckets, "unknown: the call was refused"},
		{kept, "", `{` + locked + `}`, ``, buckets, "unknown: the bucket's lifecycle is not known: the call was not made"},
		{kept, "", `{` + locked + `,"lifecycle":[]}`, ``, buckets, "pass"},
		{kept, "", `{` + locked + `,"lifecycle":[]}`, ``, `{"evidenceBuckets":["x"],"minYears":8}`, "fail: objects are locked 7 years, want at least 8 years"},
		{kept, "", `{"objectLock":{"enabled":true,"mode":"COMPLIANCE","years":7},"lifecycle":[]}`, ``, buckets, "unknown: whether the bucket keeps versions"},

		{restore, "CREATE", of, ``, ``, "notApplicable"},
		{restore, "", of, last, reports, "notApplicable"},
		{restore, "CREATE", of, last, reports, "pass"},
		{restore, "CREATE", of, `{}`, reports, "unknown: fact lastScan"},
		{restore, "CREATE", of, `{"LastScan":null}`, reports, "fail: no scan has looked at backup b, want one of the last 7 days"},
		{restore, "CREATE", of, last, `{"scanReports":["dir"],"maxAgeDays":1}`, "pass"},
		{restore, "CREATE", of, strings.Replace(last, "31T00:00:00", "30T23:59:59", 1), `{"scanReports":["dir"],"maxAgeDays":1}`, "fail: want one of the last 1 days"},
		{restore, "CREATE", of, strings.Replace(last, "2025-12-31T00:00:00Z", "2026-01-01T00:06:00Z", 1), reports, "unknown: the clocks disagree"},
		{restore, "CREATE", of, strings.Replace(last, "2025-12-31T00:00:00Z", "2026-01-01T00:04:00Z", 1), reports, "pass"},
		{restore, "CREATE", of, strings.Replace(last, "2025-12-31T00:00:00Z", "yesterday", 1), reports, "unknown: is not known"},
		{restore, "CREATE", of, `{"LastScan":{"complete":true,"fails":[],"unknowns":[]}}`, reports, "unknown: is not known"},
		{restore, "CREATE", of, strings.Replace(last, "true", "false", 1), reports, "unknown: did not read all of it"},
		{restore, "CREATE", of, strings.Replace(last, `"complete":true,`, "", 1), reports, "unknown: did not read all of it"},
		{restore, "CREATE", of, strings.Replace(last, `"fails":[],`, "", 1), reports, "unknown: what failed in the last scan"},
		{restore, "CREATE", of, strings.Replace(last, `"unknowns":[]`, `"unknowns":[{"policy":"p/q","severity":"high"}]`, 1), reports, "unknown: p/q of backup b was unknown"},
		{restore, "CREATE", of, strings.Replace(last, `"fails":[]`, `"fails":[{"policy":"p/q","severity":"low"}]`, 1), reports, "pass"},
		{restore, "CREATE", of, strings.Replace(last, `"fails":[]`, `"fails":[{"policy":"p/q","severity":"low"}]`, 1), `{"scanReports":["dir"],"severities":["low"]}`, "fail: backup b fails p/q (low)"},
		{restore, "CREATE", `{"spec":{"scheduleName":"daily"}}`, `{}`, reports, "unknown: name the backup in spec.backupName"},
		{restore, "CREATE", `{"spec":{}}`, `{}`, reports, "unknown: the restore names no backup"},
		{restore, "CREATE", `{"spec":{"backupName":7}}`, last, reports, "unknown: spec.backupName holds"},
	} {
		t.Run(c.policy+" "+c.want, func(t *testing.T) {
			f, err := cat.Folder(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			read := func(text string) map[string]any {
				m := map[string]any{}
				if text != "" {
					if err := json.Unmarshal([]byte(text), &m); err != nil {
						t.Fatal(err)
					}
				}
				return whole(m).(map[string]any)
			}
			p := f.Policy
			p.Params = maps.Clone(p.Params)
			maps.Copy(p.Params, read(c.params))
			set, err := engine.NewSet([]engine.Policy{p})
			if err != nil {
				t.Fatal(err)
			}
			sub := engine.Subject{APIVersion: "artifact.proviso.dev/v1alpha1", Kind: "Bucket", Name: "x", Operation: c.operation, Object: read(c.object)}
			if c.policy == restore {
				sub.APIVersion, sub.Kind, sub.Namespace = "velero.io/v1", "Restore", "velero"
			}
			sub.Object["apiVersion"], sub.Object["kind"], sub.Object["metadata"] = sub.APIVersion, sub.Kind, map[string]any{"name": "x", "namespace": "velero"}
			decisions := set.Judge(context.Background(), sub, around(read(c.facts)), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			if len(decisions) != 1 {
				t.Fatalf("%d decisions, want one", len(decisions))
			}
			d := decisions[0]
			got := d.Verdict.String() + ": " + d.Reason
			for _, v := range d.Violations {
				got += v.Message + "; "
			}
			verdict, text, _ := strings.Cut(c.want, ": ")
			if !strings.HasPrefix(got, verdict) || !strings.Contains(got, text) {
				t.Errorf("%s %s %s: %s, want %s", c.object, c.facts, c.params, got, c.want)
			}
		})
	}
}

// whole has the numbers of v as a decoder of manifests gives them.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case map[string]any:
		for key, e := range v {
			v[key] = whole(e)
		}
	case []any:
		for i, e := range v {
			v[i] = whole(e)
		}
	}
	return v
}
