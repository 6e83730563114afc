package store_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"proviso.dev/proviso/engine/store"
)

// faulty is a bucket server whose next answers are faults, taken from a queue; then it answers rightly.
type faulty struct {
	sync.Mutex
	faults []http.HandlerFunc
	asked  int
	body   string
	keys   []string
	page   int
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.Lock()
	defer f.Unlock()
	f.asked++
	if len(f.faults) > 0 {
		fault := f.faults[0]
		f.faults = f.faults[1:]
		if fault != nil {
			fault(w, r)
			return
		}
	}
	if r.URL.Query().Get("list-type") == "2" {
		f.list(w, r)
		return
	}
	w.Header().Set("ETag", `"e1"`)
	http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader(f.body))
}

func (f *faulty) list(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("continuation-token"))
	var contents strings.Builder
	end := min(from+f.page, len(f.keys))
	for _, k := range f.keys[from:end] {
		fmt.Fprintf(&contents, "<Contents><Key>%s</Key><Size>1</Size><ETag>e</ETag></Contents>", k)
	}
	more := ""
	if end < len(f.keys) {
		more = fmt.Sprintf("<NextContinuationToken>%d</NextContinuationToken>", end)
	}
	fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%t</IsTruncated>%s%s</ListBucketResult>", end < len(f.keys), contents.String(), more)
}

func (f *faulty) store(t *testing.T) store.Store {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	s, err := store.S3(t.Context(), store.Source{Bucket: "b", Prefix: "p/", Endpoint: server.URL,
		Budget: store.Budget{Attempts: 3, Backoff: time.Millisecond, Stall: 300 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func status(code int, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>told</Message></Error>", name)
	}
}

// breakAfter sends the first n bytes of what was to come and breaks the connection.
func (f *faulty) breakAfter(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(f.body)-1, len(f.body)))
		}
		w.Header().Set("ETag", `"e1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(f.body)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, f.body[from:from+n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// What fails for a while is read in the end, and what fails for longer is unavailable and never a shorter file.
func TestReadingThroughFaults(t *testing.T) {
	body := strings.Repeat("0123456789", 2000)
	f := &faulty{body: body}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	stall := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body[:100])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	otherObject := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != `"e1"` {
			t.Errorf("read on with If-Match %q", r.Header.Get("If-Match"))
		}
		status(http.StatusPreconditionFailed, "PreconditionFailed")(w, r)
	}
	whole := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e1"`)
		_, _ = io.WriteString(w, body)
	}
	slow := status(503, "SlowDown")
	for name, c := range map[string]struct {
		faults []http.HandlerFunc
		want   error
	}{
		"none":                          {nil, nil},
		"slow down twice":               {[]http.HandlerFunc{slow, slow}, nil},
		"slow down for ever":            {[]http.HandlerFunc{slow, slow, slow, slow}, store.ErrUnavailable},
		"reset":                         {[]http.HandlerFunc{reset, status(500, "InternalError")}, nil},
		"broken in the body":            {[]http.HandlerFunc{f.breakAfter(5000), f.breakAfter(5000)}, nil},
		"broken for ever":               {[]http.HandlerFunc{f.breakAfter(10), f.breakAfter(10), f.breakAfter(10)}, store.ErrUnavailable},
		"stalls once":                   {[]http.HandlerFunc{stall}, nil},
		"changed while it was read":     {[]http.HandlerFunc{f.breakAfter(10), otherObject}, store.ErrUnavailable},
		"ignores the range it is asked": {[]http.HandlerFunc{f.breakAfter(10), whole}, store.ErrUnavailable},
		"refused":                       {[]http.HandlerFunc{status(403, "AccessDenied")}, store.ErrRefused},
		"credentials expired":           {[]http.HandlerFunc{status(400, "ExpiredToken")}, store.ErrRefused},
		"not there":                     {[]http.HandlerFunc{status(404, "NoSuchKey")}, fs.ErrNotExist},
		"no such call":                  {[]http.HandlerFunc{status(501, "NotImplemented"), status(501, "NotImplemented"), status(501, "NotImplemented")}, store.ErrUnsupported},
		"refused later":                 {[]http.HandlerFunc{f.breakAfter(10), status(403, "AccessDenied")}, store.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			f.faults = c.faults
			s := f.store(t)
			got, err := "", error(nil)
			r, _, err := s.Open(t.Context(), "k")
			if err == nil {
				var b []byte
				b, err = io.ReadAll(r)
				got = string(b)
				_ = r.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want == nil && got != body {
				t.Errorf("read %d bytes, want all %d", len(got), len(body))
			}
		})
	}
}

func TestBudgetIsKept(t *testing.T) {
	f := &faulty{}
	for range 50 {
		f.faults = append(f.faults, status(503, "SlowDown"))
	}
	s := f.store(t)
	if _, _, err := s.Open(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	if f.asked != 3 {
		t.Errorf("asked %d times, want 3", f.asked)
	}
}

func TestOtherRegionIsNamed(t *testing.T) {
	f := &faulty{faults: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-3")
		status(http.StatusMovedPermanently, "PermanentRedirect")(w, r)
	}}}
	if _, _, err := f.store(t).Open(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "eu-west-3: name it with ?region=") {
		t.Errorf("error %v", err)
	}
}

// A listing is all keys, or an error: never a part taken for the whole.
func TestListingThroughFaults(t *testing.T) {
	keys := []string{"p/a", "p/b", "p/c", "p/d", "p/e"}
	result := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<ListBucketResult>"+text+"</ListBucketResult>")
		}
	}
	object := func(key string) string { return "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>" }
	cut := func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<ListBucketResult><IsTruncated>false</IsTruncated>"+object("p/c"))
	}
	for name, c := range map[string]struct {
		faults []http.HandlerFunc
		want   error
	}{
		"none":               {nil, nil},
		"slow down":          {[]http.HandlerFunc{nil, status(503, "SlowDown"), status(503, "SlowDown")}, nil},
		"fails in the midst": {[]http.HandlerFunc{nil, status(500, "x"), status(500, "x"), status(500, "x")}, store.ErrUnavailable},
		"no token":           {[]http.HandlerFunc{result("<IsTruncated>true</IsTruncated>" + object("p/a"))}, store.ErrUnavailable},
		"token repeated": {[]http.HandlerFunc{nil,
			result("<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>" + object("p/c")),
			result("<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>" + object("p/d"))}, store.ErrUnavailable},
		"page repeated":    {[]http.HandlerFunc{nil, result("<IsTruncated>false</IsTruncated>" + object("p/a"))}, store.ErrUnavailable},
		"unsorted":         {[]http.HandlerFunc{result(object("p/b") + object("p/a"))}, store.ErrUnavailable},
		"another prefix":   {[]http.HandlerFunc{result(object("q/a"))}, store.ErrUnavailable},
		"refused halfway":  {[]http.HandlerFunc{nil, status(403, "AccessDenied")}, store.ErrRefused},
		"cut XML once":     {[]http.HandlerFunc{nil, cut}, nil},
		"cut XML for ever": {[]http.HandlerFunc{nil, cut, cut, cut}, store.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := &faulty{faults: c.faults, keys: keys, page: 2}
			var got []string
			var failed error
			for info, err := range f.store(t).List(t.Context(), "") {
				if err != nil {
					failed = err
					continue
				}
				got = append(got, info.Key)
			}
			if !errors.Is(failed, c.want) {
				t.Fatalf("listed %q with error %v, want error %v", got, failed, c.want)
			}
			if c.want == nil && strings.Join(got, " ") != "a b c d e" {
				t.Errorf("listed %q", got)
			}
		})
	}
}

// Who has no credentials, or no server, is told so.
func TestNobodyAnswers(t *testing.T) {
	f := &faulty{}
	f.store(t) // for its environment
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	server := httptest.NewServer(f)
	gone := httptest.NewServer(f)
	t.Cleanup(server.Close)
	gone.Close()
	if _, err := store.S3(t.Context(), store.Source{Bucket: "b", Endpoint: server.URL}); !errors.Is(err, store.ErrRefused) || !strings.Contains(err.Error(), "there are no credentials") {
		t.Errorf("error %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "k")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	nowhere, err := store.S3(t.Context(), store.Source{Bucket: "b", Endpoint: gone.URL, Budget: store.Budget{Attempts: 2, Backoff: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := nowhere.Open(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("error %v", err)
	}
}

// The SDK looks for credentials where a machine of Amazon's would have them, and keeps what it thinks of the answer to itself.
func TestLookingForCredentialsPrintsNothing(t *testing.T) {
	metadata := httptest.NewServer(status(http.StatusForbidden, "no"))
	t.Cleanup(metadata.Close)
	(&faulty{}).store(t) // for its environment
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = said
	_, err = store.S3(t.Context(), store.Source{Bucket: "b"})
	os.Stderr = stderr
	_ = said.Close()
	if !errors.Is(err, store.ErrRefused) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(said.Name()); err != nil || len(text) > 0 {
		t.Errorf("stderr has %q, %v", text, err)
	}
}
