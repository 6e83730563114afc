package fleet_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/fleet"
)

// protected is what is said of the claim of base, by field, as JSON; a field that is left out is "".
func protected(t *testing.T, in things, whole bool, fields ...string) map[string]string {
	t.Helper()
	j := fleet.Join{In: in, Clusters: map[string]fleet.Cluster{prod: {Name: "production"}}, Listed: func(_, _, _ string) bool { return whole }, Now: time.Date(2026, 7, 12, 0, 0, 0, 0, time.UTC)}
	got := map[string]string{}
	for s := range j.Inspect(context.Background()) {
		if s == nil || s.Kind != "Protection" || s.Origin.Source != prod {
			continue
		}
		for _, field := range fields {
			if v, ok := s.Object[field]; ok {
				text, _ := json.Marshal(v)
				got[field] = string(text)
			} else {
				got[field] = ""
			}
		}
	}
	return got
}

const began = "2026-07-10T12:00:00Z"

func place(name, bucket string) *engine.Subject {
	return of(prod, "velero.io/v1/BackupStorageLocation velero/"+name, `{"spec":{"provider":"aws","objectStorage":{"bucket":"`+bucket+`"}}}`)
}

func found(name, rest string) *engine.Subject {
	return of("bucket:s3://"+name, "artifact.proviso.dev/v1alpha1/Bucket "+name, rest)
}

func moved(name, location string) *engine.Subject {
	return backup(name, began, `{"snapshotMoveData":true,"storageLocation":"`+location+`"}`)
}

// A copy is immutable as long as its lock holds, which must be until the backup expires: 30 days after it began.
func TestLockThatEndsBeforeTheBackupIsNotImmutable(t *testing.T) {
	for lock, want := range map[string]any{
		`{"enabled":true,"mode":"COMPLIANCE","days":29}`:         false,
		`{"enabled":true,"mode":"COMPLIANCE","days":30}`:         true,
		`{"enabled":true,"mode":"COMPLIANCE","seconds":2591999}`: false,
		`{"enabled":true,"mode":"COMPLIANCE","years":1}`:         true,
		`{"enabled":true,"mode":"COMPLIANCE"}`:                   nil,
		`{"enabled":true,"mode":"GOVERNANCE","days":99}`:         false,
		`{"enabled":true}`: false,
	} {
		var copies []map[string]any
		text := protected(t, base(place("default", "vault"), found("vault", `{"objectLock":`+lock+`}`), moved("b1", "default")), true, "copies")["copies"]
		if err := json.Unmarshal([]byte(text), &copies); err != nil || len(copies) != 2 || copies[1]["immutable"] != want {
			t.Errorf("%s: copies are %s, want the second immutable: %v", lock, text, want)
		}
	}
}

func TestOneBucketIsOneCopy(t *testing.T) {
	replicated := `{"replication":[{"status":"Enabled","bucket":"far"},{"status":"Enabled","bucket":"tagged","filtered":true}]}`
	for name, c := range map[string]struct {
		in   things
		want int
	}{
		"two locations in one bucket":            {base(place("a", "vault"), place("b", "vault"), moved("b1", "a"), moved("b2", "b")), 2},
		"two locations in two buckets":           {base(place("a", "vault"), place("b", "far"), moved("b1", "a"), moved("b2", "b")), 3},
		"a replica":                              {base(place("a", "vault"), found("vault", replicated), moved("b1", "a")), 3},
		"a replica in another location's bucket": {base(place("a", "vault"), place("b", "far"), found("vault", replicated), moved("b1", "a"), moved("b2", "b")), 3},
	} {
		var copies []any
		text := protected(t, c.in, true, "copies")["copies"]
		if err := json.Unmarshal([]byte(text), &copies); err != nil || len(copies) != c.want {
			t.Errorf("%s: copies are %s, want %d", name, text, c.want)
		}
	}
}

// An empty list says that there is none.
func TestBackupsNobodyListedAreNotNone(t *testing.T) {
	for whole, want := range map[bool]string{true: "[]", false: ""} {
		if got := protected(t, base(), whole, "backups")["backups"]; got != want {
			t.Errorf("listed whole %v: backups is %q, want %q", whole, got, want)
		}
	}
}

func TestDrillOfSomethingElseIsNone(t *testing.T) {
	restore := func(spec string) *engine.Subject {
		return of(prod, "velero.io/v1/Restore velero/r", `{"spec":{"backupName":"b1"`+spec+`},"status":{"phase":"Completed","startTimestamp":"2026-07-11T13:00:00Z","completionTimestamp":"2026-07-11T13:30:00Z"}}`)
	}
	drill := func(location string, claims ...string) *engine.Subject {
		claim := "shop/data"
		if len(claims) > 0 {
			claim = claims[0]
		}
		return of("velero:x", "artifact.proviso.dev/v1alpha1/Drill r", `{"restored":{"namespaces":["shop"],"claims":["`+claim+`"]},"restore":{"name":"r","backup":"b1"},"succeeded":true,"started":"2026-07-11T13:00:00Z","completed":"2026-07-11T13:30:00Z","location":`+location+`}`)
	}
	other := of("cluster:other", "velero.io/v1/Backup velero/b1", `{"status":{"phase":"Completed"}}`)
	for name, c := range map[string]struct {
		tried []any
		want  bool
	}{
		"of everything":                                    {[]any{restore("")}, true},
		"of its namespace":                                 {[]any{restore(`,"includedNamespaces":["shop"]`)}, true},
		"of another namespace":                             {[]any{restore(`,"includedNamespaces":["other"]`)}, false},
		"of other kinds":                                   {[]any{restore(`,"includedResources":["configmaps"]`)}, false},
		"without volumes":                                  {[]any{restore(`,"restorePVs":false`)}, false},
		"from its bucket":                                  {[]any{drill(`{"bucket":"vault"}`), stored("b1", "", taken)}, true},
		"of another claim":                                 {[]any{drill(`{"bucket":"vault"}`, "shop/other"), stored("b1", "", taken)}, false},
		"which its store says made something else":         {[]any{restore(""), drill(`{"bucket":"vault"}`, "shop/other"), stored("b1", "", taken)}, false},
		"which its store says made it":                     {[]any{restore(""), drill(`{"bucket":"vault"}`), stored("b1", "", taken)}, true},
		"of which another store says it made other things": {[]any{restore(""), drill(`{"bucket":"else"}`, "shop/other")}, true},
		"of which its store does not say what it made":     {[]any{restore(""), of("velero:x", "artifact.proviso.dev/v1alpha1/Drill r", `{"restore":{"name":"r","backup":"b1"},"location":{"bucket":"vault"}}`), stored("b1", "", taken)}, true},
		"whose end its store does not say":                 {[]any{restore(""), of("velero:x", "artifact.proviso.dev/v1alpha1/Drill r", `{"restored":{"claims":["shop/data"]},"restore":{"name":"r","backup":"b1"},"location":{"bucket":"vault"}}`), stored("b1", "", taken)}, true},
		"from another bucket":                              {[]any{drill(`{"bucket":"else"}`)}, false},
		"from another prefix":                              {[]any{drill(`{"bucket":"vault","prefix":"b"}`)}, false},
		"from a copy":                                      {[]any{drill(`{"store":"/copy"}`)}, true},
		"from a copy of which of two":                      {[]any{drill(`{"store":"/copy"}`), other}, false},
	} {
		got := protected(t, base(append([]any{place("default", "vault"), moved("b1", "default")}, c.tried...)...), true, "drill")["drill"]
		if (got != "") != c.want {
			t.Errorf("%s: drill is %q, want one: %v", name, got, c.want)
		}
	}
}

func TestBucketsOfOneNameOnTwoServers(t *testing.T) {
	location := func(config string) *engine.Subject {
		return of(prod, "velero.io/v1/BackupStorageLocation velero/default", `{"spec":{"provider":"aws","objectStorage":{"bucket":"vault"},"config":{`+config+`}}}`)
	}
	for name, c := range map[string]struct {
		config, bucket string
		joined         bool
	}{
		"the same server":                  {`"s3Url":"https://minio.example.com/"`, `"endpoint":"https://MinIO.example.com"`, true},
		"another server":                   {`"s3Url":"https://minio.example.com"`, `"endpoint":"https://other.example.com"`, false},
		"a server and Amazon":              {`"s3Url":"https://minio.example.com"`, `"endpoint":"https://s3.eu-west-1.amazonaws.com"`, false},
		"Amazon and a server":              {`"region":"eu-west-1"`, `"endpoint":"https://minio.example.com"`, false},
		"Amazon":                           {`"region":"eu-west-1"`, `"endpoint":"https://s3.eu-west-1.amazonaws.com"`, true},
		"an export, which names no server": {`"s3Url":"https://minio.example.com"`, `"region":"eu-west-1"`, true},
	} {
		j := fleet.Join{In: things{location(c.config), found("vault", `{`+c.bucket+`}`)}, Clusters: map[string]fleet.Cluster{prod: {Name: "production"}}, Listed: func(_, _, _ string) bool { return true }}
		joined := false
		for s := range j.Inspect(context.Background()) {
			joined = joined || s != nil && s.Kind == "StorageLocation" && s.Object["observed"] != nil
		}
		if joined != c.joined {
			t.Errorf("%s: joined %v, want %v", name, joined, c.joined)
		}
	}
}
