package encryption.claim_uses_encrypting_class

import rego.v1

# The claim's own class and its namespace's both count: no label takes another one back.
protected contains class if {
	some owner in [input.object, input.facts.namespace]
	label := owner.metadata.labels[input.params.dataClassLabel]
	is_string(label)
	class := lower(label)
	class in {lower(name) | some name in input.params.classes}
}

# A label that cannot be read is not one that is absent, and a class nobody knows may be a protected one.
violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(unencrypted) == 0
	some reason in unread
}

unread contains "metadata.labels of the claim or its namespace is no map" if {
	some owner in [input.object, input.facts.namespace]
	not type_name(owner.metadata.labels) in {"object", "null"}
}

unread contains reason if {
	some owner in [input.object, input.facts.namespace]
	is_object(owner.metadata.labels)
	some key, value in owner.metadata.labels
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

violations contains v if some v in unencrypted

unencrypted contains {"message": m, "path": "spec.storageClassName"} if {
	some class in protected
	not provisioner in input.params.encryptedBelow
	not encrypts
	provisioner in known
	m := sprintf("%s data would lie on storage class %s (%s), which does not encrypt, want one that does", [class, input.facts.class.metadata.name, provisioner])
}

violations contains {"message": verdict.unknown("the claim names no storage class that is there, so what encrypts it is not known"), "path": ""} if {
	some _ in protected
	not provisioner
}

violations contains {"message": verdict.unknown(sprintf("whether %s encrypts is not known here: with evidence, name it in encryptedBelow", [provisioner])), "path": ""} if {
	some _ in protected
	not provisioner in input.params.encryptedBelow
	not provisioner in known
}

# The annotation of old comes before the field.
violations contains {"message": verdict.unknown(sprintf("annotation volume.beta.kubernetes.io/storage-class says %s and spec.storageClassName does not, so the claim's class is not known", [class])), "path": ""} if {
	some _ in protected
	class := input.object.metadata.annotations["volume.beta.kubernetes.io/storage-class"]
	class != object.get(input.object, ["spec", "storageClassName"], "")
}

violations contains {"message": verdict.unknown("the namespace is not there, so the data's class is not known"), "path": ""} if {
	input.facts.namespace == null
}

provisioner := input.facts.class.provisioner

# Parameters left empty are null.
parameters := input.facts.class.parameters if {
	is_object(input.facts.class.parameters)
} else := {}

# Provisioners whose classes say nothing and need not: the cloud encrypts every disk.
always := {"pd.csi.storage.gke.io", "kubernetes.io/gce-pd", "disk.csi.azure.com", "kubernetes.io/azure-disk"}

# Provisioners that put files onto a node or a share as they are.
never := {
	"kubernetes.io/no-provisioner", "nfs.csi.k8s.io", "kubernetes.io/host-path", "hostpath.csi.k8s.io", "docker.io/hostpath",
	"k8s.io/minikube-hostpath", "microk8s.io/hostpath", "rancher.io/local-path", "k8s-sigs.io/nfs-subdir-external-provisioner",
	"cluster.local/nfs-subdir-external-provisioner", "cluster.local/nfs-client-provisioner",
}

ebs := {"ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs"}

portworx := {"pxd.portworx.com", "kubernetes.io/portworx-volume"}

# Rook puts the operator's namespace before the name.
ceph := {provisioner | regex.match(`^([a-z0-9-]+\.)?(rbd|cephfs)\.csi\.ceph\.com$`, provisioner)}

known := ((((always | never) | ebs) | portworx) | ceph) | {"driver.longhorn.io", "zfs.csi.openebs.io"}

encrypts if provisioner in always

# EBS reads the names of parameters in any case, and takes only the text true.
encrypts if {
	provisioner in ebs
	{value | some key, value in parameters; lower(key) == "encrypted"} == {"true"}
}

encrypts if {
	provisioner in portworx
	"true" in {object.get(parameters, "secure", ""), object.get(input.object, ["metadata", "annotations", "px/secure"], "")}
}

encrypts if {
	provisioner in ceph
	parameters.encrypted == "true"
}

encrypts if {
	provisioner == "driver.longhorn.io"
	parameters.encrypted == "true"
	some use in ["stage", "publish"]
	parameters[sprintf("csi.storage.k8s.io/node-%s-secret-name", [use])] != ""
}

encrypts if {
	provisioner == "zfs.csi.openebs.io"
	every key in ["encryption", "keyformat", "keylocation"] {
		is_string(parameters[key])
		not parameters[key] in {"", "off"}
	}
}
