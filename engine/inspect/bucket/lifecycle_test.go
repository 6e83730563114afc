package bucket

import (
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

func gcsRule(condition string) string {
	return `{"kind":"storage#bucket","name":"b","lifecycle":{"rule":[{"action":{"type":"Delete"},"condition":` + condition + `}]}}`
}

func awsRule(rule string) string {
	return `{"Bucket":"b","GetBucketLifecycleConfiguration":{"Rules":[` + rule + `]}}`
}

func azureRule(actions, filters string) string {
	return `{"type":"Microsoft.Storage/storageAccounts/managementPolicies","id":"/x/storageAccounts/b/managementPolicies/default",
		"properties":{"policy":{"rules":[{"enabled":true,"name":"r","definition":{"actions":` + actions + `,"filters":` + filters + `}}]}}}`
}

// What a rule deletes, when, and whether all of it: whatever limits a rule is seen, and a rule that deletes by what is not
// read says so.
func TestLifecycleRules(t *testing.T) {
	for text, want := range map[string]string{
		gcsRule(`{"age":40}`):                                                  `"expirationDays":40`,
		gcsRule(`{"age":40,"matchesPrefix":["p/"]}`):                           `"expirationDays":40,"prefix":"p/"`,
		gcsRule(`{"age":40,"matchesSuffix":[".tmp"]}`):                         `"expirationDays":40,"filtered":true`,
		gcsRule(`{"age":40,"daysSinceCustomTime":1}`):                          `"expirationDays":40,"filtered":true`,
		gcsRule(`{"isLive":true}`):                                             `"expirationDays":0`,
		gcsRule(`{"matchesStorageClass":["STANDARD"]}`):                        `"expirationDays":0,"filtered":true`,
		gcsRule(`{"numNewerVersions":0}`):                                      `"expirationDays":0`,
		gcsRule(`{"daysSinceCustomTime":1}`):                                   `"expirationUndated":true,"filtered":true`,
		gcsRule(`{"isLive":true,"customTimeBefore":"2026-01-01"}`):             `"expirationUndated":true,"filtered":true`,
		gcsRule(`{"createdBefore":"2026-01-01"}`):                              `"expirationDate":"2026-01-01T00:00:00Z"`,
		gcsRule(`{"daysSinceNoncurrentTime":30}`):                              `"noncurrentDays":30`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"age":60}`):                     `"noncurrentDays":60`,
		gcsRule(`{"isLive":false,"age":30}`):                                   `"noncurrentDays":30`,
		gcsRule(`{"isLive":false}`):                                            `"noncurrentDays":0`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"isLive":true}`):                `"filtered":true,"noncurrentDays":30`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"createdBefore":"2026-01-01"}`): `"filtered":true,"noncurrentDays":30`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"matchesSuffix":[".tmp"]}`):     `"filtered":true,"noncurrentDays":30`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"matchesStorageClass":["A"]}`):  `"filtered":true,"noncurrentDays":30`,
		gcsRule(`{"daysSinceNoncurrentTime":30,"numNewerVersions":3}`):         `"newerVersions":3,"noncurrentDays":30`,
		gcsRule(`{"numNewerVersions":3}`):                                      `"newerVersions":3`,
		gcsRule(`{"noncurrentTimeBefore":"2026-01-01"}`):                       `"filtered":true`,
		gcsRule(`{"isLive":false,"createdBefore":"2026-01-01"}`):               `"filtered":true`,
		gcsRule(`{"age":-1}`):                                                  "want at least 0",
		gcsRule(`{"daysSinceNoncurrentTime":-1}`):                              "want at least 0",
		strings.Replace(gcsRule(`{"age":9}`), "Delete", "delete", 1):           `the action "delete" is not known`,

		awsRule(`{"Status":"Enabled","NoncurrentVersionExpiration":{"NoncurrentDays":30}}`):                                `"noncurrentDays":30`,
		awsRule(`{"Status":"Enabled","NoncurrentVersionExpiration":{"NoncurrentDays":30,"NewerNoncurrentVersions":100}}`):  `"newerVersions":100,"noncurrentDays":30`,
		awsRule(`{"Status":"Enabled","Filter":{"And":{"Prefix":"p","Owner":"o"}},"Expiration":{"Days":9}}`):                `"expirationDays":9,"filtered":true,"prefix":"p"`,
		awsRule(`{"Status":"Enabled","NoncurrentVersionExpiration":{"NoncurrentDays":30,"NewerNoncurrentVersions":-100}}`): "want at least 0",
		awsRule(`{"Status":"Enabled","NoncurrentVersionExpiration":{"NoncurrentDays":0}}`):                                 "want at least 1",
		awsRule(`{"Status":"Enabled","Expiration":{"Days":0}}`):                                                            "want at least 1",
		awsRule(`{"Status":"Enabled","Expiration":{"Days":-1}}`):                                                           "want at least 1",
		awsRule(`{"Status":"enabled","Expiration":{"Days":30}}`):                                                           `the status of a rule is "enabled", want Enabled or Disabled`,
		awsRule(`{"Expiration":{"Days":30}}`):                                                                              `the status of a rule is "", want Enabled or Disabled`,

		azureRule(`{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":30.0}}}`, `{"blobTypes":["blockBlob"]}`):         `"expirationDays":30`,
		azureRule(`{"baseBlob":{"delete":{"daysAfterCreationGreaterThan":1}}}`, `{}`):                                         `"expirationDays":1`,
		azureRule(`{"baseBlob":{"delete":{"daysAfterLastAccessTimeGreaterThan":2}}}`, `null`):                                 `"expirationDays":2`,
		azureRule(`{"baseBlob":{"delete":{"daysAfterCreationGreaterThan":9,"daysAfterModificationGreaterThan":20}}}`, `null`): `"expirationDays":9`,
		azureRule(`{"baseBlob":{"delete":{"daysAfterLastTierChangeGreaterThan":2}}}`, `{}`):                                   `"expirationUndated":true`,
		azureRule(`{"baseBlob":{"delete":{}}}`, `{}`):                                                                         `"expirationUndated":true`,
		azureRule(`{"baseBlob":{"delete":{"daysAfterCreationGreaterThan":-1}}}`, `{}`):                                        "want at least 0",
		azureRule(`{"version":{"delete":{"daysAfterCreationGreaterThan":30}}}`, `{"blobTypes":["blockBlob","appendBlob"]}`):   `"noncurrentDays":30`,
		azureRule(`{"version":{"delete":{"daysAfterCreationGreaterThan":30}}}`, `{"blobTypes":["appendBlob"]}`):               `"filtered":true,"noncurrentDays":30`,
		azureRule(`{"version":{"delete":{"daysAfterCreationGreaterThan":30}}}`, `{"blobIndexMatch":[{"name":"x"}]}`):          `"filtered":true,"noncurrentDays":30`,
		azureRule(`{"version":{"delete":{"daysAfterCreationGreaterThan":30,"daysAfterLastTierChangeGreaterThan":9}}}`, `{}`):  `"filtered":true,"noncurrentDays":30`,
	} {
		subjects, unread := all(t, &Exported{Files: []string{write(t, map[string]string{"b.json": text})}})
		if strings.HasPrefix(want, `"`) {
			got := ""
			if len(subjects) == 1 && len(unread) == 0 {
				rule := subjects[0].Object["lifecycle"].([]any)[0].(map[string]any)
				delete(rule, "id")
				delete(rule, "status")
				got = strings.Trim(strings.Join(strings.Fields(asJSON(t, rule)), ""), "{}")
			}
			if got != want {
				t.Errorf("%s\nis read as %s, unread %v; want %s", text, got, unread, want)
			}
			continue
		}
		if len(unread) != 1 || unread[0].Kind != engine.Broken || !strings.Contains(unread[0].Error(), want) || len(subjects) == 1 && subjects[0].Object["lifecycle"] != nil {
			t.Errorf("%s\nis read as %v, unread %v; want none, and %q", text, subjects, unread, want)
		}
	}
}

// A retention of no time holds nothing, and is no lock.
func TestRetentionOfNoTimeIsNoLock(t *testing.T) {
	const off = `"enabled":false,"level":`
	for period, want := range map[string]string{"-1": off, "0": off, "9": `"enabled":true,`} {
		for _, text := range []string{
			`{"kind":"storage#bucket","name":"b","retentionPolicy":{"retentionPeriod":"` + period + `","isLocked":true}}`,
			`{"storage_url":"gs://b/","name":"b","retention_policy":{"retentionPeriod":"` + period + `","isLocked":true}}`,
			`{"type":"Microsoft.Storage/storageAccounts/blobServices/containers","id":"/x/storageAccounts/a/blobServices/default/containers/b","name":"b",
				"hasImmutabilityPolicy":true,"immutabilityPolicy":{"immutabilityPeriodSinceCreationInDays":` + period + `,"state":"Locked"}}`,
		} {
			lock := only(t, &Exported{Files: []string{write(t, map[string]string{"b.json": text})}})["objectLock"]
			if got := strings.Join(strings.Fields(asJSON(t, lock)), ""); !strings.Contains(got, want) {
				t.Errorf("%s\nlocks %s, want %s", text, got, want)
			}
		}
	}
}
