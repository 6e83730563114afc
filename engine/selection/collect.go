package selection

import (
	"fmt"
	"slices"
	"strings"
)

// lists are the spec's lists of resources, resolved to the names objects have.
type lists struct {
	known                               catalogue
	all, clusterScoped, namespaceScoped struct{ include, exclude globs }
	// unsure are names in a list that nothing resolves and that could be short names of a custom kind.
	unsure []string
}

func (s *Selector) bind(known catalogue) lists {
	l := lists{known: known}
	if s.spec.old {
		l.all.include = l.resolve(s, s.spec.resources.include, nil)
		l.all.exclude = l.resolve(s, s.spec.resources.exclude, nil)
		return l
	}
	namespaced, cluster := true, false
	ns, cl := s.spec.namespaceScoped, s.spec.clusterScoped
	ni, ne := l.resolve(s, ns.include, &namespaced), l.resolve(s, ns.exclude, &namespaced)
	ci, ce := l.resolve(s, cl.include, &cluster), l.resolve(s, cl.exclude, &cluster)
	if s.policy != nil {
		ne = combine(ne, ni, l.resolve(s, s.policy.namespaceScoped.exclude, &namespaced))
		ni = combine(ni, ne, l.resolve(s, s.policy.namespaceScoped.include, &namespaced))
		ce = combine(ce, ci, l.resolve(s, s.policy.clusterScoped.exclude, &cluster))
		ci = combine(ci, ce, l.resolve(s, s.policy.clusterScoped.include, &cluster))
	}
	l.namespaceScoped.include, l.namespaceScoped.exclude = ni, ne
	l.clusterScoped.include, l.clusterScoped.exclude = ci, ce
	return l
}

// combine adds what a policy says to a list, unless either list of the spec speaks of it already.
func combine(list, other, policy globs) globs {
	for _, item := range policy.texts {
		_, here := list.match(item)
		_, there := other.match(item)
		if !here && !there {
			list = newGlobs(append(slices.Clip(list.texts), item))
		}
	}
	return list
}

// resolve turns the names in a list into full names. Names of the other scope fall out of the lists that have one.
func (l *lists) resolve(s *Selector, items []string, namespaced *bool) globs {
	var names []string
	for _, item := range items {
		name, group, _ := strings.Cut(item, ".")
		r, ok := l.known.resolve(name, group)
		switch {
		case item == "*" || !ok:
			names = append(names, item)
			if item != "*" && !s.cluster.AllResources && !strings.ContainsAny(item, "*?[{") {
				l.unsure = append(l.unsure, item)
			}
		case namespaced == nil || r.Namespaced == *namespaced:
			names = append(names, r.String())
		}
	}
	return newGlobs(names)
}

// doubt is whether a name that could not be resolved may be a short name of this kind.
func (f inquiry) doubt() (string, bool) {
	_, group, _ := strings.Cut(f.o.Resource, ".")
	if _, ok := catalogue(builtin).find(f.o.Resource); ok {
		return "", false
	}
	if r, ok := f.known.find(f.o.Resource); ok && len(r.Short) > 0 {
		return "", false
	}
	for _, item := range f.lists.unsure {
		if _, in, _ := strings.Cut(item, "."); strings.HasPrefix(group, in) {
			return item, true
		}
	}
	return "", false
}

// included is whether the kind is taken at all.
func (f inquiry) included() found {
	if f.spec.policyName != "" && f.policy == nil {
		return maybe(fmt.Sprintf("the resource policy in ConfigMap %s is not known", f.spec.policyName))
	}
	name := f.o.Resource
	in := f.includedBy(name)
	if item, unsure := f.doubt(); unsure {
		return maybe(fmt.Sprintf("%q in a list of resources may be a short name of %s", item, name))
	}
	return in
}

func (f inquiry) includedBy(name string) found {
	r, _ := f.lists.known.find(name)
	if f.spec.old {
		return f.includedOld(name, r.Namespaced)
	}
	l, scope := f.lists.clusterScoped, "cluster-scoped"
	if r.Namespaced {
		l, scope = f.lists.namespaceScoped, "namespace-scoped"
	}
	if item, ok := l.exclude.match(name); ok || l.exclude.has("*") {
		return no(fmt.Sprintf("%q is among the excluded %s resources", item, scope))
	}
	_, matched := l.include.match(name)
	switch {
	case matched || l.include.has("*") || name == "namespaces":
		return yes(name + " are included")
	case r.Namespaced && len(l.include.texts) == 0:
		return yes("all resources in namespaces are included")
	}
	// Velero would take cluster-scoped kinds along with everything else if no list spoke of them, but its server excludes
	// VolumeSnapshotContents by itself, so that some list always does.
	return no(fmt.Sprintf("%s is not among the included %s resources", name, scope))
}

func (f inquiry) includedOld(name string, namespaced bool) found {
	set, l := f.spec.includeCluster, f.lists.all
	if !namespaced && set != nil && !*set {
		return no("includeClusterResources is false")
	}
	listed := no(name + " is not among the included resources")
	item, excluded := l.exclude.match(name)
	_, matched := l.include.match(name)
	switch {
	case excluded:
		listed = no(fmt.Sprintf("%q is among the excluded resources", item))
	case len(l.include.texts) == 0 || l.include.has("*") || matched:
		listed = yes(name + " are included")
	}
	if namespaced || set != nil || name == "namespaces" {
		return listed
	}
	return listed.and(f.everything)
}

// everything is whether the lists of namespaces take every namespace there is.
func (f inquiry) everything() found {
	all, none := yes("all namespaces are included"), no("it is cluster-scoped, only some namespaces are included, and includeClusterResources is not set")
	include, exclude := f.spec.namespaces.include, f.spec.namespaces.exclude
	expands := f.spec.expands()
	if len(exclude) > 0 && (!expands || slices.ContainsFunc(exclude, func(n string) bool { return !wild(n) })) {
		return none
	}
	if f.labels == nil {
		return maybe("the cluster's namespaces are not known, and cluster-scoped objects are taken only where all of them are")
	}
	star := slices.Equal(compact(include), []string{"*"})
	taken := map[string]bool{}
	for _, name := range include {
		if !expands || !wild(name) {
			taken[name] = true
		}
	}
	for name, labels := range f.labels {
		if labels[excludeLabel] == "true" || expands && matchesAny(exclude, name) {
			return none
		}
		if expands && matchesAny(include, name) {
			taken[name] = true
		}
	}
	// Where the patterns match nothing the list is empty, and an empty list is everything here although it is nothing
	// where a namespace is asked for.
	if star || len(taken) == 0 {
		return all
	}
	for name := range f.labels {
		if !taken[name] {
			return none
		}
	}
	if len(taken) != len(f.labels) {
		return none
	}
	return all
}

// namespace is whether the lists take what is in a namespace.
func (f inquiry) namespace(name string, labels map[string]string) found {
	include, exclude := f.spec.namespaces.include, f.spec.namespaces.exclude
	if f.spec.expands() {
		if matchesAny(exclude, name) {
			return no("its namespace is excluded")
		}
		if !matchesAny(include, name) {
			return no("its namespace is not included")
		}
	} else {
		if item, ok := newGlobs(exclude).match(name); ok {
			return no(fmt.Sprintf("its namespace is excluded by %q", item))
		}
		if !slices.Contains(include, "*") && !slices.Contains(include, name) {
			return no("its namespace is not included")
		}
	}
	if labels == nil && f.labels != nil {
		labels = f.labels[name]
	}
	switch {
	case labels[excludeLabel] == "true":
		return no(fmt.Sprintf("its namespace has the label %s=true", excludeLabel))
	case labels == nil && f.labels == nil:
		return maybe(fmt.Sprintf("the labels of namespace %s are not known, and %s=true would exclude it", name, excludeLabel))
	case f.labels == nil && slices.ContainsFunc(include, func(n string) bool { return n != name && !wild(n) && n != "" }):
		return maybe(fmt.Sprintf("the labels of the other included namespaces are not known, and %s=true on one of them makes Velero refuse the backup", excludeLabel))
	}
	return yes("its namespace is included")
}

// collected is whether Velero lists the object: its kind, its namespace and its labels are asked for.
func (f inquiry) collected() found {
	if f.o.Kind == "Namespace" && f.o.Resource == "namespaces" {
		return f.included().and(f.tracked)
	}
	if f.o.Resource == "events.events.k8s.io" && f.includedBy("events").answer == Selected {
		return no("events are taken once, from the core group")
	}
	return f.included().and(func() found {
		if f.o.ClusterScoped {
			return f.labelled("")
		}
		return f.namespace(f.o.Namespace, f.o.NamespaceLabels).and(f.listed)
	})
}

// listed is whether the queries that list the object's namespace find it.
func (f inquiry) listed() found {
	in := f.o.Namespace
	if slices.Contains(f.spec.namespaces.include, "*") {
		if item, ok := newGlobs(f.spec.namespaces.exclude).match("*"); ok {
			return no(fmt.Sprintf("the excluded namespaces %q match the * that stands for all", item))
		}
		in = ""
	}
	return f.labelled(in)
}

// labelled is whether the query in a namespace, or in all of them, asks for labels the object has.
func (f inquiry) labelled(in string) found {
	s := f.spec.selectors
	var own, listed *filter
	if f.policy != nil && f.o.ClusterScoped {
		// A policy for all namespaces is asked about the empty one too, which is where cluster-scoped kinds are listed.
		var there bool
		if listed, there = f.policy.namespaceFilter(f.lists.known, "", f.o.Resource); there && listed == nil {
			return no("the resource policy does not name its kind for all namespaces")
		}
		if len(f.policy.cluster) > 0 {
			listed = f.policy.clusterFilter(f.lists.known, f.o.Resource)
		}
		own = listed
	} else if f.policy != nil {
		var there, ok bool
		if listed, there = f.policy.namespaceFilter(f.lists.known, in, f.o.Resource); there && listed == nil {
			return no("the resource policy does not name its kind for its namespace")
		}
		if own, ok = f.policy.namespaceFilter(f.lists.known, f.o.Namespace, f.o.Resource); ok && own == nil {
			return no("the resource policy does not name its kind for its namespace")
		}
	}
	if listed != nil {
		s = listed.selectors
	}
	if ok, why := s.matches(f.o.Labels); !ok {
		return no(why)
	}
	if own != nil && own != listed {
		if ok, why := own.selectors.matches(f.o.Labels); !ok {
			return no(why)
		}
	}
	return yes("it is included")
}

// tracked is whether a Namespace itself is taken: its own labels are asked for, its name is, or something in it was listed.
func (f inquiry) tracked() found {
	last := no("no label selector and no list of namespaces asks for it, and nothing in it is taken")
	if f.o.Phase == "" || f.o.Phase == "Active" {
		s := f.spec.selectors
		if s.one != nil && s.one.broken == "" && s.one.matches(f.o.Labels) ||
			slices.ContainsFunc(s.any, func(one *labelSelector) bool { return one.broken == "" && one.matches(f.o.Labels) }) {
			return yes("its labels match the label selector")
		}
		named := f.namespace(f.o.Name, f.namespaceLabels())
		if s.one == nil && len(s.any) == 0 {
			if named.answer == Selected {
				return named
			}
			last = named
		} else if all := f.everything(); all.answer != Selected && named.answer != Excluded {
			// With a label selector the default lists take no namespace, others take those they name.
			if all.answer == Excluded && named.answer == Selected {
				return named
			}
			last = maybe("whether all namespaces are included is not known")
		}
	}
	if f.o.Related == nil && last.answer == Excluded {
		if f.namespace(f.o.Name, f.namespaceLabels()).answer == Excluded {
			return last
		}
		return maybe("it is taken only if something in it is, and what is in it is not known")
	}
	for _, r := range f.o.Related {
		switch in := f.about(r).collected(); in.answer {
		case Selected:
			return yes("something in it is taken: " + r.String())
		case Unknown:
			last = in
		}
	}
	return last
}

// namespaceLabels are a Namespace's labels, which are known when the object is.
func (f inquiry) namespaceLabels() map[string]string {
	if f.o.Labels == nil {
		return map[string]string{}
	}
	return f.o.Labels
}

// checks are what Velero asks again of each object, however it came: they leave out what a related object would bring.
func (f inquiry) checks() found {
	if f.o.Labels[excludeLabel] == "true" {
		return no(fmt.Sprintf("it has the label %s=true", excludeLabel))
	}
	if f.o.Deleting {
		return no("it is being deleted")
	}
	switch {
	case !f.o.ClusterScoped:
		return f.namespace(f.o.Namespace, f.o.NamespaceLabels).and(f.included).and(func() found { return f.named(f.o.Namespace) })
	case f.o.Resource == "namespaces":
		return f.named("")
	}
	return f.notExcluded().and(func() found { return f.named("") })
}

// notExcluded is whether a cluster-scoped kind may be brought along.
func (f inquiry) notExcluded() found {
	if f.spec.old {
		set, l := f.spec.includeCluster, f.lists.all
		item, excluded := l.exclude.match(f.o.Resource)
		_, matched := l.include.match(f.o.Resource)
		switch {
		case excluded:
			return no(fmt.Sprintf("%q is among the excluded resources", item))
		case set != nil && !*set:
			return no("includeClusterResources is false")
		case set == nil && len(l.include.texts) > 0 && !l.include.has("*") && !matched:
			return no(f.o.Resource + " is not among the included resources")
		}
	} else if item, ok := f.lists.clusterScoped.exclude.match(f.o.Resource); ok {
		return no(fmt.Sprintf("%q is among the excluded cluster-scoped resources", item))
	}
	if f.spec.policyName != "" && f.policy == nil {
		return maybe(fmt.Sprintf("the resource policy in ConfigMap %s is not known", f.spec.policyName))
	}
	if item, unsure := f.doubt(); unsure {
		return maybe(fmt.Sprintf("%q in a list of resources may be a short name of %s", item, f.o.Resource))
	}
	return yes("its kind may be taken")
}

// named is whether the resource policy's lists of names take the object.
func (f inquiry) named(namespace string) found {
	if f.policy == nil {
		return yes("it is included")
	}
	var own *filter
	if namespace == "" {
		own = f.policy.clusterFilter(f.lists.known, f.o.Resource)
	} else {
		own, _ = f.policy.namespaceFilter(f.lists.known, namespace, f.o.Resource)
	}
	if own == nil {
		return yes("it is included")
	}
	if item, ok := own.exclude.match(f.o.Name); ok {
		return no(fmt.Sprintf("the resource policy excludes the name %q", item))
	}
	if _, ok := own.include.match(f.o.Name); !ok && len(own.include.texts) > 0 && !own.include.has("*") {
		return no("the resource policy does not include its name")
	}
	return yes("it is included")
}
