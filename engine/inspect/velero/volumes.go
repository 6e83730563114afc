package velero

import (
	"maps"
	"slices"
	"strings"
)

// The files that tell of a backup's volumes and of the operations on its items, as they end after its name.
const (
	volumeinfoFile = "-volumeinfo.json.gz"
	podsFile       = "-podvolumebackups.json.gz"
	nativeFile     = "-volumesnapshots.json.gz"
	csiFile        = "-csi-volumesnapshots.json.gz"
	operationsFile = "-itemoperations.json.gz"
)

// volumes gathers what the files beside the tarball say of the backup's volumes. Velero's own list alone is not believed:
// what another file says of the same volume counts as well.
type volumes struct {
	listed []volume
	// told is what the other files say, by what a volume of the list has in common with it.
	told map[string]told
	// read is how many elements each file holds that was read whole, by the end of its name.
	read map[string]int64
	// snapshots is how many volumes the list says are CSI snapshots.
	snapshots  int64
	operations struct{ total, failed, unfinished int64 }
	// ready are the VolumeSnapshots whose operation completed, after Velero listed them.
	ready map[string]bool
}

// volume is one of Velero's list.
type volume struct {
	fields map[string]any
	file   string // the other file that must tell of it; empty where none does
	key    string // as what
	odd    string // the field that is not of the type Velero writes
}

// told is what another file says of a volume.
type told struct {
	volume   map[string]any
	file     string
	snapshot string // of CSI: its name
	failed   bool
	state    string // empty where it is held
}

func (t told) says() string { return t.file[1:] + " says that it " + t.state }

func newVolumes() volumes {
	return volumes{told: map[string]told{}, read: map[string]int64{}, ready: map[string]bool{}}
}

// takes is what takes an element of a file; nil where they are only counted.
func (v *volumes) takes(suffix string) func(map[string]any) {
	switch suffix {
	case volumeinfoFile:
		return v.info
	case podsFile:
		return v.pod
	case nativeFile:
		return v.native
	case csiFile:
		return v.csi
	case operationsFile:
		return v.operation
	}
	return nil
}

func (v *volumes) operation(m map[string]any) {
	v.operations.total++
	switch at(m, "status", "phase") {
	case "Completed":
		// Velero's resource identifiers have no names in JSON, so they are written with capitals.
		spec, _ := m["spec"].(map[string]any)
		if id, _ := spec["resourceIdentifier"].(map[string]any); id["Resource"] == "volumesnapshots" {
			v.ready[at(id, "Namespace")+"/"+at(id, "Name")] = true
		}
	case "Failed":
		v.operations.failed++
	default:
		v.operations.unfinished++
	}
}

// info takes a BackupVolumeInfo. What is of another type than Velero writes is left out, and so not known.
func (v *volumes) info(m map[string]any) {
	f, odd := map[string]any{}, odd(m)
	if skipped, ok := m["skipped"].(bool); ok {
		f["skipped"] = skipped
	}
	name, ns := at(m, "pvcName"), at(m, "pvcNamespace")
	if name != "" && ns != "" {
		f["pvc"] = ns + "/" + name
	}
	put(f, "pv", m["pvName"])
	put(f, "method", m["backupMethod"])
	put(f, "reason", m["skippedReason"])
	put(f, "result", m["result"])
	moved, ok := m["snapshotDataMoved"].(bool)
	if ok {
		f["moved"] = moved
	}
	for _, key := range []string{"pvbInfo", "nativeSnapshotInfo", "snapshotDataMovementInfo"} {
		info, _ := m[key].(map[string]any)
		put(f, "phase", info["phase"])
		put(f, "phase", info["Phase"]) // has no name in JSON
		put(f, "zone", info["volumeAZ"])
	}
	one := volume{fields: f, odd: odd}
	switch f["method"] {
	case "PodVolumeBackup":
		one.file, one.key = podsFile, podKey(at(m, "pvbInfo", "podNamespace"), at(m, "pvbInfo", "podName"), at(m, "pvbInfo", "volumeName"))
	case "NativeSnapshot":
		one.file, one.key = nativeFile, "pv "+at(m, "pvName")
	case "CSISnapshot":
		if !moved && f["skipped"] == false {
			v.snapshots++
			one.file, one.key = csiFile, "claim "+ns+"/"+name
		}
	}
	v.listed = append(v.listed, one)
}

// odd is a field that is of another type than Velero writes, or "".
func odd(m map[string]any) string {
	for _, key := range []string{"skipped", "snapshotDataMoved"} {
		if _, ok := m[key].(bool); !ok && m[key] != nil {
			return key
		}
	}
	for _, key := range []string{"pvcName", "pvcNamespace", "pvName", "backupMethod", "result"} {
		if _, ok := m[key].(string); !ok && m[key] != nil {
			return key
		}
	}
	for _, key := range []string{"pvbInfo", "nativeSnapshotInfo", "snapshotDataMovementInfo"} {
		info, ok := m[key].(map[string]any)
		if !ok && m[key] != nil {
			return key
		}
		for _, phase := range []string{"phase", "Phase"} {
			if _, ok := info[phase].(string); !ok && info[phase] != nil {
				return key + "." + phase
			}
		}
	}
	return ""
}

func podKey(namespace, pod, volume string) string {
	return "pod " + namespace + "/" + pod + "/" + volume
}

// tell notes what another file says. Of two things the worse one counts.
func (v *volumes) tell(key string, t told) {
	if old, there := v.told[key]; !there || old.state == "" || t.failed {
		v.told[key] = t
	}
}

// pod takes a PodVolumeBackup.
func (v *volumes) pod(m map[string]any) {
	ns := at(m, "spec", "pod", "namespace")
	f := map[string]any{"method": "PodVolumeBackup", "skipped": false}
	claim := at(m, "spec", "tags", "pvc-name")
	if claim == "" {
		claim = at(m, "metadata", "annotations", "velero.io/pvc-name")
	}
	if claim != "" && ns != "" {
		f["pvc"] = ns + "/" + claim
	}
	v.phase(podKey(ns, at(m, "spec", "pod", "name"), at(m, "spec", "volume")), podsFile, f, m)
}

// native takes a snapshot that Velero made by a cloud's own API.
func (v *volumes) native(m map[string]any) {
	f := map[string]any{"method": "NativeSnapshot", "skipped": false}
	put(f, "pv", at(m, "spec", "persistentVolumeName"))
	put(f, "zone", at(m, "spec", "volumeAZ"))
	v.phase("pv "+at(m, "spec", "persistentVolumeName"), nativeFile, f, m)
}

func (v *volumes) phase(key, file string, f, m map[string]any) {
	phase := at(m, "status", "phase")
	put(f, "phase", phase)
	t := told{volume: f, file: file, failed: phase == "Failed" || phase == "Canceled"}
	if phase != "Completed" {
		t.state = "is not Completed"
		if phase != "" {
			t.state = "is " + phase
		}
	}
	v.tell(key, t)
}

// csi takes a VolumeSnapshot, which Velero lists before it is ready: the operation on it tells how it ended.
func (v *volumes) csi(m map[string]any) {
	ns, claim := at(m, "metadata", "namespace"), at(m, "spec", "source", "persistentVolumeClaimName")
	t := told{volume: map[string]any{"method": "CSISnapshot", "skipped": false}, file: csiFile, snapshot: ns + "/" + at(m, "metadata", "name")}
	key := "claim " + ns + "/" + claim
	if claim != "" && ns != "" {
		t.volume["pvc"] = ns + "/" + claim
	} else {
		key = "snapshot " + t.snapshot
	}
	status, _ := m["status"].(map[string]any)
	if ready, _ := status["readyToUse"].(bool); !ready {
		if t.state = "is not ready to use"; status["error"] != nil {
			t.failed = true
			if text := at(status, "error", "message"); text != "" {
				t.state += ": " + shown(text)
			}
		}
	}
	v.tell(key, t)
}

// mostNotHeld is how many of the volumes that a backup does not hold are listed.
const mostNotHeld = 1000

// notHeld are the volumes of which the backup does not hold the data for certain.
type notHeld struct {
	failed, unknown []any
	count           int64
}

func (n *notHeld) add(f map[string]any, state, reason string) {
	list := &n.failed
	if state == "unknown" {
		list = &n.unknown
	}
	if n.count++; len(*list) < mostNotHeld {
		e := map[string]any{"state": state}
		put(e, "pvc", f["pvc"])
		put(e, "pv", f["pv"])
		put(e, "reason", reason)
		*list = append(*list, e)
	}
}

// judge says what is wrong with a volume of Velero's list; its state is empty where the backup holds the data.
func (v *volumes) judge(one volume) (state, reason string) {
	f, result, phase := one.fields, at(one.fields, "result"), at(one.fields, "phase")
	t, there := v.told[one.key]
	_, read := v.read[one.file]
	switch {
	case f["skipped"] == true:
		return "skipped", at(f, "reason")
	case strings.EqualFold(result, "failed") || phase == "Failed" || phase == "Canceled":
		return "failed", at(f, "reason")
	case t.failed:
		return "failed", t.says()
	case one.odd != "":
		return "unknown", "its " + one.odd + " is of another type than Velero writes"
	case f["skipped"] == nil:
		return "unknown", "whether it was left out is not said"
	case f["method"] == nil:
		return "unknown", "how it was backed up is not said"
	case !strings.EqualFold(result, "succeeded") && (result != "" || phase != "Completed"): // older versions say the phase alone
		return "unknown", "how its backup ended is not said"
	case phase != "" && phase != "Completed":
		return "unknown", "it succeeded, and its phase is " + shown(phase)
	case t.state != "":
		return "unknown", t.says()
	case one.file == "" || there || one.file == csiFile && !read: // which Velero writes no more since 1.17
		return "", ""
	case !read:
		return "unknown", one.file[1:] + " was not read, which should tell of it as well"
	}
	return "unknown", one.file[1:] + " does not tell of it"
}

// fill writes what is known of the volumes into the artifact. Without Velero's own list, which it writes since 1.13, the
// volumes are those that the other files tell of, and there may be more.
func (v *volumes) fill(fields map[string]any) {
	for key, t := range v.told {
		if v.ready[t.snapshot] {
			t.failed, t.state = false, ""
			v.told[key] = t
		}
	}
	list, claims, named, n := []any{}, map[string]bool{}, map[string]bool{}, notHeld{}
	_, known := v.read[volumeinfoFile]
	if known {
		for _, one := range v.listed {
			list = append(list, one.fields)
			named[one.key] = true
			if state, reason := v.judge(one); state != "" {
				n.add(one.fields, state, reason)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v.told)) {
		t := v.told[key]
		switch {
		case named[key]:
			continue
		case t.failed:
			n.add(t.volume, "failed", t.says())
		case t.state != "":
			n.add(t.volume, "unknown", t.says())
		}
		if !known && t.file != csiFile {
			list = append(list, t.volume)
		}
	}
	for _, f := range list {
		if claim, ok := f.(map[string]any)["pvc"].(string); ok {
			claims[claim] = true
		}
	}
	fields["volumes"], fields["volumesKnown"], fields["claimsListed"] = list, known, int64(len(claims))
	worst := append([]any{}, n.failed...)
	worst = append(worst, n.unknown...)
	fields["volumesNotHeld"], fields["volumesNotHeldCount"] = worst[:min(len(worst), mostNotHeld)], n.count
	if _, read := v.read[operationsFile]; read {
		o := v.operations
		fields["operations"] = map[string]any{"total": o.total, "failed": o.failed, "unfinished": o.unfinished}
	}
}
