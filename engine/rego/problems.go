package rego

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"proviso.dev/proviso/engine"
)

// problems collects what is wrong with a source, one problem for each place.
type problems struct {
	file   string
	source []byte
	list   []*engine.CompileError
}

func (p *problems) add(at *ast.Location, format string, args ...any) {
	e := &engine.CompileError{File: p.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		e.Line, e.Column = max(at.Row, 1), max(at.Col, 1)
	}
	// Two stages may find fault with one place; the first one, ours, knows more.
	if slices.ContainsFunc(p.list, func(o *engine.CompileError) bool { return o.Line == e.Line && o.Column == e.Column }) {
		return
	}
	e.Source = engine.SourceLine(p.source, e.Line)
	p.list = append(p.list, e)
}

// addOPA adds what OPA's parser or compiler says.
func (p *problems) addOPA(err error) {
	var list ast.Errors
	if !errors.As(err, &list) {
		var one *ast.Error
		if !errors.As(err, &one) {
			if err != nil {
				p.add(nil, "%v", err)
			}
			return
		}
		list = ast.Errors{one}
	}
	for _, e := range list {
		message := e.Message
		if message == "empty module" {
			message = "the source is empty: want package <domain>.<name> and a rule " + entry + " contains {…} if {…}"
		}
		if e.Details != nil {
			for _, line := range e.Details.Lines() {
				// A parser's details repeat the line and its caret.
				if line = strings.TrimSpace(line); line != "" && e.Code != ast.ParseErr {
					message += "; " + line
				}
			}
		}
		p.add(e.Location, "%s", message)
	}
}

func (p *problems) err() error {
	slices.SortStableFunc(p.list, func(a, b *engine.CompileError) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	errs := make([]error, len(p.list))
	for i, e := range p.list {
		errs[i] = e
	}
	return errors.Join(errs...)
}
