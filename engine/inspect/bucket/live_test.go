package bucket

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

const golden = `{
 "aclPublic": true, "apiVersion": "artifact.proviso.dev/v1alpha1", "kind": "Bucket", "metadata": {"labels": {"tier": "gold"}, "name": "b"},
 "calls": {"acl": {"state": "answered"}, "encryption": {"state": "answered"}, "lifecycle": {"state": "answered"}, "location": {"state": "answered"},
  "logging": {"state": "answered"}, "objectLock": {"state": "answered"}, "policy": {"state": "answered"}, "policyStatus": {"state": "answered"},
  "publicAccess": {"state": "answered"}, "replication": {"state": "answered"}, "tagging": {"state": "answered"}, "versioning": {"state": "answered"}},
 "encryption": {"algorithm": "aws:kms", "bucketKey": true, "key": "arn:aws:kms:eu-central-1:1:key/k"},
 "lifecycle": [{"abortDays": 3, "expirationDays": 90, "id": "x", "noncurrentDays": 7, "prefix": "old/", "status": "Enabled", "transitions": [{"class": "GLACIER", "days": 30}]}],
 "logging": {"enabled": true, "target": "logs"},
 "objectLock": {"days": 30, "enabled": true, "level": "bucket", "locked": true, "mode": "COMPLIANCE"},
 "policy": {"statements": [{"actions": ["s3:*"], "conditions": {"Bool": {"aws:SecureTransport": ["false"]}}, "effect": "Deny", "principals": ["*"], "resources": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}]},
 "policyPublic": false, "provider": "s3",
 "publicAccess": {"blockAcls": true, "blockPolicy": true, "ignoreAcls": true, "restrictBuckets": false},
 "region": "eu-central-1",
 "replication": [{"account": "42", "bucket": "copy", "deleteMarkers": false, "id": "a", "kms": true, "prefix": "p/", "status": "Enabled"}],
 "versioning": {"mfaDelete": true, "status": "Enabled"}
}`

func sameJSON(t *testing.T, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if g := asJSON(t, got); g != asJSON(t, w) {
		t.Errorf("got %s\nwant %s", g, asJSON(t, w))
	}
}

// portless is the Bucket without its endpoint, which is another for each server.
func portless(t *testing.T, in engine.Inspector) map[string]any {
	t.Helper()
	b := only(t, in)
	if at, _ := b["endpoint"].(string); !strings.HasPrefix(at, "http://127.0.0.1:") {
		t.Errorf("endpoint is %q", at)
	}
	delete(b, "endpoint")
	return b
}

func TestBucketIsWholeWhenAllIsAnswered(t *testing.T) {
	sameJSON(t, portless(t, live(t, whole())), golden)
}

// Only what a server says is not configured is a fact.
func TestNotConfigured(t *testing.T) {
	f := whole()
	for _, a := range aspects {
		if a.unset != "" {
			f.answers[a.call] = code(404, a.unset)
		}
	}
	f.answers["GetBucketVersioning"] = ok(`<VersioningConfiguration/>`)
	f.answers["GetBucketLogging"] = ok(`<BucketLoggingStatus/>`)
	f.answers["GetBucketLocation"] = ok(`<LocationConstraint/>`)
	f.answers["HeadBucket"] = reaction{status: 200}
	got := only(t, live(t, f))
	want := map[string]string{
		"region": `"us-east-1"`, "versioning": `{"status":"Disabled"}`, "objectLock": `{"enabled":false,"level":"bucket"}`, "encryption": `{"algorithm":"none"}`,
		"replication": `[]`, "lifecycle": `[]`, "policy": `{"statements":[]}`, "policyPublic": `false`, "logging": `{"enabled":false}`,
		"publicAccess": `{"blockAcls":false,"blockPolicy":false,"ignoreAcls":false,"restrictBuckets":false}`,
	}
	for field, w := range want {
		if g, _ := json.Marshal(got[field]); string(g) != w {
			t.Errorf("%s: got %s, want %s", field, g, w)
		}
	}
	for _, a := range aspects {
		state := got["calls"].(map[string]any)[a.name].(map[string]any)["state"]
		if want := map[bool]string{true: NotConfigured, false: Answered}[a.unset != ""]; state != want {
			t.Errorf("%s is %v, want %s", a.name, state, want)
		}
	}
}

// fieldsFor are the fields that each aspect alone tells.
var fieldsFor = map[string]string{"location": "region", "versioning": "versioning", "objectLock": "objectLock", "encryption": "encryption", "replication": "replication",
	"lifecycle": "lifecycle", "policy": "policy", "policyStatus": "policyPublic", "publicAccess": "publicAccess", "acl": "aclPublic", "logging": "logging"}

// Every fault at every call: the call's state says what happened, its field is left out, and the other fields stay.
func TestEveryFaultAtEveryCall(t *testing.T) {
	clean := portless(t, live(t, whole()))
	for _, a := range aspects {
		body := whole().answers[a.call].body
		for name, fault := range map[string]struct {
			reaction
			state string
		}{
			"403":                {code(403, "AccessDenied"), Refused},
			"401":                {code(401, "Unauthorized"), Refused},
			"expired":            {code(400, "ExpiredToken"), Refused},
			"bad key":            {code(403, "InvalidAccessKeyId"), Refused},
			"501":                {code(501, "NotImplemented"), Unsupported},
			"405":                {code(405, "MethodNotAllowed"), Unsupported},
			"500":                {code(500, "InternalError"), Failed},
			"503":                {code(503, "SlowDown"), Failed},
			"429":                {code(429, "TooManyRequests"), Failed},
			"400":                {code(400, "InvalidRequest"), Failed},
			"301":                {code(301, "PermanentRedirect"), Failed},
			"another 404":        {code(404, "NoSuchThing"), Failed},
			"unset with 400":     {code(400, a.unset+"?"), Failed},
			"404 of a proxy":     {reaction{status: 404, body: "<html>not here</html>"}, Failed},
			"empty 200":          {ok(""), Failed},
			"login page":         {ok("<html><body>log in</body></html>"), Failed},
			"error with 200":     {ok("<Error><Code>InternalError</Code></Error>"), Failed},
			"truncated":          {ok(body[:len(body)-9]), Failed},
			"reset mid-body":     {reaction{status: 200, body: body[:len(body)/2], length: len(body)}, Failed},
			"wrong length":       {reaction{status: 200, body: body, length: len(body) + 7}, Failed},
			"no XML, no policy":  {ok("nothing"), Failed},
			"empty error answer": {reaction{status: 500}, Failed},
		} {
			t.Run(a.call+"/"+name, func(t *testing.T) {
				f := whole()
				f.faults[a.call] = []reaction{fault.reaction}
				if a.name == "location" {
					f.answers["HeadBucket"] = reaction{status: 200}
				}
				got := portless(t, live(t, f))
				call := got["calls"].(map[string]any)[a.name].(map[string]any)
				if call["state"] != fault.state || call["message"] == nil {
					t.Errorf("call is %v, want %s with a message", call, fault.state)
				}
				if strings.Contains(fmt.Sprint(call["message"]), "RequestID") {
					t.Errorf("the message differs from run to run: %v", call["message"])
				}
				want := maps.Clone(clean)
				if a.name == "tagging" {
					want["metadata"] = map[string]any{"name": "b"}
				}
				delete(want, fieldsFor[a.name])
				delete(want, "calls")
				delete(got, "calls")
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, want))
				}
			})
		}
	}
}

// A fault that goes away within the budget leaves no trace.
func TestFaultsThatPassAreRetried(t *testing.T) {
	for _, a := range aspects {
		body := whole().answers[a.call].body
		faults := []reaction{code(503, "SlowDown"), {status: 200, body: body[:len(body)/2], length: len(body)}}
		if a.name != "policy" { // an empty policy is JSON that we find out about too late
			faults = append(faults, ok(""))
		}
		for _, fault := range faults {
			f := whole()
			f.faults[a.call] = []reaction{fault, f.answers[a.call]}
			sameJSON(t, portless(t, live(t, f)), golden)
		}
	}
}

func TestServerThatSaysNothing(t *testing.T) {
	f := whole()
	f.faults["GetBucketVersioning"] = []reaction{{hang: true}}
	l := live(t, f)
	l.Timeout = 50 * time.Millisecond
	got := only(t, l)
	if call := got["calls"].(map[string]any)["versioning"].(map[string]any); call["state"] != Failed || got["versioning"] != nil {
		t.Errorf("versioning is %v, its call %v", got["versioning"], call)
	}
}

func TestBucketThatIsNotThere(t *testing.T) {
	for name, set := range map[string]func(*fakeS3){
		"head":           func(f *fakeS3) { f.answers["HeadBucket"] = reaction{status: 404} },
		"a call":         func(f *fakeS3) { f.answers["GetBucketVersioning"] = code(404, "NoSuchBucket") },
		"all is refused": func(f *fakeS3) { f.answers = map[string]reaction{}; f.answers["HeadBucket"] = reaction{status: 403} },
	} {
		f := whole()
		set(f)
		subjects, unread := all(t, live(t, f))
		if len(subjects) > 0 || len(unread) != 1 || unread[0].Kind != engine.Hole {
			t.Errorf("%s: got %d subjects, unread %v; want a hole", name, len(subjects), unread)
		}
	}
}

// A bucket in another region is asked there, and the artifact says where it is.
func TestBucketInAnotherRegion(t *testing.T) {
	f := whole()
	f.answers["HeadBucket"] = reaction{status: 301, header: map[string]string{"X-Amz-Bucket-Region": "us-west-2"}}
	f.answers["GetBucketLocation"] = ok(`<LocationConstraint>us-west-2</LocationConstraint>`)
	if got := only(t, live(t, f)); got["region"] != "us-west-2" {
		t.Errorf("region is %v", got["region"])
	}
	f.answers["GetBucketLocation"] = code(403, "AccessDenied")
	if got := only(t, live(t, f)); got["region"] != "us-west-2" {
		t.Errorf("by head: region is %v", got["region"])
	}
	f.answers["GetBucketLocation"] = ok(`<LocationConstraint>EU</LocationConstraint>`)
	got := only(t, live(t, f))
	if call := got["calls"].(map[string]any)["location"].(map[string]any); got["region"] != nil || call["state"] != Failed {
		t.Errorf("two regions: region is %v, call %v", got["region"], call)
	}
}

// MinIO says of a policy that lets everybody read that it is not public.
func TestPublicPolicyIsSeenInThePolicy(t *testing.T) {
	f := whole()
	f.answers["GetBucketPolicy"] = ok(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":"arn:aws:s3:::b/*"}]}`)
	if got := only(t, live(t, f)); got["policyPublic"] != true {
		t.Errorf("policyPublic is %v", got["policyPublic"])
	}
}
