package immutability.bucket_object_lock

import rego.v1

violations contains {"message": "the bucket has no object lock, want objectLockEnabledForBucket true", "path": "spec.objectLockEnabledForBucket"} if {
	input.object.kind == "Bucket"
	object.get(input.object, ["spec", "objectLockEnabledForBucket"], false) != true
}

violations contains {"message": "the bucket has no retention policy, want a retentionPeriod", "path": "spec.retentionPolicy.retentionPeriod"} if {
	input.object.kind == "StorageBucket"
	not retains
}

retains if input.object.spec.retentionPolicy.retentionPeriod > 0
