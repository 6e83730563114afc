package locked

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"proviso.dev/proviso/engine/store"
)

// version is one entry of a listing: a version of an object, or a marker that hides those before it.
type version struct {
	key, id  string
	size     int64
	modified time.Time
	latest   bool
	marker   bool
}

// object is what lies under a key.
type object struct {
	// versions are the oldest first. The first is the one that was copied; those after it are somebody else's.
	versions []version
	// hidden says that who does not ask for versions finds nothing.
	hidden bool
}

// log is the part of the bucket that belongs to one log, or to none: what lies under one name.
type log struct {
	id      string
	objects map[string]*object
}

func (l *log) add(v version, key string) {
	o := l.objects[key]
	if o == nil {
		o = &object{}
		l.objects[key] = o
	}
	if v.marker {
		o.hidden = o.hidden || v.latest
		return
	}
	// Servers list the newest first; those that do not are taken at their clock.
	o.versions = slices.Insert(o.versions, 0, v)
	slices.SortStableFunc(o.versions, func(a, b version) int { return a.modified.Compare(b.modified) })
}

// log lists what is under the name of one log.
func (b *Bucket) log(ctx context.Context, id string) (*log, error) {
	l := &log{id, map[string]*object{}}
	for v, err := range b.list(ctx, id+"/") {
		if err != nil {
			return nil, err
		}
		l.add(v, strings.TrimPrefix(v.key, id+"/"))
	}
	return l, nil
}

// logs lists all that is under the prefix, log by log; what belongs to none is under the empty name.
func (b *Bucket) logs(ctx context.Context) iter.Seq2[*log, error] {
	return func(yield func(*log, error) bool) {
		var l *log
		for v, err := range b.list(ctx, "") {
			if err != nil {
				yield(nil, err)
				return
			}
			id, key, in := strings.Cut(v.key, "/")
			if !in {
				id, key = "", v.key
			}
			if l != nil && l.id != id {
				if !yield(l, nil) {
					return
				}
				l = nil
			}
			if l == nil {
				l = &log{id, map[string]*object{}}
			}
			l.add(v, key)
		}
		if l != nil {
			yield(l, nil)
		}
	}
}

// list yields every version and every marker under a prefix, by key, keys without the bucket's prefix. It ends after an error,
// and a listing that contradicts itself is one: what a server leaves out must not look as if it were not there.
func (b *Bucket) list(ctx context.Context, prefix string) iter.Seq2[version, error] {
	return func(yield func(version, error) bool) {
		fail := func(err error) { yield(version{}, fmt.Errorf("list the versions in %s: %w", b, err)) }
		in := &s3.ListObjectVersionsInput{Bucket: &b.source.Bucket, Prefix: aws.String(b.source.Prefix + prefix), EncodingType: types.EncodingTypeUrl}
		for last := ""; ; {
			out, err := b.page(ctx, in)
			if err != nil {
				fail(store.Classify(err))
				return
			}
			page, err := versions(out)
			if err != nil {
				fail(err)
				return
			}
			for _, v := range page {
				if !strings.HasPrefix(v.key, *in.Prefix) || v.key < last {
					fail(fmt.Errorf("the listing contradicts itself at %q: %w", v.key, store.ErrUnavailable))
					return
				}
				last = v.key
				v.key = strings.TrimPrefix(v.key, b.source.Prefix)
				if !yield(v, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			key, err := decoded(out, out.NextKeyMarker)
			id := aws.ToString(out.NextVersionIdMarker)
			switch was := aws.ToString(in.KeyMarker); {
			case err != nil:
				fail(err)
				return
			case key == "", key < was, key == was && id == aws.ToString(in.VersionIdMarker):
				fail(fmt.Errorf("the server says there is more and not where, after %q: %w", last, store.ErrUnavailable))
				return
			}
			in.KeyMarker, in.VersionIdMarker = &key, nil
			if id != "" {
				in.VersionIdMarker = &id
			}
		}
	}
}

// page asks once more where an answer breaks off after its status, which the client does not take for a failure to retry.
func (b *Bucket) page(ctx context.Context, in *s3.ListObjectVersionsInput) (out *s3.ListObjectVersionsOutput, err error) {
	for range b.source.Budget.Attempts {
		out, err = b.client.ListObjectVersions(ctx, in)
		if response, ok := errors.AsType[*smithyhttp.ResponseError](err); !ok || response.HTTPStatusCode() != http.StatusOK {
			break
		}
	}
	return out, err
}

// versions are what a page holds, sorted by key; of one key in the server's order.
func versions(out *s3.ListObjectVersionsOutput) (all []version, err error) {
	for i := range out.Versions {
		o := &out.Versions[i]
		key, bad := decoded(out, o.Key)
		err = cmp.Or(err, bad)
		all = append(all, version{key, aws.ToString(o.VersionId), aws.ToInt64(o.Size), aws.ToTime(o.LastModified), aws.ToBool(o.IsLatest), false})
	}
	for i := range out.DeleteMarkers {
		o := &out.DeleteMarkers[i]
		key, bad := decoded(out, o.Key)
		err = cmp.Or(err, bad)
		all = append(all, version{key, aws.ToString(o.VersionId), 0, aws.ToTime(o.LastModified), aws.ToBool(o.IsLatest), true})
	}
	slices.SortStableFunc(all, func(a, b version) int { return strings.Compare(a.key, b.key) })
	return all, err
}

// decoded is a key as it is; servers that were asked to encode keys say so where they did.
func decoded(out *s3.ListObjectVersionsOutput, key *string) (string, error) {
	if out.EncodingType != types.EncodingTypeUrl {
		return aws.ToString(key), nil
	}
	plain, err := url.QueryUnescape(aws.ToString(key))
	if err != nil {
		return "", fmt.Errorf("the key %q is not encoded as the server says: %w", aws.ToString(key), store.ErrUnavailable)
	}
	return plain, nil
}
