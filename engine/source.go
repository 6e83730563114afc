package engine

import (
	"fmt"
	"strings"
)

// CompileError is one thing wrong with the source of a rule, with the line it is on.
type CompileError struct {
	File         string
	Line, Column int
	Message      string
	// Source is the text of the line; empty where it is not known.
	Source string
}

func (e *CompileError) Error() string {
	head := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Source == "" || e.Column < 1 {
		return head
	}
	number := fmt.Sprintf("%4d | ", e.Line)
	before := []rune(e.Source)[:min(e.Column-1, len([]rune(e.Source)))]
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(before))
	return fmt.Sprintf("%s\n%s%s\n%s%s^", head, number, e.Source, strings.Repeat(" ", len(number)), pad)
}

// SourceLine is line number n, counted from 1, of source.
func SourceLine(source []byte, n int) string {
	lines := strings.Split(string(source), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return strings.TrimSuffix(lines[n-1], "\r")
}

// Read is a place of the document that a rule reads: object.spec.ttl, params.min, facts.namespace. An element of a list is
// [*].
type Read struct {
	Path string
	// Presence is a read that only asks whether the place is there; Steps one that only steps through a list's elements.
	Presence     bool
	Steps        bool
	Line, Column int
}

// Problem is something in a rule's source that is legal and still wrong: a rule nothing leads to, a parameter nobody reads.
type Problem struct {
	Line, Column int
	Message      string
}
