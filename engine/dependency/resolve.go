package dependency

import (
	"cmp"
	"iter"
	"slices"
)

// Edge is a reference of one object to another.
type Edge struct {
	From, To Object
	// Relation names it, in one word.
	Relation string
	// Missing: To is not in the source, and Kubernetes does not make it.
	Missing bool
	// Optional: From works without To. Convention: it was read from the name of a custom resource's field.
	Optional, Convention bool
	// Orders: From waits for To.
	Orders bool
}

// whole is a graph at rest: nodes sorted, edges sorted and each there once, all that could be resolved resolved.
type whole struct {
	nodes  []node
	edges  []edge
	from   []int32         // where each node's edges start, with one more at the end
	place  []int32         // the new place of a node of the Graph
	twice  map[string]bool // kinds that come in several groups
	byKind map[groupKind]definition
}

// Edges are all references, sorted by what refers, then by what is referred to.
func (g *Graph) Edges() iter.Seq[Edge] {
	w := g.resolve()
	return func(yield func(Edge) bool) {
		for _, e := range w.edges {
			to := w.nodes[e.to]
			if !yield(Edge{w.nodes[e.from].Object, to.Object, e.relation.String(), !to.present, e.flags&optional != 0, e.flags&convention != 0, e.relation.orders()}) {
				return
			}
		}
	}
}

func compare(a, b Object) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Group, b.Group))
}

func (g *Graph) resolve() *whole {
	w := &whole{nodes: slices.Clone(g.nodes), twice: map[string]bool{}, byKind: map[groupKind]definition{}}
	edges := make([]edge, 0, len(g.edges)+len(g.nodes)/2)
	ids := map[Object]int32{} // of what only resolving found
	add := func(o Object) int32 {
		if id, ok := g.ids[o]; ok {
			return id
		}
		id, ok := ids[o]
		if !ok {
			id = int32(len(w.nodes))
			ids[o] = id
			w.nodes = append(w.nodes, node{Object: o})
		}
		return id
	}
	for _, e := range g.edges {
		if to := g.nodes[e.to]; to.present || e.flags&(provided|ifPresent) == 0 && !made(to.Object) {
			edges = append(edges, e)
		}
	}
	for _, o := range g.owners {
		edges = append(edges, edge{o.from, g.owner(o, add), ownedBy, optional})
	}
	edges = append(edges, g.defined(w, add)...)
	w.sort()
	edges = append(edges, g.selected(w)...)
	w.settle(edges)
	groups := map[string]string{}
	for _, n := range w.nodes {
		if group, ok := groups[n.Kind]; ok && group != n.Group {
			w.twice[n.Kind] = true
		}
		groups[n.Kind] = n.Group
	}
	return w
}

// owner finds an owner: by uid, by name in the namespace of what it owns, by name alone.
func (g *Graph) owner(o owner, add func(Object) int32) int32 {
	if id, ok := g.uids[o.uid]; ok && g.nodes[id].Kind == o.to.Kind && g.nodes[id].Group == o.to.Group {
		return id
	}
	if id, ok := g.ids[o.to]; ok && g.nodes[id].present {
		return id
	}
	far := o.to
	far.Namespace = ""
	if id, ok := g.ids[far]; ok && g.nodes[id].present {
		return id
	}
	return add(o.to)
}

// custom reports whether a kind needs a CustomResourceDefinition.
func (g *Graph) custom(k groupKind) bool {
	return !builtin[k.group] && !servedApart[k.group] && !g.aggregated[k.group]
}

// defined leads every custom resource to its definition, and what an aggregated API server serves to its APIServices.
func (g *Graph) defined(w *whole, add func(Object) int32) []edge {
	for _, d := range g.definitions {
		if old, ok := w.byKind[d.kind]; ok {
			d.served = slices.Concat(old.served, d.served)
			if compare(g.nodes[old.node].Object, g.nodes[d.node].Object) < 0 {
				d.node = old.node
			}
		}
		w.byKind[d.kind] = d
	}
	for k, d := range w.byKind {
		d.served = slices.Clone(d.served)
		slices.Sort(d.served)
		d.served = slices.Compact(d.served)
		w.byKind[k] = d
	}
	var edges []edge
	for i, n := range g.nodes {
		if builtin[n.Group] || !n.present {
			continue
		}
		key := groupKind{n.Group, n.Kind}
		if g.custom(key) {
			to, ok := w.byKind[key]
			if !ok {
				to.node = add(Object{crds, "CustomResourceDefinition", "", g.definitionName(key)})
			}
			edges = append(edges, edge{int32(i), to.node, defined, 0})
			continue
		}
		for version := range g.used[key] {
			if id, ok := g.ids[Object{"apiregistration.k8s.io", "APIService", "", version + "." + n.Group}]; ok && g.nodes[id].present {
				edges = append(edges, edge{int32(i), id, defined, 0})
			}
		}
	}
	return edges
}

// definitionName is the name of the definition of a kind: plural.group, or Kind.group where nobody told the plural.
func (g *Graph) definitionName(k groupKind) string {
	if plural := g.plurals[k]; plural != "" {
		return plural + "." + k.group
	}
	return k.kind + "." + k.group
}

// sort puts the nodes in order. Nodes nothing refers to and that are not there stay, and count for nothing.
func (w *whole) sort() {
	order := make([]int32, len(w.nodes))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compare(w.nodes[a].Object, w.nodes[b].Object) })
	w.place = make([]int32, len(order))
	sorted := make([]node, len(order))
	for i, old := range order {
		sorted[i] = w.nodes[old]
		w.place[old] = int32(i)
	}
	w.nodes = sorted
}

// maxSelected bounds the workloads named for one selector, maxTried the comparisons made for all.
const (
	maxSelected = 100
	maxTried    = 10_000_000
)

// selected leads each selector to the workloads of its namespace that have its labels.
func (g *Graph) selected(w *whole) []edge {
	type spot struct {
		namespace string
		label     int32
	}
	have := map[spot][]workload{}
	workloads := slices.Clone(g.workloads)
	slices.SortFunc(workloads, func(a, b workload) int { return cmp.Compare(w.place[a.node], w.place[b.node]) })
	for _, x := range workloads {
		for _, l := range x.labels {
			at := spot{g.nodes[x.node].Namespace, l}
			have[at] = append(have[at], x)
		}
	}
	selectors := slices.Clone(g.selectors)
	slices.SortFunc(selectors, func(a, b selector) int { return cmp.Compare(w.place[a.node], w.place[b.node]) })
	var edges []edge
	tried := 0
	for _, s := range selectors {
		var few []workload
		for i, l := range s.labels {
			if list := have[spot{g.nodes[s.node].Namespace, l}]; i == 0 || len(list) < len(few) {
				few = list
			}
		}
		found := 0
		for _, x := range few {
			if tried++; found == maxSelected || tried > maxTried {
				break
			}
			if contains(x.labels, s.labels) {
				found++
				edges = append(edges, edge{s.node, x.node, selects, 0})
			}
		}
	}
	return edges
}

// contains reports whether all of the sorted part are in the sorted list.
func contains(list, part []int32) bool {
	for _, p := range part {
		i, ok := slices.BinarySearch(list, p)
		if !ok {
			return false
		}
		list = list[i:]
	}
	return true
}

// settle sorts the edges, by the new places of their nodes, and keeps each once. What is needed by one of several fields
// is not optional.
func (w *whole) settle(edges []edge) {
	for i, e := range edges {
		edges[i].from, edges[i].to = w.place[e.from], w.place[e.to]
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.relation, b.relation))
	})
	kept := edges[:0]
	for _, e := range edges {
		if n := len(kept); n > 0 && kept[n-1].from == e.from && kept[n-1].to == e.to && kept[n-1].relation == e.relation {
			kept[n-1].flags &= e.flags
			continue
		}
		kept = append(kept, e)
	}
	w.edges = kept
	w.from = make([]int32, len(w.nodes)+1)
	for _, e := range kept {
		w.from[e.from+1]++
	}
	for i := range w.nodes {
		w.from[i+1] += w.from[i]
	}
}

// label names a node for people. A kind that comes in several groups is told with its group.
func (w *whole) label(id int32) string {
	n := w.nodes[id]
	if w.twice[n.Kind] && n.Group != "" {
		return n.labelled(n.Kind + "." + n.Group)
	}
	return n.String()
}
