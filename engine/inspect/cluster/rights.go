package cluster

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Rights are the rules of the smallest ClusterRole that lets a [Source] list kinds and answer facts of the others: list for
// both, and get for facts, which are asked for by name where their kind cannot be listed. Resources are named as the kinds'
// plurals are by convention. Kinds that only Proviso makes need no right. The rules are sorted, one for each group and set
// of verbs.
func Rights(kinds [][2]string, facts map[[2]string]bool) []rbac.PolicyRule {
	verbs := map[[2]string][]string{}
	for _, k := range kinds {
		verbs[k] = []string{"list"}
	}
	for k, asked := range facts {
		if asked {
			verbs[k] = []string{"get", "list"}
		}
	}
	rules := map[[2]string]*rbac.PolicyRule{}
	for _, k := range slices.SortedFunc(maps.Keys(verbs), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		if k[0] == ArtifactGroup {
			continue
		}
		name := "*"
		if k[1] != "*" {
			plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: k[0], Kind: k[1]})
			name = plural.Resource
		}
		key := [2]string{k[0], verbs[k][0]}
		if rules[key] == nil {
			rules[key] = &rbac.PolicyRule{APIGroups: []string{k[0]}, Verbs: verbs[k]}
		}
		rules[key].Resources = append(rules[key].Resources, name)
	}
	var list []rbac.PolicyRule
	for _, r := range rules {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b rbac.PolicyRule) int {
		return cmp.Or(cmp.Compare(a.APIGroups[0], b.APIGroups[0]), cmp.Compare(a.Verbs[0], b.Verbs[0]))
	})
	return list
}

// rule is one rule of a ClusterRole, as a line of YAML.
func rule(group string, resources []string, verbs ...string) string {
	text, _ := json.Marshal(rbac.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}) // strings always marshal
	return string(text)
}
