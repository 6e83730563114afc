package encryption.snapshot_encrypted

import rego.v1

violations contains {"message": "the snapshot is not encrypted", "path": "encrypted"} if input.object.encrypted == false

violations contains {"message": sprintf("the snapshot is encrypted with %s, want %s", [key, concat(" or ", input.params.keys)]), "path": "key"} if {
	input.object.encrypted
	count(input.params.keys) > 0
	key := input.object.key
	not key in input.params.keys
}

violations contains {"message": verdict.unknown("which key encrypts the snapshot is not known"), "path": ""} if {
	input.object.encrypted
	count(input.params.keys) > 0
	object.get(input.object, "key", "") in {"", null}
}
