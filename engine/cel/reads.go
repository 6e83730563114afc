package cel

import (
	"maps"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"proviso.dev/proviso/engine"
)

// roots maps the variables of the document to the name their reads go by.
var roots = map[string]string{
	"object": "object", "old": "old", "oldObject": "old", "operation": "operation", "user": "user",
	"params": "params", "facts": "facts", "now": "now", "request": "request",
}

// reader walks a checked expression. A place is an expression that is part of the document, named by its path; it is
// read where it is used as a value and not merely stepped through. Where a step cannot be followed, the place before it
// counts as read whole, so what is reported is never less than what is read.
type reader struct {
	info  *ast.SourceInfo
	reads []engine.Read
}

// scope maps the variables of comprehensions to the place they stand for, "" where they stand for none.
type scope map[string]string

func reads(checked *cel.Ast) []engine.Read {
	native := checked.NativeRep()
	r := &reader{info: native.SourceInfo()}
	r.visit(native.Expr(), scope{})
	return r.reads
}

func (r *reader) record(e ast.Expr, place string, presence bool) {
	if rest, ok := strings.CutPrefix(place, "request"); ok {
		if place = "user" + strings.TrimPrefix(rest, ".userInfo"); rest == ".operation" {
			place = "operation"
		}
	}
	at := r.info.GetStartLocation(e.ID())
	r.reads = append(r.reads, engine.Read{Path: place, Presence: presence, Line: at.Line(), Column: at.Column() + 1})
}

// place is the part of the document e stands for. What else e needs, such as the index expression, is visited.
func (r *reader) place(e ast.Expr, s scope) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		if p, ok := s[e.AsIdent()]; ok {
			return p, p != ""
		}
		p, ok := roots[strings.TrimPrefix(e.AsIdent(), ".")]
		return p, ok
	case ast.SelectKind:
		sel := e.AsSelect()
		if p, ok := r.place(sel.Operand(), s); ok {
			return join(p, sel.FieldName()), true
		}
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			p, ok := r.place(args[0], s)
			if !ok {
				return "", false
			}
			if args[1].Kind() == ast.LiteralKind {
				switch k := args[1].AsLiteral().(type) {
				case types.String:
					return join(p, string(k)), true
				case types.Int:
					return p + "[*]", true
				}
			}
			// A key that is made when the rule runs: visit sees that the whole is read.
			return "", false
		case "value", "orValue", "or", "optional.of", "optional.ofNonZeroValue":
			if call.IsMemberFunction() {
				if p, ok := r.place(call.Target(), s); ok {
					for _, a := range args {
						r.visit(a, s)
					}
					return p, true
				}
			}
		}
	}
	return "", false
}

// join appends a key to a place.
func join(place, name string) string {
	step := engine.Path{{Key: name}}.String()
	if strings.HasPrefix(step, "[") {
		return place + step
	}
	return place + "." + step
}

func (r *reader) visit(e ast.Expr, s scope) {
	if p, ok := r.place(e, s); ok {
		r.record(e, p, e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly())
		return
	}
	switch e.Kind() {
	case ast.SelectKind:
		r.visit(e.AsSelect().Operand(), s)
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			if call.FunctionName() == "hasValue" {
				if p, ok := r.place(call.Target(), s); ok {
					r.record(e, p, true)
					return
				}
			}
			r.visit(call.Target(), s)
		}
		for _, a := range call.Args() {
			r.visit(a, s)
		}
	case ast.ListKind:
		for _, el := range e.AsList().Elements() {
			r.visit(el, s)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			r.visit(entry.AsMapEntry().Key(), s)
			r.visit(entry.AsMapEntry().Value(), s)
		}
	case ast.StructKind:
		for _, f := range e.AsStruct().Fields() {
			r.visit(f.AsStructField().Value(), s)
		}
	case ast.ComprehensionKind:
		r.comprehension(e, s)
	}
}

func (r *reader) comprehension(e ast.Expr, s scope) {
	c := e.AsComprehension()
	inner := maps.Clone(s)
	element := ""
	if p, ok := r.place(c.IterRange(), s); ok {
		element = p + "[*]"
	} else {
		r.visit(c.IterRange(), s)
	}
	inner[c.AccuVar()] = ""
	if c.HasIterVar2() {
		// The first variable is an index or a key, which says nothing of the values.
		inner[c.IterVar()], inner[c.IterVar2()] = "", element
	} else {
		inner[c.IterVar()] = element
	}
	before := len(r.reads)
	r.visit(c.AccuInit(), s)
	for _, part := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
		r.visit(part, inner)
	}
	if element == "" {
		return
	}
	for _, read := range r.reads[before:] {
		if strings.HasPrefix(read.Path, element) {
			return
		}
	}
	r.record(e, element, false)
	r.reads[len(r.reads)-1].Steps = true
}
