package velero

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/store"
)

// backup yields one backup.
func (r *run) backup(f *folder) {
	if len(f.files) > r.limits.Files {
		r.unread(f.dir, engine.Hole, refuse("%d files in a backup's folder", r.limits.Files))
		f.files = f.files[:r.limits.Files]
	}
	c := &contents{run: r, folder: f, fields: map[string]any{"location": r.location(f)}, volumes: newVolumes(), contradictions: []any{}}
	c.metadata()
	c.fields["absent"] = f.absent()
	if r.stopped {
		return
	}
	c.beside()
	c.promised()
	c.volumes.fill(c.fields)
	c.volumes = volumes{} // it is as large as the lists
	key := path.Join(f.dir, f.name+".tar.gz")
	info, there := f.file(f.name + ".tar.gz")
	if !there {
		r.unread(key, engine.Hole, errors.New("read backup: its tarball is not there"))
		c.fields["files"] = c.listed
		c.own()
		if !r.stopped {
			r.subject(r.artifact("BackupContents", key, c.meta(), c.fields))
		}
		return
	}
	t := &tarball{limits: r.limits, index: newIndex(r.limits.Index), open: func(ctx context.Context) (io.ReadCloser, int64, error) {
		file, now, err := r.Store.Open(ctx, info.Key)
		if err == nil && (now.Size != info.Size || now.ETag != info.ETag && now.ETag != "" && info.ETag != "") {
			file.Close()
			err = fmt.Errorf("it has %d bytes and was listed with %d, or was written anew: it changed while it was read", now.Size, info.Size)
		}
		return file, info.Size, err
	}}
	defer t.index.close()
	c.index(t, info)
	if r.stopped || !r.going() {
		return
	}
	c.objects(t, info)
}

// metadata reads the Backup object itself.
func (c *contents) metadata() {
	info, there := c.file(metadataFile)
	if !there {
		c.unread(path.Join(c.dir, metadataFile), engine.Hole, errors.New("read backup: it is not there, so Velero does not see this backup"))
		return
	}
	var text []byte
	sum, err := c.Source.file(c.ctx, info, func(r io.Reader) (err error) {
		if text, err = io.ReadAll(io.LimitReader(r, c.limits.Small+1)); err == nil && int64(len(text)) > c.limits.Small {
			err = refuse("%d bytes of a file", c.limits.Small)
		}
		return err
	})
	c.list(info, sum)
	var doc *decode.Document
	if err == nil {
		doc, err = decode.One(bytes.NewReader(text), info.Key, decode.Limits{Bytes: int(c.limits.Small)})
	}
	var object map[string]any
	if err == nil {
		var ok bool
		if object, ok = doc.Value.(map[string]any); !ok || !isJSON(text) {
			err = errors.New("it is no JSON object")
		}
	}
	var at *decode.Error
	switch {
	case errors.As(err, &at):
		u := &engine.Unread{Source: c.Store.String(), Position: engine.Position{File: at.File, Line: at.Line, Column: at.Column}, Err: fmt.Errorf("read backup: %w", at.Err)}
		c.stopped = c.stopped || !c.yield(nil, u)
		return
	case err != nil:
		c.unread(info.Key, trouble(err), fmt.Errorf("read backup: %w", err))
		return
	}
	i := identify(object)
	if i.kind != "Backup" || i.group() != "velero.io" || i.name == "" {
		c.unread(info.Key, engine.Broken, errors.New("read backup: it is no Backup of velero.io with a name"))
		return
	}
	c.backup = object
	if c.name == "" {
		c.name = i.name
	}
	if i.name != c.name {
		c.problem(metadataFile, "it is the Backup "+shown(i.name)+", in the place of "+shown(c.name))
	}
	c.fields["backup"] = describe(object)
	position := func(p decode.Position) engine.Position {
		return engine.Position{File: info.Key, Line: p.Line, Column: p.Column}
	}
	origin := engine.Origin{Source: c.Store.String(), Position: position(doc.Start), Digest: engine.Digest("sha256:" + sum), Lines: doc.Lines}
	origin.Locate = func(text string) engine.Position {
		p, err := engine.ParsePath(text)
		if err != nil {
			return engine.Position{}
		}
		steps := make([]any, len(p))
		for n, step := range p {
			if steps[n] = step.Key; step.Kind == engine.IndexStep {
				steps[n] = step.Index
			}
		}
		return position(doc.Position(steps...))
	}
	c.itself = i.subject(object, origin)
}

// own yields the Backup object. It waits until the tarball was read once, so that what facts it gets never depends on how
// fast it is judged.
func (c *contents) own() {
	if c.itself != nil && !c.stopped {
		c.subject(c.itself)
	}
}

// describe is the backup field of BackupContents.
func describe(object map[string]any) map[string]any {
	at := func(keys ...string) any {
		var v any = object
		for _, k := range keys {
			m, _ := v.(map[string]any)
			v = m[k]
		}
		return v
	}
	out := map[string]any{"errors": int64(0), "warnings": int64(0)} // Velero leaves a zero out
	for field, v := range map[string]any{
		"name": at("metadata", "name"), "namespace": at("metadata", "namespace"), "phase": at("status", "phase"),
		"started": at("status", "startTimestamp"), "completed": at("status", "completionTimestamp"), "expiration": at("status", "expiration"),
		"ttl": at("spec", "ttl"), "storageLocation": at("spec", "storageLocation"), "schedule": at("metadata", "labels", "velero.io/schedule-name"),
		"version": at("status", "formatVersion"), "sourceVersion": at("metadata", "annotations", "velero.io/source-cluster-k8s-gitversion"),
	} {
		if text, ok := v.(string); ok && text != "" {
			out[field] = text
		}
	}
	for _, field := range []string{"errors", "warnings"} {
		if n, ok := at("status", field).(int64); ok {
			out[field] = n
		} else if at("status", field) != nil || at("status", "phase") == nil {
			delete(out, field)
		}
	}
	for _, field := range []string{"failureReason", "validationErrors"} {
		if v := at("status", field); v != nil {
			out[field] = v
		}
	}
	return out
}

// beside reads the files beside the tarball.
func (c *contents) beside() {
	for _, info := range c.files {
		name := base(info)
		if c.stopped || name == metadataFile || name == c.name+".tar.gz" {
			continue
		}
		suffix, ours := strings.CutPrefix(name, c.name)
		use := c.takes(suffix)
		if !ours || use == nil {
			use = func(r io.Reader) error {
				if strings.HasSuffix(name, ".gz") {
					_, err := io.Copy(io.Discard, gunzip(r, 16*c.limits.Small, c.limits))
					return err
				}
				return nil
			}
		}
		sum, err := c.Source.file(c.ctx, info, use)
		c.list(info, sum)
		if err != nil {
			c.unread(info.Key, trouble(err), fmt.Errorf("read backup: %w", err))
		}
	}
}

// list adds a file to the artifact's files. One that could not be read whole has no digest.
func (c *contents) list(info store.Info, sum string) {
	file := map[string]any{"key": info.Key, "size": info.Size}
	if sum != "" {
		file["sha256"] = sum
	}
	c.listed = append(c.listed, file)
}

// objects yields what is in the tarball.
func (c *contents) objects(t *tarball, info store.Info) {
	const most = 100
	holes := 0
	again := t.read(c.ctx, true, func(i *item) bool {
		at := info.Key + "!" + i.entry
		switch {
		case i.refused || i.changed || i.err != nil:
			kind, err := engine.Hole, errors.New(i.problem)
			if i.changed {
				err = errors.New("it is not what it was a moment ago: the tarball changed while it was read")
			} else if i.err != nil {
				kind, err = engine.Broken, i.err
			}
			if holes++; holes <= most {
				return c.unread(at, kind, fmt.Errorf("read backup: %w", err))
			}
			return true
		case i.object == nil:
			return true
		}
		who := identify(i.object)
		if who.apiVersion == "" || who.kind == "" || who.name == "" {
			return c.unread(at, engine.Broken, errors.New("read backup: apiVersion, kind or metadata.name is missing"))
		}
		origin := engine.Origin{Source: c.Store.String(), Position: engine.Position{File: at}, Digest: digestOf(i.digest)}
		return c.subject(who.subject(i.object, origin))
	})
	if holes > most {
		c.unread(info.Key, engine.Hole, fmt.Errorf("read backup: %s more entries were not read", strconv.Itoa(holes-most)))
	}
	switch {
	case c.stopped || c.ctx.Err() != nil:
	case c.first.err == nil && again.err != nil:
		c.unread(info.Key, trouble(again.err), fmt.Errorf("read backup a second time: %w", again.err))
	case c.first.err == nil && (again.sha256 != c.first.sha256 || again.sequence != c.first.sequence):
		c.unread(info.Key, engine.Hole, errors.New("read backup: the tarball changed between being read twice"))
	}
	c.going()
}
