// Package rego turns Rego source into rules: one Rego v1 module whose set violations holds {"message", "path"}. It offers
// functions whose answer is the same wherever and whenever they run and whose time and memory are bounded, and the same
// document as package cel. Start at [Compiler].
package rego

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/host"
)

// Compiler turns rule source into rules. It may be used by many goroutines.
type Compiler struct {
	// Functions are the host functions rules may call.
	Functions []host.Func

	once     sync.Once
	language *language
	lists    listCache
}

// Rule is a compiled module.
type Rule struct {
	file     string
	pkg      string
	parsed   *ast.Module
	compiled *ast.Module
	compiler *ast.Compiler
	language *language
	lists    *listCache
	query    ast.Body
	params   atomic.Pointer[converted]
}

// maxSource bounds the time it takes to compile a rule.
const maxSource = 256 << 10

// entry is the set a rule answers with.
const entry = "violations"

// Compile reads a rule. The error joins an *engine.CompileError for each problem; file is the name it gives.
func (c *Compiler) Compile(file string, source []byte) (r *Rule, err error) {
	c.once.Do(func() { c.language = newLanguage(c.Functions) })
	p := &problems{file: file, source: source}
	// OPA's compiler has panicked on strange source before (CVE-2022-28946).
	defer func() {
		if v := recover(); v != nil {
			p.add(nil, "the source cannot be compiled: %v", v)
			r, err = nil, p.err()
		}
	}()
	if len(source) > maxSource {
		p.add(nil, "the source has %d bytes, want at most %d", len(source), maxSource)
		return nil, p.err()
	}
	parsed, err := ast.ParseModuleWithOpts(file, string(source), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: c.language.capabilities})
	if err != nil {
		p.addOPA(err)
		return nil, p.err()
	}
	checkModule(parsed, c.language, p)
	if !checkSizes(parsed, p) {
		return nil, p.err()
	}
	p.addOPA(c.language.check(file, parsed, false))
	if err := p.err(); err != nil {
		return nil, err
	}
	compiled, compiler, err := c.language.compile(file, parsed)
	if err == nil {
		checkRefs(compiled, p)
	}
	p.addOPA(err)
	if err := p.err(); err != nil {
		return nil, err
	}
	c.language.bind(compiled)
	path := parsed.Package.Path
	set := ast.NewTerm(path.Append(ast.StringTerm(entry)))
	return &Rule{
		file: file, pkg: strings.TrimPrefix(path.String(), "data."), parsed: parsed, compiled: compiled,
		compiler: compiler, language: c.language, lists: &c.lists, query: ast.NewBody(ast.Equality.Expr(set, ast.NewTerm(answer))),
	}, nil
}

// Package is the module's package, domain.name_with_underscores.
func (r *Rule) Package() string { return r.pkg }

// answer is the variable the query binds to the set.
const answer ast.Var = "answer"

// Eval evaluates the rule. It obeys the context, and the limits on what one evaluation may make.
func (r *Rule) Eval(ctx context.Context, in engine.Input) (found []engine.Violation, err error) {
	defer func() {
		if v := recover(); v != nil {
			found, err = nil, fmt.Errorf("the evaluation panicked: %v", v)
		}
	}()
	m := &meter{done: ctx.Done()}
	q := topdown.NewQuery(r.query).WithCompiler(r.compiler).WithInput(r.document(in)).WithCancel(m).WithBuiltins(r.language.builtins).
		WithStrictBuiltinErrors(true).WithStore(noData{}).WithBaseCache(noData{}).WithMetrics(noMetrics).WithTime(epoch)
	var set *ast.Term
	err = q.Iter(ctx, func(result topdown.QueryResult) error {
		set = result[answer]
		return nil
	})
	if err != nil {
		return nil, tell(ctx, err)
	}
	if set == nil {
		return nil, errors.New("the rule answered with nothing, want a set")
	}
	return violations(set.Value)
}

// What a query would otherwise make anew: a clock that no offered function reads, and metrics.
var (
	epoch     = time.Unix(0, 0)
	noMetrics = metrics.NoOp()
)

// violations reads the set a rule answers with.
func violations(v ast.Value) ([]engine.Violation, error) {
	set, ok := v.(ast.Set)
	if !ok {
		return nil, fmt.Errorf("the rule answered with %s, want a set", ast.ValueName(v))
	}
	var found []engine.Violation
	err := set.Iter(func(t *ast.Term) error {
		obj, ok := t.Value.(ast.Object)
		if !ok {
			return fmt.Errorf("the rule answered with a set of %s, want {\"message\", \"path\"}", ast.ValueName(t.Value))
		}
		var one engine.Violation
		hasMessage := false
		err := obj.Iter(func(k, v *ast.Term) error {
			text, isText := v.Value.(ast.String)
			switch key := k.Value; {
			case key.Compare(messageKey) == 0 && isText:
				one.Message, hasMessage = string(text), true
			case key.Compare(pathKey) == 0 && isText:
				one.Path = string(text)
			case key.Compare(messageKey) == 0, key.Compare(pathKey) == 0:
				return fmt.Errorf("the rule answered with a violation whose %v is no text", key)
			default:
				return fmt.Errorf("the rule answered with a violation that has %v, want message and path only", key)
			}
			return nil
		})
		if err == nil && !hasMessage {
			err = errors.New("the rule answered with a violation that has no message")
		}
		found = append(found, one)
		return err
	})
	return found, err
}

var messageKey, pathKey = ast.String("message"), ast.String("path")

// tell says what ended an evaluation: where the context did, its cause.
func tell(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var opa *topdown.Error
	var said aboutObject
	if errors.As(err, &said) {
		return said.error
	}
	if errors.As(err, &opa) && opa.Location != nil {
		return fmt.Errorf("%s:%d:%d: %s", opa.Location.File, opa.Location.Row, opa.Location.Col, opa.Message)
	}
	return err
}
