package residency.volume_in_jurisdiction

import rego.v1

# The namespace's jurisdiction holds, or the organisation's own where it names none. A claim's label narrows that and takes
# nothing back.
wanted contains [label] if {
	some owner in [input.facts.claim, input.facts.namespace]
	label := owner.metadata.labels[input.params.jurisdictionLabel]
	names(label)
}

wanted contains input.params.jurisdictions if {
	input.facts.namespace != null
	not input.params.jurisdictionLabel in {key | some key, _ in input.facts.namespace.metadata.labels}
}

# What keeps the jurisdiction from being known. A volume outside one that is known fails all the same.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(outside) == 0
	some reason in unread
}

unread contains sprintf("the %s is not there, so the jurisdiction is not known", [what]) if {
	some what, owner in {"claim": input.facts.claim, "namespace": input.facts.namespace}
	owner == null
}

unread contains "metadata.labels of the claim or the namespace is no map" if {
	some owner in [input.facts.claim, input.facts.namespace]
	owner.metadata.labels != null
	not is_object(owner.metadata.labels)
}

unread contains m if {
	some owner in [input.facts.claim, input.facts.namespace]
	is_object(owner.metadata.labels)
	some key, value in owner.metadata.labels
	m := misread(key, value)
}

misread(key, value) := sprintf("label %s differs only in case from %s", [key, input.params.jurisdictionLabel]) if {
	key != input.params.jurisdictionLabel
	lower(key) == lower(input.params.jurisdictionLabel)
} else := sprintf("label %s is not text, or blank, and names no jurisdiction", [key]) if {
	key == input.params.jurisdictionLabel
	not names(value)
}

names(value) if {
	is_string(value)
	trim_space(value) != ""
}

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

inside contains sprintf("%d in %s", [place.term, concat(", ", want)]) if {
	some place in stated
	some want in wanted
	every value in place.values { region.within(place.provider, value, want) }
}

outside contains {"message": m, "path": sprintf("%s.values[%d]", [place.path, k])} if {
	some place in stated
	some want in wanted
	not sprintf("%d in %s", [place.term, concat(", ", want)]) in inside
	some k, value in place.values
	not region.within(place.provider, value, want)
	m := sprintf("the volume of %s/%s lies in %s, want %s", [input.object.spec.claimRef.namespace, input.object.spec.claimRef.name, value, concat(", ", want)])
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
