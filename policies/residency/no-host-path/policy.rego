package residency.no_host_path

import rego.v1

# The volumes on a node's disk: of a pod, of a workload's pods, of a CronJob's pods, and one that is an object itself.
mounts contains {"path": sprintf("spec.volumes[%d].hostPath", [i]), "volume": object.get(volume, "name", ""), "folder": object.get(volume.hostPath, "path", "")} if {
	some i, volume in input.object.spec.volumes
	is_object(volume.hostPath)
}

mounts contains {"path": sprintf("spec.template.spec.volumes[%d].hostPath", [i]), "volume": object.get(volume, "name", ""), "folder": object.get(volume.hostPath, "path", "")} if {
	some i, volume in input.object.spec.template.spec.volumes
	is_object(volume.hostPath)
}

mounts contains {"path": sprintf("spec.jobTemplate.spec.template.spec.volumes[%d].hostPath", [i]), "volume": object.get(volume, "name", ""), "folder": object.get(volume.hostPath, "path", "")} if {
	some i, volume in input.object.spec.jobTemplate.spec.template.spec.volumes
	is_object(volume.hostPath)
}

mounts contains {"path": "spec.hostPath", "volume": input.object.metadata.name, "folder": object.get(input.object.spec.hostPath, "path", "")} if {
	is_object(input.object.spec.hostPath)
}

mounts contains {"path": "spec.local", "volume": input.object.metadata.name, "folder": object.get(input.object.spec.local, "path", "")} if {
	is_object(input.object.spec.local)
}

namespace := input.facts.claimNamespace if {
	input.object.kind == "PersistentVolume"
} else := input.facts.namespace

# Whose labels count: the object's, those of what it makes, and the namespace's. No label takes another one back.
labels contains l if some l in [
	object.get(input.object, ["metadata", "labels"], null),
	object.get(input.object, ["spec", "template", "metadata", "labels"], null),
	object.get(input.object, ["spec", "jobTemplate", "metadata", "labels"], null),
	object.get(input.object, ["spec", "jobTemplate", "spec", "template", "metadata", "labels"], null),
]

labels contains namespace.metadata.labels

protected contains class if {
	some l in labels
	value := l[input.params.dataClassLabel]
	is_string(value)
	class := lower(value)
	class in {lower(name) | some name in input.params.classes}
}

violations contains {"message": m, "path": mount.path} if {
	some mount in mounts
	some class in protected
	m := sprintf("volume %s puts %s data into %s on the disk of a node, want a claim", [mount.volume, class, mount.folder])
}

# A label that cannot be read is not one that is absent, and a class nobody knows may be a protected one.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(protected) == 0
	some reason in unread
}

unread contains "the namespace is not there, so the data's class is not known" if namespace == null

unread contains "metadata.labels of the namespace is no map" if {
	some l in labels
	not type_name(l) in {"object", "null"}
}

unread contains reason if {
	some l in labels
	some key, value in l
	reason := misread(key, value)
}

misread(key, value) := sprintf("label %s differs only in case from %s", [key, input.params.dataClassLabel]) if {
	key != input.params.dataClassLabel
	lower(key) == lower(input.params.dataClassLabel)
} else := sprintf("label %s is not text", [key]) if {
	key == input.params.dataClassLabel
	not is_string(value)
} else := sprintf("data-class %q is not one of %s", [value, concat(", ", classes)]) if {
	key == input.params.dataClassLabel
	not lower(value) in classes
}

classes := {lower(class) | some class in array.concat(input.params.knownClasses, input.params.classes)}
