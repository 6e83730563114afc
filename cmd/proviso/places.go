package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/velero"
	"proviso.dev/proviso/engine/store"
)

// placed is a source of backups whose files are told as they are reached from here, not from within their store: two
// copies of one backup are two places, and who opens what a report names finds it.
type placed struct {
	*velero.Source
	at string // stands before the name of each file
}

// place is what stands before the name of each file of a store.
func place(text string) string {
	if s, err := store.ParseSource(text); err == nil {
		return "s3://" + s.Bucket + "/" + s.Prefix
	}
	return strings.TrimSuffix(filepath.ToSlash(filepath.Clean(text)), "/") + "/"
}

// Inspect is part of engine.Inspector.
func (p placed) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for sub, err := range p.Source.Inspect(ctx) {
			var unread *engine.Unread
			switch {
			case errors.As(err, &unread):
				moved := *unread
				moved.Position = p.from(moved.Position)
				err = &moved
			case sub != nil:
				moved := *sub
				moved.Origin.Position = p.from(moved.Origin.Position)
				if locate := sub.Origin.Locate; locate != nil {
					moved.Origin.Locate = func(path string) engine.Position { return p.from(locate(path)) }
				}
				sub = &moved
			}
			if !yield(sub, err) {
				return
			}
		}
	}
}

func (p placed) from(at engine.Position) engine.Position {
	if at.File != "" {
		at.File = p.at + at.File
	}
	return at
}

// Fact is part of engine.FactSource. The source knows its files by their own names.
func (p placed) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	own := *about
	own.Origin.File = strings.TrimPrefix(about.Origin.File, p.at)
	return p.Source.Fact(ctx, q, &own)
}

// contentsAlone reports whether a store is the tarball of one backup's contents.
func contentsAlone(ctx context.Context, s store.Store) bool {
	for _, err := range s.List(ctx, "metadata/version") {
		return err == nil
	}
	return false
}

// exportInstead says of a place that is no file and cannot be read where it lies what to do: only S3 can.
func exportInstead(kind, place string) error {
	if _, err := os.Stat(place); err == nil || !scheme.MatchString(place) || strings.HasPrefix(place, "s3:") {
		return nil
	}
	way := "copy the prefix to a folder (gcloud storage cp -r, az storage blob download-batch) and scan " + kind + ":FOLDER"
	if kind != "velero" {
		way = "save what the provider's command prints and scan " + kind + ":FILE; proviso help sources has the commands"
	}
	return fmt.Errorf("only S3 is read where it lies (s3://bucket/prefix): %s", way)
}

// backups reports whether a folder that was named as manifests holds what Velero writes to a bucket.
func backups(folder string) bool {
	for _, pattern := range []string{"velero-backup.json", "backups/*/velero-backup.json"} {
		if found, err := fs.Glob(os.DirFS(folder), pattern); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// exports is an inspector of what a provider's command printed: what it does not understand is told under its scheme, and
// is no mere document among manifests. One file alone, named for what it holds, is an input that cannot be read where it
// holds something else.
type exports struct {
	engine.Inspector
	scheme string
	alone  bool
}

// Inspect is part of engine.Inspector.
func (e exports) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for sub, err := range e.Inspector.Inspect(ctx) {
			if u := (*engine.Unread)(nil); errors.As(err, &u) && u.Kind == engine.NotManifest {
				told := *u
				told.Source = e.scheme + u.Source
				if e.alone {
					told.Kind = engine.Broken
				}
				err = &told
			}
			if !yield(sub, err) {
				return
			}
		}
	}
}
