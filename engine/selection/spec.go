package selection

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// spec is what of a BackupSpec decides what is taken.
type spec struct {
	namespaces      pair
	old             bool
	resources       pair
	includeCluster  *bool
	clusterScoped   pair
	namespaceScoped pair
	selectors       selectors
	policyName      string

	snapshotVolumes, fsBackup, moveData *bool
}

// pair is what is included and what is excluded.
type pair struct{ include, exclude []string }

func (p pair) empty() bool { return len(p.include) == 0 && len(p.exclude) == 0 }

// Velero handles the snapshots it makes itself and takes none that were there before.
const (
	autoNamespaced = "volumesnapshots.snapshot.storage.k8s.io"
	autoCluster    = "volumesnapshotcontents.snapshot.storage.k8s.io"
)

func readSpec(m map[string]any) (spec, error) {
	r := &reader{}
	lists := func(include, exclude string) pair {
		return pair{r.texts(include, m[include]), r.texts(exclude, m[exclude])}
	}
	s := spec{
		namespaces:      lists("includedNamespaces", "excludedNamespaces"),
		resources:       lists("includedResources", "excludedResources"),
		clusterScoped:   lists("includedClusterScopedResources", "excludedClusterScopedResources"),
		namespaceScoped: lists("includedNamespaceScopedResources", "excludedNamespaceScopedResources"),
		includeCluster:  r.flag("includeClusterResources", m["includeClusterResources"]),
		snapshotVolumes: r.flag("snapshotVolumes", m["snapshotVolumes"]),
		fsBackup:        r.flag("defaultVolumesToFsBackup", m["defaultVolumesToFsBackup"]),
		moveData:        r.flag("snapshotMoveData", m["snapshotMoveData"]),
	}
	if restic := r.flag("defaultVolumesToRestic", m["defaultVolumesToRestic"]); restic != nil && *restic {
		s.fsBackup = restic
	}
	s.selectors = selectors{one: readSelector(r, "labelSelector", r.object("labelSelector", m["labelSelector"])), written: true}
	for i, v := range r.list("orLabelSelectors", m["orLabelSelectors"]) {
		at := fmt.Sprintf("orLabelSelectors[%d]", i)
		one := r.object(at, v)
		if one == nil {
			r.wrong(at, "a label selector", v)
			continue
		}
		s.selectors.any = append(s.selectors.any, readSelector(r, at, one))
	}
	if p := r.object("resourcePolicy", m["resourcePolicy"]); strings.EqualFold(r.text("resourcePolicy.kind", p["kind"]), "configmap") {
		s.policyName = r.text("resourcePolicy.name", p["name"])
	}
	if err := r.err(); err != nil {
		return spec{}, err
	}
	s.old = s.includeCluster != nil || !s.resources.empty()
	if err := s.validate(m["orLabelSelectors"] != nil); err != nil {
		return spec{}, err
	}
	s.resources = s.resources.without(autoNamespaced, autoCluster)
	s.clusterScoped = s.clusterScoped.without(autoCluster)
	s.namespaceScoped = s.namespaceScoped.without(autoNamespaced)
	if len(s.namespaces.include) == 0 {
		s.namespaces.include = []string{"*"}
	}
	return s, nil
}

// without excludes more, as Velero does: what is excluded is taken out of what is included. A list that becomes empty so
// includes everything again.
func (p pair) without(more ...string) pair {
	exclude := slices.Clone(p.exclude)
	for _, m := range more {
		if !slices.Contains(p.exclude, m) {
			exclude = append(exclude, m)
		}
	}
	include := slices.DeleteFunc(slices.Clone(p.include), func(item string) bool { return slices.Contains(exclude, item) })
	return pair{include, exclude}
}

func (s spec) validate(orSelectors bool) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.old && !(s.clusterScoped.empty() && s.namespaceScoped.empty()) {
		fail("includedResources, excludedResources and includeClusterResources do not go with the lists of cluster-scoped and namespace-scoped resources")
	}
	check := func(name string, p pair, scoped bool) {
		include, exclude := slices.Contains(p.include, "*"), slices.Contains(p.exclude, "*")
		if include && len(compact(p.include)) > 1 {
			fail("included %s: \"*\" stands alone or not at all", name)
		}
		switch {
		case exclude && !scoped:
			fail("excluded %s: \"*\" cannot be excluded", name)
		case exclude && len(compact(p.exclude)) > 1:
			fail("excluded %s: \"*\" stands alone or not at all", name)
		case exclude && len(p.include) > 0:
			fail("excluded %s: where \"*\" is excluded nothing can be included", name)
		}
		for _, item := range compact(p.exclude) {
			if slices.Contains(p.include, item) {
				fail("%s: %q is included and excluded", name, item)
			}
		}
	}
	if s.old {
		check("resources", s.resources, false)
	} else {
		check("cluster-scoped resources", s.clusterScoped, true)
		check("namespace-scoped resources", s.namespaceScoped, true)
	}
	check("namespaces", s.namespaces, false)
	for _, name := range slices.Concat(s.namespaces.include, s.namespaces.exclude) {
		if err := namespacePattern(name); err != nil {
			fail("namespace %q: %w", name, err)
		}
	}
	if orSelectors && s.selectors.one != nil {
		fail("labelSelector and orLabelSelectors exclude each other")
	}
	return errors.Join(errs...)
}

func compact(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// namespacePattern checks a namespace in a list. The empty text is none, and allowed.
func namespacePattern(name string) error {
	switch {
	case name == "":
		return nil
	case strings.ContainsAny(name, "|()!{},"):
		return errors.New("none of |()!{}, can be used in a pattern")
	case strings.Contains(name, "**"):
		return errors.New("** cannot be used in a pattern")
	}
	for rest := name; rest != ""; {
		i := strings.IndexAny(rest, "[]")
		if i < 0 {
			break
		}
		end := strings.IndexByte(rest[i:], ']')
		if rest[i] == ']' || end <= 1 {
			return errors.New("brackets are empty or not closed")
		}
		rest = rest[i+end+1:]
	}
	if plain := strings.NewReplacer("*", "x", "?", "x", "[", "x", "]", "x").Replace(name); len(plain) > 63 || !dnsLabel.MatchString(plain) {
		return errors.New("not a name of a namespace")
	}
	return nil
}

func wild(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// expands is whether Velero turns the lists into the names of namespaces there are before it uses them.
func (s spec) expands() bool {
	return !slices.Contains(s.namespaces.include, "*") &&
		slices.ContainsFunc(slices.Concat(s.namespaces.include, s.namespaces.exclude), wild)
}
