package dependency

import (
	"maps"
	"slices"
	"strings"
)

const certManager = "cert-manager.io"

// maxDepth bounds how deep a custom resource is read.
const maxDepth = 40

// conventions reads what the spec of a custom resource names by the conventions operators follow. The API knows nothing
// of it, so a name may be meant otherwise; a bare string that may be a credential itself counts only where such a Secret is there.
func (r reader) conventions(spec map[string]any) {
	switch (groupKind{r.self.Group, r.self.Kind}) {
	case groupKind{certManager, "Certificate"}:
		// cert-manager writes this one.
		r.near(makes, "Secret", text(spec, "secretName"), optional|convention)
		r.issuer(child(spec, "issuerRef"))
		for _, store := range []string{"jks", "pkcs12"} {
			r.refer("passwordSecretRef", child(spec, "keystores", store, "passwordSecretRef"), nil)
		}
		return
	case groupKind{"external-secrets.io", "ExternalSecret"}:
		name := text(child(spec, "target"), "name")
		if name == "" {
			name = r.self.Name
		}
		r.near(makes, "Secret", name, optional|convention)
		store := child(spec, "secretStoreRef")
		if text(store, "kind") == "ClusterSecretStore" {
			r.to(names, Object{r.self.Group, "ClusterSecretStore", "", text(store, "name")}, convention)
		} else {
			r.to(names, Object{r.self.Group, "SecretStore", r.self.Namespace, text(store, "name")}, convention)
		}
		return
	case groupKind{"bitnami.com", "SealedSecret"}:
		r.near(makes, "Secret", r.self.Name, optional|convention)
		return
	}
	r.walk("", spec, 0)
}

func (r reader) walk(key string, v any, depth int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			r.refer(k, v[k], v)
			r.walk(k, v[k], depth+1)
		}
		if kind := text(v, "kind"); (kind == "Secret" || kind == "ConfigMap") && key != "template" {
			r.name(kind, text(v, "name"), v, 0)
		}
	case []any:
		for _, e := range v {
			if key == "imagePullSecrets" {
				r.refer("secretRef", e, nil)
			}
			r.walk(key, e, depth+1)
		}
	}
}

// refer reads one field, with the map it is in.
func (r reader) refer(key string, v any, in map[string]any) {
	low := strings.ToLower(key)
	switch v := v.(type) {
	case string:
		switch {
		case strings.HasSuffix(low, "secretname") || low == "secretref" || low == "existingsecret" || low == "credentialssecret":
			r.name("Secret", v, map[string]any{"namespace": in["secretNamespace"], "optional": in["optional"]}, 0)
		case strings.HasSuffix(low, "secret"):
			r.name("Secret", v, nil, ifPresent)
		case low == "configmapname" || low == "configmapref":
			r.name("ConfigMap", v, map[string]any{"optional": in["optional"]}, 0)
		case low == "serviceaccountname":
			r.name("ServiceAccount", v, nil, ifPresent)
		case low == "storageclassname" || low == "storageclass":
			if named(v) {
				r.class(storageClass, "storage.k8s.io", "StorageClass", v, convention)
			}
		}
	case map[string]any:
		if kind := text(v, "kind"); kind != "" && low != "issuerref" {
			return // the walk reads what says its kind itself
		}
		name := text(v, "name")
		switch {
		case low == "issuerref":
			r.issuer(v)
		case strings.HasSuffix(low, "secretref") || strings.HasSuffix(low, "secretkeyref") || strings.HasSuffix(low, "secretkeyselector") || strings.HasSuffix(low, "secret"):
			r.name("Secret", name, v, 0)
		case strings.HasSuffix(low, "configmapref") || strings.HasSuffix(low, "configmapkeyref") || strings.HasSuffix(low, "configmap"):
			r.name("ConfigMap", name, v, 0)
		case strings.HasSuffix(low, "credential") || strings.HasSuffix(low, "credentials"):
			// credential: {name, key}, or credentials: {accessKeyId: {name, key}}
			if text(v, "key") != "" {
				r.name("Secret", name, v, 0)
				return
			}
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if m := child(v, k); text(m, "key") != "" && !strings.Contains(strings.ToLower(k), "secretkeyref") {
					r.name("Secret", text(m, "name"), m, 0)
				}
			}
		}
	}
}

// name refers to what a field names, in the namespace that in says or else the object's own. Where neither says one, only the operator
// knows it.
func (r reader) name(kind, name string, in map[string]any, f flags) {
	ns := text(in, "namespace")
	if ns == "" {
		ns = r.self.Namespace
	}
	if ns == "" || !named(name) || !named(ns) {
		return
	}
	if in["optional"] == true {
		f |= optional
	}
	r.to(names, Object{"", kind, ns, name}, f|convention)
}

func (r reader) issuer(ref map[string]any) {
	group, kind, ns := text(ref, "group"), text(ref, "kind"), r.self.Namespace
	if group == "" {
		group = certManager
	}
	if kind == "" {
		kind = "Issuer"
	}
	if strings.HasPrefix(kind, "Cluster") {
		ns = ""
	}
	r.to(names, Object{group, kind, ns, text(ref, "name")}, convention)
}

// named reports whether text can be an object's name: a template or a sentence cannot.
func named(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for _, c := range []byte(text) {
		if c != '-' && c != '.' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
