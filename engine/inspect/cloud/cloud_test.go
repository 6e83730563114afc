package cloud

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

// scan inspects a folder of files.
func scan(t *testing.T, files map[string]string) (byName map[string]*engine.Subject, unread []*engine.Unread) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	byName = map[string]*engine.Subject{}
	for s, err := range (&Files{Paths: []string{dir}}).Inspect(t.Context()) {
		var u *engine.Unread
		switch {
		case errors.As(err, &u):
			unread = append(unread, u)
		case err != nil:
			t.Fatal(err)
		default:
			byName[strings.TrimPrefix(s.Name, dir+"/")] = s
		}
	}
	return byName, unread
}

const (
	snapshots = `{"Snapshots":[{"SnapshotId":"snap-1","Encrypted":true,"KmsKeyId":"arn:aws:kms:eu-west-1:1:key/k","State":"completed","OwnerId":"1","StartTime":"2026-01-01T00:00:00.000Z","VolumeId":"vol-1"},{"SnapshotId":"snap-2","Encrypted":false}]}`
	locks     = `{"Snapshots":[{"SnapshotId":"snap-1","LockState":"compliance","LockDuration":9,"LockExpiresOn":"2026-01-10T00:00:00Z"}]}`
	policy    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"iam:*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":true}}}}`
)

func TestFiles(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		// want is the wanted value of a subject's field, keyed by both.
		want map[string]string
	}{
		"snapshots alone": {map[string]string{"s.json": snapshots}, map[string]string{"snap-1 lock": "null", "snap-1 public": "null", "snap-1 region": `"eu-west-1"`, "snap-2 encrypted": "false", "snap-2 region": "null"}},
		"joined": {map[string]string{"s.json": snapshots, "l.json": locks, "a.json": `{"SnapshotId":"snap-2","CreateVolumePermissions":[{"Group":"all"},{"UserId":"7"}]}`},
			map[string]string{"snap-1 lock": `{"days":9,"expires":"2026-01-10T00:00:00Z","mode":"COMPLIANCE","state":"compliance"}`, "snap-2 lock": `{"state":"none"}`, "snap-2 public": "true", "snap-2 sharedWith": `["7"]`, "snap-1 public": "null"}},
		"no locks at all":     {map[string]string{"s.json": snapshots, "locked.json": `{"Snapshots":[]}`}, map[string]string{"snap-1 lock": `{"state":"none"}`}},
		"locks of one of two": {map[string]string{"s.json": snapshots, "t.json": `{"Snapshots":[{"SnapshotId":"snap-3"}]}`, "l.json": locks}, map[string]string{"snap-2 lock": "null", "snap-3 lock": "null"}},
		"keyed by call":       {map[string]string{"all.yaml": "DescribeSnapshots: " + snapshots + "\nDescribeLockedSnapshots: {Snapshots: []}"}, map[string]string{"snap-1 lock": `{"state":"none"}`}},
		"keys": {map[string]string{"k.json": `{"KeyMetadata":{"KeyId":"k","Arn":"arn:aws:kms:eu-west-1:1:key/k","KeyState":"Enabled","KeyManager":"CUSTOMER","CreationDate":1700000000.5,"MultiRegion":false}}`, "r.json": `{"KeyId":"arn:aws:kms:eu-west-1:1:key/k","KeyRotationEnabled":true,"RotationPeriodInDays":365}`},
			map[string]string{"k rotation": `{"enabled":true,"periodDays":365}`, "k created": `"2023-11-14T22:13:20Z"`, "k multiRegion": "false"}},
		"cryptoKeys": {map[string]string{"k.json": `[{"name":"projects/p/locations/europe-west1/keyRings/r/cryptoKeys/c","primary":{"state":"ENABLED","createTime":"2026-01-01T00:00:00Z"},"rotationPeriod":"7776000s"}]`},
			map[string]string{"c rotation": `{"enabled":true,"last":"2026-01-01T00:00:00Z","periodDays":90}`, "c region": `"europe-west1"`}},
		"a bare policy": {map[string]string{"writer.json": policy}, map[string]string{"writer statements": `[{"actions":[],"conditions":{"Bool":{"aws:MultiFactorAuthPresent":["true"]}},"effect":"Allow","notActions":["iam:*"],"principals":[],"resources":["*"]}]`}},
		"an encoded policy": {map[string]string{"x.json": `{"RoleName":"velero","PolicyName":"p","PolicyDocument":"%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%5B%22s3%3A%2A%22%5D%2C%22Resource%22%3A%22%2A%22%7D%5D%7D"}`},
			map[string]string{"p statements": `[{"actions":["s3:*"],"conditions":{},"effect":"Allow","principals":[],"resources":["*"]}]`, "p attachedTo": `"role/velero"`}},
		"a version":    {map[string]string{"v.json": `{"PolicyVersion":{"VersionId":"v2","Document":` + policy + `}}`}, map[string]string{"v source": `"v.json"`}},
		"GCE snapshot": {map[string]string{"g.json": `{"kind":"compute#snapshotList","items":[{"kind":"compute#snapshot","name":"g","status":"READY","storageLocations":["EU"],"snapshotEncryptionKey":{"kmsKeyName":"k"}}]}`}, map[string]string{"g region": `"eu"`, "g key": `"k"`}},
		"Azure snapshot": {map[string]string{"z.json": `{"value":[{"type":"Microsoft.Compute/snapshots","name":"z","location":"westeurope","properties":{"encryption":{"type":"EncryptionAtRestWithCustomerKey","diskEncryptionSetId":"d"},"networkAccessPolicy":"AllowAll","publicNetworkAccess":"Enabled"}}]}`},
			map[string]string{"z public": "true", "z key": `"d"`, "z encrypted": "true"}},
		"repositories": {map[string]string{"kopia/ns/kopia.repository": `{"tool":"https://github.com/kopia/kopia","uniqueID":"u","keyAlgo":"scrypt","encryption":"AES256_GCM","encryptedBlockFormat":"x"}`,
			"restic/ns/config": strings.Repeat("\x81", 100), "restic/ns/keys/x": "", "open/kopia.repository": `{"tool":"kopia"}`},
			map[string]string{"kopia/ns encryption": `"AES256_GCM"`, "restic/ns encryption": `"AES-256-CTR-Poly1305"`, "open problem": `"the format names no encryption"`}},
	} {
		t.Run(name, func(t *testing.T) {
			found, unread := scan(t, c.files)
			if len(unread) > 0 {
				t.Errorf("unread %v", unread)
			}
			for key, want := range c.want {
				subject, field, _ := strings.Cut(key, " ")
				if found[subject] == nil {
					t.Fatalf("there is no %s", subject)
				}
				got, _ := json.Marshal(found[subject].Object[field])
				if text := string(got); text != want && !(field == "source" && strings.HasSuffix(text, `/v.json"`)) {
					t.Errorf("%s is %s, want %s", key, text, want)
				}
			}
		})
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for text, want := range map[string]engine.UnreadKind{
		`{"a":1}`: engine.NotManifest, `[]`: engine.NotManifest, `3`: engine.NotManifest, `{"Snapshots":`: engine.Broken, `{"Snapshots":{}}`: engine.Broken,
		`{"Snapshots":[{"SnapshotId":"s","Encrypted":"yes"}]}`:                               engine.Broken,
		`{"Snapshots":[],"NextToken":"t"}`:                                                   engine.Hole,
		`{"SnapshotId":"s","LockState":"governance"}`:                                        engine.Hole,
		`{"Statement":[{"Effect":"Allow","Action":"*","condition":{}}]}`:                     engine.Broken,
		`{"Statement":[{"Effect":"allow","Action":"*"}]}`:                                    engine.Broken,
		`{"PolicyDocument":"%zz","PolicyName":"p"}`:                                          engine.Broken,
		`{"KeyMetadata":{"Arn":"a"}}`:                                                        engine.Broken,
		`[{"KeyId":"k","KeyRotationEnabled":true},{"KeyId":"k","KeyRotationEnabled":false}]`: engine.Broken,
	} {
		found, unread := scan(t, map[string]string{"x.json": text})
		if len(found) > 0 || len(unread) == 0 || unread[0].Kind != want {
			t.Errorf("%s: %d subjects, unread %v, want kind %d", text, len(found), unread, want)
		}
	}
	_, unread := scan(t, map[string]string{"x.json": "{\"Snapshots\":[{\"SnapshotId\":\"s\",\n\"Encrypted\":\"yes\"}]}"})
	if len(unread) != 1 || unread[0].Line != 2 {
		t.Errorf("a mistyped field is at %v, want line 2", unread)
	}
}
