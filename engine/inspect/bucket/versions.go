package bucket

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// version is one entry of a listing.
type version struct {
	key, id  string
	size     int64
	modified time.Time
	latest   bool
	deleted  bool
}

// lister pages through the versions under a prefix and holds each page to what a listing must be: every page moves on,
// keys come in the order of their bytes, no version comes twice, and each key has one latest version.
type lister struct {
	*asker
	prefix          string
	marker, idAfter string
	done            bool
	// key is the last key that was seen, ids its versions, and latest whether the latest was among them.
	key    string
	ids    map[string]bool
	latest bool
	// empty counts pages in a row that hold nothing and say that more follows.
	empty int
}

const (
	// maxEmpty ends a listing that never comes to anything.
	maxEmpty = 16
	// maxIDs bounds what is remembered of the versions of one key; past it only neighbours are compared.
	maxIDs = 10_000
)

// page is the next page. A page that breaks the rules is asked for once more, because keys may change while they are
// listed; nothing of it was handed on.
func (l *lister) page(ctx context.Context) ([]version, error) {
	var first error
	for range 2 {
		out, err := ask(ctx, l.asker, l.client.ListObjectVersions, l.input())
		if err != nil {
			_, message := stateOf(err, "")
			return nil, fmt.Errorf("list versions of %s%s: %s (the listing is not whole)", l.Source, after(l.marker), message)
		}
		next, versions, err := l.check(out)
		if err == nil {
			*l = next
			return versions, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, fmt.Errorf("list versions of %s%s: %w, twice (the listing is not whole)", l.Source, after(l.marker), first)
}

func after(marker string) string {
	if marker == "" {
		return ""
	}
	return fmt.Sprintf(" after %q", marker)
}

func (l *lister) input() *s3.ListObjectVersionsInput {
	in := &s3.ListObjectVersionsInput{Bucket: &l.Source.Bucket, EncodingType: types.EncodingTypeUrl}
	if l.prefix != "" {
		in.Prefix = &l.prefix
	}
	if l.marker != "" {
		in.KeyMarker = &l.marker
	}
	if l.idAfter != "" {
		in.VersionIdMarker = &l.idAfter
	}
	return in
}

// check is the state after the page and what is in it.
func (l *lister) check(out *s3.ListObjectVersionsOutput) (lister, []version, error) {
	next := *l
	next.ids = l.ids
	versions, err := merged(out)
	if err != nil {
		return next, nil, err
	}
	// What is remembered of a key goes on in a copy, so that a page that is refused leaves no trace.
	if len(versions) > 0 && versions[0].key == l.key {
		next.ids = make(map[string]bool, len(l.ids))
		for id := range l.ids {
			next.ids[id] = true
		}
	}
	for i, v := range versions {
		if err := next.see(v); err != nil {
			return next, nil, err
		}
		if i > 0 && v.key == versions[i-1].key && v.id == versions[i-1].id {
			return next, nil, fmt.Errorf("%q version %q is listed twice", v.key, v.id)
		}
	}
	if next.done = !flag(out.IsTruncated); next.done {
		return next, versions, next.ended()
	}
	next.marker, err = decoded(out, text(out.NextKeyMarker))
	next.idAfter = text(out.NextVersionIdMarker)
	if len(versions) == 0 {
		next.empty++
	} else {
		next.empty = 0
	}
	switch {
	case err != nil:
		return next, nil, err
	case next.marker == "":
		return next, nil, fmt.Errorf("more versions follow, but no marker says where")
	case next.marker < l.marker, next.marker == l.marker && next.idAfter == l.idAfter && (l.marker != "" || l.idAfter != ""):
		return next, nil, fmt.Errorf("the marker %q does not move on", next.marker)
	case next.marker < next.key:
		return next, nil, fmt.Errorf("the marker %q goes back behind %q", next.marker, next.key)
	case next.empty > maxEmpty:
		return next, nil, fmt.Errorf("%d pages in a row hold nothing and say that more follow", next.empty)
	}
	return next, versions, nil
}

// see holds one version against those before it.
func (l *lister) see(v version) error {
	switch {
	case !strings.HasPrefix(v.key, l.prefix):
		return fmt.Errorf("%q is not under the prefix that was asked for", v.key)
	case v.key < l.key:
		return fmt.Errorf("%q is listed after %q", v.key, l.key)
	case v.key != l.key || l.ids == nil:
		if err := l.ended(); err != nil {
			return err
		}
		l.key, l.ids, l.latest = v.key, map[string]bool{}, false
	}
	switch {
	case l.ids[v.id]:
		return fmt.Errorf("%q version %q is listed twice", v.key, v.id)
	case v.latest && l.latest:
		return fmt.Errorf("%q has two latest versions", v.key)
	}
	if len(l.ids) < maxIDs {
		l.ids[v.id] = true
	}
	l.latest = l.latest || v.latest
	return nil
}

// ended checks the key whose versions are over.
func (l *lister) ended() error {
	if l.ids != nil && !l.latest {
		return fmt.Errorf("%q has no latest version: a part of the listing is missing", l.key)
	}
	return nil
}

func flag(b *bool) bool { return b != nil && *b }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// decoded is a key as it is; servers that were asked to encode keys say so where they did.
func decoded(out *s3.ListObjectVersionsOutput, key string) (string, error) {
	if out.EncodingType != types.EncodingTypeUrl {
		return key, nil
	}
	plain, err := url.QueryUnescape(key)
	if err != nil {
		return "", fmt.Errorf("the key %q is not encoded as the server says: %w", key, err)
	}
	return plain, nil
}

// merged are a page's versions and delete markers in the order the server has them in: by key, the latest first.
func merged(out *s3.ListObjectVersionsOutput) ([]version, error) {
	var lists [2][]version
	add := func(list int, v version, key *string, modified *time.Time) (err error) {
		if v.key, err = decoded(out, text(key)); err != nil {
			return err
		}
		if v.key == "" {
			return fmt.Errorf("an entry has no key")
		}
		if modified != nil {
			v.modified = modified.UTC()
		}
		if n := len(lists[list]); n > 0 && v.key < lists[list][n-1].key {
			return fmt.Errorf("%q is listed after %q", v.key, lists[list][n-1].key)
		}
		lists[list] = append(lists[list], v)
		return nil
	}
	for i := range out.Versions {
		o := &out.Versions[i]
		v := version{id: text(o.VersionId), latest: flag(o.IsLatest)}
		if o.Size != nil {
			v.size = *o.Size
		}
		if err := add(0, v, o.Key, o.LastModified); err != nil {
			return nil, err
		}
	}
	for i := range out.DeleteMarkers {
		o := &out.DeleteMarkers[i]
		if err := add(1, version{id: text(o.VersionId), latest: flag(o.IsLatest), deleted: true}, o.Key, o.LastModified); err != nil {
			return nil, err
		}
	}
	versions, markers := lists[0], lists[1]
	if len(markers) == 0 {
		return versions, nil
	}
	all := make([]version, 0, len(versions)+len(markers))
	for len(versions) > 0 && len(markers) > 0 {
		v, m := versions[0], markers[0]
		if m.key < v.key || m.key == v.key && (m.latest || !v.latest && m.modified.After(v.modified)) {
			all, markers = append(all, m), markers[1:]
		} else {
			all, versions = append(all, v), versions[1:]
		}
	}
	return append(append(all, versions...), markers...), nil
}
