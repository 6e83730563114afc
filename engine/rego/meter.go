package rego

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OPA looks at the clock between expressions, not within a call, and not at memory at all: six nested concat made 512 MiB
// and seven overran a deadline of one second by five. So a call is refused beforehand that would make or read too much,
// and an evaluation may make so much and no more. Objects of a cluster are at most 1.5 MiB.
const (
	// maxText and maxElements are what one call may make: as much text as an object of a cluster can have, or whoever makes a
	// text long would keep the rule from saying what is wrong with it.
	maxText     = 2 << 20
	maxElements = 100_000
	// totalText and totalElements are what the calls of one evaluation may make together.
	totalText     = 16 << 20
	totalElements = 1_000_000
	// maxOperand and maxNodes are what one call may read where it reads all of an argument.
	maxOperand = 8 << 20
	maxNodes   = 1_000_000
	// maxDepth is how deep an argument may nest. Values are trees to a call though their parts may be shared.
	maxDepth = 500
	// maxWork is the number of steps of a call whose steps are the product of two sizes; about a third of a second.
	maxWork = 1 << 25
)

// cost is what a call makes, or what a value weighs: bytes of text, and elements of lists, objects and sets.
type cost struct{ text, elements int }

// guard foretells what a call makes at most, and refuses one that takes too much.
type guard func(args []*ast.Term) (cost, error)

// meter counts what one evaluation has made. It is the evaluation's topdown.Cancel as well: that is how OPA hands it to
// functions without a look-up, and asking the context itself spares a goroutine that waits for its end.
type meter struct {
	done <-chan struct{}
	made cost
}

// Cancel is part of topdown.Cancel. The context ends an evaluation, nothing else.
func (m *meter) Cancel() {}

// Cancelled is part of topdown.Cancel.
func (m *meter) Cancelled() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// bounded is f behind its guard.
func bounded(name string, f topdown.BuiltinFunc, g guard) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		c, err := g(operands)
		if err := charge(bctx, name, c, err); err != nil {
			return err
		}
		return f(bctx, operands, iter)
	}
}

// charge counts what a call makes. What it returns stops the evaluation: an ordinary error of a function would be kept
// until the evaluation ends by itself.
func charge(bctx topdown.BuiltinContext, name string, c cost, err error) error {
	if m, ok := bctx.Cancel.(*meter); ok && err == nil {
		m.made.text += c.text
		m.made.elements += c.elements
		switch {
		case c.text > maxText:
			err = fmt.Errorf("it would make %d bytes of text, more than the %d one call may", c.text, maxText)
		case c.elements > maxElements:
			err = fmt.Errorf("it would make %d elements, more than the %d one call may", c.elements, maxElements)
		case m.made.text > totalText:
			err = fmt.Errorf("the evaluation would make more than %d bytes of text", totalText)
		case m.made.elements > totalElements:
			err = fmt.Errorf("the evaluation would make more than %d elements", totalElements)
		}
	}
	if err == nil {
		return nil
	}
	return topdown.Halt{Err: &topdown.Error{Code: topdown.BuiltinErr, Location: bctx.Location, Message: name + ": " + err.Error()}}
}

// weigh counts the text and the elements of a value as a tree, and stops counting at what no call may read.
func weigh(v ast.Value) cost {
	var s scale
	s.put(v, 0)
	return s.cost
}

type scale struct{ cost }

// put reports whether the value is too heavy already.
func (s *scale) put(v ast.Value, depth int) (tooHeavy bool) {
	s.elements++
	switch v := v.(type) {
	case ast.String:
		s.text += len(v)
	case ast.Number:
		s.text += len(v)
	case *ast.Array:
		for i := 0; i < v.Len() && !tooHeavy; i++ {
			tooHeavy = s.put(v.Elem(i).Value, depth+1)
		}
	case ast.Object:
		v.Until(func(k, e *ast.Term) bool {
			tooHeavy = s.put(k.Value, depth+1) || s.put(e.Value, depth+1)
			return tooHeavy
		})
	case ast.Set:
		v.Until(func(e *ast.Term) bool {
			tooHeavy = s.put(e.Value, depth+1)
			return tooHeavy
		})
	}
	if depth > maxDepth {
		s.elements = maxNodes + 1
	}
	return s.text > maxOperand || s.elements > maxNodes
}

// readable refuses arguments that are too heavy to be read whole.
func readable(args ...*ast.Term) (cost, error) {
	var s scale
	for _, a := range args {
		if s.put(a.Value, 0) {
			return s.cost, fmt.Errorf("its arguments are too large: want at most %d bytes of text, %d elements and a depth of %d", maxOperand, maxNodes, maxDepth)
		}
	}
	return s.cost, nil
}
