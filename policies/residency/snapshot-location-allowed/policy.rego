package residency.snapshot_location_allowed

import rego.v1

provider := input.object.spec.provider if {
	input.object.kind == "VolumeSnapshotLocation"
} else := input.object.driver

cloud := "aws" if provider in {"aws", "velero.io/aws", "ebs.csi.aws.com"}

cloud := "gcp" if provider in {"gcp", "velero.io/gcp", "pd.csi.storage.gke.io"}

cloud := "azure" if provider in {"azure", "velero.io/azure", "disk.csi.azure.com"}

class if input.object.kind == "VolumeSnapshotClass"

# Every place that is stated. The storage-locations of Google's driver are a list with commas; EBS names zones and an outpost
# beside the region of the volume, and reads its parameters in any case.
stated contains {"place": input.object.spec.config.region, "path": "spec.config.region"} if cloud == "aws"

stated contains {"place": input.object.spec.config.snapshotLocation, "path": "spec.config.snapshotLocation"} if cloud == "gcp"

stated contains {"place": trim_space(place), "path": "parameters[\"storage-locations\"]"} if {
	class
	cloud == "gcp"
	some place in split(input.object.parameters["storage-locations"], ",")
}

stated contains {"place": input.object.parameters[key], "path": sprintf("parameters.%s", [key])} if {
	class
	cloud == "azure"
	some key, _ in input.object.parameters
	lower(key) == "location"
}

stated contains {"place": trim_space(place), "path": sprintf("parameters.%s", [key])} if {
	class
	cloud == "aws"
	some key, value in input.object.parameters
	lower(key) in {"outpostarn", "fastsnapshotrestoreavailabilityzones"}
	some place in split(value, ",")
}

stated contains {"place": label, "path": sprintf("metadata.labels[\"%s\"]", [input.params.regionLabel])} if {
	cloud in labelled
	label := input.object.metadata.labels[input.params.regionLabel]
}

# Azure's plugin and EBS classes have no key for a region, so the owner states it in a label.
labelled := {"aws"} if {
	class
} else := {"azure"}

faults contains {"message": m, "path": s.path} if {
	some s in stated
	s.place != ""
	not region.within(cloud, s.place, input.params.jurisdictions)
	there := region.locate(cloud, s.place)
	m := sprintf("snapshots are kept in %s, which lies in %s, want %s", [s.place, concat(", ", array.concat(there.countries, there.areas)), concat(", ", input.params.jurisdictions)])
}

faults contains {"message": sprintf("where snapshots are kept is not written down, want %s", [keys[provider].text]), "path": keys[provider].path} if {
	not placed
}

placed if {
	some s in stated
	s.place != ""
}

# Providers whose default may be anywhere, or another place than it seems.
keys := {
	"aws": {"text": "config.region", "path": "spec.config.region"},
	"velero.io/aws": {"text": "config.region", "path": "spec.config.region"},
	"gcp": {"text": "config.snapshotLocation (without one Google picks a multi-region)", "path": "spec.config.snapshotLocation"},
	"velero.io/gcp": {"text": "config.snapshotLocation (without one Google picks a multi-region)", "path": "spec.config.snapshotLocation"},
	"pd.csi.storage.gke.io": {"text": "the parameter storage-locations (without one Google picks a multi-region)", "path": "parameters[\"storage-locations\"]"},
	"disk.csi.azure.com": {"text": "the parameter location", "path": "parameters.location"},
}

groups contains {"name": input.object.spec.config.resourceGroup, "path": "spec.config.resourceGroup"} if cloud == "azure"

groups contains {"name": value, "path": sprintf("parameters.%s", [key])} if {
	class
	cloud == "azure"
	some key, value in input.object.parameters
	lower(key) == "resourcegroup"
}

faults contains {"message": sprintf("snapshots go into the resource group %s, want %s", [group.name, concat(" or ", input.params.resourceGroups)]), "path": group.path} if {
	count(input.params.resourceGroups) > 0
	some group in groups
	not lower(group.name) in {lower(name) | some name in input.params.resourceGroups}
}

violations contains v if some v in faults

violations contains {"message": verdict.unknown(sprintf("where the snapshots of %s are kept is not stated: write the label %s", [provider, input.params.regionLabel])), "path": ""} if {
	count(faults) == 0
	not placed
}

violations contains {"message": verdict.unknown("where snapshots are kept is not known here for this provider or driver"), "path": ""} if not cloud
