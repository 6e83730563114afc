package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

var (
	pods   = [2]string{"", "Pod"}
	spaces = [2]string{"", "Namespace"}
)

const podsPath = "/api/v1/pods"

func inspect(t testing.TB, s *Source) (subjects []*engine.Subject, holes []string) {
	t.Helper()
	for sub, err := range s.Inspect(context.Background()) {
		if err == nil {
			subjects = append(subjects, sub)
			continue
		}
		var unread *engine.Unread
		if !errors.As(err, &unread) || unread.Kind != engine.Hole || unread.Source != "cluster:test" || sub != nil {
			t.Errorf("%#v is no hole", err)
		}
		holes = append(holes, err.Error())
	}
	return subjects, holes
}

func names(subjects []*engine.Subject) string {
	var all []string
	for _, s := range subjects {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

func TestInspect(t *testing.T) {
	fill := func(f *fake) {
		f.add("/api/v1/namespaces", named("", "default"), named("", "velero"))
		f.add(podsPath, named("default", "a"), named("velero", "b"))
		f.add("/api/v1/events", named("default", "e"))
		f.add("/apis/velero.io/v1/backups", object{"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": object{"name": "n", "namespace": "velero"}})
	}
	for name, c := range map[string]struct {
		kinds  [][2]string
		change func(*fake)
		want   string
		holes  []string
	}{
		"two kinds":             {kinds: [][2]string{{"velero.io", "Backup"}, pods}, want: "Pod default/a, Pod velero/b, Backup velero/n"},
		"nothing is installed":  {kinds: [][2]string{{"example.com", "Foo"}, {"velero.io", "Restore"}}},
		"any kind":              {kinds: [][2]string{{"*", "*"}}, want: "Namespace default, Namespace velero, Pod default/a, Pod velero/b, Backup velero/n"},
		"any kind, and events":  {kinds: [][2]string{{"*", "*"}, {"", "Event"}}, want: "Event default/e, Namespace default, Namespace velero, Pod default/a, Pod velero/b, Backup velero/n"},
		"any kind of a group":   {kinds: [][2]string{{"velero.io", "*"}}, want: "Backup velero/n"},
		"a kind of any group":   {kinds: [][2]string{{"*", "Backup"}}, want: "Backup velero/n"},
		"what is never kept":    {kinds: [][2]string{{"", "Binding"}}},
		"our own artifacts":     {kinds: [][2]string{{ArtifactGroup, "Bucket"}}, change: func(f *fake) { f.groups = append(f.groups, fakeVersion{ArtifactGroup, "v1alpha1", true, nil}) }},
		"older server":          {kinds: [][2]string{{"velero.io", "Backup"}, pods}, change: func(f *fake) { f.legacy = true }, want: "Pod default/a, Pod velero/b, Backup velero/n"},
		"older server, any":     {kinds: [][2]string{{"*", "*"}}, change: func(f *fake) { f.legacy = true }, want: "Namespace default, Namespace velero, Pod default/a, Pod velero/b, Backup velero/n"},
		"another group fails":   {kinds: [][2]string{pods}, change: stale, want: "Pod default/a, Pod velero/b"},
		"a group fails":         {kinds: [][2]string{pods, {"velero.io", "Restore"}}, change: stale, want: "Pod default/a, Pod velero/b", holes: []string{"discover kinds of velero.io/v2"}},
		"a group fails, older":  {kinds: [][2]string{pods, {"velero.io", "Restore"}}, change: func(f *fake) { stale(f); f.legacy = true }, want: "Pod default/a, Pod velero/b", holes: []string{"discover kinds of velero.io/v2"}},
		"a group fails, any":    {kinds: [][2]string{{"*", "Pod"}}, change: stale, want: "Pod default/a, Pod velero/b", holes: []string{"discover kinds of velero.io/v2"}},
		"all groups fail":       {kinds: [][2]string{pods, {"velero.io", "Backup"}}, change: fail("/apis", 503), want: "Pod default/a, Pod velero/b", holes: []string{"discover kinds of /apis: 503"}},
		"no right to discover":  {kinds: [][2]string{pods}, change: fail("/api", 403), holes: []string{"system:discovery"}},
		"discovery is not JSON": {kinds: [][2]string{pods}, change: answer("/api", `{"kind":"APIGroupDiscoveryList","items":[`), holes: []string{"cannot be parsed"}},
		"discovery is no list":  {kinds: [][2]string{pods}, change: answer("/api", `{}`), holes: []string{"no list of groups"}},
		"no right to list":      {kinds: [][2]string{pods, spaces}, change: fail(podsPath, 403), want: "Namespace default, Namespace velero", holes: []string{`list pods: refused: 403 no: grant {"verbs":["list"],"apiGroups":[""],"resources":["pods"]}`}},
		"served, yet not found": {kinds: [][2]string{pods}, change: fail(podsPath, 404), holes: []string{"list pods: not found"}},
		"redirected":            {kinds: [][2]string{pods}, change: fail(podsPath, 302), holes: []string{"302"}},
		"no list":               {kinds: [][2]string{pods}, change: answer(podsPath, `{"kind":"PodList","metadata":{}}`), holes: []string{"no list"}},
		"list of another kind":  {kinds: [][2]string{pods}, change: answer(podsPath, `{"kind":"PodList","items":[{"kind":"Node","metadata":{"name":"x"}}]}`), holes: []string{`its kind is "Node"`}},
		"an object is unnamed":  {kinds: [][2]string{pods}, change: answer(podsPath, `{"kind":"PodList","items":[{}, {"metadata":{"name":"x"}},{"metadata":{"name":"x","namespace":"d"}}]}`), want: "Pod d/x", holes: []string{"no name", "namespace"}},
		"more that cannot come": {kinds: [][2]string{pods}, change: answer(podsPath, `{"kind":"PodList","metadata":{"remainingItemCount":3},"items":[]}`), holes: []string{"3 more follow"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			fill(f)
			if c.change != nil {
				c.change(f)
			}
			subjects, holes := inspect(t, f.source(c.kinds...))
			if got := names(subjects); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
			if len(holes) != len(c.holes) {
				t.Fatalf("holes are %q, want %q", holes, c.holes)
			}
			for i, want := range c.holes {
				if !strings.Contains(holes[i], want) {
					t.Errorf("hole is %q, want %q", holes[i], want)
				}
			}
		})
	}
}

func stale(f *fake) {
	f.groups = append(f.groups, fakeVersion{"velero.io", "v2", true, []resource{res("Gone", "gones", true)}})
	f.groups[len(f.groups)-1].resources[0].listable = false
}

func fail(path string, code int) func(*fake) {
	return func(f *fake) {
		f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.URL.Path != path {
				return false
			}
			w.Header().Set("Location", f.URL+"/api/v1/namespaces")
			status(w, code, map[int]string{404: "NotFound"}[code], "no", "")
			return true
		}
	}
}

func answer(path, body string) func(*fake) {
	return func(f *fake) {
		f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.URL.Path == path {
				w.Write([]byte(body))
			}
			return r.URL.Path == path
		}
	}
}

// TestPages cuts a listing of 1,201 pods, three pages, in every way a server can.
func TestPages(t *testing.T) {
	token := func(r *http.Request) string { return r.URL.Query().Get("continue") }
	for name, c := range map[string]struct {
		before func(w http.ResponseWriter, r *http.Request, n int) bool
		seen   int
		hole   string
	}{
		"whole": {seen: 1201},
		"busy, then well": {seen: 1201, before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n%3 != 0 {
				status(w, []int{429, 500, 503}[n%3], "", "busy", "")
			}
			return n%3 != 0
		}},
		"reset, then well": {seen: 1201, before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n%2 == 1 {
				cut(w)
			}
			return false
		}},
		"half a page, then well": {seen: 1201, before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n%2 == 1 {
				w.Write([]byte(`{"kind":"PodList","metadata":{},"items":[{"metadata":{"name":"x","namespace":"d"}}`))
			}
			return n%2 == 1
		}},
		"busy for ever": {seen: 500, hole: "429 busy (after 4 attempts), so that only the first 500 were seen", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n > 1 {
				status(w, 429, "", "busy", "")
			}
			return n > 1
		}},
		"reset for ever": {seen: 500, hole: "cut short", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n > 1 {
				cut(w)
			}
			return false
		}},
		"expired, with a way on": {seen: 1201, before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 2 {
				status(w, 410, "Expired", "too old", token(r))
			}
			return n == 2
		}},
		"expired, without": {seen: 500, hole: "does not say how to go on", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 2 {
				status(w, 410, "Expired", "too old", "")
			}
			return n == 2
		}},
		"expired for ever": {seen: 500, hole: "too old", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n >= 2 {
				status(w, 410, "Expired", "too old", token(r))
			}
			return n >= 2
		}},
		"the right goes": {seen: 500, hole: "refused", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n >= 2 {
				status(w, 403, "Forbidden", "no", "")
			}
			return n >= 2
		}},
		"one token for ever": {seen: 1, hole: "same continue token", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			fmt.Fprintf(w, `{"kind":"PodList","metadata":{"continue":"x"},"items":[{"metadata":{"name":"p%d","namespace":"d"}}]}`, n)
			return true
		}},
		"one page for ever": {seen: 1, hole: "same objects", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			fmt.Fprintf(w, `{"kind":"PodList","metadata":{"continue":"x%d"},"items":[{"metadata":{"name":"p","namespace":"d"}}]}`, n)
			return true
		}},
		"empty pages for ever": {seen: 0, hole: "without an object", before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			fmt.Fprintf(w, `{"kind":"PodList","metadata":{"continue":"x%d"},"items":[]}`, n)
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.add(podsPath, many(1201)...)
			f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
				return c.before != nil && r.URL.Path == podsPath && c.before(w, r, n)
			}
			s := f.source(pods)
			s.Attempts = 4
			subjects, holes := inspect(t, s)
			seen := map[string]bool{}
			for _, sub := range subjects {
				if seen[sub.Name] {
					t.Fatalf("%s is there twice", sub)
				}
				seen[sub.Name] = true
			}
			if len(seen) != c.seen {
				t.Errorf("saw %d, want %d", len(seen), c.seen)
			}
			if c.hole == "" && holes != nil || c.hole != "" && (len(holes) != 1 || !strings.Contains(holes[0], c.hole)) {
				t.Errorf("holes are %q, want %q", holes, c.hole)
			}
		})
	}
}

func TestLargePages(t *testing.T) {
	f := newFake(t)
	f.add(podsPath, many(300)...)
	s := f.source(pods)
	s.pageBytes = 4000
	if subjects, holes := inspect(t, s); len(subjects) != 300 || holes != nil {
		t.Errorf("saw %d with holes %q", len(subjects), holes)
	}
	s = f.source(pods)
	s.pageBytes = 50
	if subjects, holes := inspect(t, s); len(subjects) != 0 || len(holes) != 1 || !strings.Contains(holes[0], "larger") {
		t.Errorf("saw %d with holes %q", len(subjects), holes)
	}
}

func TestPreferredVersion(t *testing.T) {
	f := newFake(t)
	f.groups = append(f.groups,
		fakeVersion{"example.com", "v2", false, []resource{res("Foo", "foos", false)}},
		fakeVersion{"example.com", "v1", false, []resource{res("Foo", "foos", false), res("Old", "olds", false)}})
	f.add("/apis/example.com/v2/foos", named("", "f"))
	f.add("/apis/example.com/v1/foos", named("", "never"))
	f.add("/apis/example.com/v1/olds", named("", "o"))
	subjects, holes := inspect(t, f.source([2]string{"example.com", "Old"}, [2]string{"example.com", "Foo"}))
	if got := names(subjects); got != "Foo f, Old o" || holes != nil {
		t.Fatalf("found %s, %q", got, holes)
	}
	if s := subjects[0]; s.APIVersion != "example.com/v2" || s.Object["kind"] != "Foo" || s.Origin.Source != "cluster:test" || s.Operation != "" {
		t.Errorf("subject is %+v", s)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	const canary = "c4n4ry-value"
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	f := newFake(t)
	f.add("/api/v1/secrets", object{
		"data": object{"k": encoded, "odd": int64(7)}, "stringData": object{"s": canary}, "type": "Opaque",
		"metadata": object{"name": "s", "namespace": "d", "managedFields": []any{object{"manager": "m"}}, "annotations": object{
			"kubectl.kubernetes.io/last-applied-configuration": "anything", "kapp.k14s.io/original": `{"data":{"k":"x"}}`, "note": "is " + canary, "kept": "yes"}},
	})
	s := f.source([2]string{"", "Secret"})
	s.FactKinds[[2]string{"", "Secret"}] = true
	subjects, _ := inspect(t, s)
	fact, _, err := s.Fact(context.Background(), engine.FactQuery{Kind: "Secret", Name: "s", Namespace: "d"}, nil)
	if len(subjects) != 1 || err != nil {
		t.Fatal(subjects, err)
	}
	want := object{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"data": object{"k": digest([]byte(canary)), "odd": digest([]byte("7"))}, "stringData": object{"s": digest([]byte(canary))},
		"metadata": object{"name": "s", "namespace": "d", "annotations": object{"kept": "yes"}},
	}
	for _, got := range []any{subjects[0].Object, fact} {
		if !reflect.DeepEqual(got, want) {
			text, _ := json.Marshal(got)
			t.Errorf("secret is %s", text)
		}
	}
}

func TestCancelled(t *testing.T) {
	f := newFake(t)
	f.add(podsPath, many(1201)...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := false
	for _, err := range f.source(pods).Inspect(ctx) {
		cancel()
		told = told || errors.Is(err, context.Canceled)
	}
	if !told {
		t.Error("nobody is told that the listing is not whole")
	}
	for _, err := range f.source(pods).Inspect(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestMemoryIsFlat(t *testing.T) {
	f := newFake(t)
	f.add(podsPath, many(100_000)...)
	runtime.GC()
	var start, now runtime.MemStats
	runtime.ReadMemStats(&start)
	seen, most := 0, uint64(0)
	for _, err := range f.source(pods).Inspect(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen%20_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	if grown := int64(most) - int64(start.HeapAlloc); seen != 100_000 || grown > 8<<20 {
		t.Errorf("after %d objects the heap is %d bytes larger", seen, grown)
	}
}

func BenchmarkInspect(b *testing.B) {
	f := newFake(b)
	f.add(podsPath, many(10_000)...)
	for b.Loop() {
		if subjects, _ := inspect(b, f.source(pods)); len(subjects) != 10_000 {
			b.Fatal(len(subjects))
		}
	}
}
