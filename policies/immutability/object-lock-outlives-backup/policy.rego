package immutability.object_lock_outlives_backup

import rego.v1

mode := input.object.lock.mode

until := input.object.lock.retainUntil if mode != "NONE"

faults contains {"message": sprintf("no lock holds this object of a backup that expires on %s", [input.object.backup.expiration]), "path": "lock.mode"} if mode == "NONE"

faults contains {"message": sprintf("the lock's mode is %s, want %s", [mode, concat(" or ", input.params.lockModes)]), "path": "lock.mode"} if {
	mode != "NONE"
	not mode in input.params.lockModes
}

faults contains {"message": sprintf("the object is locked until %s, and its backup expires on %s", [until, input.object.backup.expiration]), "path": "lock.retainUntil"} if {
	time.parse_rfc3339_ns(until) < time.parse_rfc3339_ns(input.object.backup.expiration) + time.parse_duration_ns(input.params.slack)
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(sprintf("whether a lock holds the object is not known: the call was %s %s", [object.get(input.object, ["calls", "retention", "state"], "not made"), object.get(input.object, ["calls", "retention", "message"], "")])), "path": ""} if {
	count(faults) == 0
	not until
}
