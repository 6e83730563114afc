package recoverability.restore_of_proved_backup

import rego.v1

last := input.facts.lastScan if is_object(input.facts.lastScan)

name := input.object.spec.backupName

named if not object.get(input.object, ["spec", "backupName"], null) in {"", null}

outside contains sprintf("no scan has looked at backup %s, want one of the last %d days", [name, input.params.maxAgeDays]) if {
	named
	input.facts.lastScan == null
}

outside contains m if {
	some failed in last.fails
	failed.severity in input.params.severities
	m := sprintf("backup %s fails %s (%s) in the last scan%s", [name, failed.policy, failed.severity, scan(failed)])
}

# Where and when a policy said it last: a scan by other policies, or of another bucket, takes nothing of it back.
scan(said) := sprintf(" of %s, of %s", [said.source, object.get(said, "at", last.at)]) if said.source

scan(said) := sprintf(", of %s", [object.get(said, "at", last.at)]) if not said.source

# In nanoseconds. A time that cannot be read has no age.
age := time.parse_rfc3339_ns(input.now) - time.parse_rfc3339_ns(last.at) if regex.match(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`, last.at)

day := ((24 * 60) * 60) * 1000000000

outside contains m if {
	age > input.params.maxAgeDays * day
	m := sprintf("the last scan of backup %s is of %s, want one of the last %d days", [name, last.at, input.params.maxAgeDays])
}

violations contains {"message": m, "path": "spec.backupName"} if some m in outside

# What keeps the backup from being proved without showing that it is bad.
unread contains "Velero takes the newest backup of the schedule, and what the last scan said of it is not known: name the backup in spec.backupName" if {
	not named
	not object.get(input.object, ["spec", "scheduleName"], null) in {"", null}
}

unread contains "the restore names no backup" if {
	not named
	object.get(input.object, ["spec", "scheduleName"], null) in {"", null}
}

unread contains sprintf("%s of backup %s was unknown in the last scan%s", [open.policy, name, scan(open)]) if {
	some open in last.unknowns
	open.severity in input.params.severities
}

unread contains sprintf("the last scan of backup %s, of %s, did not read all of it", [name, last.at]) if {
	last
	object.get(last, "complete", false) != true
}

unread contains sprintf("when backup %s was scanned last is not known", [name]) if {
	last
	not age
}

# Clocks differ by minutes.
unread contains sprintf("the last scan of backup %s is of %s, which is after now: the clocks disagree", [name, last.at]) if age < -5 * 60 * 1000000000

unread contains sprintf("what failed in the last scan of backup %s is no list", [name]) if {
	last
	some key in ["fails", "unknowns"]
	not is_array(object.get(last, key, null))
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(outside) == 0
	some why in unread
}
