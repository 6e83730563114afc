package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
)

const (
	defaultAttempts = 6
	defaultBackoff  = 250 * time.Millisecond
	defaultBudget   = 3 * time.Minute
	maxBackoff      = 20 * time.Second
	// maxTry is how long one attempt may take; API servers end a request after one minute.
	maxTry = 75 * time.Second
	// maxStatus is how much of an answer that is a failure is read, and maxMessage how much of its text is told.
	maxStatus, maxMessage = 64 << 10, 300
)

var (
	errRefused  = errors.New("refused")
	errNotFound = errors.New("not found")
	errTooLarge = errors.New("the answer is larger than what is read at once")
)

// expired is a continue token that the server no longer knows; next is the one it offers to go on with, or empty.
type expired struct{ next string }

func (expired) Error() string {
	return "the listing took longer than the server remembers it, and the server does not say how to go on"
}

// get makes a GET request until it succeeds, which includes that parse takes the answer. Answers that say the request is
// wrong are not asked for again. Errors wrap errRefused, errNotFound, errTooLarge, expired, or the context's.
func (s *Source) get(ctx context.Context, path string, query url.Values, accept string, parse func([]byte) error) error {
	attempts, pause, budget := s.Attempts, s.Backoff, s.Budget
	if attempts <= 0 {
		attempts = defaultAttempts
	}
	if pause <= 0 {
		pause = defaultBackoff
	}
	if budget <= 0 {
		budget = defaultBudget
	}
	within, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	for attempt := 1; ; attempt++ {
		again, after, err := s.once(within, path, query, accept, parse)
		switch {
		case err == nil || !again:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case attempt >= attempts || within.Err() != nil:
			return fmt.Errorf("%w (after %d attempts)", err, attempt)
		}
		wait := max(after, pause/2+rand.N(pause/2+1))
		pause = min(2*pause, maxBackoff)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-within.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w (after %d attempts)", err, attempt)
		}
	}
}

// once makes one request. Again is whether it may succeed if it is made again, after at least that long.
func (s *Source) once(ctx context.Context, path string, query url.Values, accept string, parse func([]byte) error) (again bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxTry)
	defer cancel()
	at := *s.base
	at.Path = strings.TrimSuffix(at.Path, "/") + path
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false, 0, err
	}
	req.Header.Set("Accept", accept)
	resp, err := s.client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // the address holds the token of the page
		}
		return true, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // what was read counts
	if resp.StatusCode != http.StatusOK {
		again, err = failure(resp)
		if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
			after = time.Duration(min(seconds, int(defaultBudget/time.Second))) * time.Second
		}
		return again, after, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.pageBytes+1))
	switch {
	case err != nil:
		return true, 0, fmt.Errorf("the answer is %w: %w", errCutShort, err)
	case int64(len(body)) > s.pageBytes:
		return false, 0, errTooLarge
	}
	return true, 0, parse(body)
}

// failure is what an answer other than 200 says.
func failure(resp *http.Response) (again bool, err error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	var status metav1.Status
	isStatus := json.Unmarshal(body, &status) == nil && status.Kind == "Status"
	said := resp.Status
	if isStatus && status.Message != "" {
		said = strconv.Itoa(resp.StatusCode) + " " + status.Message
	}
	said = strings.ToValidUTF8(said[:min(len(said), maxMessage)], "")
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return false, fmt.Errorf("%w: %s", errRefused, said)
	case code == http.StatusNotFound && isStatus && status.Reason == metav1.StatusReasonNotFound:
		return false, fmt.Errorf("%w: %s", errNotFound, said)
	case code == http.StatusGone:
		return false, fmt.Errorf("%w: %s", expired{status.Continue}, said)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= http.StatusInternalServerError:
		return true, errors.New(said)
	}
	return false, errors.New(said)
}
