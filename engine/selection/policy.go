package selection

import (
	"fmt"
	"slices"
	"strings"
)

// policy is the content of a resource policy ConfigMap.
type policy struct {
	clusterScoped, namespaceScoped pair
	includes                       bool
	cluster                        []filter
	namespaces                     []namespacePolicy
	volumes                        []volumeRule
}

// filter narrows kinds by labels and names. No kinds are all of them.
type filter struct {
	kinds            []string
	selectors        selectors
	include, exclude globs
}

type namespacePolicy struct {
	patterns []string
	filters  []filter
}

func (p *policy) filters() bool { return p.includes || len(p.cluster) > 0 || len(p.namespaces) > 0 }

// readPolicy reads a policy. Refused says why Velero refuses it; a nil policy without that holds something this version
// does not know.
func readPolicy(m map[string]any) (p *policy, refused string) {
	r := &reader{}
	p = &policy{}
	r.only("resource policy", m, "version", "volumePolicies", "includeExcludePolicy", "clusterScopedFilterPolicy", "namespacedFilterPolicies")
	if v := r.text("version", m["version"]); v != "v1" {
		return nil, fmt.Sprintf("the resource policy has version %q, want v1", v)
	}
	if in := r.object("includeExcludePolicy", m["includeExcludePolicy"]); in != nil {
		p.includes = true
		r.only("includeExcludePolicy", in, "includedClusterScopedResources", "excludedClusterScopedResources", "includedNamespaceScopedResources", "excludedNamespaceScopedResources")
		for _, one := range []struct {
			into  *pair
			scope string
		}{{&p.clusterScoped, "ClusterScopedResources"}, {&p.namespaceScoped, "NamespaceScopedResources"}} {
			one.into.include, one.into.exclude = r.texts("included"+one.scope, in["included"+one.scope]), r.texts("excluded"+one.scope, in["excluded"+one.scope])
			for _, item := range slices.Concat(one.into.include, one.into.exclude) {
				if item == "*" || slices.Contains(one.into.include, item) && slices.Contains(one.into.exclude, item) {
					return nil, fmt.Sprintf("the resource policy's %s hold %q, as * or twice", one.scope, item)
				}
			}
		}
	}
	if c := r.object("clusterScopedFilterPolicy", m["clusterScopedFilterPolicy"]); c != nil {
		r.only("clusterScopedFilterPolicy", c, "resourceFilters")
		p.cluster = readFilters(r, "clusterScopedFilterPolicy", c["resourceFilters"])
		if len(p.cluster) == 0 || slices.ContainsFunc(p.cluster, filter.all) {
			return nil, "the resource policy's clusterScopedFilterPolicy names no kinds"
		}
	}
	for i, v := range r.list("namespacedFilterPolicies", m["namespacedFilterPolicies"]) {
		at := fmt.Sprintf("namespacedFilterPolicies[%d]", i)
		n := r.object(at, v)
		r.only(at, n, "namespaces", "resourceFilters")
		one := namespacePolicy{r.texts(at+".namespaces", n["namespaces"]), readFilters(r, at, n["resourceFilters"])}
		if len(one.patterns) == 0 || len(one.filters) == 0 {
			return nil, "the resource policy's " + at + " names no namespace or no filter"
		}
		p.namespaces = append(p.namespaces, one)
	}
	for i, v := range r.list("volumePolicies", m["volumePolicies"]) {
		p.volumes = append(p.volumes, readVolumeRule(r, fmt.Sprintf("volumePolicies[%d]", i), v))
	}
	if r.err() != nil {
		return nil, ""
	}
	return p, ""
}

func readFilters(r *reader, at string, v any) []filter {
	var all []filter
	for i, one := range r.list(at, v) {
		at := fmt.Sprintf("%s.resourceFilters[%d]", at, i)
		m := r.object(at, one)
		r.only(at, m, "kinds", "labelSelector", "orLabelSelectors", "names", "excludedNames")
		f := filter{kinds: r.texts(at, m["kinds"]), include: newGlobs(r.texts(at, m["names"])), exclude: newGlobs(r.texts(at, m["excludedNames"]))}
		f.selectors.one = readSelector(r, at, r.object(at, m["labelSelector"]))
		for _, s := range r.list(at, m["orLabelSelectors"]) {
			f.selectors.any = append(f.selectors.any, readSelector(r, at, r.object(at, s)))
		}
		f.selectors.any = slices.DeleteFunc(f.selectors.any, func(s *labelSelector) bool { return s == nil || len(s.terms) == 0 })
		all = append(all, f)
	}
	return all
}

func (f filter) all() bool { return len(f.kinds) == 0 || slices.Equal(f.kinds, []string{"*"}) }

func (f filter) names(known catalogue, resource string) bool {
	return slices.ContainsFunc(f.kinds, func(kind string) bool {
		if r, ok := known.resolve(kind, ""); ok {
			return r.String() == resource
		}
		return kind == resource
	})
}

// clusterFilter is the filter of a cluster-scoped kind; nil where there is none.
func (p *policy) clusterFilter(known catalogue, resource string) *filter {
	for i := range p.cluster {
		if p.cluster[i].names(known, resource) {
			return &p.cluster[i]
		}
	}
	return nil
}

// namespaceFilter is the filter of a kind in a namespace, or in the empty one that stands for a query over all; there is
// whether the policy speaks of the namespace, so that nil then takes nothing of the kind.
func (p *policy) namespaceFilter(known catalogue, namespace, resource string) (own *filter, there bool) {
	var in *namespacePolicy
	for i := range p.namespaces {
		if slices.Contains(p.namespaces[i].patterns, namespace) {
			in = &p.namespaces[i]
			break
		}
	}
	for i := range p.namespaces {
		if in == nil && slices.ContainsFunc(p.namespaces[i].patterns, func(pattern string) bool {
			g, err := compileGlob(pattern)
			return err == nil && strings.ContainsAny(pattern, "*?[") && g.match(namespace)
		}) {
			in = &p.namespaces[i]
		}
	}
	if in == nil {
		return nil, false
	}
	for i := range in.filters {
		if in.filters[i].names(known, resource) {
			return &in.filters[i], true
		}
	}
	for i := range in.filters {
		if in.filters[i].all() {
			return &in.filters[i], true
		}
	}
	return nil, true
}
