package selection

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Volume is a PersistentVolumeClaim with what is around it, as whole Kubernetes objects.
type Volume struct {
	Claim map[string]any
	// PV is the volume the claim is bound to; nil where it is not known or the claim is not bound.
	PV map[string]any
	// Pods are those that mount the claim; nil where they are not known.
	Pods []map[string]any
	// NamespaceLabels are those of the claim's namespace, as in [Object].
	NamespaceLabels map[string]string
}

// Method is how the data of a volume is taken.
type Method string

// The methods: a snapshot that stays where it was made, one that is moved to the backup's location, a copy of files.
const (
	Snapshot Method = "snapshot"
	Moved    Method = "moved-snapshot"
	Files    Method = "fs-backup"
)

// Volume says whether a backup that takes the claim takes its data, how, and why. That the cluster has a snapshotter and a
// snapshot class for the volume is taken for granted; what a backup did take is in its own list of volumes.
func (s *Selector) Volume(v Volume) (Answer, Method, string) {
	if s.refused != "" {
		return Excluded, "", "Velero refuses the backup: " + s.refused
	}
	if s.spec.policyName != "" && s.policy == nil {
		return Unknown, "", fmt.Sprintf("the resource policy in ConfigMap %s is not known", s.spec.policyName)
	}
	if s.policy != nil {
		for _, rule := range s.policy.volumes {
			matched, why := rule.matches(v)
			if why != "" {
				return Unknown, "", why
			}
			if matched {
				return s.act(rule.action, v)
			}
		}
	}
	if v.PV == nil {
		if text(v.Claim, "spec", "volumeName") == "" {
			return Excluded, "", "the claim is not bound: there is no data yet"
		}
		return Unknown, "", "the PersistentVolume is not known"
	}
	if v.Pods == nil {
		// Whether a pod asks for its files decides only how the data is taken where a snapshot would take it too.
		if s.spec.snapshotVolumes == nil || *s.spec.snapshotVolumes {
			if answer, method, why := s.snapshot(v, ", or files are copied"); answer == Selected {
				return answer, method, why
			}
		}
		return Unknown, "", "the pods that mount the claim are not known"
	}
	if mounted := s.filesOf(v, false); mounted.answer != Excluded {
		return mounted.answer, Files, mounted.why
	}
	if s.spec.snapshotVolumes != nil && !*s.spec.snapshotVolumes {
		return Excluded, "", "snapshotVolumes is false and no pod's files are copied"
	}
	return s.snapshot(v, "")
}

func (s *Selector) act(action string, v Volume) (Answer, Method, string) {
	switch action {
	case "skip":
		return Excluded, "", "the resource policy skips the volume"
	case "snapshot":
		return s.snapshot(v, " by the resource policy")
	case "fs-backup":
		if v.Pods == nil {
			return Unknown, "", "the pods that mount the claim are not known"
		}
		mounted := s.filesOf(v, true)
		return mounted.answer, Files, mounted.why
	}
	return Unknown, "", fmt.Sprintf("the resource policy leaves the volume to a plugin (action %q)", action)
}

func (s *Selector) snapshot(v Volume, by string) (Answer, Method, string) {
	kind := volumeType(v.PV)
	switch kind {
	case "":
		return Unknown, "", "the kind of the volume is not known"
	case "nfs", "hostPath", "local", "iscsi", "fc", "glusterfs", "cephfs", "flexVolume", "azureFile":
		return Excluded, "", "nothing takes snapshots of a volume of kind " + kind
	}
	if s.spec.moveData != nil && *s.spec.moveData && kind == "csi" {
		return Selected, Moved, "its snapshot is moved to the backup's location" + by
	}
	return Selected, Snapshot, "a snapshot is taken" + by
}

// filesOf is whether files are copied out of a pod that is taken itself; any is whether the pods' annotations do not count.
func (s *Selector) filesOf(v Volume, any bool) found {
	last := no("no pod that is taken mounts the claim, and files are copied out of pods only")
	claim, hostPath := text(v.Claim, "metadata", "name"), volumeType(v.PV) == "hostPath"
	for _, pod := range v.Pods {
		o := ObjectOf(pod)
		o.NamespaceLabels, o.Related = v.NamespaceLabels, []Object{}
		for _, vol := range items(pod, "spec", "volumes") {
			if text(vol, "persistentVolumeClaim", "claimName") != claim || claim == "" || !any && !s.optsIn(o, text(vol, "name")) {
				continue
			}
			if hostPath {
				return no("files of a hostPath volume cannot be copied")
			}
			if phase := text(pod, "status", "phase"); phase != "" && phase != "Running" {
				last = no(fmt.Sprintf("%s is %s, and files are copied out of running pods only", o, phase))
				continue
			}
			answer, why := s.Selects(o)
			switch answer {
			case Selected:
				return yes("its files are copied out of " + o.String())
			case Unknown:
				last = maybe(why)
			}
		}
	}
	return last
}

// optsIn is whether a pod's annotations, against the spec's default, ask for the files of a volume.
func (s *Selector) optsIn(pod Object, volume string) bool {
	if s.spec.fsBackup != nil && *s.spec.fsBackup {
		return !slices.Contains(strings.Split(pod.Annotations["backup.velero.io/backup-volumes-excludes"], ","), volume) &&
			!strings.HasPrefix(volume, "default-token")
	}
	return slices.Contains(strings.Split(pod.Annotations["backup.velero.io/backup-volumes"], ","), volume)
}

// volumeTypes are the kinds of volumes in the order a volume is asked for them.
var volumeTypes = []string{"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flocker", "flexVolume", "gcePersistentDisk",
	"glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"}

func volumeType(pv map[string]any) string {
	spec, _ := pv["spec"].(map[string]any)
	for _, kind := range volumeTypes {
		if spec[kind] != nil {
			return kind
		}
	}
	return ""
}

// volumeRule is one volume policy: conditions that all hold, and what is done then.
type volumeRule struct {
	lower, upper *big.Rat
	classes      []string
	nfs, csi     map[string]any
	types        []string
	labels       map[string]string
	phases       []string
	mode         string
	access       []string
	action       string
}

func readVolumeRule(r *reader, at string, v any) volumeRule {
	m := r.object(at, v)
	r.only(at, m, "conditions", "action")
	c := r.object(at+".conditions", m["conditions"])
	r.only(at+".conditions", c, "capacity", "storageClass", "nfs", "csi", "volumeTypes", "pvcLabels", "pvcPhase", "pvcVolumeMode", "pvcAccessModes")
	action := r.object(at+".action", m["action"])
	r.only(at+".action", action, "type", "parameters")
	rule := volumeRule{
		classes: r.texts(at+".storageClass", c["storageClass"]), types: r.texts(at+".volumeTypes", c["volumeTypes"]),
		nfs: present(r, at+".nfs", c, "nfs"), csi: present(r, at+".csi", c, "csi"),
		labels: r.pairs(at+".pvcLabels", c["pvcLabels"]), phases: r.texts(at+".pvcPhase", c["pvcPhase"]),
		mode: r.text(at+".pvcVolumeMode", c["pvcVolumeMode"]), access: r.texts(at+".pvcAccessModes", c["pvcAccessModes"]),
		action: r.text(at+".action.type", action["type"]),
	}
	if !slices.Contains([]string{"skip", "snapshot", "fs-backup", "custom"}, rule.action) {
		r.errs = append(r.errs, fmt.Errorf("%s: action %q is not one that is known", at, rule.action))
	}
	rule.lower, rule.upper = new(big.Rat), new(big.Rat)
	if text := r.text(at+".capacity", c["capacity"]); text != "" {
		lower, upper, ok := strings.Cut(text, ",")
		low, err1 := quantity(lower)
		up, err2 := quantity(upper)
		if !ok || err1 != nil || err2 != nil {
			r.errs = append(r.errs, fmt.Errorf("%s: capacity %q is not two quantities with a comma between", at, text))
			return rule
		}
		rule.lower, rule.upper = low, up
	}
	return rule
}

// present tells an object that is written and empty from one that is not written.
func present(r *reader, at string, m map[string]any, key string) map[string]any {
	v, ok := m[key]
	if o := r.object(at, v); o != nil || !ok || v == nil {
		return o
	}
	return map[string]any{}
}

// matches is whether all conditions hold; why is set where that is not known.
func (rule volumeRule) matches(v Volume) (matched bool, why string) {
	phase, mode := text(v.Claim, "status", "phase"), text(v.Claim, "spec", "volumeMode")
	labels := texts(v.Claim, "metadata", "labels")
	for key, want := range rule.labels {
		if got, ok := labels[key]; !ok || got != want {
			return false, ""
		}
	}
	if len(rule.phases) > 0 && !slices.Contains(rule.phases, phase) || rule.mode != "" && rule.mode != mode {
		return false, ""
	}
	if len(rule.access) > 0 {
		var have []string
		spec, _ := v.Claim["spec"].(map[string]any)
		list, _ := spec["accessModes"].([]any)
		for _, one := range list {
			s, _ := one.(string)
			have = append(have, s)
		}
		if len(have) != len(rule.access) || !slices.Equal(compact(have), compact(rule.access)) {
			return false, ""
		}
	}
	ofPV := rule.lower.Sign() != 0 || rule.upper.Sign() != 0 || len(rule.classes) > 0 || rule.nfs != nil || rule.csi != nil || len(rule.types) > 0
	if v.PV == nil && ofPV {
		if text(v.Claim, "spec", "volumeName") == "" {
			// A claim without a volume has capacity zero, no class and no kind.
			return len(rule.classes) == 0 && rule.nfs == nil && rule.csi == nil && len(rule.types) == 0 && rule.holds(new(big.Rat)), ""
		}
		return false, "the resource policy asks for the PersistentVolume, which is not known"
	}
	if v.PV == nil {
		return true, ""
	}
	capacity, err := quantity(text(v.PV, "spec", "capacity", "storage"))
	if err != nil {
		return false, "the resource policy asks for the volume's capacity: " + err.Error()
	}
	nfs, isNFS := dig(v.PV, "spec", "nfs").(map[string]any)
	csi, isCSI := dig(v.PV, "spec", "csi").(map[string]any)
	switch {
	case !rule.holds(capacity), len(rule.classes) > 0 && !slices.Contains(rule.classes, text(v.PV, "spec", "storageClassName")):
	case len(rule.types) > 0 && !slices.Contains(rule.types, volumeType(v.PV)):
	case rule.nfs != nil && (!isNFS || !agrees(rule.nfs, nfs, "server") || !agrees(rule.nfs, nfs, "path")):
	case rule.csi != nil && (!isCSI || !agrees(rule.csi, csi, "driver") || !attributesAgree(rule.csi, csi)):
	default:
		return true, ""
	}
	return false, ""
}

func (rule volumeRule) holds(capacity *big.Rat) bool {
	return rule.lower.Cmp(capacity) <= 0 && (rule.upper.Cmp(capacity) >= 0 || rule.upper.Sign() == 0)
}

// agrees is whether a condition's field is not written or is the volume's.
func agrees(condition, volume map[string]any, field string) bool {
	want := text(condition, field)
	return want == "" || want == text(volume, field)
}

func attributesAgree(condition, volume map[string]any) bool {
	have := texts(volume, "volumeAttributes")
	for key, want := range texts(condition, "volumeAttributes") {
		if have[key] != want {
			return false
		}
	}
	return true
}
