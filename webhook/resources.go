package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"

	"proviso.dev/proviso/engine"
)

// Resource is where the API server serves a kind.
type Resource struct {
	Group string
	// Versions are those served, the most mature first.
	Versions     []string
	Kind, Plural string
	// Subresources are those through which metadata or spec can be changed. The status of a custom resource is none: the API
	// server takes nothing but the status from it. /scale is of another kind and changes nothing a policy reads.
	Subresources []string
	Namespaced   bool
}

// table is what Proviso knows without a cluster: kinds of one group each, as "Kind plural subresource…". Through the status
// of a built-in kind labels, annotations and owners can be changed too. Of Pods it is left out all the same: each kubelet
// writes it all the time, and no role for people holds the right to.
var table = []struct {
	group, versions string
	namespaced      bool
	kinds           []string
}{
	{"", "v1", true, []string{"PersistentVolumeClaim persistentvolumeclaims status", "Pod pods ephemeralcontainers", "ConfigMap configmaps", "Service services status", "ServiceAccount serviceaccounts"}},
	{"", "v1", false, []string{"Namespace namespaces finalize status", "PersistentVolume persistentvolumes status"}},
	{"apps", "v1", true, []string{"StatefulSet statefulsets status", "Deployment deployments status", "DaemonSet daemonsets status", "ReplicaSet replicasets status"}},
	{"batch", "v1", true, []string{"Job jobs status", "CronJob cronjobs status"}},
	{"networking.k8s.io", "v1", true, []string{"NetworkPolicy networkpolicies", "Ingress ingresses status"}},
	{"policy", "v1", true, []string{"PodDisruptionBudget poddisruptionbudgets status"}},
	{"rbac.authorization.k8s.io", "v1", true, []string{"Role roles", "RoleBinding rolebindings"}},
	{"rbac.authorization.k8s.io", "v1", false, []string{"ClusterRole clusterroles", "ClusterRoleBinding clusterrolebindings"}},
	{"apiextensions.k8s.io", "v1", false, []string{"CustomResourceDefinition customresourcedefinitions status"}},
	{"storage.k8s.io", "v1", false, []string{"StorageClass storageclasses", "CSIDriver csidrivers"}},
	{"storage.k8s.io", "v1 v1beta1", false, []string{"VolumeAttributesClass volumeattributesclasses"}},
	{"snapshot.storage.k8s.io", "v1", true, []string{"VolumeSnapshot volumesnapshots"}},
	{"snapshot.storage.k8s.io", "v1", false, []string{"VolumeSnapshotClass volumesnapshotclasses", "VolumeSnapshotContent volumesnapshotcontents"}},
	{"groupsnapshot.storage.k8s.io", "v1 v1beta2 v1beta1", true, []string{"VolumeGroupSnapshot volumegroupsnapshots"}},
	{"groupsnapshot.storage.k8s.io", "v1 v1beta2 v1beta1", false, []string{"VolumeGroupSnapshotClass volumegroupsnapshotclasses", "VolumeGroupSnapshotContent volumegroupsnapshotcontents"}},

	{"velero.io", "v1", true, []string{"Backup backups", "BackupRepository backuprepositories", "BackupStorageLocation backupstoragelocations",
		"DeleteBackupRequest deletebackuprequests", "DownloadRequest downloadrequests", "PodVolumeBackup podvolumebackups", "PodVolumeRestore podvolumerestores",
		"Restore restores", "Schedule schedules", "ServerStatusRequest serverstatusrequests", "VolumeSnapshotLocation volumesnapshotlocations"}},
	{"velero.io", "v2alpha1", true, []string{"DataDownload datadownloads", "DataUpload datauploads"}},

	{"s3.services.k8s.aws", "v1alpha1", true, []string{"Bucket buckets"}},
	{"storage.cnrm.cloud.google.com", "v1beta1", true, []string{"StorageBucket storagebuckets", "StorageBucketAccessControl storagebucketaccesscontrols"}},

	{"k8up.io", "v1", true, []string{"Archive archives", "Backup backups", "Check checks", "PodConfig podconfigs", "PreBackupPod prebackuppods", "Prune prunes",
		"Restore restores", "Schedule schedules", "Snapshot snapshots"}},
	{"config.kio.kasten.io", "v1alpha1", true, []string{"BlueprintBinding blueprintbindings", "Policy policies", "PolicyPreset policypresets", "Profile profiles", "TransformSet transformsets"}},
	{"cr.kanister.io", "v1alpha1", true, []string{"ActionSet actionsets", "Blueprint blueprints", "Profile profiles", "RepositoryServer repositoryservers"}},
	{"postgresql.cnpg.io", "v1", true, []string{"Backup backups", "Cluster clusters", "Pooler poolers", "ScheduledBackup scheduledbackups"}},
	{"barmancloud.cnpg.io", "v1", true, []string{"ObjectStore objectstores"}},
	{"volsync.backube", "v1alpha1", true, []string{"ReplicationDestination replicationdestinations", "ReplicationSource replicationsources"}},
	{"snapscheduler.backube", "v1", true, []string{"SnapshotSchedule snapshotschedules"}},
	{"longhorn.io", "v1beta2 v1beta1", true, []string{"BackingImage backingimages", "Backup backups", "BackupTarget backuptargets", "BackupVolume backupvolumes",
		"RecurringJob recurringjobs", "Setting settings", "Snapshot snapshots", "SystemBackup systembackups", "SystemRestore systemrestores", "Volume volumes"}},
	{"core.kubestash.com", "v1alpha1", true, []string{"BackupBatch backupbatches", "BackupBlueprint backupblueprints", "BackupConfiguration backupconfigurations",
		"BackupSession backupsessions", "BackupVerificationSession backupverificationsession", "BackupVerifier backupverifier", // singular, as their definitions say
		"HookTemplate hooktemplates", "RestoreSession restoresessions"}},
	{"storage.kubestash.com", "v1alpha1", true, []string{"BackupStorage backupstorages", "Repository repositories", "RetentionPolicy retentionpolicies", "Snapshot snapshots"}},
	{"kubevirt.io", "v1 v1alpha3", true, []string{"VirtualMachine virtualmachines", "VirtualMachineInstance virtualmachineinstances"}},
	{"snapshot.kubevirt.io", "v1beta1 v1alpha1", true, []string{"VirtualMachineRestore virtualmachinerestores", "VirtualMachineSnapshot virtualmachinesnapshots"}},
	{"cdi.kubevirt.io", "v1beta1", true, []string{"DataImportCron dataimportcrons", "DataSource datasources", "DataVolume datavolumes"}},
	{"ceph.rook.io", "v1", true, []string{"CephBlockPool cephblockpools", "CephCluster cephclusters", "CephFilesystem cephfilesystems", "CephObjectStore cephobjectstores", "CephRBDMirror cephrbdmirrors"}},
	{"external-secrets.io", "v1 v1beta1", true, []string{"ExternalSecret externalsecrets", "SecretStore secretstores"}},
	{"external-secrets.io", "v1 v1beta1", false, []string{"ClusterSecretStore clustersecretstores"}},

	{Group, "v1alpha1", true, []string{"Waiver waivers"}},
	{Group, "v1alpha1", false, []string{"Profile profiles"}},
}

// Builtin are the kinds Proviso knows without a cluster, sorted by group and kind.
func Builtin() []Resource {
	var all []Resource
	for _, row := range table {
		for _, text := range row.kinds {
			names := strings.Fields(text)
			all = append(all, Resource{Group: row.group, Versions: strings.Fields(row.versions), Kind: names[0], Plural: names[1],
				Subresources: names[2:], Namespaced: row.namespaced})
		}
	}
	slices.SortFunc(all, byKind)
	return all
}

func byKind(a, b Resource) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Plural, b.Plural))
}

func index(all []Resource) map[schema.GroupKind][]Resource {
	m := make(map[schema.GroupKind][]Resource, len(all))
	for _, r := range all {
		gk := schema.GroupKind{Group: r.Group, Kind: r.Kind}
		m[gk] = append(m[gk], r)
	}
	return m
}

// Served are the kinds a cluster serves and takes changes of, sorted by group and kind; one that it serves under two names is
// there twice. A group of theirs that does not answer is an error: rules without its kinds would watch less than the policies
// name. Others may be down.
func Served(ctx context.Context, d discovery.DiscoveryInterfaceWithContext, theirs []engine.MatchRow) ([]Resource, error) {
	_, lists, err := discovery.ServerGroupsAndResourcesWithContext(ctx, d)
	if failed := (*discovery.ErrGroupDiscoveryFailed)(nil); errors.As(err, &failed) {
		versions := slices.SortedFunc(maps.Keys(failed.Groups), func(a, b schema.GroupVersion) int { return cmp.Compare(a.String(), b.String()) })
		var errs []error
		for _, gv := range versions {
			if !slices.ContainsFunc(theirs, func(row engine.MatchRow) bool { return row.Group == gv.Group }) {
				continue
			}
			errs = append(errs, fmt.Errorf("discover kinds of %s: %w (see kubectl get apiservices)", gv, failed.Groups[gv]))
		}
		if err = errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("discover kinds: %w", err)
	}
	if len(lists) == 0 {
		return nil, errors.New("discover kinds: the API server names none (bind the ClusterRole system:discovery)")
	}
	found := map[schema.GroupResource]*Resource{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("discover kinds: %w", err)
		}
		collect(found, gv, list.APIResources)
	}
	known := index(Builtin())
	all := make([]Resource, 0, len(found))
	for _, r := range found {
		slices.SortFunc(r.Versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
		slices.Sort(r.Subresources)
		r.Subresources = slices.Compact(r.Subresources)
		k, isKnown := known[schema.GroupKind{Group: r.Group, Kind: r.Kind}]
		r.Subresources = slices.DeleteFunc(r.Subresources, func(sub string) bool {
			if isKnown {
				return !slices.Contains(k[0].Subresources, sub)
			}
			return sub == "status" && !scheme.Scheme.IsGroupRegistered(r.Group) // of a custom resource
		})
		all = append(all, *r)
	}
	slices.SortFunc(all, byKind)
	return all, nil
}

// collect adds what one version of a group serves.
func collect(found map[schema.GroupResource]*Resource, gv schema.GroupVersion, served []metav1.APIResource) {
	changes := func(ar metav1.APIResource, verbs ...string) bool {
		return slices.ContainsFunc(verbs, func(verb string) bool { return slices.Contains(ar.Verbs, verb) })
	}
	for _, ar := range served {
		if strings.Contains(ar.Name, "/") || !changes(ar, "create", "update", "patch", "delete") {
			continue
		}
		gr := schema.GroupResource{Group: gv.Group, Resource: ar.Name}
		if found[gr] == nil {
			found[gr] = &Resource{Group: gv.Group, Kind: ar.Kind, Plural: ar.Name, Namespaced: ar.Namespaced}
		}
		found[gr].Versions = append(found[gr].Versions, gv.Version)
	}
	for _, ar := range served {
		name, sub, _ := strings.Cut(ar.Name, "/")
		r := found[schema.GroupResource{Group: gv.Group, Resource: name}]
		// A subresource of the same kind takes the whole object, so that more than its own part may change.
		if r != nil && sub != "" && ar.Kind == r.Kind && (ar.Group == "" || ar.Group == gv.Group) && changes(ar, "update", "patch") {
			r.Subresources = append(r.Subresources, sub)
		}
	}
}
