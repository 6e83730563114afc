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
		r.template(child(spec, "jobTemplate", "spec"))
	case "StatefulSet":
		r.template(spec)
		r.near(governs, "Service", text(spec, "serviceName"), optional)
		r.claimTemplates(spec)
	case "Deployment", "DaemonSet", "ReplicaSet", "Job":
		r.template(spec)
	}
}

func (r reader) template(spec map[string]any) {
	template := child(spec, "template")
	r.pod(child(template, "spec"))
	// What a ReplicaSet or Job of an owner makes, its owner's template says already.
	if len(list(child(r.object, "metadata"), "ownerReferences")) == 0 {
		r.selectable(child(template, "metadata", "labels"))
	}
}

// claimTemplates asks for the claim of each replica: without it a restored StatefulSet makes a new and empty one.
func (r reader) claimTemplates(spec map[string]any) {
	replicas, first := int64(1), int64(0)
	if n, ok := spec["replicas"].(int64); ok {
		replicas = n
	}
	if n, ok := child(spec, "ordinals")["start"].(int64); ok {
		first = n
	}
	for _, t := range elements(spec, "volumeClaimTemplates") {
		name := text(child(t, "metadata"), "name")
		r.class(storageClass, "storage.k8s.io", "StorageClass", text(child(t, "spec"), "storageClassName"), 0)
		for i := range min(replicas, maxReplicas) {
			if name != "" {
				r.near(claim, "PersistentVolumeClaim", name+"-"+r.self.Name+"-"+strconv.FormatInt(first+i, 10), 0)
			}
		}
	}
}

// pod reads the spec of a pod or of a template.
func (r reader) pod(spec map[string]any) {
	if spec == nil {
		return
	}
	account := text(spec, "serviceAccountName")
	if account == "" {
		account = text(spec, "serviceAccount")
	}
	if account == "" {
		account = "default"
	}
	r.near(runsAs, "ServiceAccount", account, 0)
	r.class(priority, "scheduling.k8s.io", "PriorityClass", text(spec, "priorityClassName"), 0)
	r.class(runtimeClass, "node.k8s.io", "RuntimeClass", text(spec, "runtimeClassName"), 0)
	for _, s := range elements(spec, "imagePullSecrets") {
		f := flags(0)
		if generated(account, text(s, "name")) {
			f = provided
		}
		r.near(pull, "Secret", text(s, "name"), f)
	}
	for _, c := range elements(spec, "resourceClaims") {
		r.to(device, Object{"resource.k8s.io", "ResourceClaim", r.self.Namespace, text(c, "resourceClaimName")}, 0)
		r.to(device, Object{"resource.k8s.io", "ResourceClaimTemplate", r.self.Namespace, text(c, "resourceClaimTemplateName")}, 0)
	}
	for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
		for _, c := range elements(spec, kind) {
			r.env(c)
		}
	}
	for _, v := range elements(spec, "volumes") {
		r.mounts(v, account)
	}
}

func (r reader) env(container map[string]any) {
	for _, e := range elements(container, "env") {
		from := child(e, "valueFrom")
		r.named(env, "Secret", child(from, "secretKeyRef"), "name")
		r.named(env, "ConfigMap", child(from, "configMapKeyRef"), "name")
	}
	for _, e := range elements(container, "envFrom") {
		r.named(env, "Secret", child(e, "secretRef"), "name")
		r.named(env, "ConfigMap", child(e, "configMapRef"), "name")
	}
}

// named refers to what m names under key, unless m says that it is optional.
func (r reader) named(rel relation, kind string, m map[string]any, key string) {
	f := flags(0)
	if m["optional"] == true {
		f = optional
	}
	r.near(rel, kind, text(m, key), f)
}

func (r reader) mounts(v map[string]any, account string) {
	if s := child(v, "secret"); generated(account, text(s, "secretName")) {
		r.near(mount, "Secret", text(s, "secretName"), provided)
	} else {
		r.named(mount, "Secret", s, "secretName")
	}
	r.named(mount, "ConfigMap", child(v, "configMap"), "name")
	r.near(claim, "PersistentVolumeClaim", text(child(v, "persistentVolumeClaim"), "claimName"), 0)
	r.class(storageClass, "storage.k8s.io", "StorageClass", text(child(v, "ephemeral", "volumeClaimTemplate", "spec"), "storageClassName"), 0)
	for _, s := range elements(child(v, "projected"), "sources") {
		r.named(mount, "Secret", child(s, "secret"), "name")
		r.named(mount, "ConfigMap", child(s, "configMap"), "name")
	}
	r.near(mount, "Secret", text(child(v, "csi", "nodePublishSecretRef"), "name"), 0)
	for _, kind := range []string{"rbd", "cephfs", "flexVolume", "iscsi", "scaleIO", "storageos"} {
		r.near(mount, "Secret", text(child(v, kind, "secretRef"), "name"), 0)
	}
	r.near(mount, "Secret", text(child(v, "azureFile"), "secretName"), 0)
}
