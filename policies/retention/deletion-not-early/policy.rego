package retention.deletion_not_early

import rego.v1

# The backup, and where it is spoken of: in itself, or in the request that names it.
backup := {
	"name": input.object.metadata.name,
	"labels": object.get(input.object, ["metadata", "labels"], {}),
	"expiration": object.get(input.object, ["status", "expiration"], ""),
	"hold at": sprintf("metadata.labels[\"%s\"]", [input.params.holdLabel]),
	"expiration at": "status.expiration",
} if {
	input.object.kind == "Backup"
}

backup := {
	"name": input.object.spec.backupName,
	"labels": object.get(input.facts.backup, ["metadata", "labels"], {}),
	"expiration": object.get(input.facts.backup, ["status", "expiration"], ""),
	"hold at": "spec.backupName",
	"expiration at": "spec.backupName",
} if {
	input.object.kind == "DeleteBackupRequest"
	input.facts.backup != null
}

failed contains {"message": m, "path": backup["hold at"]} if {
	hold := backup.labels[input.params.holdLabel]
	not hold in {"", "false"}
	m := sprintf("backup %s is under legal hold (%s: %v), want it kept until the hold is lifted", [backup.name, input.params.holdLabel, hold])
}

failed contains {"message": m, "path": backup["expiration at"]} if {
	not backup.expiration in {"", null}
	time.parse_rfc3339_ns(backup.expiration) > time.parse_rfc3339_ns(input.now)
	not approver
	m := sprintf("backup %s expires on %s, want it kept until then", [backup.name, backup.expiration])
}

approver if {
	some group in input.user.groups
	group in input.params.approverGroups
}

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

# Velero does nothing about a backup it does not have; but a moment later its sync may bring it back.
unsure contains "the backup is not there, so whether it has expired is not known" if not backup

unsure contains "the backup has no status.expiration, so whether it has expired is not known" if {
	backup.expiration in {"", null}
	not approver
}

# Labels that cannot be read are not ones that are absent.
unsure contains "metadata.labels of the backup is no map, so whether it is under hold is not known" if {
	not type_name(backup.labels) in {"object", "null"}
}
