package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/exported"
)

// backupAttempts is how often a backup's file is read at most; the client takes up a call again, but not a body.
const backupAttempts = 3

// readBackup reads what a backup says of itself.
func (o *objects) readBackup(ctx context.Context, name string) backup {
	b := backup{name: name}
	data, err := o.backupBytes(ctx, o.Source.Prefix+"backups/"+name+"/"+backupFile)
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
	b.fields, b.call = fields, call(Answered, "")
	return b
}

func (o *objects) backupBytes(ctx context.Context, key string) (data []byte, err error) {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// The body is read after the call, so the bound is around both.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for range backupAttempts {
		out, callErr := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Source.Bucket, Key: &key}, o.options)
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
