package velero

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"

	"proviso.dev/proviso/engine"
)

// facts holds what facts are answered from, for each backup whose subjects may still be asked about.
type facts struct {
	mu      sync.RWMutex
	backups map[string]*backupFacts
	n       int64 // subjects yielded
}

// backupFacts are the objects of one backup that facts may be asked of.
type backupFacts struct {
	mu      sync.Mutex
	objects map[[2]string]map[[2]string]*kept // by group and kind, then by namespace and name
	over    map[[2]string]bool
	room    int64
	why     string // why the backup is in doubt
	ready   bool
	last    int64 // the number of the last subject of it that was yielded
}

// kept is an object's text, decoded once it is asked for.
type kept struct {
	text   string
	object map[string]any
	twice  bool
}

// start begins a backup, and lets go of those whose subjects were all judged long ago: a run never has more results
// waiting than it has workers and room for.
func (f *facts) start(key string, room int64) *backupFacts {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.backups == nil {
		f.backups = map[string]*backupFacts{}
	}
	window := int64(1024 + 64*runtime.GOMAXPROCS(0))
	for dir, b := range f.backups {
		if b.ready && b.last+window < f.n {
			delete(f.backups, dir)
		}
	}
	b := &backupFacts{objects: map[[2]string]map[[2]string]*kept{}, over: map[[2]string]bool{}, room: room, last: f.n}
	f.backups[path.Dir(key)] = b
	return b
}

// yielded is told of every subject, by its origin's file.
func (f *facts) yielded(file string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if b := f.backups[home(file)]; b != nil {
		b.last = f.n
	}
}

// home is the folder of the backup that a file, or an entry of it, belongs to.
func home(file string) string {
	key, _, _ := strings.Cut(file, ".tar.gz!")
	return path.Dir(key)
}

func (b *backupFacts) keep(who identity, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gk := [2]string{who.group(), who.kind}
	if b.room -= int64(len(text)); b.room < 0 {
		b.over[gk] = true
		return
	}
	if b.objects[gk] == nil {
		b.objects[gk] = map[[2]string]*kept{}
	}
	name := [2]string{who.namespace, who.name}
	if there := b.objects[gk][name]; there != nil {
		there.twice = true
		return
	}
	b.objects[gk][name] = &kept{text: text}
}

func (b *backupFacts) doubt(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == "" {
		b.why = why
	}
}

func (b *backupFacts) finish(incomplete string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = true
	if incomplete != "" {
		b.why = incomplete
	}
}

// Fact answers from the subject's own backup: what is in it is found, everything else is unknown, for a backup proves
// nothing absent. Queries for more than single names are unknown for the same reason.
func (s *Source) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	unknown := func(format string, args ...any) (any, engine.FactState, error) {
		return nil, engine.FactUnknown, fmt.Errorf(format, args...)
	}
	if err := ctx.Err(); err != nil {
		return nil, engine.FactUnknown, err
	}
	gk := [2]string{q.Group, q.Kind}
	s.facts.mu.RLock()
	b := s.facts.backups[home(about.Origin.File)]
	s.facts.mu.RUnlock()
	switch {
	case strings.HasSuffix(q.Group, "proviso.dev"):
		return unknown("a backup does not tell %s", q)
	case !s.Kinds[gk]:
		return unknown("no policy declared that it asks for %s", q.Kind)
	case b == nil:
		return unknown("%s is of no backup that is being read", about)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.ready:
		return unknown("the backup was not read yet")
	case b.over[gk]:
		return unknown("keep objects for facts: %w", refuse("%d bytes", s.Limits.orDefault().Facts))
	case q.Name != "":
		return b.one(gk, q.Namespace, q.Name)
	case q.Names == nil:
		return unknown("a backup does not tell %s: what is not in it may still exist", q)
	}
	list, seen := []any{}, map[string]bool{}
	for _, name := range q.Names {
		if strings.Contains(name, "*") {
			return unknown("a backup does not tell every %s named %s: what is not in it may still exist", q.Kind, name)
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		v, state, err := b.one(gk, q.Namespace, name)
		if state != engine.FactFound {
			return nil, state, err
		}
		list = append(list, v)
	}
	return list, engine.FactFound, nil
}

func (b *backupFacts) one(gk [2]string, namespace, name string) (any, engine.FactState, error) {
	var found []*kept
	for _, ns := range []string{namespace, ""} { // a cluster-scoped kind ignores the namespace it is asked with
		if k := b.objects[gk][[2]string{ns, name}]; k != nil {
			found = append(found, k)
		}
		if len(found) > 0 {
			break
		}
	}
	if namespace == "" && found == nil {
		for key, k := range b.objects[gk] {
			if key[1] == name {
				found = append(found, k)
			}
		}
	}
	switch {
	case len(found) == 0 && b.why != "":
		return nil, engine.FactUnknown, fmt.Errorf("%s %q was not found in the backup, of which not everything was read: %s", gk[1], name, b.why)
	case len(found) == 0:
		return nil, engine.FactUnknown, fmt.Errorf("no %s %q in the backup: include it, or judge it where it exists", gk[1], name)
	case len(found) > 1 || found[0].twice:
		return nil, engine.FactUnknown, doubtful{fmt.Errorf("%s %q is in the backup twice", gk[1], name)}
	}
	k := found[0]
	if k.object == nil {
		object, err := parse(k.text, Limits{Entry: int64(len(k.text)) + 1})
		if err != nil {
			return nil, engine.FactUnknown, doubtful{err}
		}
		k.object, k.text = object, ""
	}
	return k.object, engine.FactFound, nil
}

// doubtful is an error about a backup that contradicts itself.
type doubtful struct{ error }

// Is makes it an engine.ErrDoubtful.
func (doubtful) Is(target error) bool { return target == engine.ErrDoubtful }

// Unwrap is the error itself.
func (d doubtful) Unwrap() error { return errors.Unwrap(d.error) }
