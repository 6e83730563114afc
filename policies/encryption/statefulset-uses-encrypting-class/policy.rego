package encryption.statefulset_uses_encrypting_class

import rego.v1

templates := input.object.spec.volumeClaimTemplates

name(template) := object.get(template, ["metadata", "name"], "without a name")

# Whose labels say what the claims hold: the namespace's, the template's, and the selector's, which the controller puts onto
# every claim. No label takes another one back.
owners(template) := [template, input.facts.namespace, {"metadata": {"labels": object.get(input.object, ["spec", "selector", "matchLabels"], {})}}]

protected[i] contains class if {
	some i, template in templates
	some owner in owners(template)
	label := owner.metadata.labels[input.params.dataClassLabel]
	is_string(label)
	class := lower(label)
	class in {lower(name) | some name in input.params.classes}
}

# The class a template names, or the default. Where several are the default, the newest is taken when the claim is made.
candidates[i] contains class if {
	some i, template in templates
	some class in input.facts.classes
	class.metadata.name == template.spec.storageClassName
}

candidates[i] contains class if {
	some i, template in templates
	object.get(template, ["spec", "storageClassName"], null) == null
	some class in input.facts.classes
	some key in ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
	class.metadata.annotations[key] == "true"
}

violations contains v if some v in unencrypted

unencrypted contains {"message": m, "path": sprintf("spec.volumeClaimTemplates[%d].spec.storageClassName", [i])} if {
	some i, template in templates
	some held in protected[i]
	every class in candidates[i] { plain(class, template) }
	some class in candidates[i]
	m := sprintf("%s data of the claims %s would lie on storage class %s (%s), which does not encrypt, want one that does", [held, name(template), class.metadata.name, class.provisioner])
}

plain(class, template) if {
	not class.provisioner in input.params.encryptedBelow
	class.provisioner in known
	not encrypts(class, template)
}

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(unencrypted) == 0
	some reason in unsure
}

# A label that cannot be read is not one that is absent, and a class nobody knows may be a protected one.
unsure contains "the namespace is not there, so the data's class is not known" if input.facts.namespace == null

unsure contains "metadata.labels of the namespace is no map" if {
	labels := input.facts.namespace.metadata.labels
	labels != null
	not is_object(labels)
}

unsure contains reason if {
	some template in templates
	some owner in owners(template)
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

unsure contains sprintf("the storage class of the claims %s, by name or by default, is not there, so what encrypts them is not known", [name(template)]) if {
	some i, template in templates
	protected[i]
	not candidates[i]
}

unsure contains sprintf("whether %s encrypts is not known here: with evidence, name it in encryptedBelow", [object.get(class, "provisioner", "a class without provisioner")]) if {
	some i, _ in protected
	some class in candidates[i]
	not object.get(class, "provisioner", "") in known
	not object.get(class, "provisioner", "") in input.params.encryptedBelow
}

unsure contains sprintf("the claims %s name no storage class, and of several defaults not all encrypt (%s)", [name(template), class.metadata.name]) if {
	some i, template in templates
	protected[i]
	some class in candidates[i]
	plain(class, template)
}

# The annotation of old comes before the field.
unsure contains sprintf("annotation volume.beta.kubernetes.io/storage-class of the claims %s says %s and spec.storageClassName does not, so their class is not known", [name(template), class]) if {
	some i, template in templates
	protected[i]
	class := template.metadata.annotations["volume.beta.kubernetes.io/storage-class"]
	class != object.get(template, ["spec", "storageClassName"], "")
}

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
ceph contains class.provisioner if {
	some class in input.facts.classes
	regex.match(`^([a-z0-9-]+\.)?(rbd|cephfs)\.csi\.ceph\.com$`, class.provisioner)
}

known := ((((always | never) | ebs) | portworx) | ceph) | {"driver.longhorn.io", "zfs.csi.openebs.io"}

encrypts(class, _) if class.provisioner in always

# EBS reads the names of parameters in any case, and takes only the text true.
encrypts(class, _) if {
	class.provisioner in ebs
	{value | some key, value in class.parameters; lower(key) == "encrypted"} == {"true"}
}

encrypts(class, template) if {
	class.provisioner in portworx
	"true" in {object.get(class, ["parameters", "secure"], ""), object.get(template, ["metadata", "annotations", "px/secure"], "")}
}

encrypts(class, _) if {
	class.provisioner in ceph
	class.parameters.encrypted == "true"
}

encrypts(class, _) if {
	class.provisioner == "driver.longhorn.io"
	class.parameters.encrypted == "true"
	some use in ["stage", "publish"]
	class.parameters[sprintf("csi.storage.k8s.io/node-%s-secret-name", [use])] != ""
}

encrypts(class, _) if {
	class.provisioner == "zfs.csi.openebs.io"
	every key in ["encryption", "keyformat", "keylocation"] {
		is_string(class.parameters[key])
		not class.parameters[key] in {"", "off"}
	}
}
