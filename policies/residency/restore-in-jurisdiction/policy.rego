package residency.restore_in_jurisdiction

import rego.v1

# What the backup is promised to, by its label and by its annotation. Where it has both, both hold.
wanted contains want if {
	some kind in ["labels", "annotations"]
	want := input.facts.backup.metadata[kind][input.params.jurisdictionLabel]
	names(want)
}

names(value) if {
	is_string(value)
	trim_space(value) != ""
}

outside contains {"message": m, "path": "spec.backupName"} if {
	count(input.params.clusterJurisdictions) > 0
	some want in wanted
	not lower(want) in {lower(set) | some set in input.params.clusterJurisdictions}
	m := sprintf("backup %s must stay in %s, and this cluster lies in %s", [input.object.spec.backupName, want, concat(", ", input.params.clusterJurisdictions)])
}

outside contains {"message": m, "path": path} if {
	some want in wanted
	some ns in input.facts.namespaces
	label := ns.metadata.labels[input.params.jurisdictionLabel]
	names(label)
	lower(label) != lower(want)
	some path in targets(ns.metadata.name)
	m := sprintf("backup %s must stay in %s, and namespace %s is promised to %s", [input.object.spec.backupName, want, ns.metadata.name, label])
}

violations contains v if some v in outside

# Where a namespace is written into: under its own name where the restore and the backup include it, or under another's.
targets(name) := {path |
	some path in ["spec.includedNamespaces"]
	selects(input.object.spec, name)
	selects(backed, name)
	not name in sources
} | {path |
	some source, target in input.object.spec.namespaceMapping
	target == name
	path := sprintf("spec.namespaceMapping[%q]", [source])
}

# A backup without a spec is one of everything.
backed := input.facts.backup.spec if {
	is_object(input.facts.backup.spec)
} else := {}

sources contains source if some source, _ in input.object.spec.namespaceMapping

selects(spec, name) if {
	includes(spec, name)
	not excludes(spec, name)
}

includes(spec, _) if object.get(spec, "includedNamespaces", null) in {null, []}

includes(spec, name) if {
	some pattern in spec.includedNamespaces
	fits(pattern, name)
}

# A pattern that cannot be read here may include everything.
includes(spec, _) if {
	some pattern in spec.includedNamespaces
	not regex.match(`^[a-z0-9*-]*$`, pattern)
}

# Where Velero cannot read one pattern of a list it excludes nothing.
excludes(spec, name) if {
	every pattern in spec.excludedNamespaces { regex.match(`^[a-z0-9*-]*$`, pattern) }
	some pattern in spec.excludedNamespaces
	fits(pattern, name)
}

fits(pattern, name) if {
	regex.match(`^[a-z0-9*-]+$`, pattern)
	regex.match(sprintf("^%s$", [replace(pattern, "*", ".*")]), name)
}

# What keeps the jurisdiction from being known. A place outside one that is known fails all the same.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(outside) == 0
	some reason in unread
}

unread contains m if {
	object.get(input.object, ["spec", "backupName"], null) in {"", null}
	m := said[object.get(input.object, ["spec", "scheduleName"], null) in {"", null}]
}

said := {
	true: "the restore names no backup",
	false: "Velero takes the newest backup of the schedule, and its jurisdiction is not known: name the backup in spec.backupName",
}

unread contains sprintf("backup %s is not there, so its jurisdiction is not known", [input.object.spec.backupName]) if {
	not object.get(input.object, ["spec", "backupName"], null) in {"", null}
	input.facts.backup == null
}

unread contains "where this cluster lies is not known: set the parameter clusterJurisdictions" if {
	some _ in wanted
	count(input.params.clusterJurisdictions) == 0
}

unread contains sprintf("metadata.%s of the backup is no map", [kind]) if {
	some kind in ["labels", "annotations"]
	map := input.facts.backup.metadata[kind]
	not type_name(map) in {"object", "null"}
}

unread contains sprintf("%s of the backup is no list, so what is restored is not known", [key]) if {
	some key in ["includedNamespaces", "excludedNamespaces"]
	list := backed[key]
	not type_name(list) in {"array", "null"}
}

unread contains m if {
	some kind in ["labels", "annotations"]
	some key, value in input.facts.backup.metadata[kind]
	m := misread(key, value)
}

unread contains sprintf("label %s of namespace %s is not text, or blank, and names no jurisdiction", [input.params.jurisdictionLabel, ns.metadata.name]) if {
	some _ in wanted
	some ns in input.facts.namespaces
	value := ns.metadata.labels[input.params.jurisdictionLabel]
	not names(value)
	some _ in targets(ns.metadata.name)
}

misread(key, value) := sprintf("%s of the backup differs only in case from %s", [key, input.params.jurisdictionLabel]) if {
	key != input.params.jurisdictionLabel
	lower(key) == lower(input.params.jurisdictionLabel)
} else := sprintf("%s of the backup is not text, or blank, and names no jurisdiction", [key]) if {
	key == input.params.jurisdictionLabel
	not names(value)
}
