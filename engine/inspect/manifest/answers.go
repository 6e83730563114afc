package manifest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// Fact answers one query. A name is found in the files, else in the snapshots; lists by labels, patterns and "all" come
// from a complete listing and nothing else. What cannot be told is unknown, with an error that says what to do.
func (f *Facts) Fact(ctx context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	if err := ctx.Err(); err != nil {
		return nil, engine.FactUnknown, err
	}
	if !f.kinds[[2]string{q.Group, q.Kind}] {
		return nil, engine.FactUnknown, fmt.Errorf("no policy declared that it asks for %s", q.Kind)
	}
	f.once.Do(f.read)
	gk := groupKind{q.Group, q.Kind}
	if err := f.trouble[gk]; err != nil {
		return nil, engine.FactUnknown, err
	}
	switch {
	case q.Name != "":
		return f.one(gk, q.Namespace, q.Name)
	case q.Names != nil:
		return f.several(gk, q)
	}
	return f.matching(gk, "every "+q.Kind, func(object map[string]any) bool { return q.All || hasLabels(object, q.Labels) })
}

func (f *Facts) one(gk groupKind, namespace, name string) (any, engine.FactState, error) {
	if f.clusterScoped(gk) {
		namespace = ""
	}
	for tier, objects := range f.objects {
		var all []found
		if namespace != "" || f.clusterScoped(gk) {
			all = objects[gk][objectName{namespace, name}]
		} else {
			for n, list := range objects[gk] {
				if n.name == name {
					all = append(all, list...)
				}
			}
		}
		if len(all) == 1 {
			object := all[0].object
			if there := f.objects[1][gk][objectName{namespace, name}]; tier == 0 && len(there) == 1 {
				object = applied(object, there[0].object)
			}
			return object, engine.FactFound, nil
		}
		if len(all) > 1 {
			return nil, engine.FactUnknown, twice(gk.kind, name, all)
		}
	}
	if f.listed[gk] != nil {
		return nil, engine.FactAbsent, nil
	}
	if namespace != "" {
		name = namespace + "/" + name
	}
	return nil, engine.FactUnknown, fmt.Errorf("no %s %q in these files: add it, or give a snapshot with --facts", gk.kind, name)
}

func (f *Facts) several(gk groupKind, q engine.FactQuery) (any, engine.FactState, error) {
	if slices.ContainsFunc(q.Names, func(n string) bool { return strings.Contains(n, "*") }) {
		return f.matching(gk, fmt.Sprintf("every %s named %s", q.Kind, strings.Join(q.Names, ", ")), func(object map[string]any) bool {
			name := object["metadata"].(map[string]any)["name"].(string)
			return slices.ContainsFunc(q.Names, func(pattern string) bool { return engine.MatchesName(pattern, name) })
		})
	}
	list := []any{}
	seen := map[string]bool{}
	var errs []error
	for _, name := range q.Names {
		if seen[name] {
			continue
		}
		seen[name] = true
		v, state, err := f.one(gk, q.Namespace, name)
		switch state {
		case engine.FactFound:
			list = append(list, v)
		case engine.FactUnknown:
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, engine.FactUnknown, errors.Join(errs...)
	}
	return list, engine.FactFound, nil
}

// matching answers from the complete listing of the kind.
func (f *Facts) matching(gk groupKind, what string, matches func(map[string]any) bool) (any, engine.FactState, error) {
	listing := f.listed[gk]
	if listing == nil {
		return nil, engine.FactUnknown, fmt.Errorf("files do not tell %s: give a complete %sList of a cluster with --facts (%s prints one)", what, gk.kind, listCommand(gk))
	}
	listed := map[string]bool{}
	for _, item := range listing.objects {
		name, _ := item.(map[string]any)["metadata"].(map[string]any)["name"].(string)
		listed[name] = true
	}
	for name, all := range f.objects[1][gk] {
		if len(all) > 1 {
			return nil, engine.FactUnknown, twice(gk.kind, name.name, all)
		}
		if !listed[name.name] {
			return nil, engine.FactUnknown, doubt("%s %q is in %s and not in the complete list at %s (give one snapshot)", gk.kind, name.name, place(all[0].place), place(listing.place))
		}
	}
	// What is about to be deployed counts before what is there.
	list := []any{}
	deployed := map[string]map[string]any{}
	for name, all := range f.objects[0][gk] {
		if len(all) > 1 && slices.ContainsFunc(all, func(f found) bool { return matches(f.object) }) {
			return nil, engine.FactUnknown, twice(gk.kind, name.name, all)
		}
		deployed[name.name] = all[0].object
	}
	for _, item := range listing.objects {
		object := item.(map[string]any)
		if name, _ := object["metadata"].(map[string]any)["name"].(string); deployed[name] != nil {
			object = applied(deployed[name], object)
			delete(deployed, name)
		}
		if matches(object) {
			list = append(list, object)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(deployed)) {
		if matches(deployed[name]) {
			list = append(list, deployed[name])
		}
	}
	return list, engine.FactFound, nil
}

// applied is what applying an object to the one that is there leaves: kubectl apply takes away no label or annotation that
// it did not set itself.
func applied(object, there map[string]any) map[string]any {
	out := maps.Clone(object)
	meta := maps.Clone(object["metadata"].(map[string]any)) // both have names
	was := there["metadata"].(map[string]any)
	for _, key := range []string{"labels", "annotations"} {
		before, _ := was[key].(map[string]any)
		if len(before) == 0 {
			continue
		}
		both := maps.Clone(before)
		now, _ := meta[key].(map[string]any)
		maps.Copy(both, now)
		meta[key] = both
	}
	out["metadata"] = meta
	return out
}

// doubt is an error about a source that contradicts itself or could not be read.
func doubt(format string, args ...any) error {
	return doubtful{fmt.Errorf(format, args...)}
}

type doubtful struct{ error }

// Is makes it an engine.ErrDoubtful.
func (doubtful) Is(target error) bool { return target == engine.ErrDoubtful }

func twice(kind, name string, all []found) error {
	slices.SortFunc(all, func(a, b found) int { return strings.Compare(place(a.place), place(b.place)) })
	return doubt("%s %q is there twice: %s and %s (keep one, or judge each cluster's files on their own)", kind, name, place(all[0].place), place(all[1].place))
}

// listCommand prints a complete list of a cluster-scoped kind.
func listCommand(gk groupKind) string {
	if at := map[groupKind]string{
		{"", "Namespace"}:                  "/api/v1/namespaces",
		{"", "PersistentVolume"}:           "/api/v1/persistentvolumes",
		{"storage.k8s.io", "StorageClass"}: "/apis/storage.k8s.io/v1/storageclasses",
	}[gk]; at != "" {
		return "kubectl get --raw " + at
	}
	return "kubectl get --raw"
}

func hasLabels(object map[string]any, labels map[string]string) bool {
	have, _ := object["metadata"].(map[string]any)["labels"].(map[string]any)
	for k, want := range labels {
		if have[k] != any(want) {
			return false
		}
	}
	return true
}

// clusterScoped reports whether objects of the kind lie in no namespace: Kubernetes' own kinds that facts are asked of,
// and those a snapshot shows.
func (f *Facts) clusterScoped(gk groupKind) bool {
	return clusterScoped[gk] || f.listed[gk] != nil
}

var clusterScoped = map[groupKind]bool{
	{"", "Namespace"}: true, {"", "Node"}: true, {"", "PersistentVolume"}: true,
	{"storage.k8s.io", "StorageClass"}: true, {"storage.k8s.io", "CSIDriver"}: true, {"storage.k8s.io", "VolumeAttributesClass"}: true,
	{"snapshot.storage.k8s.io", "VolumeSnapshotClass"}: true, {"snapshot.storage.k8s.io", "VolumeSnapshotContent"}: true,
	{"networking.k8s.io", "IngressClass"}: true, {"node.k8s.io", "RuntimeClass"}: true, {"apiregistration.k8s.io", "APIService"}: true,
	{"rbac.authorization.k8s.io", "ClusterRole"}: true, {"rbac.authorization.k8s.io", "ClusterRoleBinding"}: true,
	{"apiextensions.k8s.io", "CustomResourceDefinition"}: true, {"scheduling.k8s.io", "PriorityClass"}: true,
	{"admissionregistration.k8s.io", "ValidatingWebhookConfiguration"}: true, {"admissionregistration.k8s.io", "MutatingWebhookConfiguration"}: true,
	{"admissionregistration.k8s.io", "ValidatingAdmissionPolicy"}: true, {"admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"}: true,
}

func place(p engine.Position) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }
