package immutability.lock_compatible_with_velero

import rego.v1

bucket := object.get(input.object, "observed", {})

lock := object.get(bucket, "objectLock", {})

state := object.get(bucket, ["calls", "objectLock", "state"], "not made")

provider := object.get(bucket, "provider", "")

locked if {
	lock.enabled == true
	not state in {"refused", "unsupported", "failed"}
}

unlocked if lock.enabled == false

unlocked if {
	state == "notConfigured"
	not lock.enabled
}

# Velero writes velero-backup.json again when a backup is finalised, which only versions let it do.
faults contains {"message": "Cloud Storage's retention policy refuses what Velero writes again", "path": "observed.objectLock"} if {
	locked
	provider == "gcs"
	object.get(lock, "level", "bucket") != "object"
}

faults contains {"message": "Azure's container-level immutability refuses what Velero writes again, want version-level", "path": "observed.objectLock.level"} if {
	locked
	provider == "azure"
	lock.level == "container"
}

faults contains {"message": sprintf("object lock without versioning (%s) refuses what Velero writes again", [bucket.versioning.status]), "path": "observed.versioning.status"} if {
	locked
	provider == "s3"
	bucket.versioning.status != "Enabled"
}

violations contains v if some v in faults

unread contains sprintf("whether the bucket is locked is not known: the call was %s", [state]) if {
	not locked
	not unlocked
}

unread contains "the bucket's provider is not one whose lock is known here" if {
	locked
	not provider in {"s3", "gcs", "azure"}
}

unread contains "at which level Azure's lock holds is not known" if {
	locked
	provider == "azure"
	not lock.level
}

unread contains "whether the locked bucket keeps versions is not known" if {
	locked
	provider == "s3"
	not bucket.versioning.status
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
