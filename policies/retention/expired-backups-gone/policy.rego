package retention.expired_backups_gone

import rego.v1

expiration := input.object.status.expiration if {
	input.object.kind == "Backup"
} else := input.object.backup.expiration

path := "status.expiration" if {
	input.object.kind == "Backup"
} else := "backup.expiration"

overdue if {
	expiration != ""
	time.parse_rfc3339_ns(expiration) + time.parse_duration_ns(input.params.grace) < time.parse_rfc3339_ns(input.now)
}

what := sprintf("a version of backup %s", [object.get(input.object, ["backup", "name"], "")]) if {
	input.object.kind == "StoredObject"
} else := "the backup"

violations contains {"message": sprintf("%s expired on %s and is still there%s", [what, expiration, because]), "path": path} if overdue

# A lock explains it, and the data are there all the same.
because := sprintf(": its lock (%s) holds it until %s", [lower(input.object.lock.mode), input.object.lock.retainUntil]) if {
	locked
} else := ": a legal hold keeps it" if {
	input.object.legalHold == true
} else := ": nothing holds it" if {
	input.object.lock.mode == "NONE"
} else := sprintf(": Velero could not collect it (%s)", [input.object.metadata.labels["velero.io/gc-failure"]]) if {
	input.object.kind == "Backup"
} else := ": whether a lock holds it is not known" if {
	input.object.kind == "StoredObject"
} else := ""

locked if {
	input.object.lock.mode != "NONE"
	time.parse_rfc3339_ns(input.object.lock.retainUntil) > time.parse_rfc3339_ns(input.now)
}

violations contains {"message": verdict.unknown("when the backup expires is not known"), "path": ""} if not expiration

violations contains {"message": verdict.unknown("when the backup expires is not known"), "path": ""} if expiration in {"", null}
