package bucket

import (
	"encoding/json"
	"slices"
	"strings"

	"proviso.dev/proviso/engine/exported"
)

// aspect is one thing a server is asked about a bucket. Its answer has the shape that the AWS command line prints, which
// is also that of the SDK's outputs as JSON.
type aspect struct {
	name, call string
	// unset is the error code that says that nothing is configured.
	unset string
	// wants is the field that an answer must have.
	wants string
	// read turns an answer into fields; that of a call that is not configured is the empty object.
	read func(*artifact, exported.Object)
}

var aspects = []aspect{
	{"location", "GetBucketLocation", "", "", (*artifact).location},
	{"versioning", "GetBucketVersioning", "", "", (*artifact).versioning},
	{"objectLock", "GetObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "ObjectLockConfiguration", (*artifact).objectLock},
	{"encryption", "GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError", "ServerSideEncryptionConfiguration", (*artifact).encryption},
	{"replication", "GetBucketReplication", "ReplicationConfigurationNotFoundError", "ReplicationConfiguration", (*artifact).replication},
	{"lifecycle", "GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration", "Rules", (*artifact).lifecycle},
	{"policy", "GetBucketPolicy", "NoSuchBucketPolicy", "Policy", (*artifact).policy},
	{"policyStatus", "GetBucketPolicyStatus", "NoSuchBucketPolicy", "PolicyStatus", (*artifact).policyStatus},
	{"publicAccess", "GetPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration", "PublicAccessBlockConfiguration", (*artifact).publicAccess},
	{"acl", "GetBucketAcl", "", "Grants", (*artifact).acl},
	{"logging", "GetBucketLogging", "", "", (*artifact).logging},
	{"tagging", "GetBucketTagging", "NoSuchTagSet", "TagSet", (*artifact).tagging},
}

// answer is what came back for one aspect.
type answer struct {
	state, message string
	object         exported.Object
}

// take turns an answer into fields. An answer that is mistyped anywhere gives none, and its call has failed.
func (a *artifact) take(of aspect, got answer) []exported.Problem {
	if got.state != Answered && got.state != NotConfigured {
		a.call(of.name, got.state, got.message)
		return nil
	}
	o := got.object
	if got.state == NotConfigured {
		o = exported.Read(nil, o.At()...)
	} else if of.wants != "" && !o.Has(of.wants) {
		o.Mistyped("", "read %s: the answer has no %s", of.call, of.wants)
	}
	part := newArtifact("")
	part.marks, part.document = a.marks, a.document
	if len(o.Problems()) == 0 {
		of.read(part, o)
	}
	if p := o.Problems(); len(p) > 0 {
		a.call(of.name, Failed, p[0].Err.Error())
		return p
	}
	a.call(of.name, got.state, got.message)
	delete(part.fields, "provider")
	delete(part.fields, "calls")
	for k, v := range part.fields {
		a.fields[k] = v
	}
	if part.labels != nil {
		a.labels = part.labels
	}
	return nil
}

// settle joins what is known from more than one call.
func (a *artifact) settle() {
	policy, ok := a.fields["policy"].(map[string]any)
	if !ok {
		return
	}
	// MinIO calls a policy that lets everybody read not public. What the policy says outright weighs more.
	for _, s := range policy["statements"].([]any) {
		s := s.(map[string]any)
		if s["effect"] == "Allow" && slices.Contains(s["principals"].([]any), any("*")) && len(s["conditions"].(map[string]any)) == 0 {
			a.fields["policyPublic"] = true
		}
	}
}

func (a *artifact) location(o exported.Object) {
	constraint, _ := o.Text("LocationConstraint")
	a.set("region", regionOf(constraint), o.At("LocationConstraint"))
}

func (a *artifact) versioning(o exported.Object) {
	status, ok := o.Text("Status")
	if !ok {
		status = "Disabled" // a bucket that never had versioning answers nothing
	}
	if !slices.Contains([]string{"Enabled", "Suspended", "Disabled"}, status) {
		o.Mistyped("Status", "read GetBucketVersioning: status %q is not known", status)
	}
	v := map[string]any{"status": status}
	if mfa, ok := o.Text("MFADelete"); ok {
		v["mfaDelete"] = mfa == "Enabled"
	}
	a.set("versioning", v, o.At())
	a.mark("versioning.status", o.At("Status"))
}

func (a *artifact) objectLock(o exported.Object) {
	lock := o.In("ObjectLockConfiguration")
	enabled, _ := lock.Text("ObjectLockEnabled")
	v := map[string]any{"enabled": enabled == "Enabled", "level": "bucket"}
	retention := lock.In("Rule").In("DefaultRetention")
	if mode, ok := retention.Text("Mode"); ok {
		v["mode"] = mode
		v["locked"] = mode == "COMPLIANCE"
		a.mark("objectLock.mode", retention.At("Mode"))
	}
	for key, field := range map[string]string{"Days": "days", "Years": "years"} {
		if n, ok := retention.Int(key); ok {
			v[field] = n
			a.mark("objectLock."+field, retention.At(key))
		}
	}
	a.set("objectLock", v, lock.At())
}

func (a *artifact) encryption(o exported.Object) {
	config := o.In("ServerSideEncryptionConfiguration")
	rules, _ := config.Objects("Rules")
	v := map[string]any{"algorithm": "none"}
	for _, r := range rules {
		apply := r.In("ApplyServerSideEncryptionByDefault")
		algorithm, ok := apply.Text("SSEAlgorithm")
		if !ok {
			continue
		}
		v["algorithm"] = algorithm
		if key, ok := apply.Text("KMSMasterKeyID"); ok {
			v["key"] = key
		}
		if on, ok := r.Bool("BucketKeyEnabled"); ok {
			v["bucketKey"] = on
		}
	}
	a.set("encryption", v, config.At())
}

// prefixOf is the prefix a rule of replication or lifecycle is for.
func prefixOf(rule exported.Object) (string, bool) {
	filter := rule.In("Filter")
	for _, o := range []exported.Object{rule, filter, filter.In("And")} {
		if prefix, ok := o.Text("Prefix"); ok {
			return prefix, true
		}
	}
	return "", false
}

// filtered is whether a rule is for some objects of its prefix only: those of a tag or of a size, or of what is not known here.
func filtered(rule exported.Object) bool {
	filter := rule.In("Filter")
	for _, o := range []exported.Object{filter, filter.In("And")} {
		if o.HasOther("Prefix", "And") {
			return true
		}
	}
	return false
}

func (a *artifact) replication(o exported.Object) {
	config := o.In("ReplicationConfiguration")
	rules, _ := config.Objects("Rules")
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		id, _ := r.Text("ID")
		status, _ := r.Text("Status")
		destination := r.In("Destination")
		bucket, _ := destination.Text("Bucket")
		v := map[string]any{"id": id, "status": status, "bucket": bucket[strings.LastIndexByte(bucket, ':')+1:]}
		if account, ok := destination.Text("Account"); ok {
			v["account"] = account
		}
		if s, ok := r.In("SourceSelectionCriteria").In("SseKmsEncryptedObjects").Text("Status"); ok {
			v["kms"] = s == "Enabled"
		}
		if s, ok := r.In("DeleteMarkerReplication").Text("Status"); ok {
			v["deleteMarkers"] = s == "Enabled"
		}
		if prefix, ok := prefixOf(r); ok {
			v["prefix"] = prefix
		}
		if filtered(r) {
			v["filtered"] = true
		}
		out = append(out, v)
	}
	a.set("replication", out, config.At())
}

func (a *artifact) policy(o exported.Object) {
	statements := []any{}
	if o.Has("Policy") {
		statements, _ = o.Policy("Policy")
	}
	a.set("policy", map[string]any{"statements": statements}, o.At("Policy"))
}

func (a *artifact) policyStatus(o exported.Object) {
	public, _ := o.In("PolicyStatus").Bool("IsPublic")
	a.set("policyPublic", public, o.At("PolicyStatus"))
}

func (a *artifact) publicAccess(o exported.Object) {
	block, v := o.In("PublicAccessBlockConfiguration"), map[string]any{}
	for key, field := range map[string]string{"BlockPublicAcls": "blockAcls", "IgnorePublicAcls": "ignoreAcls",
		"BlockPublicPolicy": "blockPolicy", "RestrictPublicBuckets": "restrictBuckets"} {
		v[field], _ = block.Bool(key)
		a.mark("publicAccess."+field, block.At(key))
	}
	a.set("publicAccess", v, block.At())
}

func (a *artifact) acl(o exported.Object) {
	grants, ok := o.Objects("Grants")
	if !ok {
		return // an answer without grants says nothing of who may read
	}
	public := false
	for _, g := range grants {
		uri, _ := g.In("Grantee").Text("URI")
		public = public || strings.HasSuffix(uri, "/groups/global/AllUsers") || strings.HasSuffix(uri, "/groups/global/AuthenticatedUsers")
	}
	a.set("aclPublic", public, o.At("Grants"))
}

func (a *artifact) logging(o exported.Object) {
	v := map[string]any{"enabled": o.Has("LoggingEnabled")}
	if target, ok := o.In("LoggingEnabled").Text("TargetBucket"); ok {
		v["target"] = target
	}
	a.set("logging", v, o.At("LoggingEnabled"))
}

func (a *artifact) tagging(o exported.Object) {
	tags, _ := o.Objects("TagSet")
	a.labels = map[string]any{}
	for _, t := range tags {
		if key, ok := t.Text("Key"); ok {
			a.labels[key], _ = t.Text("Value")
		}
	}
}

// asExported is an output of the SDK in the shape the command line prints it.
func asExported(output any) (exported.Object, error) {
	text, err := json.Marshal(output)
	if err != nil {
		return exported.Object{}, err
	}
	return readJSON(text)
}
