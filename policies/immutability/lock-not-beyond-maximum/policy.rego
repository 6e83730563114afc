package immutability.lock_not_beyond_maximum

import rego.v1

state := object.get(input.object, ["calls", "objectLock", "state"], "not made")

kept contains {"for": retention.horizon("s3-days", input.object.objectLock.days), "path": "objectLock.days"}

kept contains {"for": retention.horizon("s3-years", input.object.objectLock.years), "path": "objectLock.years"}

kept contains {"for": retention.horizon("gcs-seconds", input.object.objectLock.seconds), "path": "objectLock.seconds"}

class := lower(label) if {
	label := input.object.metadata.labels[input.params.dataClassLabel]
	label != ""
}

over contains {"class": lower(name), "path": lock.path, "message": m} if {
	some lock in kept
	some name, most in input.params.maxByClass
	retention.exceeds(lock["for"], most)
	m := sprintf("objects are locked %s, and %s data may be kept at most %s", [retention.text(lock["for"]), name, retention.text(most)])
}

faults contains {"message": o.message, "path": o.path} if {
	some o in over
	o.class == class
}

violations contains v if some v in faults

# A lock that is too long for no class needs no class.
violations contains {"message": verdict.unknown("the bucket's data class is not known, and its lock is too long for some: label it"), "path": ""} if {
	count(over) > 0
	count(faults) == 0
	not known
}

known if class in {lower(name) | some name in array.concat(input.params.knownClasses, [c | some c, _ in input.params.maxByClass])}

violations contains {"message": verdict.unknown(sprintf("how long the bucket locks is not known: the call was %s", [state])), "path": ""} if {
	count(faults) == 0
	not told
}

told if {
	input.object.objectLock.enabled == true
	not state in {"refused", "unsupported", "failed"}
	timed
}

# A default retention has a mode, and a period beside it.
timed if not input.object.objectLock.mode

timed if count(kept) > 0
