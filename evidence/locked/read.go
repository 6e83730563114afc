package locked

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// reading reads one version of an object, and takes the reading up again where the connection broke.
type reading struct {
	ctx    context.Context
	bucket *Bucket
	version
	cancel context.CancelFunc
	body   io.ReadCloser
	offset int64
	tries  int
}

// open reads a version as it was listed, from its beginning.
func (b *Bucket) open(ctx context.Context, v version) (*reading, error) {
	r := &reading{ctx: ctx, bucket: b, version: v}
	if err := r.request(); err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", v.key, b, store.Classify(err))
	}
	return r, nil
}

func (r *reading) request() error {
	ctx, cancel := context.WithCancel(r.ctx)
	in := &s3.GetObjectInput{Bucket: &r.bucket.source.Bucket, Key: aws.String(r.bucket.source.Prefix + r.key)}
	if r.id != "" {
		in.VersionId = &r.id
	}
	want := r.size - r.offset
	if r.offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.offset))
	}
	out, err := r.bucket.client.GetObject(ctx, in)
	if err != nil {
		cancel()
		return err
	}
	if got := aws.ToInt64(out.ContentLength); got != want {
		cancel()
		return errors.Join(fmt.Errorf("the server sends %d bytes, and listed %d: %w", got, want, store.ErrUnavailable), out.Body.Close())
	}
	r.body, r.cancel = out.Body, cancel
	return nil
}

func (r *reading) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if err := r.request(); err != nil {
				return 0, fmt.Errorf("read %s in %s: %w", r.key, r.bucket, store.Classify(err))
			}
		}
		stall := time.AfterFunc(r.bucket.source.Budget.Stall, r.cancel)
		n, err := r.body.Read(p)
		stall.Stop()
		r.offset += int64(n)
		switch {
		case err == nil && n > 0, errors.Is(err, io.EOF) && r.offset == r.size:
			return n, err
		case err == nil:
			continue
		}
		r.close()
		if r.tries++; r.tries >= r.bucket.source.Budget.Attempts || r.ctx.Err() != nil || r.offset >= r.size {
			return n, fmt.Errorf("read %s in %s: after %d of %d bytes: %w: %w", r.key, r.bucket, r.offset, r.size, store.ErrUnavailable, err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (r *reading) close() {
	if r.body != nil {
		r.cancel()
		_ = r.body.Close()
		r.body = nil
	}
}

// Close ends the reading.
func (r *reading) Close() error {
	r.close()
	return nil
}

// whole reads a version into memory.
func (b *Bucket) whole(ctx context.Context, v version) ([]byte, error) {
	r, err := b.open(ctx, v)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// digest reads a version, and keeps nothing.
func (b *Bucket) digest(ctx context.Context, v version) (engine.Digest, error) {
	r, err := b.open(ctx, v)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// head asks how a version is locked, which not every server says to who reads it; and for the SHA-256 the server computed when it
// was put.
func (b *Bucket) head(ctx context.Context, v version) (*s3.HeadObjectOutput, lock, error) {
	in := &s3.HeadObjectInput{Bucket: &b.source.Bucket, Key: aws.String(b.source.Prefix + v.key), ChecksumMode: types.ChecksumModeEnabled}
	if v.id != "" {
		in.VersionId = &v.id
	}
	out, err := b.client.HeadObject(ctx, in)
	if err != nil {
		return nil, lock{}, fmt.Errorf("ask for %s in %s: %w", v.key, b, store.Classify(err))
	}
	if out.ObjectLockMode != "" {
		return out, lock{out.ObjectLockMode, aws.ToTime(out.ObjectLockRetainUntilDate)}, nil
	}
	// Some servers say so of the latest version alone.
	kept, err := b.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId})
	if err == nil && kept.Retention != nil {
		return out, lock{types.ObjectLockMode(kept.Retention.Mode), aws.ToTime(kept.Retention.RetainUntilDate)}, nil
	}
	// That there is none they say by 400, 403, 404 or 405: no lock, not in this bucket, not for you.
	if said, ok := errors.AsType[*smithyhttp.ResponseError](err); err != nil && (!ok || said.HTTPStatusCode() >= http.StatusInternalServerError) {
		return nil, lock{}, fmt.Errorf("ask for the lock of %s in %s: %w", v.key, b, store.Classify(err))
	}
	return out, lock{}, nil
}
