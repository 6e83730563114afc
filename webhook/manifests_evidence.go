package webhook

import (
	"fmt"
	"path"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// evidenceVolume is the volume that evidence lies on, keyVolume that of the key.
const evidenceVolume, keyVolume = "evidence", "evidence-key"

// keySecret is the Secret that the key lies in, as cosign generate-key-pair k8s://… makes it.
func (i Install) keySecret() string { return i.Name + "-evidence-key" }

// keyFile reports whether the key is a file, and not one that another machine keeps.
func (i Install) keyFile() bool { return !strings.Contains(i.Key, "://") }

// evidenceTrouble is what is wrong with what is said of evidence.
func (i Install) evidenceTrouble() []string {
	if i.Evidence == "" {
		return nil
	}
	var all []string
	below := func(what, file string) {
		if dir := path.Dir(file); !path.IsAbs(file) || path.Clean(file) != file || dir == "/" {
			all = append(all, fmt.Sprintf("%s %q: want the absolute path that it has in the pods, in a folder that a volume can take the place of (such as %s)", what, file, map[string]string{"evidence": "/var/lib/proviso/evidence", "key": "/etc/proviso-key/cosign.key"}[what]))
		}
	}
	below("evidence", i.Evidence)
	switch {
	case strings.HasPrefix(i.Key, "k8s://"):
		all = append(all, fmt.Sprintf("key %s: the pods may read no Secret by themselves: it is mounted (name the file, such as /etc/proviso-key/cosign.key, and have it in the Secret %s)", i.Key, i.keySecret()))
	case i.keyFile():
		below("key", i.Key)
	}
	if i.EvidenceBytes <= 0 {
		all = append(all, "evidence has no bound, and a volume needs a size")
	}
	return all
}

// evidenceNote is what is to be done before evidence can be kept.
func (i Install) evidenceNote() string {
	if i.Evidence == "" {
		return ""
	}
	note := "\n"
	if i.keyFile() {
		note += fmt.Sprintf(`The pods wait for the key that signs their evidence, which this makes; give auditors cosign.pub of it by a way of its own:

  cosign generate-key-pair k8s://%s/%s

`, i.Namespace, i.keySecret())
	}
	return note + fmt.Sprintf(`Each replica keeps its evidence on a volume of its own, which stays when the replica goes. A Deployment of this name, from
a time when none was kept, is not replaced by the StatefulSet: delete it once the new replicas are ready.

  kubectl delete deployment %s -n %s
`, i.Name, i.Namespace)
}

// replicas are what answers. With evidence each has a volume of its own, and so a name that stays.
func (i Install) replicas(selector *meta.LabelSelector) runtime.Object {
	template := core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: selector.MatchLabels}, Spec: i.server()}
	if i.Evidence == "" {
		return i.deployment(selector, template)
	}
	pod := &template.Spec
	// The volume is its group's to write on.
	pod.SecurityContext.FSGroup, pod.SecurityContext.FSGroupChangePolicy = new(int64(65532)), new(core.FSGroupChangeOnRootMismatch)
	c := &pod.Containers[0]
	c.StartupProbe.FailureThreshold = 120 // what an earlier run left is read first
	c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: evidenceVolume, MountPath: path.Dir(i.Evidence)})
	if i.keyFile() {
		c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: keyVolume, MountPath: path.Dir(i.Key), ReadOnly: true})
		pod.Volumes = append(pod.Volumes, core.Volume{Name: keyVolume, VolumeSource: core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: i.keySecret(), DefaultMode: new(int32(0o440))}}})
	}
	// A file system takes some of a volume for itself.
	size := resource.NewQuantity(i.EvidenceBytes/4*5, resource.BinarySI)
	return &apps.StatefulSet{TypeMeta: typed("apps", "v1", "StatefulSet"), ObjectMeta: i.meta(i.Name), Spec: apps.StatefulSetSpec{
		Replicas: &i.Replicas, Selector: selector, ServiceName: i.Name, Template: template,
		// One that is not ready does not keep the others from starting; one at a time is replaced.
		PodManagementPolicy: apps.ParallelPodManagement, UpdateStrategy: apps.StatefulSetUpdateStrategy{Type: apps.RollingUpdateStatefulSetStrategyType},
		PersistentVolumeClaimRetentionPolicy: &apps.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: apps.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: apps.RetainPersistentVolumeClaimRetentionPolicyType},
		VolumeClaimTemplates: []core.PersistentVolumeClaim{{ObjectMeta: meta.ObjectMeta{Name: evidenceVolume, Labels: i.meta("").Labels},
			Spec: core.PersistentVolumeClaimSpec{AccessModes: []core.PersistentVolumeAccessMode{core.ReadWriteOnce}, Resources: core.VolumeResourceRequirements{Requests: core.ResourceList{core.ResourceStorage: *size}}}}},
	}}
}
