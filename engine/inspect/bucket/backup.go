package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/exported"
)

// backupAttempts is how often a backup's file is read at most; the client takes up a call again, but not a body.
const backupAttempts = 3

// readBackup reads what a backup says of itself, or said before it was deleted.
func (o *objects) readBackup(ctx context.Context, name string) backup {
	b := backup{name: name}
	key := o.Source.Prefix + "backups/" + name + "/" + backupFile
	data, err := o.backupBytes(ctx, key, nil)
	var deleted string
	if replyOf(err).status == http.StatusNotFound {
		if marked, id, found := o.beforeDeletion(ctx, key); found {
			deleted = marked.UTC().Format(time.RFC3339)
			data, err = o.backupBytes(ctx, key, &id)
		}
	}
	if err != nil {
		state, message := stateOf(err, "")
		if replyOf(err).status == http.StatusNotFound {
			message = backupFile + " is not there, or is deleted"
		}
		b.call = call(state, message)
		return b
	}
	fields, err := backupFields(data, name)
	if err != nil {
		b.call = call(Failed, err.Error())
		return b
	}
	if deleted != "" {
		fields["deleted"] = deleted
	}
	b.fields, b.call = fields, call(Answered, "")
	return b
}

// beforeDeletion is when the key was deleted, and the version that was its latest before. Velero's own deletion of a backup
// in a bucket with versions leaves them all behind delete markers.
func (o *objects) beforeDeletion(ctx context.Context, key string) (deleted time.Time, id string, found bool) {
	out, err := ask(ctx, o.asker, o.client.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: &o.Source.Bucket, Prefix: &key})
	if err != nil {
		return deleted, "", false
	}
	for _, m := range out.DeleteMarkers {
		if aws.ToString(m.Key) == key && aws.ToBool(m.IsLatest) {
			deleted, found = aws.ToTime(m.LastModified), m.LastModified != nil
		}
	}
	for _, v := range out.Versions { // newest first
		if aws.ToString(v.Key) == key {
			return deleted, aws.ToString(v.VersionId), found && v.VersionId != nil
		}
	}
	return deleted, "", false
}

// backupBytes reads the file, its latest version where none is named.
func (o *objects) backupBytes(ctx context.Context, key string, version *string) (data []byte, err error) {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// The body is read after the call, so the bound is around both.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for range backupAttempts {
		out, callErr := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Source.Bucket, Key: &key, VersionId: version}, o.options)
		if callErr != nil {
			return nil, callErr
		}
		data, err = io.ReadAll(io.LimitReader(out.Body, decode.DefaultBytes+1))
		out.Body.Close()
		switch {
		case err == nil && len(data) > decode.DefaultBytes:
			return nil, errTooLong
		case err == nil && out.ContentLength != nil && *out.ContentLength != int64(len(data)):
			err = io.ErrUnexpectedEOF
		case err == nil:
			return data, nil
		}
	}
	return nil, fmt.Errorf("read %s: %w", backupFile, err)
}

// backupFields are the name and the expiration of a Backup.
func backupFields(data []byte, name string) (map[string]any, error) {
	doc, err := decode.One(bytes.NewReader(data), backupFile, decode.Limits{})
	if err != nil {
		return nil, fmt.Errorf("read %w", err)
	}
	m, ok := doc.Value.(map[string]any)
	if !ok {
		return nil, errors.New("read velero-backup.json: it is no object")
	}
	o := exported.Read(m)
	kind, _ := o.Text("kind")
	own, _ := o.In("metadata").Text("name")
	fields := map[string]any{"name": name}
	if expiration, ok := o.In("status").Time("expiration"); ok {
		fields["expiration"] = expiration
	}
	switch problems := o.Problems(); {
	case len(problems) > 0:
		return nil, problems[0].Err
	case kind != "Backup":
		return nil, fmt.Errorf("read velero-backup.json: its kind is %q, want Backup", kind)
	case own != name:
		return nil, fmt.Errorf("read velero-backup.json: it calls itself %q, and lies in the folder of %q", own, name)
	}
	return fields, nil
}
