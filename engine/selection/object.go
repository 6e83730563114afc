package selection

import (
	"fmt"
	"math/big"
	"strings"
)

// ObjectOf is the object a Kubernetes object is asked about as; Related and NamespaceLabels are left for the caller. The
// resource of a custom kind is guessed from the kind as kubectl guesses it.
func ObjectOf(m map[string]any) Object {
	group, _, ok := strings.Cut(text(m, "apiVersion"), "/")
	if !ok {
		group = ""
	}
	o := Object{Kind: text(m, "kind"), Namespace: text(m, "metadata", "namespace"), Name: text(m, "metadata", "name"),
		Labels: texts(m, "metadata", "labels"), Annotations: texts(m, "metadata", "annotations"),
		Phase: text(m, "status", "phase"), Deleting: dig(m, "metadata", "deletionTimestamp") != nil}
	r, known := ResourceOf(group, o.Kind)
	if !known {
		r = Resource{Group: group, Plural: guess(strings.ToLower(o.Kind)), Namespaced: o.Namespace != ""}
	}
	o.Resource, o.ClusterScoped = r.String(), !r.Namespaced
	return o
}

func guess(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	case strings.HasSuffix(kind, "y"):
		return strings.TrimSuffix(kind, "y") + "ies"
	}
	return kind + "s"
}

func dig(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func text(m map[string]any, path ...string) string {
	s, _ := dig(m, path...).(string)
	return s
}

func texts(m map[string]any, path ...string) map[string]string {
	from, _ := dig(m, path...).(map[string]any)
	if from == nil {
		return nil
	}
	all := make(map[string]string, len(from))
	for key, v := range from {
		all[key], _ = v.(string)
	}
	return all
}

func items(m map[string]any, path ...string) []map[string]any {
	list, _ := dig(m, path...).([]any)
	var all []map[string]any
	for _, v := range list {
		if one, ok := v.(map[string]any); ok {
			all = append(all, one)
		}
	}
	return all
}

var suffixes = map[string]*big.Rat{"": big.NewRat(1, 1), "m": big.NewRat(1, 1000), "k": exp(10, 3), "M": exp(10, 6), "G": exp(10, 9), "T": exp(10, 12), "P": exp(10, 15), "E": exp(10, 18),
	"Ki": exp(2, 10), "Mi": exp(2, 20), "Gi": exp(2, 30), "Ti": exp(2, 40), "Pi": exp(2, 50), "Ei": exp(2, 60)}

func exp(base, n int64) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(n), nil))
}

// quantity reads a Kubernetes quantity; the empty text is zero.
func quantity(s string) (*big.Rat, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return new(big.Rat), nil
	}
	end := strings.LastIndexAny(s, "0123456789.") + 1
	unit, ok := suffixes[s[end:]]
	n, number := new(big.Rat).SetString(s[:end])
	if !ok || !number || len(s) > 40 || strings.ContainsAny(s[:end], "/_xX") {
		return nil, fmt.Errorf("%q is not a quantity", s)
	}
	return n.Mul(n, unit), nil
}
