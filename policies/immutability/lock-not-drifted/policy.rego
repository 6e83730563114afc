package immutability.lock_not_drifted

import rego.v1

# Not there where the earlier scan proves that there was no such bucket: nothing was weakened.
was := input.facts.previous.object if is_object(input.facts.previous)

state(aspect) := answer if {
	answer := input.object.calls[aspect].state
} else := "not made"

was_state(aspect) := answer if {
	answer := was.calls[aspect].state
} else := "not made"

# Whether the bucket locks, and whether it keeps versions; not there where that is not known.
locks := input.object.objectLock.enabled if {
	state("objectLock") in {"answered", "not made"}
} else := false if {
	state("objectLock") == "notConfigured"
}

locked := was.objectLock.enabled if {
	was_state("objectLock") in {"answered", "not made"}
	is_boolean(was.objectLock.enabled)
} else := false if {
	was_state("objectLock") == "notConfigured"
}

versions := input.object.versioning.status == "Enabled" if {
	state("versioning") in {"answered", "not made"}
} else := false if {
	state("versioning") == "notConfigured"
}

versioned := was.versioning.status == "Enabled" if {
	was_state("versioning") in {"answered", "not made"}
	is_string(was.versioning.status)
} else := false if {
	was_state("versioning") == "notConfigured"
}

lock_known if is_boolean(locks)

lock_was_known if is_boolean(locked)

versions_known if is_boolean(versions)

versions_were_known if is_boolean(versioned)

faults contains {"message": "object lock is turned off, want it on as before", "path": "objectLock.enabled"} if {
	locked == true
	locks == false
}

faults contains {"message": "versioning is turned off, want it on as before", "path": "versioning.status"} if {
	versioned == true
	versions == false
}

strictness := {"": 0, "GOVERNANCE": 1, "COMPLIANCE": 2}

mode := object.get(input.object, ["objectLock", "mode"], "")

mode_was := object.get(was, ["objectLock", "mode"], "")

mode_was_known if strictness[mode_was] >= 0

faults contains {"message": m, "path": "objectLock.mode"} if {
	locked == true
	locks == true
	strictness[mode_was] > object.get(strictness, mode, 0)
	m := sprintf("the lock's mode goes from %s to %s, want it as strict as before", [mode_was, or_none])
}

or_none := mode if mode != ""

else := "none"

# A period of nothing locks nothing.
periods contains retention.horizon("s3-days", input.object.objectLock.days) if input.object.objectLock.days > 0

periods contains retention.horizon("s3-years", input.object.objectLock.years) if input.object.objectLock.years > 0

periods contains retention.horizon("gcs-seconds", input.object.objectLock.seconds) if input.object.objectLock.seconds > 0

periods_were contains retention.horizon(unit, n) if {
	some unit, key in {"s3-days": "days", "s3-years": "years", "gcs-seconds": "seconds"}
	n := was.objectLock[key]
	is_number(n)
	n > 0
}

faults contains {"message": m, "path": "objectLock"} if {
	locked == true
	locks == true
	some before in periods_were
	not covered(before)
	m := sprintf("objects are locked %s, want at least %s as before", [held, retention.text(before)])
}

covered(before) if {
	some period in periods
	retention.covers(period, before)
}

held := concat(" or ", [retention.text(period) | some period in periods]) if count(periods) > 0

else := "for no time"

violations contains v if some v in faults

unread contains "what the bucket was is not told by the earlier evidence" if {
	is_object(input.facts.previous)
	not was
}

unread contains sprintf("how the bucket locked is not known: the call was %s", [was_state("objectLock")]) if {
	was
	not lock_was_known
}

unread contains sprintf("whether the bucket kept versions is not known: the call was %s", [was_state("versioning")]) if {
	was
	not versions_were_known
}

# What was off cannot be turned off.
unread contains sprintf("how the bucket locks is not known: the call was %s", [state("objectLock")]) if {
	locked == true
	not lock_known
}

unread contains sprintf("whether the bucket keeps versions is not known: the call was %s", [state("versioning")]) if {
	versioned == true
	not versions_known
}

unread contains sprintf("the lock's mode was %v, which cannot be compared", [mode_was]) if {
	locked == true
	not mode_was_known
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
