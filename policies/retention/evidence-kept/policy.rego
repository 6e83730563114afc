package retention.evidence_kept

import rego.v1

minimum := sprintf("%dy", [input.params.minYears])

state(aspect) := answer if {
	answer := input.object.calls[aspect].state
} else := "not made"

silent(aspect) if state(aspect) in {"refused", "unsupported", "failed"}

# Whether the bucket locks, and whether it keeps versions; not there where that is not known.
locks := input.object.objectLock.enabled if {
	not silent("objectLock")
} else := false if {
	state("objectLock") == "notConfigured"
}

versions := input.object.versioning.status == "Enabled" if {
	not silent("versioning")
} else := false if {
	state("versioning") == "notConfigured"
}

lock_known if is_boolean(locks)

versions_known if is_boolean(versions)

faults contains {"message": "the bucket does not lock objects, want object lock in COMPLIANCE mode", "path": "objectLock"} if locks == false

faults contains {"message": m, "path": "objectLock.mode"} if {
	locks == true
	mode != "COMPLIANCE"
	m := sprintf("the lock's mode is %s, want COMPLIANCE", [or_none])
}

mode := object.get(input.object, ["objectLock", "mode"], "")

or_none := mode if mode != ""

else := "not set"

# A period of nothing locks nothing.
periods contains {"for": retention.horizon("s3-days", input.object.objectLock.days), "path": "objectLock.days"} if input.object.objectLock.days > 0

periods contains {"for": retention.horizon("s3-years", input.object.objectLock.years), "path": "objectLock.years"} if input.object.objectLock.years > 0

periods contains {"for": retention.horizon("gcs-seconds", input.object.objectLock.seconds), "path": "objectLock.seconds"} if input.object.objectLock.seconds > 0

faults contains {"message": sprintf("the bucket locks no object by default, want a default retention of at least %s", [retention.text(minimum)]), "path": "objectLock"} if {
	locks == true
	count(periods) == 0
}

faults contains {"message": m, "path": period.path} if {
	locks == true
	some period in periods
	not retention.covers(period["for"], minimum)
	m := sprintf("objects are locked %s, want at least %s", [retention.text(period["for"]), retention.text(minimum)])
}

faults contains {"message": "the bucket does not keep versions, want versioning on", "path": "versioning.status"} if versions == false

rules := input.object.lifecycle if {
	not silent("lifecycle")
} else := [] if {
	state("lifecycle") == "notConfigured"
}

active[i] := rule if {
	some i, rule in rules
	object.get(rule, "status", "Enabled") != "Disabled"
}

faults contains {"message": m, "path": sprintf("lifecycle[%d].expirationDays", [i])} if {
	some i, rule in active
	early(rule.expirationDays)
	m := sprintf("the lifecycle deletes objects after %s, want at least %s", [after(rule.expirationDays), retention.text(minimum)])
}

faults contains {"message": m, "path": sprintf("lifecycle[%d].noncurrentDays", [i])} if {
	some i, rule in active
	early(rule.noncurrentDays)
	m := sprintf("the lifecycle deletes noncurrent versions after %s, want at least %s", [after(rule.noncurrentDays), retention.text(minimum)])
}

early(days) if days <= 0

early(days) if {
	days > 0
	not retention.covers(retention.horizon("s3-days", days), minimum)
}

after(days) := retention.text(retention.horizon("s3-days", days)) if days > 0

else := "no time"

faults contains {"message": sprintf("the lifecycle deletes everything on %s", [rule.expirationDate]), "path": sprintf("lifecycle[%d].expirationDate", [i])} if {
	some i, rule in active
	object.get(rule, "expirationDate", "") != ""
}

faults contains {"message": "the lifecycle deletes objects by something else than their age", "path": sprintf("lifecycle[%d].expirationUndated", [i])} if {
	some i, rule in active
	rule.expirationUndated
}

violations contains v if some v in faults

unread contains sprintf("how the bucket locks is not known: the call was %s", [state("objectLock")]) if not lock_known

unread contains sprintf("whether the bucket keeps versions is not known: the call was %s", [state("versioning")]) if not versions_known

unread contains sprintf("the bucket's lifecycle is not known: the call was %s", [state("lifecycle")]) if not rules

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
