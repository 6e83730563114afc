package encryption.etcd_snapshot_encrypted

import rego.v1

violations contains {"message": m, "path": "secrets.encrypted"} if {
	input.object.secrets.encrypted < input.object.secrets.total * input.params.minRatio
	m := sprintf("%d of %d Secrets are encrypted, want a share of %v", [input.object.secrets.encrypted, input.object.secrets.total, input.params.minRatio])
}

violations contains {"message": sprintf("%v Secrets are encrypted by %s, want %s", [n, name, concat(" or ", input.params.providers)]), "path": "secrets.providers"} if {
	count(input.params.providers) > 0
	some name, n in input.object.secrets.providers
	n > 0
	not name in input.params.providers
}
