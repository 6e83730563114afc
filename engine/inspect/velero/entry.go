package velero

import (
	"strings"

	"proviso.dev/proviso/engine"
)

// place is where an entry of a tarball stands, by its path:
// resources/<resource.group>/[<version>[-preferredversion]/](cluster|namespaces/<namespace>)/<name>.json
type place struct {
	resource, group, version, namespace, name string
	kind                                      mark // plain, preferred or versioned
	// key is the path the object is known by: that of its plain copy, or of another version's.
	key string
}

const preferredSuffix = "-preferredversion"

// parsePlace reads a clean path; ok is false where it is none that Velero writes.
func parsePlace(path string) (p place, ok bool) {
	file, isJSON := strings.CutSuffix(path, ".json")
	parts := strings.Split(file, "/")
	if !isJSON || len(parts) < 4 || parts[0] != "resources" {
		return p, false
	}
	p.resource, p.group, _ = strings.Cut(parts[1], ".")
	p.kind, p.key = plain, path
	rest := parts[2:]
	if !isScope(rest) {
		p.version, rest = rest[0], rest[1:]
		if p.kind = versioned; strings.HasSuffix(p.version, preferredSuffix) {
			p.kind = preferred
			p.key = "resources/" + parts[1] + path[len("resources/")+len(parts[1])+1+len(p.version):]
			p.version = strings.TrimSuffix(p.version, preferredSuffix)
		}
		if !isScope(rest) {
			return p, false
		}
	}
	p.name = rest[len(rest)-1]
	if len(rest) == 3 {
		p.namespace = rest[1]
	}
	return p, p.name != "" && p.resource != "" && (len(rest) != 3 || p.namespace != "")
}

func isScope(parts []string) bool {
	return len(parts) == 2 && parts[0] == "cluster" || len(parts) == 3 && parts[0] == "namespaces"
}

// plainKey is the path of the plain copy of an object that is known by another version's.
func (p place) plainKey() string {
	dir, rest, _ := strings.Cut(strings.TrimPrefix(p.key, "resources/"), "/")
	return "resources/" + dir + strings.TrimPrefix("/"+rest, "/"+p.version)
}

// identity is what an object says of itself.
type identity struct{ apiVersion, kind, namespace, name string }

func identify(object map[string]any) identity {
	text := func(m map[string]any, key string) string {
		s, _ := m[key].(string)
		return s
	}
	meta, _ := object["metadata"].(map[string]any)
	return identity{text(object, "apiVersion"), text(object, "kind"), text(meta, "namespace"), text(meta, "name")}
}

func (i identity) group() string {
	group, _, grouped := strings.Cut(i.apiVersion, "/")
	if !grouped {
		return ""
	}
	return group
}

// gvk is the kind as Velero's resource lists name it: v1/Pod, apps/v1/Deployment.
func (i identity) gvk() string { return i.apiVersion + "/" + i.kind }

func (i identity) item() string {
	if i.namespace == "" {
		return i.name
	}
	return i.namespace + "/" + i.name
}

// disagreement says where an object is not what its path says; empty where it is.
func (p place) disagreement(i identity) string {
	switch {
	case i.apiVersion == "" || i.kind == "" || i.name == "":
		return "it is no Kubernetes object: apiVersion, kind or metadata.name is missing"
	case i.name != p.name:
		return "the object in it is named " + shown(i.name)
	case i.namespace != p.namespace:
		return "the object in it says namespace " + shown(i.namespace)
	case i.group() != p.group:
		return "the object in it is of API group " + shown(i.group())
	case p.version != "" && i.apiVersion != p.version && !strings.HasSuffix(i.apiVersion, "/"+p.version):
		return "the object in it is of version " + shown(i.apiVersion)
	case builtin[p.group] && !isPlural(p.resource, i.kind):
		return "the object in it is a " + shown(i.kind)
	}
	return ""
}

// builtin are Kubernetes' own groups, whose resources are all named by the plural of their kind.
var builtin = map[string]bool{
	"": true, "apps": true, "batch": true, "autoscaling": true, "policy": true, "rbac.authorization.k8s.io": true,
	"networking.k8s.io": true, "storage.k8s.io": true, "admissionregistration.k8s.io": true, "apiextensions.k8s.io": true,
	"apiregistration.k8s.io": true, "scheduling.k8s.io": true, "coordination.k8s.io": true, "discovery.k8s.io": true,
	"events.k8s.io": true, "node.k8s.io": true, "certificates.k8s.io": true,
}

func isPlural(resource, kind string) bool {
	kind = strings.ToLower(kind)
	return resource == kind || resource == kind+"s" || resource == kind+"es" || resource == strings.TrimSuffix(kind, "y")+"ies"
}

// subject is the object in an entry as a subject.
func (i identity) subject(object map[string]any, origin engine.Origin) *engine.Subject {
	return &engine.Subject{APIVersion: i.apiVersion, Kind: i.kind, Namespace: i.namespace, Name: i.name, Object: object, Origin: origin}
}
