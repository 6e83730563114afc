//go:build unix

package real

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// One pair for both stores. No suite may find the secret half in anything Proviso writes.
const (
	storeKey    = "proviso-test"
	storeSecret = "canary-store-key-5d1f0c"
	region      = "eu-central-1"
)

// s3server is a store with object lock that listens on loopback.
type s3server struct {
	name     string
	endpoint string
	client   *s3.Client
}

func newS3(name, address string) *s3server {
	endpoint := "http://" + address
	return &s3server{name: name, endpoint: endpoint, client: s3.New(s3.Options{
		Region: region, BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(storeKey, storeSecret, ""),
	})}
}

func (s *s3server) answers(ctx context.Context) error {
	_, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}

var startGateway = sync.OnceValues(func() (*s3server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(scratch, "versitygw")
	for _, sub := range []string{"iam", "ver", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	p, err := start("versitygw", []string{"ROOT_ACCESS_KEY=" + storeKey, "ROOT_SECRET_KEY=" + storeSecret},
		filepath.Join(os.Getenv("PROVISO_TOOLS"), "versitygw"),
		"--port", address, "--region", region, "--iam-dir", filepath.Join(dir, "iam"), "posix", "--versioning-dir", filepath.Join(dir, "ver"), filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	s := newS3("versitygw", address)
	return s, p.ready(30*time.Second, s.answers)
})

var startMinio = sync.OnceValues(func() (*s3server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	console, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(scratch, "minio")
	p, err := start("minio", []string{
		"MINIO_ROOT_USER=" + storeKey, "MINIO_ROOT_PASSWORD=" + storeSecret, "MINIO_UPDATE=off", "MINIO_SITE_REGION=" + region, "MINIO_CALLHOME_ENABLE=off",
		"MINIO_KMS_SECRET_KEY=test-key:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}, filepath.Join(os.Getenv("PROVISO_TOOLS"), "minio"), "server", dir, "--address", address, "--console-address", console, "--quiet")
	if err != nil {
		return nil, err
	}
	s := newS3("minio", address)
	return s, p.ready(60*time.Second, s.answers)
})

func gateway(t testing.TB) *s3server {
	t.Helper()
	tool(t, "versitygw")
	s, err := startGateway()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func minio(t testing.TB) *s3server {
	t.Helper()
	tool(t, "minio")
	s, err := startMinio()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bucket makes a bucket; days > 0 makes it one with object lock that keeps each version in COMPLIANCE mode for as many days.
func (s *s3server) bucket(t testing.TB, name string, days int32) {
	t.Helper()
	if _, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(days > 0),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region}}); err != nil {
		t.Fatalf("make bucket %s on %s: %v", name, s.name, err)
	}
	if days > 0 {
		s.lock(t, name, days)
	}
}

// lock sets the bucket's default retention.
func (s *s3server) lock(t testing.TB, name string, days int32) {
	t.Helper()
	_, err := s.client.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &name,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: &days}}}})
	if err != nil {
		t.Fatalf("lock bucket %s on %s: %v", name, s.name, err)
	}
}

// keys lists what is in a bucket now under a prefix.
func (s *s3server) keys(t testing.TB, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("list %s/%s on %s: %v", bucket, prefix, s.name, err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}
