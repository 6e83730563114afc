package bundles

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/parser"
	admission "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
)

// export writes one policy in the API server's words.
type export struct {
	*engine.Policy
	env     *floorEnv
	deletes bool
	// renamed are the parts of our document that are variables there.
	renamed map[string]bool
	used    map[string]bool

	conditions  []admission.MatchCondition
	variables   []admission.Variable
	validations []admission.Validation
}

func newExport(p *engine.Policy, rules []admission.NamedRuleWithOperations) (*export, error) {
	env, err := newFloorEnv()
	if err != nil {
		return nil, err
	}
	e := &export{Policy: p, env: env, renamed: map[string]bool{"old": true, "user": true, "operation": true, "params": true}, used: map[string]bool{}}
	for _, r := range rules {
		e.deletes = e.deletes || slices.Contains(r.Operations, admission.Delete)
	}
	// On DELETE the API server shows the deleted object as oldObject only.
	e.renamed["object"] = e.deletes
	return e, nil
}

// write writes the policy from the source of its when and its rule. The order of what is looked at is that of
// engine.Set.Judge: what stands there and cannot be read, when, what is missing, the rule.
func (e *export) write(when, rule string) error {
	if slices.ContainsFunc(e.Match, func(r engine.MatchRow) bool {
		return len(r.Operations) == 0 || slices.Contains(r.Operations, engine.Update)
	}) {
		changed := e.changed()
		if _, _, err := e.env.compile(changed); err != nil {
			return err
		}
		e.conditions = []admission.MatchCondition{{Name: "changed", Expression: changed}}
	}
	params, err := literal(e.Params)
	if err != nil {
		return err
	}
	doubtful, missing := e.declared()
	for _, v := range []struct {
		name, source string
		ours         bool
	}{
		{"object", `request.operation == "DELETE" ? oldObject : object`, false},
		{"old", `oldObject == null ? {} : oldObject`, false},
		{"operation", `request.operation`, false},
		{"user", `dyn(request.userInfo)`, false},
		{"params", params, false},
		{"doubtful", doubtful, false},
		{"applies", when, true},
		{"missing", missing, false},
		{"violations", rule, true},
	} {
		if v.source == "" {
			continue
		}
		source, t, err := v.source, (*cel.Type)(nil), error(nil)
		if v.ours {
			source, t, err = e.translate(source)
		} else {
			_, t, err = e.env.compile(source)
		}
		if err != nil {
			return err
		}
		e.env.declare(v.name, t)
		e.variables = append(e.variables, admission.Variable{Name: v.name, Expression: source})
	}
	e.variables = slices.DeleteFunc(e.variables, func(v admission.Variable) bool {
		_, part := e.renamed[v.Name]
		return part && !e.used[v.Name]
	})
	unless := "" // what has been said already, or settles that there is nothing to say; with || an error would be forgotten
	if doubtful != "" {
		if err := e.validate(`variables.doubtful.size() == 0`, `variables.doubtful.join("; ")`); err != nil {
			return err
		}
		unless = `variables.doubtful.size() > 0 ? true : `
	}
	if when != "" {
		unless += `!variables.applies ? true : `
	}
	if missing != "" {
		if err := e.validate(unless+`variables.missing.size() == 0`, `variables.missing.join("; ")`); err != nil {
			return err
		}
		unless += `variables.missing.size() > 0 ? true : `
	}
	return e.validate(unless+`variables.violations.size() == 0`,
		`variables.violations.map(v, v.message + (v.?path.orValue("") == "" ? "" : " (" + v.path + ")")).join("; ")`)
}

// validate adds a validation. The API server falls back to the title where the message cannot be made, or is too long.
func (e *export) validate(expression, message string) error {
	message = strconv.Quote(e.ID+": ") + " + " + message + " + " + strconv.Quote("; fix: "+oneLine(e.Fix))
	for _, x := range []string{expression, message} {
		if _, _, err := e.env.compile(x); err != nil {
			return err
		}
	}
	e.validations = append(e.validations, admission.Validation{Expression: expression, Message: e.ID + ": " + oneLine(e.Title), MessageExpression: message})
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// translate rewrites an expression of ours. The literals of the API server's CEL are of one type each; where they would not
// be, their elements are made dyn.
func (e *export) translate(source string) (string, *cel.Type, error) {
	var err error
	for _, mixed := range []bool{false, true} {
		var text string
		if text, err = e.rewrite(source, mixed); err != nil {
			return "", nil, err
		}
		var t *cel.Type
		if _, t, err = e.env.compile(text); err == nil {
			return text, t, nil
		}
	}
	return "", nil, err
}

// rewrite parses without macros, so that what is written again is what was read.
func (e *export) rewrite(source string, mixed bool) (string, error) {
	p, err := parser.NewParser(parser.EnableOptionalSyntax(true))
	if err != nil {
		return "", err
	}
	parsed, problems := p.Parse(common.NewTextSource(source))
	if len(problems.GetErrors()) > 0 {
		return "", errors.New(problems.ToDisplayString())
	}
	factory := ast.NewExprFactory()
	dyn := func(x ast.Expr) ast.Expr { return factory.NewCall(x.ID(), "dyn", x) }
	var bad error
	ast.PostOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.CallKind:
			call := x.AsCall()
			if !call.IsMemberFunction() {
				return
			}
			if receiver := call.Target(); receiver.Kind() == ast.IdentKind {
				if name := hostFunction(receiver.AsIdent(), call.FunctionName()); name != "" && bad == nil {
					bad = fmt.Errorf("it calls %s, which only Proviso has", name)
				}
			}
		case ast.IdentKind:
			name := strings.TrimPrefix(x.AsIdent(), ".")
			if name == "variables" && bad == nil {
				bad = errors.New("it calls something of its own variables, which is the API server's name for its own")
			}
			// A comprehension's variable of such a name is renamed too, and does not compile then.
			if e.renamed[name] {
				e.used[name] = true
				x.SetKindCase(factory.NewSelect(x.ID(), factory.NewIdent(x.ID(), "variables"), name))
			}
		case ast.ListKind:
			if list := x.AsList(); mixed && len(list.OptionalIndices()) == 0 && !alike(list.Elements()) {
				elements := slices.Clone(list.Elements())
				for i := range elements {
					elements[i] = dyn(elements[i])
				}
				x.SetKindCase(factory.NewList(x.ID(), elements, nil))
			}
		case ast.MapKind:
			entries := slices.Clone(x.AsMap().Entries())
			var values []ast.Expr
			for _, entry := range entries {
				if entry.AsMapEntry().IsOptional() {
					return
				}
				values = append(values, entry.AsMapEntry().Value())
			}
			if !mixed || alike(values) {
				return
			}
			for i, entry := range entries {
				entries[i] = factory.NewMapEntry(entry.ID(), entry.AsMapEntry().Key(), dyn(values[i]), false)
			}
			x.SetKindCase(factory.NewMap(x.ID(), entries))
		}
	}))
	if bad != nil {
		return "", bad
	}
	return parser.Unparse(parsed.Expr(), parsed.SourceInfo(), parser.WrapOnColumn(120), parser.WrapOnOperators(operators.LogicalAnd, operators.LogicalOr, operators.Add))
}

// alike reports whether the expressions are literals of one type, or only one.
func alike(list []ast.Expr) bool {
	for _, x := range list {
		if len(list) > 1 && (x.Kind() != ast.LiteralKind || x.AsLiteral().Type() != list[0].AsLiteral().Type()) {
			return false
		}
	}
	return true
}
