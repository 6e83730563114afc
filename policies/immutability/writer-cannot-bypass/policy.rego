package immutability.writer_cannot_bypass

import rego.v1

scanned if startswith(input.object.apiVersion, "artifact.proviso.dev/")

statements := input.object.statements if input.object.kind == "AccessPolicy"

statements := input.object.policy.statements if {
	scanned
	input.object.kind == "Bucket"
}

statements := [] if {
	scanned
	state == "notConfigured"
	not input.object.policy
}

statements := [] if {
	not scanned
	object.get(input.object, ["spec", "policy"], "") in {"", null}
}

statements := [normal(raw) | some raw in listed] if {
	not scanned
	object.get(input.object, ["spec", "policy"], "") != ""
}

listed := document.Statement if {
	is_array(document.Statement)
} else := [document.Statement]

document := json.unmarshal(input.object.spec.policy)

normal(raw) := {
	"effect": raw.Effect,
	"principals": named(object.get(raw, "Principal", "nobody")),
	"actions": texts(object.get(raw, "Action", [])),
	"notActions": texts(object.get(raw, "NotAction", [])),
	"resources": texts(object.get(raw, "Resource", [])),
	"notResources": texts(object.get(raw, "NotResource", [])),
	"conditions": object.get(raw, "Condition", {}),
}

texts(x) := x if {
	is_array(x)
} else := [x]

named(x) := [p | some values in x; some p in texts(values)] if {
	is_object(x)
} else := [x]

part(s, key) := list if {
	list := s[key]
	list != null
} else := []

# What a statement takes in: an action by one of its patterns, or by none of those it leaves out.
takes(s, action) if {
	some pattern in part(s, "actions")
	matches(lower(pattern), lower(action))
}

takes(s, action) if {
	count(part(s, "notActions")) > 0
	every pattern in part(s, "notActions") { not matches(lower(pattern), lower(action)) }
}

matches(pattern, text) if regex.match(expression(pattern), text)

# A ? stands for no *, so that a pattern is held against another pattern as against a text.
expression(pattern) := sprintf("^%s$", [strings.replace_n({".": "[.]", "*": ".*", "?": "[^*]", "+": "[+]", "(": "[(]", ")": "[)]", "[": "[[]", "{": "[{]", "$": "[$]", "|": "[|]", "^": "\\^", "\\": "\\\\"}, pattern)])

granted contains {"i": i, "action": action} if {
	some i, s in statements
	s.effect == "Allow"
	not exempt(s)
	some action in input.params.forbiddenActions
	takes(s, action)
	applies(s, action)
	not denied(s, action)
}

exempt(s) if {
	count(part(s, "principals")) > 0
	every p in part(s, "principals") { p in input.params.exemptPrincipals }
}

exempt(s) if {
	count(part(s, "principals")) == 0
	count(input.object.attachedTo) > 0
	every p in input.object.attachedTo { p in input.params.exemptPrincipals }
}

# A right on buckets needs a resource that can be a bucket, one on objects a resource that can be an object.
applies(s, _) if count(part(s, "notResources")) > 0

applies(s, _) if count(part(s, "resources")) == 0

applies(s, action) if {
	some resource in part(s, "resources")
	fits(resource, lower(action))
}

fits(resource, action) if {
	regex.match("^s3:(put|deletebucket)", action)
	not action in {"s3:putobjectretention", "s3:putobjectlegalhold", "s3:putobject", "s3:putobjectversionacl"}
	not contains(resource, "/")
	not contains(resource, ":kms:")
}

fits(resource, action) if {
	startswith(action, "s3:")
	not regex.match("^s3:(put|delete)bucket", action)
	action != "s3:putlifecycleconfiguration"
	regex.match("[*?/]", resource)
	not contains(resource, ":kms:")
}

fits(resource, action) if {
	not startswith(action, "s3:")
	not contains(resource, ":s3:")
}

# Only a Deny without conditions that reaches as far takes an Allow back.
denied(s, action) if {
	some d in statements
	d.effect == "Deny"
	count(object.get(d, "conditions", {})) == 0
	takes(d, action)
	count(part(d, "notResources")) == 0
	as_wide(part(d, "resources"), part(s, "resources"), part(s, "notResources"))
	count(part(d, "notPrincipals")) == 0
	reaches(part(d, "principals"), part(s, "principals"))
}

as_wide(denying, _, _) if "*" in denying

as_wide(denying, allowing, excluded) if {
	count(excluded) == 0
	count(allowing) > 0
	every a in allowing {
		some d in denying
		matches(d, a)
	}
}

reaches(denying, _) if "*" in denying

reaches(denying, allowing) if {
	every a in allowing { a in denying }
	count(denying) >= count(allowing)
}

faults contains {"message": m, "path": sprintf("%s[%d]", [at, i])} if {
	some i in {g.i | some g in granted}
	m := sprintf("the statement allows %s%s", [concat(", ", sort([g.action | some g in granted; g.i == i])), aside(statements[i])])
}

aside(s) := " under a condition, which does not take the right away" if {
	count(object.get(s, "conditions", {})) > 0
} else := ""

at := "statements" if {
	input.object.kind == "AccessPolicy"
} else := "policy.statements" if {
	scanned
} else := "spec.policy"

violations contains v if {
	some v in faults
	count(unread) == 0
}

state := object.get(input.object, ["calls", "policy", "state"], "not made")

unread contains sprintf("what the policy allows is not known: the call was %s %s", [state, object.get(input.object, ["calls", "policy", "message"], "")]) if {
	input.object.kind == "Bucket"
	scanned
	state in {"refused", "unsupported", "failed"}
}

unread contains "the policy's statements are not there, or not as they are read here" if {
	not legible
	not state in {"refused", "unsupported", "failed"}
}

# Statements in the one shape that is judged; in any other they would allow nothing.
legible if {
	is_array(statements)
	every s in statements {
		s.effect in {"Allow", "Deny"}
		every key in ["principals", "actions", "notActions", "resources", "notResources"] { is_array(part(s, key)) }
	}
}

violations contains {"message": verdict.unknown(why), "path": ""} if some why in unread
