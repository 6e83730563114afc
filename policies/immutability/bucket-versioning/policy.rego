package immutability.bucket_versioning

import rego.v1

violations contains {"message": "the bucket keeps no versions, want versioning Enabled", "path": "spec.versioning.status"} if {
	input.object.kind == "Bucket"
	status == ""
}

violations contains {"message": m, "path": "spec.versioning.status"} if {
	input.object.kind == "Bucket"
	not status in {"", "Enabled"}
	m := sprintf("the bucket's versioning is %v, want Enabled", [status])
}

status := object.get(input.object, ["spec", "versioning", "status"], "")

# Cloud Storage has one guard more: what a retention policy holds cannot be overwritten, so it needs no versions as long as it
# is held for what the profile asks.
violations contains {"message": "the bucket keeps no versions, want versioning enabled", "path": "spec.versioning.enabled"} if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "versioning", "enabled"], false) != true
	not period
}

violations contains {"message": m, "path": "spec.retentionPolicy.retentionPeriod"} if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "versioning", "enabled"], false) != true
	not retention.covers(retention.horizon("gcs-seconds", period), minimum)
	m := sprintf("the bucket keeps no versions and holds objects for %s only, want versioning enabled or at least %s for the profile %s", [retention.text(retention.horizon("gcs-seconds", period)), retention.text(minimum), profile])
}

# A profile nobody knows has no minimum to meet.
violations contains {"message": verdict.unknown(sprintf("there is no retention profile %v in minByProfile", [profile])), "path": ""} if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "versioning", "enabled"], false) != true
	period
	not minimum
}

period := seconds if {
	seconds := input.object.spec.retentionPolicy.retentionPeriod
	seconds > 0
}

minimum := input.params.minByProfile[profile]

profile := name if {
	name := input.object.metadata.labels[input.params.retentionProfileLabel]
	name != ""
} else := "default"
