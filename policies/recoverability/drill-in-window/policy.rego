package recoverability.drill_in_window

import rego.v1

tier := name if {
	name := input.object.metadata.labels[input.params.tierLabel]
	name != ""
} else := "default"

window := input.params.windowByTier[tier]

violations contains v if some v in failed

violations contains {"message": verdict.unknown(reason), "path": ""} if {
	count(failed) == 0
	some reason in unsure
}

failed contains {"message": m, "path": "drill.completed"} if {
	age > 0
	retention.exceeds(sprintf("%ds", [age]), window)
	m := sprintf("the last restore drill%s was %s ago, want at most %s%s", [drilled, said, retention.text(window), named])
}

age := floor((time.parse_rfc3339_ns(input.now) - time.parse_rfc3339_ns(input.object.drill.completed)) / 1000000000)

said := retention.text(sprintf("%dd", [floor(age / 86400)])) if {
	age >= 86400
} else := "less than a day"

drilled := sprintf(" (%s, from %s)", [input.object.drill.name, input.object.drill.location]) if {
	input.object.drill.location != ""
} else := sprintf(" (%s)", [input.object.drill.name]) if {
	input.object.drill.name != ""
} else := ""

named := sprintf(" for tier %s", [tier]) if tier != "default"

else := ""

# Where the list of what is not known is there and does not speak of drills, there was none.
failed contains {"message": sprintf("no restore of a backup that holds the data was ever drilled, want one every %s%s", [retention.text(window), named]), "path": ""} if {
	never
	window
}

never if {
	not input.object.drill
	is_array(input.object.unknown)
	not veiled
}

# Without any of these no drill can be seen.
veiled if {
	some u in input.object.unknown
	not u.what in {"domains", "copies", "covered", "schedules", "longestGapSeconds"}
}

unsure contains sprintf("there is no tier %v in windowByTier", [tier]) if not window

unsure contains sprintf("when the last restore drill ended is not known%s", [why]) if {
	not never
	not input.object.drill.completed
	whys := [sprintf("%v: %v", [u.what, u.why]) | some u in input.object.unknown]
	why := concat("", [sprintf(" (%s)", [concat("; ", whys)]) | count(whys) > 0])
}

unsure contains sprintf("the drill ends after now (%s): the clocks disagree", [input.object.drill.completed]) if age < -300
