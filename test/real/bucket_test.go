//go:build unix

package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const tlsOnly = `{"Sid":"tls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`

const anybody = `{"Sid":"open","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]}`

const readable = `{"Sid":"read","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%[1]s/*"}`

func (s *s3server) policy(t testing.TB, bucket string, statements ...string) {
	t.Helper()
	if len(statements) == 0 {
		if _, err := s.client.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &bucket}); err != nil {
			t.Fatalf("remove policy of %s on %s: %v", bucket, s.name, err)
		}
		return
	}
	text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`, bucket)
	if _, err := s.client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &text}); err != nil {
		t.Fatalf("set policy of %s on %s: %v", bucket, s.name, err)
	}
}

func (s *s3server) version(t testing.TB, bucket string, status types.BucketVersioningStatus) {
	t.Helper()
	if _, err := s.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: status}}); err != nil {
		t.Fatalf("set versioning of %s on %s: %v", bucket, s.name, err)
	}
}

func (s *s3server) source(bucket string) string {
	return fmt.Sprintf("bucket:s3://%s?endpoint=%s&region=%s", bucket, s.endpoint, region)
}

// declared writes the BackupStorageLocation that says where a bucket lies.
func (s *s3server) declared(t testing.TB, bucket, where string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "location.yaml")
	text := fmt.Sprintf(`apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: main, namespace: velero}
spec:
  provider: aws
  objectStorage: {bucket: %s}
  config: {region: %s, s3Url: %s, s3ForcePathStyle: "true"}
`, bucket, where, s.endpoint)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each thing that is wrong with a bucket is caught by its policy, and clean when mended.
func TestRealBucketMutations(t *testing.T) {
	stores := map[string]*s3server{"versitygw": gateway(t), "minio": minio(t)}
	cases := []struct {
		name, ref, kind string
		lock            int32
		mended, broken  func(t *testing.T, s *s3server, bucket string)
		with            func(t *testing.T, s *s3server, bucket string, broken bool) []string // further sources
	}{
		{name: "lock-short", ref: "IMM-02", kind: "Bucket", lock: 30,
			mended: func(t *testing.T, s *s3server, b string) { s.lock(t, b, 30) },
			broken: func(t *testing.T, s *s3server, b string) { s.lock(t, b, 1) }},
		{name: "versioning", ref: "IMM-03", kind: "Bucket",
			mended: func(t *testing.T, s *s3server, b string) { s.version(t, b, types.BucketVersioningStatusEnabled) },
			broken: func(t *testing.T, s *s3server, b string) { s.version(t, b, types.BucketVersioningStatusSuspended) }},
		{name: "plain-http", ref: "ENC-08", kind: "Bucket",
			mended: func(t *testing.T, s *s3server, b string) { s.policy(t, b, tlsOnly) },
			broken: func(t *testing.T, s *s3server, b string) { s.policy(t, b) }},
		{name: "public", ref: "IMM-08", kind: "Bucket",
			mended: func(t *testing.T, s *s3server, b string) { s.policy(t, b, tlsOnly) },
			broken: func(t *testing.T, s *s3server, b string) { s.policy(t, b, anybody) }},
		{name: "public-read", ref: "ACC-05", kind: "Bucket",
			mended: func(t *testing.T, s *s3server, b string) { s.policy(t, b, tlsOnly) },
			broken: func(t *testing.T, s *s3server, b string) { s.policy(t, b, tlsOnly, readable) }},
		{name: "region", ref: "RES-07", kind: "StorageLocation",
			mended: func(*testing.T, *s3server, string) {}, broken: func(*testing.T, *s3server, string) {},
			with: func(t *testing.T, s *s3server, b string, broken bool) []string {
				if broken {
					return []string{s.declared(t, b, "eu-west-1")}
				}
				return []string{s.declared(t, b, region)}
			}},
	}
	for store, s := range stores {
		for _, c := range cases {
			t.Run(store+"/"+c.name, func(t *testing.T) {
				bucket := "mutation-" + c.name
				s.bucket(t, bucket, c.lock)
				for _, round := range []string{"pass", "fail", "pass"} {
					change := map[string]func(*testing.T, *s3server, string){"pass": c.mended, "fail": c.broken}[round]
					change(t, s, bucket)
					sources := []string{s.source(bucket)}
					if c.with != nil {
						sources = append(sources, c.with(t, s, bucket, round == "fail")...)
					}
					f := scan(t, nil, sources...)
					name := bucket
					if c.kind == "StorageLocation" {
						name = "main"
					}
					f.want(t, round, c.ref, c.kind, name)
					if round == "fail" && f.code != 3 {
						t.Errorf("exit code %d, want 3", f.code)
					}
				}
			})
		}
		t.Run(store+"/no-lock", func(t *testing.T) {
			s.bucket(t, "mutation-locked", 30)
			s.bucket(t, "mutation-unlocked", 0)
			scan(t, nil, s.source("mutation-locked")).want(t, "pass", "IMM-01", "Bucket", "mutation-locked")
			scan(t, nil, s.source("mutation-unlocked")).want(t, "fail", "IMM-01", "Bucket", "mutation-unlocked")
		})
	}
}

// The lock of each stored file is held against the expiration of the backup it belongs to, also where the server tells no retention of an
// object and only the bucket's default says it.
func TestRealLockCoversExpiration(t *testing.T) {
	v := backups(t)
	for _, store := range []string{"versitygw", "minio"} {
		from := v.locations[store+"-plain"]
		for days, verdict := range map[int32]string{1: "fail", 31: "pass"} {
			t.Run(fmt.Sprintf("%s/%d-days", store, days), func(t *testing.T) {
				bucket := fmt.Sprintf("locked-%d-days", days)
				from.store.bucket(t, bucket, days)
				for _, key := range from.store.keys(t, from.bucket, prefix+"/") {
					from.store.put(t, bucket, key, from.store.get(t, from.bucket, key))
				}
				scan(t, nil, "bucket:"+location{bucket: bucket, store: from.store}.source()).want(t, verdict, "IMM-04", "StoredObject", "")
			})
		}
	}
}
