package evidence

import (
	"fmt"
	"io"
	"strings"
)

// listed reads the population a scan had before it judged.
func (r *running) listed(rec *Record, place string) {
	p := rec.Population
	if r.this == nil {
		return
	}
	c := r.course()
	if c.Population != nil {
		r.problem(PopulationWrong, place, "the run lists its population twice")
	}
	c.Population, c.listed = p, rec.Seq
	if r.exported != nil && r.exported.m.Filter.Namespace != "" {
		// The list names other namespaces, and is left out: what is in it can be counted, and not compared.
		r.exported.lists++
		r.unlisted = max(p.Items-p.Holes, 0)
		if p.Holes > 0 {
			r.hole(DeclaredHole, place, "%s not judged, and may be of any namespace", plural(uint64(p.Holes), "entry of the population was", "entries of the population were"))
		}
		return
	}
	if !r.objects[p.List] {
		r.problem(ObjectMissing, place, "the list of the population, %s, is not there", p.List)
		return
	}
	f, err := r.fsys.Open(ObjectFile(p.List))
	if err != nil {
		r.problem(ObjectMissing, place, "read the list of the population: %v", err)
		return
	}
	defer f.Close()
	var tree Tree
	holes := 0
	for in := newLines(f); ; {
		raw, err := in.next()
		if err == io.EOF {
			break
		}
		var entry Item
		if err == nil {
			err = Decode(raw, &entry)
		}
		if err == nil && (entry.N != len(r.items) || (entry.Subject == nil) == (entry.Hole == nil)) {
			err = fmt.Errorf("item %d is not as it must be", len(r.items))
		}
		if err != nil {
			r.problem(PopulationWrong, place, "read the list of the population: %v", err)
			return
		}
		tree.Add(raw)
		if entry.Hole != nil {
			holes++
			r.items = append(r.items, item{done: true})
			if entry.Hole.Kind == NotManifest {
				continue
			}
			r.hole(DeclaredHole, place, "%s %s: %s", entry.Hole.Source, entry.Hole.File, entry.Hole.Reason)
			continue
		}
		r.items = append(r.items, item{subject: *entry.Subject, input: entry.Input})
	}
	if len(r.items) != p.Items || holes != p.Holes || tree.Root() != p.Root {
		r.problem(PopulationWrong, place, "it speaks of %d items, %d of them holes, with root %s; the list has %d, %d and %s", p.Items, p.Holes, p.Root, len(r.items), holes, tree.Root())
	}
}

// result notes that an item has one.
func (r *running) result(place string, n int, d *Decision) {
	if r.unlisted > 0 {
		r.unlisted--
		return
	}
	switch {
	case n < 0 || n >= len(r.items):
		r.problem(ItemWithout, place, "the population has no item %d", n)
		return
	case r.items[n].done:
		r.problem(ItemWithout, place, "item %d has a second result", n)
	case d != nil && (d.Subject != r.items[n].subject || d.Input != r.items[n].input):
		r.problem(ItemWithout, place, "it judges something else than item %d of the population", n)
	}
	r.items[n].done = true
}

// finish checks that every item of the population has a result, and counts those without.
func (r *running) finish() uint64 {
	if r.this == nil || r.partial {
		return 0
	}
	place, done := r.place(r.this.Last), r.this.Closed && r.this.Reason == "done"
	if r.this.Kind == "scan" && r.course().Population == nil && done {
		r.problem(PopulationWrong, place, "the scan %s has no population", r.this.ID)
	}
	first, without := 0, uint64(r.unlisted)
	for n := range r.items {
		if r.items[n].done {
			continue
		}
		if without == 0 {
			first = n
		}
		without++
	}
	if without == 0 {
		return 0
	}
	text := withoutResult(without)
	if len(r.items) > 0 {
		s := &r.items[first].subject
		text += fmt.Sprintf("; the first is item %d, %s %s", first, s.Kind, strings.Join(nonEmpty(s.Namespace, s.Name), "/"))
	}
	if done {
		r.problem(ItemWithout, place, "%s", text)
	} else {
		r.hole(Unclosed, place, "%s: the run was not done", text)
	}
	return without
}
