package recoverability.snapshot_ready_and_bound

import rego.v1

content := input.facts.content

bound := input.object.status.boundVolumeSnapshotContentName

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

failed contains {"message": sprintf("the snapshot failed: %s", [problem]), "path": "status.error"} if {
	problem := object.get(input.object.status.error, "message", "no message")
}

failed contains {"message": "the snapshot is not ready to use", "path": "status.readyToUse"} if input.object.status.readyToUse == false

failed contains {"message": "the snapshot is bound to no content", "path": "status"} if {
	input.object.status.readyToUse == true
	object.get(input.object.status, "boundVolumeSnapshotContentName", "") == ""
}

at := "status.boundVolumeSnapshotContentName"

failed contains {"message": sprintf("content %s is not there", [bound]), "path": at} if {
	bound != ""
	content == null
}

failed contains {"message": m, "path": at} if {
	ref := content.spec.volumeSnapshotRef
	[ref.namespace, ref.name] != [input.object.metadata.namespace, input.object.metadata.name]
	m := sprintf("content %s is bound to snapshot %s/%s, and not to this one", [bound, ref.namespace, ref.name])
}

# A snapshot of the same name that was made anew is another one.
failed contains {"message": sprintf("content %s is bound to an earlier snapshot of this name", [bound]), "path": at} if {
	uid := content.spec.volumeSnapshotRef.uid
	uid != ""
	uid != input.object.metadata.uid
}

failed contains {"message": sprintf("content %s is not ready to use", [bound]), "path": at} if content.status.readyToUse == false

failed contains {"message": sprintf("content %s failed: %s", [bound, problem]), "path": at} if {
	is_object(content.status.error)
	problem := object.get(content.status.error, "message", "no message")
}

failed contains {"message": sprintf("content %s names no snapshot of the storage", [bound]), "path": at} if {
	is_object(content.status)
	object.get(content.status, "snapshotHandle", "") == ""
}

unsure contains "whether the snapshot is ready is not known: status.readyToUse is missing" if not ready

ready if is_boolean(input.object.status.readyToUse)

unsure contains sprintf("what content %s is bound to cannot be read", [bound]) if {
	content != null
	not mutual
}

mutual if {
	is_string(content.spec.volumeSnapshotRef.namespace)
	is_string(content.spec.volumeSnapshotRef.name)
}

unsure contains sprintf("whether content %s is ready is not known", [bound]) if {
	content != null
	not is_boolean(object.get(content, ["status", "readyToUse"], null))
}
