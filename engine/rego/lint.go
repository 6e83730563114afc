package rego

import (
	"errors"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"proviso.dev/proviso/engine"
)

// Lint lists rules that violations never leads to, and imports and variables that are not used.
func (r *Rule) Lint() []engine.Problem {
	var found []engine.Problem
	add := func(at *ast.Location, message string) {
		found = append(found, engine.Problem{Line: at.Row, Column: at.Col, Message: message})
	}
	m := r.compiled
	reached := reach(m)
	named := map[string]bool{}
	for _, rule := range m.Rules {
		name := rule.Head.Ref()[0].Value.String()
		if !reached[name] && !named[name] {
			add(rule.Location, "rule "+name+" is never reached from "+entry)
		}
		named[name] = true
	}
	var unused ast.Errors
	errors.As(r.language.check(r.file, r.parsed, true), &unused)
	for _, e := range unused {
		add(e.Location, e.Message)
	}
	slices.SortFunc(found, func(a, b engine.Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return found
}

// reach names the rules and functions that violations leads to.
func reach(m *ast.Module) map[string]bool {
	reached := map[string]bool{entry: true}
	todo := []string{entry}
	n := len(m.Package.Path)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		for _, rule := range m.Rules {
			if rule.Head.Ref()[0].Value.String() != name {
				continue
			}
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				if len(ref) > n && ref.HasPrefix(m.Package.Path) {
					if next := string(ref[n].Value.(ast.String)); !reached[next] {
						reached[next] = true
						todo = append(todo, next)
					}
				}
				return false
			})
		}
	}
	return reached
}
