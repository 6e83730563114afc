// Package fleet joins what other inspectors yield: which volume claims a schedule really takes, how old their last good
// backup is, where the copies lie, and when a restore was last tried, over several clusters and stores in one scan. Every
// subject passes through unchanged; the joined artifacts Protection and StorageLocation follow at the end.
//
// What was not listed whole proves nothing: it becomes an entry in a Protection's unknown list, and the field it would have
// filled is left out.
package fleet

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// Cluster is what the user declares about a cluster.
type Cluster struct{ Name, Region, Jurisdiction, Account string }

// Join is an inspector over another one.
type Join struct {
	In engine.Inspector
	// Clusters are by source, as Origin.Source writes it.
	Clusters map[string]Cluster
	// TierLabel is the label that puts a namespace under protection as a whole.
	TierLabel string
	// Listed says whether a source listed every object of a kind, so that what is not there does not exist; it is asked once
	// the scan has ended, about [Kinds]. Where it is nil nothing is proved, and a hole in a source disproves it.
	Listed func(source, group, kind string) bool
	// Decode reads the YAML of a resource policy; where it is nil such policies are unknown.
	Decode func(text string) (map[string]any, error)
	// Now is the instant gaps are counted from; its location is the one schedules without a zone run in.
	Now time.Time
}

// Kinds are the group and kind of the Kubernetes objects that are joined: what a cluster is to be asked for.
func Kinds() [][2]string {
	var all [][2]string
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		if group, kind, _ := strings.Cut(key, "/"); group != "artifact.proviso.dev" {
			all = append(all, [2]string{group, kind})
		}
	}
	return all
}

// APIVersion is that of the artifacts.
const APIVersion = "artifact.proviso.dev/v1alpha1"

// Inspect yields what In yields, then the joined artifacts.
func (j Join) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		seen := newMemory()
		for s, err := range j.In.Inspect(ctx) {
			if err != nil {
				seen.miss(err)
			} else {
				seen.keep(s)
			}
			if !yield(s, err) {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		for s := range j.joined(seen) {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func (m *memory) miss(err error) {
	source := ""
	var u *engine.Unread
	if errors.As(err, &u) {
		if u.Kind == engine.NotManifest {
			return
		}
		source = u.Source
		// No subject tells of a store that holds no backup, only this.
		if root, ok := rootOf(source); ok && strings.HasPrefix(u.Err.Error(), "find backups: there are none") {
			m.empty = append(m.empty, root)
		}
	}
	m.holes[source] = append(m.holes[source], err.Error())
}
