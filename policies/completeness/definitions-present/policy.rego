package completeness.definitions_present

import rego.v1

violations contains v if some v in failed

# What an unread part of the tarball may hold is not absent.
violations contains {"message": verdict.unknown("the backup was not read whole, so what is absent from it is not known"), "path": ""} if not input.object.complete

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

needed[i] := definition if {
	some i, definition in input.object.definitions
	not provided(definition)
}

provided(definition) if definition.group in input.params.providedGroups

failed contains {"message": m, "path": sprintf("definitions[%d]", [i])} if {
	input.object.complete
	some i, definition in needed
	definition.present == false
	m := sprintf("%s of %s have no definition in the backup, want %s", [counted(definition), kind(definition), crd(definition)])
}

failed contains {"message": m, "path": sprintf("definitions[%d]", [i])} if {
	input.object.complete
	some i, definition in needed
	definition.present == true
	some version in definition.versions
	is_array(definition.served)
	not version in definition.served
	m := sprintf("%s of %s are of version %s, and its definition in the backup serves %s", [counted(definition), kind(definition), version, served(definition)])
}

failed contains {"message": m, "path": sprintf("definitions[%d]", [i])} if {
	input.object.complete
	some i, definition in needed
	definition.present == true
	not is_array(definition.served)
	definition.problem != ""
	m := sprintf("%s of %s: %s", [counted(definition), kind(definition), definition.problem])
}

served(definition) := concat(", ", definition.served) if {
	count(definition.served) > 0
} else := "none"

counted(definition) := "1 object" if {
	definition.count == 1
} else := sprintf("%d objects", [definition.count]) if {
	definition.count
} else := "objects"

kind(definition) := concat(".", [object.get(definition, "kind", "?"), object.get(definition, "group", "?")])

crd(definition) := definition.crd if {
	definition.crd != ""
} else := "its CustomResourceDefinition"

unsure contains sprintf("whether the definition of %s is in the backup is not said", [kind(definition)]) if {
	some definition in needed
	not is_boolean(object.get(definition, "present", null))
}

unsure contains sprintf("which versions the definition of %s serves, or which are used, is not said", [kind(definition)]) if {
	some definition in needed
	definition.present == true
	not told(definition)
}

told(definition) if {
	some _ in definition.served
	some _ in definition.versions
}
