package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/exported"
	"proviso.dev/proviso/engine/store"
)

// Live inspects a bucket of an S3 server, with calls that only read. It implements [engine.Inspector].
type Live struct {
	Source store.Source
	// Client talks to the server; the source's own where nil.
	Client *s3.Client
	// Objects asks for the versions under the source's prefix as well.
	Objects bool
	// Sample, where it is more than one, looks at each Sample-th version only, and at each velero-backup.json; which they
	// are depends on nothing but the listing. Otherwise every version is looked at.
	Sample int
	// Parallel is how many versions are asked about at a time; 8 where unset.
	Parallel int
	// Timeout bounds one call with its retries; two minutes where unset.
	Timeout time.Duration
}

// asker makes calls about one bucket.
type asker struct {
	*Live
	client *s3.Client
	// region, once it is known that the bucket is not where it was looked for, is where it is.
	region string
}

// Inspect yields the Bucket, then the StoredObjects in the order of the server's listing. A bucket that is not there, or of
// which no call was answered, and a listing that is not whole, are yielded as an *[engine.Unread] of kind Hole.
func (l *Live) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		a := &asker{Live: l, client: l.Client}
		if a.client == nil {
			client, err := l.Source.Client(ctx)
			if err != nil {
				yield(nil, a.hole("inspect bucket %s: %w", l.Source.Bucket, err))
				return
			}
			a.client = client
		}
		sub, err := a.bucket(ctx)
		if err != nil {
			yield(nil, a.hole("inspect bucket %s: %w", l.Source.Bucket, err))
			return
		}
		if !yield(sub, nil) || !l.Objects {
			return
		}
		o := &objects{asker: a, bucket: sub.Object}
		o.all(ctx, yield)
	}
}

func (a *asker) hole(format string, args ...any) *engine.Unread {
	return &engine.Unread{Source: a.Source.String(), Kind: engine.Hole, Err: fmt.Errorf(format, args...)}
}

func (a *asker) origin() engine.Origin { return engine.Origin{Source: a.Source.String()} }

// options are those of each call.
func (a *asker) options(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, wholeAnswers)
	if a.region != "" {
		o.Region = a.region
	}
}

// defaultTimeout leaves room for the retries of a slow server.
const defaultTimeout = 2 * time.Minute

func ask[I, O any](ctx context.Context, a *asker, do func(context.Context, I, ...func(*s3.Options)) (O, error), in I) (O, error) {
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return do(ctx, in, a.options)
}

// questions are the calls, each of which yields an output that marshals as the command line prints it.
func (a *asker) question(ctx context.Context, call string) (any, error) {
	b := &a.Source.Bucket
	switch c := a.client; call {
	case "GetBucketLocation":
		return ask(ctx, a, c.GetBucketLocation, &s3.GetBucketLocationInput{Bucket: b})
	case "GetBucketVersioning":
		return ask(ctx, a, c.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: b})
	case "GetObjectLockConfiguration":
		return ask(ctx, a, c.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: b})
	case "GetBucketEncryption":
		return ask(ctx, a, c.GetBucketEncryption, &s3.GetBucketEncryptionInput{Bucket: b})
	case "GetBucketReplication":
		return ask(ctx, a, c.GetBucketReplication, &s3.GetBucketReplicationInput{Bucket: b})
	case "GetBucketLifecycleConfiguration":
		return ask(ctx, a, c.GetBucketLifecycleConfiguration, &s3.GetBucketLifecycleConfigurationInput{Bucket: b})
	case "GetBucketPolicy":
		return ask(ctx, a, c.GetBucketPolicy, &s3.GetBucketPolicyInput{Bucket: b})
	case "GetBucketPolicyStatus":
		return ask(ctx, a, c.GetBucketPolicyStatus, &s3.GetBucketPolicyStatusInput{Bucket: b})
	case "GetPublicAccessBlock":
		return ask(ctx, a, c.GetPublicAccessBlock, &s3.GetPublicAccessBlockInput{Bucket: b})
	case "GetBucketAcl":
		return ask(ctx, a, c.GetBucketAcl, &s3.GetBucketAclInput{Bucket: b})
	case "GetBucketLogging":
		return ask(ctx, a, c.GetBucketLogging, &s3.GetBucketLoggingInput{Bucket: b})
	case "GetBucketTagging":
		return ask(ctx, a, c.GetBucketTagging, &s3.GetBucketTaggingInput{Bucket: b})
	}
	return nil, fmt.Errorf("there is no call %s", call)
}

var errNoBucket = errors.New("there is no such bucket (check its name and the endpoint)")

// bucket asks everything there is to ask.
func (a *asker) bucket(ctx context.Context) (*engine.Subject, error) {
	art := newArtifact("s3")
	art.fields["endpoint"] = "https://s3.amazonaws.com"
	if at := a.client.Options().BaseEndpoint; at != nil {
		art.fields["endpoint"] = *at
	}
	heard, err := a.head(ctx)
	if err != nil {
		return nil, err
	}
	known, last := false, ""
	for _, of := range aspects {
		got, err := a.answer(ctx, of)
		if err != nil {
			return nil, err
		}
		if of.name == "location" {
			got = place(got, heard)
		}
		art.take(of, got)
		state := art.calls[of.name].(map[string]any)
		known = known || state["state"] == Answered || state["state"] == NotConfigured
		if m, ok := state["message"].(string); ok && last == "" {
			last = m
		}
	}
	if !known {
		return nil, fmt.Errorf("no call was answered: %s", last)
	}
	art.settle()
	return art.subject(a.Source.Bucket, a.origin()), nil
}

// head learns the bucket's region, also from a refusal, and calls the region from then on.
func (a *asker) head(ctx context.Context) (region string, err error) {
	out, err := ask(ctx, a, a.client.HeadBucket, &s3.HeadBucketInput{Bucket: &a.Source.Bucket})
	if err == nil {
		if out.BucketRegion != nil {
			region = *out.BucketRegion
		}
		return region, nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	// Where there is no server, no other call needs to be tried.
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return "", fmt.Errorf("no server answers: %w (check the endpoint and the network)", dial)
	}
	r := replyOf(err)
	if r.status == http.StatusNotFound {
		return "", errNoBucket
	}
	if r.region != "" && r.region != a.client.Options().Region {
		a.region = r.region
	}
	return r.region, nil
}

func (a *asker) answer(ctx context.Context, of aspect) (answer, error) {
	out, err := a.question(ctx, of.call)
	if err == nil {
		object, err := asExported(out)
		if err != nil {
			return answer{state: Failed, message: err.Error()}, nil
		}
		return answer{state: Answered, object: object}, nil
	}
	if ctx.Err() != nil {
		return answer{}, context.Cause(ctx)
	}
	if replyOf(err).code == "NoSuchBucket" {
		return answer{}, errNoBucket
	}
	state, message := stateOf(err, of.unset)
	return answer{state: state, message: message}, nil
}

// place joins what GetBucketLocation answered with the region HeadBucket heard.
func place(got answer, heard string) answer {
	constraint, told := "", ""
	if got.state == Answered {
		constraint, _ = got.object.Text("LocationConstraint")
		told = regionOf(constraint)
	}
	switch {
	case heard == "" || told == regionOf(heard):
		return got
	case constraint != "":
		return answer{state: Failed, message: fmt.Sprintf("GetBucketLocation says %s, HeadBucket says %s", told, heard)}
	}
	// Servers other than Amazon's leave the constraint out in whatever region they are.
	got.object = exported.Read(map[string]any{"LocationConstraint": heard})
	if got.state != Answered {
		got.message = "by HeadBucket; GetBucketLocation: " + got.message
	}
	got.state = Answered
	return got
}

// readJSON reads an object we have as JSON.
func readJSON(text []byte) (exported.Object, error) {
	doc, err := decode.One(bytes.NewReader(text), "answer", decode.Limits{Bytes: maxAnswer})
	if err != nil {
		return exported.Object{}, err
	}
	m, ok := doc.Value.(map[string]any)
	if !ok {
		return exported.Object{}, errors.New("read answer: it is no object")
	}
	return exported.Read(m), nil
}
