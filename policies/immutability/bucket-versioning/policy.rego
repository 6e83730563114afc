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

# Cloud Storage has one guard more: what a retention policy holds cannot be overwritten, so it needs no versions.
violations contains {"message": "the bucket keeps no versions, want versioning enabled", "path": "spec.versioning.enabled"} if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "versioning", "enabled"], false) != true
	not retains
}

retains if input.object.spec.retentionPolicy.retentionPeriod > 0
