package velero

import (
	"bytes"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

// What the Backup counts must lie beside it: a file that was taken away is missed.
func TestPromisedFilesAreMissed(t *testing.T) {
	for field, suffix := range map[string]string{
		"backupItemOperationsAttempted": "-itemoperations.json.gz",
		"csiVolumeSnapshotsAttempted":   "-csi-volumesnapshots.json.gz",
		"volumeSnapshotsAttempted":      "-volumesnapshots.json.gz",
	} {
		m := backup("b", gz(tarOf(sample()...)))
		key := "backups/b/" + metadataFile
		m[key] = bytes.Replace(m[key], []byte(`"status":{`), []byte(`"status":{"`+field+`":2,`), 1)
		m["backups/b/b"+suffix] = gz([]byte("[]"))
		if got := inspect(t, &Source{Store: m}); len(got.unread) != 0 {
			t.Errorf("%s: with the file: %v", field, got.unread)
		}
		delete(m, "backups/b/b"+suffix)
		got := inspect(t, &Source{Store: m})
		if len(got.unread) != 1 || got.unread[0].Kind != engine.Hole || !strings.Contains(got.unread[0].Error(), field+" is 2") {
			t.Errorf("%s: without the file: %v", field, got.unread)
		}
	}
}
