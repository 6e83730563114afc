package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// fake is an API server: aggregated discovery, or the older one, and collections by their path.
type fake struct {
	*httptest.Server
	t testing.TB
	// groups are the aggregated discovery: group/version to its resources; "core" is the group without a name.
	groups  []fakeVersion
	legacy  bool
	objects map[string][]object
	// before answers instead of the server, if it returns true. N is how often the path was asked for, from 1.
	before func(w http.ResponseWriter, r *http.Request, n int) bool

	mu    sync.Mutex
	asked map[string]int
	log   []string
}

type fakeVersion struct {
	group, version string
	stale          bool
	resources      []resource
}

type object = map[string]any

func res(kind, name string, namespaced bool) resource {
	return resource{groupKind: groupKind{"", kind}, name: name, namespaced: namespaced, listable: true}
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, asked: map[string]int{}, objects: map[string][]object{}, groups: []fakeVersion{
		{"", "v1", false, []resource{res("Namespace", "namespaces", false), res("Pod", "pods", true), res("Secret", "secrets", true), res("Event", "events", true), {groupKind: groupKind{"", "Binding"}, name: "bindings", namespaced: true}}},
		{"velero.io", "v1", false, []resource{res("Backup", "backups", true)}},
		{"storage.k8s.io", "v1", false, []resource{res("StorageClass", "storageclasses", false)}},
	}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) source(kinds ...[2]string) *Source {
	s, err := New("test", &rest.Config{Host: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	s.Kinds, s.Backoff = kinds, time.Millisecond
	s.FactKinds = map[[2]string]bool{}
	return s
}

func (f *fake) facts(kinds ...[2]string) *Source {
	s := f.source()
	for _, k := range kinds {
		s.FactKinds[k] = true
	}
	return s
}

func (f *fake) add(path string, objects ...object) {
	f.objects[path] = append(f.objects[path], objects...)
}

func named(namespace, name string) object {
	meta := object{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	return object{"metadata": meta}
}

func many(n int) []object {
	var all []object
	for i := range n {
		all = append(all, named("default", fmt.Sprintf("o%06d", i)))
	}
	return all
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]++
	n := f.asked[r.URL.Path]
	f.log = append(f.log, r.URL.String())
	f.mu.Unlock()
	if r.Method != http.MethodGet {
		f.t.Errorf("%s %s", r.Method, r.URL)
	}
	if f.before != nil && f.before(w, r, n) {
		return
	}
	switch {
	case r.URL.Path == "/api" || r.URL.Path == "/apis":
		f.discovery(w, r.URL.Path == "/api")
	case f.objects[r.URL.Path] != nil:
		f.page(w, r)
	default:
		for _, v := range f.groups {
			for _, res := range v.resources {
				res.group, res.version = v.group, v.version
				if f.legacy && r.URL.Path+"/" == strings.TrimSuffix(res.collection(""), res.name) {
					f.resources(w, v)
					return
				}
				if r.URL.Path == res.collection("") {
					f.page(w, r)
					return
				}
			}
		}
		f.one(w, r)
	}
}

func (f *fake) discovery(w http.ResponseWriter, core bool) {
	var groups, legacy []object
	for _, v := range f.groups {
		if (v.group == "") != core {
			continue
		}
		resources := []object{}
		for _, r := range v.resources {
			verbs := []string{"create"}
			if r.listable {
				verbs = []string{"get", "list", "watch"}
			}
			scope := "Cluster"
			if r.namespaced {
				scope = "Namespaced"
			}
			resources = append(resources, object{"resource": r.name, "responseKind": object{"kind": r.kind}, "scope": scope, "verbs": verbs})
		}
		fresh := "Current"
		if v.stale {
			fresh = "Stale"
		}
		version := object{"version": v.version, "resources": resources, "freshness": fresh}
		at := object{"groupVersion": strings.TrimPrefix(v.group+"/"+v.version, "/"), "version": v.version}
		if i := slices.IndexFunc(groups, func(g object) bool { return g["metadata"].(object)["name"] == v.group }); i >= 0 {
			groups[i]["versions"] = append(groups[i]["versions"].([]object), version)
			legacy[i]["versions"] = append(legacy[i]["versions"].([]object), at)
			continue
		}
		groups = append(groups, object{"metadata": object{"name": v.group}, "versions": []object{version}})
		legacy = append(legacy, object{"name": v.group, "preferredVersion": at, "versions": []object{at}})
	}
	switch {
	case !f.legacy:
		reply(w, 200, object{"kind": "APIGroupDiscoveryList", "items": groups})
	case core:
		reply(w, 200, object{"kind": "APIVersions", "versions": []string{"v1"}})
	default:
		reply(w, 200, object{"kind": "APIGroupList", "groups": legacy})
	}
}

func (f *fake) resources(w http.ResponseWriter, v fakeVersion) {
	if v.stale {
		status(w, 503, "ServiceUnavailable", "no endpoints", "")
		return
	}
	list := []object{{"name": "pods/log", "kind": "Pod", "verbs": []string{"list"}}}
	for _, r := range v.resources {
		verbs := []string{"create"}
		if r.listable {
			verbs = []string{"list", "get"}
		}
		list = append(list, object{"name": r.name, "kind": r.kind, "namespaced": r.namespaced, "verbs": verbs})
	}
	reply(w, 200, object{"kind": "APIResourceList", "resources": list})
}

// page is what the continue token, a number, and the limit say.
func (f *fake) page(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 500 || q.Has("resourceVersion") {
		f.t.Errorf("a list that is not paged: %s", r.URL)
	}
	from, _ := strconv.Atoi(q.Get("continue"))
	all := f.objects[r.URL.Path]
	to := min(len(all), from+limit)
	meta := object{"resourceVersion": "7"}
	if to < len(all) {
		meta["continue"] = strconv.Itoa(to)
		meta["remainingItemCount"] = len(all) - to
	}
	reply(w, 200, object{"kind": "SomeList", "apiVersion": "v1", "metadata": meta, "items": append([]object{}, all[from:to]...)})
}

func (f *fake) one(w http.ResponseWriter, r *http.Request) {
	at := strings.LastIndex(r.URL.Path, "/")
	path, name := r.URL.Path[:at], r.URL.Path[at+1:]
	for _, o := range f.objects[path] {
		if o["metadata"].(object)["name"] == name {
			reply(w, 200, o)
			return
		}
	}
	status(w, 404, "NotFound", "not found", "")
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

func status(w http.ResponseWriter, code int, reason, message, next string) {
	reply(w, code, object{"kind": "Status", "apiVersion": "v1", "reason": reason, "message": message, "metadata": object{"continue": next}})
}

// cut ends an answer in its middle.
func cut(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "1000")
	w.Write([]byte(`{"kind":"PodList","items":[{"metadata":{"name":"half"`))
	w.(http.Flusher).Flush() // else nothing of it is sent
	panic(http.ErrAbortHandler)
}
