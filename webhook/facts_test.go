package webhook

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proviso.dev/proviso/engine"
)

// shelf is a cache that holds one namespace, or none yet.
type shelf struct {
	cache.Cache
	object atomic.Pointer[map[string]any]
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	o := s.object.Load()
	if o == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, key.Name)
	}
	into.(*unstructured.Unstructured).Object = *o
	return nil
}

func namespaces(t *testing.T) (*Facts, *watched, *shelf) {
	t.Helper()
	w := &watched{gvk: schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, synced: func() bool { return true }, bell: make(chan struct{})}
	s := &shelf{}
	f := &Facts{Now: time.Now, MaxAge: time.Minute, cache: s, kinds: map[[2]string]*watched{{"", "Namespace"}: w}}
	w.alive.Store(time.Now().UnixNano())
	return f, w, s
}

func within(patience time.Duration) context.Context {
	return context.WithValue(context.Background(), patienceKey{}, time.Now().Add(patience))
}

var teamA = engine.FactQuery{Kind: "Namespace", Name: "team-a"}

// A claim comes right after its namespace, and the cache a moment later.
func TestFactThatIsOnItsWayIsWaitedFor(t *testing.T) {
	f, w, s := namespaces(t)
	type answer struct {
		state engine.FactState
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		_, state, err := f.Fact(within(time.Minute), teamA, nil)
		got <- answer{state, err}
	}()
	w.ring() // of something else
	select {
	case a := <-got:
		t.Fatalf("answered %v, %v before it is there", a.state, a.err)
	case <-time.After(50 * time.Millisecond):
	}
	s.object.Store(&map[string]any{"metadata": map[string]any{"name": "team-a"}})
	w.ring()
	if a := <-got; a.state != engine.FactFound || a.err != nil {
		t.Errorf("%v, %v", a.state, a.err)
	}
}

func TestFactThatNeverComesIsUnknown(t *testing.T) {
	f, _, _ := namespaces(t)
	start := time.Now()
	_, state, err := f.Fact(within(100*time.Millisecond), teamA, nil)
	if took := time.Since(start); state != engine.FactUnknown || err == nil || took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("%v, %v after %v; a cache is never a proof that a name is not there", state, err, took)
	}
}

func TestFactsOfASilentWatchAreUnknown(t *testing.T) {
	f, w, s := namespaces(t)
	s.object.Store(&map[string]any{"metadata": map[string]any{"name": "team-a"}})
	if _, state, err := f.Fact(within(0), teamA, nil); state != engine.FactFound || err != nil {
		t.Fatalf("%v, %v", state, err)
	}
	for name, spoil := range map[string]func(){
		"a watch that is silent": func() { w.alive.Store(time.Now().Add(-2 * time.Minute).UnixNano()) },
		"one never heard":        func() { w.alive.Store(0) },
		"one not listed yet":     func() { w.alive.Store(time.Now().UnixNano()); w.synced = func() bool { return false } },
	} {
		spoil()
		_, state, err := f.Fact(within(0), teamA, nil)
		if state != engine.FactUnknown || !errors.Is(err, engine.ErrDoubtful) || f.Fresh(nil) == nil {
			t.Errorf("%s: %v, %v, fresh %v", name, state, err, f.Fresh(nil))
		}
	}
	if _, state, _ := f.Fact(within(0), engine.FactQuery{Kind: "Secret", Name: "x"}, nil); state != engine.FactUnknown {
		t.Error("a kind that is not watched is answered for")
	}
}

// Without its own kinds Proviso is never ready, so it ends and says why; what facts are told of another kind that is installed
// later needs a restart.
func TestFactsOfKindsThatAreNotServed(t *testing.T) {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Waiver", "Profile"} {
		_, err := NewFacts(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, mapper, [][2]string{{"velero.io", "Backup"}, {Group, kind}})
		if err == nil || !strings.Contains(err.Error(), kind) || !strings.Contains(err.Error(), "serve --print-config") {
			t.Errorf("%s: %v, want an error that says what to install", kind, err)
		}
	}
	f, err := NewFacts(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, mapper, [][2]string{{"velero.io", "Backup"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, state, err := f.Fact(within(0), engine.FactQuery{Group: "velero.io", Kind: "Backup"}, nil); state != engine.FactUnknown || err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("%v, %v, want it unknown until a restart", state, err)
	}
	if _, err := f.Objects("velero.io", "Backup", ""); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("%v, want the word restart", err)
	}
}
