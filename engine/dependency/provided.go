package dependency

import "strings"

// builtin are the groups that every API server serves itself.
var builtin = set("", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io",
	"authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "extensions",
	"flowcontrol.apiserver.k8s.io", "imagepolicy.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
	"rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "settings.k8s.io", "storage.k8s.io", "storagemigration.k8s.io")

// servedApart are groups that well-known API servers of their own serve. A backup of some namespaces carries no APIService
// that would tell.
var servedApart = set("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io", "packages.operators.coreos.com",
	"apps.openshift.io", "authorization.openshift.io", "build.openshift.io", "image.openshift.io", "oauth.openshift.io", "project.openshift.io",
	"quota.openshift.io", "route.openshift.io", "security.openshift.io", "template.openshift.io", "user.openshift.io")

// external are the kinds by which a cluster describes what it offers. A backup of namespaces does not carry them; the
// cluster that it is restored to has its own.
var external = map[groupKind]bool{
	{"storage.k8s.io", "StorageClass"}: true, {snapshots, "VolumeSnapshotClass"}: true,
	{"node.k8s.io", "RuntimeClass"}: true, {"networking.k8s.io", "IngressClass"}: true,
}

const (
	snapshots = "snapshot.storage.k8s.io"
	rbac      = "rbac.authorization.k8s.io"
	crds      = "apiextensions.k8s.io"
	admission = "admissionregistration.k8s.io"
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// made reports whether Kubernetes, or the distribution, makes the object in every cluster.
func made(o Object) bool {
	system := strings.HasPrefix(o.Name, "system:")
	switch (groupKind{o.Group, o.Kind}) {
	case groupKind{"", "Namespace"}:
		return o.Name == "default" || o.Name == "kube-system" || o.Name == "kube-public" || o.Name == "kube-node-lease"
	case groupKind{"", "Node"}:
		return true
	case groupKind{"", "ServiceAccount"}:
		return o.Name == "default"
	case groupKind{"", "ConfigMap"}:
		return o.Name == "kube-root-ca.crt" || o.Name == "openshift-service-ca.crt" ||
			o.Namespace == "kube-system" && o.Name == "extension-apiserver-authentication"
	case groupKind{"", "Service"}:
		return o.Namespace == "default" && o.Name == "kubernetes"
	case groupKind{rbac, "ClusterRole"}:
		return system || o.Name == "cluster-admin" || o.Name == "admin" || o.Name == "edit" || o.Name == "view"
	case groupKind{rbac, "Role"}:
		return system || o.Namespace == "kube-system" && o.Name == "extension-apiserver-authentication-reader"
	case groupKind{"scheduling.k8s.io", "PriorityClass"}:
		return o.Name == "system-cluster-critical" || o.Name == "system-node-critical"
	}
	return false
}

// canonical is the group a kind lives in today. Some were in extensions once, and old documents still say so.
func canonical(group, kind string) string {
	if group != "extensions" {
		return group
	}
	switch kind {
	case "Deployment", "DaemonSet", "ReplicaSet":
		return "apps"
	case "Ingress", "NetworkPolicy":
		return "networking.k8s.io"
	case "PodSecurityPolicy":
		return "policy"
	}
	return group
}

// split parts an apiVersion into group and version.
func split(apiVersion string) (group, version string) {
	if group, version, ok := strings.Cut(apiVersion, "/"); ok {
		return group, version
	}
	return "", apiVersion
}
