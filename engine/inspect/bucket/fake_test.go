package bucket

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// reaction is what the fake does with one request.
type reaction struct {
	status int
	body   string
	header map[string]string
	// length is the Content-Length it claims, where it is not the body's.
	length int
	// hang keeps the request until the client goes away.
	hang bool
}

func ok(body string) reaction { return reaction{status: 200, body: body} }

func code(status int, code string) reaction {
	return reaction{status: status, body: "<Error><Code>" + code + "</Code><Message>said so</Message></Error>"}
}

// fakeS3 answers by call. Faults are taken first, one for each request, the last one for ever.
type fakeS3 struct {
	mu      sync.Mutex
	answers map[string]reaction
	faults  map[string][]reaction
	handle  map[string]func(url.Values, *http.Request) reaction
	asked   []string
}

var subresources = map[string]string{
	"location": "GetBucketLocation", "versioning": "GetBucketVersioning", "encryption": "GetBucketEncryption", "replication": "GetBucketReplication",
	"lifecycle": "GetBucketLifecycleConfiguration", "policy": "GetBucketPolicy", "policyStatus": "GetBucketPolicyStatus", "publicAccessBlock": "GetPublicAccessBlock",
	"acl": "GetBucketAcl", "logging": "GetBucketLogging", "tagging": "GetBucketTagging", "versions": "ListObjectVersions", "retention": "GetObjectRetention", "legal-hold": "GetObjectLegalHold",
	"object-lock": "GetObjectLockConfiguration",
}

func callOf(r *http.Request) string {
	for name, call := range subresources {
		if r.URL.Query().Has(name) {
			return call
		}
	}
	object := strings.Contains(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodHead && object:
		return "HeadObject"
	case r.Method == http.MethodHead:
		return "HeadBucket"
	}
	return "GetObject"
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := callOf(r)
	f.mu.Lock()
	f.asked = append(f.asked, call)
	react, known := f.answers[call]
	if h := f.handle[call]; h != nil {
		react, known = h(r.URL.Query(), r), true
	}
	if queue := f.faults[call]; len(queue) > 0 {
		react, known = queue[0], true
		if len(queue) > 1 {
			f.faults[call] = queue[1:]
		}
	}
	f.mu.Unlock()
	if !known {
		react = code(501, "NotImplemented")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		panic("the bucket was written to: " + r.Method)
	}
	if react.hang {
		<-r.Context().Done()
		return
	}
	for k, v := range react.header {
		w.Header().Set(k, v)
	}
	if react.length > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(react.length))
	}
	w.WriteHeader(react.status)
	if r.Method == http.MethodGet {
		io.WriteString(w, react.body)
	}
	if react.length > len(react.body) {
		panic(http.ErrAbortHandler) // cut short
	}
}

// whole answers every call of a bucket that is set up as it should be.
func whole() *fakeS3 {
	return &fakeS3{faults: map[string][]reaction{}, handle: map[string]func(url.Values, *http.Request) reaction{}, answers: map[string]reaction{
		"HeadBucket":                      {status: 200, header: map[string]string{"X-Amz-Bucket-Region": "eu-central-1"}},
		"GetBucketLocation":               ok(`<LocationConstraint>eu-central-1</LocationConstraint>`),
		"GetBucketVersioning":             ok(`<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>`),
		"GetObjectLockConfiguration":      ok(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>`),
		"GetBucketEncryption":             ok(`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:eu-central-1:1:key/k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`),
		"GetBucketReplication":            ok(`<ReplicationConfiguration><Role>r</Role><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>p/</Prefix></Filter><SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria><Destination><Bucket>arn:aws:s3:::copy</Bucket><Account>42</Account></Destination><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication></Rule></ReplicationConfiguration>`),
		"GetBucketLifecycleConfiguration": ok(`<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter><Expiration><Days>90</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration><Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`),
		"GetBucketPolicy":                 ok(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}}`),
		"GetBucketPolicyStatus":           ok(`<PolicyStatus><IsPublic>false</IsPublic></PolicyStatus>`),
		"GetPublicAccessBlock":            ok(`<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>`),
		"GetBucketAcl":                    ok(`<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`),
		"GetBucketLogging":                ok(`<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket><TargetPrefix/></LoggingEnabled></BucketLoggingStatus>`),
		"GetBucketTagging":                ok(`<Tagging><TagSet><Tag><Key>tier</Key><Value>gold</Value></Tag></TagSet></Tagging>`),
	}}
}

// live is an inspector of bucket b on the fake.
func live(t testing.TB, f *fakeS3) *Live {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "eu-central-1",
		Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = 2, time.Millisecond
			o.RateLimiter = unlimited{}
		}),
		HTTPClient: server.Client(),
	})
	return &Live{Source: store.Source{Bucket: "b"}, Client: client, Timeout: 10 * time.Second}
}

type unlimited struct{}

func (unlimited) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (unlimited) AddTokens(uint) error { return nil }

// all is what an inspector yields.
func all(t testing.TB, in engine.Inspector) (subjects []*engine.Subject, unread []*engine.Unread) {
	t.Helper()
	for s, err := range in.Inspect(t.Context()) {
		if err != nil {
			u, isUnread := err.(*engine.Unread)
			if !isUnread {
				t.Fatalf("yielded %T %v", err, err)
			}
			unread = append(unread, u)
			continue
		}
		subjects = append(subjects, s)
	}
	return subjects, unread
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func only(t testing.TB, in engine.Inspector) map[string]any {
	t.Helper()
	subjects, unread := all(t, in)
	if len(subjects) != 1 || len(unread) > 0 {
		t.Fatalf("%d subjects, unread %v; want one subject", len(subjects), unread)
	}
	return subjects[0].Object
}

func entry(key, id string, latest bool) string {
	return fmt.Sprintf(`<Version><Key>%s</Key><VersionId>%s</VersionId><IsLatest>%t</IsLatest><LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>7</Size></Version>`, key, id, latest)
}

func deleted(key, id string, latest bool) string {
	return fmt.Sprintf(`<DeleteMarker><Key>%s</Key><VersionId>%s</VersionId><IsLatest>%t</IsLatest><LastModified>2026-01-03T03:04:05.000Z</LastModified></DeleteMarker>`, key, id, latest)
}

// listing is one page.
func listing(next string, entries ...string) reaction {
	page := "<ListVersionsResult><IsTruncated>false</IsTruncated>"
	if next != "" {
		key, id, _ := strings.Cut(next, "#")
		page = "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>" + key + "</NextKeyMarker><NextVersionIdMarker>" + id + "</NextVersionIdMarker>"
	}
	return ok(page + strings.Join(entries, "") + "</ListVersionsResult>")
}
