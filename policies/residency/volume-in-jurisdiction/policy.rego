package residency.volume_in_jurisdiction

import rego.v1

# The claim's label goes before the namespace's. Without either the organisation's own jurisdictions hold.
wanted := [label] if {
	label := input.facts.claim.metadata.labels[input.params.jurisdictionLabel]
} else := [label] if {
	label := input.facts.namespace.metadata.labels[input.params.jurisdictionLabel]
} else := input.params.jurisdictions if {
	input.facts.namespace != null
}

violations contains {"message": verdict.unknown("neither the claim nor its namespace is there, so the jurisdiction is not known"), "path": ""} if not wanted

# A term is a place as far as it names one: an In over zones or regions. Terms are alternatives, the expressions of a term
# hold together, so one expression inside the jurisdiction is enough for its term.
stated contains {"term": i, "path": sprintf("spec.nodeAffinity.required.nodeSelectorTerms[%d].matchExpressions[%d]", [i, j]), "provider": provider, "values": values} if {
	some i, term in input.object.spec.nodeAffinity.required.nodeSelectorTerms
	some j, e in term.matchExpressions
	e.operator == "In"
	provider := providers[e.key]
	values := [value | some value in e.values]
	count(values) > 0
}

providers := {
	"topology.kubernetes.io/zone": driver, "topology.kubernetes.io/region": driver,
	"failure-domain.beta.kubernetes.io/zone": driver, "failure-domain.beta.kubernetes.io/region": driver,
	"topology.ebs.csi.aws.com/zone": "aws", "topology.gke.io/zone": "gcp", "topology.disk.csi.azure.com/zone": "azure",
}

driver := object.get(
	{"ebs.csi.aws.com": "aws", "efs.csi.aws.com": "aws", "pd.csi.storage.gke.io": "gcp", "disk.csi.azure.com": "azure"},
	object.get(input.object, ["spec", "csi", "driver"], ""), "",
)

inside contains place.term if {
	some place in stated
	every value in place.values { region.within(place.provider, value, wanted) }
}

outside contains {"message": m, "path": sprintf("%s.values[%d]", [place.path, k])} if {
	some place in stated
	not place.term in inside
	some k, value in place.values
	not region.within(place.provider, value, wanted)
	m := sprintf("the volume of %s/%s lies in %s, want %s", [input.object.spec.claimRef.namespace, input.object.spec.claimRef.name, value, concat(", ", wanted)])
}

violations contains v if some v in outside

# What names no place may lie anywhere.
violations contains {"message": verdict.unknown("the volume's node affinity does not name a region or zone in each of its terms, so where it lies is not known"), "path": ""} if {
	count(outside) == 0
	nowhere
}

nowhere if {
	some i, _ in input.object.spec.nodeAffinity.required.nodeSelectorTerms
	not i in {place.term | some place in stated}
}

nowhere if count(stated) == 0
