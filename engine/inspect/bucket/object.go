package bucket

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"proviso.dev/proviso/engine"
)

// objects turns a listing into StoredObjects.
type objects struct {
	*asker
	// bucket is the Bucket artifact's object.
	bucket  map[string]any
	backup  backup
	counted int64
}

// defaultParallel keeps a server busy without being taken for an attack.
const defaultParallel = 8

func (o *objects) all(ctx context.Context, yield func(*engine.Subject, error) bool) {
	pages := &lister{asker: o.asker, prefix: o.Source.Prefix}
	for !pages.done {
		versions, err := pages.page(ctx)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			yield(nil, o.hole("%w", err))
			return
		}
		wanted := versions[:0]
		for _, v := range versions {
			if o.Sample <= 1 || o.counted%int64(o.Sample) == 0 || o.isBackupFile(v.key) {
				wanted = append(wanted, v)
			}
			o.counted++
		}
		for _, sub := range o.subjects(ctx, wanted) {
			if err := context.Cause(ctx); err != nil {
				yield(nil, o.hole("list versions of %s: %w", o.Source, err))
				return
			}
			if !yield(sub, nil) {
				return
			}
		}
	}
}

// subjects asks about the versions, several at a time.
func (o *objects) subjects(ctx context.Context, versions []version) []*engine.Subject {
	out := make([]*engine.Subject, len(versions))
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = defaultParallel
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, parallel)
	for i, v := range versions {
		fields := o.listed(ctx, v)
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if !v.deleted {
				o.look(ctx, v, fields)
			}
			out[i] = subject("StoredObject", v.key, nil, fields, o.origin())
		})
	}
	wg.Wait()
	return out
}

// listed is what the listing says of a version, and the backup it belongs to.
func (o *objects) listed(ctx context.Context, v version) map[string]any {
	calls := map[string]any{}
	f := map[string]any{"bucket": o.Source.Bucket, "key": v.key, "versionId": v.id, "latest": v.latest, "deleteMarker": v.deleted,
		"sampled": o.Sample > 1, "calls": calls}
	if !v.deleted {
		f["size"] = v.size
	}
	if !v.modified.IsZero() {
		f["modified"] = v.modified.Format(time.RFC3339)
	}
	if period, ok := o.bucketDefault(); ok {
		f["bucketDefault"] = period
	}
	if name, ok := o.backupName(v.key); ok {
		if o.backup.name != name {
			o.backup = o.readBackup(ctx, name)
		}
		if o.backup.fields != nil {
			f["backup"] = o.backup.fields
		}
		calls["backup"] = o.backup.call
	}
	return f
}

// bucketDefault is the retention the bucket gives to what is written to it.
func (o *objects) bucketDefault() (map[string]any, bool) {
	lock, _ := o.bucket["objectLock"].(map[string]any)
	if lock["mode"] == nil {
		return nil, false
	}
	d := map[string]any{}
	for _, key := range []string{"mode", "days", "years"} {
		if v, ok := lock[key]; ok {
			d[key] = v
		}
	}
	return d, true
}

// lockless reports whether the bucket is known to have no object lock, so that no version can have one.
func (o *objects) lockless() bool {
	lock, ok := o.bucket["objectLock"].(map[string]any)
	return ok && lock["enabled"] == false
}

// look asks about one version. A head that says nothing of a lock proves nothing: the headers are left out for those who
// may not see them, so the calls of their own decide.
func (o *objects) look(ctx context.Context, v version, f map[string]any) {
	calls := f["calls"].(map[string]any)
	in := &s3.HeadObjectInput{Bucket: &o.Source.Bucket, Key: &v.key}
	if v.id != "" {
		in.VersionId = &v.id
	}
	head, err := ask(ctx, o.asker, o.client.HeadObject, in)
	if err != nil {
		state, message := stateOf(err, "")
		calls["head"] = call(state, message)
		head = &s3.HeadObjectOutput{}
	} else {
		calls["head"] = call(Answered, "")
		f["encryption"] = encryptionOf(head)
	}
	switch {
	case head.ObjectLockMode != "" && head.ObjectLockRetainUntilDate != nil:
		calls["retention"] = call(Answered, "")
		f["lock"] = lockOf(string(head.ObjectLockMode), *head.ObjectLockRetainUntilDate)
	case o.lockless():
		calls["retention"] = call(NotConfigured, "the bucket has no object lock")
		f["lock"] = map[string]any{"mode": "NONE"}
	default:
		o.retention(ctx, v, f, calls)
	}
	switch {
	case head.ObjectLockLegalHoldStatus != "":
		calls["legalHold"] = call(Answered, "")
		f["legalHold"] = head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn
	case o.lockless():
		calls["legalHold"] = call(NotConfigured, "the bucket has no object lock")
		f["legalHold"] = false
	default:
		o.legalHold(ctx, v, f, calls)
	}
}

func encryptionOf(head *s3.HeadObjectOutput) map[string]any {
	e := map[string]any{"algorithm": "none"}
	switch {
	case head.ServerSideEncryption != "":
		e["algorithm"] = string(head.ServerSideEncryption)
	case head.SSECustomerAlgorithm != nil:
		e["algorithm"] = "customer"
	}
	if head.SSEKMSKeyId != nil {
		e["key"] = *head.SSEKMSKeyId
	}
	return e
}

func lockOf(mode string, until time.Time) map[string]any {
	return map[string]any{"mode": mode, "retainUntil": until.UTC().Format(time.RFC3339)}
}

// noLock is the code that says that a version has none of its own.
const noLock = "NoSuchObjectLockConfiguration"

func (o *objects) retention(ctx context.Context, v version, f, calls map[string]any) {
	in := &s3.GetObjectRetentionInput{Bucket: &o.Source.Bucket, Key: &v.key}
	if v.id != "" {
		in.VersionId = &v.id
	}
	out, err := ask(ctx, o.asker, o.client.GetObjectRetention, in)
	r := replyOf(err)
	switch {
	case err == nil && out.Retention != nil && out.Retention.Mode != "" && out.Retention.RetainUntilDate != nil:
		calls["retention"] = call(Answered, "")
		f["lock"] = lockOf(string(out.Retention.Mode), *out.Retention.RetainUntilDate)
	case err == nil:
		calls["retention"] = call(Failed, "the answer names no mode or no date")
	case r.code == noLock && r.status == http.StatusNotFound:
		calls["retention"] = call(NotConfigured, "")
		f["lock"] = map[string]any{"mode": "NONE"}
	case r.code == noLock && r.status == http.StatusBadRequest:
		// versitygw enforces the bucket's default on versions that say they have none.
		calls["retention"] = call(NotConfigured, "")
		o.derive(v, f)
	default:
		state, message := stateOf(err, "")
		calls["retention"] = call(state, message)
	}
}

// derive gives a version the bucket's default, or none where the bucket is known to have no default.
func (o *objects) derive(v version, f map[string]any) {
	lock, known := o.bucket["objectLock"].(map[string]any)
	if !known {
		return
	}
	mode, ok := lock["mode"].(string)
	if !ok {
		f["lock"] = map[string]any{"mode": "NONE"}
		return
	}
	if v.modified.IsZero() {
		return
	}
	days, _ := lock["days"].(int64)
	years, _ := lock["years"].(int64)
	derived := lockOf(mode, v.modified.AddDate(int(years), 0, int(days)))
	derived["derived"] = true
	f["lock"] = derived
}

func (o *objects) legalHold(ctx context.Context, v version, f, calls map[string]any) {
	in := &s3.GetObjectLegalHoldInput{Bucket: &o.Source.Bucket, Key: &v.key}
	if v.id != "" {
		in.VersionId = &v.id
	}
	out, err := ask(ctx, o.asker, o.client.GetObjectLegalHold, in)
	r := replyOf(err)
	switch {
	case err == nil && out.LegalHold != nil && out.LegalHold.Status != "":
		calls["legalHold"] = call(Answered, "")
		f["legalHold"] = out.LegalHold.Status == types.ObjectLockLegalHoldStatusOn
	case err == nil:
		calls["legalHold"] = call(Failed, "the answer names no status")
	case r.code == noLock && (r.status == http.StatusNotFound || r.status == http.StatusBadRequest):
		calls["legalHold"] = call(NotConfigured, "")
		f["legalHold"] = false
	default:
		state, message := stateOf(err, "")
		calls["legalHold"] = call(state, message)
	}
}

// backupFile is the file that describes a Velero backup.
const backupFile = "velero-backup.json"

// backupName is the backup a key belongs to.
func (o *objects) backupName(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, o.Source.Prefix+"backups/")
	name, _, inside := strings.Cut(rest, "/")
	return name, ok && inside && name != ""
}

func (o *objects) isBackupFile(key string) bool {
	name, ok := o.backupName(key)
	return ok && key == o.Source.Prefix+path.Join("backups", name, backupFile)
}

// backup is what is known of the backup that is being listed.
type backup struct {
	name   string
	fields map[string]any
	call   map[string]any
}

var errTooLong = errors.New("it is longer than 16 MiB")
