package velero

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

const (
	pods = `[{"metadata":{"name":"x","annotations":{"velero.io/pvc-name":"data"}},"spec":{"pod":{"namespace":"shop","name":"web"},"volume":"d"},"status":{"phase":"Completed"}}]`
	// As Velero writes them: one of each way.
	infos = `[{"pvcName":"data","pvcNamespace":"shop","pvName":"p1","backupMethod":"PodVolumeBackup","snapshotDataMoved":false,"skipped":false,"result":"succeeded",
		"pvbInfo":{"podName":"web","podNamespace":"shop","volumeName":"d","Phase":"Completed"}},
		{"pvcName":"disk","pvcNamespace":"shop","pvName":"p2","backupMethod":"NativeSnapshot","snapshotDataMoved":false,"skipped":false,"result":"succeeded","nativeSnapshotInfo":{"volumeAZ":"eu-1a","Phase":"Completed"}},
		{"pvcName":"fast","pvcNamespace":"shop","pvName":"p3","backupMethod":"CSISnapshot","snapshotDataMoved":false,"skipped":false,"result":"succeeded","csiSnapshotInfo":{"vscName":"c","operationID":"o","ReadyToUse":false}},
		{"pvcName":"far","pvcNamespace":"shop","pvName":"p4","backupMethod":"CSISnapshot","snapshotDataMoved":true,"skipped":false,"result":"succeeded","snapshotDataMovementInfo":{"dataMover":"velero","Phase":"Completed"}}]`
	natives = `[{"spec":{"persistentVolumeName":"p2","volumeAZ":"eu-1a"},"status":{"phase":"Completed"}}]`
	ready   = `[{"metadata":{"namespace":"shop","name":"s"},"spec":{"source":{"persistentVolumeClaimName":"fast"}},"status":{"readyToUse":true}}]`
	// Velero lists a snapshot before it is ready; the operation tells that it was.
	erring    = `[{"metadata":{"namespace":"shop","name":"s"},"spec":{"source":{"persistentVolumeClaimName":"fast"}},"status":{"readyToUse":false,"error":{"message":"boom"}}}]`
	completed = `[{"spec":{"resourceIdentifier":{"Group":"snapshot.storage.k8s.io","Resource":"volumesnapshots","Namespace":"shop","Name":"s"}},"status":{"phase":"Completed"}}]`
)

// files is a backup with these files instead of those it has; an empty text is no file.
func files(change map[string]string) memory {
	m := backup("b", gz(tarOf(sample()...)))
	set := map[string]string{volumeinfoFile: infos, podsFile: pods, nativeFile: natives, csiFile: ready, operationsFile: "[]"}
	for suffix, text := range change {
		set[suffix] = text
	}
	for suffix, text := range set {
		if m["backups/b/b"+suffix] = gz([]byte(text)); text == "" {
			delete(m, "backups/b/b"+suffix)
		}
	}
	return m
}

// A volume is held where Velero's list and the file of its method say so.
func TestVolumesAreHeldAgainstTheOtherFiles(t *testing.T) {
	with := func(old, text string) string {
		if !strings.Contains(infos, old) {
			t.Fatal(old)
		}
		return strings.Replace(infos, old, text, 1)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"all":                      {nil, ""},
		"no list of CSI snapshots": {map[string]string{csiFile: ""}, ""}, // since Velero 1.17
		"ready later":              {map[string]string{csiFile: erring, operationsFile: completed}, ""},
		"claim not in the list":    {map[string]string{podsFile: strings.Replace(pods, "]", `,{"spec":{"pod":{"namespace":"shop","name":"gone"},"volume":"d"},"status":{"phase":"Completed"}}]`, 1)}, ""},
		"pods null":                {map[string]string{podsFile: "null"}, "unknown shop/data: podvolumebackups.json.gz does not tell of it"},
		"pods gone":                {map[string]string{podsFile: ""}, "unknown shop/data: podvolumebackups.json.gz was not read, which should tell of it as well"},
		"pods failed":              {map[string]string{podsFile: strings.Replace(pods, "Completed", "Failed", 1)}, "failed shop/data: podvolumebackups.json.gz says that it is Failed"},
		"pods on their way":        {map[string]string{podsFile: strings.Replace(pods, "Completed", "InProgress", 1)}, "unknown shop/data: podvolumebackups.json.gz says that it is InProgress"},
		"another pod failed":       {map[string]string{podsFile: strings.Replace(pods, "[", `[{"metadata":{"annotations":{"velero.io/pvc-name":"x"}},"spec":{"pod":{"namespace":"other"}},"status":{"phase":"Failed"}},`, 1)}, "failed other/x: podvolumebackups.json.gz says that it is Failed"},
		"one of two failed":        {map[string]string{podsFile: "[" + strings.Replace(pods[1:len(pods)-1], "Completed", "Failed", 1) + "," + pods[1:]}, "failed shop/data: podvolumebackups.json.gz says that it is Failed"},
		"a pod without names":      {map[string]string{volumeinfoFile: with(`"podName":"web",`, "")}, "unknown shop/data: podvolumebackups.json.gz does not tell of it"},
		"native failed":            {map[string]string{nativeFile: strings.Replace(natives, "Completed", "Failed", 1)}, "failed shop/disk: volumesnapshots.json.gz says that it is Failed"},
		"native empty":             {map[string]string{nativeFile: "[]"}, "unknown shop/disk: volumesnapshots.json.gz does not tell of it"},
		"CSI not ready":            {map[string]string{csiFile: strings.Replace(ready, "true", "false", 1)}, "unknown shop/fast: csi-volumesnapshots.json.gz says that it is not ready to use"},
		"CSI ready as a text":      {map[string]string{csiFile: strings.Replace(ready, "true", `"true"`, 1)}, "unknown shop/fast: csi-volumesnapshots.json.gz says that it is not ready to use"},
		"CSI error":                {map[string]string{csiFile: erring}, "failed shop/fast: csi-volumesnapshots.json.gz says that it is not ready to use: boom"},
		"CSI error, other op":      {map[string]string{csiFile: erring, operationsFile: strings.Replace(completed, `"Name":"s"`, `"Name":"t"`, 1)}, "failed shop/fast: csi-volumesnapshots.json.gz says that it is not ready to use: boom"},
		"CSI empty":                {map[string]string{csiFile: "[]"}, "unknown shop/fast: csi-volumesnapshots.json.gz does not tell of it"},
		"skipped":                  {map[string]string{volumeinfoFile: with(`"skipped":false`, `"skipped":true,"skippedReason":"policy"`)}, "skipped shop/data: policy"},
		"skipped is a text":        {map[string]string{volumeinfoFile: with(`"skipped":false`, `"skipped":"true"`)}, "unknown shop/data: its skipped is of another type than Velero writes"},
		"skipped is a number":      {map[string]string{volumeinfoFile: with(`"skipped":false`, `"skipped":1`)}, "unknown shop/data: its skipped is of another type than Velero writes"},
		"skipped is null":          {map[string]string{volumeinfoFile: with(`"skipped":false`, `"skipped":null`)}, "unknown shop/data: whether it was left out is not said"},
		"skipped is gone":          {map[string]string{volumeinfoFile: with(`"skipped":false,`, "")}, "unknown shop/data: whether it was left out is not said"},
		"a result of a number":     {map[string]string{volumeinfoFile: with(`"result":"succeeded"`, `"result":5`)}, "unknown shop/data: its result is of another type than Velero writes"},
		"a phase of a number":      {map[string]string{volumeinfoFile: with(`"Phase":"Completed"`, `"Phase":5`)}, "unknown shop/data: its pvbInfo.Phase is of another type than Velero writes"},
		"no phase's object":        {map[string]string{volumeinfoFile: with(`"pvbInfo":{`, `"pvbInfo":"x","y":{`)}, "unknown shop/data: its pvbInfo is of another type than Velero writes"},
		"no method":                {map[string]string{volumeinfoFile: with(`"backupMethod":"PodVolumeBackup",`, "")}, "unknown shop/data: how it was backed up is not said"},
		"no result":                {map[string]string{volumeinfoFile: with(`,"result":"succeeded"`, "")}, ""},
		"nor phase":                {map[string]string{volumeinfoFile: strings.Replace(with(`,"result":"succeeded"`, ""), `,"Phase":"Completed"`, "", 1)}, "unknown shop/data: how its backup ended is not said"},
		"phase on its way":         {map[string]string{volumeinfoFile: with(`"Phase":"Completed"`, `"Phase":"InProgress"`)}, "unknown shop/data: it succeeded, and its phase is InProgress"},
		"phase failed":             {map[string]string{volumeinfoFile: with(`"Phase":"Completed"`, `"Phase":"Failed"`)}, "failed shop/data: "},
	} {
		got := inspect(t, &Source{Store: files(c.files)})
		b := got.of("BackupContents")
		text := ""
		for _, v := range b["volumesNotHeld"].([]any) {
			f := v.(map[string]any)
			text += fmt.Sprintf("%s %s: %s", f["state"], f["pvc"], at(f, "reason"))
		}
		if n := int64(min(len(c.want), 1)); text != c.want || b["volumesNotHeldCount"] != n || b["volumesKnown"] != true || b["claimsListed"] != int64(4) || len(got.unread) != 0 {
			t.Errorf("%s: %v %q, %v claims, %v; want %q", name, b["volumesNotHeldCount"], text, b["claimsListed"], got.unread, c.want)
		}
	}
}

// Before 1.13 Velero wrote no list of its own: what is there is told, and is not all.
func TestOldBackupsTellOfTheVolumesTheyCan(t *testing.T) {
	got := inspect(t, &Source{Store: files(map[string]string{volumeinfoFile: "", nativeFile: strings.Replace(natives, "Completed", "Failed", 1)})}).of("BackupContents")
	want := "[map[method:PodVolumeBackup phase:Completed pvc:shop/data skipped:false] map[method:NativeSnapshot phase:Failed pv:p2 skipped:false zone:eu-1a]]"
	if fmt.Sprint(got["volumes"]) != want || got["volumesKnown"] != false || got["volumesNotHeldCount"] != int64(1) {
		t.Error(got["volumes"], got["volumesKnown"], got["volumesNotHeld"])
	}
}

// What the Backup counts is held against the lists beside it.
func TestCountsThatContradictAreTold(t *testing.T) {
	for status, want := range map[string]string{
		`"volumeSnapshotsAttempted":1,"volumeSnapshotsCompleted":1`:           "[]",
		`"volumeSnapshotsAttempted":2,"volumeSnapshotsCompleted":2`:           "[the Backup attempted 2 volume snapshots, and b-volumesnapshots.json.gz lists 1]",
		`"volumeSnapshotsAttempted":1`:                                        "[the Backup is Completed, and of the 1 volume snapshots it attempted 0 are]",
		`"csiVolumeSnapshotsAttempted":4,"csiVolumeSnapshotsCompleted":4`:     "[the Backup attempted 4 CSI snapshots, and b-csi-volumesnapshots.json.gz lists 1]",
		`"backupItemOperationsAttempted":3,"backupItemOperationsCompleted":3`: "[the Backup attempted 3 operations on items, and b-itemoperations.json.gz lists 0]",
		`"volumeSnapshotsAttempted":"1"`:                                      "[the Backup's volumeSnapshotsAttempted is no count]",
		`"volumeSnapshotsAttempted":-1`:                                       "[the Backup's volumeSnapshotsAttempted is no count]",
	} {
		m := files(nil)
		key := "backups/b/" + metadataFile
		m[key] = bytes.Replace(m[key], []byte(`"status":{`), []byte(`"status":{`+status+`,`), 1)
		if got := fmt.Sprint(inspect(t, &Source{Store: m}).of("BackupContents")["contradictions"]); got != want {
			t.Errorf("%s: %s, want %s", status, got, want)
		}
		m[key] = bytes.Replace(m[key], []byte(`"Completed"`), []byte(`"PartiallyFailed"`), 1)
		if got := fmt.Sprint(inspect(t, &Source{Store: m}).of("BackupContents")["contradictions"]); strings.Contains(got, "is Completed") {
			t.Errorf("%s: a backup that failed in part says so itself: %s", status, got)
		}
	}
	// Since 1.17 Velero writes no list of CSI snapshots; its list of volumes has them.
	m := files(map[string]string{csiFile: ""})
	key := "backups/b/" + metadataFile
	m[key] = bytes.Replace(m[key], []byte(`"status":{`), []byte(`"status":{"csiVolumeSnapshotsAttempted":1,"csiVolumeSnapshotsCompleted":1,`), 1)
	if got := inspect(t, &Source{Store: m}); len(got.unread) != 0 {
		t.Error(got.unread)
	}
}

// Why a backup failed is told, whatever its phase says.
func TestReasonsOfAFailureAreTold(t *testing.T) {
	m := backup("b", gz(tarOf(sample()...)))
	key := "backups/b/" + metadataFile
	m[key] = bytes.Replace(m[key], []byte(`"status":{`), []byte(`"status":{"failureReason":"boom","validationErrors":["bad"],`), 1)
	if b := inspect(t, &Source{Store: m}).of("BackupContents")["backup"].(map[string]any); b["failureReason"] != "boom" || fmt.Sprint(b["validationErrors"]) != "[bad]" {
		t.Error(b)
	}
}

// Results count where they are what Velero writes, and are unread otherwise.
func TestResultsOfAnotherShapeAreNotRead(t *testing.T) {
	for text, want := range map[string]string{
		`{"errors":{},"warnings":{}}`: "", `{"errors":{"velero":null,"cluster":["x"],"namespaces":{"a":["y"]}},"warnings":{}}`: "",
		`null`: "parse", `{}`: "errors is not there", `{"errors":{}}`: "warnings is not there", `{"errors":null,"warnings":{}}`: "errors is not there",
		`{"Errors":{"velero":["x"]},"errors":{},"warnings":{}}`: `a key "Errors"`, `{"errors":{"other":["x"]},"warnings":{}}`: `a key "other", which Velero does not write in errors`,
		`{"errors":{"namespaces":{"a":"x"}},"warnings":{}}`: "something other than lists", `{"errors":{"velero":["x"]},"errors":{},"warnings":{}}`: "parse",
	} {
		m := backup("b", gz(tarOf(sample()...)))
		m["backups/b/b-results.gz"] = gz([]byte(text))
		got := inspect(t, &Source{Store: m})
		_, counted := got.of("BackupContents")["issues"]
		if (want == "") != counted || want != "" && (len(got.unread) != 1 || !strings.Contains(got.unread[0].Error(), want)) {
			t.Errorf("%s: counted %v, %v; want %q", text, counted, got.unread, want)
		}
	}
}

// Lists are read one element at a time, up to a limit.
func TestListsAreBounded(t *testing.T) {
	list := func(n int, element string) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	bomb := files(map[string]string{volumeinfoFile: list(3_000_000, "{}")})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := inspect(t, &Source{Store: bomb})
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 512<<20 {
		t.Errorf("a list of 3,000,000 elements made %d MiB", made>>20)
	}
	if len(got.unread) != 1 || !strings.Contains(got.unread[0].Error(), "refused: limit 200000 elements of a list") || got.of("BackupContents")["volumesKnown"] != false {
		t.Error(got.unread)
	}
	skipped := `{"pvcName":"c","pvcNamespace":"shop","skipped":true}`
	b := inspect(t, &Source{Store: files(map[string]string{volumeinfoFile: "[" + strings.Repeat("{},", mostNotHeld) + strings.Repeat(skipped+",", mostNotHeld-1) + skipped + "]"})}).of("BackupContents")
	if n := len(b["volumesNotHeld"].([]any)); n != mostNotHeld || b["volumesNotHeldCount"] != int64(2*mostNotHeld) {
		t.Errorf("%d of %v are named", n, b["volumesNotHeldCount"])
	}
	if first := b["volumesNotHeld"].([]any)[0].(map[string]any); first["state"] != "skipped" {
		t.Errorf("the worst is not named first: %v", first)
	}
	m := files(nil)
	m["backups/b/b-results.gz"] = gz([]byte(`{"errors":{"velero":` + list(300_000, `""`) + `},"warnings":{}}`))
	if got := inspect(t, &Source{Store: m}); len(got.unread) != 1 || !strings.Contains(got.unread[0].Error(), "more than 200000 values") {
		t.Error(got.unread)
	}
	for text, want := range map[string]string{"{}": "want a list", "[1]": "element 1: it is no JSON object", "[{}": "unexpected EOF", "[{}] []": "follows the end", `[{"a":1,"a":2}]`: "element 1", "[{},]": "parse"} {
		got := inspect(t, &Source{Store: files(map[string]string{volumeinfoFile: text})})
		if len(got.unread) != 1 || !strings.Contains(got.unread[0].Error(), want) || got.of("BackupContents")["volumesKnown"] != false {
			t.Errorf("%s: %v, want %s", text, got.unread, want)
		}
	}
}
