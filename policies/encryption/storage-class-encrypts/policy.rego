package encryption.storage_class_encrypts

import rego.v1

violations contains {"message": sprintf("%s, want encryption at rest", [fault.message]), "path": fault.path} if {
	not input.object.provisioner in input.params.encryptedBelow
	some fault in faults
}

# An unknown provisioner is unknown: neither its name nor its parameters say what it does.
violations contains {"message": verdict.unknown(sprintf("whether %s encrypts is not known here: with evidence, name it in encryptedBelow", [input.object.provisioner])), "path": ""} if {
	not input.object.provisioner in input.params.encryptedBelow
	not input.object.provisioner in always
	not input.object.provisioner in never
	not input.object.provisioner in by_parameter
	not ceph
}

# Provisioners whose classes say nothing and need not: the cloud encrypts every disk.
always := {"pd.csi.storage.gke.io", "kubernetes.io/gce-pd", "disk.csi.azure.com", "kubernetes.io/azure-disk"}

# Provisioners that put files onto a node or a share as they are.
never := {
	"kubernetes.io/no-provisioner", "nfs.csi.k8s.io", "kubernetes.io/host-path", "hostpath.csi.k8s.io", "docker.io/hostpath",
	"k8s.io/minikube-hostpath", "microk8s.io/hostpath", "rancher.io/local-path", "k8s-sigs.io/nfs-subdir-external-provisioner",
	"cluster.local/nfs-subdir-external-provisioner", "cluster.local/nfs-client-provisioner",
}

by_parameter := {
	"ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs", "pxd.portworx.com", "kubernetes.io/portworx-volume",
	"driver.longhorn.io", "zfs.csi.openebs.io",
}

# Rook puts the operator's namespace before the name.
ceph if regex.match(`^([a-z0-9-]+\.)?(rbd|cephfs)\.csi\.ceph\.com$`, input.object.provisioner)

# Parameters left empty are null.
parameters := input.object.parameters if {
	is_object(input.object.parameters)
} else := {}

faults contains {"path": "provisioner", "message": sprintf("%s stores data as they are and no parameter makes it encrypt (where the disks below are encrypted, name it in the parameter encryptedBelow, with evidence)", [input.object.provisioner])} if {
	input.object.provisioner in never
}

# EBS reads the names of parameters in any case, and takes only the text true. A name that is there twice counts twice.
faults contains {"path": sprintf("parameters.%s", [key]), "message": sprintf("the class has EBS make volumes with %s %s", [key, value])} if {
	input.object.provisioner in {"ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs"}
	some key, value in parameters
	lower(key) == "encrypted"
	is_string(value)
	value != "true"
}

# YAML without quotes makes true a boolean, which is not the text that drivers and the API server want.
violations contains {"message": sprintf("parameters.%s holds %v without quotes, want the text %s", [key, value, texts[lower(key)]]), "path": sprintf("parameters.%s", [key])} if {
	not input.object.provisioner in input.params.encryptedBelow
	input.object.provisioner in by_parameter
	some key, value in parameters
	not is_string(value)
}

violations contains {"message": sprintf("parameters.encrypted holds %v without quotes, want the text \"true\"", [parameters.encrypted]), "path": "parameters.encrypted"} if {
	not input.object.provisioner in input.params.encryptedBelow
	ceph
	not is_string(parameters.encrypted)
}

texts := {"encrypted": `"true"`, "secure": `"true"`, "encryption": `of a cipher or "on"`, "keyformat": "of a format", "keylocation": "of a place"}

asks_not(value) if {
	is_string(value)
	value != "true"
}

faults contains {"path": "parameters.encrypted", "message": "the class does not ask EBS to encrypt"} if {
	input.object.provisioner in {"ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs"}
	count({key | some key, _ in parameters; lower(key) == "encrypted"}) == 0
}

faults contains {"path": "parameters.secure", "message": "the class does not ask Portworx to encrypt"} if {
	input.object.provisioner in {"pxd.portworx.com", "kubernetes.io/portworx-volume"}
	asks_not(object.get(parameters, "secure", ""))
}

faults contains {"path": "parameters.encrypted", "message": "the class does not ask Ceph to encrypt"} if {
	ceph
	asks_not(object.get(parameters, "encrypted", ""))
}

faults contains {"path": "parameters.encrypted", "message": "the class does not ask Longhorn to encrypt"} if {
	input.object.provisioner == "driver.longhorn.io"
	asks_not(object.get(parameters, "encrypted", ""))
}

faults contains {"path": "parameters", "message": "the class names no secret with Longhorn's key (neither csi.storage.k8s.io/node-stage-secret-name nor csi.storage.k8s.io/node-publish-secret-name)"} if {
	input.object.provisioner == "driver.longhorn.io"
	object.get(parameters, "csi.storage.k8s.io/node-stage-secret-name", "") == ""
	object.get(parameters, "csi.storage.k8s.io/node-publish-secret-name", "") == ""
}

faults contains {"path": sprintf("parameters.%s", [key]), "message": sprintf("the class gives ZFS no %s", [key])} if {
	input.object.provisioner == "zfs.csi.openebs.io"
	some key in ["encryption", "keyformat", "keylocation"]
	object.get(parameters, key, "") in {"", "off"}
}
