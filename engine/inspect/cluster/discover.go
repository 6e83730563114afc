package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	discovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
)

// aggregated asks for all groups in one answer, and takes the older answers too.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

// resource is where objects of a kind are listed.
type resource struct {
	groupKind
	version, name string
	namespaced    bool
	// listable says that objects of the kind are kept and can be listed, gettable that one can be got.
	listable, gettable bool
}

// collection is the path of the objects in a namespace, or of all.
func (r resource) collection(namespace string) string {
	root := "/apis/" + r.group + "/"
	if r.group == "" {
		root = "/api/"
	}
	if r.namespaced && namespace != "" {
		return root + r.version + "/namespaces/" + namespace + "/" + r.name
	}
	return root + r.version + "/" + r.name
}

// String names the resource as kubectl does.
func (r resource) String() string {
	if r.group == "" {
		return r.name
	}
	return r.name + "." + r.group
}

// listing is an error of listing the resource, with what can be done about it.
func (r resource) listing(err error, seen int) error {
	if errors.Is(err, errRefused) {
		return fmt.Errorf("list %s: %w: grant %s", r, err, rule(r.group, []string{r.name}, "list"))
	}
	if seen > 0 {
		return fmt.Errorf("list %s: %w, so that only the first %d were seen (scan again)", r, err, seen)
	}
	return fmt.Errorf("list %s: %w (scan again)", r, err)
}

// version is one version of a group: what it serves, or why that is not known.
type version struct {
	name      string
	resources []resource
	err       error
}

// catalogue is what a cluster serves: the versions of each group, the preferred one first.
type catalogue struct {
	groups map[string][]version
	// core and others are why the core group, and the names of all others, are not known.
	core, others error
}

// discover asks the cluster once what it serves. The error is the context's.
func (s *Source) discover(ctx context.Context) (*catalogue, error) {
	select {
	case s.discovering <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.discovering }()
	if s.found != nil {
		return s.found, nil
	}
	c := &catalogue{groups: map[string][]version{}}
	wanted := s.groups()
	c.core = s.root(ctx, c, "/api", wanted)
	c.others = s.root(ctx, c, "/apis", wanted)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("discover kinds: %w", err)
	}
	s.found = c
	return c, nil
}

// groups are those that subjects and facts are of, or nil for any.
func (s *Source) groups() map[string]bool {
	groups := map[string]bool{}
	for _, k := range s.Kinds {
		if k[0] == "*" {
			return nil
		}
		groups[k[0]] = true
	}
	for k := range s.FactKinds {
		groups[k[0]] = true
	}
	return groups
}

// root is the answer of /api or /apis in any of its forms.
type root struct {
	Kind     string                        `json:"kind"`
	Items    []discovery.APIGroupDiscovery `json:"items"`
	Versions []string                      `json:"versions"`
	Groups   []metav1.APIGroup             `json:"groups"`
}

func (s *Source) root(ctx context.Context, c *catalogue, path string, wanted map[string]bool) error {
	var answer root
	err := s.get(ctx, path, nil, aggregated, func(body []byte) error {
		answer = root{}
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("the answer cannot be parsed: %w", err)
		}
		if !slices.Contains([]string{"APIGroupDiscoveryList", "APIVersions", "APIGroupList"}, answer.Kind) {
			return errors.New("the answer is no list of groups")
		}
		return nil
	})
	switch {
	case err != nil:
		return discovering(path, err)
	case answer.Kind == "APIVersions":
		c.groups[""] = s.versions(ctx, "", "/api/", answer.Versions)
	case answer.Kind == "APIGroupList":
		for _, g := range answer.Groups {
			if wanted != nil && !wanted[g.Name] {
				continue
			}
			names := []string{g.PreferredVersion.Version}
			for _, v := range g.Versions {
				if v.Version != names[0] {
					names = append(names, v.Version)
				}
			}
			c.groups[g.Name] = s.versions(ctx, g.Name, "/apis/"+g.Name+"/", names)
		}
	default:
		for _, g := range answer.Items {
			c.groups[g.Name] = versionsOf(g)
		}
	}
	return nil
}

func discovering(what string, err error) error {
	if errors.Is(err, errRefused) {
		return fmt.Errorf("discover kinds of %s: %w: bind the ClusterRole system:discovery", what, err)
	}
	return fmt.Errorf("discover kinds of %s: %w (see kubectl get apiservices)", what, err)
}

// versionsOf reads a group of the aggregated answer.
func versionsOf(g discovery.APIGroupDiscovery) []version {
	var all []version
	for _, dv := range g.Versions {
		v := version{name: dv.Version}
		if dv.Freshness == discovery.DiscoveryFreshnessStale {
			v.err = discovering(g.Name+"/"+dv.Version, errors.New("its server does not answer"))
		}
		for _, dr := range dv.Resources {
			r := resource{groupKind: groupKind{group: g.Name}, version: dv.Version, name: dr.Resource,
				namespaced: dr.Scope == discovery.ScopeNamespace, listable: slices.Contains(dr.Verbs, "list"), gettable: slices.Contains(dr.Verbs, "get")}
			if dr.ResponseKind != nil {
				r.kind = dr.ResponseKind.Kind
			}
			v.resources = append(v.resources, r)
		}
		all = append(all, v)
	}
	return all
}

// versions asks for each version of a group, as older servers want it.
func (s *Source) versions(ctx context.Context, group, prefix string, names []string) []version {
	var all []version
	for _, name := range names {
		v := version{name: name}
		var list metav1.APIResourceList
		err := s.get(ctx, prefix+name, nil, "application/json", func(body []byte) error {
			list = metav1.APIResourceList{}
			if err := json.Unmarshal(body, &list); err != nil || list.Kind != "APIResourceList" {
				return errors.New("the answer is no list of resources")
			}
			return nil
		})
		if err != nil {
			v.err = discovering(strings.TrimPrefix(group+"/"+name, "/"), err)
		}
		for _, ar := range list.APIResources {
			if strings.Contains(ar.Name, "/") || err != nil {
				continue
			}
			v.resources = append(v.resources, resource{groupKind: groupKind{group, ar.Kind}, version: name, name: ar.Name,
				namespaced: ar.Namespaced, listable: slices.Contains(ar.Verbs, "list"), gettable: slices.Contains(ar.Verbs, "get")})
		}
		all = append(all, v)
	}
	return all
}

// resource is where a kind is listed, in the version the server prefers of those that have it. Nothing and no error is
// proof that the cluster does not serve the kind, or that objects of it are not kept.
func (c *catalogue) resource(gk groupKind) (resource, bool, error) {
	var only error
	for _, v := range c.groups[gk.group] {
		for _, r := range v.resources {
			switch {
			case r.groupKind == gk && r.listable:
				return r, true, nil
			case r.groupKind == gk && r.gettable:
				only = fmt.Errorf("list %s: the cluster serves them only one by one", r)
			}
		}
	}
	return resource{}, false, errors.Join(only, c.trouble(gk.group))
}

// trouble is why it is not known what a group serves.
func (c *catalogue) trouble(group string) error {
	if group == "" && c.core != nil {
		return c.core
	}
	if group != "" && c.others != nil {
		return c.others
	}
	var errs []error
	for _, v := range c.groups[group] {
		if v.err != nil {
			errs = append(errs, v.err)
		}
	}
	return errors.Join(errs...)
}

// wanted are the resources of kinds, sorted, and what keeps them from being all.
func (c *catalogue) wanted(kinds [][2]string) ([]resource, []error) {
	chosen, holes := map[groupKind]resource{}, map[string]error{}
	choose := func(gk groupKind) {
		r, there, err := c.resource(gk)
		switch {
		case there:
			chosen[gk] = r
		case err != nil:
			holes[err.Error()] = err
		}
	}
	for _, k := range kinds {
		group, kind := k[0], k[1]
		if group != "*" && kind != "*" {
			if group != ArtifactGroup {
				choose(groupKind{group, kind})
			}
			continue
		}
		groups := []string{group}
		if group == "*" {
			groups = slices.Collect(maps.Keys(c.groups))
			for _, err := range []error{c.core, c.others} {
				if err != nil {
					holes[err.Error()] = err
				}
			}
		}
		for _, g := range groups {
			if err := c.trouble(g); err != nil {
				holes[err.Error()] = err
			}
			for _, v := range c.groups[g] {
				for _, r := range v.resources {
					if r.listable && g != ArtifactGroup && (kind == "*" || kind == r.kind) && (kind != "*" || !passing[r.groupKind]) {
						choose(r.groupKind)
					}
				}
			}
		}
	}
	resources := slices.SortedFunc(maps.Values(chosen), func(a, b resource) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.kind, b.kind))
	})
	var sorted []error
	for _, text := range slices.Sorted(maps.Keys(holes)) {
		sorted = append(sorted, holes[text])
	}
	return resources, sorted
}
