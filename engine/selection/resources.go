package selection

import (
	"slices"
	"strings"
)

// Resource is a kind as the API server serves it.
type Resource struct {
	Group, Plural, Singular, Kind string
	Short                         []string
	Namespaced                    bool
}

// String is the name Velero's lists are compared with: the plural, and the group behind a dot where there is one.
func (r Resource) String() string {
	if r.Group == "" {
		return r.Plural
	}
	return r.Plural + "." + r.Group
}

// builtin are the kinds every cluster serves and Velero can back up, by the order of their groups in discovery, which
// decides where two groups share a name.
var builtin = parseResources(`
configmaps ConfigMap cm n
endpoints Endpoints ep n
events Event ev n
limitranges LimitRange limits n
namespaces Namespace ns -
nodes Node no -
persistentvolumeclaims PersistentVolumeClaim pvc n
persistentvolumes PersistentVolume pv -
pods Pod po n
podtemplates PodTemplate - n
replicationcontrollers ReplicationController rc n
resourcequotas ResourceQuota quota n
secrets Secret - n
serviceaccounts ServiceAccount sa n
services Service svc n
apiservices.apiregistration.k8s.io APIService - -
controllerrevisions.apps ControllerRevision - n
daemonsets.apps DaemonSet ds n
deployments.apps Deployment deploy n
replicasets.apps ReplicaSet rs n
statefulsets.apps StatefulSet sts n
events.events.k8s.io Event ev n
horizontalpodautoscalers.autoscaling HorizontalPodAutoscaler hpa n
cronjobs.batch CronJob cj n
jobs.batch Job - n
certificatesigningrequests.certificates.k8s.io CertificateSigningRequest csr -
ingressclasses.networking.k8s.io IngressClass - -
ingresses.networking.k8s.io Ingress ing n
ipaddresses.networking.k8s.io IPAddress ip -
networkpolicies.networking.k8s.io NetworkPolicy netpol n
servicecidrs.networking.k8s.io ServiceCIDR - -
poddisruptionbudgets.policy PodDisruptionBudget pdb n
clusterrolebindings.rbac.authorization.k8s.io ClusterRoleBinding - -
clusterroles.rbac.authorization.k8s.io ClusterRole - -
rolebindings.rbac.authorization.k8s.io RoleBinding - n
roles.rbac.authorization.k8s.io Role - n
csidrivers.storage.k8s.io CSIDriver - -
csinodes.storage.k8s.io CSINode - -
csistoragecapacities.storage.k8s.io CSIStorageCapacity - n
storageclasses.storage.k8s.io StorageClass sc -
volumeattachments.storage.k8s.io VolumeAttachment - -
volumeattributesclasses.storage.k8s.io VolumeAttributesClass vac -
mutatingwebhookconfigurations.admissionregistration.k8s.io MutatingWebhookConfiguration - -
validatingadmissionpolicies.admissionregistration.k8s.io ValidatingAdmissionPolicy - -
validatingadmissionpolicybindings.admissionregistration.k8s.io ValidatingAdmissionPolicyBinding - -
validatingwebhookconfigurations.admissionregistration.k8s.io ValidatingWebhookConfiguration - -
customresourcedefinitions.apiextensions.k8s.io CustomResourceDefinition crd,crds -
priorityclasses.scheduling.k8s.io PriorityClass pc -
leases.coordination.k8s.io Lease - n
runtimeclasses.node.k8s.io RuntimeClass - -
endpointslices.discovery.k8s.io EndpointSlice - n
flowschemas.flowcontrol.apiserver.k8s.io FlowSchema - -
prioritylevelconfigurations.flowcontrol.apiserver.k8s.io PriorityLevelConfiguration - -
volumesnapshotclasses.snapshot.storage.k8s.io VolumeSnapshotClass vsclass,vsclasses -
volumesnapshotcontents.snapshot.storage.k8s.io VolumeSnapshotContent vsc,vscs -
volumesnapshots.snapshot.storage.k8s.io VolumeSnapshot vs n
backuprepositories.velero.io BackupRepository - n
backups.velero.io Backup - n
backupstoragelocations.velero.io BackupStorageLocation bsl n
deletebackuprequests.velero.io DeleteBackupRequest - n
downloadrequests.velero.io DownloadRequest - n
podvolumebackups.velero.io PodVolumeBackup - n
podvolumerestores.velero.io PodVolumeRestore - n
restores.velero.io Restore - n
schedules.velero.io Schedule - n
serverstatusrequests.velero.io ServerStatusRequest ssr n
volumesnapshotlocations.velero.io VolumeSnapshotLocation vsl n
datadownloads.velero.io DataDownload - n
datauploads.velero.io DataUpload - n
`)

func parseResources(text string) []Resource {
	var all []Resource
	for line := range strings.Lines(strings.TrimSpace(text)) {
		f := strings.Fields(line)
		plural, group, _ := strings.Cut(f[0], ".")
		r := Resource{Group: group, Plural: plural, Singular: strings.ToLower(f[1]), Kind: f[1], Namespaced: f[3] == "n"}
		if f[2] != "-" {
			r.Short = strings.Split(f[2], ",")
		}
		all = append(all, r)
	}
	return all
}

// ResourceOf is the built-in resource of a group and kind.
func ResourceOf(group, kind string) (Resource, bool) {
	for _, r := range builtin {
		if r.Group == group && r.Kind == kind {
			return r, true
		}
	}
	return Resource{}, false
}

// catalogue is what names in Velero's lists are resolved by.
type catalogue []Resource

// with adds a custom kind where it is not known yet.
func (c catalogue) with(o Object) (catalogue, bool) {
	if _, ok := c.find(o.Resource); ok {
		return c, true
	}
	plural, group, _ := strings.Cut(o.Resource, ".")
	return append(slices.Clip(c), Resource{Group: group, Plural: plural, Singular: strings.ToLower(o.Kind), Kind: o.Kind, Namespaced: !o.ClusterScoped}), false
}

func (c catalogue) find(name string) (Resource, bool) {
	for _, r := range c {
		if r.Group == "" && r.Plural == name || r.Group != "" && len(name) == len(r.Plural)+1+len(r.Group) && r.String() == name {
			return r, true
		}
	}
	return Resource{}, false
}

// resolve finds what a name means: first as a short name, then as a plural or singular; without a group in any group, with
// one in that group, else in one that begins so. The first group in discovery's order wins.
func (c catalogue) resolve(name, group string) (Resource, bool) {
	groups := []func(string) bool{func(g string) bool { return group == "" || g == group }}
	if group != "" {
		groups = append(groups, func(g string) bool { return strings.HasPrefix(g, group) })
	}
	short := func() string {
		for _, in := range groups {
			for _, r := range c {
				if in(r.Group) && slices.Contains(r.Short, name) {
					return r.Plural
				}
			}
		}
		return name
	}
	plural := strings.ToLower(short())
	for _, in := range groups {
		for _, r := range c {
			if in(r.Group) && (r.Plural == plural || r.Singular == plural) {
				return r, true
			}
		}
	}
	return Resource{}, false
}
