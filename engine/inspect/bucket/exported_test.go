package bucket

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

func write(t *testing.T, files map[string]string) string {
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
	return dir
}

const awsMerged = `{
  "Bucket": "b",
  "GetBucketLocation": {"LocationConstraint": null},
  "GetBucketVersioning": {},
  "GetObjectLockConfiguration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled",
    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 5}}}},
  "GetBucketPolicy": {"Policy": "{\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\"Resource\":\"*\"}]}"},
  "GetBucketEncryption": {"Error": {"Code": "ServerSideEncryptionConfigurationNotFoundError"}},
  "GetBucketReplication": {"Error": {"Code": "AccessDenied", "Message": "no"}}
}`

func TestExportedAWS(t *testing.T) {
	dir := write(t, map[string]string{"b.json": awsMerged})
	subjects, unread := all(t, &Exported{Files: []string{dir}})
	if len(subjects) != 1 || len(unread) > 0 {
		t.Fatalf("%d subjects, unread %v", len(subjects), unread)
	}
	o := subjects[0].Object
	for field, want := range map[string]string{"region": `"us-east-1"`, "versioning": `{"status":"Disabled"}`, "encryption": `{"algorithm":"none"}`, "replication": "null",
		"lifecycle": "null", "policyPublic": "true", "objectLock": `{"days":5,"enabled":true,"level":"bucket","locked":false,"mode":"GOVERNANCE"}`} {
		if got := strings.Join(strings.Fields(asJSON(t, o[field])), ""); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	calls := o["calls"].(map[string]any)
	for aspect, want := range map[string]string{"encryption": NotConfigured, "replication": Refused, "lifecycle": Failed, "location": Answered} {
		if got := calls[aspect].(map[string]any)["state"]; got != want {
			t.Errorf("%s is %v, want %s", aspect, got, want)
		}
	}
	if at := subjects[0].Origin.Place("objectLock.mode"); at.Line != 6 {
		t.Errorf("objectLock.mode stands at %v", at)
	}
}

// A rule for the objects of a tag or a size is none for the whole bucket.
func TestRulesOfSomeObjectsAreMarked(t *testing.T) {
	for filter, want := range map[string]any{`{}`: nil, `{"Prefix":"p"}`: nil, `{"Tag":{"Key":"k","Value":"v"}}`: true, `{"And":{"Prefix":"p","Tags":[{"Key":"k","Value":"v"}]}}`: true, `{"ObjectSizeGreaterThan":9}`: true} {
		dir := write(t, map[string]string{"b.json": `{"Bucket":"b","GetBucketLifecycleConfiguration":{"Rules":[{"Status":"Enabled","Filter":` + filter + `,"NoncurrentVersionExpiration":{"NoncurrentDays":7}}]},
			"GetBucketReplication":{"ReplicationConfiguration":{"Rules":[{"Status":"Enabled","Filter":` + filter + `,"Destination":{"Bucket":"arn:aws:s3:::far"}}]}}}`})
		subjects, unread := all(t, &Exported{Files: []string{dir}})
		if len(subjects) != 1 || len(unread) > 0 {
			t.Fatalf("%s: %d subjects, unread %v", filter, len(subjects), unread)
		}
		for _, field := range []string{"lifecycle", "replication"} {
			if got := subjects[0].Object[field].([]any)[0].(map[string]any)["filtered"]; got != want {
				t.Errorf("%s: filtered in %s is %v, want %v", filter, field, got, want)
			}
		}
	}
}

func TestExportedFilesForEachCall(t *testing.T) {
	dir := write(t, map[string]string{"b/get-bucket-versioning.json": `{"Status": "Enabled"}`, "b/get-bucket-acl.json": `{"Grants": []}`,
		"c.get-public-access-block.json": `{"PublicAccessBlockConfiguration": {"BlockPublicAcls": true}}`, "c.get-bucket-logging.json": ""})
	subjects, unread := all(t, &Exported{Files: []string{dir}})
	if len(subjects) != 2 || subjects[0].Name != "b" || subjects[1].Name != "c" {
		t.Fatalf("got %v, unread %v", subjects, unread)
	}
	if len(unread) != 1 || unread[0].Kind != engine.Hole || subjects[1].Object["logging"] != nil {
		t.Errorf("an empty file: unread %v, logging %v", unread, subjects[1].Object["logging"])
	}
	if subjects[0].Object["aclPublic"] != false || subjects[0].Object["region"] != nil {
		t.Errorf("b is %s", asJSON(t, subjects[0].Object))
	}
}

func TestExportedOtherClouds(t *testing.T) {
	dir := write(t, map[string]string{
		"gcs.json": `[{"kind":"storage#bucket","name":"g","location":"EUR4","locationType":"dual-region","customPlacementConfig":{"dataLocations":["EUROPE-WEST1","EUROPE-NORTH1"]},
			"retentionPolicy":{"retentionPeriod":"604800","isLocked":true},"versioning":{"enabled":true},"encryption":{"defaultKmsKeyName":"projects/p/k"},
			"iamConfiguration":{"publicAccessPrevention":"enforced","uniformBucketLevelAccess":{"enabled":true}},"lifecycle":{"rule":[{"action":{"type":"Delete"},"condition":{"age":40}}]}},
			{"storage_url":"gs://h/","name":"h","location":"EUROPE-WEST1","location_type":"region","versioning_enabled":false,"public_access_prevention":"inherited"}]`,
		"account.json": `{"type":"Microsoft.Storage/storageAccounts","id":"/subscriptions/1/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acc","name":"acc","location":"West Europe",
			"secondaryLocation":"northeurope","sku":{"name":"Standard_RAGRS"},"enableHttpsTrafficOnly":true,"allowBlobPublicAccess":false,
			"encryption":{"keySource":"Microsoft.Keyvault","keyVaultProperties":{"keyVaultUri":"https://v.vault.azure.net/","keyName":"k"}}}`,
		"container.json": `{"type":"Microsoft.Storage/storageAccounts/blobServices/containers","id":"/x/storageAccounts/acc/blobServices/default/containers/con","name":"con","publicAccess":"None","hasImmutabilityPolicy":true}`,
		"policy.json":    `{"type":"Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies","id":"/x/storageAccounts/acc/blobServices/default/containers/con/immutabilityPolicies/default","properties":{"immutabilityPeriodSinceCreationInDays":14,"state":"Unlocked"}}`,
	})
	subjects, unread := all(t, &Exported{Files: []string{filepath.Join(dir, "gcs.json"), dir + "/account.json", dir + "/container.json", dir + "/policy.json"}})
	if len(subjects) != 3 || len(unread) > 0 {
		t.Fatalf("%d subjects, unread %v", len(subjects), unread)
	}
	for i, wants := range []map[string]string{
		{"region": `"eur4"`, "objectLock": `{"enabled":true,"level":"bucket","locked":true,"mode":"COMPLIANCE","seconds":604800}`, "encryption": `{"algorithm":"customer","key":"projects/p/k"}`,
			"publicAccess": `{"prevented":true}`, "tlsOnly": "true", "aclPublic": "false", "lifecycle": `[{"expirationDays":40,"id":"Delete","status":"Enabled"}]`,
			"replication": `[{"bucket":"g","id":"geo","region":"europe-west1","status":"Enabled"},{"bucket":"g","id":"geo","region":"europe-north1","status":"Enabled"}]`},
		{"region": `"europe-west1"`, "replication": "[]", "versioning": `{"status":"Disabled"}`, "objectLock": `{"enabled":false,"level":"bucket"}`, "aclPublic": "null"},
		{"region": `"westeurope"`, "account": `"acc"`, "replication": `[{"bucket":"con","id":"geo","region":"northeurope","status":"Enabled"}]`, "tlsOnly": "true",
			"objectLock": `{"days":14,"enabled":true,"level":"container","locked":false,"mode":"GOVERNANCE"}`, "publicAccess": `{"prevented":true}`, "aclPublic": "false",
			"encryption": `{"algorithm":"customer","key":"https://v.vault.azure.net/keys/k"}`, "versioning": "null"},
	} {
		for field, want := range wants {
			if got := strings.Join(strings.Fields(asJSON(t, subjects[i].Object[field])), ""); got != want {
				t.Errorf("%s: %s is %s, want %s", subjects[i].Name, field, got, want)
			}
		}
	}
}

func TestExportedThatIsNone(t *testing.T) {
	for text, want := range map[string]engine.UnreadKind{
		`{"a": 1}`: engine.NotManifest, `{"Bucket": `: engine.Broken, ``: engine.Broken, `7`: engine.NotManifest,
		`{"kind":"storage#buckets","nextPageToken":"t","items":[]}`: engine.Hole,
		`{"kind":"storage#bucket","name":7}`:                        engine.Broken,
	} {
		dir := write(t, map[string]string{"x.json": text})
		subjects, unread := all(t, &Exported{Files: []string{dir + "/x.json"}})
		if len(subjects) > 0 || len(unread) == 0 || unread[0].Kind != want {
			t.Errorf("%s: %d subjects, unread %v, want kind %d", text, len(subjects), unread, want)
		}
	}
	dir := write(t, map[string]string{"b.json": `{"Bucket": "b",` + "\n" + `"GetBucketVersioning": {"Status": 7}}`})
	subjects, unread := all(t, &Exported{Files: []string{dir}})
	if len(unread) != 1 || unread[0].Line != 2 || len(subjects) != 1 || subjects[0].Object["versioning"] != nil {
		t.Errorf("mistyped: %d subjects, unread %v", len(subjects), unread)
	}
}
