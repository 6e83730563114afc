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

// A backup whose expiration cannot be counted from its start is not known to be kept.
func TestExpirationThatCannotBeCountedIsUnknown(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range cat.Folders {
		if f.Policy.ID != "retention/minimum-by-profile" {
			continue
		}
		set, err := engine.NewSet([]engine.Policy{f.Policy})
		if err != nil {
			t.Fatal(err)
		}
		for status, want := range map[string]engine.Verdict{
			`{"expiration":"2027-01-01T00:00:00Z","startTimestamp":"2026-01-01T00:00:00Z"}`: engine.Pass,
			`{"phase":"New"}`: engine.Pass,
			`{"expiration":null,"startTimestamp":"2026-01-01T00:00:00Z"}`:        engine.Pass,
			`{"expiration":"2027-01-01T00:00:00Z"}`:                              engine.Unknown,
			`{"expiration":"2027-01-01T00:00:00Z","startTimestamp":null}`:        engine.Unknown,
			`{"expiration":"2027-01-01T00:00:00Z","startTimestamp":7}`:           engine.Unknown,
			`{"expiration":"2027-01-01T00:00:00Z","startTimestamp":"yesterday"}`: engine.Unknown,
			`{"expiration":"soon","startTimestamp":"2026-01-01T00:00:00Z"}`:      engine.Unknown,
			`{"expiration":"","startTimestamp":"2026-01-01T00:00:00Z"}`:          engine.Unknown,
			`{"expiration":7,"startTimestamp":"2026-01-01T00:00:00Z"}`:           engine.Unknown,
			`7`: engine.Unknown,
		} {
			object := map[string]any{}
			if err := json.Unmarshal([]byte(`{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"x","namespace":"v"},"spec":{"ttl":"720h"},"status":`+status+`}`), &object); err != nil {
				t.Fatal(err)
			}
			backup := engine.Subject{APIVersion: "velero.io/v1", Kind: "Backup", Namespace: "v", Name: "x", Object: object}
			for _, d := range set.Judge(context.Background(), backup, nil, time.Unix(1767225600, 0)) {
				if d.Verdict != want {
					t.Errorf("status %s: %v %s, want %v", status, d.Verdict, d.Reason, want)
				}
			}
		}
	}
}
