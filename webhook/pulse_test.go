package webhook

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// answering is an API server that answers everything alike.
type answering struct {
	status int
	body   io.Reader
	err    error
	asked  url.Values
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = r.URL.Query()
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(a.body)}, nil
}

func ask(t *testing.T, by http.RoundTripper, path string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://cluster"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return by.RoundTrip(r)
}

const (
	added    = `{"type":"ADDED","object":{"kind":"Namespace","metadata":{"name":"a","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n"
	bookmark = `{"type":"BOOKMARK","object":{"kind":"Namespace","metadata":{"resourceVersion":"7"}}}` + "\n"
	complete = `{"type":"BOOKMARK","object":{"kind":"Namespace","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n"
	gone     = `{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}` + "\n"
)

func TestWhatIsASignOfLife(t *testing.T) {
	const watching, listing, streaming = "/api/v1/namespaces?watch=true", "/api/v1/namespaces?limit=500", "/api/v1/namespaces?watch=true&sendInitialEvents=true"
	cut := func(text string) io.Reader {
		return io.MultiReader(strings.NewReader(text), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	whole := strings.NewReader
	items := `{"kind":"NamespaceList","metadata":{"resourceVersion":"7"},"items":[` + strings.Repeat(`{},`, 1000) + `{}]}`
	for name, c := range map[string]struct {
		path   string
		answer answering
		lives  bool
	}{
		"a listing read to its end":                 {listing, answering{200, whole(items), nil, nil}, true},
		"a listing that breaks off":                 {listing, answering{200, cut(items[:40]), nil, nil}, false},
		"a listing that breaks off at its end":      {listing, answering{200, cut(items), nil, nil}, false},
		"a listing that is refused":                 {listing, answering{429, whole(items), nil, nil}, false},
		"a listing that nobody answers":             {listing, answering{0, nil, errors.New("no route"), nil}, false},
		"another kind's listing":                    {"/api/v1/pods", answering{200, whole(items), nil, nil}, false},
		"an event":                                  {watching, answering{200, cut(added), nil, nil}, true},
		"a bookmark":                                {watching, answering{200, cut(bookmark), nil, nil}, true},
		"half an event":                             {watching, answering{200, cut(added[:60]), nil, nil}, false},
		"a watch that ends in order":                {watching, answering{200, whole(""), nil, nil}, true},
		"a watch that is begun and breaks off":      {watching, answering{200, cut(""), nil, nil}, false},
		"a watch that is refused":                   {watching, answering{410, whole(gone), nil, nil}, false},
		"a watch that is told an error":             {watching, answering{200, whole(gone), nil, nil}, false},
		"objects streamed whole":                    {streaming, answering{200, cut(added + complete), nil, nil}, true},
		"objects streamed that break off":           {streaming, answering{200, cut(added + bookmark), nil, nil}, false},
		"objects streamed that end before the last": {streaming, answering{200, whole(added), nil, nil}, false},
	} {
		for how, by := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			f, w, _ := namespaces(t)
			w.path = "/api/v1/namespaces"
			w.alive.Store(time.Now().Add(-time.Hour).UnixNano())
			server := c.answer
			if server.body != nil {
				text, bad := io.ReadAll(server.body)
				server.body = by(strings.NewReader(string(text)))
				if c.answer.body = strings.NewReader(string(text)); bad != nil {
					server.body = io.MultiReader(server.body, iotest.ErrReader(bad))
					c.answer.body = cut(string(text))
				}
			}
			answer, err := ask(t, pulse{&server, f}, c.path)
			if (err != nil) != (server.err != nil) {
				t.Fatal(err)
			}
			if w.alive.Load() > time.Now().Add(-time.Minute).UnixNano() {
				t.Errorf("%s, %s: it counts before anything was read", name, how)
			}
			if err == nil {
				_, _ = io.Copy(io.Discard, answer.Body) // how it ends is the matter
			}
			if c.path == listing && f.Fresh(nil) == nil {
				t.Errorf("%s, %s: it counts before it is known that no other page follows", name, how)
			}
			// What the reflector does when it has listed everything.
			if c.path == listing {
				ask(t, pulse{&answering{err: errors.New("no route")}, f}, streaming)
				ask(t, pulse{&answering{err: errors.New("no route")}, f}, listing)
				if f.Fresh(nil) == nil {
					t.Errorf("%s, %s: it counts though everything is listed anew", name, how)
				}
				ask(t, pulse{&answering{err: errors.New("no route")}, f}, watching)
			}
			if lives := f.Fresh(nil) == nil; lives != c.lives {
				t.Errorf("%s, %s: fresh is %v, want %v", name, how, lives, c.lives)
			}
		}
	}
}

// Only a watch is to end early, and only where bookmarks come too seldom for the age that facts may have.
func TestWatchesEndInTimeForYoungFacts(t *testing.T) {
	for _, c := range []struct {
		path string
		age  time.Duration
		want string
	}{
		{"/api/v1/namespaces?watch=true&timeoutSeconds=400", 10 * time.Second, "5"},
		{"/api/v1/namespaces?watch=true&timeoutSeconds=400", time.Second, "1"},
		{"/api/v1/namespaces?watch=true&timeoutSeconds=400", DefaultMaxAge, "400"},
		{"/api/v1/namespaces?limit=500", 10 * time.Second, ""},
		{"/api/v1/pods?watch=true&timeoutSeconds=400", 10 * time.Second, "400"},
	} {
		f, w, _ := namespaces(t)
		f.MaxAge, w.path = c.age, "/api/v1/namespaces"
		server := &answering{status: 200, body: strings.NewReader("")}
		if _, err := ask(t, pulse{server, f}, c.path); err != nil {
			t.Fatal(err)
		}
		if got := server.asked.Get("timeoutSeconds"); got != c.want {
			t.Errorf("%s for %v: timeoutSeconds is %q, want %q", c.path, c.age, got, c.want)
		}
	}
}
