package residency.claim_in_jurisdiction

import rego.v1

# The namespace's jurisdiction holds, or the organisation's own where it names none. A claim's label narrows that and takes
# nothing back.
wanted contains [label] if {
	some owner in [input.object, input.facts.namespace]
	label := owner.metadata.labels[input.params.jurisdictionLabel]
	names(label)
}

wanted contains input.params.jurisdictions if {
	input.facts.namespace != null
	not input.params.jurisdictionLabel in {key | some key, _ in input.facts.namespace.metadata.labels}
}

names(value) if {
	is_string(value)
	trim_space(value) != ""
}

# A term is a place as far as it names one. Terms are alternatives, so each must lie inside; the expressions of a term hold
# together, so one inside is enough for it.
places[i] contains {"provider": provider, "values": [value | some value in e.values]} if {
	some i, term in terms
	some e in term.matchLabelExpressions
	provider := providers[e.key]
	is_array(e.values)
	count(e.values) > 0
}

terms := input.facts.class.allowedTopologies if {
	is_array(input.facts.class.allowedTopologies)
} else := []

providers := {
	"topology.kubernetes.io/zone": driver, "topology.kubernetes.io/region": driver,
	"failure-domain.beta.kubernetes.io/zone": driver, "failure-domain.beta.kubernetes.io/region": driver,
	"topology.ebs.csi.aws.com/zone": "aws", "topology.k8s.aws/zone-id": "aws", "topology.gke.io/zone": "gcp", "topology.disk.csi.azure.com/zone": "azure",
}

driver := clouds[input.facts.class.provisioner] if {
	clouds[input.facts.class.provisioner]
} else := ""

clouds := {
	"ebs.csi.aws.com": "aws", "efs.csi.aws.com": "aws", "kubernetes.io/aws-ebs": "aws", "pd.csi.storage.gke.io": "gcp",
	"kubernetes.io/gce-pd": "gcp", "disk.csi.azure.com": "azure", "kubernetes.io/azure-disk": "azure",
}

inside contains {"term": i, "want": want} if {
	some i, its in places
	some place in its
	some want in wanted
	every value in place.values {
		region.known(place.provider, value)
		region.within(place.provider, value, want)
	}
}

outside contains {"message": m, "path": "spec.storageClassName"} if {
	some i, its in places
	some want in wanted
	not {"term": i, "want": want} in inside
	some place in its
	some value in place.values
	region.known(place.provider, value)
	not region.within(place.provider, value, want)
	m := sprintf("storage class %s may put the volume into %s, want %s", [input.object.spec.storageClassName, value, concat(", ", want)])
}

outside contains {"message": m, "path": "spec.storageClassName"} if {
	input.params.requireTopology
	input.facts.class != null
	count(terms) == 0
	some want in wanted
	m := sprintf("storage class %s states no place, want one whose allowedTopologies lie in %s", [input.object.spec.storageClassName, concat(", ", want)])
}

violations contains v if some v in outside

# What keeps the place or the jurisdiction from being known. A class outside one that is known fails all the same.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(outside) == 0
	some reason in unread
}

unread contains "the namespace is not there, so the jurisdiction is not known" if input.facts.namespace == null

unread contains "metadata.labels of the namespace is no map" if {
	labels := input.facts.namespace.metadata.labels
	not type_name(labels) in {"object", "null"}
}

unread contains sprintf("label %s is not text, or blank, and names no jurisdiction", [input.params.jurisdictionLabel]) if {
	some owner in [input.object, input.facts.namespace]
	value := owner.metadata.labels[input.params.jurisdictionLabel]
	not names(value)
}

unread contains sprintf("storage class %s is not there, so where it puts volumes is not known", [input.object.spec.storageClassName]) if {
	input.facts.class == null
	not input.object.spec.storageClassName in {"", null}
}

# An empty name asks for a volume that is there, and that is judged. No name is the default class.
unread contains "the claim names no storage class, so where the default one puts the volume is not known" if {
	object.get(input.object, ["spec", "storageClassName"], null) == null
}

# The annotation of old comes before the field.
unread contains sprintf("annotation volume.beta.kubernetes.io/storage-class says %s and spec.storageClassName does not, so the claim's class is not known", [class]) if {
	class := input.object.metadata.annotations["volume.beta.kubernetes.io/storage-class"]
	class != object.get(input.object, ["spec", "storageClassName"], "")
}

unread contains "allowedTopologies of the storage class is no list" if {
	topologies := input.facts.class.allowedTopologies
	not type_name(topologies) in {"array", "null"}
}

unread contains sprintf("allowedTopologies[%d] of storage class %s names no region or zone that is known here to lie in %s (declare your own under regions: in proviso.yaml)", [i, input.object.spec.storageClassName, concat(", ", want)]) if {
	some i, _ in terms
	some want in wanted
	not {"term": i, "want": want} in inside
}
