package evidence

import (
	"slices"
	"strings"
)

// inNamespace reports whether a subject is of a namespace.
func inNamespace(s *Subject, namespace string) bool {
	return s.Namespace == namespace || s.Kind == "Namespace" && s.APIVersion == "v1" && s.Name == namespace
}

// namesOther reports whether a value is another namespace than the one given, lies in one or names one.
func namesOther(raw []byte, namespace string) bool {
	v, err := parseValue(raw)
	return err != nil || othersIn(v, namespace)
}

// othersIn takes every member whose key speaks of namespaces for names of them, as Velero's includedNamespaces and
// namespaceMapping are: what only may be a name is taken for one.
func othersIn(v any, namespace string) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return othersIn(e, namespace) })
	case map[string]any:
		if v["kind"] == "NamespaceList" && v["items"] != nil {
			return true // its items need not name their kind
		}
		if meta, ok := v["metadata"].(map[string]any); ok && v["kind"] == "Namespace" && meta["name"] != namespace {
			return true
		}
		for key, e := range v {
			if strings.Contains(strings.ToLower(key), "namespace") && !namesOnly(e, namespace) || othersIn(e, namespace) {
				return true
			}
		}
	}
	return false
}

// namesOnly reports whether every text in a value, and every key, is the namespace given or stands for any.
func namesOnly(v any, namespace string) bool {
	is := func(name string) bool { return name == "" || name == "*" || name == namespace }
	switch v := v.(type) {
	case string:
		return is(v)
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !namesOnly(e, namespace) })
	case map[string]any:
		for key, e := range v {
			if !is(key) || !namesOnly(e, namespace) {
				return false
			}
		}
	}
	return true
}
