package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"proviso.dev/proviso/engine"
)

// things is an API server with Things and Others, that can be told to hold its listings.
type things struct {
	mu     sync.Mutex
	held   chan struct{}
	lists  atomic.Int32
	weak   string        // the names of the Things that are weak
	events chan []string // lines of a watch of Things
}

func (a *things) hold() (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := make(chan struct{})
	a.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (a *things) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := map[string]string{"/api/v1/things": "Thing", "/api/v1/others": "Other"}[r.URL.Path]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case kind == "":
		http.NotFound(w, r)
	case r.URL.Query().Get("sendInitialEvents") != "": // as an API server of old
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
	case r.URL.Query().Get("watch") != "":
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case lines := <-a.events:
				for _, line := range lines {
					fmt.Fprintln(w, line)
				}
				_ = http.NewResponseController(w).Flush()
			}
		}
	default:
		a.lists.Add(1)
		a.mu.Lock()
		held, weak := a.held, a.weak
		a.mu.Unlock()
		if held != nil && kind == "Thing" {
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		var items []string
		for _, name := range []string{"a", "b", "c"} {
			items = append(items, thing(kind, name, strings.Contains(weak, name)))
		}
		fmt.Fprintf(w, `{"kind":"%sList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[%s]}`, kind, strings.Join(items, ","))
	}
}

func thing(kind, name string, weak bool) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":%q,"metadata":{"name":%q,"resourceVersion":"1"},"spec":{"weak":%v}}`, kind, name, weak)
}

// asWeak fails what is weak, and cannot tell while it is in doubt.
type asWeak struct{ doubt *atomic.Bool }

func (r asWeak) Eval(_ context.Context, in engine.Input) ([]engine.Violation, error) {
	if r.doubt.Load() {
		return nil, errors.New("no fact is there")
	}
	if spec, _ := in.Subject.Object["spec"].(map[string]any); spec["weak"] == true {
		return []engine.Violation{{Message: "it is weak"}}, nil
	}
	return nil, nil
}

// rescanning is a Rescan of an API server with the policies of these ids, each for Things and Others.
type rescanning struct {
	*Rescan
	api      *things
	doubt    atomic.Bool
	log      bytes.Buffer
	set      atomic.Pointer[Sets]
	registry *prometheus.Registry
}

func rescan(t *testing.T, weak string) *rescanning {
	t.Helper()
	r := &rescanning{api: &things{weak: weak, events: make(chan []string)}, registry: prometheus.NewRegistry()}
	server := httptest.NewServer(r.api)
	t.Cleanup(server.Close)
	objects, err := dynamic.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := NewMetrics(r.registry)
	if err != nil {
		t.Fatal(err)
	}
	r.Rescan = &Rescan{Client: objects, Sets: r.set.Load, Facts: &Facts{}, Metrics: metrics, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	return r
}

// force puts the policies of these ids into force, for these kinds, and answers how to stop.
func (r *rescanning) force(t *testing.T, kinds string, ids ...string) (stop func()) {
	t.Helper()
	var policies []engine.Policy
	for _, id := range ids {
		policies = append(policies, engine.Policy{ID: id, Severity: engine.Low, Rule: asWeak{&r.doubt}, Match: engine.Match{{Kinds: []string{"Thing", "Other"}, Operations: []string{engine.Create}}}})
	}
	set, err := engine.NewSet(policies)
	if err != nil {
		t.Fatal(err)
	}
	r.set.Store(&Sets{set, set})
	var resources []Resource
	for _, kind := range strings.Fields(kinds) {
		resources = append(resources, Resource{Versions: []string{"v1"}, Kind: kind, Plural: strings.ToLower(kind) + "s"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, resources) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (r *rescanning) finds(t *testing.T, what string, want map[string]float64) {
	t.Helper()
	await(t, what, func() error {
		if got := scraped(t, r.registry, "proviso_standing_findings"); !maps.Equal(got, want) {
			return fmt.Errorf("found %v, want %v", got, want)
		}
		return nil
	})
}

func TestRescanHoldsWhatDoesNotPass(t *testing.T) {
	r := rescan(t, "a b")
	r.again = time.Hour
	stop := r.force(t, "Thing", "access/x")
	r.finds(t, "what is there", map[string]float64{"access/x fail": 2})
	r.api.events <- []string{`{"type":"MODIFIED","object":` + thing("Thing", "a", false) + `}`, `{"type":"DELETED","object":` + thing("Thing", "b", true) + `}`}
	r.finds(t, "mended and deleted", map[string]float64{"access/x fail": 0})
	r.doubt.Store(true)
	r.api.events <- []string{`{"type":"MODIFIED","object":` + thing("Thing", "a", false) + `}`}
	r.finds(t, "unknown", map[string]float64{"access/x fail": 0, "access/x unknown": 1})
	stop()
	if text := r.log.String(); strings.Count(text, "verdict=fail") != 2 || strings.Count(text, "verdict=unknown") != 1 {
		t.Errorf("logged\n%s", text)
	}
}

// A fact that was missing comes, and no event of the object says so.
func TestRescanLooksAgainAtWhatIsUnknown(t *testing.T) {
	r := rescan(t, "a")
	r.again = 20 * time.Millisecond
	r.doubt.Store(true)
	stop := r.force(t, "Thing", "access/x")
	r.finds(t, "unknown", map[string]float64{"access/x unknown": 3})
	r.doubt.Store(false)
	r.finds(t, "known", map[string]float64{"access/x unknown": 0, "access/x fail": 1})
	// And once all is known, nobody asks any more.
	before := r.api.lists.Load()
	for range 10 {
		begun := time.Now()
		r.api.events <- []string{`{"type":"MODIFIED","object":` + thing("Thing", "b", true) + `}`, `{"type":"MODIFIED","object":` + thing("Thing", "c", true) + `}`}
		r.finds(t, "more", map[string]float64{"access/x unknown": 0, "access/x fail": 3})
		r.api.events <- []string{`{"type":"DELETED","object":` + thing("Thing", "b", true) + `}`, `{"type":"DELETED","object":` + thing("Thing", "c", true) + `}`}
		r.finds(t, "fewer", map[string]float64{"access/x unknown": 0, "access/x fail": 1})
		await(t, "time to look again", func() error {
			if time.Since(begun) < r.again {
				return errors.New("not yet")
			}
			return nil
		})
	}
	if n := r.api.lists.Load(); n != before {
		t.Errorf("listed %d times more", n-before)
	}
	stop()
}

// While other policies are being looked at, what was found counts; a kind that is through has what is found now.
func TestRescanKeepsWhatItFoundUntilItKnowsBetter(t *testing.T) {
	r := rescan(t, "a b")
	stop := r.force(t, "Thing Other", "access/x", "access/gone")
	r.finds(t, "before", map[string]float64{"access/x fail": 4, "access/gone fail": 4})
	stop()
	r.api.mu.Lock()
	r.api.weak = "a"
	r.api.mu.Unlock()
	release := r.api.hold()
	defer release()
	stop = r.force(t, "Thing Other", "access/x", "access/new")
	// Of Things what was known, but for the policy that is gone; of Others what is known now.
	r.finds(t, "one kind through", map[string]float64{"access/x fail": 3, "access/new fail": 1})
	release()
	r.finds(t, "both kinds through", map[string]float64{"access/x fail": 2, "access/new fail": 2})
	stop()
	// A kind that fails open no longer is none of its business.
	r.force(t, "Other", "access/x", "access/new")
	r.finds(t, "one kind less", map[string]float64{"access/x fail": 1, "access/new fail": 1})
}

// A watch that is stopped while nobody takes what comes leaves nothing behind.
func TestWatchesEndWhenTheyAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails where anything is left behind
		from := watch.NewFake()
		p := passOn(from, func(o *unstructured.Unstructured) *unstructured.Unstructured { return o })
		from.Modify(&unstructured.Unstructured{}) // taken, and now in nobody's hands
		p.Stop()
	})
}

// Where no kind fails open there is nothing to watch, and what runs it anew when it ends must not find it ended at once.
func TestRescanOfNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set, err := engine.NewSet(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &Rescan{Sets: func() *Sets { return &Sets{set, set} }, Facts: &Facts{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, nil) }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("it ended by itself")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
