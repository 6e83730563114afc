package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// maxParts bounds the values a source writes down, with what their variables stand for. OPA's type checker takes time as
// their number: x1 := [x0, x0], x2 := [x1, x1] and so on for forty lines would keep it for hours. With functions in their place, evaluation would copy gigabytes.
const maxParts = 20_000

// size counts the parts of a value: those the source writes down, and how often it holds its function's arguments.
type size struct{ parts, args int }

func (s size) plus(o size) size { return size{s.parts + o.parts, s.args + o.args}.capped() }

func (s size) or(o size) size { return size{max(s.parts, o.parts), max(s.args, o.args)} }

// of is the size of a function's value for arguments of size arg.
func (s size) of(arg size) size {
	return size{s.parts + s.args*arg.parts, s.args * arg.args}.capped()
}

func (s size) capped() size { return size{min(s.parts, maxParts+1), min(s.args, maxParts+1)} }

func (s size) tooLarge() bool { return s.parts+s.args > maxParts }

// sizes are the sizes of values, by rule and variable; rules and functions are variables of no rule.
type sizes struct {
	rule  *ast.Rule
	known map[variable]size
	grew  bool
}

// checkSizes runs before OPA's compiler does. A size that grows slowly takes more rounds than it is worth looking for.
func checkSizes(m *ast.Module, p *problems) (ok bool) {
	s := &sizes{known: map[variable]size{}}
	for range 100 {
		s.grew = false
		for _, top := range m.Rules {
			for r := top; r != nil; r = r.Else {
				s.rule = top
				for _, arg := range r.Head.Args {
					s.assign(arg, size{0, 1})
				}
				s.walk(r)
				name := variable{nil, ast.Var(r.Head.Ref()[0].Value.String())}
				for _, t := range []*ast.Term{r.Head.Value, r.Head.Key} {
					if t != nil {
						s.set(name, s.of(t))
					}
				}
				if s.known[name].tooLarge() || s.tooLarge(top) {
					p.add(r.Location, "the rule makes values of more than %d parts", maxParts)
					return false
				}
			}
		}
		if !s.grew {
			break
		}
	}
	return true
}

func (s *sizes) tooLarge(r *ast.Rule) bool {
	large := false
	ast.WalkVars(r, func(v ast.Var) bool {
		large = large || s.known[variable{r, v}].tooLarge()
		return large
	})
	return large
}

func (s *sizes) walk(r *ast.Rule) {
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		switch terms := e.Terms.(type) {
		case *ast.SomeDecl:
			for _, t := range terms.Symbols {
				if c, ok := t.Value.(ast.Call); ok {
					s.assign(c[1], s.of(c[len(c)-1]))
					s.assign(c[len(c)-2], s.of(c[len(c)-1]))
				}
			}
		case *ast.Every:
			s.assign(terms.Value, s.of(terms.Domain))
		case []*ast.Term:
			if e.IsAssignment() || e.IsEquality() {
				s.assign(terms[1], s.of(terms[2]))
				s.assign(terms[2], s.of(terms[1]))
			}
		}
		return false
	})
}

// assign: each variable of a pattern is at most as large as what the pattern is matched with.
func (s *sizes) assign(pattern *ast.Term, n size) {
	switch v := pattern.Value.(type) {
	case ast.Var:
		s.set(variable{s.rule, v}, n)
	case *ast.Array:
		v.Foreach(func(t *ast.Term) { s.assign(t, n) })
	case ast.Object:
		v.Foreach(func(_, t *ast.Term) { s.assign(t, n) })
	}
}

func (s *sizes) set(v variable, n size) {
	if n = s.known[v].or(n); n != s.known[v] {
		s.known[v], s.grew = n, true
	}
}

// of is the size of a term's value as far as the source tells. What comes from the document has one part.
func (s *sizes) of(t *ast.Term) size {
	n := size{1, 0}
	add := func(t *ast.Term) { n = n.plus(s.of(t)) }
	switch v := t.Value.(type) {
	case ast.Var:
		if known, ok := s.known[variable{s.rule, v}]; ok {
			return known
		}
		return n.or(s.known[variable{nil, v}])
	case ast.Ref:
		return s.of(v[0])
	case ast.Call:
		name, _ := v[0].Value.(ast.Ref)[0].Value.(ast.Var)
		if f, ok := s.known[variable{nil, name}]; ok {
			arg := size{}
			for _, t := range v[1:] {
				arg = arg.or(s.of(t))
			}
			return f.of(arg)
		}
		if b := ast.BuiltinMap[v[0].Value.String()]; b != nil {
			switch b.Decl.Result().(type) {
			case types.String, types.Number, types.Boolean:
				return n
			}
		}
		for _, t := range v[1:] { // the result may keep the arguments
			add(t)
		}
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	case ast.Object:
		v.Foreach(func(k, e *ast.Term) {
			add(k)
			add(e)
		})
	case *ast.ArrayComprehension:
		add(v.Term)
	case *ast.SetComprehension:
		add(v.Term)
	case *ast.ObjectComprehension:
		add(v.Key)
		add(v.Value)
	}
	return n
}
