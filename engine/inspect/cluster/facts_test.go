package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"proviso.dev/proviso/engine"
)

func TestFacts(t *testing.T) {
	labelled := named("", "velero")
	labelled["metadata"].(object)["labels"] = object{"tier": "gold"}
	labelled["metadata"].(object)["managedFields"] = []any{}
	noList := func(code int) func(*fake) {
		return func(f *fake) {
			f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
				listing := strings.HasSuffix(r.URL.Path, "/namespaces") || r.URL.Path == podsPath
				if listing {
					status(w, code, "", "no", "")
				}
				return listing
			}
		}
	}
	for name, c := range map[string]struct {
		q      engine.FactQuery
		change func(*fake)
		small  bool
		state  engine.FactState
		want   string
		err    string
		doubt  bool
	}{
		"by name":                          {q: engine.FactQuery{Kind: "Namespace", Name: "velero"}, state: engine.FactFound, want: "velero"},
		"absent":                           {q: engine.FactQuery{Kind: "Namespace", Name: "none"}, state: engine.FactAbsent},
		"cluster-scoped, with a namespace": {q: engine.FactQuery{Kind: "Namespace", Name: "velero", Namespace: "x"}, state: engine.FactFound, want: "velero"},
		"all":                              {q: engine.FactQuery{Kind: "Namespace", All: true}, state: engine.FactFound, want: "default velero"},
		"labels":                           {q: engine.FactQuery{Kind: "Namespace", Labels: map[string]string{"tier": "gold"}}, state: engine.FactFound, want: "velero"},
		"no such labels":                   {q: engine.FactQuery{Kind: "Namespace", Labels: map[string]string{"tier": "tin"}}, state: engine.FactFound},
		"names":                            {q: engine.FactQuery{Kind: "Namespace", Names: []string{"velero", "none", "velero", "default"}}, state: engine.FactFound, want: "velero default"},
		"patterns":                         {q: engine.FactQuery{Kind: "Namespace", Names: []string{"v*", "none"}, Wildcard: true}, state: engine.FactFound, want: "velero"},
		"in a namespace":                   {q: engine.FactQuery{Kind: "Pod", Namespace: "a", All: true}, state: engine.FactFound, want: "p"},
		"of a namespace":                   {q: engine.FactQuery{Kind: "Pod", Namespace: "b", Name: "p"}, state: engine.FactFound, want: "p"},
		"of another namespace":             {q: engine.FactQuery{Kind: "Pod", Namespace: "c", Name: "p"}, state: engine.FactAbsent},
		"of two namespaces":                {q: engine.FactQuery{Kind: "Pod", Name: "p"}, err: "2 times", doubt: true},
		"not installed":                    {q: engine.FactQuery{Group: "x.io", Kind: "Foo", Name: "f"}, state: engine.FactAbsent},
		"none installed":                   {q: engine.FactQuery{Group: "x.io", Kind: "Foo", All: true}, state: engine.FactFound},
		"group fails":                      {q: engine.FactQuery{Group: "velero.io", Kind: "Restore", Name: "r"}, change: stale, err: "velero.io/v2", doubt: true},
		"not declared":                     {q: engine.FactQuery{Kind: "Node", Name: "n"}, err: "no policy declared"},
		"our own":                          {q: engine.FactQuery{Group: ArtifactGroup, Kind: "Bucket", Name: "b"}, err: "holds no Bucket"},
		"refused":                          {q: engine.FactQuery{Kind: "Namespace", All: true}, change: noList(403), err: `"resources":["namespaces"]`},
		"refused, by name":                 {q: engine.FactQuery{Kind: "Namespace", Name: "velero"}, change: noList(403), state: engine.FactFound, want: "velero"},
		"refused, absent":                  {q: engine.FactQuery{Kind: "Namespace", Name: "none"}, change: noList(403), state: engine.FactAbsent},
		"refused, names":                   {q: engine.FactQuery{Kind: "Namespace", Names: []string{"velero", "none"}}, change: noList(403), state: engine.FactFound, want: "velero"},
		"refused, odd name":                {q: engine.FactQuery{Kind: "Namespace", Name: "a/../velero"}, change: noList(403), err: "refused"},
		"refused, any namespace":           {q: engine.FactQuery{Kind: "Pod", Name: "p"}, change: noList(403), err: "refused"},
		"failing":                          {q: engine.FactQuery{Kind: "Namespace", All: true}, change: noList(500), err: "500 no", doubt: true},
		"too many":                         {q: engine.FactQuery{Kind: "Namespace", All: true}, small: true, err: "more than are kept", doubt: true},
		"too many, by name":                {q: engine.FactQuery{Kind: "Namespace", Name: "velero"}, small: true, state: engine.FactFound, want: "velero"},
		"nobody knows":                     {q: engine.FactQuery{Kind: "Namespace", Name: "velero"}, change: fail("/api", 500), err: "discover", doubt: true},
		"refused, and so is getting": {q: engine.FactQuery{Kind: "Namespace", Name: "velero"}, err: `"verbs":["get","list"]`, change: func(f *fake) {
			f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
				if strings.HasPrefix(r.URL.Path, "/api/v1/") {
					status(w, 403, "", "no", "")
				}
				return strings.HasPrefix(r.URL.Path, "/api/v1/")
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.add("/api/v1/namespaces", named("", "default"), labelled)
			f.add(podsPath, named("a", "p"), named("b", "p"))
			if c.change != nil {
				c.change(f)
			}
			s := f.facts(spaces, pods, [2]string{"x.io", "Foo"}, [2]string{"velero.io", "Restore"}, [2]string{ArtifactGroup, "Bucket"})
			if c.small {
				s.MaxFacts = 10
			}
			for range 2 { // the second answer comes from what was kept
				v, state, err := s.Fact(context.Background(), c.q, nil)
				if state != c.state || (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Fatalf("state %v, %v; want %v, %q", state, err, c.state, c.err)
				}
				if errors.Is(err, engine.ErrDoubtful) != c.doubt {
					t.Errorf("%v: in doubt is not %v", err, c.doubt)
				}
				var got []string
				list, isList := v.([]any)
				if o, ok := v.(map[string]any); ok {
					list = []any{o}
				} else if state == engine.FactFound && !isList {
					t.Errorf("found is %T", v)
				}
				for _, o := range list {
					meta := o.(map[string]any)["metadata"].(map[string]any)
					got = append(got, meta["name"].(string))
					if meta["managedFields"] != nil && f.before == nil && !c.small {
						t.Errorf("%v holds what nobody asks for", meta)
					}
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestFactsAreAskedForOnce(t *testing.T) {
	f := newFake(t)
	f.add("/api/v1/namespaces", many(1201)...)
	for _, o := range f.objects["/api/v1/namespaces"] {
		delete(o["metadata"].(object), "namespace")
	}
	s := f.facts(spaces)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, state, err := s.Fact(context.Background(), engine.FactQuery{Kind: "Namespace", Name: "o001200"}, nil); state != engine.FactFound {
				t.Error(state, err)
			}
		})
	}
	wg.Wait()
	if n := f.asked["/api/v1/namespaces"]; n != 3 {
		t.Errorf("listed in %d pages, want 3", n)
	}
}

// TestFactsSurviveACancelledCaller asks first with a context that ends, then with one that does not.
func TestFactsSurviveACancelledCaller(t *testing.T) {
	f := newFake(t)
	f.add("/api/v1/namespaces", named("", "a"))
	s := f.facts(spaces)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.before = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.URL.Path == "/api/v1/namespaces" && n == 1 {
			cancel()
			status(w, 500, "", "no", "")
			return true
		}
		return false
	}
	q := engine.FactQuery{Kind: "Namespace", Name: "a"}
	if _, state, err := s.Fact(ctx, q, nil); state != engine.FactUnknown || err == nil {
		t.Errorf("cancelled: %v, %v", state, err)
	}
	if _, state, err := s.Fact(context.Background(), q, nil); state != engine.FactFound {
		t.Errorf("again: %v, %v", state, err)
	}
}
