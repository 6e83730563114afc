package rego

import (
	"context"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"proviso.dev/proviso/engine"
)

// roots are the parts of the document.
var roots = []string{"facts", "now", "object", "old", "operation", "params", "user"}

// subject is what all rules see of one subject. Its objects turn into Rego values as rules step into them, and stay
// turned: most rules read a few of a subject's fields. OPA reads base documents in the same way.
type subject struct {
	object, old, user ast.Object
	operation, now    ast.String
}

type subjectKey struct{}

// document is the rule's input. The parts are values already, so the object around them costs one small map.
func (r *Rule) document(in engine.Input) *ast.Term {
	s := in.Shared(subjectKey{}, func() any {
		return &subject{
			lazy(in.Subject.Object), lazy(in.Subject.Old), lazy(in.Subject.User),
			ast.String(in.Subject.Operation), ast.String(in.Now.UTC().Format(time.RFC3339Nano)),
		}
	}).(*subject)
	return ast.NewTerm(ast.LazyObject(map[string]any{
		"object": s.object, "old": s.old, "user": s.user,
		"operation": s.operation, "now": s.now,
		"params": r.parameters(in.Params), "facts": r.facts(in),
	}))
}

// lazy reads nil as empty: a document has no null where an object is meant.
func lazy(m map[string]any) ast.Object {
	if len(m) == 0 {
		return emptyObject
	}
	return ast.LazyObject(m)
}

var emptyObject = ast.NewObject()

// converted is a Go value and what became of it. It holds the Go value, so that no other can take its address.
type converted struct {
	from  any
	value ast.Value
}

// parameters are turned once, not for each subject: a policy's are the same map every time.
func (r *Rule) parameters(m map[string]any) ast.Value {
	if len(m) == 0 {
		return emptyObject
	}
	if c := r.params.Load(); c != nil && reflect.ValueOf(c.from).Pointer() == reflect.ValueOf(m).Pointer() {
		return c.value
	}
	v := ast.MustInterfaceToValue(m)
	r.params.Store(&converted{m, v})
	return v
}

type factKey struct{ at uintptr }

// facts turns each fact once: an object for each subject and lazily, a list for all subjects.
func (r *Rule) facts(in engine.Input) ast.Value {
	if len(in.Facts) == 0 {
		return emptyObject
	}
	values := make(map[string]any, len(in.Facts))
	for name, fact := range in.Facts {
		switch fact := fact.(type) {
		case map[string]any:
			c := in.Shared(factKey{reflect.ValueOf(fact).Pointer()}, func() any { return &converted{fact, lazy(fact)} })
			values[name] = c.(*converted).value
		case []any:
			values[name] = r.lists.value(fact)
		default:
			values[name] = fact
		}
	}
	return ast.LazyObject(values)
}

// maxLists is how many lists a listCache holds; a policy set asks for few that do not depend on the subject.
const maxLists = 64

// listCache keeps the lists that answered facts. A list may hold every object of a kind and answer for every subject.
type listCache struct {
	mu    sync.Mutex
	lists []converted
	next  int
}

func (c *listCache) value(list []any) ast.Value {
	if len(list) == 0 {
		return ast.NewArray()
	}
	c.mu.Lock()
	for _, l := range c.lists {
		if was := l.from.([]any); unsafe.SliceData(was) == unsafe.SliceData(list) && len(was) == len(list) {
			c.mu.Unlock()
			return l.value
		}
	}
	c.mu.Unlock()
	v := ast.MustInterfaceToValue(list)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lists) < maxLists {
		c.lists = append(c.lists, converted{list, v})
		return v
	}
	c.lists[c.next] = converted{list, v}
	c.next = (c.next + 1) % maxLists
	return v
}

// noData is a store that holds nothing, and the cache of one: a rule knows its module and its input.
type noData struct{ storage.Store }

// Get is part of topdown.BaseCache.
func (noData) Get(ast.Ref) ast.Value { return nil }

// Put is part of topdown.BaseCache.
func (noData) Put(ast.Ref, ast.Value) {}

// Read is part of storage.Store.
func (noData) Read(context.Context, storage.Transaction, storage.Path) (any, error) {
	return nil, &storage.Error{Code: storage.NotFoundErr}
}
