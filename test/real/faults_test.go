//go:build unix

package real

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// faulty stands between Proviso and a store and answers some of the requests as broken servers and networks do.
type faulty struct {
	behind   *url.URL
	proxy    *httputil.ReverseProxy
	pick     func(*http.Request) bool // the requests that may be answered wrongly
	times    int64                    // how many of these are
	fault    func(w http.ResponseWriter, real *http.Response, body []byte)
	requests atomic.Int64
	faults   atomic.Int64
}

func newFaulty(t testing.TB, behind string) (*faulty, string) {
	t.Helper()
	u, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	// The signature covers the host the client called: it goes through as it came.
	f := &faulty{behind: u, proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	if f.fault == nil || !f.pick(r) || f.faults.Add(1) > f.times {
		f.proxy.ServeHTTP(w, r)
		return
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = f.behind.Scheme, f.behind.Host, ""
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	f.fault(w, answer, body)
}

func slowDown(w http.ResponseWriter, _ *http.Response, _ []byte) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>`)
}

// raw sends an answer with a length of its own choosing, and closes the connection after it.
func raw(w http.ResponseWriter, answer *http.Response, length string, body []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	var head bytes.Buffer
	h := answer.Header.Clone()
	h.Del("Content-Length")
	h.Set("Connection", "close")
	fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", answer.Status)
	_ = h.Write(&head)
	if length != "" {
		fmt.Fprintf(&head, "Content-Length: %s\r\n", length)
	}
	head.WriteString("\r\n")
	_, _ = conn.Write(append(head.Bytes(), body...))
}

func resetMidBody(w http.ResponseWriter, answer *http.Response, body []byte) {
	raw(w, answer, fmt.Sprint(len(body)), body[:len(body)/2])
}

func lengthTooLarge(w http.ResponseWriter, answer *http.Response, body []byte) {
	raw(w, answer, fmt.Sprint(len(body)+100), body)
}

func lengthTooSmall(w http.ResponseWriter, answer *http.Response, body []byte) {
	raw(w, answer, fmt.Sprint(len(body)/2), body[:len(body)/2])
}

// A whole answer by its status, and half of one by its body: no length, and the connection closes where the rest should be.
func earlyEnd(w http.ResponseWriter, answer *http.Response, body []byte) {
	raw(w, answer, "", body[:len(body)/2])
}

// endless is a listing that says there is more, with a token or without.
func endless(token string) func(http.ResponseWriter, *http.Response, []byte) {
	return func(w http.ResponseWriter, answer *http.Response, body []byte) {
		more := "<IsTruncated>true</IsTruncated>"
		if token != "" {
			more += "<NextContinuationToken>" + token + "</NextContinuationToken>"
		}
		body = bytes.Replace(body, []byte("<IsTruncated>false</IsTruncated>"), []byte(more), 1)
		raw(w, answer, fmt.Sprint(len(body)), body)
	}
}

func refused(w http.ResponseWriter, _ *http.Response, _ []byte) {
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`)
}

func listing(r *http.Request) bool { return r.URL.Query().Has("list-type") }

func tarball(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "20261101.tar.gz") }

// What fails for a while is read all the same; what keeps failing is a hole that is named, within a budget of calls and time, and never
// an exit code 0 or a part taken for the whole.
func TestRealFaults(t *testing.T) {
	gw := gateway(t)
	const bucket = "faults"
	gw.bucket(t, bucket, 0)
	err := filepath.WalkDir(fixture, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(fixture, path)
		gw.put(t, bucket, filepath.ToSlash(name), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	source := func(endpoint string) string {
		return fmt.Sprintf("velero:s3://%s?endpoint=%s&region=%s", bucket, endpoint, region)
	}
	_, endpoint := newFaulty(t, gw.endpoint)
	whole := scan(t, nil, source(endpoint))
	if len(whole.Unread) != 0 || whole.Summary["subjects"] < 10 {
		t.Fatalf("without faults: unread %v, summary %v, want a backup that was read whole\n%s", whole.Unread, whole.Summary, whole.errs)
	}
	const ever = 1 << 30
	for _, c := range []struct {
		name  string
		pick  func(*http.Request) bool
		times int64
		fault func(http.ResponseWriter, *http.Response, []byte)
		heals bool
	}{
		{"listing slowed down twice", listing, 2, slowDown, true},
		{"listing slowed down for ever", listing, ever, slowDown, false},
		{"listing refused", listing, ever, refused, false},
		{"listing cut short once", listing, 1, resetMidBody, true},
		{"listing cut short for ever", listing, ever, resetMidBody, false},
		{"listing without a token", listing, ever, endless(""), false},
		{"listing with the same token for ever", listing, ever, endless("again"), false},
		{"tarball slowed down twice", tarball, 2, slowDown, true},
		{"tarball slowed down for ever", tarball, ever, slowDown, false},
		{"tarball refused", tarball, ever, refused, false},
		{"tarball reset in its middle once", tarball, 1, resetMidBody, true},
		{"tarball reset in its middle for ever", tarball, ever, resetMidBody, false},
		{"tarball longer than it is", tarball, ever, lengthTooLarge, false},
		{"tarball shorter than it is", tarball, ever, lengthTooSmall, false},
		{"tarball ends early", tarball, ever, earlyEnd, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // what waits for a server that fails costs nothing
			proxy, endpoint := newFaulty(t, gw.endpoint)
			proxy.pick, proxy.times, proxy.fault = c.pick, c.times, c.fault
			begin := time.Now()
			f := scan(t, nil, source(endpoint))
			if proxy.faults.Load() == 0 {
				t.Fatal("the fault was never met: the suite tests nothing")
			}
			if n, limit := proxy.requests.Load(), int64(200); n > limit {
				t.Errorf("%d requests, want a budget that ends below %d", n, limit)
			}
			if spent := time.Since(begin); spent > 90*time.Second {
				t.Errorf("it took %v", spent)
			}
			if c.heals {
				if f.code != whole.code || len(f.Unread) != 0 || f.Summary["subjects"] != whole.Summary["subjects"] || f.Summary["fail"] != whole.Summary["fail"] {
					t.Errorf("exit code %d, unread %v, summary %v; want the same as without faults: %d, none, %v", f.code, f.Unread, f.Summary, whole.code, whole.Summary)
				}
				return
			}
			// A violation that was seen all the same outranks what is missing.
			if f.code != 2 && !(f.code == 3 && f.Summary["fail"] > 0) {
				t.Errorf("exit code %d with %d violations, want 2, or 3 with some", f.code, f.Summary["fail"])
			}
			if len(f.Unread) == 0 && f.Summary["unknown"] <= whole.Summary["unknown"] || f.Complete {
				t.Errorf("complete is %v, unread %v, %d unknown: want the hole named", f.Complete, f.Unread, f.Summary["unknown"])
			}
			if strings.HasPrefix(c.name, "tarball") {
				f.wantNot(t, "pass", "CMP-06", "BackupContents")
				f.wantNot(t, "pass", "CMP-03", "RestorePlan")
			}
		})
	}
}

// wantNot demands that a policy has not given a verdict on any subject of a kind.
func (f *found) wantNot(t testing.TB, verdict, ref, kind string) {
	t.Helper()
	for _, v := range f.verdicts(t, ref, kind, "") {
		if v == verdict {
			t.Errorf("%s (%s) on %s: %s", ref, policy(t, ref), kind, v)
		}
	}
}
