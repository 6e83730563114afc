// Package cel turns CEL source into rules: one expression that yields a list of {"message", "path"}. It offers the
// libraries, limits and costs of the Kubernetes API server and sees the same document as package rego. Start at
// [Compiler].
package cel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/host"
)

// Compiler turns rule source into rules. It may be used by many goroutines.
type Compiler struct {
	// Functions are the host functions rules may call.
	Functions []host.Func

	once sync.Once
	env  *cel.Env
	err  error
}

// Rule is a compiled expression.
type Rule struct {
	program cel.Program
	reads   []engine.Read
}

// Compile reads a rule. The error joins an *engine.CompileError for each problem; file is the name it gives.
func (c *Compiler) Compile(file string, source []byte) (*Rule, error) {
	ast, program, err := c.compile(file, source)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); t.Kind() != types.ListKind && t.Kind() != types.DynKind {
		return nil, c.reject(file, source, ast, fmt.Sprintf("the expression yields %s, want a list of {\"message\", \"path\"}, empty where nothing is wrong", t))
	}
	return &Rule{program, reads(ast)}, nil
}

// Condition reads a policy's when: an expression that yields true or false. It may not read facts, which are fetched
// after it.
func (c *Compiler) Condition(file string, source []byte) (engine.Condition, []engine.Read, error) {
	ast, program, err := c.compile(file, source)
	if err != nil {
		return nil, nil, err
	}
	if t := ast.OutputType(); t.Kind() != types.BoolKind && t.Kind() != types.DynKind {
		return nil, nil, c.reject(file, source, ast, fmt.Sprintf("when yields %s, want true or false", t))
	}
	return func(ctx context.Context, in engine.Input) (bool, error) {
		out, _, err := program.ContextEval(ctx, document(in))
		if err != nil {
			return false, tell(ctx, err)
		}
		ok, isBool := out.Value().(bool)
		if !isBool {
			return false, fmt.Errorf("it yields %s, want true or false", out.Type().TypeName())
		}
		return ok, nil
	}, reads(ast), nil
}

func (c *Compiler) compile(file string, source []byte) (_ *cel.Ast, _ cel.Program, err error) {
	defer func() {
		// cel-go evaluates constants while it plans, and panics where a map's key cannot be one.
		if r := recover(); r != nil {
			err = &engine.CompileError{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("the expression cannot be compiled: %v", r), Source: engine.SourceLine(source, 1)}
		}
	}()
	c.once.Do(func() { c.env, c.err = environment(c.Functions) })
	if c.err != nil {
		return nil, nil, fmt.Errorf("set up CEL: %w", c.err)
	}
	ast, issues := c.env.CompileSource(common.NewStringSource(string(source), file))
	if issues != nil && issues.Err() != nil {
		var errs []error
		for _, e := range issues.Errors() {
			errs = append(errs, &engine.CompileError{File: file, Line: e.Location.Line(), Column: e.Location.Column() + 1,
				Message: e.Message, Source: engine.SourceLine(source, e.Location.Line())})
		}
		return nil, nil, errors.Join(errs...)
	}
	program, err := c.env.Program(ast, programOptions(c.Functions)...)
	if err != nil {
		return nil, nil, c.reject(file, source, ast, err.Error())
	}
	return ast, program, nil
}

func (c *Compiler) reject(file string, source []byte, ast *cel.Ast, message string) error {
	at := ast.NativeRep().SourceInfo().GetStartLocation(ast.NativeRep().Expr().ID())
	return &engine.CompileError{File: file, Line: at.Line(), Column: at.Column() + 1, Message: message, Source: engine.SourceLine(source, at.Line())}
}

// Reads lists what the rule reads of the document.
func (r *Rule) Reads() []engine.Read { return r.reads }

// Lint finds nothing: an expression has no part that cannot be reached.
func (r *Rule) Lint() []engine.Problem { return nil }

// Eval evaluates the rule. It obeys the context, and the API server's cost limit for one expression.
func (r *Rule) Eval(ctx context.Context, in engine.Input) (_ []engine.Violation, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluating panicked: %v", r)
		}
	}()
	out, _, err := r.program.ContextEval(ctx, document(in))
	if err != nil {
		return nil, tell(ctx, err)
	}
	list, ok := out.(traits.Lister)
	if !ok {
		return nil, fmt.Errorf("the rule answered with %s, want a list", out.Type().TypeName())
	}
	var found []engine.Violation
	for it := list.Iterator(); it.HasNext() == types.True; {
		v, err := violation(it.Next())
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, nil
}

func violation(v ref.Val) (engine.Violation, error) {
	m, ok := v.(traits.Mapper)
	if !ok {
		return engine.Violation{}, fmt.Errorf("the rule answered with a list of %s, want {\"message\", \"path\"}", v.Type().TypeName())
	}
	var out engine.Violation
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		text, isText := m.Get(key).Value().(string)
		switch {
		case !isText:
			return out, fmt.Errorf("the rule answered with a violation whose %v is no text", key.Value())
		case key.Value() == "message":
			out.Message = text
		case key.Value() == "path":
			out.Path = text
		default:
			return out, fmt.Errorf("the rule answered with a violation that has %v, want message and path only", key.Value())
		}
	}
	return out, nil
}

// tell makes an evaluation error name its cause: cel-go says "operation interrupted" whatever ended the context.
func tell(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// activation is the document, handed to CEL without building a map for each evaluation.
type activation struct{ in engine.Input }

func document(in engine.Input) *activation { return &activation{in} }

// Parent is part of cel.Activation.
func (*activation) Parent() cel.Activation { return nil }

// ResolveName is part of cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	in := a.in
	switch name {
	case "object":
		return orEmpty(in.Subject.Object), true
	case "old":
		return orEmpty(in.Subject.Old), true
	case "oldObject":
		if in.Subject.Old == nil {
			return types.NullValue, true
		}
		return in.Subject.Old, true
	case "operation":
		return in.Subject.Operation, true
	case "user":
		return orEmpty(in.Subject.User), true
	case "request":
		return map[string]any{"operation": in.Subject.Operation, "userInfo": orEmpty(in.Subject.User)}, true
	case "params":
		return orEmpty(in.Params), true
	case "facts":
		return orEmpty(in.Facts), true
	case "now":
		return in.Now.UTC(), true
	}
	return nil, false
}

var empty = map[string]any{}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return empty
	}
	return m
}
