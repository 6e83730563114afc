package retention.keep_counts_in_window

import rego.v1

profile := name if {
	name := input.object.metadata.labels[input.params.retentionProfileLabel]
	name != ""
} else := "default"

violations contains {"message": verdict.unknown(sprintf("there is no retention profile %v in minByProfile", [profile])), "path": ""} if {
	not input.params.minByProfile[profile]
}

minimum := input.params.minByProfile[profile]

maximum := most if {
	some class, most in input.params.maxByClass
	lower(class) == lower(input.object.metadata.labels[input.params.dataClassLabel])
}

# A label that cannot be read is not one that is absent, and a class nobody knows may be one with a maximum misspelt.
violations contains {"message": verdict.unknown(sprintf("label %s differs only in case from %s", [key, want])), "path": ""} if {
	some want in [input.params.dataClassLabel, input.params.retentionProfileLabel]
	some key, _ in input.object.metadata.labels
	key != want
	lower(key) == lower(want)
}

violations contains {"message": verdict.unknown(sprintf("label %s is not text", [key])), "path": ""} if {
	some key, value in input.object.metadata.labels
	key in [input.params.dataClassLabel, input.params.retentionProfileLabel]
	not is_string(value)
}

violations contains {"message": verdict.unknown(sprintf("data-class %q is not one of %s", [class, concat(", ", known)])), "path": ""} if {
	class := input.object.metadata.labels[input.params.dataClassLabel]
	is_string(class)
	not lower(class) in known
}

known := {lower(class) | some class in input.params.knownClasses} | {lower(class) | some class, _ in input.params.maxByClass}

# A backup stays as long as any window holds it, and no longer than the cap.
violations contains {"message": m, "path": path} if {
	count(windows) > 0
	every w in windows { not retention.covers(w.min, minimum) }
	m := sprintf("backups are kept %s, want at least %s for the profile %s", [concat(" or ", {said(w.min) | some w in windows}), retention.text(minimum), profile])
}

violations contains {"message": m, "path": path} if {
	some w in windows
	retention.exceeds(w.max, maximum)
	not capped
	m := sprintf("backups are kept up to %s, want at most %s", [said(w.max), retention.text(maximum)])
}

violations contains {"message": m, "path": path} if {
	count(windows) == 0
	not cap
	m := sprintf("backups are never pruned, want them kept at most %s", [retention.text(maximum)])
}

# K8up prunes by the prune's own schedule and never without one.
violations contains {"message": m, "path": "spec.prune.schedule"} if {
	input.object.kind == "Schedule"
	count(windows) > 0
	object.get(input.object, ["spec", "prune", "schedule"], null) in {"", null}
	m := sprintf("the prune has no schedule, so backups are never pruned, want them kept at most %s", [retention.text(maximum)])
}

violations contains {"message": m, "path": sprintf("spec.prune.retention.keepTags[%d]", [i])} if {
	some i, tag in input.object.spec.prune.retention.keepTags
	m := sprintf("backups with the tag %s are kept for ever, want at most %s", [tag, retention.text(maximum)])
}

violations contains {"message": m, "path": "spec.maxRetentionPeriod"} if {
	not retention.covers(cap, minimum)
	m := sprintf("backups are kept %s at most, want at least %s for the profile %s", [said(cap), retention.text(minimum), profile])
}

violations contains {"message": m, "path": "spec.maxRetentionPeriod"} if {
	count(windows) == 0
	retention.exceeds(cap, maximum)
	m := sprintf("backups are kept up to %s, want at most %s", [said(cap), retention.text(maximum)])
}

capped if not retention.exceeds(cap, maximum)

# Hours that are no whole days are said in days as well.
said(kept) := sprintf("%s (%s)", [retention.text(kept), retention.text(sprintf("%dd%dh%s", [floor(hours / 24), hours % 24, parts[2]]))]) if {
	parts := regex.find_all_string_submatch_n(`^([0-9]+)h(.*)$`, kept, 1)[0]
	hours := to_number(parts[1])
	hours >= 48
	[hours % 24, parts[2]] != [0, ""]
} else := retention.text(kept)

# Each tool: where its counts stand, the counts, and the schedule that makes the backups.
path := "spec.prune.retention" if input.object.kind == "Schedule"

counts := {
	"last": object.get(input.object, ["spec", "prune", "retention", "keepLast"], 0),
	"hourly": object.get(input.object, ["spec", "prune", "retention", "keepHourly"], 0),
	"daily": object.get(input.object, ["spec", "prune", "retention", "keepDaily"], 0),
	"weekly": object.get(input.object, ["spec", "prune", "retention", "keepWeekly"], 0),
	"monthly": object.get(input.object, ["spec", "prune", "retention", "keepMonthly"], 0),
	"yearly": object.get(input.object, ["spec", "prune", "retention", "keepYearly"], 0),
} if input.object.kind == "Schedule"

cron := object.get(input.object, ["spec", "backup", "schedule"], "") if input.object.kind == "Schedule"

# VolSync keeps the last backup where no count is set.
path := "spec.restic.retain" if input.object.kind == "ReplicationSource"

counts := {
	"last": newest,
	"hourly": object.get(input.object, ["spec", "restic", "retain", "hourly"], 0),
	"daily": object.get(input.object, ["spec", "restic", "retain", "daily"], 0),
	"weekly": object.get(input.object, ["spec", "restic", "retain", "weekly"], 0),
	"monthly": object.get(input.object, ["spec", "restic", "retain", "monthly"], 0),
	"yearly": object.get(input.object, ["spec", "restic", "retain", "yearly"], 0),
} if input.object.kind == "ReplicationSource"

newest := to_number(last) if {
	last := input.object.spec.restic.retain.last
	last != null
} else := 1 if {
	not input.object.spec.restic.retain.hourly
	not input.object.spec.restic.retain.daily
	not input.object.spec.restic.retain.weekly
	not input.object.spec.restic.retain.monthly
	not input.object.spec.restic.retain.yearly
	not input.object.spec.restic.retain.within
} else := 0

cron := object.get(input.object, ["spec", "trigger", "schedule"], "") if input.object.kind == "ReplicationSource"

# restic writes m for months; its windows run from the newest backup.
windows contains {"min": kept, "max": kept} if {
	within := input.object.spec.restic.retain.within
	kept := retention.horizon("text", regex.replace(within, `([0-9])m`, "${1}mo"))
}

# KubeStash names no schedule here. It writes m for minutes.
path := "spec.successfulSnapshots" if input.object.kind == "RetentionPolicy"

counts := {
	"last": object.get(input.object, ["spec", "successfulSnapshots", "last"], 0),
	"hourly": object.get(input.object, ["spec", "successfulSnapshots", "hourly"], 0),
	"daily": object.get(input.object, ["spec", "successfulSnapshots", "daily"], 0),
	"weekly": object.get(input.object, ["spec", "successfulSnapshots", "weekly"], 0),
	"monthly": object.get(input.object, ["spec", "successfulSnapshots", "monthly"], 0),
	"yearly": object.get(input.object, ["spec", "successfulSnapshots", "yearly"], 0),
} if input.object.kind == "RetentionPolicy"

cron := "" if input.object.kind == "RetentionPolicy"

cap := retention.horizon("text", regex.replace(period, `([0-9]m)$`, "${1}0s")) if {
	period := input.object.spec.maxRetentionPeriod
	period != ""
}

# Kasten keeps so many of each period.
path := "spec.retention" if input.object.kind == "Policy"

counts := {
	"hourly": object.get(input.object, ["spec", "retention", "hourly"], 0),
	"daily": object.get(input.object, ["spec", "retention", "daily"], 0),
	"weekly": object.get(input.object, ["spec", "retention", "weekly"], 0),
	"monthly": object.get(input.object, ["spec", "retention", "monthly"], 0),
	"yearly": object.get(input.object, ["spec", "retention", "yearly"], 0),
} if input.object.kind == "Policy"

cron := pace if {
	input.object.kind == "Policy"
	pace := object.get(input.object, ["spec", "frequency"], "")
	pace != "@onDemand"
}

cron := "" if {
	input.object.kind == "Policy"
	input.object.spec.frequency == "@onDemand"
}

# What an export keeps is another figure, which is not judged.
violations contains {"message": verdict.unknown(sprintf("actions[%d] exports with a retention of its own, which is not judged here", [i])), "path": ""} if {
	some i, action in input.object.spec.actions
	action.action == "export"
	some own in [object.get(action, ["retention"], null), object.get(action, ["exportParameters", "retention"], null)]
	own != null
}

violations contains {"message": verdict.unknown("the policy takes its retention from a preset, which this object does not show"), "path": ""} if input.object.spec.presetRef.name

# Longhorn keeps a number of backups, or since lately an age.
path := "spec.retain" if {
	input.object.kind == "RecurringJob"
	not by_age
}

path := "spec.retainAge" if by_age

by_age if {
	input.object.kind == "RecurringJob"
	input.object.spec.retentionPolicy == "age-based"
}

counts := {"last": object.get(input.object, ["spec", "retain"], 0)} if {
	input.object.kind == "RecurringJob"
	not by_age
}

counts := {} if by_age

cron := object.get(input.object, ["spec", "cron"], "") if input.object.kind == "RecurringJob"

windows contains {"min": kept, "max": kept} if {
	by_age
	kept := retention.horizon("go-duration", object.get(input.object, ["spec", "retainAge"], ""))
}

windows contains retention.gfs(counts, cron) if {
	some n in counts
	n != 0
}

# Without a count Longhorn's and Kasten's own defaults hold, which the object does not show.
violations contains {"message": verdict.unknown("the object names no count, so the tool's default decides: write it"), "path": ""} if {
	input.object.kind in {"RecurringJob", "Policy"}
	count(windows) == 0
}
