package bucket

import (
	"strings"

	"proviso.dev/proviso/engine/exported"
)

// gcsNames are the names of a bucket's fields: the API's, and those gcloud prints.
type gcsNames struct {
	locationType, placement, retention, lifecycle, logging string
}

var (
	gcsAPI    = gcsNames{"locationType", "customPlacementConfig", "retentionPolicy", "lifecycle", "logging"}
	gcsGcloud = gcsNames{"location_type", "custom_placement_config", "retention_policy", "lifecycle_config", "logging_config"}
)

// notExported is why a call has no answer.
const notExported = "the export does not tell"

// gcs reads a bucket of Google Cloud. Its API leaves out what is not set.
func (g *gathering) gcs(d *exported.Document, o exported.Object) {
	a, names := newArtifact("gcs"), gcsAPI
	a.document = d
	flat := o.Has("storage_url")
	if flat {
		names = gcsGcloud
	}
	name, ok := o.Text("name")
	if !ok {
		o.Mistyped("", "read bucket: it has no name")
	}
	for _, of := range aspects {
		a.call(of.name, Answered, "")
	}
	for _, not := range []string{"policy", "policyStatus"} {
		a.call(not, Failed, notExported+": the IAM policy is another call")
	}
	a.gcsPlace(o, names, name)
	iam := o.In("iamConfiguration")
	versioning, _ := o.In("versioning").Bool("enabled")
	at := o.At("versioning")
	prevention, _ := iam.Text("publicAccessPrevention")
	uniform, _ := iam.In("uniformBucketLevelAccess").Bool("enabled")
	key, keyed := o.In("encryption").Text("defaultKmsKeyName")
	if flat {
		versioning, _ = o.Bool("versioning_enabled")
		at = o.At("versioning_enabled")
		prevention, _ = o.Text("public_access_prevention")
		uniform, _ = o.Bool("uniform_bucket_level_access")
		key, keyed = o.Text("default_kms_key")
	}
	status := map[bool]string{true: "Enabled", false: "Disabled"}
	a.set("versioning", map[string]any{"status": status[versioning]}, at)
	a.set("publicAccess", map[string]any{"prevented": prevention == "enforced"}, iam.At("publicAccessPrevention"))
	a.set("encryption", map[string]any{"algorithm": "platform"}, o.At("encryption"))
	if keyed {
		a.fields["encryption"] = map[string]any{"algorithm": "customer", "key": key}
	}
	a.fields["tlsOnly"] = true
	a.gcsLock(o, names)
	a.gcsLifecycle(o.In(names.lifecycle))
	logging := o.In(names.logging)
	target, logs := logging.Text("logBucket")
	a.set("logging", map[string]any{"enabled": logs}, logging.At())
	if logs {
		a.fields["logging"] = map[string]any{"enabled": true, "target": target}
	}
	if a.labels = o.Labels("labels"); a.labels == nil {
		a.labels = map[string]any{}
	}
	a.gcsACL(o, uniform)
	g.yield(d, o, a, name)
}

func (a *artifact) gcsPlace(o exported.Object, names gcsNames, name string) {
	location, ok := o.Text("location")
	if !ok {
		a.call("location", Failed, notExported)
		a.call("replication", Failed, notExported)
		return
	}
	region := strings.ToLower(location)
	a.set("region", region, o.At("location"))
	geo := func(region string) any {
		return map[string]any{"id": "geo", "status": "Enabled", "bucket": name, "region": strings.ToLower(region)}
	}
	copies := []any{}
	places, placed := o.In(names.placement).Texts("dataLocations")
	kind, told := o.Text(names.locationType)
	switch {
	case placed:
		for _, p := range places {
			copies = append(copies, geo(p))
		}
	case !told:
		a.call("replication", Failed, notExported)
		return
	case kind != "region":
		copies = append(copies, geo(region))
	}
	a.set("replication", copies, o.At(names.placement))
}

func (a *artifact) gcsLock(o exported.Object, names gcsNames) {
	policy := o.In(names.retention)
	seconds, _ := policy.Int("retentionPeriod")
	// A policy of no time holds nothing.
	v := map[string]any{"enabled": seconds > 0, "level": "bucket"}
	switch mode, _ := o.In("objectRetention").Text("mode"); {
	case seconds > 0:
		locked, _ := policy.Bool("isLocked")
		v["seconds"], v["locked"], v["mode"] = seconds, locked, lockMode(locked)
		a.mark("objectLock.locked", policy.At("isLocked"))
	case mode == "Enabled":
		v["enabled"], v["level"] = true, "object"
	}
	a.set("objectLock", v, policy.At())
}

// lockMode is the S3 word for a retention that nobody can take away, and for one that somebody can.
func lockMode(locked bool) string {
	if locked {
		return "COMPLIANCE"
	}
	return "GOVERNANCE"
}

func (a *artifact) gcsACL(o exported.Object, uniform bool) {
	entries, ok := o.Objects("acl")
	switch {
	case uniform:
		a.fields["aclPublic"] = false
	case !ok:
		a.call("acl", Failed, notExported+" (ask for the full projection)")
	default:
		public := false
		for _, e := range entries {
			entity, _ := e.Text("entity")
			public = public || entity == "allUsers" || entity == "allAuthenticatedUsers"
		}
		a.set("aclPublic", public, o.At("acl"))
	}
}
