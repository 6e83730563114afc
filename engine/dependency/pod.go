package dependency

import (
	"strconv"
)

// maxReplicas bounds the claims a StatefulSet is asked for: the number is a stranger's.
const maxReplicas = 1000

// workload reads what makes pods.
func (r reader) workload(spec map[string]any) {
	switch r.self.Kind {
	case "CronJob":
		r.template(r.child(spec, "jobTemplate", "spec"))
	case "StatefulSet":
		r.template(spec)
		r.near(governs, "Service", r.text(spec, "serviceName"), optional)
		r.claimTemplates(spec)
	case "Deployment", "DaemonSet", "ReplicaSet", "Job":
		r.template(spec)
	}
}

func (r reader) template(spec map[string]any) {
	template := r.child(spec, "template")
	r.pod(r.child(template, "spec"))
	// What a ReplicaSet or Job of an owner makes, its owner's template says already.
	if len(r.list(r.child(r.object, "metadata"), "ownerReferences")) == 0 {
		r.selectable(r.child(template, "metadata", "labels"))
	}
}

// claimTemplates asks for the claim of each replica: without it a restored StatefulSet makes a new and empty one.
func (r reader) claimTemplates(spec map[string]any) {
	replicas, first := int64(1), int64(0)
	r.count(&replicas, spec, "replicas")
	r.count(&first, r.child(spec, "ordinals"), "start")
	for _, t := range r.elements(spec, "volumeClaimTemplates") {
		name := r.text(r.child(t, "metadata"), "name")
		r.class(storageClass, "storage.k8s.io", "StorageClass", r.text(r.child(t, "spec"), "storageClassName"), 0)
		for i := range min(replicas, maxReplicas) {
			if name != "" {
				r.near(claim, "PersistentVolumeClaim", name+"-"+r.self.Name+"-"+strconv.FormatInt(first+i, 10), 0)
			}
		}
	}
}

// count sets n to the number under key, where there is one.
func (r reader) count(n *int64, m map[string]any, key string) {
	if there, ok := m[key].(int64); ok && there >= 0 {
		*n = there
	} else if m[key] != nil {
		r.doubt(key, "number from 0")
	}
}

// pod reads the spec of a pod or of a template.
func (r reader) pod(spec map[string]any) {
	if spec == nil {
		return
	}
	account := r.text(spec, "serviceAccountName")
	if account == "" {
		account = r.text(spec, "serviceAccount")
	}
	if account == "" {
		account = "default"
	}
	r.near(runsAs, "ServiceAccount", account, 0)
	r.class(priority, "scheduling.k8s.io", "PriorityClass", r.text(spec, "priorityClassName"), 0)
	r.class(runtimeClass, "node.k8s.io", "RuntimeClass", r.text(spec, "runtimeClassName"), 0)
	for _, s := range r.elements(spec, "imagePullSecrets") {
		f := flags(0)
		if generated(account, r.text(s, "name")) {
			f = provided
		}
		r.near(pull, "Secret", r.text(s, "name"), f)
	}
	for _, c := range r.elements(spec, "resourceClaims") {
		r.to(device, Object{"resource.k8s.io", "ResourceClaim", r.self.Namespace, r.text(c, "resourceClaimName")}, 0)
		r.to(device, Object{"resource.k8s.io", "ResourceClaimTemplate", r.self.Namespace, r.text(c, "resourceClaimTemplateName")}, 0)
	}
	for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
		for _, c := range r.elements(spec, kind) {
			r.env(c)
		}
	}
	for _, v := range r.elements(spec, "volumes") {
		r.mounts(v, account)
	}
}

func (r reader) env(container map[string]any) {
	for _, e := range r.elements(container, "env") {
		from := r.child(e, "valueFrom")
		r.named(env, "Secret", r.child(from, "secretKeyRef"), "name")
		r.named(env, "ConfigMap", r.child(from, "configMapKeyRef"), "name")
	}
	for _, e := range r.elements(container, "envFrom") {
		r.named(env, "Secret", r.child(e, "secretRef"), "name")
		r.named(env, "ConfigMap", r.child(e, "configMapRef"), "name")
	}
}

// named refers to what m names under key, unless m says that it is optional.
func (r reader) named(rel relation, kind string, m map[string]any, key string) {
	f := flags(0)
	if m["optional"] == true {
		f = optional
	}
	r.near(rel, kind, r.text(m, key), f)
}

func (r reader) mounts(v map[string]any, account string) {
	if s := r.child(v, "secret"); generated(account, r.text(s, "secretName")) {
		r.near(mount, "Secret", r.text(s, "secretName"), provided)
	} else {
		r.named(mount, "Secret", s, "secretName")
	}
	r.named(mount, "ConfigMap", r.child(v, "configMap"), "name")
	r.near(claim, "PersistentVolumeClaim", r.text(r.child(v, "persistentVolumeClaim"), "claimName"), 0)
	r.class(storageClass, "storage.k8s.io", "StorageClass", r.text(r.child(v, "ephemeral", "volumeClaimTemplate", "spec"), "storageClassName"), 0)
	for _, s := range r.elements(r.child(v, "projected"), "sources") {
		r.named(mount, "Secret", r.child(s, "secret"), "name")
		r.named(mount, "ConfigMap", r.child(s, "configMap"), "name")
	}
	r.near(mount, "Secret", r.text(r.child(v, "csi", "nodePublishSecretRef"), "name"), 0)
	for _, kind := range []string{"rbd", "cephfs", "flexVolume", "iscsi", "scaleIO", "storageos"} {
		r.near(mount, "Secret", r.text(r.child(v, kind, "secretRef"), "name"), 0)
	}
	r.near(mount, "Secret", r.text(r.child(v, "azureFile"), "secretName"), 0)
}
