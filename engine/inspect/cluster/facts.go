package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"

	"proviso.dev/proviso/engine"
)

const (
	defaultMaxFacts = 256 << 20
	// decodedBytes is up to which size a kind's objects are kept as they are answered.
	decodedBytes = 4 << 20
	// maxGets is how many answers by name are kept of a kind that could not be listed.
	maxGets = 10_000
)

// shelf is what is known of a kind that facts are asked of.
type shelf struct {
	turn   chan struct{}
	loaded bool

	resource resource
	// served is false where the cluster proves that it has no such kind.
	served bool
	// err is why not every object of the kind is here, and byName whether one may be asked for by its name.
	err    error
	byName bool
	// objects are sorted as they were listed; index finds those of a name.
	objects []kept
	index   map[string][]int
	gets    map[[2]string]map[string]any
}

// kept is one object, as JSON without what nobody asks for, or decoded where its kind has few.
type kept struct {
	namespace, name string
	raw             []byte
	object          map[string]any
}

func (k *kept) value() (map[string]any, error) {
	if k.object != nil {
		return k.object, nil
	}
	var object map[string]any
	err := kjson.Unmarshal(k.raw, &object)
	return object, err
}

// shelf is the kind's, loaded. The error is the context's.
func (s *Source) shelf(ctx context.Context, gk groupKind) (*shelf, error) {
	s.mu.Lock()
	sh := s.shelves[gk]
	if sh == nil {
		sh = &shelf{turn: make(chan struct{}, 1)}
		s.shelves[gk] = sh
	}
	s.mu.Unlock()
	if err := sh.take(ctx); err != nil {
		return nil, err
	}
	defer sh.leave()
	if !sh.loaded {
		if err := s.load(ctx, sh, gk); err != nil {
			return nil, err
		}
		sh.loaded = true
	}
	return sh, nil
}

func (sh *shelf) take(ctx context.Context) error {
	select {
	case sh.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (sh *shelf) leave() { <-sh.turn }

// load lists the kind. Its error is the context's; any other is the shelf's.
func (s *Source) load(ctx context.Context, sh *shelf, gk groupKind) error {
	found, err := s.discover(ctx)
	if err != nil {
		return err
	}
	sh.resource, sh.served, sh.err = found.resource(gk)
	sh.index, sh.gets, sh.objects, sh.byName = map[string][]int{}, map[[2]string]map[string]any{}, nil, sh.served
	if !sh.served {
		return nil
	}
	size := int64(0)
	for item, err := range s.list(ctx, sh.resource, sh.resource.collection(""), "") {
		added := int64(0)
		if err == nil {
			added, err = sh.keep(item)
			size += added
		}
		if !s.reserve(added) && err == nil {
			err = fmt.Errorf("list %s: there are more than are kept to answer facts", sh.resource)
		}
		if err != nil {
			sh.err, sh.objects, sh.index = err, nil, nil
			s.reserve(-size)
			break
		}
	}
	if err := ctx.Err(); err != nil || sh.err != nil {
		return err
	}
	if size <= decodedBytes {
		for i := range sh.objects {
			k := &sh.objects[i]
			if k.object, err = k.value(); err != nil {
				sh.err = err
			}
			k.raw = nil
		}
	}
	return nil
}

// reserve counts bytes as kept, or gives them back, and reports whether so many may be.
func (s *Source) reserve(bytes int64) bool {
	most := s.MaxFacts
	if most <= 0 {
		most = defaultMaxFacts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept += bytes
	return s.kept <= most
}

// keep adds an object, and gives its size.
func (sh *shelf) keep(item []byte) (int64, error) {
	object, err := sh.resource.object(item)
	if err != nil {
		return 0, err
	}
	delete(object["metadata"].(map[string]any), "managedFields")
	k := kept{}
	k.namespace, k.name = identity(object)
	if k.raw, err = json.Marshal(object); err != nil {
		return 0, fmt.Errorf("keep %s: %w", sh.resource, err)
	}
	sh.index[k.name] = append(sh.index[k.name], len(sh.objects))
	sh.objects = append(sh.objects, k)
	return int64(len(k.raw)), nil
}

// Fact answers one query. A kind is listed when it is first asked for; a list that is whole, or a kind that the cluster
// does not serve, proves that what is not in it is absent. Where a kind may not be listed, or has too many objects to be
// kept, one object is asked for by its name. What the cluster refuses or fails to tell is unknown, with the reason.
func (s *Source) Fact(ctx context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	if !s.FactKinds[[2]string{q.Group, q.Kind}] {
		return nil, engine.FactUnknown, fmt.Errorf("no policy declared that it asks for %s", q.Kind)
	}
	if q.Group == ArtifactGroup {
		return nil, engine.FactUnknown, fmt.Errorf("a cluster holds no %s", q.Kind)
	}
	sh, err := s.shelf(ctx, groupKind{q.Group, q.Kind})
	if err != nil {
		return nil, engine.FactUnknown, err
	}
	if !sh.resource.namespaced {
		q.Namespace = ""
	}
	switch {
	case q.Name != "":
		return s.one(ctx, sh, q.Namespace, q.Name)
	case q.Names != nil && !slices.ContainsFunc(q.Names, func(n string) bool { return strings.Contains(n, "*") }):
		return s.several(ctx, sh, q)
	}
	return sh.matching(q)
}

func (s *Source) one(ctx context.Context, sh *shelf, namespace, name string) (any, engine.FactState, error) {
	if sh.err != nil {
		if sh.byName && (namespace != "" || !sh.resource.namespaced) && !strings.ContainsAny(name, "/%") && name != "." && name != ".." {
			return s.byName(ctx, sh, namespace, name)
		}
		return nil, engine.FactUnknown, reason(sh.err)
	}
	var hits []int
	for _, i := range sh.index[name] {
		if namespace == "" || sh.objects[i].namespace == namespace {
			hits = append(hits, i)
		}
	}
	switch len(hits) {
	case 0:
		return nil, engine.FactAbsent, nil
	case 1:
		object, err := sh.objects[hits[0]].value()
		if err != nil {
			return nil, engine.FactUnknown, reason(err)
		}
		return object, engine.FactFound, nil
	}
	return nil, engine.FactUnknown, reason(fmt.Errorf("find %s %s: it is there %d times (name its namespace)", sh.resource, name, len(hits)))
}

func (s *Source) several(ctx context.Context, sh *shelf, q engine.FactQuery) (any, engine.FactState, error) {
	list, asked := []any{}, map[string]bool{}
	var errs []error
	for _, name := range q.Names {
		if asked[name] {
			continue
		}
		asked[name] = true
		v, state, err := s.one(ctx, sh, q.Namespace, name)
		switch state {
		case engine.FactFound:
			list = append(list, v)
		case engine.FactUnknown:
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, engine.FactUnknown, errors.Join(errs...)
	}
	return list, engine.FactFound, nil
}

// matching answers from the whole list of the kind.
func (sh *shelf) matching(q engine.FactQuery) (any, engine.FactState, error) {
	if sh.err != nil {
		return nil, engine.FactUnknown, reason(sh.err)
	}
	list := []any{}
	for i := range sh.objects {
		k := &sh.objects[i]
		if q.Namespace != "" && k.namespace != q.Namespace {
			continue
		}
		if q.Names != nil && !slices.ContainsFunc(q.Names, func(pattern string) bool { return engine.MatchesName(pattern, k.name) }) {
			continue
		}
		object, err := k.value()
		if err != nil {
			return nil, engine.FactUnknown, reason(err)
		}
		if hasLabels(object, q.Labels) {
			list = append(list, object)
		}
	}
	return list, engine.FactFound, nil
}

func hasLabels(object map[string]any, labels map[string]string) bool {
	have, _ := object["metadata"].(map[string]any)["labels"].(map[string]any)
	for key, want := range labels {
		if have[key] != any(want) {
			return false
		}
	}
	return true
}

// byName asks the cluster for one object. That it is not found proves that it is absent.
func (s *Source) byName(ctx context.Context, sh *shelf, namespace, name string) (any, engine.FactState, error) {
	if err := sh.take(ctx); err != nil {
		return nil, engine.FactUnknown, err
	}
	defer sh.leave()
	object, known := sh.gets[[2]string{namespace, name}]
	if !known {
		err := s.get(ctx, sh.resource.collection(namespace)+"/"+name, nil, "application/json", func(body []byte) (err error) {
			object, err = sh.resource.object(body)
			return err
		})
		switch {
		case errors.Is(err, errNotFound):
			object = nil
		case err != nil:
			if errors.Is(err, errRefused) {
				err = fmt.Errorf("%w: grant %s", err, rule(sh.resource.group, []string{sh.resource.name}, "get", "list"))
			}
			return nil, engine.FactUnknown, reason(fmt.Errorf("get %s %s: %w", sh.resource, name, err))
		}
		if gotNS, got := "", ""; object != nil {
			if gotNS, got = identity(object); got != name || sh.resource.namespaced && gotNS != namespace {
				return nil, engine.FactUnknown, reason(fmt.Errorf("get %s %s: the server answered with another object", sh.resource, name))
			}
		}
		if len(sh.gets) < maxGets {
			sh.gets[[2]string{namespace, name}] = object
		}
	}
	if object == nil {
		return nil, engine.FactAbsent, nil
	}
	return object, engine.FactFound, nil
}

// reason is an error of a fact: one that is not a missing right casts doubt on the cluster's answers.
func reason(err error) error {
	if errors.Is(err, errRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", engine.ErrDoubtful, err)
}
