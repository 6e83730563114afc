//go:build unix

package real

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var theBackups struct {
	sync.Once
	made bool
}

// backups is the Velero with the backups all suites look at. In each location with object lock: a scheduled one (STORE-nightly-1)
// and one that failed in part (STORE-partial); in each without: a scoped one (STORE-shop). The restore drill maps shop to shop-drill.
func backups(t testing.TB) *veleroServer {
	t.Helper()
	v := velero(t)
	theBackups.Do(func() {
		for _, store := range []string{"versitygw", "minio"} {
			v.do(t, "schedule", "create", store+"-nightly", "--schedule", "0 1 * * *", "--include-namespaces", "shop",
				"--storage-location", store+"-locked", "--ttl", "720h")
			v.backup(t, store+"-nightly-1", store+"-locked", "Completed", "--from-schedule", store+"-nightly")
			v.backup(t, store+"-partial", store+"-locked", "PartiallyFailed", "--include-namespaces", "hooks")
			v.backup(t, store+"-shop", store+"-plain", "Completed", "--include-namespaces", "shop", "--selector", "tier notin (scratch)")
		}
		v.do(t, "restore", "create", "drill", "--from-backup", "versitygw-nightly-1", "--namespace-mappings", "shop:shop-mapped")
		if got := v.phase(t, "restores", "drill"); got != "Completed" {
			t.Fatalf("restore drill: phase %s, want Completed\n%s", got, v.do(t, "restore", "logs", "drill"))
		}
		theBackups.made = true
	})
	if !theBackups.made {
		t.Fatal("make backups: it failed in the suite that came first")
	}
	return v
}

// download copies what is under a location to a folder, as a user would before an inspection offline.
func (l location) download(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, key := range l.store.keys(t, l.bucket, prefix+"/") {
		file := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(key, prefix+"/")))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, l.store.get(t, l.bucket, key), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (s *s3server) get(t testing.TB, bucket, key string) []byte {
	t.Helper()
	answer, err := s.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("read %s/%s on %s: %v", bucket, key, s.name, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("read %s/%s on %s: %v", bucket, key, s.name, err)
	}
	return data
}

// versions lists every version and delete marker under a prefix.
func (s *s3server) versions(t testing.TB, bucket, prefix string) (versions []types.ObjectVersion, markers []types.DeleteMarkerEntry) {
	t.Helper()
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("list versions of %s/%s on %s: %v", bucket, prefix, s.name, err)
		}
		versions, markers = append(versions, page.Versions...), append(markers, page.DeleteMarkers...)
	}
	return versions, markers
}

// What the other suites build on is what it is said to be.
func TestRealBackups(t *testing.T) {
	v := backups(t)
	for _, store := range []string{"versitygw", "minio"} {
		for name, where := range map[string]string{"nightly-1": "locked", "partial": "locked", "shop": "plain"} {
			l := v.locations[store+"-"+where]
			folder := fmt.Sprintf("%s/backups/%s-%s/", prefix, store, name)
			keys := l.store.keys(t, l.bucket, folder)
			if len(keys) < 8 {
				t.Errorf("%s holds %d files, want what Velero writes for a backup: %v", folder, len(keys), keys)
			}
		}
	}
	if got := v.cluster.kubectl(t, "", "get", "-n", "shop-mapped", "ledgers,secrets,pvc", "-o", "name"); strings.Count(got, "\n") != 4 {
		t.Errorf("restored into shop-mapped: %q, want two ledgers, a secret and a claim", got)
	}
}

// A deletion under object lock succeeds for Velero and keeps every byte; a scan sees the markers and says so.
func TestRealDeleteUnderLock(t *testing.T) {
	v := backups(t)
	for _, store := range []string{"versitygw", "minio"} {
		t.Run(store, func(t *testing.T) {
			l := v.locations[store+"-locked"]
			name := store + "-doomed"
			v.backup(t, name, l.name, "Completed", "--include-namespaces", "hooks", "--exclude-resources", "pods")
			folder := prefix + "/backups/" + name + "/"
			before, _ := l.store.versions(t, l.bucket, folder)
			v.do(t, "backup", "delete", name, "--confirm")
			until(t, time.Minute, "deletion of "+name, func(context.Context) error {
				if left := v.cluster.kubectl(t, "", "get", "-n", "velero", "backups.velero.io", name, "--ignore-not-found", "-o", "name"); left != "" {
					return fmt.Errorf("%s is still there", strings.TrimSpace(left))
				}
				return nil
			})
			after, markers := l.store.versions(t, l.bucket, folder)
			if len(markers) == 0 || len(after) < len(before) || len(l.store.keys(t, l.bucket, folder)) != 0 {
				t.Fatalf("after the deletion %d versions of %d and %d markers, want all versions behind markers", len(after), len(before), len(markers))
			}
			f := scan(t, nil, "bucket:"+l.source())
			f.want(t, "pass", "IMM-01", "Bucket", l.bucket)
			if !strings.Contains(f.raw, name) || !strings.Contains(f.raw, "delete marker") {
				t.Errorf("no word of the deleted backup %s and its %d delete markers in the report", name, len(markers))
			}
		})
	}
}

// Backups in a folder and the same ones in a bucket are judged alike.
func TestRealScanBackups(t *testing.T) {
	v := backups(t)
	for _, store := range []string{"versitygw", "minio"} {
		for _, where := range []string{"locked", "plain"} {
			t.Run(store+"/"+where, func(t *testing.T) {
				l := v.locations[store+"-"+where]
				backup := store + "-shop"
				if where == "locked" {
					backup = store + "-nightly-1"
				}
				var codes []int
				for _, source := range []string{"velero:" + l.download(t), "velero:" + l.source()} {
					f := scan(t, nil, source)
					codes = append(codes, f.code)
					if f.code != 3 {
						t.Errorf("scan %s: exit code %d, want 3 for the volume that was skipped\n%s", source, f.code, f.errs)
					}
					f.want(t, "fail", "CMP-02", "BackupContents", backup)
					f.want(t, "pass", "CMP-03", "RestorePlan", backup)
					f.want(t, "pass", "CMP-06", "BackupContents", backup)
					f.want(t, "pass", "REC-03", "BackupContents", backup)
					f.want(t, "pass", "REC-03", "Backup", backup)
					if where == "locked" {
						f.want(t, "fail", "REC-03", "BackupContents", store+"-partial")
						f.want(t, "fail", "REC-03", "Backup", store+"-partial")
					}
					if len(f.Unread) != 0 {
						t.Errorf("scan %s: unread %v in backups that are whole", source, f.Unread)
					}
				}
				if codes[0] != codes[1] {
					t.Errorf("exit codes %v of folder and bucket differ", codes)
				}
			})
		}
	}
}

// The order of a restore: what defines and holds comes before what needs it.
func TestRealRestoreOrder(t *testing.T) {
	v := backups(t)
	l := v.locations["versitygw-locked"]
	_, out, errs := proviso(t, nil, "scan", "-o", "graph", "velero:"+l.download(t))
	if !strings.Contains(out, "ledgers.books.example.com") || !strings.Contains(out, "StorageClass") {
		t.Errorf("the graph names neither the definition of Ledger nor the StorageClass that is absent:\n%s%s", out, errs)
	}
}

// put writes one file.
func (s *s3server) put(t testing.TB, bucket, key string, data []byte) {
	t.Helper()
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(string(data)),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ContentLength: aws.Int64(int64(len(data)))}); err != nil {
		t.Fatalf("write %s/%s on %s: %v", bucket, key, s.name, err)
	}
}
