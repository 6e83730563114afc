package bucket

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxAnswer is the longest answer to a call, in bytes; a page of a listing has some hundreds of kilobytes.
const maxAnswer = 16 << 20

// roots are the elements that answers are. The SDK takes an empty body, and a page of a proxy, for an answer that says
// nothing, and with such calls nothing means "off".
var roots = map[string]string{
	"GetBucketLocation":               "LocationConstraint",
	"GetBucketVersioning":             "VersioningConfiguration",
	"GetObjectLockConfiguration":      "ObjectLockConfiguration",
	"GetBucketEncryption":             "ServerSideEncryptionConfiguration",
	"GetBucketReplication":            "ReplicationConfiguration",
	"GetBucketLifecycleConfiguration": "LifecycleConfiguration",
	"GetBucketPolicyStatus":           "PolicyStatus",
	"GetPublicAccessBlock":            "PublicAccessBlockConfiguration",
	"GetBucketAcl":                    "AccessControlPolicy",
	"GetBucketLogging":                "BucketLoggingStatus",
	"GetBucketTagging":                "Tagging",
	"ListObjectVersions":              "ListVersionsResult",
	"GetObjectRetention":              "Retention",
	"GetObjectLegalHold":              "LegalHold",
}

// notWhole is an answer that is none. It may be asked for again.
type notWhole struct{ err error }

func (e *notWhole) Error() string        { return "read answer: " + e.err.Error() }
func (e *notWhole) Unwrap() error        { return e.err }
func (e *notWhole) RetryableError() bool { return true }

// wholeAnswers makes a call fail where what came back with status 200 is not wholly what was asked for.
func wholeAnswers(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("WholeAnswer",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			if err != nil {
				return out, meta, err
			}
			response, ok := out.RawResponse.(*smithyhttp.Response)
			root := roots[middleware.GetOperationName(ctx)]
			if !ok || response.StatusCode != http.StatusOK || root == "" {
				return out, meta, nil
			}
			body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
			response.Body.Close()
			if err == nil {
				err = checkRoot(body, root)
			}
			if err != nil {
				return out, meta, &notWhole{err}
			}
			response.Body = io.NopCloser(bytes.NewReader(body))
			return out, meta, nil
		}), middleware.After)
}

func checkRoot(body []byte, root string) error {
	if len(body) > maxAnswer {
		return fmt.Errorf("it is longer than %d MiB", maxAnswer>>20)
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return errors.New("status 200 with nothing in it")
		}
		if err != nil {
			return fmt.Errorf("it is no XML: %w", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if start.Name.Local != root {
				return fmt.Errorf("it is <%.60s>, want <%s>", start.Name.Local, root)
			}
			return nil
		}
	}
}
