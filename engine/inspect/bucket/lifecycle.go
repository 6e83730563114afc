package bucket

import (
	"maps"
	"slices"

	"proviso.dev/proviso/engine/exported"
)

// atLeast is a number of which the store takes none smaller; a smaller one is a problem, because what the store makes of
// it is not known.
func atLeast(o exported.Object, key string, least int64) (int64, bool) {
	n, ok := o.Int(key)
	if ok && n < least {
		o.Mistyped(key, "read %s: it is %d, want at least %d", key, n, least)
	}
	return n, ok
}

// lifecycle reads the rules of S3.
func (a *artifact) lifecycle(o exported.Object) {
	rules, _ := o.Objects("Rules")
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		id, _ := r.Text("ID")
		status, _ := r.Text("Status")
		if status != "Enabled" && status != "Disabled" {
			r.Mistyped("Status", "read Rules: the status of a rule is %q, want Enabled or Disabled", status)
		}
		v := map[string]any{"id": id, "status": status}
		if prefix, ok := prefixOf(r); ok {
			v["prefix"] = prefix
		}
		if filtered(r) {
			v["filtered"] = true
		}
		expiration, noncurrent := r.In("Expiration"), r.In("NoncurrentVersionExpiration")
		if n, ok := atLeast(expiration, "Days", 1); ok {
			v["expirationDays"] = n
		}
		if t, ok := expiration.Time("Date"); ok {
			v["expirationDate"] = t
		}
		if n, ok := atLeast(noncurrent, "NoncurrentDays", 1); ok {
			v["noncurrentDays"] = n
		}
		if n, ok := atLeast(noncurrent, "NewerNoncurrentVersions", 0); ok && n > 0 {
			v["newerVersions"] = n
		}
		if n, ok := r.In("AbortIncompleteMultipartUpload").Int("DaysAfterInitiation"); ok {
			v["abortDays"] = n
		}
		if transitions, ok := r.Objects("Transitions"); ok && len(transitions) > 0 {
			list := make([]any, 0, len(transitions))
			for _, t := range transitions {
				class, _ := t.Text("StorageClass")
				step := map[string]any{"class": class}
				if days, ok := t.Int("Days"); ok {
					step["days"] = days
				}
				list = append(list, step)
			}
			v["transitions"] = list
		}
		out = append(out, v)
	}
	a.set("lifecycle", out, o.At())
}

// gcsLifecycle reads the rules of Cloud Storage. All conditions of a rule must hold at once.
func (a *artifact) gcsLifecycle(o exported.Object) {
	rules, _ := o.Objects("rule")
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		action, condition := r.In("action"), r.In("condition")
		kind, _ := action.Text("type")
		v := map[string]any{"id": kind, "status": "Enabled"}
		if condition.HasOther("age", "isLive", "matchesPrefix", "daysSinceNoncurrentTime", "createdBefore", "numNewerVersions") {
			v["filtered"] = true
		}
		age, aged := atLeast(condition, "age", 0)
		switch kind {
		case "Delete":
			gcsDelete(v, condition, age, aged)
		case "AbortIncompleteMultipartUpload":
			if aged {
				v["abortDays"] = age
			}
		case "SetStorageClass":
			class, _ := action.Text("storageClass")
			step := map[string]any{"class": class}
			if aged {
				step["days"] = age
			}
			v["transitions"] = []any{step}
		default:
			action.Mistyped("type", "read rule: the action %q is not known", kind)
		}
		prefixes, _ := condition.Texts("matchesPrefix")
		out = append(out, forEach(prefixes, v)...)
	}
	a.set("lifecycle", out, o.At())
}

// gcsDelete says what a rule that deletes removes, and when. A rule that names no time does so at once.
func gcsDelete(v map[string]any, condition exported.Object, age int64, aged bool) {
	days, dated := atLeast(condition, "daysSinceNoncurrentTime", 0)
	newer, _ := atLeast(condition, "numNewerVersions", 0)
	live, told := condition.Bool("isLive")
	created, before := condition.Time("createdBefore")
	if newer > 0 {
		v["newerVersions"] = newer
	}
	if told && !live || dated || newer > 0 || condition.Has("noncurrentTimeBefore") {
		// No noncurrent version is live, and those made after a date are kept.
		if told && live || before {
			v["filtered"] = true
		}
		if dated || aged || newer == 0 && !condition.HasOther("isLive", "matchesPrefix", "matchesSuffix", "matchesStorageClass") {
			v["noncurrentDays"] = max(days, age)
		}
		return
	}
	if aged {
		v["expirationDays"] = age
	}
	if before {
		v["expirationDate"] = created
	}
	switch {
	case aged, before:
	case condition.HasOther("isLive", "numNewerVersions", "matchesPrefix", "matchesSuffix", "matchesStorageClass"):
		v["expirationUndated"] = true
	default:
		v["expirationDays"] = int64(0)
	}
}

// azureLifecycle reads a management policy.
func (a *artifact) azureLifecycle(p azurePart) {
	a.document = p.document
	rules, ok := p.part("policy").In("policy").Objects("rules")
	if !ok {
		return
	}
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		name, _ := r.Text("name")
		v := map[string]any{"id": name, "status": "Enabled"}
		if on, given := r.Bool("enabled"); given && !on {
			v["status"] = "Disabled"
		}
		actions, filters := r.In("definition").In("actions"), r.In("definition").In("filters")
		kinds, typed := filters.Texts("blobTypes")
		// Backups are block blobs.
		if filters.HasOther("prefixMatch", "blobTypes") || typed && !slices.Contains(kinds, "blockBlob") {
			v["filtered"] = true
		}
		if actions.In("baseBlob").Has("delete") {
			azureDelete(v, actions.In("baseBlob").In("delete"))
		}
		version := actions.In("version").In("delete")
		if n, ok := atLeast(version, "daysAfterCreationGreaterThan", 0); ok {
			v["noncurrentDays"] = n
			if version.HasOther("daysAfterCreationGreaterThan") {
				v["filtered"] = true
			}
		}
		transitions := []any{}
		for _, tier := range []struct{ action, class string }{{"tierToCool", "Cool"}, {"tierToCold", "Cold"}, {"tierToArchive", "Archive"}} {
			if n, ok := actions.In("baseBlob").In(tier.action).Int("daysAfterModificationGreaterThan"); ok {
				transitions = append(transitions, map[string]any{"days": n, "class": tier.class})
			}
		}
		if len(transitions) > 0 {
			v["transitions"] = transitions
		}
		prefixes, _ := filters.Texts("prefixMatch")
		out = append(out, forEach(prefixes, v)...)
	}
	a.set("lifecycle", out, p.At())
	a.call("lifecycle", Answered, "")
}

// azureDelete says when current blobs are deleted. A blob is changed and read last when it is written, or later, so that each
// of the three times says how long it stays at least.
func azureDelete(v map[string]any, when exported.Object) {
	v["expirationUndated"] = true
	for _, key := range []string{"daysAfterModificationGreaterThan", "daysAfterCreationGreaterThan", "daysAfterLastAccessTimeGreaterThan"} {
		if n, ok := atLeast(when, key, 0); ok {
			if most, more := v["expirationDays"].(int64); !more || n < most {
				v["expirationDays"] = n
			}
			delete(v, "expirationUndated")
		}
	}
}

// forEach is a rule for each of its prefixes, or the one for all.
func forEach(prefixes []string, rule map[string]any) []any {
	if len(prefixes) == 0 {
		return []any{rule}
	}
	out := make([]any, len(prefixes))
	for i, prefix := range prefixes {
		each := maps.Clone(rule)
		each["prefix"] = prefix
		out[i] = each
	}
	return out
}
