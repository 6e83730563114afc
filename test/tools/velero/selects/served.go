package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
)

// resource is a kind the cluster serves.
type resource struct {
	group, version, plural, singular, kind string
	namespaced                             bool
	short                                  []string
}

func (r resource) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.group, Version: r.version, Resource: r.plural}
}

// resources are what a cluster with two custom kinds serves, as kubectl api-resources lists it, in its order of groups.
var resources = []resource{
	{"", "v1", "configmaps", "configmap", "ConfigMap", true, []string{"cm"}},
	{"", "v1", "endpoints", "endpoints", "Endpoints", true, []string{"ep"}},
	{"", "v1", "events", "event", "Event", true, []string{"ev"}},
	{"", "v1", "limitranges", "limitrange", "LimitRange", true, []string{"limits"}},
	{"", "v1", "namespaces", "namespace", "Namespace", false, []string{"ns"}},
	{"", "v1", "nodes", "node", "Node", false, []string{"no"}},
	{"", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", true, []string{"pvc"}},
	{"", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", false, []string{"pv"}},
	{"", "v1", "pods", "pod", "Pod", true, []string{"po"}},
	{"", "v1", "resourcequotas", "resourcequota", "ResourceQuota", true, []string{"quota"}},
	{"", "v1", "secrets", "secret", "Secret", true, nil},
	{"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", true, []string{"sa"}},
	{"", "v1", "services", "service", "Service", true, []string{"svc"}},
	{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition", false, []string{"crd", "crds"}},
	{"apps", "v1", "daemonsets", "daemonset", "DaemonSet", true, []string{"ds"}},
	{"apps", "v1", "deployments", "deployment", "Deployment", true, []string{"deploy"}},
	{"apps", "v1", "replicasets", "replicaset", "ReplicaSet", true, []string{"rs"}},
	{"apps", "v1", "statefulsets", "statefulset", "StatefulSet", true, []string{"sts"}},
	{"batch", "v1", "cronjobs", "cronjob", "CronJob", true, []string{"cj"}},
	{"batch", "v1", "jobs", "job", "Job", true, nil},
	{"events.k8s.io", "v1", "events", "event", "Event", true, []string{"ev"}},
	{"networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", true, []string{"ing"}},
	{"networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", true, []string{"netpol"}},
	{"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", false, nil},
	{"rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", false, nil},
	{"rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", true, nil},
	{"rbac.authorization.k8s.io", "v1", "roles", "role", "Role", true, nil},
	{"scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass", false, []string{"pc"}},
	{"storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass", false, []string{"sc"}},
	{"example.com", "v1", "clusterwidgets", "clusterwidget", "ClusterWidget", false, nil},
	{"example.com", "v1", "widgets", "widget", "Widget", true, []string{"wd"}},
	{"snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "volumesnapshotcontent", "VolumeSnapshotContent", false, []string{"vsc", "vscs"}},
	{"snapshot.storage.k8s.io", "v1", "volumesnapshots", "volumesnapshot", "VolumeSnapshot", true, []string{"vs"}},
}

func resourceOf(apiVersion, kind string) (resource, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return resource{}, false
	}
	for _, r := range resources {
		if r.group == gv.Group && r.kind == kind {
			return r, true
		}
	}
	return resource{}, false
}

// served answers discovery.
type served struct{ *discoveryfake.FakeDiscovery }

func newServed() served {
	fake := &discoveryfake.FakeDiscovery{Fake: &clienttesting.Fake{}, FakedServerVersion: &version.Info{Major: "1", Minor: "34", GitVersion: "v1.34.0"}}
	for _, r := range resources {
		gv := r.GroupVersionResource().GroupVersion().String()
		if n := len(fake.Resources); n == 0 || fake.Resources[n-1].GroupVersion != gv {
			fake.Resources = append(fake.Resources, &metav1.APIResourceList{GroupVersion: gv})
		}
		list := fake.Resources[len(fake.Resources)-1]
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.plural, SingularName: r.singular, Kind: r.kind,
			Group: r.group, Version: r.version, Namespaced: r.namespaced, ShortNames: r.short, Verbs: metav1.Verbs{"list", "create", "get", "delete"}})
	}
	return served{fake}
}

// ServerPreferredResources lists the groups in their order. The client library lists them in that of a map, so that Velero
// takes an Event now from one of its two groups and now from the other.
func (s served) ServerPreferredResources() ([]*metav1.APIResourceList, error) {
	return s.Resources, nil
}

// GroupsAndMaybeResources leaves the resources to be asked for one by one, as an old API server does.
func (s served) GroupsAndMaybeResources() (*metav1.APIGroupList, map[schema.GroupVersion]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
	groups, err := s.ServerGroups()
	return groups, nil, nil, err
}
