package rego

import (
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

var segment = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// checkModule checks what can be told from the source as it was written.
func checkModule(m *ast.Module, l *language, p *problems) {
	path := m.Package.Path[1:]
	ok := len(path) == 2
	for _, t := range path {
		s, isText := t.Value.(ast.String)
		ok = ok && isText && segment.MatchString(string(s))
	}
	if !ok {
		p.add(m.Package.Location, "the package is %s, want package <domain>.<name>, in lower case with _ for -", strings.TrimPrefix(m.Package.Path.String(), "data."))
	}
	for _, i := range m.Imports {
		checkImport(m, i, p)
	}
	checkEntry(m, p)
	ast.WalkWiths(m, func(w *ast.With) bool {
		p.add(w.Location, "with is not offered: a rule judges the document as it is")
		return false
	})
	call := func(op *ast.Term) {
		name := op.Value.String()
		_, known := ast.BuiltinMap[name]
		_, has := offered[name]
		switch {
		case name == ast.Equality.Name:
			p.add(op.Location, "= is not offered: write := to name a value and == to compare")
		case known && !has:
			p.add(op.Location, "%s is not offered: %s", name, reason(name))
		}
	}
	ast.WalkNodes(m, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Expr:
			if n.IsCall() {
				call(n.Terms.([]*ast.Term)[0])
			}
		case *ast.Term:
			if c, ok := n.Value.(ast.Call); ok {
				call(c[0])
			}
			if s, ok := n.Value.(ast.Number); ok && !small(string(s)) {
				p.add(n.Location, "the number is too large: want at most %d digits", maxDigits)
			}
		}
		return false
	})
}

func checkImport(m *ast.Module, i *ast.Import, p *problems) {
	ref, ok := i.Path.Value.(ast.Ref)
	switch {
	case !ok:
	case ref.String() == "rego.v1":
		return
	case ref[0].Equal(ast.InputRootDocument), ref.HasPrefix(m.Package.Path):
		return
	}
	p.add(i.Location, "import of %v is not offered: a rule is one module, and imports rego.v1 or parts of input only", i.Path)
}

// checkEntry: a set that nothing is in is still a set. Any other rule may be undefined, which reads as nothing wrong.
func checkEntry(m *ast.Module, p *problems) {
	found := false
	for _, r := range m.Rules {
		if ref := r.Head.Ref(); ref[0].Value.Compare(ast.Var(entry)) != 0 {
			continue
		}
		found = true
		switch {
		case r.Default:
			p.add(r.Location, "default %s is not offered: want the set %s contains {…} if {…}", entry, entry)
		case len(r.Head.Ref()) > 1 || len(r.Head.Args) > 0 || r.Head.RuleKind() != ast.MultiValue:
			p.add(r.Location, "%s is no set: want %s contains {…} if {…}", entry, entry)
		}
	}
	if !found {
		p.add(m.Package.Location, "the module has no rule %s contains {\"message\": …, \"path\": …} if {…}", entry)
	}
}

// checkRefs checks, once names are resolved, that the module reads nothing but the document and itself.
func checkRefs(m *ast.Module, p *problems) {
	path := m.Package.Path
	names := map[string]bool{}
	for _, r := range m.Rules {
		names[r.Head.Ref()[0].Value.String()] = true
	}
	ast.WalkTerms(m, func(t *ast.Term) bool {
		ref, ok := t.Value.(ast.Ref)
		if !ok || len(ref) == 0 {
			return false
		}
		at := t.Location
		if at == nil {
			at = ref[0].Location
		}
		switch {
		case ref[0].Equal(ast.InputRootDocument) && len(ref) > 1:
			if s, ok := ref[1].Value.(ast.String); ok && !slices.Contains(roots, string(s)) {
				p.add(at, "input has no %s: it has %s", string(s), strings.Join(roots, ", "))
			}
		case ref[0].Equal(ast.DefaultRootDocument):
			var rule ast.String
			if ref.HasPrefix(path) && len(ref) > len(path) {
				rule, _ = ref[len(path)].Value.(ast.String)
			}
			if !names[string(rule)] {
				p.add(at, "%v is not offered: a rule has no data but its own module's rules", ref)
			}
		}
		return false
	})
}
