package completeness.references_present

import rego.v1

violations contains v if some v in failed

# What an unread part of the tarball may hold is not absent.
violations contains {"message": verdict.unknown("the backup was not read whole, so what is absent from it is not known"), "path": ""} if not input.object.complete

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

# Definitions are for definitions-present.
needed[i] := gap if {
	some i, gap in input.object.missing
	object.get(gap, "optional", null) != true
	object.get(gap, "kind", "") != "CustomResourceDefinition"
	not provided(gap)
}

provided(gap) if {
	some pattern in input.params.externalDeps
	regex.match(sprintf("^%s$", [replace(replace(pattern, ".", "[.]"), "*", "[^/ ]*")]), named(gap))
}

named(gap) := sprintf("%s %s/%s", [gap.kind, gap.namespace, gap.name]) if {
	object.get(gap, "namespace", "") != ""
} else := sprintf("%s %s", [gap.kind, gap.name])

failed contains {"message": m, "path": sprintf("missing[%d]", [i])} if {
	input.object.complete
	some i, gap in needed
	m := sprintf("%s is not in the backup%s%s%s", [named(gap), users(gap), guessed(gap), outside(gap)])
}

users(gap) := sprintf(", and %s needs it (%s)", [first(gap), object.get(gap, "relation", "reference")]) if {
	object.get(gap, "count", 1) <= 1
	first(gap)
} else := sprintf(", and %s and %d more need it (%s)", [first(gap), gap.count - 1, object.get(gap, "relation", "reference")]) if {
	first(gap)
} else := ""

first(gap) := [by | some by in gap.by][0]

guessed(gap) := "; the reference follows from a convention, and is not written anywhere" if {
	gap.convention == true
} else := ""

outside(gap) := "; it may come from outside the backup: name it in the policy's parameter externalDeps in proviso.yaml if it does" if {
	gap.external == true
} else := ""

unsure contains "something is missing whose kind or name is not said" if {
	some gap in input.object.missing
	object.get(gap, "optional", null) != true
	not named(gap)
}
