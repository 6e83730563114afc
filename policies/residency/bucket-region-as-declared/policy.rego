package residency.bucket_region_as_declared

import rego.v1

joined if input.object.kind == "StorageLocation"

scanned if {
	input.object.kind == "Bucket"
	startswith(input.object.apiVersion, "artifact.proviso.dev/")
}

# What the location declares: its region, or the label where its plugin has no key for one.
declared := name if {
	joined
	name := input.object.declared.region
	name != ""
} else := label if {
	joined
	label := input.object.metadata.labels[input.params.regionLabel]
	label != ""
}

faults contains {"message": sprintf("the bucket lies in %s, and the location declares %s", [input.object.observed.region, declared]), "path": "observed.region"} if {
	joined
	canonical(input.object.observed.region) != canonical(declared)
}

# S3 still answers EU for buckets made by that name.
canonical(name) := "eu-west-1" if {
	lower(name) == "eu"
	object.get(input.object, ["observed", "provider"], "s3") == "s3"
} else := lower(name)

unread contains "the location declares no region, so there is nothing to compare the bucket with" if {
	joined
	not declared
}

unread contains sprintf("where the bucket lies is not known: the call was %s %s", [object.get(input.object, ["observed", "calls", "location", "state"], "not made"), object.get(input.object, ["observed", "calls", "location", "message"], "")]) if {
	joined
	object.get(input.object, ["observed", "region"], "") == ""
}

# Where a bucket by itself lies. The region of a store that is not the cloud's own only signs requests: there the endpoint decides.
place := input.object.endpoint if {
	scanned
	input.object.endpoint != ""
} else := input.object.region if {
	scanned
	input.object.region != ""
}

place := input.object.spec.createBucketConfiguration.locationConstraint if not scanned

place := input.object.spec.location if input.object.kind == "StorageBucket"

at := "endpoint" if {
	place == input.object.endpoint
} else := "region" if {
	scanned
} else := "spec.location" if {
	input.object.kind == "StorageBucket"
} else := "spec.createBucketConfiguration.locationConstraint"

provider := input.object.provider if {
	scanned
} else := "gcp" if {
	input.object.kind == "StorageBucket"
} else := "aws"

there := region.locate(provider, place) if {
	scanned
} else := region.bucket(provider, place)

faults contains {"message": sprintf("the bucket lies in %s (%s), want %s", [place, concat(", ", array.concat(there.countries, there.areas)), concat(", ", input.params.jurisdictions)]), "path": at} if {
	not joined
	not inside
}

inside if region.within(provider, found, input.params.jurisdictions)

# The name of the region where there is one: a constraint may be EU, which is one region and not the union.
found := there.region if {
	there.region != ""
} else := place

# Nothing said is the cloud's default, which Google states.
faults contains {"message": "the bucket names no location, and Google's default is the United States", "path": "spec.location"} if {
	input.object.kind == "StorageBucket"
	object.get(input.object, ["spec", "location"], "") == ""
	not region.within("gcp", "us", input.params.jurisdictions)
}

unread contains sprintf("where the bucket lies is not known: the call was %s %s", [object.get(input.object, ["calls", "location", "state"], "not made"), object.get(input.object, ["calls", "location", "message"], "")]) if {
	scanned
	not place
}

unread contains "where the bucket lies is not written down: its controller's own region decides" if {
	input.object.kind == "Bucket"
	not scanned
	not place
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
