// Package velero inspects Velero's backups where they are stored: it turns each into the Backup as it was written, a
// BackupContents and a RestorePlan artifact and a subject for every Kubernetes object in it, and each restore into a
// Drill. It streams, keeps a digest per object and nothing else, never writes, and takes every byte for a stranger's:
// what is larger, deeper or odder than [Limits] is refused and reported, what is cut short is incomplete, never smaller.
//
// The contents of Secrets leave it only as digests.
//
// Start at [Source].
package velero

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// artifacts is the API version of what is made here.
const artifacts = "artifact.proviso.dev/v1alpha1"

// Planner finds what depends on what in one backup.
type Planner interface {
	// Add takes an object of the backup. It is not altered afterwards.
	Add(object map[string]any)
	// Note says that the backup was not read whole, and why.
	Note(incomplete string)
	// Plan is the RestorePlan without apiVersion, kind and metadata.
	Plan() map[string]any
}

// Source is the backups in a store: those of a whole storage location, of several below one root, or a single backup's
// folder. It implements [engine.Inspector] and, for the subjects it yields, [engine.FactSource].
type Source struct {
	Store store.Store
	// Prefix is where in the store to look: a storage location, a single backup's folder, or what several locations lie
	// below. Empty is the store's root. The first of these is listed without what data movers keep beside the backups.
	Prefix string
	// Backup is the name of the one backup to inspect, with the restores of it; empty is all.
	Backup string
	Limits Limits
	// Plan makes the planner of one backup; nil makes no RestorePlan.
	Plan func() Planner
	// Kinds are the groups and kinds that facts may be asked of, as (*engine.Set).FactKinds gives them.
	Kinds map[[2]string]bool

	facts facts
}

// Inspect yields the backups in the order of their keys, then the restores. For each backup: the Backup, BackupContents,
// RestorePlan, and the objects in the order of the tarball. What is not seen is an *[engine.Unread] in its place.
func (s *Source) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		r := &run{Source: s, ctx: ctx, limits: s.Limits.orDefault(), yield: yield}
		backups, restores, skipped, err := s.folders(ctx, r.limits)
		if err != nil {
			r.unread(s.Prefix, engine.Hole, fmt.Errorf("list backups: %w", err))
		}
		for _, e := range skipped {
			r.unread(e.Key, engine.Hole, fmt.Errorf("list backups: %w", e.Err))
		}
		found := 0
		for _, f := range backups {
			if s.Backup != "" && f.name != s.Backup {
				continue
			}
			found++
			if !r.going() {
				return
			}
			r.backup(f)
		}
		for _, f := range restores {
			if !r.going() {
				return
			}
			r.drill(f)
		}
		switch {
		case found > 0 || err != nil:
		case s.Backup != "":
			r.unread(s.Prefix, engine.Broken, fmt.Errorf("find backup %s: there is none among the %d backups here (check the name and the prefix)", s.Backup, len(backups)))
		default: // restores alone show that there were backups, and not where they went
			r.unread(s.Prefix, engine.Hole, errors.New("find backups: there are none (give a folder or prefix that holds backups/, or one backup's own folder)"))
		}
	}
}

// run is one inspection.
type run struct {
	*Source
	ctx     context.Context
	limits  Limits
	yield   func(*engine.Subject, error) bool
	stopped bool
}

// going reports whether anybody still listens. A run that is cancelled says so once.
func (r *run) going() bool {
	if err := context.Cause(r.ctx); err != nil && !r.stopped {
		r.unread("", engine.Hole, err)
		r.stopped = true
	}
	return !r.stopped
}

func (r *run) subject(s *engine.Subject) bool {
	r.facts.yielded(s.Origin.File)
	r.stopped = r.stopped || !r.yield(s, nil)
	return !r.stopped
}

func (r *run) unread(file string, kind engine.UnreadKind, err error) bool {
	if !r.stopped {
		r.stopped = !r.yield(nil, &engine.Unread{Source: r.Store.String(), Position: engine.Position{File: file}, Kind: kind, Err: err})
	}
	return !r.stopped
}

// trouble is the kind of Unread an error of a file is: one that could not be had whole was not seen, one that could and
// cannot be parsed is broken.
func trouble(err error) engine.UnreadKind {
	for _, hole := range []error{store.ErrRefused, store.ErrUnsupported, store.ErrUnavailable, fs.ErrNotExist, fs.ErrPermission, errLimit, io.ErrUnexpectedEOF} {
		if errors.Is(err, hole) {
			return engine.Hole
		}
	}
	return engine.Broken
}

// artifact is a subject made here.
func (r *run) artifact(kind, file string, meta, fields map[string]any) *engine.Subject {
	fields["apiVersion"], fields["kind"], fields["metadata"] = artifacts, kind, meta
	i := identify(fields)
	return i.subject(fields, engine.Origin{Source: r.Store.String(), Position: engine.Position{File: file}})
}

// location is where a folder lies.
func (r *run) location(f *folder) map[string]any {
	text := r.Store.String()
	m := map[string]any{"store": text}
	prefix := f.prefix()
	if rest, ok := strings.CutPrefix(text, "s3://"); ok {
		where, query, _ := strings.Cut(rest, "?")
		bucket, root, _ := strings.Cut(where, "/")
		m["bucket"] = bucket
		prefix = strings.Trim(path.Join(root, prefix), "/")
		for pair := range strings.SplitSeq(query, "&") {
			if region, ok := strings.CutPrefix(pair, "region="); ok && region != "" {
				m["region"] = region
			}
		}
	}
	if prefix != "" {
		m["prefix"] = prefix
	}
	return m
}

func sortedValues(m map[string]any) []any {
	list := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
