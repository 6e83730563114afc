package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"proviso.dev/proviso/engine"
)

// Reads lists what the rule reads of the document. It follows parts of the document through variables, functions, rules
// and comprehensions; where it cannot follow, the part counts as read whole, so it never lists less than what is read.
func (r *Rule) Reads() []engine.Read {
	a := newAnalysis(r.compiled)
	a.run()
	slices.SortFunc(a.reads, func(x, y engine.Read) int {
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		if x.Column != y.Column {
			return x.Column - y.Column
		}
		return strings.Compare(x.Path, y.Path)
	})
	return slices.Compact(a.reads)
}

// maxPlace is how long a place is followed. Variables bound in a circle would make places without end.
const maxPlace = 400

// part says which parts of the document a term may stand for: places, and, where the term is a collection the rule
// made, what its elements may stand for. It only grows.
type part struct {
	places map[string]bool
	elem   *part
}

// maxNesting is how deep collections within collections are told apart. A function that wraps its argument and is given
// its own answer would nest without end.
const maxNesting = 8

// merge adds what o stands for and reports whether that was news.
func (p *part) merge(o *part) (grew bool) { return p.mergeAt(o, 0) }

func (p *part) mergeAt(o *part, depth int) (grew bool) {
	if o == nil || o == p {
		return false
	}
	if depth == maxNesting { // the innermost collection stands for its elements as well
		for inner := o.elem; inner != nil; inner = inner.elem {
			grew = p.mergeAt(&part{places: inner.places}, depth) || grew
		}
		o = &part{places: o.places}
	}
	for place := range o.places {
		if !p.places[place] {
			if p.places == nil {
				p.places = map[string]bool{}
			}
			p.places[place], grew = true, true
		}
	}
	if o.elem != nil && !o.elem.empty() {
		if p.elem == nil {
			p.elem = &part{}
		}
		grew = p.elem.mergeAt(o.elem, depth+1) || grew
	}
	return grew
}

func (p *part) empty() bool {
	return p == nil || len(p.places) == 0 && p.elem.empty()
}

// step is what stands one step further: at a key, or at "[*]".
func (p *part) step(key string) *part {
	out := &part{}
	out.merge(p.elem)
	for place := range p.places {
		next := key
		switch {
		case place == "" && key == "[*]":
			for _, root := range roots {
				out.merge(&part{places: map[string]bool{root: true}})
			}
			continue
		case place == "":
		case key == "[*]":
			next = place + key
		default:
			next = place + "." + key
			if quoted := (engine.Path{{Key: key}}).String(); quoted[0] == '[' {
				next = place + quoted
			}
		}
		// Lists within lists within lists are read as the third, whose declaration covers what is in it.
		if len(next) > maxPlace || strings.HasSuffix(next, "[*][*][*][*]") {
			next = place
		}
		out.merge(&part{places: map[string]bool{next: true}})
	}
	return out
}

// variable is a variable of one rule; names may repeat in others.
type variable struct {
	rule *ast.Rule
	name ast.Var
}

// analysis goes over a compiled module until no part grows, and then once more to record reads. A compiled body is in
// the order it is evaluated in, so the first time a variable is met is where it is bound.
type analysis struct {
	module *ast.Module
	// rules are the rules and functions by name; an else belongs to the rule before it and shares its arguments.
	rules map[string][]*ast.Rule
	// values are what rules and functions yield, by name.
	values map[string]*part
	vars   map[variable]*part
	// keys are variables that run through the keys of something. They say nothing of the values there.
	keys map[variable]bool
	// uses counts where a variable is written: one that is written once is bound and not looked at again.
	uses      map[variable]int
	grew      bool
	recording bool
	reads     []engine.Read
}

func newAnalysis(m *ast.Module) *analysis {
	a := &analysis{module: m, rules: map[string][]*ast.Rule{}, values: map[string]*part{}, vars: map[variable]*part{}, keys: map[variable]bool{}, uses: map[variable]int{}}
	for _, top := range m.Rules {
		name := top.Head.Ref()[0].Value.String()
		a.values[name] = &part{}
		a.rules[name] = append(a.rules[name], top)
		ast.WalkVars(top, func(v ast.Var) bool {
			a.uses[variable{top, v}]++
			return false
		})
	}
	return a
}

// maxRounds bounds the rounds; each adds a place, and maxPlace bounds those.
const maxRounds = 200

func (a *analysis) run() {
	for rounds := 0; ; rounds++ {
		a.grew = false
		a.round()
		if !a.grew {
			break
		}
		if rounds == maxRounds {
			a.recording = true
			a.consume(&part{places: map[string]bool{"": true}}, a.module.Package.Location)
			return
		}
	}
	a.recording = true
	a.round()
}

func (a *analysis) round() {
	for name, list := range a.rules {
		for _, top := range list {
			for r := top; r != nil; r = r.Else {
				s := &scope{a, top, map[ast.Var]bool{}}
				for _, arg := range r.Head.Args {
					s.declare(arg)
				}
				s.body(r.Body)
				a.head(name, r, s)
			}
		}
	}
}

// head keeps what the rule yields. The rest of the module may step into it; violations are what it is all for.
func (a *analysis) head(name string, r *ast.Rule, s *scope) {
	yield := &part{}
	if r.Head.Value != nil {
		yield.merge(s.eval(r.Head.Value))
	}
	if r.Head.Key != nil && r.Head.RuleKind() == ast.MultiValue {
		key := s.eval(r.Head.Key)
		if name == entry {
			a.consume(key, r.Head.Key.Location)
		}
		yield = &part{elem: key}
	}
	if len(r.Head.Args) == 0 {
		for _, t := range r.Head.Ref()[1:] {
			a.consume(s.eval(t), t.Location)
			yield = &part{elem: yield}
		}
	}
	a.grow(a.values[name], yield)
}

func (a *analysis) grow(p, by *part) {
	if p.merge(by) {
		a.grew = true
	}
}

// consume records that the part is read: compared, handed to a function, put into an answer.
func (a *analysis) consume(p *part, at *ast.Location) {
	if !a.recording || p == nil {
		return
	}
	a.consume(p.elem, at)
	for place := range p.places {
		paths := []string{place}
		if place == "" {
			paths = roots
		}
		for _, path := range paths {
			read := engine.Read{Path: path, Line: 1, Column: 1}
			if at != nil {
				read.Line, read.Column = at.Row, at.Col
			}
			a.reads = append(a.reads, read)
		}
	}
}

// variable is what v stands for within rule r.
func (a *analysis) variable(r *ast.Rule, v ast.Var) *part {
	key := variable{r, v}
	if a.vars[key] == nil {
		a.vars[key] = &part{}
	}
	return a.vars[key]
}
