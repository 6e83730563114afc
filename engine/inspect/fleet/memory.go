package fleet

import (
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// name is a namespace and a name.
type name struct{ namespace, name string }

// objects are what is kept of one kind in one source.
type objects map[name]map[string]any

// memory is what is remembered of a scan: the fields that are joined, and no more.
type memory struct {
	sources map[string]map[string]objects
	// buckets, contents and drills are joined across sources.
	buckets, contents, drills []map[string]any
	holes                     map[string][]string
	// empty are the buckets and prefixes that were scanned for backups and hold none.
	empty []string
}

func newMemory() *memory {
	return &memory{sources: map[string]map[string]objects{}, holes: map[string][]string{}}
}

// kept are the Kubernetes kinds that are remembered, with the fields of spec, status and data that are.
var kept = map[string][]string{
	"/PersistentVolumeClaim":              {"spec", "status.phase"},
	"/PersistentVolume":                   {"spec"},
	"/Namespace":                          {"status.phase"},
	"/Pod":                                {"spec.volumes", "status.phase"},
	"/ConfigMap":                          {"data"},
	"velero.io/Schedule":                  {"spec", "status.phase"},
	"velero.io/Backup":                    {"spec", "status"},
	"velero.io/BackupStorageLocation":     {"spec", "status.phase"},
	"velero.io/Restore":                   {"spec", "status"},
	"artifact.proviso.dev/Bucket":         nil,
	"artifact.proviso.dev/Drill":          nil,
	"artifact.proviso.dev/BackupContents": nil,
}

func (m *memory) keep(s *engine.Subject) {
	if _, within := s.Origin.Archive(); within {
		return // what lies in an archive is a copy of a cluster, and no cluster
	}
	key := s.Group() + "/" + s.Kind
	fields, ok := kept[key]
	if !ok || s.Kind == "Pod" && !mounts(s.Object) || s.Kind == "ConfigMap" && !policyLike(s.Object) {
		return
	}
	switch s.Kind {
	case "Bucket":
		m.buckets = append(m.buckets, s.Object)
		return
	case "Drill":
		m.drills = append(m.drills, s.Object)
		return
	case "BackupContents":
		m.contents = append(m.contents, prune(s.Object, []string{"backup", "location", "tarball.complete", "volumes", "volumesKnown", "volumesNotHeld", "volumesNotHeldCount"}))
		return
	}
	kinds := m.sources[s.Origin.Source]
	if kinds == nil {
		kinds = map[string]objects{}
		m.sources[s.Origin.Source] = kinds
	}
	if kinds[s.Kind] == nil {
		kinds[s.Kind] = objects{}
	}
	o := prune(s.Object, fields)
	meta := map[string]any{"name": s.Name}
	if s.Namespace != "" {
		meta["namespace"] = s.Namespace
	}
	for _, field := range []string{"labels", "annotations", "deletionTimestamp"} {
		if v := dig(s.Object, "metadata", field); v != nil {
			meta[field] = v
		}
	}
	o["apiVersion"], o["kind"], o["metadata"] = s.APIVersion, s.Kind, meta
	kinds[s.Kind][name{s.Namespace, s.Name}] = o
}

func mounts(pod map[string]any) bool {
	return slices.ContainsFunc(list(pod, "spec", "volumes"), func(v any) bool { return dig(v, "persistentVolumeClaim") != nil })
}

// policyLike is whether a ConfigMap can be a resource policy: one text that speaks of one. Others are not remembered.
func policyLike(m map[string]any) bool {
	data, _ := m["data"].(map[string]any)
	for _, v := range data {
		s, _ := v.(string)
		return len(data) == 1 && strings.Contains(s, "version") && (strings.Contains(s, "Polic") || strings.Contains(s, "polic"))
	}
	return false
}

// prune copies the fields that are named.
func prune(from map[string]any, fields []string) map[string]any {
	to := map[string]any{}
	for _, field := range fields {
		first, rest, deep := strings.Cut(field, ".")
		v, ok := from[first]
		if !ok {
			continue
		}
		if !deep {
			to[first] = v
			continue
		}
		inner, _ := to[first].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			to[first] = inner
		}
		sub, _ := v.(map[string]any)
		maps.Copy(inner, prune(sub, []string{rest}))
	}
	return to
}

func dig(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func text(v any, path ...string) string {
	s, _ := dig(v, path...).(string)
	return s
}

func list(v any, path ...string) []any {
	l, _ := dig(v, path...).([]any)
	return l
}

// sorted yields objects by namespace and name.
func (o objects) sorted() []name {
	return slices.SortedFunc(maps.Keys(o), func(a, b name) int {
		return strings.Compare(a.namespace+"\x00"+a.name, b.namespace+"\x00"+b.name)
	})
}
