package rego

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"

	"proviso.dev/proviso/engine/host"
)

// language is what a rule may use of Rego, and how what it calls is run.
type language struct {
	capabilities *ast.Capabilities
	// builtins run the guarded and the host functions, by the names bind gives them.
	builtins map[string]*topdown.Builtin
	// operators maps the name of each such function to the operator that calls it.
	operators map[string]*ast.Term
}

func newLanguage(functions []host.Func) *language {
	l := &language{
		capabilities: &ast.Capabilities{Features: []string{ast.FeatureRegoV1, ast.FeatureTemplateStrings}},
		builtins:     map[string]*topdown.Builtin{},
		operators:    map[string]*ast.Term{},
	}
	for _, name := range slices.Sorted(maps.Keys(offered)) {
		decl := ast.BuiltinMap[name]
		l.capabilities.Builtins = append(l.capabilities.Builtins, decl)
		if g := offered[name]; g != nil {
			l.add("bounded:"+name, name, decl.Decl, bounded(name, topdown.GetBuiltin(name), g))
		}
	}
	for _, name := range unmetered {
		l.builtins["bounded:"+name].Decl.CanSkipBctx = true
	}
	for _, f := range functions {
		decl := &ast.Builtin{Name: f.Name, Decl: signature(f)}
		l.capabilities.Builtins = append(l.capabilities.Builtins, decl)
		l.add("host:"+f.Name, f.Name, decl.Decl, call(f))
	}
	return l
}

func (l *language) add(as, name string, decl *types.Function, f topdown.BuiltinFunc) {
	l.builtins[as] = &topdown.Builtin{Decl: &ast.Builtin{Name: as, Decl: decl}, Func: f}
	l.operators[name] = ast.NewTerm(ast.Ref{ast.VarTerm(as)})
}

// check runs OPA's compiler as far as it finds mistakes. With strict it also refuses imports and variables that are not used.
func (l *language) check(file string, parsed *ast.Module, strict bool) error {
	_, err := l.run(ast.NewCompiler().WithStrict(strict).WithSkipStages(ast.StageBuildRuleIndices, ast.StageBuildComprehensionIndices), file, parsed)
	return err
}

// compile makes a checked module ready to be evaluated.
//
// OPA would turn == into unification, which goes into the parts of lists and objects by recursion, one level for each part:
// comparing two objects of a few million parts overflows the stack, and that ends the process. As a function it is guarded.
// But only as unification is it checked for sides whose types can never be equal, so there is check before this; and only
// so is it indexed, so where one side has no parts it stays.
func (l *language) compile(file string, parsed *ast.Module) (*ast.Module, *ast.Compiler, error) {
	stage := ast.CompilerStageDefinition{Name: "UnifyScalars", MetricName: "compile_stage_unify_scalars", Stage: unifyScalars}
	c, err := l.run(ast.NewCompiler().WithSkipStages(ast.StageRewriteEquals).WithStageAfterID(ast.StageCheckSafetyRuleBodies, stage), file, parsed)
	return c.Modules[file], c, err
}

func unifyScalars(c *ast.Compiler) *ast.Error {
	for _, m := range c.Modules {
		ast.WalkExprs(m, func(e *ast.Expr) bool {
			terms, ok := e.Terms.([]*ast.Term)
			if ok && len(terms) == 3 && e.Operator().Equal(ast.Equal.Ref()) && (ast.IsScalar(terms[1].Value) || ast.IsScalar(terms[2].Value)) {
				e.SetOperator(ast.NewTerm(ast.Equality.Ref()))
			}
			return false
		})
	}
	return nil
}

func (l *language) run(c *ast.Compiler, file string, parsed *ast.Module) (*ast.Compiler, error) {
	c.WithCapabilities(l.capabilities).WithDefaultRegoVersion(ast.RegoV1).WithSkipStages(ast.StageBuildRequiredCapabilities).SetErrorLimit(0)
	c.Compile(map[string]*ast.Module{file: parsed})
	if c.Failed() {
		return c, c.Errors
	}
	return c, nil
}

// bind makes the compiled module call our functions. OPA looks for an operator among its own functions first and those
// cannot be changed for one query, so guarded ones are called by a name OPA does not know. A name of one part also
// spares building it from its parts on each call.
func (l *language) bind(compiled *ast.Module) {
	ast.WalkExprs(compiled, func(e *ast.Expr) bool {
		if e.IsCall() {
			terms := e.Terms.([]*ast.Term)
			if op, ok := l.operators[terms[0].Value.(ast.Ref).String()]; ok {
				terms[0] = op
			}
		}
		return false
	})
}

// signature gives the types of a host function. A set is a list to it: Rego's way to write a few values is a set.
func signature(f host.Func) *types.Function {
	args := make([]types.Type, len(f.Args))
	for i, a := range f.Args {
		t := kind(a.Kind)
		if a.Kind == host.List {
			t = types.NewAny(t, types.NewSet(types.A))
		}
		args[i] = types.Named(a.Name, t)
	}
	return types.NewFunction(args, kind(f.Result))
}

func kind(k host.Kind) types.Type {
	switch k {
	case host.String:
		return types.S
	case host.Bool:
		return types.B
	case host.List:
		return types.NewArray(nil, types.A)
	case host.Map:
		return types.NewObject(nil, types.NewDynamicProperty(types.S, types.A))
	}
	return types.A
}

// aboutObject is a host function's word about the object, to which the place in the rule's source adds nothing.
type aboutObject struct{ error }

// call runs a host function. Its error is the rule's, and names it.
func call(f host.Func) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		if _, err := readable(operands[:len(f.Args)]...); err != nil {
			return charge(bctx, f.Name, cost{}, err)
		}
		args := make([]any, len(f.Args))
		for i := range args {
			var err error
			if args[i], err = native(operands[i].Value); err != nil {
				return failure(bctx, "%s: %v", f.Name, err)
			}
		}
		out, err := f.Call(args)
		if err != nil {
			failed := &topdown.Error{Code: topdown.BuiltinErr, Location: bctx.Location, Message: err.Error()}
			if strings.HasPrefix(err.Error(), "call ") { // the rule called it wrongly: the reader wants to see where
				return failed
			}
			return failed.Wrap(aboutObject{err})
		}
		v, err := ast.InterfaceToValue(out)
		if err != nil {
			return failure(bctx, "%s: %v", f.Name, err)
		}
		if err := charge(bctx, f.Name, weigh(v), nil); err != nil {
			return err
		}
		return iter(ast.NewTerm(v))
	}
}

func failure(bctx topdown.BuiltinContext, format string, args ...any) error {
	return &topdown.Error{Code: topdown.BuiltinErr, Location: bctx.Location, Message: fmt.Sprintf(format, args...)}
}

// native turns a Rego value into one host functions take. Whole numbers stay whole; a set becomes a sorted list.
func native(v ast.Value) (any, error) {
	switch v := v.(type) {
	case ast.Null:
		return nil, nil
	case ast.Boolean:
		return bool(v), nil
	case ast.String:
		return string(v), nil
	case ast.Number:
		if n, ok := v.Int64(); ok && !strings.ContainsAny(string(v), ".eE") {
			return n, nil
		}
		n, ok := v.Float64()
		if !ok {
			return nil, fmt.Errorf("%s is out of range", v)
		}
		return n, nil
	case *ast.Array:
		list := make([]any, v.Len())
		for i := range list {
			var err error
			if list[i], err = native(v.Elem(i).Value); err != nil {
				return nil, err
			}
		}
		return list, nil
	case ast.Set:
		list := make([]any, 0, v.Len())
		err := v.Iter(func(t *ast.Term) error {
			e, err := native(t.Value)
			list = append(list, e)
			return err
		})
		return list, err
	case ast.Object:
		m := make(map[string]any, v.Len())
		return m, v.Iter(func(k, e *ast.Term) error {
			key, ok := k.Value.(ast.String)
			if !ok {
				return fmt.Errorf("an object has the key %v, want text", k)
			}
			var err error
			m[string(key)], err = native(e.Value)
			return err
		})
	}
	return nil, fmt.Errorf("%s is no plain value", ast.ValueName(v))
}

// original is the name a rule calls a function by.
func original(operator string) string {
	return strings.TrimPrefix(operator, "bounded:")
}
