package immutability.bucket_object_lock

import rego.v1

violations contains {"message": "the bucket has no object lock, want objectLockEnabledForBucket true", "path": "spec.objectLockEnabledForBucket"} if {
	input.object.kind == "Bucket"
	not scanned
	object.get(input.object, ["spec", "objectLockEnabledForBucket"], false) != true
}

violations contains {"message": "the bucket has no retention policy, want a retentionPeriod", "path": "spec.retentionPolicy.retentionPeriod"} if {
	input.object.kind == "StorageBucket"
	not retains
}

retains if input.object.spec.retentionPolicy.retentionPeriod > 0

# A bucket as a scan found it.
scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

violations contains {"message": sprintf("the %s bucket has no object lock", [object.get(input.object, "provider", "")]), "path": "calls.objectLock.state"} if {
	state == "notConfigured"
	not input.object.objectLock.enabled
}

violations contains {"message": "the bucket's object lock is off, want it on", "path": "objectLock.enabled"} if {
	state in {"answered", "not made"}
	input.object.objectLock.enabled == false
}

# What was refused, failed or is not offered says nothing about the bucket.
violations contains {"message": verdict.unknown(sprintf("whether the bucket has object lock is not known: the call was %v %s", [state, object.get(input.object, ["calls", "objectLock", "message"], "")])), "path": ""} if {
	scanned
	not settled
}

violations contains {"message": verdict.unknown(sprintf("whether the bucket has object lock is not known: the call was %s and objectLock.enabled is not there", [state])), "path": ""} if {
	scanned
	state in {"answered", "not made"}
	not told
}

# Any other answer than these, and one that contradicts itself, says nothing.
settled if state in {"answered", "not made"}

settled if {
	state == "notConfigured"
	not input.object.objectLock.enabled
}

told if is_boolean(input.object.objectLock.enabled)

state := object.get(input.object, ["calls", "objectLock", "state"], "not made") if scanned
