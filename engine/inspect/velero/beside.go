package velero

import (
	"fmt"
	"io"
	"path"
	"strings"

	"proviso.dev/proviso/engine"
)

// takes is what reads a file beside the tarball, by the end of its name; nil where what it holds is not wanted.
func (c *contents) takes(suffix string) func(io.Reader) error {
	switch suffix {
	case "-resource-list.json.gz":
		return c.resourceList
	case "-results.gz":
		return c.issues
	case operationsFile, volumeinfoFile, nativeFile, podsFile, csiFile, "-csi-volumesnapshotcontents.json.gz", "-csi-volumesnapshotclasses.json.gz":
		return func(r io.Reader) error {
			n, each := int64(0), c.volumes.takes(suffix)
			err := elements(r, c.limits, func(m map[string]any) {
				if n++; each != nil {
					each(m)
				}
			})
			if err == nil {
				c.volumes.read[suffix] = n
			}
			return err
		}
	}
	return nil
}

func (c *contents) issues(r io.Reader) error {
	v, err := value(r, c.limits)
	if err != nil {
		return err
	}
	found, err := readResults(v)
	if err != nil {
		return err
	}
	if found.messages == nil {
		found.messages = []any{}
	}
	c.fields["issues"] = map[string]any{"errors": found.errors, "warnings": found.warnings, "messages": found.messages}
	return nil
}

// attempts are what the Backup counts, and in which file what it counts is listed.
var attempts = []struct{ field, done, what, file string }{
	{"backupItemOperationsAttempted", "backupItemOperationsCompleted", "operations on items", operationsFile},
	{"csiVolumeSnapshotsAttempted", "csiVolumeSnapshotsCompleted", "CSI snapshots", csiFile},
	{"volumeSnapshotsAttempted", "volumeSnapshotsCompleted", "volume snapshots", nativeFile},
}

// promised holds what the Backup counts against the files beside it: one that is not there is not read, one that holds
// less contradicts it.
func (c *contents) promised() {
	status, _ := c.backup["status"].(map[string]any)
	for _, a := range attempts {
		n, isNumber := status[a.field].(int64)
		done, _ := status[a.done].(int64) // Velero leaves a zero out
		if status[a.field] != nil && (!isNumber || n < 0) {
			c.contradict("the Backup's %s is no count", a.field)
		}
		if n <= 0 {
			continue
		}
		if status["phase"] == "Completed" && done < n {
			c.contradict("the Backup is Completed, and of the %d %s it attempted %d are", n, a.what, max(done, 0))
		}
		_, there := c.file(c.name + a.file)
		listed, read := c.volumes.read[a.file]
		switch {
		case read && listed < n:
			c.contradict("the Backup attempted %d %s, and %s lists %d", n, a.what, c.name+a.file, listed)
		case there || a.file == csiFile && c.volumes.snapshots >= n: // Velero writes no such list since 1.17
		default:
			c.unread(path.Join(c.dir, c.name+a.file), engine.Hole, fmt.Errorf("read backup: it is not there, and the backup's %s is %d", a.field, n))
		}
	}
	c.fields["contradictions"] = c.contradictions
}

// contradict notes where the parts of a backup do not tell the same.
func (c *contents) contradict(format string, args ...any) {
	c.contradictions = append(c.contradictions, shown(fmt.Sprintf(format, args...)))
}

// put sets a text that is there.
func put(m map[string]any, key string, v any) {
	if text, ok := v.(string); ok && strings.TrimSpace(text) != "" {
		m[key] = text
	}
}

// at is the text at the end of the keys, or "".
func at(m map[string]any, keys ...string) string {
	for _, k := range keys[:len(keys)-1] {
		m, _ = m[k].(map[string]any)
	}
	text, _ := m[keys[len(keys)-1]].(string)
	return text
}
