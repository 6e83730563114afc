package access.backups_not_public

import rego.v1

scanned if {
	input.object.kind == "Bucket"
	startswith(input.object.apiVersion, "artifact.proviso.dev/")
}

declared if {
	input.object.kind == "Bucket"
	not scanned
}

# With all four on, no policy and no ACL opens the bucket.
shielded if {
	input.object.publicAccess.blockAcls
	input.object.publicAccess.ignoreAcls
	input.object.publicAccess.blockPolicy
	input.object.publicAccess.restrictBuckets
}

shielded if input.object.publicAccess.prevented

shielded if {
	input.object.spec.publicAccessBlock.blockPublicACLs
	input.object.spec.publicAccessBlock.ignorePublicACLs
	input.object.spec.publicAccessBlock.blockPublicPolicy
	input.object.spec.publicAccessBlock.restrictPublicBuckets
}

statements := input.object.policy.statements if scanned

statements := [] if {
	state("policy") == "notConfigured"
	not input.object.policy
}

statements := [] if {
	declared
	object.get(input.object, ["spec", "policy"], "") in {"", null}
}

statements := [normal(raw) | some raw in listed] if {
	declared
	object.get(input.object, ["spec", "policy"], "") != ""
}

listed := document.Statement if {
	is_array(document.Statement)
} else := [document.Statement]

document := json.unmarshal(input.object.spec.policy)

normal(raw) := {
	"effect": raw.Effect,
	"principals": named(object.get(raw, "Principal", "nobody")),
	"notPrincipals": named(object.get(raw, "NotPrincipal", {})),
	"conditions": object.get(raw, "Condition", {}),
}

texts(x) := x if {
	is_array(x)
} else := [x]

named(x) := [p | some values in x; some p in texts(values)] if {
	is_object(x)
} else := [x]

everybody(s) if "*" in s.principals

everybody(s) if count(s.notPrincipals) > 0

# Conditions that keep the world out, as far as they are understood here. One that holds where its key is missing keeps nobody out.
restricted(s) if {
	some op, keys in s.conditions
	lower(op) in {"stringequals", "stringlike", "arnequals", "arnlike", "stringequalsignorecase"}
	some key, values in keys
	lower(key) in {"aws:sourcevpce", "aws:sourcevpc", "aws:principalorgid", "aws:principalaccount", "aws:principalarn", "aws:sourceaccount", "aws:sourcearn", "aws:userid"}
	narrow(values, `^[*?]*$|^arn:[^:]*:[^:]*:[^:]*:[*?]*:|^[^0-9]*[*]$`)
}

restricted(s) if {
	some op, keys in s.conditions
	lower(op) == "ipaddress"
	some key, values in keys
	lower(key) == "aws:sourceip"
	narrow(values, `/[0-7]$|:.*/([0-9]|[12][0-9]|3[01])$`)
}

# None of the values is as wide as the pattern says; they are alternatives.
narrow(values, wide) if {
	is_string(values)
	not regex.match(wide, values)
}

narrow(values, wide) if {
	is_array(values)
	count(values) > 0
	every value in values { not regex.match(wide, value) }
}

faults contains {"message": "a statement allows everybody, with no condition that keeps the world out", "path": sprintf("%s[%d]", [at, i])} if {
	not shielded
	some i, s in statements
	s.effect == "Allow"
	everybody(s)
	not restricted(s)
}

at := "policy.statements" if {
	scanned
} else := "spec.policy"

faults contains {"message": "the store says the bucket's policy is public", "path": "policyPublic"} if {
	not shielded
	input.object.policyPublic
	not only_denies
}

# Some stores call a policy public that only denies; its statements say more.
only_denies if {
	count(statements) > 0
	every s in statements { s.effect == "Deny" }
}

faults contains {"message": "the bucket's ACL is public", "path": "aclPublic"} if {
	not shielded
	input.object.aclPublic
}

faults contains {"message": sprintf("the bucket's ACL is %s", [input.object.spec.acl]), "path": "spec.acl"} if {
	not shielded
	input.object.spec.acl in {"public-read", "public-read-write", "authenticated-read"}
}

faults contains {"message": "everybody may copy the snapshot", "path": "public"} if input.object.public == true

faults contains {"message": sprintf("the snapshot is shared with the account %s", [account]), "path": sprintf("sharedWith[%d]", [i])} if {
	some i, account in input.object.sharedWith
	not account in input.params.allowedAccounts
}

violations contains v if some v in faults

state(aspect) := answer if {
	answer := input.object.calls[aspect].state
} else := "not made"

unread contains sprintf("whether the bucket's policy is public is not known: the call was %s", [state("policy")]) if {
	scanned
	not shielded
	not policy_known
}

policy_known if {
	is_array(statements)
	every s in statements {
		is_string(s.effect)
		every key in ["principals", "notPrincipals"] { is_array(object.get(s, key, [])) }
	}
	not state("policy") in {"refused", "unsupported", "failed"}
}

unread contains sprintf("whether the bucket's ACL is public is not known: the call was %s", [state("acl")]) if {
	scanned
	not shielded
	not acl_known
}

acl_known if state("acl") == "notConfigured"

acl_known if {
	is_boolean(input.object.aclPublic)
	not state("acl") in {"refused", "unsupported", "failed"}
}

unread contains "with whom the snapshot is shared is not known" if {
	input.object.kind == "Snapshot"
	not shares_known
}

shares_known if {
	is_boolean(input.object.public)
	is_array(input.object.sharedWith)
}

violations contains {"message": verdict.unknown(why), "path": ""} if {
	count(faults) == 0
	some why in unread
}
