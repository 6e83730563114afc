package decode

import (
	"fmt"
	"strings"
)

// Error is a problem at a place of a file. Line and Column count from 1; 0 is not known.
type Error struct {
	File         string
	Line, Column int
	Err          error
}

func (e *Error) Error() string {
	switch {
	case e.Line > 0 && e.Column > 0:
		return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
	case e.Line > 0:
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.File, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

func failf(file string, at Position, format string, args ...any) *Error {
	return &Error{File: file, Line: at.Line, Column: at.Column, Err: fmt.Errorf(format, args...)}
}

// sealed is whether a reader is below a field data or stringData. What stands there may be a Secret's, and no error repeats
// it; nor does any error of a reader repeat a value, wherever it stands.
type sealed bool

func (s sealed) below(key string) sealed {
	return s || sealed(strings.EqualFold(key, "data") || strings.EqualFold(key, "stringData"))
}

// key is a key for people.
func (s sealed) key(key string) string {
	if s {
		return "a key"
	}
	return fmt.Sprintf("key %q", key)
}

// gaveUp is the error of a parser that panicked with p; nil where it did not. Our own problems come as *Error; what else
// comes, from the library or a mistake of ours, is an error too, so that a document never vanishes.
func (t Text) gaveUp(p any, language string) *Error {
	switch p := p.(type) {
	case nil:
		return nil
	case *Error:
		return p
	default:
		return failf(t.File, Position{t.Line, t.Column}, "read %s: the parser gave up: %v", language, p)
	}
}

// advice turns what the YAML library says into what the author of the file did. The first entry whose text occurs in the
// message is taken.
var advice = []struct{ says, means string }{
	{"mapping values are not allowed", "a second \": \" stands on the line, or the line is indented too far (quote a value that holds \": \")"},
	{"found character that cannot start any token", "%s cannot start a value (quote the value)"},
	{"found a tab character", "a tab stands where YAML indents with spaces (replace it with spaces)"},
	{"could not find expected ':'", "a key without \":\" stands here (write \"key: value\")"},
	{"did not find expected key", "the line does not fit its block (indent it like the lines around it)"},
	{"did not find expected '-' indicator", "the line is no element of the list it stands in (start it with \"- \", or indent it less)"},
	{"found unexpected end of stream", "the text ends inside a quoted value (the file is cut short, or a quote is not closed)"},
	{"did not find expected ',' or ']'", "a [ is not closed (write \", \" between elements, and ] at the end)"},
	{"did not find expected ',' or '}'", "a { is not closed (write \", \" between keys, and } at the end)"},
	{"did not find expected node content", "a value is missing (the file is cut short, or a comma is too many)"},
	{"control characters are not allowed", "a control character stands in the text (remove it, or write it as an escape in double quotes)"},
	{"unknown anchor", "an alias names no anchor that stands before it (write &name at the value meant)"},
	{"found incompatible YAML document", "the directive names a version of YAML other than 1.1, which Kubernetes reads (remove the directive)"},
	{"did not find expected <document start>", "text follows the end of the document (put --- on a line of its own between documents)"},
	{"found unknown escape character", "an unknown escape stands in double quotes (write \\\\ for a backslash, or use single quotes)"},
	{"exceeded max depth", "objects and lists are nested too deeply"},
}

// explain rewords the message of the YAML library; what stands at the place helps to.
func explain(message, there string) string {
	for _, a := range advice {
		if !strings.Contains(message, a.says) {
			continue
		}
		if strings.HasPrefix(there, "\t") {
			return "a tab stands where YAML indents with spaces (replace it with spaces)"
		}
		if strings.Contains(a.means, "%s") {
			return fmt.Sprintf(a.means, fmt.Sprintf("%.1q", there))
		}
		return a.means
	}
	return strings.TrimPrefix(message, "yaml: ")
}
