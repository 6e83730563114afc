package immutability.bucket_lock_meets_profile

import rego.v1

profile := name if {
	name := input.object.metadata.labels[input.params.retentionProfileLabel]
	name != ""
} else := "default"

# A profile nobody knows has no minimum to meet.
violations contains {"message": verdict.unknown(sprintf("there is no retention profile %v in minByProfile", [profile])), "path": ""} if {
	not input.params.minByProfile[profile]
}

rule := "spec.objectLockConfiguration.rule.defaultRetention"

mode := object.get(input.object, ["spec", "objectLockConfiguration", "rule", "defaultRetention", "mode"], "")

days := object.get(input.object, ["spec", "objectLockConfiguration", "rule", "defaultRetention", "days"], null)

years := object.get(input.object, ["spec", "objectLockConfiguration", "rule", "defaultRetention", "years"], null)

period := object.get(input.object, ["spec", "retentionPolicy", "retentionPeriod"], null)

# S3 takes one of days and years.
locked contains {"for": retention.horizon("s3-days", days), "path": concat(".", [rule, "days"])} if days != null

locked contains {"for": retention.horizon("s3-years", years), "path": concat(".", [rule, "years"])} if years != null

locked contains {"for": retention.horizon("gcs-seconds", period), "path": "spec.retentionPolicy.retentionPeriod"} if {
	input.object.kind == "StorageBucket"
	period != null
	period > 0
}

violations contains {"message": m, "path": lock.path} if {
	some lock in locked
	minimum := input.params.minByProfile[profile]
	not retention.covers(lock["for"], minimum)
	m := sprintf("objects are locked %s, want at least %s for the profile %s", [retention.text(lock["for"]), retention.text(minimum), profile])
}

violations contains {"message": "the bucket locks no object by default, want a default retention with mode and period", "path": rule} if {
	input.object.kind == "Bucket"
	not scanned
	days == null
	years == null
}

violations contains {"message": "the default retention has both days and years, want one of them", "path": concat(".", [rule, "years"])} if {
	days != null
	years != null
}

violations contains {"message": m, "path": concat(".", [rule, "mode"])} if {
	input.object.kind == "Bucket"
	not scanned
	count(locked) > 0
	not mode in input.params.lockModes
	m := sprintf("the lock's mode is %s, want %s", [or_none(mode), concat(" or ", input.params.lockModes)])
}

or_none(text) := text if text != ""

else := "not set"

violations contains {"message": "the bucket locks no object, want a retentionPeriod", "path": "spec.retentionPolicy.retentionPeriod"} if {
	input.object.kind == "StorageBucket"
	count(locked) == 0
}

violations contains {"message": "the retention policy can be taken away, want isLocked true", "path": "spec.retentionPolicy.isLocked"} if {
	input.object.kind == "StorageBucket"
	count(locked) > 0
	not "GOVERNANCE" in input.params.lockModes
	object.get(input.object, ["spec", "retentionPolicy", "isLocked"], false) != true
}

# A bucket as a scan found it. A mode or a period that is too weak fails whatever else was not answered.
scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

kept contains {"for": retention.horizon("s3-days", input.object.objectLock.days), "path": "objectLock.days"} if scanned

kept contains {"for": retention.horizon("s3-years", input.object.objectLock.years), "path": "objectLock.years"} if scanned

kept contains {"for": retention.horizon("gcs-seconds", input.object.objectLock.seconds), "path": "objectLock.seconds"} if scanned

found contains {"message": sprintf("the lock's mode is %s, want %s", [input.object.objectLock.mode, concat(" or ", input.params.lockModes)]), "path": "objectLock.mode"} if {
	scanned
	not input.object.objectLock.mode in input.params.lockModes
}

found contains {"message": "the lock has both days and years, want one of them", "path": "objectLock.years"} if {
	scanned
	input.object.objectLock.days
	input.object.objectLock.years
}

found contains {"message": "the bucket locks no object by default, want a default retention with mode and period", "path": "objectLock"} if {
	input.object.objectLock.enabled == true
	call in {"answered", "not made"}
	count(kept) == 0
}

found contains {"message": m, "path": lock.path} if {
	not tagless
	some lock in kept
	minimum := input.params.minByProfile[profile]
	not retention.covers(lock["for"], minimum)
	m := sprintf("objects are locked %s, want at least %s for the profile %s", [retention.text(lock["for"]), retention.text(minimum), profile])
}

violations contains v if some v in found

call := object.get(input.object, ["calls", "objectLock", "state"], "not made") if scanned

violations contains {"message": verdict.unknown(sprintf("how the bucket locks is not known: the call was %s %s", [call, object.get(input.object, ["calls", "objectLock", "message"], "and says nothing of a lock")])), "path": ""} if {
	scanned
	count(found) == 0
	not answered
}

answered if {
	call in {"answered", "not made"}
	is_string(input.object.objectLock.mode)
	input.object.objectLock.enabled == true
}

# Without the tags the profile is not known, and only what meets every profile meets it.
tagless if object.get(input.object, ["calls", "tagging", "state"], "") in {"refused", "failed"}

violations contains {"message": verdict.unknown("the bucket's retention profile is not known: its tags were not given"), "path": ""} if {
	scanned
	tagless
	count(found) == 0
	some lock in kept
	some minimum in input.params.minByProfile
	not retention.covers(lock["for"], minimum)
}
