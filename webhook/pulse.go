package webhook

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pulse hears of each kind whether the API server still tells what there is: an event or a bookmark of its watch, the
// orderly end of a watch on which nothing happened, a listing that was read to its end. What is only begun, breaks off or is
// an error tells nothing. Of a listing in pages, only the watch that follows tells that there was no further page.
type pulse struct {
	next  http.RoundTripper
	facts *Facts
}

// bookmarks is how often the API server sends one on a watch where nothing happens, and a little more.
const bookmarks = 75 * time.Second

func (p pulse) RoundTrip(r *http.Request) (*http.Response, error) {
	var w *watched
	for _, one := range p.facts.kinds {
		if strings.HasSuffix(r.URL.Path, one.path) { // a proxy may have a path of its own before it
			w = one
		}
	}
	if w == nil {
		return p.next.RoundTrip(r)
	}
	q := r.URL.Query()
	watch, listing := q.Get("watch") != "", q.Get("sendInitialEvents") == "true"
	if at := w.listed.Load(); watch && !listing && at > w.alive.Load() {
		w.alive.Store(at)
	}
	if half := p.facts.limit() / 2; watch && half < bookmarks {
		// Where nothing happens, bookmarks come too seldom for facts this young: the watch is to end, and is begun anew.
		r = r.Clone(r.Context())
		q.Set("timeoutSeconds", strconv.Itoa(max(1, int(half.Seconds()))))
		r.URL.RawQuery = q.Encode()
	}
	answer, err := p.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	body := &heard{ReadCloser: answer.Body, watch: watch, listing: listing, sign: func() { w.alive.Store(p.facts.Now().UnixNano()) }}
	if !watch {
		body.sign = func() { w.listed.Store(p.facts.Now().UnixNano()) }
	}
	answer.Body = body
	return answer, nil
}

// heard is a listing or a watch as it is read.
type heard struct {
	io.ReadCloser
	sign func()
	// watch is whether it is one; listing is whether it is still at the listing that the API server was asked to send first,
	// of which the cache takes nothing before it is complete.
	watch, listing bool
	failed         bool
	// head is how the present event of a watch begins.
	head []byte
}

// longestHead holds a bookmark.
const longestHead = 1 << 10

// How an event begins that says that the watch failed, and one that may say that the listing is complete.
var (
	errorEvent    = []byte(`{"type":"ERROR"`)
	bookmarkEvent = []byte(`{"type":"BOOKMARK"`)
	listed        = []byte(`"k8s.io/initial-events-end"`)
)

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.ReadCloser.Read(b)
	for rest := b[:n]; h.watch && len(rest) > 0; {
		event, after, whole := bytes.Cut(rest, []byte("\n"))
		h.head = append(h.head, event[:min(len(event), longestHead-len(h.head))]...)
		if whole {
			h.event()
			h.head = h.head[:0]
		}
		rest = after
	}
	if err == io.EOF && !h.failed && !h.listing {
		h.sign()
	}
	return n, err
}

// event is one that was read whole.
func (h *heard) event() {
	if bytes.HasPrefix(h.head, errorEvent) {
		h.failed = true
		return
	}
	if h.listing && bytes.HasPrefix(h.head, bookmarkEvent) && bytes.Contains(h.head, listed) {
		h.listing = false
	}
	if !h.listing {
		h.sign()
	}
}
