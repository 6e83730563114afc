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
	names(label)
} else := input.params.jurisdictions

# A label that cannot be read is not one that is absent.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(outside) == 0
	some reason in unread
}

owners contains {"what": sprintf("namespace %s", [ns.metadata.name]), "labels": labels, "keys": [input.params.jurisdictionLabel]} if {
	some ns in input.facts.namespaces
	not excluded(ns.metadata.name)
	labels := ns.metadata.labels
}

owners contains {"what": "the storage location", "labels": labels, "keys": [input.params.jurisdictionLabel, input.params.regionLabel]} if {
	labels := input.facts.location.metadata.labels
}

unread contains sprintf("metadata.labels of %s is no map", [owner.what]) if {
	some owner in owners
	not type_name(owner.labels) in {"object", "null"}
}

unread contains sprintf("label %s of %s differs only in case from %s", [key, owner.what, want]) if {
	some owner in owners
	is_object(owner.labels)
	some want in owner.keys
	some key, _ in owner.labels
	key != want
	lower(key) == lower(want)
}

unread contains sprintf("label %s of %s is not text, or blank, and names no place", [want, owner.what]) if {
	some owner in owners
	is_object(owner.labels)
	some want in owner.keys
	value := owner.labels[want]
	not names(value)
}

names(value) if {
	is_string(value)
	trim_space(value) != ""
}

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

violations contains v if some v in outside

# Each jurisdiction is compared once, however many namespaces are in it.
outside contains {"message": m, "path": "spec.template.storageLocation"} if {
	some want in {want | some want in wanted}
	not region.within(provider, place, want)
	there := region.locate(provider, place)
	some name, its in wanted
	its == want
	m := sprintf("namespace %s must stay in %s, and location %s lies in %s", [name, concat(", ", want), input.object.spec.template.storageLocation, concat(", ", array.concat(there.countries, there.areas))])
}

# What Google's and Azure's plugins call an endpoint. The public ones tell no place; any other must lie where the namespaces'
# data may, and where the label says, or nobody knows where it lies.
endpoint := url if {
	some key, public in {
		"storageAccountURI": `^(https?://)?([a-z0-9-]+[.])+blob[.](core[.]windows|storage[.]azure)[.]net(:[0-9]+)?(/.*)?$`,
		"storeEndpoint": `^(https?://)?(storage|www)[.]googleapis[.]com(:[0-9]+)?(/.*)?$`,
	}
	keyless
	(key == "storageAccountURI") == (provider in {"azure", "velero.io/azure"})
	url := input.facts.location.spec.config[key]
	not url in {"", null}
	not regex.match(public, lower(url))
}

outside contains {"message": m, "path": "spec.template.storageLocation"} if {
	some want in {want | some want in wanted}
	not region.within(provider, endpoint, want)
	there := region.locate(provider, endpoint)
	some name, its in wanted
	its == want
	m := sprintf("namespace %s must stay in %s, and the endpoint of location %s lies in %s", [name, concat(", ", want), input.object.spec.template.storageLocation, concat(", ", array.concat(there.countries, there.areas))])
}

outside contains {"message": m, "path": "spec.template.storageLocation"} if {
	here := region.locate(provider, place)
	there := region.locate(provider, endpoint)
	not agree(here, there)
	m := sprintf("location %s is labelled %s, and its endpoint lies in %s %s", [input.object.spec.template.storageLocation, place, concat(", ", there.countries), there.region])
}

agree(here, there) if {
	here.partition == there.partition
	there.region in {"", here.region}
}

agree(here, there) if {
	there.partition == "custom"
	here.countries == there.countries
}

# A location that names no region may still name its jurisdiction, which must then be the same word.
outside contains {"message": m, "path": "spec.template.storageLocation"} if {
	not place
	label := input.facts.location.metadata.labels[input.params.jurisdictionLabel]
	names(label)
	some name, want in wanted
	not lower(label) in {lower(set) | some set in want}
	m := sprintf("namespace %s must stay in %s, and location %s is labelled %s", [name, concat(", ", want), input.object.spec.template.storageLocation, label])
}

violations contains {"message": verdict.unknown("where the storage location lies is not stated, in it or by a label"), "path": ""} if {
	not place
	object.get(input.facts.location, ["metadata", "labels", input.params.jurisdictionLabel], "") == ""
}

violations contains {"message": verdict.unknown("the storage location is not there"), "path": ""} if input.facts.location == null
