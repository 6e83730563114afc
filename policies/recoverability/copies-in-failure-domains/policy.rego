package recoverability.copies_in_failure_domains

import rego.v1

# What is counted, and where each copy says it.
# A text that says nothing names no place.
placed(text) := lower(trim_space(text)) if trim_space(text) != ""

seen.regions contains placed(region) if some region in input.object.domains.regions

seen.regions contains placed(copy.region) if some copy in input.object.copies

seen.accounts contains placed(account) if some account in input.object.domains.accounts

seen.accounts contains placed(copy.account) if some copy in input.object.copies

# Copies that may lie in yet another one.
hidden.regions contains name(copy) if {
	some copy in input.object.copies
	not placed(copy.region)
}

hidden.accounts contains name(copy) if {
	some copy in input.object.copies
	not placed(copy.account)
}

name(copy) := sprintf("the copy in %v", [copy.location]) if {
	copy.location != ""
} else := "a copy without a location"

# Where the copies are not known one by one, the places that are known need not be all.
hidden[domain] contains "the copies" if {
	some domain in ["regions", "accounts"]
	not some_copies
}

# Nor where there may be more copies.
hidden[domain] contains "further copies" if {
	some domain in ["regions", "accounts"]
	object.get(input.object, "copiesWhole", true) != true
}

some_copies if is_array(object.get(input.object, "copies", null))

short[domain] := least if {
	some domain, least in input.params.minDomains
	least > 1
	count(object.get(seen, domain, set())) < least
}

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

failed contains {"message": m, "path": "copies"} if {
	some domain, least in short
	count(object.get(hidden, domain, set())) == 0
	m := sprintf("all copies lie in %d of %d %s%s", [count(object.get(seen, domain, set())), least, domain, places(domain)])
}

places(domain) := sprintf(" (%s)", [concat(", ", seen[domain])]) if {
	count(seen[domain]) > 0
} else := ""

unsure contains m if {
	some domain, least in short
	some _ in hidden[domain]
	whys := [sprintf("; %s: %s", [u.what, u.why]) | some u in input.object.unknown]
	m := sprintf("the %s of %s are not known, want at least %d%s", [domain, concat(", ", hidden[domain]), least, concat("", whys)])
}
