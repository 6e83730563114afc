package completeness.no_volume_skipped

import rego.v1

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

# The inspector names the volumes that the backup does not hold for certain; how many there are it says as well.
judged[i] := volume if {
	some i, volume in input.object.volumesNotHeld
	not exempt(volume)
}

exempt(volume) if {
	some pattern in input.params.exemptions
	regex.match(sprintf("^%s$", [replace(replace(pattern, ".", "[.]"), "*", "[^/]*")]), volume.pvc)
}

name(volume) := sprintf("claim %s", [volume.pvc]) if {
	object.get(volume, "pvc", "") != ""
} else := sprintf("volume %s", [volume.pv]) if {
	object.get(volume, "pv", "") != ""
} else := "a volume without a name"

failed contains {"message": m, "path": sprintf("volumesNotHeld[%d]", [i])} if {
	some i, volume in judged
	volume.state == "skipped"
	m := sprintf("the data of %s was left out%s", [name(volume), reason(volume)])
}

failed contains {"message": m, "path": sprintf("volumesNotHeld[%d]", [i])} if {
	some i, volume in judged
	volume.state == "failed"
	m := sprintf("the backup of %s failed%s", [name(volume), reason(volume)])
}

reason(volume) := sprintf(": %s", [volume.reason]) if {
	object.get(volume, "reason", "") != ""
} else := ""

unsure contains "the backup's list of volumes is not there or not whole" if not input.object.volumesKnown

unsure contains sprintf("whether the backup holds the data of %s is not known%s", [name(volume), reason(volume)]) if {
	some volume in judged
	not volume.state in {"skipped", "failed"}
}

unsure contains sprintf("of %d volumes that the backup may not hold %d are named", [input.object.volumesNotHeldCount, named]) if {
	input.object.volumesNotHeldCount != named
}

named := count(input.object.volumesNotHeld)

# Claims are counted in the tarball.
unsure contains "the backup was not read whole, so how many claims it holds is not known" if {
	object.get(input.object, ["tarball", "complete"], false) != true
}

unsure contains "how many claims the backup holds is not said" if not counted

counted if is_object(input.object.kinds)

unsure contains sprintf("the backup's list of volumes says nothing of claim %s", [claim]) if {
	some claim in input.object.claimsWithoutVolume
	not exempt({"pvc": claim})
}

# A claim in the tarball whose volume no list names was left out without a word, or had no volume.
unsure contains sprintf("the backup holds %d claims, and its list of volumes %d of them", [claims, input.object.claimsListed]) if {
	claims > input.object.claimsListed
}

claims := max([n | some kind in ["v1/PersistentVolumeClaim", "/v1/PersistentVolumeClaim"]; n := input.object.kinds[kind]])
