package encryption.bucket_tls_only

import rego.v1

scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

name := input.object.metadata.name if {
	scanned
} else := input.object.spec.name

# Statements in one shape, from a scan or from the text of the policy.
statements := input.object.policy.statements if scanned

statements := [] if {
	scanned
	state == "notConfigured"
	not input.object.policy
}

statements := [normal(raw) | some raw in list(json.unmarshal(input.object.spec.policy).Statement)] if {
	not scanned
	object.get(input.object, ["spec", "policy"], "") != ""
}

statements := [] if {
	not scanned
	object.get(input.object, ["spec", "policy"], "") in {"", null}
}

normal(raw) := {
	"effect": object.get(raw, "Effect", ""),
	"principals": named(object.get(raw, "Principal", [])),
	"actions": list(object.get(raw, "Action", [])),
	"resources": list(object.get(raw, "Resource", [])),
	"conditions": {op: {key: list(values) | some key, values in keys} | some op, keys in object.get(raw, "Condition", {})},
}

list(x) := x if {
	is_array(x)
} else := [x]

named(x) := [p | some values in x; some p in list(values)] if {
	is_object(x)
} else := list(x)

# A statement that denies plain HTTP to everybody, whatever is asked. Any further condition leaves a way through.
denies contains pattern if {
	some s in statements
	s.effect == "Deny"
	"*" in s.principals
	some action in s.actions
	lower(action) in {"*", "s3:*"}
	insecure(s.conditions)
	some pattern in s.resources
}

insecure(conditions) if {
	count(conditions) == 1
	some op, keys in conditions
	lower(op) in {"bool", "boolifexists"}
	count(keys) == 1
	some key, values in keys
	lower(key) == "aws:securetransport"
	{lower(sprintf("%v", [value])) | some value in values} == {"false"}
}

covered(target) if {
	some pattern in denies
	regex.match(expression(pattern), target)
}

covered(target) if {
	some pattern in denies
	parts := split(pattern, ":")
	count(parts) > 5
	regex.match(expression(concat(":", array.slice(parts, 5, count(parts)))), target)
	parts[2] == "s3"
}

expression(pattern) := sprintf("^%s$", [strings.replace_n({".": "[.]", "*": ".*", "?": ".", "+": "[+]", "(": "[(]", ")": "[)]", "[": "[[]", "{": "[{]", "$": "[$]", "|": "[|]", "^": "\\^", "\\": "\\\\"}, pattern)])

open contains "the bucket" if not covered(name)

open contains "its objects" if not covered(sprintf("%s/*", [name]))

secure if input.object.tlsOnly == true

faults contains {"message": sprintf("nothing denies plain HTTP to %s, want a Deny of s3:* for everybody where aws:SecureTransport is false", [concat(" and ", sort(open))]), "path": path} if {
	not secure
	statements
	count(open) > 0
}

path := "policy" if {
	scanned
	input.object.policy
} else := "calls.policy.state" if {
	scanned
} else := "spec.policy"

faults contains {"message": "the store answers over plain HTTP, want TLS only", "path": "tlsOnly"} if input.object.tlsOnly == false

violations contains v if {
	some v in faults
	answered
}

# A policy that could not be read whole may hold the statement.
violations contains {"message": verdict.unknown(sprintf("whether the bucket refuses plain HTTP is not known: the call was %s %s", [state, object.get(input.object, ["calls", "policy", "message"], "")])), "path": ""} if {
	not secure
	not answered
}

answered if not scanned

answered if is_boolean(input.object.tlsOnly)

answered if {
	state in {"answered", "not made", "notConfigured"}
	statements
}

state := object.get(input.object, ["calls", "policy", "state"], "not made")
