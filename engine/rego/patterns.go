package rego

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// matching: Go's regular expressions take time as the product of the program's and the text's size.
func matching(args []*ast.Term) (cost, error) {
	pattern, _ := args[0].Value.(ast.String)
	if len(args) == 1 {
		_, err := programSize(string(pattern))
		return cost{}, err
	}
	value, _ := args[1].Value.(ast.String)
	size, err := programSize(string(pattern))
	if err != nil {
		return cost{}, err
	}
	c := cost{}
	if len(args) > 3 { // the ones that find, with a number and a result
		c.elements = (utf8.RuneCountInString(string(value)) + 1) * (strings.Count(string(pattern), "(") + 1)
		if n, ok := args[2].Value.(ast.Number); ok {
			if most, ok := n.Int(); ok && most >= 0 {
				c.elements = min(c.elements, most*(strings.Count(string(pattern), "(")+1))
			}
		}
	}
	return c, work(size, len(value))
}

// rewriting: regex.replace. All matches together are no longer than the text, so each $ adds at most that.
func rewriting(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	by, _ := args[2].Value.(ast.String)
	if _, err := matching([]*ast.Term{args[1], args[0]}); err != nil {
		return cost{}, err
	}
	return cost{text: len(s) + (len(s)+1)*len(by) + strings.Count(string(by), "$")*len(s)}, nil
}

// maxPattern bounds patterns, and with Go's own bound on repetition the size of their programs.
const maxPattern = 512

// programs remembers the sizes of patterns' programs. Patterns may come from objects, so it is emptied when it is full.
var programs = struct {
	sync.Mutex
	size map[string]int
}{size: map[string]int{}}

func programSize(pattern string) (int, error) {
	if len(pattern) > maxPattern {
		return 0, fmt.Errorf("the pattern has %d bytes, want at most %d", len(pattern), maxPattern)
	}
	programs.Lock()
	size, ok := programs.size[pattern]
	programs.Unlock()
	if ok {
		return size, nil
	}
	if re, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if prog, err := syntax.Compile(re.Simplify()); err == nil {
			size = len(prog.Inst)
		}
	}
	programs.Lock()
	defer programs.Unlock()
	if len(programs.size) >= 1024 {
		clear(programs.size)
	}
	programs.size[pattern] = size
	return size, nil
}
