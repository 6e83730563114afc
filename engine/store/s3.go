package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Source is a bucket, or what is under a prefix of it, as a user names it.
type Source struct {
	Bucket string
	// Prefix ends in a slash unless it is empty.
	Prefix string
	// Endpoint is the URL of an S3 server that is not Amazon's; its buckets are addressed by path.
	Endpoint string
	// Region is the one requests are signed for; empty is what the environment says, then us-east-1.
	Region string
	Budget Budget
}

// Budget bounds what is spent on a server that fails. Zero values are the defaults.
type Budget struct {
	// Attempts is how often one call is made at most (5), and how often the reading of one file is taken up again.
	Attempts int
	// Stall is how long a server may say nothing (30 s).
	Stall time.Duration
	// Backoff is the longest wait between two attempts (5 s).
	Backoff time.Duration
}

func (b Budget) filled() Budget {
	if b.Attempts == 0 {
		b.Attempts = 5
	}
	if b.Stall == 0 {
		b.Stall = 30 * time.Second
	}
	if b.Backoff == 0 {
		b.Backoff = 5 * time.Second
	}
	return b
}

// ParseSource reads s3://bucket/prefix?endpoint=URL&region=REGION.
func ParseSource(text string) (Source, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Source{}, fmt.Errorf("read source %q: %w", text, errors.Unwrap(err))
	case u.User != nil:
		return Source{}, errors.New("read source: it holds a user name or password: give credentials by the environment or ~/.aws")
	case u.Scheme != "s3" || u.Host == "":
		return Source{}, fmt.Errorf("read source %q: want s3://bucket/prefix", text)
	}
	s := Source{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if s.Prefix != "" {
		s.Prefix += "/"
	}
	for name, values := range u.Query() {
		switch name {
		case "endpoint":
			s.Endpoint = values[0]
		case "region":
			s.Region = values[0]
		default:
			return Source{}, fmt.Errorf("read source %q: there is no option %q: want endpoint or region", text, name)
		}
	}
	if e, err := url.Parse(s.Endpoint); s.Endpoint != "" && (err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https") {
		return Source{}, fmt.Errorf("read source: the endpoint %q is no http or https URL without credentials", s.Endpoint)
	}
	return s, nil
}

func (s Source) String() string {
	text := "s3://" + s.Bucket
	if s.Prefix != "" {
		text += "/" + strings.TrimSuffix(s.Prefix, "/")
	}
	if s.Endpoint != "" { // buckets of two servers may have one name
		text += "?endpoint=" + s.Endpoint
	}
	return text
}

// Client is a client of the server the source is on, with the credentials of the environment and a bounded budget of
// retries.
func (s Source) Client(ctx context.Context) (*s3.Client, error) {
	b := s.Budget.filled()
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = b.Attempts, b.Backoff })
	}), config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout, t.MaxIdleConnsPerHost = b.Stall, 16
	})), config.WithLogger(logging.Nop{})) // the SDK's own logger writes to stderr
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	// Asked for once, here, rather than by each call in its own words.
	if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("%w: there are no credentials (set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY): %w", ErrRefused, err)
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		if s.Region != "" {
			o.Region = s.Region
		}
		if o.Region == "" {
			o.Region = "us-east-1"
		}
		if s.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(s.Endpoint), true
		}
		o.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// bucket is the files under a prefix of a bucket.
type bucket struct {
	Source
	client *s3.Client
}

// S3 is the store of a bucket's latest versions.
func S3(ctx context.Context, s Source) (Store, error) {
	client, err := s.Client(ctx)
	if err != nil {
		return nil, err
	}
	s.Budget = s.Budget.filled()
	return &bucket{s, client}, nil
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		fail := func(err error) { yield(Info{}, fmt.Errorf("list %s: %w", b, err)) }
		in := &s3.ListObjectsV2Input{Bucket: &b.Bucket, Prefix: aws.String(b.Prefix + prefix)}
		last, tokens := "", map[string]bool{}
		for {
			page, err := b.page(ctx, in)
			if err != nil {
				fail(Classify(err))
				return
			}
			for _, o := range page.Contents {
				key := aws.ToString(o.Key)
				if !strings.HasPrefix(key, *in.Prefix) || last != "" && key <= last {
					fail(fmt.Errorf("the server's listing contradicts itself at key %q: %w", key, ErrUnavailable))
					return
				}
				last = key
				if strings.HasSuffix(key, "/") && aws.ToInt64(o.Size) == 0 {
					continue
				}
				i := Info{Key: strings.TrimPrefix(key, b.Prefix), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified).UTC(), ETag: aws.ToString(o.ETag)}
				if !yield(i, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			token := aws.ToString(page.NextContinuationToken)
			if token == "" || tokens[token] {
				fail(fmt.Errorf("the server says there is more and not where, after key %q: %w", last, ErrUnavailable))
				return
			}
			// Only the last one is kept: a server that goes in longer circles repeats keys, which is seen above.
			tokens = map[string]bool{token: true}
			in.ContinuationToken = &token
		}
	}
}

// page asks once more where an answer breaks off after its status, which the client does not take for a failure to retry.
func (b *bucket) page(ctx context.Context, in *s3.ListObjectsV2Input) (page *s3.ListObjectsV2Output, err error) {
	for range b.Budget.Attempts {
		page, err = b.client.ListObjectsV2(ctx, in)
		var response *smithyhttp.ResponseError
		if !errors.As(err, &response) || response.HTTPStatusCode() != http.StatusOK {
			break
		}
	}
	return page, err
}

func (b *bucket) Open(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	r := &resuming{ctx: ctx, bucket: b, key: key}
	if err := r.request(); err != nil {
		return nil, Info{}, fmt.Errorf("open %s in %s: %w", key, b, Classify(err))
	}
	return r, r.info, nil
}

// resuming reads one version of an object, and takes the reading up again where the connection broke.
type resuming struct {
	ctx    context.Context
	cancel context.CancelFunc
	bucket *bucket
	key    string
	info   Info
	body   io.ReadCloser
	offset int64
	tries  int
}

func (r *resuming) request() error {
	ctx, cancel := context.WithCancel(r.ctx)
	in := &s3.GetObjectInput{Bucket: &r.bucket.Bucket, Key: aws.String(r.bucket.Prefix + r.key)}
	if r.offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.offset))
		in.IfMatch = &r.info.ETag
		if r.info.Version != "" {
			in.VersionId = &r.info.Version
		}
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := r.bucket.client.GetObject(ctx, in)
	if err != nil {
		cancel()
		return err
	}
	size := aws.ToInt64(out.ContentLength)
	if r.offset > 0 {
		if want := fmt.Sprintf("bytes %d-%d/%d", r.offset, r.info.Size-1, r.info.Size); aws.ToString(out.ContentRange) != want {
			cancel()
			return errors.Join(fmt.Errorf("the server gave range %q, want %q: %w", aws.ToString(out.ContentRange), want, ErrUnavailable), out.Body.Close())
		}
	} else {
		if out.ContentLength == nil || size < 0 {
			cancel()
			return errors.Join(fmt.Errorf("the server tells no size: %w", ErrUnavailable), out.Body.Close())
		}
		r.info = Info{Key: r.key, Size: size, Modified: aws.ToTime(out.LastModified).UTC(), Version: aws.ToString(out.VersionId), ETag: aws.ToString(out.ETag)}
	}
	r.body, r.cancel = out.Body, cancel
	return nil
}

func (r *resuming) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if err := r.request(); err != nil {
				return 0, fmt.Errorf("read %s in %s: %w", r.key, r.bucket, Classify(err))
			}
		}
		stall := time.AfterFunc(r.bucket.Budget.Stall, r.cancel)
		n, err := r.body.Read(p)
		stall.Stop()
		r.offset += int64(n)
		switch {
		case r.offset > r.info.Size:
			return n, fmt.Errorf("read %s in %s: the server sent more than the %d bytes it announced: %w", r.key, r.bucket, r.info.Size, ErrUnavailable)
		case errors.Is(err, io.EOF) && r.offset == r.info.Size:
			return n, io.EOF
		case err == nil && n > 0:
			return n, nil
		case err == nil:
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.close()
		// Without a name for the very bytes, what is read further on may belong to another object.
		if r.tries++; r.tries >= r.bucket.Budget.Attempts || r.ctx.Err() != nil || r.info.ETag == "" || r.offset == r.info.Size {
			return n, fmt.Errorf("read %s in %s: after %d of %d bytes: %w: %w", r.key, r.bucket, r.offset, r.info.Size, ErrUnavailable, err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (r *resuming) close() {
	if r.body != nil {
		r.cancel()
		_ = r.body.Close()
		r.body = nil
	}
}

// Close ends the reading.
func (r *resuming) Close() error {
	r.close()
	return nil
}

// Classify says of an error of the S3 client what it means here, by wrapping fs.ErrNotExist, [ErrRefused],
// [ErrUnsupported] or [ErrUnavailable].
func Classify(err error) error {
	for _, known := range []error{fs.ErrNotExist, ErrRefused, ErrUnsupported, ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%w: no server answers: %w (check the endpoint and the network)", ErrUnavailable, dial)
	}
	status, code := 0, ""
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	text := "the server answered"
	if errors.As(err, &api) {
		code = api.ErrorCode()
		text = code
		if m := api.ErrorMessage(); m != "" && m != code {
			text += ": " + m
		}
	}
	kind := ErrUnavailable
	switch {
	case code == "NoSuchBucket", code == "NoSuchKey", code == "NotFound", code == "NoSuchVersion", status == http.StatusNotFound:
		kind = fs.ErrNotExist
	case status == http.StatusForbidden, status == http.StatusUnauthorized, code == "InvalidAccessKeyId", code == "ExpiredToken":
		kind = ErrRefused
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed, code == "NotImplemented":
		kind = ErrUnsupported
	case status == http.StatusMovedPermanently, code == "PermanentRedirect", code == "AuthorizationHeaderMalformed":
		text = "the bucket is in another region"
		if response != nil && response.Response != nil && response.Response.Header.Get("X-Amz-Bucket-Region") != "" {
			text += ", " + response.Response.Header.Get("X-Amz-Bucket-Region")
		}
		text += ": name it with ?region="
	}
	if status == 0 || status == http.StatusOK {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return fmt.Errorf("%w (HTTP %d, %s)", kind, status, text)
}
