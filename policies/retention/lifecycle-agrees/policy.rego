package retention.lifecycle_agrees

import rego.v1

state(aspect) := answer if {
	answer := input.object.calls[aspect].state
} else := "not made"

silent(aspect) if state(aspect) in {"refused", "unsupported", "failed"}

rules := input.object.lifecycle if {
	not silent("lifecycle")
} else := [] if {
	state("lifecycle") == "notConfigured"
}

profile := label if {
	label := input.object.metadata.labels[input.params.retentionProfileLabel]
	label != ""
} else := "default"

active[i] := rule if {
	some i, rule in rules
	object.get(rule, "status", "Enabled") != "Disabled"
}

faults contains {"message": m, "path": sprintf("lifecycle[%d].expirationDays", [i])} if {
	some i, rule in active
	rule.expirationDays > 0
	kept := retention.horizon("s3-days", rule.expirationDays)
	minimum := input.params.minByProfile[profile]
	not retention.covers(kept, minimum)
	m := sprintf("the lifecycle deletes objects after %s, want at least %s for the profile %s", [retention.text(kept), retention.text(minimum), profile])
}

faults contains {"message": "the lifecycle deletes objects at once", "path": sprintf("lifecycle[%d].expirationDays", [i])} if {
	some i, rule in active
	rule.expirationDays <= 0
}

faults contains {"message": "the lifecycle deletes objects by something else than their age", "path": sprintf("lifecycle[%d].expirationUndated", [i])} if {
	some i, rule in active
	rule.expirationUndated
}

faults contains {"message": sprintf("the lifecycle deletes everything on %s", [rule.expirationDate]), "path": sprintf("lifecycle[%d].expirationDate", [i])} if {
	some i, rule in active
	object.get(rule, "expirationDate", "") != ""
}

faults contains {"message": m, "path": sprintf("lifecycle[%d].noncurrentDays", [i])} if {
	versioned
	some i, rule in active
	rule.noncurrentDays > 0
	kept := retention.horizon("s3-days", rule.noncurrentDays)
	retention.exceeds(kept, input.params.noncurrentMax)
	m := sprintf("deleted versions stay %s, want at most %s", [retention.text(kept), retention.text(input.params.noncurrentMax)])
}

versioned if {
	not silent("versioning")
	input.object.versioning.status in {"Enabled", "Suspended"}
}

unversioned if {
	not silent("versioning")
	input.object.versioning.status == "Disabled"
}

unversioned if {
	state("versioning") == "notConfigured"
	not input.object.versioning.status
}

# A rule that keeps the newest versions whatever their age ends none of those.
ends if {
	some rule in active
	object.get(rule, "status", "") == "Enabled"
	object.get(rule, "prefix", "") == ""
	object.get(rule, "filtered", false) == false
	object.get(rule, "newerVersions", 0) == 0
	rule.noncurrentDays >= 0
}

faults contains {"message": "no rule for the whole bucket removes deleted versions, so they stay for ever", "path": "lifecycle"} if {
	rules
	versioned
	not ends
}

violations contains v if some v in faults

unread contains sprintf("the bucket's lifecycle is not known: the call was %s", [state("lifecycle")]) if not rules

unread contains sprintf("whether the bucket keeps versions is not known: the call was %s", [state("versioning")]) if {
	not versioned
	not unversioned
}

unread contains sprintf("there is no retention profile %s in minByProfile", [profile]) if not input.params.minByProfile[profile]

unread contains "the bucket's retention profile is not known: its tags were not given" if {
	state("tagging") in {"refused", "failed"}
	some rule in active
	rule.expirationDays
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
