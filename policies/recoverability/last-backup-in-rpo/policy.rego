package recoverability.last_backup_in_rpo

import rego.v1

tier := name if {
	name := input.object.metadata.labels[input.params.tierLabel]
	name != ""
} else := "default"

rpo := input.params.baseBackupAge if {
	input.object.kind == "ObjectStore"
	input.params.baseBackupAge != ""
} else := input.params.rpoByTier[tier]

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

# The newest good backups, by what they are of.
newest contains {"what": what, "completed": input.object.lastGood.completed, "path": "lastGood.completed"} if {
	what := sprintf("the last good backup%s%s", [
		concat("", [sprintf(" (%s)", [name]) | name := input.object.lastGood.name]),
		concat("", [sprintf(" in %s", [place]) | place := input.object.lastGood.location]),
	])
}

newest contains {"what": sprintf("the last base backup of %s", [server]), "completed": completed, "path": sprintf("status.serverRecoveryWindow.%s.lastSuccessfulBackupTime", [server])} if {
	some server, window in input.object.status.serverRecoveryWindow
	completed := window.lastSuccessfulBackupTime
	is_string(completed)
}

newest contains {"what": "the last copy", "completed": input.object.status.lastSyncTime, "path": "status.lastSyncTime"} if {
	input.object.kind == "ReplicationSource"
}

seconds(completed) := (time.parse_rfc3339_ns(input.now) - time.parse_rfc3339_ns(completed)) / 1000000000

failed contains {"message": m, "path": last.path} if {
	some last in newest
	age := floor(seconds(last.completed))
	over := age - floor(time.parse_duration_ns(plain(input.params.grace)) / 1000000000)
	over > 0
	retention.exceeds(sprintf("%ds", [over]), rpo)
	m := sprintf("%s ended %s ago, want at most %s%s", [last.what, said(age), retention.text(rpo), named])
}

# Grace is text in the notation of the other parameters.
plain(text) := retention.horizon("text", text)

said(age) := retention.text(sprintf("%dd", [floor(age / 86400)])) if {
	age >= 172800
} else := retention.text(sprintf("%dh%dm0s", [floor(age / 3600), floor((age % 3600) / 60)])) if {
	age >= 60
} else := retention.text(sprintf("%ds", [age]))

named := sprintf(" for tier %s", [tier]) if tier != "default"

else := ""

failed contains {"message": "there is no good backup", "path": "backups"} if {
	input.object.backups == []
	not input.object.lastGood.completed
}

failed contains {"message": sprintf("server %s has no successful base backup", [server]), "path": "status.serverRecoveryWindow"} if {
	some server, window in input.object.status.serverRecoveryWindow
	is_object(window)
	object.get(window, "lastSuccessfulBackupTime", "") in {"", null}
}

# The newest attempt failed where there has never been a copy.
failed contains {"message": "nothing was ever copied, and the last attempt failed", "path": "status.latestMoverStatus.result"} if {
	input.object.status.latestMoverStatus.result == "Failed"
	not input.object.status.lastSyncTime
}

unsure contains sprintf("there is no tier %v in rpoByTier", [tier]) if not input.params.rpoByTier[tier]

unsure contains sprintf("%s ends after now (%s): the clocks disagree", [last.what, last.completed]) if {
	some last in newest
	seconds(last.completed) < -300
}

unsure contains sprintf("when the last good backup ended is not known%s", [why]) if {
	count(newest) == 0
	whys := [sprintf("%s: %s", [u.what, u.why]) | some u in input.object.unknown]
	why := concat("", [sprintf(" (%s)", [concat("; ", whys)]) | count(whys) > 0])
}

unsure contains sprintf("the recovery window of %s cannot be read", [server]) if {
	some server, window in input.object.status.serverRecoveryWindow
	not is_string(object.get(window, "lastSuccessfulBackupTime", ""))
}
