package immutability.bucket_versioning

import rego.v1

violations contains {"message": "the bucket keeps no versions, want versioning Enabled", "path": "spec.versioning.status"} if {
	input.object.kind == "Bucket"
	not scanned
	status == ""
}

violations contains {"message": m, "path": "spec.versioning.status"} if {
	input.object.kind == "Bucket"
	not scanned
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
	needs_profile
	not minimum
}

needs_profile if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "versioning", "enabled"], false) != true
	period
}

needs_profile if {
	versioned != "Enabled"
	held
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

# A bucket as a scan found it. Only an answer counts: what was refused, failed or is not offered says nothing about it.
scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

versioned := input.object.versioning.status if call == "answered"

versioned := object.get(input.object, ["versioning", "status"], "Disabled") if call == "notConfigured"

call := object.get(input.object, ["calls", "versioning", "state"], "answered") if scanned

violations contains {"message": m, "path": at[call]} if {
	versioned != "Enabled"
	not held
	m := sprintf("the bucket's versioning is %s, want Enabled", [versioned])
}

at := {"answered": "versioning.status", "notConfigured": "calls.versioning.state"}

violations contains {"message": m, "path": "objectLock.seconds"} if {
	versioned != "Enabled"
	not retention.covers(held, minimum)
	m := sprintf("the bucket keeps no versions and holds objects for %s only, want versioning enabled or at least %s for the profile %s", [retention.text(held), retention.text(minimum), profile])
}

held := retention.horizon("gcs-seconds", input.object.objectLock.seconds) if {
	input.object.provider == "gcs"
	input.object.objectLock.enabled == true
}

violations contains {"message": verdict.unknown(sprintf("whether the bucket keeps versions is not known: the call was %s %s", [call, object.get(input.object, ["calls", "versioning", "message"], "and says no status")])), "path": ""} if {
	scanned
	not versioned
}
