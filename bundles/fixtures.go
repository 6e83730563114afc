package bundles

import (
	"context"
	"iter"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

// fixtureSubjects reads an example as lint reads a file.
func fixtureSubjects(name string, raw []byte, set *engine.Set) iter.Seq2[*engine.Subject, error] {
	files := &manifest.Files{Paths: []string{"-"}, Stdin: raw, StdinName: name, Operation: engine.Create, Misspelt: set.Misspelt}
	return files.Inspect(context.Background())
}

// newFixtureFacts answers facts from the example itself, which is its own snapshot too: a typed list in it is complete.
func newFixtureFacts(raw []byte, set *engine.Set) engine.FactSource {
	return manifest.NewFacts([]string{"-"}, []string{"-"}, raw, set.FactKinds())
}
