package locked

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"proviso.dev/proviso/engine/store"
	"proviso.dev/proviso/evidence"
)

// CopyOptions say how a folder is copied.
type CopyOptions struct {
	// Until is until when each object is locked, by when the folder was sealed. So the same seal copied again is locked as long.
	Until func(sealed time.Time) time.Time
	// Now is the clock that a lock must end after.
	Now time.Time
	// Progress is called with how many objects are done, of how many; it may be nil.
	Progress func(done, of int)
}

// Copied is what a copy did.
type Copied struct {
	Producer string
	Seal     int
	// Put counts the objects that were put, Extended those that were there and were locked for longer, Kept the rest.
	Put, Extended, Kept int
	Until               time.Time
}

// copying is one copy of a folder.
type copying struct {
	*Bucket
	*sealed
	there *log
	until time.Time

	mu sync.Mutex
	Copied
	progress func(done, of int)
	of       int
}

// Copy puts what the newest seal of a folder covers, and the seal, into the bucket, and locks each object in COMPLIANCE mode, those
// that are there and only earlier seals list among them. It may be cut off and called again. Each byte is held against the signed
// list before it is put; that the list is true is what evidence.Verify checks. The folder's writer may go on meanwhile. The error wraps a [*Refused] where folder and bucket do not
// tell of one log.
func (b *Bucket) Copy(ctx context.Context, fsys fs.FS, o CopyOptions) (*Copied, error) {
	s, err := openSealed(fsys)
	if err != nil {
		return nil, err
	}
	// Servers keep whole seconds.
	until := o.Until(s.seal.Finished).UTC().Truncate(time.Second)
	if !until.After(o.Now) {
		return nil, fmt.Errorf("copy to %s: the lock would end on %s, which is past (seal %d was made on %s)", b, until.Format(time.RFC3339), s.number, s.seal.Finished.Format(time.RFC3339))
	}
	if err := b.Lockable(ctx); err != nil {
		return nil, err
	}
	there, err := b.log(ctx, s.producer.ID)
	if err != nil {
		return nil, err
	}
	c := &copying{Bucket: b, sealed: s, there: there, until: until, progress: o.Progress,
		Copied: Copied{Producer: s.producer.ID, Seal: s.number, Until: until}}
	if err := c.agrees(ctx); err != nil {
		return nil, fmt.Errorf("copy to %s: nothing was copied: %w", b, err)
	}
	earlier, err := c.earlier()
	if err != nil {
		return nil, fmt.Errorf("copy to %s: nothing was copied: %w", b, err)
	}
	c.of = len(s.files) + 1 + len(earlier)
	err = c.each(ctx, s.files, c.copy)
	if err == nil {
		err = c.copy(ctx, &s.statement)
	}
	if err == nil {
		err = c.each(ctx, earlier, c.copy)
	}
	if err != nil {
		return nil, fmt.Errorf("copy to %s: %w", b, err)
	}
	return &c.Copied, nil
}

// each does something with files, several at a time.
func (c *copying) each(ctx context.Context, files []evidence.File, do func(context.Context, *evidence.File) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return do(ctx, &files[i]) })
	}
	return g.Wait()
}

// agrees holds the seals in the bucket against those of the folder, before anything is put.
func (c *copying) agrees(ctx context.Context) error {
	known := map[string]evidence.File{}
	for _, f := range append([]evidence.File{c.statement}, c.files...) {
		known[keyOf(&f)] = f
	}
	var seals []evidence.File
	for key, o := range c.there.objects {
		n, ok := sealNumber(key)
		f, listed := known[key]
		switch {
		case !ok || len(o.versions) == 0:
		case n > c.number:
			return &Refused{evidence.Rollback, key, fmt.Sprintf("the bucket has seal %d of this log, and the newest of the folder is %d: an old copy was put in its place, or its end was cut off", n, c.number)}
		case !listed:
			return &Refused{evidence.SplitView, key, "the bucket has a file of this seal that the folder has not"}
		default:
			seals = append(seals, f)
		}
	}
	return c.each(ctx, seals, func(ctx context.Context, f *evidence.File) error {
		_, err := c.compare(ctx, c.there.objects[keyOf(f)].versions[0], f)
		return err
	})
}

// compare checks that a version holds a file, and tells how it is locked.
func (c *copying) compare(ctx context.Context, v version, f *evidence.File) (lock, error) {
	head, l, err := c.head(ctx, v)
	if err != nil {
		return l, err
	}
	same := aws.ToInt64(head.ContentLength) == f.Size
	if same && aws.ToString(head.ChecksumSHA256) != checksum(f) {
		// Whoever put it gave another kind of checksum or none; what is there says whether it is the same.
		v.size = f.Size
		d, err := c.digest(ctx, v)
		if err != nil {
			return l, err
		}
		same = d == f.Digest
	}
	if !same {
		return l, &Refused{evidence.SplitView, v.key, "the bucket holds other bytes under this name than the folder: they are two histories of one log"}
	}
	return l, nil
}

// checksum is a file's SHA-256 as S3 writes it.
func checksum(f *evidence.File) string {
	raw, err := hex.DecodeString(strings.TrimPrefix(string(f.Digest), "sha256:"))
	if err != nil {
		return "" // no checksum of anything
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// copy sees to it that an object is there, holds the file, and is locked long enough. What was just put is looked at too: there
// are servers that take a lock and do not keep it.
func (c *copying) copy(ctx context.Context, f *evidence.File) error {
	v := version{key: c.producer.ID + "/" + keyOf(f)}
	put := false
	if o := c.there.objects[keyOf(f)]; o != nil && len(o.versions) > 0 {
		v = o.versions[0]
	} else {
		var err error
		if v.id, put, err = c.put(ctx, v.key, f); err != nil {
			return err
		}
	}
	l, err := c.compare(ctx, v, f)
	if err != nil {
		return err
	}
	extended := !l.holds(c.until)
	if extended {
		if err := c.extend(ctx, v, f); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case put:
		c.Put++
	case extended:
		c.Extended++
	default:
		c.Kept++
	}
	if c.progress != nil {
		c.progress(c.Put+c.Extended+c.Kept, c.of)
	}
	return nil
}

// put puts a file where there is none. Where somebody did so meanwhile, or an earlier try of this very call, that is compared.
func (c *copying) put(ctx context.Context, key string, f *evidence.File) (id string, put bool, err error) {
	body, closer, err := c.find(f)
	if err != nil {
		return "", false, err
	}
	out, err := c.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &c.source.Bucket, Key: aws.String(c.source.Prefix + key), Body: body, ContentLength: &f.Size,
		ChecksumSHA256: aws.String(checksum(f)), IfNoneMatch: aws.String("*"), ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: &c.until})
	if closed := closer.Close(); err == nil {
		err = closed
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && response.HTTPStatusCode() == http.StatusPreconditionFailed {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("put %s: %w", key, store.Classify(err))
	}
	return aws.ToString(out.VersionId), true, nil
}

// extend locks a version for longer, and looks whether it is.
func (c *copying) extend(ctx context.Context, v version, f *evidence.File) error {
	in := &s3.PutObjectRetentionInput{Bucket: &c.source.Bucket, Key: aws.String(c.source.Prefix + v.key),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &c.until}}
	if v.id != "" {
		in.VersionId = &v.id
	}
	if _, err := c.client.PutObjectRetention(ctx, in); err != nil {
		return fmt.Errorf("lock %s: %w", v.key, store.Classify(err))
	}
	switch l, err := c.compare(ctx, v, f); {
	case err != nil:
		return err
	case !l.holds(c.until):
		return fmt.Errorf("lock %s: the server took the lock and does not tell of it: it is %q until %s (the credentials need s3:GetObjectRetention, the server object lock)",
			v.key, l.mode, l.until.Format(time.RFC3339))
	}
	return nil
}
