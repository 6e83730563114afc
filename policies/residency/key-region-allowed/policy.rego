package residency.key_region_allowed

import rego.v1

# Each key that is named, with what says where it lies when its name does not: a short id or an alias is a key in the region of
# what uses it.
keys contains {"name": input.object.spec.config.kmsKeyId, "path": "spec.config.kmsKeyId", "provider": "aws", "beside": object.get(input.object, ["spec", "config", "region"], "")}

keys contains {"name": input.object.spec.config.kmsKeyName, "path": "spec.config.kmsKeyName", "provider": "gcp", "beside": ""}

keys contains {"name": value, "path": sprintf("parameters[\"%s\"]", [key]), "provider": provider, "beside": ""} if {
	some key, value in input.object.parameters
	provider := {"kmskeyid": "aws", "disk-encryption-kms-key": "gcp"}[lower(key)]
}

keys contains {"name": input.object.encryption.key, "path": "encryption.key", "provider": input.object.provider, "beside": object.get(input.object, "region", "")}

keys contains {"name": input.object.key, "path": "key", "provider": input.object.provider, "beside": object.get(input.object, "region", "")}

keys contains {"name": arn, "path": sprintf("spec.encryption.rules[%d].applyServerSideEncryptionByDefault.kmsMasterKeyID", [i]), "provider": "aws", "beside": object.get(input.object, ["spec", "createBucketConfiguration", "locationConstraint"], "")} if {
	some i, rule in input.object.spec.encryption.rules
	arn := rule.applyServerSideEncryptionByDefault.kmsMasterKeyID
}

keys contains {"name": input.object.arn, "path": "arn", "provider": input.object.provider, "beside": ""} if input.object.kind == "Key"

keys contains {"name": "", "path": "region", "provider": input.object.provider, "beside": input.object.region} if input.object.kind == "Key"

# A key of several regions has material in each of them, and its name proves one at most.
place(key) := key.name if {
	regex.match("^(arn:|projects/|//)", lower(key.name))
} else := key.beside if {
	not startswith(lower(key.name), "/subscriptions/")
	not contains(key.name, "://")
} else := ""

located contains object.union(key, {"place": place(key)}) if {
	some key in keys
	place(key) != ""
}

faults contains {"message": m, "path": key.path} if {
	some key in located
	not region.within(key.provider, key.place, input.params.jurisdictions)
	there := region.locate(key.provider, key.place)
	m := sprintf("the key lies in %s, want %s", [concat(", ", array.concat(there.countries, there.areas)), concat(", ", input.params.jurisdictions)])
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(sprintf("where the key %s lies is not known: name it by its full ARN or resource name", [key.name])), "path": ""} if {
	count(faults) == 0
	some key in keys
	place(key) == ""
	key.name != ""
}

violations contains {"message": verdict.unknown("no region and no ARN say where the key lies"), "path": ""} if {
	input.object.kind == "Key"
	count(located) == 0
}

violations contains {"message": verdict.unknown(sprintf("which key the bucket uses is not known: the call was %s %s", [input.object.calls.encryption.state, object.get(input.object, ["calls", "encryption", "message"], "")])), "path": ""} if {
	count(keys) == 0
	input.object.calls.encryption.state in {"refused", "unsupported", "failed"}
}
