package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"proviso.dev/proviso/engine"
)

// DefaultMaxAge is how long a watch may be silent before what it told is no longer used. The API server sends a bookmark
// about every minute.
const DefaultMaxAge = 5 * time.Minute

// Facts answers facts from caches of exactly the kinds it was made for. It is an engine.FactSource for admission: a list
// is as the watch last told, and a name that is not there is waited for, then unknown, never absent, because a cache runs
// behind the API server that asks.
type Facts struct {
	// MaxAge is how long a kind's watch may be silent; 0 is DefaultMaxAge.
	MaxAge time.Duration
	Now    func() time.Time

	cache cache.Cache
	kinds map[[2]string]*watched
	// unserved are kinds that the cluster does not know. What comes to be of them is not seen before a restart, so a fact
	// of theirs is unknown.
	unserved map[[2]string]bool
}

// watched is one kind that facts come from.
type watched struct {
	gvk  schema.GroupVersionKind
	path string // of its listing on the API server
	// synced is whether the first listing is in the cache.
	synced func() bool
	alive  atomic.Int64 // when the watch last gave a sign of life, Unix nanoseconds
	listed atomic.Int64 // when a page of a listing was last read to its end; what is watched next says that it was the last

	mu   sync.Mutex
	bell chan struct{} // closed at the next event
}

func (w *watched) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.bell)
	w.bell = make(chan struct{})
}

func (w *watched) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bell
}

// NewFacts makes caches of the kinds, which it starts to fill once Start is called. Proviso's own must be served.
func NewFacts(ctx context.Context, config *rest.Config, mapper meta.RESTMapper, kinds [][2]string) (*Facts, error) {
	f := &Facts{Now: time.Now, kinds: map[[2]string]*watched{}, unserved: map[[2]string]bool{}}
	for _, gk := range kinds {
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: gk[0], Kind: gk[1]})
		if meta.IsNoMatchError(err) && gk[0] == Group {
			// Without waivers and profiles this is never ready, and whoever restarts what has ended finds them one day.
			return nil, fmt.Errorf("watch %s/%s: the cluster does not serve it (install its definition: proviso serve --print-config | kubectl apply -f -; then start this again)", gk[0], gk[1])
		}
		if meta.IsNoMatchError(err) {
			f.unserved[gk] = true
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", strings.TrimPrefix(gk[0]+"/"+gk[1], "/"), err)
		}
		path := "/apis/" + mapping.Resource.Group + "/" + mapping.Resource.Version
		if mapping.Resource.Group == "" {
			path = "/api/" + mapping.Resource.Version
		}
		f.kinds[gk] = &watched{gvk: mapping.GroupVersionKind, path: path + "/" + mapping.Resource.Resource, bell: make(chan struct{})}
	}
	own := rest.CopyConfig(config)
	own.Wrap(func(next http.RoundTripper) http.RoundTripper { return pulse{next, f} })
	var err error
	f.cache, err = cache.New(own, cache.Options{Mapper: mapper, DefaultTransform: cache.TransformStripManagedFields(), DefaultUnsafeDisableDeepCopy: new(true), ReaderFailOnMissingInformer: true})
	if err != nil {
		return nil, fmt.Errorf("make caches: %w", err)
	}
	for _, w := range f.kinds {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(w.gvk)
		informer, err := f.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", w.gvk.Kind, err)
		}
		handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { w.ring() }, UpdateFunc: func(any, any) { w.ring() }, DeleteFunc: func(any) { w.ring() },
		})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", w.gvk.Kind, err)
		}
		w.synced = handle.HasSynced
	}
	return f, nil
}

// Start fills the caches and keeps them until the context ends.
func (f *Facts) Start(ctx context.Context) error { return f.cache.Start(ctx) }

// Covers reports whether every one of the kinds is watched.
func (f *Facts) Covers(kinds [][2]string) error {
	for _, gk := range kinds {
		if f.kinds[gk] == nil && !f.unserved[gk] {
			return fmt.Errorf("%s is not watched: it needs a restart, and the right to list and watch it", strings.TrimPrefix(gk[0]+"/"+gk[1], "/"))
		}
	}
	return nil
}

// Objects are those of a kind, sorted by namespace and name, as facts would be told of them.
func (f *Facts) Objects(group, kind, namespace string) ([]map[string]any, error) {
	w := f.kinds[[2]string{group, kind}]
	if w == nil {
		return nil, fmt.Errorf("%s.%s is not watched (a kind that was installed later is seen after a restart)", kind, group)
	}
	if err := f.usable(w); err != nil {
		return nil, err
	}
	list, err := f.list(context.Background(), w, &client.ListOptions{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	objects := make([]map[string]any, len(list))
	for i := range list {
		objects[i] = list[i].Object
	}
	return objects, nil
}

// Changed is closed at the next event of a kind; nil, which is never closed, where the kind is not watched.
func (f *Facts) Changed(group, kind string) <-chan struct{} {
	if w := f.kinds[[2]string{group, kind}]; w != nil {
		return w.next()
	}
	return nil
}

func (f *Facts) list(ctx context.Context, w *watched, options *client.ListOptions) ([]unstructured.Unstructured, error) {
	var all unstructured.UnstructuredList
	all.SetGroupVersionKind(w.gvk.GroupVersion().WithKind(w.gvk.Kind + "List"))
	if err := f.cache.List(ctx, &all, options); err != nil {
		return nil, fmt.Errorf("list %s: %w", w.gvk.Kind, err)
	}
	slices.SortFunc(all.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return all.Items, nil
}

// Fresh says which kind's cache is empty or too old, the first by name; nil where none is.
func (f *Facts) Fresh(m *Metrics) error {
	var stale []string
	for gk, w := range f.kinds {
		if m != nil {
			m.factAge.WithLabelValues(gk[0], gk[1]).Set(f.age(w).Seconds())
		}
		if err := f.usable(w); err != nil {
			stale = append(stale, err.Error())
		}
	}
	if len(stale) == 0 {
		return nil
	}
	slices.Sort(stale)
	return errors.New(stale[0])
}

func (f *Facts) age(w *watched) time.Duration {
	at := w.alive.Load()
	if at == 0 {
		return 1 << 62
	}
	return f.Now().Sub(time.Unix(0, at))
}

func (f *Facts) limit() time.Duration {
	if f.MaxAge == 0 {
		return DefaultMaxAge
	}
	return f.MaxAge
}

func (f *Facts) usable(w *watched) error {
	limit := f.limit()
	if !w.synced() {
		return fmt.Errorf("objects of kind %s were not listed yet", w.gvk.Kind)
	}
	if age := f.age(w); age > limit {
		return fmt.Errorf("the watch of %s has been silent for %v, and %v is the most", w.gvk.Kind, age.Round(time.Second), limit)
	}
	return nil
}

// Fact is part of engine.FactSource.
func (f *Facts) Fact(ctx context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	w := f.kinds[[2]string{q.Group, q.Kind}]
	if w == nil {
		return nil, engine.FactUnknown, fmt.Errorf("%s is not watched (a kind that was installed later is seen after a restart)", q.Kind)
	}
	if err := f.usable(w); err != nil {
		return nil, engine.FactUnknown, fmt.Errorf("%w: %w", engine.ErrDoubtful, err)
	}
	if q.Name != "" {
		o, err := f.named(ctx, w, q.Namespace, q.Name)
		if err != nil {
			return nil, engine.FactUnknown, err
		}
		return o, engine.FactFound, nil
	}
	if len(q.Names) > 0 && !slices.ContainsFunc(q.Names, func(n string) bool { return strings.Contains(n, "*") }) {
		list := []any{}
		for _, n := range q.Names {
			o, err := f.named(ctx, w, q.Namespace, n)
			if err != nil {
				return nil, engine.FactUnknown, err
			}
			list = append(list, o)
		}
		return list, engine.FactFound, nil
	}
	options := &client.ListOptions{Namespace: q.Namespace}
	if len(q.Labels) > 0 {
		options.LabelSelector = labels.SelectorFromSet(q.Labels)
	}
	all, err := f.list(ctx, w, options)
	if err != nil {
		return nil, engine.FactUnknown, err
	}
	list := []any{}
	for _, o := range all {
		if len(q.Names) == 0 || slices.ContainsFunc(q.Names, func(pattern string) bool { return engine.MatchesName(pattern, o.GetName()) }) {
			list = append(list, o.Object)
		}
	}
	return list, engine.FactFound, nil
}

// named waits for an object that is not there yet: a claim is often created right after its namespace.
func (f *Facts) named(ctx context.Context, w *watched, namespace, name string) (map[string]any, error) {
	until := time.NewTimer(time.Until(Patience(ctx)))
	defer until.Stop()
	for {
		bell := w.next()
		var o unstructured.Unstructured
		o.SetGroupVersionKind(w.gvk)
		err := f.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &o)
		if err == nil {
			return o.Object, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get %s %s: %w", w.gvk.Kind, name, err)
		}
		missing := fmt.Errorf("there is no %s %s that this replica knows of (if it was made just now, retry)", w.gvk.Kind, name)
		select {
		case <-bell:
		case <-until.C:
			return nil, missing
		case <-ctx.Done():
			return nil, missing
		}
	}
}
