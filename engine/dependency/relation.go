package dependency

// relation says what an edge means: from … to.
type relation uint8

const (
	namespace     relation = iota // anything … its Namespace
	defined                       // custom resource … its CustomResourceDefinition or APIService
	env                           // pod template … ConfigMap, Secret
	mount                         // pod template, volume … ConfigMap, Secret
	pull                          // pod template, ServiceAccount … Secret
	runsAs                        // pod template … ServiceAccount
	priority                      // pod template … PriorityClass
	runtimeClass                  // pod template … RuntimeClass
	device                        // pod template … ResourceClaim, ResourceClaimTemplate
	claim                         // pod template, StatefulSet … PersistentVolumeClaim
	storageClass                  // claim, volume … StorageClass
	volume                        // claim … PersistentVolume
	source                        // claim … what it is filled from
	credentials                   // volume, class … Secret
	content                       // VolumeSnapshot … VolumeSnapshotContent
	snapshotClass                 // VolumeSnapshot, VolumeSnapshotContent … VolumeSnapshotClass
	backend                       // Ingress … Service
	tls                           // Ingress … Secret
	ingressClass                  // Ingress … IngressClass
	calls                         // webhook configuration, definition, APIService … Service
	grants                        // binding … Role, ClusterRole, policy
	subject                       // binding … ServiceAccount
	token                         // token Secret … ServiceAccount
	names                         // custom resource … anything its fields name by convention

	// What follows orders nothing.
	ownedBy   // anything … its owner
	claimedBy // PersistentVolume … PersistentVolumeClaim
	snapshot  // VolumeSnapshotContent … VolumeSnapshot
	taken     // VolumeSnapshot … PersistentVolumeClaim
	mountable // ServiceAccount … Secret
	governs   // StatefulSet … its headless Service
	scales    // autoscaler … workload
	selects   // Service, PodDisruptionBudget … workload
	makes     // custom resource … Secret that its operator makes
)

var relations = [...]string{
	namespace: "namespace", defined: "definition", env: "env", mount: "mount", pull: "imagePull", runsAs: "serviceAccount", priority: "priorityClass",
	runtimeClass: "runtimeClass", device: "resourceClaim", claim: "claim", storageClass: "storageClass", volume: "volume", source: "dataSource",
	credentials: "credentials", content: "content", snapshotClass: "snapshotClass", backend: "backend", tls: "tls", ingressClass: "ingressClass",
	calls: "calls", grants: "role", subject: "subject", token: "token", names: "names", ownedBy: "owner", claimedBy: "claimedBy", snapshot: "snapshot",
	taken: "takenFrom", mountable: "mountable", governs: "governingService", scales: "scales", selects: "selects", makes: "makes",
}

func (r relation) String() string { return relations[r] }

// orders reports whether the one that refers waits for the other.
func (r relation) orders() bool { return r < ownedBy }
