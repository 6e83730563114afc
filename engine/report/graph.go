package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"proviso.dev/proviso/engine"
)

// Graph writes what the objects of each backup need of each other, one reference to a line: from -relation-> to, then
// "(missing)" where that is not in the backup. A plan is written as soon as it is known.
func Graph(w io.Writer, r engine.Report, o Options) error {
	g := glyphs{o.ASCII}
	return graphs(w, r, func(b *bufio.Writer, s *engine.Subject) {
		p := s.Object
		fmt.Fprintf(b, "%s, %s: %d objects, %d references\n", g.escape(s.String()), g.escape(s.Origin.Source), count(p, "nodes"), count(p, "edges"))
		if !is(p, "complete") {
			b.WriteString("  not all of the backup was read\n")
		}
		for _, e := range objects(p["graph"]) {
			missing := ""
			if is(e, "missing") {
				missing = " (missing)"
			}
			fmt.Fprintf(b, "  %s -%s-> %s%s\n", g.escape(text(e, "from")), g.escape(text(e, "relation")), g.escape(text(e, "to")), missing)
		}
		if is(p, "graphTruncated") {
			b.WriteString("  and more: the graph is cut short\n")
		}
	})
}

// DOT writes the same as a graph for Graphviz: one digraph for each plan, what is missing in red and dashed.
func DOT(w io.Writer, r engine.Report, _ Options) error {
	return graphs(w, r, func(b *bufio.Writer, s *engine.Subject) {
		p := s.Object
		fmt.Fprintf(b, "digraph %s {\n  rankdir=LR;\n  node [shape=box];\n", quoted(s.String()))
		for _, e := range objects(p["graph"]) {
			style := ""
			if is(e, "missing") {
				style = ", color=red, style=dashed"
				fmt.Fprintf(b, "  %s [color=red, style=dashed];\n", quoted(text(e, "to")))
			}
			fmt.Fprintf(b, "  %s -> %s [label=%s%s];\n", quoted(text(e, "from")), quoted(text(e, "to")), quoted(text(e, "relation")), style)
		}
		if is(p, "graphTruncated") {
			b.WriteString("  \"…\" [label=\"and more: the graph is cut short\", shape=plaintext];\n")
		}
		b.WriteString("}\n")
	})
}

// quoted is a DOT string. A backslash would start one of its escapes, so it is doubled after all else is escaped.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(safe(text)) + `"`
}

func graphs(w io.Writer, r engine.Report, write func(*bufio.Writer, *engine.Subject)) error {
	b := bufio.NewWriter(w)
	for result := range r.Results {
		if result.Unread != nil || !isPlan(result.Subject) {
			continue
		}
		write(b, result.Subject)
		if err := b.Flush(); err != nil {
			return err
		}
	}
	return b.Flush()
}
