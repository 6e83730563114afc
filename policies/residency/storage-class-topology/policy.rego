package residency.storage_class_topology

import rego.v1

label := input.object.metadata.labels[input.params.jurisdictionLabel]

wanted := [label] if {
	label
} else := input.params.jurisdictions

named if trim_space(label) != ""

violations contains {"message": verdict.unknown(sprintf("label %s is blank, and names no jurisdiction", [input.params.jurisdictionLabel])), "path": ""} if {
	label
	not named
}

terms := input.object.allowedTopologies if {
	is_array(input.object.allowedTopologies)
} else := []

violations contains {"message": m, "path": "allowedTopologies"} if {
	count(terms) == 0
	m := sprintf("the class states no place, so its volumes lie wherever their pods run, want allowedTopologies in %s", [concat(", ", wanted)])
}

# A term is a place as far as it names one. Terms are alternatives, so each must lie inside; the expressions of a term hold
# together, so one inside is enough for it.
places[i] contains {"path": sprintf("allowedTopologies[%d].matchLabelExpressions[%d].values", [i, j]), "provider": provider, "values": e.values} if {
	some i, term in terms
	some j, e in term.matchLabelExpressions
	provider := providers[e.key]
	count(e.values) > 0
}

providers := {
	"topology.kubernetes.io/zone": driver, "topology.kubernetes.io/region": driver,
	"failure-domain.beta.kubernetes.io/zone": driver, "failure-domain.beta.kubernetes.io/region": driver,
	"topology.ebs.csi.aws.com/zone": "aws", "topology.k8s.aws/zone-id": "aws", "topology.gke.io/zone": "gcp", "topology.disk.csi.azure.com/zone": "azure",
}

driver := object.get(
	{
		"ebs.csi.aws.com": "aws", "efs.csi.aws.com": "aws", "kubernetes.io/aws-ebs": "aws", "pd.csi.storage.gke.io": "gcp",
		"kubernetes.io/gce-pd": "gcp", "disk.csi.azure.com": "azure", "kubernetes.io/azure-disk": "azure",
	},
	object.get(input.object, "provisioner", ""), "",
)

inside contains i if {
	some i, its in places
	some place in its
	every value in place.values {
		region.known(place.provider, value)
		region.within(place.provider, value, wanted)
	}
}

outside contains {"message": m, "path": sprintf("%s[%d]", [place.path, k])} if {
	some i, its in places
	not i in inside
	some place in its
	some k, value in place.values
	region.known(place.provider, value)
	not region.within(place.provider, value, wanted)
	m := sprintf("volumes of the class may lie in %s, want %s", [value, concat(", ", wanted)])
}

violations contains v if some v in outside

violations contains {"message": verdict.unknown(sprintf("allowedTopologies[%d] names no region or zone that is known here to lie in %s (declare your own under regions: in proviso.yaml)", [i, concat(", ", wanted)])), "path": ""} if {
	count(outside) == 0
	some i, _ in terms
	not i in inside
}
