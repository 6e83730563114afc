package bundles

import (
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// identity are the paths every object has, which no policy need declare.
var identity = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.generateName"}

// reads lints the rule's source: what it reads is declared, what is declared is read, and every part of it is reached.
func (c *checker) reads() {
	type reading struct {
		engine.Read
		file string
	}
	var all []reading
	rule, err := c.rule()
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	for _, r := range rule.Reads() {
		all = append(all, reading{r, c.ruleFile})
	}
	if c.when != nil {
		when, err := c.when()
		if err != nil {
			c.errs = append(c.errs, err)
		}
		for _, r := range when.reads {
			r.Line, r.Column = 0, 0
			all = append(all, reading{r, "policy.yaml"})
		}
	}
	used := map[string]bool{}
	for _, r := range all {
		root, rest := r.Path, ""
		if i := strings.IndexAny(r.Path, ".["); i >= 0 {
			root, rest = r.Path[:i], strings.TrimPrefix(r.Path[i:], ".")
		}
		switch root {
		case "object", "old", "user":
			if root != "object" && rest != "" {
				rest = root + "." + rest
			}
			if !c.declares(r.Read, rest, used) {
				c.bad(r.file, r.Line, r.Column, "the rule reads %s, which policy.yaml does not declare: add it to requires or optional with its type", strings.TrimPrefix(r.Path, "object."))
			}
		case "params":
			c.named(r.file, r.Read, "parameter", rest, slices.Collect(maps.Keys(c.Properties)), used)
		case "facts":
			if r.file == "policy.yaml" {
				c.bad(r.file, c.doc.Position("when").Line, 0, "when reads a fact: facts are fetched after when has said that the policy applies")
			}
			c.named(r.file, r.Read, "fact", rest, slices.Collect(maps.Keys(c.Facts)), used)
		case "now", "operation":
		default:
			c.bad(r.file, r.Line, r.Column, "the rule reads %s, which is no part of the document", r.Path)
		}
	}
	for _, p := range rule.Lint() {
		c.bad(c.ruleFile, p.Line, p.Column, "%s", p.Message)
	}
	c.unused("parameter", "params.properties", slices.Collect(maps.Keys(c.Properties)), used)
	c.unused("fact", "facts", slices.Collect(maps.Keys(c.Facts)), used)
	c.unused("path", "requires", slices.Collect(maps.Keys(c.Requires)), used)
	c.unused("path", "optional", slices.Collect(maps.Keys(c.Optional)), used)
}

// declares reports whether a read is covered by a declared path, and marks what covers it as used. A read that only asks
// whether something is there, or only steps through a list, is covered by what is declared below it too.
func (c *checker) declares(r engine.Read, rest string, used map[string]bool) bool {
	for _, id := range identity {
		if r.Path == "object."+id || r.Path == "old."+id {
			return true
		}
	}
	read, err := engine.ParsePath(rest)
	covered := false
	for _, declared := range []map[string]engine.Type{c.Requires, c.Optional} {
		for text := range declared {
			d, dErr := engine.ParsePath(text)
			if dErr != nil || err != nil {
				continue
			}
			if d.Covers(read) || (r.Presence || r.Steps) && read.Covers(d) {
				used["path "+text] = true
				covered = true
			}
		}
	}
	return covered
}

func (c *checker) named(file string, r engine.Read, what, rest string, have []string, used map[string]bool) {
	if rest == "" { // all of them
		for _, name := range have {
			used[what+" "+name] = true
		}
		return
	}
	path, err := engine.ParsePath(rest)
	if err == nil && path[0].Kind != engine.KeyStep { // each of them
		for _, name := range have {
			used[what+" "+name] = true
		}
		return
	}
	if err != nil || !slices.Contains(have, path[0].Key) {
		c.bad(file, r.Line, r.Column, "the rule reads the %s %q, which policy.yaml does not declare%s", what, rest, didYouMean(rest, have))
		return
	}
	used[what+" "+path[0].Key] = true
}

// unused reports what is declared and never read. Facts' own paths count as read.
func (c *checker) unused(what, section string, have []string, used map[string]bool) {
	slices.Sort(have)
	for _, name := range have {
		if used[what+" "+name] {
			continue
		}
		at := c.doc.Key(sectionSteps(section, name)...)
		c.bad("policy.yaml", at.Line, at.Column, "the %s %s is declared and never read: take it out, or use it", what, name)
	}
}

func sectionSteps(section, name string) []any {
	var steps []any
	for _, s := range strings.Split(section, ".") {
		steps = append(steps, s)
	}
	return append(steps, name)
}
