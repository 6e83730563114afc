package recoverability.three_two_one_one_zero

import rego.v1

copies := input.object.copies

# The live data is a copy, whether or not it is listed.
total := count(copies) if {
	"cluster" in media
} else := count(copies) + 1

media contains copy.medium if some copy in copies

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

failed contains {"message": m, "path": "copies"} if {
	whole
	total < input.params.minCopies
	m := sprintf("3: there are %d copies with the live data, want %d", [total, input.params.minCopies])
}

failed contains {"message": m, "path": "copies"} if {
	is_array(copies)
	whole
	kinds < input.params.minMedia
	count(without("medium")) == 0
	m := sprintf("2: copies lie on %d kinds of media (%s), want %d", [kinds, concat(", ", media | {"cluster"}), input.params.minMedia])
}

# Where there may be more copies, what is short may not be.
whole if object.get(input.object, "copiesWhole", true) == true

unsure contains sprintf("3, 2, 1: whether there are more copies than %d is not known%s", [total, whys]) if {
	not whole
	short
}

short if total < input.params.minCopies

short if kinds < input.params.minMedia

short if {
	some rule in rules
	count(with_true(rule.field)) + count(without(rule.field)) < rule.least
}

kinds := count(media | {"cluster"})

failed contains {"message": m, "path": "copies"} if {
	is_array(copies)
	whole
	some rule in rules
	count(with_true(rule.field)) + count(without(rule.field)) < rule.least
	m := sprintf("1: %d copies are %s, want %d", [count(with_true(rule.field)), rule.said, rule.least])
}

rules := [
	{"field": "offsite", "said": "off the site", "least": input.params.minOffsite},
	{"field": "immutable", "said": "immutable", "least": input.params.minImmutable},
]

marked.offsite contains i if {
	some i, copy in copies
	copy.offsite == true
}

marked.immutable contains i if {
	some i, copy in copies
	copy.immutable == true
}

marked.verified contains i if {
	some i, copy in copies
	copy.verified == true
}

# Copies that do not say it. The live data is neither off the site nor immutable.
silent.offsite contains i if {
	some i, copy in copies
	object.get(copy, "offsite", null) == null
	not live(copy)
}

silent.immutable contains i if {
	some i, copy in copies
	object.get(copy, "immutable", null) == null
	not live(copy)
}

silent.verified contains i if {
	some i, copy in copies
	object.get(copy, "verified", null) == null
	not live(copy)
}

silent.medium contains i if {
	some i, copy in copies
	object.get(copy, "medium", "") in {"", null}
}

live(copy) if copy.medium == "cluster"

with_true(field) := object.get(marked, field, set())

without(field) := object.get(silent, field, set())

failed contains {"message": m, "path": sprintf("copies[%d].verified", [i])} if {
	input.params.requireVerified
	some i, copy in copies
	copy.verified == false
	m := sprintf("0: the copy%s was verified and has errors, want none", [named(copy)])
}

named(copy) := sprintf(" in %s", [copy.location]) if {
	copy.location != ""
} else := ""

failed contains {"message": "0: no copy was ever verified or restored in a drill", "path": "copies"} if {
	input.params.requireVerified
	never
}

proved if some _ in with_true("verified")

proved if is_string(input.object.drill.completed)

# Where the list of what is not known is there and does not speak of drills, there was none.
never if {
	is_array(copies)
	not proved
	not input.object.drill
	whole
	is_array(input.object.unknown)
	not veiled
	count(without("verified")) == 0
}

# Without any of these no drill can be seen.
veiled if {
	some u in input.object.unknown
	not u.what in {"domains", "covered", "schedules", "longestGapSeconds"}
}

unsure contains sprintf("which copies there are is not known%s", [whys]) if not listed

# Written out: a negated call on what is undefined is undefined, too.
listed if is_array(copies)

unsure contains "2: the media of some copies are not known" if {
	kinds < input.params.minMedia
	some _ in without("medium")
}

unsure contains m if {
	some rule in rules
	count(with_true(rule.field)) < rule.least
	some _ in without(rule.field)
	m := sprintf("1: whether enough copies are %s is not known%s", [rule.said, whys])
}

unsure contains sprintf("0: whether any copy was verified or restored in a drill is not known%s", [whys]) if {
	input.params.requireVerified
	not proved
	not never
}

whys := concat("", [sprintf("; %v: %v", [u.what, u.why]) | some u in input.object.unknown])
