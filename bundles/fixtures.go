package bundles

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// TEMPORARY until engine/inspect/manifest lands: subjects and facts of one fixture.
func fixtureSubjects(name string, raw []byte, set *engine.Set) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for doc, err := range decode.Documents(bytes.NewReader(raw), name, decode.Limits{}) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			m, _ := doc.Value.(map[string]any)
			meta, _ := m["metadata"].(map[string]any)
			text := func(v any) string { s, _ := v.(string); return s }
			s := &engine.Subject{APIVersion: text(m["apiVersion"]), Kind: text(m["kind"]), Name: text(meta["name"]), Namespace: text(meta["namespace"]), Object: m, Operation: engine.Create}
			s.Origin.Position = engine.Position{File: name, Line: doc.Start.Line, Column: 1}
			s.Origin.Locate = func(path string) engine.Position {
				p, err := engine.ParsePath(path)
				if err != nil {
					return engine.Position{}
				}
				at := doc.Position(p.Steps()...)
				return engine.Position{File: name, Line: at.Line, Column: at.Column}
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

type fixtureFacts struct {
	subs  []*engine.Subject
	whole map[string]bool
}

func newFixtureFacts(name string, raw []byte, set *engine.Set) engine.FactSource {
	f := &fixtureFacts{whole: map[string]bool{}}
	for s, err := range fixtureSubjects(name, raw, set) {
		if err != nil {
			continue
		}
		if kind, ok := strings.CutSuffix(s.Kind, "List"); ok {
			f.whole[kind] = true
			items, _ := s.Object["items"].([]any)
			for _, it := range items {
				m, _ := it.(map[string]any)
				meta, _ := m["metadata"].(map[string]any)
				n, _ := meta["name"].(string)
				f.subs = append(f.subs, &engine.Subject{APIVersion: s.APIVersion, Kind: kind, Name: n, Object: m})
			}
			continue
		}
		f.subs = append(f.subs, s)
	}
	return f
}

func (f *fixtureFacts) find(q engine.FactQuery, pattern string) []any {
	list := []any{}
	for _, s := range f.subs {
		if s.Kind == q.Kind && s.Group() == q.Group && engine.MatchesName(pattern, s.Name) && (q.Namespace == "" || s.Namespace == "" || q.Namespace == s.Namespace) {
			list = append(list, s.Object)
		}
	}
	return list
}

func (f *fixtureFacts) Fact(_ context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	if q.Name != "" {
		found := f.find(q, q.Name)
		switch {
		case len(found) == 1:
			return found[0], engine.FactFound, nil
		case f.whole[q.Kind]:
			return nil, engine.FactAbsent, nil
		}
		return nil, engine.FactUnknown, fmt.Errorf("no %s in this file", q.Kind)
	}
	if q.Names != nil {
		list := []any{}
		for _, n := range q.Names {
			found := f.find(q, n)
			if !f.whole[q.Kind] && (strings.Contains(n, "*") || len(found) != 1) {
				return nil, engine.FactUnknown, fmt.Errorf("no complete list of %s in this file", q.Kind)
			}
			list = append(list, found...)
		}
		return list, engine.FactFound, nil
	}
	if !f.whole[q.Kind] {
		return nil, engine.FactUnknown, fmt.Errorf("no complete list of %s in this file", q.Kind)
	}
	return f.find(q, "*"), engine.FactFound, nil
}
