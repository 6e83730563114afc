package policies_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// What a store refuses, fails at or does not offer says nothing about the bucket: neither pass nor fail nor notApplicable.
func TestUnansweredCallsAreUnknown(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	for id, aspects := range map[string]string{
		"immutability/bucket-object-lock": "objectLock", "immutability/bucket-lock-meets-profile": "objectLock",
		"immutability/lock-not-beyond-maximum": "objectLock", "immutability/bucket-versioning": "versioning",
		"immutability/writer-cannot-bypass": "policy", "encryption/bucket-tls-only": "policy", "encryption/bucket-kms": "encryption",
		"residency/replication-destination-allowed": "replication", "residency/key-region-allowed": "encryption",
		"residency/bucket-region-as-declared": "location", "retention/lifecycle-agrees": "lifecycle versioning",
		"access/backups-not-public": "policy acl",
	} {
		found := false
		for _, f := range cat.Folders {
			if f.Policy.ID != id {
				continue
			}
			found = true
			set, err := engine.NewSet([]engine.Policy{f.Policy})
			if err != nil {
				t.Fatal(err)
			}
			for _, state := range []string{"refused", "unsupported", "failed"} {
				calls := map[string]any{}
				for _, aspect := range strings.Fields(aspects) {
					calls[aspect] = map[string]any{"state": state, "message": "AccessDenied"}
				}
				bucket := engine.Subject{APIVersion: "artifact.proviso.dev/v1alpha1", Kind: "Bucket", Name: "b", Object: map[string]any{
					"apiVersion": "artifact.proviso.dev/v1alpha1", "kind": "Bucket", "metadata": map[string]any{"name": "b"}, "provider": "s3", "calls": calls}}
				for _, d := range set.Judge(context.Background(), bucket, nil, time.Unix(1767225600, 0)) {
					if d.Verdict != engine.Unknown || !strings.Contains(d.Reason, state) {
						t.Errorf("%s, %s %s: %v %q %v, want unknown for that reason", id, aspects, state, d.Verdict, d.Reason, d.Violations)
					}
				}
			}
		}
		if !found {
			t.Errorf("there is no policy %s", id)
		}
	}
}
