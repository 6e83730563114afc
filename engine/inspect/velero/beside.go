package velero

import (
	"errors"
	"strings"
)

// takes is what takes the value of a file beside the tarball, by the end of its name; nil where the value is not wanted.
func (c *contents) takes(suffix string) func(any) error {
	switch suffix {
	case "-results.gz":
		return func(v any) error {
			r, err := readResults(v)
			if err == nil {
				if r.messages == nil {
					r.messages = []any{}
				}
				c.fields["issues"] = map[string]any{"errors": r.errors, "warnings": r.warnings, "messages": r.messages}
			}
			return err
		}
	case "-itemoperations.json.gz":
		return func(v any) error {
			list, err := objectsOf(v)
			if err == nil {
				c.fields["operations"] = operations(list)
			}
			return err
		}
	case "-volumeinfo.json.gz":
		return func(v any) error {
			list, err := objectsOf(v)
			if err == nil {
				c.fields["volumes"], c.fields["volumesKnown"] = volumes(list), true
			}
			return err
		}
	case "-volumesnapshots.json.gz":
		return c.older("NativeSnapshot")
	case "-podvolumebackups.json.gz":
		return c.older("PodVolumeBackup")
	case "-csi-volumesnapshots.json.gz", "-csi-volumesnapshotcontents.json.gz", "-csi-volumesnapshotclasses.json.gz":
		return func(v any) error {
			_, err := objectsOf(v)
			return err
		}
	}
	return nil
}

// older takes the volumes of a backup that has no volumeinfo, as Velero wrote them before 1.13.
func (c *contents) older(method string) func(any) error {
	return func(v any) error {
		list, err := objectsOf(v)
		if err != nil {
			return err
		}
		if _, there := c.file(c.name + "-volumeinfo.json.gz"); there {
			return nil
		}
		known, _ := c.fields["volumes"].([]any)
		for _, m := range list {
			spec, _ := m["spec"].(map[string]any)
			status, _ := m["status"].(map[string]any)
			tags, _ := spec["tags"].(map[string]any)
			volume := map[string]any{"method": method, "skipped": false}
			put(volume, "phase", status["phase"])
			put(volume, "pv", spec["persistentVolumeName"])
			put(volume, "zone", spec["volumeAZ"])
			pod, _ := spec["pod"].(map[string]any)
			if claim, ok := tags["pvc-name"].(string); ok {
				if ns, ok := pod["namespace"].(string); ok {
					volume["pvc"] = ns + "/" + claim
				}
			}
			known = append(known, volume)
		}
		c.fields["volumes"], c.fields["volumesKnown"] = append([]any{}, known...), false
		return nil
	}
}

// objectsOf is the list of objects that a file holds; null is an empty one.
func objectsOf(v any) ([]map[string]any, error) {
	list, ok := v.([]any)
	if !ok && v != nil {
		return nil, errors.New("parse: it holds no list")
	}
	out := make([]map[string]any, len(list))
	for i, e := range list {
		if out[i], ok = e.(map[string]any); !ok {
			return nil, errors.New("parse: an element is no object")
		}
	}
	return out, nil
}

func operations(list []map[string]any) map[string]any {
	var failed, unfinished int64
	for _, m := range list {
		status, _ := m["status"].(map[string]any)
		switch status["phase"] {
		case "Completed":
		case "Failed":
			failed++
		default:
			unfinished++
		}
	}
	return map[string]any{"total": int64(len(list)), "failed": failed, "unfinished": unfinished}
}

// volumes turns BackupVolumeInfos into the artifact's volumes.
func volumes(list []map[string]any) []any {
	out := make([]any, 0, len(list))
	for _, m := range list {
		skipped, _ := m["skipped"].(bool)
		v := map[string]any{"skipped": skipped}
		name, _ := m["pvcName"].(string)
		ns, _ := m["pvcNamespace"].(string)
		if name != "" && ns != "" {
			v["pvc"] = ns + "/" + name
		}
		put(v, "pv", m["pvName"])
		put(v, "method", m["backupMethod"])
		put(v, "reason", m["skippedReason"])
		put(v, "result", m["result"])
		if moved, ok := m["snapshotDataMoved"].(bool); ok {
			v["moved"] = moved
		}
		for _, key := range []string{"pvbInfo", "nativeSnapshotInfo", "snapshotDataMovementInfo"} {
			info, _ := m[key].(map[string]any)
			// Velero's own fields have no name in JSON here, so they are written with a capital.
			put(v, "phase", info["phase"])
			put(v, "phase", info["Phase"])
			put(v, "zone", info["volumeAZ"])
		}
		out = append(out, v)
	}
	return out
}

// put sets a text that is there.
func put(m map[string]any, key string, v any) {
	if text, ok := v.(string); ok && strings.TrimSpace(text) != "" {
		m[key] = text
	}
}
