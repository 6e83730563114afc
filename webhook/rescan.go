package webhook

import (
	"context"
	"log/slog"
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
// let in while nobody answered is seen at once. It keeps no object, only what was found about each.
type Rescan struct {
	Client  dynamic.Interface
	Sets    func() *Sets
	Facts   *Facts
	Metrics *Metrics
	Log     *slog.Logger

	// again is how often a kind is listed anew while there are unknowns; 0 is five minutes.
	again time.Duration

	mu sync.Mutex
	// found is what stands against an object, by its kind, and its namespace and name.
	found   map[string]map[string][]standing
	counted map[standing]int
}

// standing is a policy that an object fails, or of which it cannot be told.
type standing struct {
	policy  string
	verdict engine.Verdict
}

// Run watches the kinds until the context ends. What an earlier run found about a kind counts until its list is through, but
// for policies and kinds that are no longer there.
func (r *Rescan) Run(ctx context.Context, kinds []Resource) error {
	r.forget(kinds)
	// Facts that are not there yet would make unknowns of everything.
	for r.Facts.Fresh(nil) != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		gvr := schema.GroupVersionResource{Group: kind.Group, Version: kind.Versions[0], Resource: kind.Plural}
		objects := r.Client.Resource(gvr)
		one := &rescanned{Rescan: r, ctx: ctx, kind: kindOf(kind)}
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
				return passOn(w, one.judge), nil
			},
		}
		expected := &unstructured.Unstructured{}
		expected.SetGroupVersionKind(schema.GroupVersionKind{Group: kind.Group, Version: kind.Versions[0], Kind: kind.Kind})
		wg.Go(func() {
			for ctx.Err() == nil {
				one.listed(func(ctx context.Context) {
					cache.NewReflectorWithOptions(lw, expected, one, cache.ReflectorOptions{Name: "rescan " + kind.Kind}).RunWithContext(ctx)
				})
			}
		})
	}
	wg.Wait()
	<-ctx.Done() // there may be no kinds
	return nil
}

// passing is a watch whose objects are judged on their way. Unlike watch.Filter it ends when it is stopped, even while nobody
// takes what comes.
type passing struct {
	watch.Interface
	out  chan watch.Event
	stop func()
}

func passOn(from watch.Interface, judge func(*unstructured.Unstructured) *unstructured.Unstructured) *passing {
	stopped := make(chan struct{})
	p := &passing{from, make(chan watch.Event), sync.OnceFunc(func() { close(stopped) })}
	go func() {
		defer close(p.out)
		for e := range from.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok && (e.Type == watch.Added || e.Type == watch.Modified) {
				e.Object = judge(o)
			}
			select {
			case p.out <- e:
			case <-stopped:
				return
			}
		}
	}()
	return p
}

// ResultChan is part of watch.Interface.
func (p *passing) ResultChan() <-chan watch.Event { return p.out }

// Stop is part of watch.Interface.
func (p *passing) Stop() {
	p.stop()
	p.Interface.Stop()
}

func kindOf(r Resource) string { return schema.GroupKind{Group: r.Group, Kind: r.Kind}.String() }

// forget drops what was found about kinds that are not among these, and by policies that are no longer in force.
func (r *Rescan) forget(kinds []Resource) {
	watched, inForce := map[string]bool{}, map[string]bool{}
	for _, k := range kinds {
		watched[kindOf(k)] = true
	}
	for _, p := range r.Sets().Open.Policies() {
		inForce[p.ID] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found, r.counted = map[string]map[string][]standing{}, map[standing]int{}
	}
	for kind, objects := range r.found {
		for name, all := range objects {
			r.note(kind, name, slices.DeleteFunc(slices.Clone(all), func(f standing) bool { return !watched[kind] || !inForce[f.policy] }))
		}
	}
	for f := range r.counted {
		if !inForce[f.policy] {
			delete(r.counted, f)
			if r.Metrics != nil {
				r.Metrics.standing.DeleteLabelValues(f.policy, f.verdict.String())
			}
		}
	}
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
	ctx  context.Context
	kind string
	// listing is what was found since the kind began to be listed; nil once the list is through.
	listing map[string][]standing
}

// listed has the kind listed and watched until the context ends, or there are unknowns and it is time to look again: a fact
// that was missing when an object was judged may be there by now, and no event of the object says so.
func (r *rescanned) listed(run func(context.Context)) {
	r.mu.Lock()
	r.listing = map[string][]standing{}
	r.mu.Unlock()
	again := r.again
	if again == 0 {
		again = 5 * time.Minute
	}
	ctx, end := context.WithCancel(r.ctx)
	defer end()
	tick := time.NewTicker(again)
	defer tick.Stop()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if r.doubts() {
					end()
				}
			}
		}
	}()
	run(ctx)
}

// doubts reports whether an object of the kind is unknown to some policy; while it is listed that is not known.
func (r *rescanned) doubts() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listing != nil {
		return false
	}
	for _, all := range r.found[r.kind] {
		if slices.ContainsFunc(all, func(f standing) bool { return f.verdict == engine.Unknown }) {
			return true
		}
	}
	return false
}

func key(o *unstructured.Unstructured) string {
	return strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
}

// judge notes what stands against the object, and answers what the reflector needs of it.
func (r *rescanned) judge(o *unstructured.Unstructured) *unstructured.Unstructured {
	rest := &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"namespace": o.GetNamespace(), "name": o.GetName(), "resourceVersion": o.GetResourceVersion()}}}
	sub := engine.Subject{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Object: o.Object, Origin: engine.Origin{Source: "cluster"}}
	var all []standing
	for _, d := range r.Sets().Open.Judge(r.ctx, sub, r.Facts, time.Now()) {
		if (d.Verdict == engine.Fail || d.Verdict == engine.Unknown) && !d.Waived {
			all = append(all, standing{d.Policy.ID, d.Verdict})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ctx.Err() != nil: // what was not judged to its end is no finding
	case r.listing != nil:
		r.listing[key(o)] = all
	default:
		r.note(r.kind, key(o), all)
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
		r.mu.Lock()
		defer r.mu.Unlock()
		r.note(r.kind, key(o), nil)
	}
	return nil
}

// Replace is part of cache.ReflectorStore: the objects there are now. Of a kind that was being listed, what was found takes
// the place of what was found before.
func (r *rescanned) Replace(all []any, _ string) error {
	there := map[string]bool{}
	for _, object := range all {
		if o, ok := object.(*unstructured.Unstructured); ok {
			there[key(o)] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil
	}
	if r.listing != nil {
		for name := range there {
			r.note(r.kind, name, r.listing[name])
		}
		r.listing = nil
	}
	for name := range r.found[r.kind] {
		if !there[name] {
			r.note(r.kind, name, nil)
		}
	}
	return nil
}

// Resync is part of cache.ReflectorStore.
func (r *rescanned) Resync() error { return nil }

// note keeps what stands against an object, and tells what is new. The lock is held.
func (r *Rescan) note(kind, name string, all []standing) {
	before := r.found[kind][name]
	for _, f := range before {
		r.count(f, -1)
	}
	for _, f := range all {
		r.count(f, 1)
		if !slices.Contains(before, f) {
			r.Log.Warn("does not pass", "object", kind+" "+name, "policy", f.policy, "verdict", f.verdict.String())
		}
	}
	if r.found[kind] == nil {
		r.found[kind] = map[string][]standing{}
	}
	if r.found[kind][name] = all; len(all) == 0 {
		delete(r.found[kind], name)
	}
}

func (r *Rescan) count(f standing, by int) {
	r.counted[f] += by
	if r.Metrics != nil {
		r.Metrics.standing.WithLabelValues(f.policy, f.verdict.String()).Set(float64(r.counted[f]))
	}
}
