package rego

import (
	"maps"

	"github.com/open-policy-agent/opa/v1/ast"
)

// scope is a body on its way through an analysis: the variables bound so far.
type scope struct {
	*analysis
	rule  *ast.Rule
	bound map[ast.Var]bool
}

// inner is the scope of a nested body. What is bound there is not bound outside.
func (s *scope) inner() *scope {
	return &scope{s.analysis, s.rule, maps.Clone(s.bound)}
}

// declare binds the variables of a function's argument, which calls bring their values to.
func (s *scope) declare(arg *ast.Term) {
	ast.WalkVars(arg, func(v ast.Var) bool {
		s.bound[v] = true
		return false
	})
}

func (s *scope) body(b ast.Body) {
	for _, e := range b {
		in := s
		if e.Negated {
			in = s.inner()
		}
		in.expr(e)
	}
}

func (s *scope) expr(e *ast.Expr) {
	switch terms := e.Terms.(type) {
	case *ast.Term:
		s.consume(s.eval(terms), place(terms, e.Location))
	case []*ast.Term:
		s.call(e, terms)
	case *ast.Every:
		domain := s.eval(terms.Domain)
		in := s.inner()
		if terms.Key != nil {
			in.key(terms.Key, domain)
		}
		in.match(terms.Value, domain.step("[*]"), place(terms.Domain, e.Location))
		in.body(terms.Body)
	default:
		// A kind of expression this was not written for: all of it is read whole.
		ast.WalkTerms(e, func(t *ast.Term) bool {
			s.consume(s.eval(t), place(t, e.Location))
			return false
		})
	}
}

// place is where a term is written; terms the compiler made are where their expression is.
func place(t *ast.Term, at *ast.Location) *ast.Location {
	if t.Location != nil && t.Location.Row > 0 {
		return t.Location
	}
	return at
}

func (s *scope) call(e *ast.Expr, terms []*ast.Term) {
	operator, args := terms[0].Value.(ast.Ref), terms[1:]
	if operator[0].Equal(ast.DefaultRootDocument) {
		s.function(operator, args, e.Location)
		return
	}
	switch original(operator.String()) {
	case "eq", "assign":
		s.unify(args[0], args[1], e.Location)
	case "object.get":
		s.objectGet(args, e.Location)
	case "internal.member_2":
		s.consume(s.eval(args[0]), place(args[0], e.Location))
		s.consume(s.eval(args[1]).step("[*]"), place(args[1], e.Location))
		s.results(args[2:], e.Location)
	default:
		s.results(args, e.Location)
	}
}

// results consumes arguments and binds the one that is new, which is the call's result, to nothing of the document: what
// a function returns of its arguments was read whole already.
func (s *scope) results(args []*ast.Term, at *ast.Location) {
	for _, arg := range args {
		if s.fresh(arg) {
			s.match(arg, &part{}, at)
		} else {
			s.argument(arg, at)
		}
	}
}

// argument consumes what is handed to a function, each part where it is written.
func (s *scope) argument(t *ast.Term, at *ast.Location) {
	each := func(e *ast.Term) { s.argument(e, place(t, at)) }
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	default:
		s.consume(s.eval(t), place(t, at))
	}
}

// fresh reports whether a term has a variable that nothing bound yet.
func (s *scope) fresh(t *ast.Term) bool {
	switch v := t.Value.(type) {
	case ast.Var:
		return !s.bound[v]
	case *ast.Array:
		return v.Until(s.fresh)
	case ast.Object:
		return v.Until(func(_, e *ast.Term) bool { return s.fresh(e) })
	}
	return false
}

func (s *scope) function(operator ast.Ref, args []*ast.Term, at *ast.Location) {
	name := string(operator[len(s.module.Package.Path)].Value.(ast.String))
	parts := make([]*part, len(args))
	arity := len(args)
	for _, r := range s.rules[name] {
		arity = min(arity, len(r.Head.Args))
	}
	for i, arg := range args[:arity] {
		parts[i] = s.eval(arg)
	}
	for _, r := range s.rules[name] {
		callee := &scope{s.analysis, r, map[ast.Var]bool{}}
		for i, p := range parts[:arity] {
			callee.match(r.Head.Args[i], p, place(args[i], at))
		}
	}
	value := s.values[name]
	if len(args) == arity {
		s.consume(value, at) // the result is only asked whether it is true
		return
	}
	s.match(args[arity], value, at)
}

// objectGet follows a path that is written out.
func (s *scope) objectGet(args []*ast.Term, at *ast.Location) {
	from, ok := s.eval(args[0]), true
	got := from
	steps := []*ast.Term{args[1]}
	if path, isPath := args[1].Value.(*ast.Array); isPath {
		steps = nil
		path.Foreach(func(t *ast.Term) { steps = append(steps, t) })
	}
	for _, t := range steps {
		switch v := t.Value.(type) {
		case ast.String:
			got = got.step(string(v))
		case ast.Number:
			got = got.step("[*]")
		default:
			ok = false
		}
	}
	if !ok {
		s.consume(s.eval(args[1]), place(args[1], at))
		s.consume(from, place(args[0], at))
		got = &part{}
	}
	out := &part{}
	out.merge(got)
	out.merge(s.eval(args[2]))
	if len(args) > 3 {
		s.match(args[3], out, at)
	} else {
		s.consume(out, at)
	}
}

// unify is "=" and "==": it binds what is new and compares the rest.
func (s *scope) unify(x, y *ast.Term, at *ast.Location) {
	if list, ok := x.Value.(*ast.Array); ok {
		if other, ok := y.Value.(*ast.Array); ok && list.Len() == other.Len() {
			for i := range list.Len() {
				s.unify(list.Elem(i), other.Elem(i), at)
			}
			return
		}
	}
	switch {
	case s.fresh(x):
		s.match(x, s.eval(y), place(y, at))
	case s.fresh(y):
		s.match(y, s.eval(x), place(x, at))
	default:
		s.consume(s.eval(x), place(x, at))
		s.consume(s.eval(y), place(y, at))
	}
}

// match takes a value apart by a pattern.
func (s *scope) match(pattern *ast.Term, p *part, at *ast.Location) {
	switch v := pattern.Value.(type) {
	case ast.Var:
		if s.bound[v] {
			s.consume(s.eval(pattern), at)
			s.consume(p, at)
			return
		}
		s.bound[v] = true
		s.grow(s.variable(s.rule, v), p)
		if s.uses[variable{s.rule, v}] < 2 {
			s.consume(p, at) // nothing looks at it again: that it is there is what matters
		}
	case *ast.Array:
		s.eachOf(p, at)
		v.Foreach(func(t *ast.Term) { s.match(t, p.step("[*]"), at) })
	case ast.Object:
		s.eachOf(p, at)
		v.Foreach(func(k, t *ast.Term) {
			if key, ok := k.Value.(ast.String); ok {
				s.match(t, p.step(string(key)), at)
			} else {
				s.consume(s.eval(k), at)
				s.consume(p, at)
				s.match(t, &part{}, at)
			}
		})
	default:
		s.consume(s.eval(pattern), at)
		s.consume(p, at)
	}
}

// eachOf: a pattern of a list or an object also asks how many there are, so what it is matched with is read.
func (s *scope) eachOf(p *part, at *ast.Location) { s.consume(&part{places: p.places}, at) }

// key binds a variable that runs through the keys of p. The keys of a set are its elements.
func (s *scope) key(t *ast.Term, p *part) {
	if v, ok := t.Value.(ast.Var); ok && !s.bound[v] {
		s.bound[v] = true
		s.keys[variable{s.rule, v}] = true
		s.grow(s.variable(s.rule, v), p.elem)
	}
}

// eval is what a term stands for.
func (s *scope) eval(t *ast.Term) *part {
	switch v := t.Value.(type) {
	case ast.Var:
		if ast.InputRootDocument.Value.Compare(v) == 0 {
			return &part{places: map[string]bool{"": true}}
		}
		return s.variable(s.rule, v)
	case ast.Ref:
		return s.ref(v, t.Location)
	case *ast.Array:
		out := &part{}
		v.Foreach(func(e *ast.Term) { out.merge(s.eval(e)) })
		return &part{elem: out}
	case ast.Set:
		out := &part{}
		v.Foreach(func(e *ast.Term) { out.merge(s.eval(e)) })
		return &part{elem: out}
	case ast.Object:
		out := &part{}
		v.Foreach(func(k, e *ast.Term) {
			s.consume(s.eval(k), k.Location)
			out.merge(s.eval(e))
		})
		return &part{elem: out}
	case *ast.ArrayComprehension:
		return s.comprehension(v.Body, nil, v.Term)
	case *ast.SetComprehension:
		return s.comprehension(v.Body, nil, v.Term)
	case *ast.ObjectComprehension:
		return s.comprehension(v.Body, v.Key, v.Value)
	}
	return &part{}
}

func (s *scope) comprehension(b ast.Body, key, value *ast.Term) *part {
	in := s.inner()
	in.body(b)
	if key != nil {
		in.consume(in.eval(key), key.Location)
	}
	return &part{elem: in.eval(value)}
}

// ref follows a reference step by step.
func (s *scope) ref(ref ast.Ref, at *ast.Location) *part {
	p, steps := s.eval(ref[0]), ref[1:]
	if ref[0].Equal(ast.DefaultRootDocument) {
		n := len(s.module.Package.Path)
		p, steps = s.values[string(ref[n].Value.(ast.String))], ref[n+1:]
	}
	for _, t := range steps {
		switch v := t.Value.(type) {
		case ast.String:
			p = p.step(string(v))
		case ast.Number:
			p = p.step("[*]")
		case ast.Var:
			if !s.bound[v] {
				s.key(t, p)
			} else if s.keys[variable{s.rule, v}] {
				s.consume(s.eval(t), at)
			} else {
				p = s.dynamic(p, t, at)
				continue
			}
			p = p.step("[*]")
		default:
			p = s.dynamic(p, t, at)
		}
	}
	return p
}

// dynamic is a step to a key the rule computes: it may lead anywhere, so the part is read whole. What a collection of
// the rule's own holds is still known.
func (s *scope) dynamic(p *part, key *ast.Term, at *ast.Location) *part {
	if s.fresh(key) {
		s.match(key, p.step("[*]"), at) // an element of a set, taken apart
	} else {
		s.consume(s.eval(key), place(key, at))
	}
	s.consume(&part{places: p.places}, at)
	out := &part{}
	out.merge(p.elem)
	return out
}
