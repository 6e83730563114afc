package encryption.bucket_kms

import rego.v1

scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

state := object.get(input.object, ["calls", "encryption", "state"], "not made") if scanned

# What new objects are encrypted with unless whoever writes them says otherwise.
defaults contains {"algorithm": input.object.encryption.algorithm, "key": object.get(input.object, ["encryption", "key"], ""), "path": "encryption.algorithm", "keyPath": "encryption.key"} if {
	state in {"answered", "not made"}
}

defaults contains {"algorithm": "none", "key": "", "path": "calls.encryption.state", "keyPath": "calls.encryption.state"} if state == "notConfigured"

defaults contains {"algorithm": object.get(rule, ["applyServerSideEncryptionByDefault", "sseAlgorithm"], "none"), "key": object.get(rule, ["applyServerSideEncryptionByDefault", "kmsMasterKeyID"], ""), "path": sprintf("%s.sseAlgorithm", [at]), "keyPath": sprintf("%s.kmsMasterKeyID", [at])} if {
	some i, rule in input.object.spec.encryption.rules
	at := sprintf("spec.encryption.rules[%d].applyServerSideEncryptionByDefault", [i])
}

defaults contains {"algorithm": "none", "key": "", "path": "spec.encryption", "keyPath": "spec.encryption"} if {
	input.object.kind == "Bucket"
	not scanned
	count(object.get(input.object, ["spec", "encryption", "rules"], [])) == 0
}

defaults contains {"algorithm": algorithm, "key": object.get(input.object, ["spec", "encryption", "kmsKeyRef", "external"], ""), "path": "spec.encryption.kmsKeyRef", "keyPath": "spec.encryption.kmsKeyRef.external"} if {
	input.object.kind == "StorageBucket"
	algorithm := {true: "customer", false: "platform"}[is_object(object.get(input.object, ["spec", "encryption", "kmsKeyRef"], null))]
}

faults contains {"message": sprintf("the bucket encrypts by default with %s, want %s", [words(is.algorithm), concat(" or ", input.params.algorithms)]), "path": is.path} if {
	some is in defaults
	not is.algorithm in input.params.algorithms
}

words(algorithm) := object.get({"none": "nothing", "AES256": "the store's own key (AES256)", "platform": "the platform's own key"}, algorithm, algorithm)

faults contains {"message": sprintf("the bucket's default key is %s, want %s", [is.key, concat(" or ", input.params.keys)]), "path": is.keyPath} if {
	some is in defaults
	is.algorithm in input.params.algorithms
	count(input.params.keys) > 0
	is.key != ""
	not is.key in input.params.keys
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(sprintf("how the bucket encrypts is not known: the call was %s %s", [state, object.get(input.object, ["calls", "encryption", "message"], "")])), "path": ""} if {
	scanned
	count(defaults) == 0
}

violations contains {"message": verdict.unknown("which key the bucket encrypts with is not known"), "path": ""} if {
	count(faults) == 0
	count(input.params.keys) > 0
	some is in defaults
	is.algorithm in {"aws:kms", "aws:kms:dsse", "customer"}
	is.key == ""
}
