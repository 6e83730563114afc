package encryption.secrets_in_encrypted_bucket

import rego.v1

bucket := input.facts.bucket

state(aspect) := answer if {
	answer := bucket.calls[aspect].state
} else := "not made"

silent(aspect) if state(aspect) in {"refused", "unsupported", "failed"}

algorithm := bucket.encryption.algorithm if {
	not silent("encryption")
} else := "none" if {
	state("encryption") == "notConfigured"
}

faults contains sprintf("and the bucket %s encrypts with %s, want %s", [bucket.metadata.name, algorithm, concat(" or ", input.params.algorithms)]) if {
	not algorithm in input.params.algorithms
}

closed if {
	bucket.publicAccess.blockAcls == true
	bucket.publicAccess.ignoreAcls == true
	bucket.publicAccess.blockPolicy == true
	bucket.publicAccess.restrictBuckets == true
}

closed if bucket.publicAccess.prevented == true

faults contains sprintf("and the public access block of the bucket %s is not whole", [bucket.metadata.name]) if {
	not closed
	state("publicAccess") in {"notConfigured", "answered"}
}

violations contains {"message": sprintf("the backup holds %d Secrets in clear, %s", [input.object.secrets.count, fault]), "path": "secrets.count"} if {
	some fault in faults
	input.object.secrets.count > 0
}

violations contains {"message": verdict.unknown("the backup was not read whole, so whether it holds Secrets is not known"), "path": ""} if {
	count(faults) > 0
	input.object.secrets.count == 0
}

unread contains "the backup was not read from a bucket, so how it is encrypted is not known" if object.get(input.object, ["location", "bucket"], "") in {"", null}

unread contains "the bucket was not found" if {
	object.get(input.object, ["location", "bucket"], "") != ""
	bucket == null
}

unread contains sprintf("how the bucket encrypts is not known: the call was %s", [state("encryption")]) if {
	bucket != null
	not algorithm
}

unread contains sprintf("whether the bucket is closed is not known: the call was %s", [state("publicAccess")]) if {
	bucket != null
	not closed
	not state("publicAccess") in {"notConfigured", "answered"}
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
