package policies_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// What says nothing, or says it in a shape that is not judged, never passes.
func TestWhatSaysNothingDoesNotPass(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	policies := map[string]engine.Policy{}
	for _, f := range cat.Folders {
		policies[f.Policy.ID] = f.Policy
	}
	for _, c := range []struct{ policy, kind, object string }{
		{"recoverability/three-two-one-one-zero", "Protection", `{"unknown":[],"drill":{"name":"d","completed":"2025-12-01T00:00:00Z"}}`},
		{"recoverability/copies-in-failure-domains", "Protection", `{"copies":[{"region":"eu-west-1","account":"1"}],"domains":{"regions":["eu-west-1",""],"accounts":["1"]}}`},
		{"recoverability/copies-in-failure-domains", "Protection", `{"copies":[{"region":"eu-west-1","account":"1"},{"region":" ","account":"1"}]}`},
		{"completeness/claims-covered", "Protection", `{"covered":null,"schedules":[{"name":"daily"}]}`},
		{"completeness/definitions-present", "RestorePlan", `{"complete":true,"definitions":[{}]}`},
		{"completeness/no-volume-skipped", "BackupContents", `{"volumesKnown":true,"volumesNotHeld":[],"volumesNotHeldCount":0,"claimsListed":0,"tarball":{"complete":true}}`},
		{"completeness/no-volume-skipped", "BackupContents", `{"volumesKnown":true,"volumesNotHeld":[],"volumesNotHeldCount":0,"claimsListed":1,"tarball":{"complete":true},"kinds":{"v1/PersistentVolumeClaim":1},"claimsWithoutVolume":["db/data"]}`},
		{"completeness/no-volume-skipped", "BackupContents", `{"volumesKnown":true,"volumesNotHeld":[],"volumesNotHeldCount":7,"claimsListed":1,"tarball":{"complete":true},"kinds":{"v1/PersistentVolumeClaim":1},"claimsWithoutVolume":[]}`},
		{"recoverability/backup-without-errors", "BackupContents", `{"backup":{"phase":"Completed","errors":-7},"issues":{"errors":0},"tarball":{"complete":true}}`},
		{"encryption/secrets-in-encrypted-bucket", "BackupContents", `{"tarball":{"complete":false},"secrets":{"count":0},"location":{"bucket":"b"}}`},
		{"immutability/bucket-object-lock", "Bucket", `{"calls":{"objectLock":{"state":"elsewhere"}}}`},
		{"immutability/bucket-object-lock", "Bucket", `{"calls":{"objectLock":{"state":"notConfigured"}},"objectLock":{"enabled":true}}`},
		{"immutability/lock-not-beyond-maximum", "Bucket", `{"objectLock":{"enabled":true,"mode":"COMPLIANCE"}}`},
		{"immutability/lock-not-beyond-maximum", "Bucket", `{"objectLock":{"enabled":true,"mode":"COMPLIANCE","days":30000}}`},
		{"immutability/writer-cannot-bypass", "AccessPolicy", `{"statements":null}`},
		{"immutability/writer-cannot-bypass", "AccessPolicy", `{"statements":[null]}`},
		{"immutability/writer-cannot-bypass", "AccessPolicy", `{"statements":[{"effect":"allow","actions":["s3:*"],"resources":["*"]}]}`},
		{"immutability/writer-cannot-bypass", "AccessPolicy", `{"statements":[{"effect":"Allow","actions":"s3:*","resources":"*"}]}`},
		{"access/backups-not-public", "Bucket", `{"policy":{"statements":[{"effect":"Allow","principals":"*","actions":"s3:*"}]},"aclPublic":false}`},
		{"retention/lifecycle-agrees", "Bucket", `{"versioning":{"status":"Enabled"},"lifecycle":[{"status":"Enabled","filtered":true,"noncurrentDays":7}]}`},
	} {
		p, ok := policies[c.policy]
		if !ok {
			t.Fatalf("there is no policy %s", c.policy)
		}
		set, err := engine.NewSet([]engine.Policy{p})
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{}
		if err := json.Unmarshal([]byte(c.object), &object); err != nil {
			t.Fatal(err)
		}
		object["apiVersion"], object["kind"], object["metadata"] = "artifact.proviso.dev/v1alpha1", c.kind, map[string]any{"name": "x"}
		for _, d := range set.Judge(context.Background(), engine.Subject{APIVersion: "artifact.proviso.dev/v1alpha1", Kind: c.kind, Name: "x", Object: object}, nil, time.Unix(1767225600, 0)) {
			if d.Verdict != engine.Unknown && d.Verdict != engine.Fail {
				t.Errorf("%s of %s: %v, want unknown or fail", c.policy, c.object, d.Verdict)
			}
		}
	}
}

// Copies that were found are no proof that there are no more: what is short by them is unknown, not failed.
func TestCopiesThatMayNotBeAll(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS("."), Only: []string{"recoverability/three-two-one-one-zero", "recoverability/copies-in-failure-domains"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := cat.Select(nil, bundles.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	for whole, want := range map[bool]engine.Verdict{true: engine.Fail, false: engine.Unknown} {
		object := map[string]any{"copiesWhole": whole, "unknown": []any{}, "copies": []any{map[string]any{"location": "prod", "medium": "cluster", "offsite": false, "region": "eu-west-1", "account": "1"}}}
		for _, d := range set.Judge(context.Background(), engine.Subject{APIVersion: "artifact.proviso.dev/v1alpha1", Kind: "Protection", Name: "x", Object: object}, nil, time.Unix(1767225600, 0)) {
			if d.Verdict != want {
				t.Errorf("%s where the copies are whole: %v is %v (%s), want %v", d.Policy.ID, whole, d.Verdict, d.Reason, want)
			}
		}
	}
}
