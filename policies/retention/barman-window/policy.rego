package retention.barman_window

import rego.v1

path := "spec.retentionPolicy" if {
	input.object.kind == "ObjectStore"
} else := "spec.backup.retentionPolicy"

written := input.object.spec.retentionPolicy if {
	input.object.kind == "ObjectStore"
} else := object.get(input.object, ["spec", "backup", "retentionPolicy"], "")

kept := retention.horizon("barman", written) if not written in {"", null}

profile := label if {
	label := input.object.metadata.labels[input.params.retentionProfileLabel]
	label != ""
} else := "default"

class := label if {
	label := input.object.metadata.labels[input.params.dataClassLabel]
	label != ""
}

most contains limit if {
	some name, limit in input.params.maxByClass
	lower(name) == lower(class)
}

faults contains {"message": m, "path": path} if {
	minimum := input.params.minByProfile[profile]
	not retention.covers(kept, minimum)
	m := sprintf("backups are kept %s, want at least %s for the profile %s", [retention.text(kept), retention.text(minimum), profile])
}

faults contains {"message": m, "path": path} if {
	some limit in most
	retention.exceeds(kept, limit)
	m := sprintf("%s data are kept %s, want at most %s", [class, retention.text(kept), retention.text(limit)])
}

# Without a policy nothing is ever deleted: enough for every minimum, too much for every maximum.
faults contains {"message": m, "path": path} if {
	not kept
	some limit in most
	m := sprintf("there is no retentionPolicy, so %s data are kept for ever, want at most %s", [class, retention.text(limit)])
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(sprintf("there is no retention profile %s in minByProfile", [profile])), "path": ""} if {
	count(faults) == 0
	not input.params.minByProfile[profile]
}

violations contains {"message": verdict.unknown(sprintf("data-class %s is not one of %s", [class, concat(", ", input.params.knownClasses)])), "path": ""} if {
	count(faults) == 0
	count(most) == 0
	not lower(class) in {lower(name) | some name in input.params.knownClasses}
}
