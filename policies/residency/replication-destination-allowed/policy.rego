package residency.replication_destination_allowed

import rego.v1

scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

provider := input.object.provider if {
	scanned
} else := "gcp" if {
	input.object.kind == "StorageBucket"
} else := "aws"

# Rules that are not switched off, in one shape. A status that is missing does not prove a rule to be off.
copies contains {"region": region_of(copy), "bucket": object.get(copy, "bucket", ""), "account": object.get(copy, "account", ""), "path": sprintf("replication[%d]", [i]), "key": "region"} if {
	scanned
	some i, copy in input.object.replication
	object.get(copy, "status", "") != "Disabled"
}

copies contains {"region": region_of(target), "bucket": object.get(target, "bucket", ""), "account": object.get(target, "account", ""), "path": sprintf("spec.replication.rules[%d].destination", [i]), "key": "bucket"} if {
	not scanned
	some i, rule in input.object.spec.replication.rules
	object.get(rule, "status", "") != "Disabled"
	target := object.get(rule, "destination", {})
}

region_of(copy) := copy.region if {
	copy.region != ""
} else := input.params.bucketRegions[name(copy)] if {
	true
} else := ""

name(copy) := regex.replace(object.get(copy, "bucket", ""), "^arn:[a-z-]+:s3:::", "")

faults contains {"message": m, "path": sprintf("%s.%s", [copy.path, copy.key])} if {
	some copy in copies
	copy.region != ""
	not region.within(provider, copy.region, input.params.jurisdictions)
	there := region.locate(provider, copy.region)
	m := sprintf("the bucket is copied to %s (%s), want %s", [trim_space(sprintf("%s %s", [copy.bucket, copy.region])), concat(", ", array.concat(there.countries, there.areas)), concat(", ", input.params.jurisdictions)])
}

faults contains {"message": sprintf("the bucket is copied to the account %s, want %s", [copy.account, concat(" or ", input.params.allowedAccounts)]), "path": sprintf("%s.account", [copy.path])} if {
	count(input.params.allowedAccounts) > 0
	some copy in copies
	copy.account != ""
	not copy.account in input.params.allowedAccounts
}

# A multi-region or a pair of regions holds a copy in each.
faults contains {"message": sprintf("the bucket's data lie in %s, want %s", [place.name, concat(", ", input.params.jurisdictions)]), "path": place.path} if {
	some place in places
	not region.within("gcp", place.name, input.params.jurisdictions)
}

places contains {"name": input.object.spec.location, "path": "spec.location"} if {
	input.object.kind == "StorageBucket"
	not input.object.spec.customPlacementConfig
}

places contains {"name": one, "path": sprintf("spec.customPlacementConfig.dataLocations[%d]", [i])} if {
	some i, one in input.object.spec.customPlacementConfig.dataLocations
}

violations contains v if some v in faults

unread contains sprintf("where the copies in %s lie is not known: name the region of the bucket in bucketRegions", [copy.bucket]) if {
	some copy in copies
	copy.region == ""
}

unread contains sprintf("whose account the copies in %s go to is not known", [copy.bucket]) if {
	count(input.params.allowedAccounts) > 0
	some copy in copies
	copy.account == ""
}

unread contains sprintf("where the bucket is copied to is not known: the call was %s %s", [state, object.get(input.object, ["calls", "replication", "message"], "")]) if {
	scanned
	not told
}

told if {
	state in {"answered", "not made"}
	is_array(input.object.replication)
}

state := object.get(input.object, ["calls", "replication", "state"], "not made")

unread contains "the bucket names no location" if {
	input.object.kind == "StorageBucket"
	count(places) == 0
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
