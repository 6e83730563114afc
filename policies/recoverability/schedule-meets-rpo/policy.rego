package recoverability.schedule_meets_rpo

import rego.v1

# The backups a Schedule makes bear its template's labels. A tier stated twice must be met twice.
stated contains name if {
	some labels in [object.get(input.object, ["metadata", "labels"], {}), object.get(input.object, ["spec", "template", "metadata", "labels"], {})]
	name := labels[input.params.tierLabel]
	name != ""
}

tiers := stated if {
	count(stated) > 0
} else := {"default"}

# How far apart backups are, by where it is said. One of several is enough.
gaps["spec.schedule"] := schedule.longest_gap(input.object.spec.schedule) if {
	group == "velero.io"
	input.object.spec.schedule != ""
}

gaps["spec.schedule"] := schedule.longest_gap_with_seconds(input.object.spec.schedule) if {
	group == "postgresql.cnpg.io"
	input.object.spec.schedule != ""
}

# K8up picks the minute of a random schedule once, by the object's name.
gaps["spec.backup.schedule"] := schedule.longest_gap(trim_suffix(input.object.spec.backup.schedule, "-random")) if {
	group == "k8up.io"
	input.object.spec.backup.schedule != ""
}

gaps["spec.trigger.schedule"] := schedule.longest_gap(input.object.spec.trigger.schedule) if {
	group == "volsync.backube"
	input.object.spec.trigger.schedule != ""
}

gaps["spec.cron"] := schedule.longest_gap(input.object.spec.cron) if {
	group == "longhorn.io"
	input.object.spec.cron != ""
}

gaps["spec.frequency"] := schedule.longest_gap(input.object.spec.frequency) if {
	group == "config.kio.kasten.io"
	not input.object.spec.frequency in {"", "@onDemand"}
}

gaps[sprintf("spec.sessions[%d].scheduler.schedule", [i])] := schedule.longest_gap(session.scheduler.schedule) if {
	some i, session in input.object.spec.sessions
	session.scheduler.schedule != ""
}

gaps.longestGapSeconds := sprintf("%ds", [input.object.longestGapSeconds])

group := split(input.object.apiVersion, "/")[0]

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

failed contains {"message": m, "path": path} if {
	some tier in tiers
	rpo := input.params.rpoByTier[tier]
	not finer
	every gap in gaps { retention.exceeds(gap, rpo) }
	some path, gap in gaps
	m := sprintf("backups are up to %s apart, want at most %s%s", [said(gap), retention.text(rpo), named(tier)])
}

# Hours that are no whole days are said in days as well.
said(gap) := sprintf("%s (%s)", [retention.text(gap), retention.text(sprintf("%dd%dh", [floor(hours / 24), hours % 24]))]) if {
	hours := floor(time.parse_duration_ns(gap) / 3600000000000)
	hours > 48
	hours % 24 > 0
} else := retention.text(gap)

named(tier) := sprintf(" for tier %s", [tier]) if tier != "default"

else := ""

failed contains {"message": "the schedule is paused, so no backups are made, want it running", "path": "spec.paused"} if {
	input.object.spec.paused == true
}

failed contains {"message": "the schedule is suspended, so no backups are made, want it running", "path": "spec.suspend"} if {
	group == "postgresql.cnpg.io"
	input.object.spec.suspend == true
}

failed contains {"message": "a copy is made only when someone asks for it, want a schedule", "path": "spec.trigger.manual"} if {
	group == "volsync.backube"
	input.object.spec.trigger.manual
	not gaps["spec.trigger.schedule"]
}

failed contains {"message": "backups are made only when someone asks for them, want a frequency", "path": "spec.frequency"} if {
	input.object.spec.frequency == "@onDemand"
}

failed contains {"message": "no session has a schedule, so no backups are made", "path": "spec.sessions"} if {
	group == "core.kubestash.com"
	count(gaps) == 0
}

failed contains {"message": m, "path": "schedules"} if {
	some first in input.object.schedules
	first.paused == true
	every s in input.object.schedules { s.paused == true }
	m := sprintf("every schedule that selects it is paused (%s), so no backups are made", [concat(", ", [s.name | some s in input.object.schedules])])
}

# Kasten may run more often than its frequency says.
finer if {
	group == "config.kio.kasten.io"
	input.object.spec.subFrequency
}

unsure contains sprintf("there is no tier %v in rpoByTier", [tier]) if {
	some tier in tiers
	not input.params.rpoByTier[tier]
}

unsure contains "subFrequency makes backups more often than frequency, and how often is not judged here" if {
	finer
	some tier in tiers
	retention.exceeds(gaps["spec.frequency"], input.params.rpoByTier[tier])
}

# Without a trigger VolSync copies again and again.
unsure contains "how often backups are made is not stated" if {
	count(gaps) == 0
	not group in {"volsync.backube", "artifact.proviso.dev"}
}

unsure contains "who copies how often is said outside this object" if input.object.spec.external

unsure contains sprintf("how far apart backups are is not known%s", [why]) if {
	input.object.kind == "Protection"
	count(gaps) == 0
	whys := [sprintf("%s: %s", [u.what, u.why]) | some u in input.object.unknown]
	why := concat("", [sprintf(" (%s)", [concat("; ", whys)]) | count(whys) > 0])
}
