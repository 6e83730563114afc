package residency.schedule_stays_in_jurisdiction

import rego.v1

# The jurisdictions of each namespace that is included and not excluded.
wanted[name] := jurisdictions(ns) if {
	some ns in input.facts.namespaces
	name := ns.metadata.name
	not excluded(name)
}

jurisdictions(ns) := [label] if {
	label := ns.metadata.labels[input.params.jurisdictionLabel]
} else := input.params.jurisdictions

excluded(name) if {
	some pattern in input.object.spec.template.excludedNamespaces
	pattern == name
}

excluded(name) if {
	some pattern in patterns
	regex.match(pattern, name)
}

# Only * stands for other text; a pattern of a kind not known here excludes nothing.
patterns contains sprintf("^%s$", [replace(pattern, "*", ".*")]) if {
	some pattern in input.object.spec.template.excludedNamespaces
	contains(pattern, "*")
	regex.match(`^[a-z0-9*-]+$`, pattern)
}

provider := input.facts.location.spec.provider

# What says where the location lies: with Google and Azure a label, otherwise the endpoint, and the region without one.
place := input.facts.location.metadata.labels[input.params.regionLabel] if keyless

place := stated if not keyless

keyless if provider in {"gcp", "velero.io/gcp", "azure", "velero.io/azure"}

stated := url if {
	url := input.facts.location.spec.config.s3Url
	url != ""
} else := name if {
	name := input.facts.location.spec.config.region
	name != ""
}

# Each jurisdiction is compared once, however many namespaces are in it.
violations contains {"message": m, "path": "spec.template.storageLocation"} if {
	some want in {want | some want in wanted}
	not region.within(provider, place, want)
	there := region.locate(provider, place)
	some name, its in wanted
	its == want
	m := sprintf("namespace %s must stay in %s, and location %s lies in %s", [name, concat(", ", want), input.object.spec.template.storageLocation, concat(", ", array.concat(there.countries, there.areas))])
}

# A location that names no region may still name its jurisdiction, which must then be the same word.
violations contains {"message": m, "path": "spec.template.storageLocation"} if {
	not place
	label := input.facts.location.metadata.labels[input.params.jurisdictionLabel]
	label != ""
	some name, want in wanted
	not label in want
	m := sprintf("namespace %s must stay in %s, and location %s is labelled %s", [name, concat(", ", want), input.object.spec.template.storageLocation, label])
}

violations contains {"message": verdict.unknown("where the storage location lies is not stated, in it or by a label"), "path": ""} if {
	not place
	object.get(input.facts.location, ["metadata", "labels", input.params.jurisdictionLabel], "") == ""
}

violations contains {"message": verdict.unknown("the storage location is not there"), "path": ""} if input.facts.location == null
