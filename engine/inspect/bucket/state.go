package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// refusals are the codes that say that we are not let in, under whatever status.
var refusals = []string{"AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken",
	"NotSignedUp", "SignatureDoesNotMatch", "TokenRefreshRequired", "RequestTimeTooSkewed"}

// reply is what a server answered in place of an answer.
type reply struct {
	status        int
	code, message string
	// region is where the server says the bucket is.
	region string
}

func replyOf(err error) reply {
	var r reply
	var api smithy.APIError
	if errors.As(err, &api) {
		r.code, r.message = api.ErrorCode(), api.ErrorMessage()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		r.status = response.HTTPStatusCode()
		r.region = response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return r
}

// stateOf says what an error of a call means; unset is the code that says that nothing is configured.
func stateOf(err error, unset string) (state, message string) {
	r := replyOf(err)
	message = describe(err, r)
	switch {
	case unset != "" && r.code == unset && r.status == http.StatusNotFound:
		return NotConfigured, ""
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden, slices.Contains(refusals, r.code):
		return Refused, message
	case r.status == http.StatusNotImplemented, r.status == http.StatusMethodNotAllowed, r.code == "NotImplemented":
		return Unsupported, message
	}
	return Failed, message
}

// maxMessage bounds what a server may make us repeat, in bytes.
const maxMessage = 300

// describe is an error without what differs each time: the numbers of requests and hosts.
func describe(err error, r reply) string {
	text := ""
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		text = "no answer in time"
	case r.region != "" && (r.status == http.StatusMovedPermanently || r.code == "PermanentRedirect" || r.code == "AuthorizationHeaderMalformed"):
		text = "the bucket answers in region " + r.region
	case r.code != "" && r.code != "UnknownError":
		text = fmt.Sprintf("%d %s: %s", r.status, r.code, r.message)
	case r.status >= 300:
		text = fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
	default:
		text = cause(err).Error()
	}
	if len(text) > maxMessage {
		text = text[:maxMessage] + "…"
	}
	return text
}

// cause undoes the wrapping of the SDK that names requests.
func cause(err error) error {
	for {
		var operation *smithy.OperationError
		var attempts *retry.MaxAttemptsError
		var response *smithyhttp.ResponseError
		switch {
		case errors.As(err, &operation):
			err = operation.Err
		case errors.As(err, &attempts):
			err = attempts.Err
		case errors.As(err, &response):
			err = response.Err
		default:
			return err
		}
	}
}
