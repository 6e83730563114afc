package webhook

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"proviso.dev/proviso/engine"
)

// Rescan judges every object of the fail-open kinds as soon as it is there or changes, as a scan would: what the API server
// let in while nobody answered is seen at once. It keeps no object, only the policies that each fails.
type Rescan struct {
	Client  dynamic.Interface
	Sets    func() *Sets
	Facts   *Facts
	Metrics *Metrics
	Log     *slog.Logger

	mu sync.Mutex
	// failing are the policies that an object fails, by its kind, namespace and name.
	failing map[string][]string
	counted map[string]int
}

// Run watches the kinds until the context ends. What it holds of an earlier run is dropped.
func (r *Rescan) Run(ctx context.Context, kinds []Resource) error {
	// Facts that are not there yet would make unknowns of everything.
	for r.Facts.Fresh(nil) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	r.mu.Lock()
	r.failing, r.counted = map[string][]string{}, map[string]int{}
	r.mu.Unlock()
	if r.Metrics != nil {
		r.Metrics.standing.Reset()
	}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		gvr := schema.GroupVersionResource{Group: kind.Group, Version: kind.Versions[0], Resource: kind.Plural}
		objects := r.Client.Resource(gvr)
		one := &rescanned{Rescan: r, ctx: ctx, prefix: kind.Kind + "." + kind.Group + " "}
		// Objects are judged as they come and forgotten: what goes on to the reflector has their names only.
		lw := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				list, err := objects.List(ctx, o)
				if err != nil {
					return nil, err
				}
				for i := range list.Items {
					list.Items[i] = *one.judge(&list.Items[i])
				}
				return list, nil
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				w, err := objects.Watch(ctx, o)
				if err != nil {
					return nil, err
				}
				return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
					if o, ok := e.Object.(*unstructured.Unstructured); ok && (e.Type == watch.Added || e.Type == watch.Modified) {
						e.Object = one.judge(o)
					}
					return e, true
				}), nil
			},
		}
		expected := &unstructured.Unstructured{}
		expected.SetGroupVersionKind(schema.GroupVersionKind{Group: kind.Group, Version: kind.Versions[0], Kind: kind.Kind})
		wg.Go(func() {
			cache.NewReflectorWithOptions(lw, expected, one, cache.ReflectorOptions{Name: "rescan " + kind.Kind}).RunWithContext(ctx)
		})
	}
	wg.Wait()
	return nil
}

// OpenKinds are the kinds of which some operation that policies are for fails open.
func OpenKinds(rows []engine.MatchRow, known []Resource, moved map[string]Side) []Resource {
	if known == nil {
		known = Builtin()
	}
	served := index(known)
	var open []Resource
	for _, row := range rows {
		names := served[schema.GroupKind{Group: row.Group, Kind: row.Kinds[0]}]
		_, unwatched := never[schema.GroupKind{Group: row.Group, Kind: row.Kinds[0]}]
		if len(names) > 0 && !unwatched && slices.ContainsFunc(row.Operations, func(o string) bool { return SideOf(row.Group, row.Kinds[0], o, moved) == FailOpen }) {
			open = append(open, names[0]) // under another name they are the same objects
		}
	}
	return open
}

// rescanned is told of the objects of one kind; it is what a reflector takes for a store.
type rescanned struct {
	*Rescan
	ctx    context.Context
	prefix string
}

func (r *rescanned) key(o *unstructured.Unstructured) string {
	return r.prefix + strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
}

// judge notes what the object fails, and answers what the reflector needs of it.
func (r *rescanned) judge(o *unstructured.Unstructured) *unstructured.Unstructured {
	rest := &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"namespace": o.GetNamespace(), "name": o.GetName(), "resourceVersion": o.GetResourceVersion()}}}
	sets := r.Sets()
	if sets == nil {
		return rest
	}
	sub := engine.Subject{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Object: o.Object, Origin: engine.Origin{Source: "cluster"}}
	var failing []string
	for _, d := range sets.Open.Judge(r.ctx, sub, r.Facts, time.Now()) {
		if d.Verdict == engine.Fail && !d.Waived {
			failing = append(failing, d.Policy.ID)
		}
	}
	if r.ctx.Err() == nil {
		r.note(r.key(o), failing)
	}
	return rest
}

// Add is part of cache.ReflectorStore: what comes here was judged on its way.
func (r *rescanned) Add(any) error { return nil }

// Update is part of cache.ReflectorStore, like Add.
func (r *rescanned) Update(any) error { return nil }

// Delete is part of cache.ReflectorStore.
func (r *rescanned) Delete(object any) error {
	if o, ok := object.(*unstructured.Unstructured); ok {
		r.note(r.key(o), nil)
	}
	return nil
}

// Replace is part of cache.ReflectorStore: the objects there are now.
func (r *rescanned) Replace(all []any, _ string) error {
	there := map[string]bool{}
	for _, object := range all {
		if o, ok := object.(*unstructured.Unstructured); ok {
			there[r.key(o)] = true
		}
	}
	r.mu.Lock()
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(r.failing)), func(key string) bool { return there[key] || !strings.HasPrefix(key, r.prefix) })
	r.mu.Unlock()
	for _, key := range gone {
		r.note(key, nil)
	}
	return nil
}

// Resync is part of cache.ReflectorStore.
func (r *rescanned) Resync() error { return nil }

// note keeps what an object fails, and tells what is new.
func (r *Rescan) note(key string, failing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.failing[key]
	for _, id := range before {
		r.count(id, -1)
	}
	for _, id := range failing {
		r.count(id, 1)
		if !slices.Contains(before, id) {
			r.Log.Warn("not compliant", "object", key, "policy", id)
		}
	}
	if len(failing) == 0 {
		delete(r.failing, key)
	} else {
		r.failing[key] = failing
	}
}

func (r *Rescan) count(id string, by int) {
	r.counted[id] += by
	if r.Metrics != nil {
		r.Metrics.standing.WithLabelValues(id).Set(float64(r.counted[id]))
	}
}
