// Package locked copies sealed evidence into an S3 bucket under object lock, and reads it there. Who holds the key and every
// copy of a log can write another history; who cannot alter what lies in the bucket cannot do so unseen. Start at [Open],
// [Bucket.Copy] and [Bucket.Verify].
//
// Under the bucket's prefix each log has a folder named by its producer's id:
//
//	ID/records/0000000000.jsonl/<64 hex digits>    a file of the log as a seal lists it, by its path and the SHA-256 of its bytes
//	ID/seals/000001/…                              the seal itself, under the names it has in the folder
//
// So a file that grows has an object for each seal it was copied at, no two of them share a name, and what any seal covers is
// found by its list alone. Each object is put once, in COMPLIANCE mode, and read by its oldest version: what is put over it or
// deleted later is seen, and changes nothing. The salt, the lock and the state of the log's writer are never copied.
package locked

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"proviso.dev/proviso/engine/store"
	"proviso.dev/proviso/evidence"
)

// Bucket is where logs are copied to: what is under a prefix of a bucket.
type Bucket struct {
	source store.Source
	client *s3.Client
}

// atOnce is how many objects are asked for side by side.
const atOnce = 16

// Open is the bucket a user names. It asks for credentials, and nothing else yet.
func Open(ctx context.Context, s store.Source) (*Bucket, error) {
	if s.Budget == (store.Budget{}) {
		s.Budget = store.Budget{Attempts: 5, Stall: 30 * time.Second, Backoff: 5 * time.Second}
	}
	client, err := s.Client(ctx)
	if err != nil {
		return nil, err
	}
	return &Bucket{s, client}, nil
}

// String is how the user named the bucket.
func (b *Bucket) String() string { return b.source.String() }

// Codes of what checking a bucket finds, beside those of evidence.
const (
	Overwritten = "overwritten"
	Hidden      = "hidden"
	Unlocked    = "unlocked"
)

// Refused is why nothing is copied: the folder and the bucket do not tell of the same log. Its code is one of evidence's.
type Refused evidence.Problem

func (r *Refused) Error() string { return fmt.Sprintf("%s [%s]", evidence.Problem(*r), r.Code) }

// withheld reports whether a file of a folder stays there: what stands for Secrets' values in it is worth nothing once the salt
// is known, and what the log's writer keeps for itself says nothing.
func withheld(path string) bool {
	return path == evidence.SaltFile || path == evidence.LockFile || strings.HasPrefix(path, evidence.LogDir+"/.state/")
}

// keyOf is where a file of a log lies, below the log's own prefix.
func keyOf(f *evidence.File) string {
	if strings.HasPrefix(f.Path, evidence.SealsDir+"/") {
		return f.Path
	}
	return f.Path + "/" + strings.TrimPrefix(string(f.Digest), "sha256:")
}

// sumOf is the digest a key names, as hexadecimal; seals have none.
func sumOf(key string) (sum string, ok bool) {
	sum = key[strings.LastIndex(key, "/")+1:]
	raw, err := hex.DecodeString(sum)
	return sum, err == nil && len(raw) == 32 && sum == strings.ToLower(sum) && !strings.HasPrefix(key, evidence.SealsDir+"/") && len(key) > len(sum)+1
}

// Lockable checks that what is put into the bucket can be locked, and that no version of it is lost.
func (b *Bucket) Lockable(ctx context.Context) error {
	const wayOut = "make one with: aws s3api create-bucket --object-lock-enabled-for-bucket --bucket NAME"
	v, err := b.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.source.Bucket})
	if err != nil {
		return fmt.Errorf("ask %s for its versioning: %w", b, store.Classify(err))
	}
	if v.Status != types.BucketVersioningStatusEnabled {
		return fmt.Errorf("copy to %s: the bucket keeps no versions, so it has no object lock (%s)", b, wayOut)
	}
	l, err := b.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &b.source.Bucket})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ObjectLockConfigurationNotFoundError" {
		l, err = &s3.GetObjectLockConfigurationOutput{}, nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("ask %s for its object lock: %w", b, store.Classify(err))
	case l.ObjectLockConfiguration == nil || l.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled:
		return fmt.Errorf("copy to %s: the bucket has no object lock (%s)", b, wayOut)
	}
	return nil
}

// lock is how a version of an object is held.
type lock struct {
	mode  types.ObjectLockMode
	until time.Time
}

// holds reports whether nobody can delete it before a time.
func (l lock) holds(until time.Time) bool {
	return l.mode == types.ObjectLockModeCompliance && !l.until.Before(until)
}
