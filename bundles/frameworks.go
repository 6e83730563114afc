package bundles

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"proviso.dev/proviso/engine"
)

//go:embed frameworks/*.yaml
var frameworkFiles embed.FS

// Framework is a law or standard, with the ids of its clauses and our own words for them. It is data: the texts
// themselves are not ours to carry.
type Framework struct {
	ID       string             `json:"id"`
	Title    string             `json:"title"`
	Source   string             `json:"source"`
	Version  string             `json:"version"`
	Note     string             `json:"note"`
	Controls []FrameworkControl `json:"controls"`
}

// FrameworkControl is one clause.
type FrameworkControl struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Frameworks are all frameworks by id. They are read when first asked for: judging does not need them.
var Frameworks = sync.OnceValue(func() map[string]*Framework {
	all := map[string]*Framework{}
	files, err := fs.Glob(frameworkFiles, "frameworks/*.yaml")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		raw, err := frameworkFiles.ReadFile(file)
		if err == nil {
			f := &Framework{}
			if _, err = decodeOne(raw, file, f); err == nil {
				all[f.ID] = f
			}
		}
		if err != nil {
			panic(fmt.Sprintf("built-in frameworks: %v", err)) // built in and tested
		}
	}
	return all
})

// unknownControl says why a control names nothing, or "". Those of a lazy source are taken as they are.
func unknownControl(c engine.Control, lazy bool) string {
	if lazy {
		return ""
	}
	f, ok := Frameworks()[c.Framework]
	if !ok {
		return fmt.Sprintf("there is no framework %q%s", c.Framework, didYouMean(c.Framework, slices.Collect(maps.Keys(Frameworks()))))
	}
	var ids []string
	for _, have := range f.Controls {
		if have.ID == c.ID {
			return ""
		}
		ids = append(ids, have.ID)
	}
	return fmt.Sprintf("framework %s has no control %q%s", c.Framework, c.ID, didYouMean(c.ID, ids))
}

// FrameworkIDs are the ids of all frameworks, sorted.
func FrameworkIDs() []string { return slices.Sorted(maps.Keys(Frameworks())) }
