// Package report writes an [engine.Report] for people and for machines, one file and one function for each format, as
// the run streams. It never judges, and it never decides an exit code: a format only says what the run found. Start at
// [Lookup] for one format and at [Tee] for several on one run.
//
// Names, messages and source lines come from strangers. No format passes a control, bidirectional or invisible character
// on as it is: it is shown escaped.
package report

import (
	"io"
	"maps"
	"slices"

	"proviso.dev/proviso/engine"
)

// Format writes a report. It takes the results to their end unless writing fails, and returns what failed.
type Format func(w io.Writer, r engine.Report, o Options) error

// Options is what a user may choose. The zero value is right for a file or a pipe.
type Options struct {
	// All lists what passes and what does not apply, too. SARIF and GitHub never do: their readers would see alerts.
	All bool
	// Color paints the text for a terminal. What it paints is said in words as well.
	Color bool
	// ASCII keeps the text within ASCII.
	ASCII bool
	// Width is the number of columns of the screen, by which the text cuts source lines; 0 is 100.
	Width int
	// Version is Proviso's own, for the formats that name their tool; empty is not told.
	Version string
	// Profile is what was judged by, for text and JSON.
	Profile Profile
}

// Profile names the file that said what was wanted, and its very text; the zero value is none.
type Profile struct {
	File   string        `json:"file"`
	Digest engine.Digest `json:"digest"`
}

var formats = map[string]Format{
	"dot":    DOT,
	"github": GitHub,
	"graph":  Graph,
	"json":   JSON,
	"junit":  JUnit,
	"sarif":  SARIF,
	"text":   Text,
}

// Formats lists the names [Lookup] knows, sorted.
func Formats() []string { return slices.Sorted(maps.Keys(formats)) }

// Lookup is the format of that name.
func Lookup(name string) (Format, bool) {
	f, ok := formats[name]
	return f, ok
}
