// Package dependency finds what the objects of one source need of each other: which are referenced and absent, which
// need each other in a circle, and what must be restored before the rest. It reads objects, keeps only their names and
// references, and never a value of theirs.
//
// Start at [New]; [Graph.Add] every object, [Graph.Note] what of the source was not read, and ask for [Graph.Plan].
//
// # What orders
//
// Every reference is an edge, but not every edge orders a restore. An object waits for what it cannot be created, admitted
// or started without. These do not order, since the API accepts the object without them and waiting would only invent
// circles: an owner (a restore drops ownerReferences, and owners often name what they own), a volume's claimRef (the claim
// waits for the volume), a snapshot content's back reference and a snapshot's source claim (a claim may be made of its own
// snapshot), a ServiceAccount's list of mountable Secrets (a token Secret waits for its account, or the token controller
// deletes it), what a selector selects, what an autoscaler scales, and a Secret that a Certificate or the like makes.
package dependency

import (
	"slices"
	"strings"
)

// Object is the identity of an object. Group is empty for the core group, Namespace for what has none.
type Object struct{ Group, Kind, Namespace, Name string }

// String is "Kind namespace/name", or "Kind name".
func (o Object) String() string { return o.labelled(o.Kind) }

func (o Object) labelled(kind string) string {
	if o.Namespace == "" {
		return kind + " " + o.Name
	}
	return kind + " " + o.Namespace + "/" + o.Name
}

// Graph collects objects and their references. Its memory grows with their number, not with their size. The order in
// which objects are added changes nothing. It is not safe for use by several goroutines at once.
type Graph struct {
	ids         map[Object]int32
	nodes       []node
	edges       []edge
	owners      []owner
	uids        map[string]int32
	words       map[string]string
	used        map[groupKind]map[string]bool // by kind, the versions it is used in
	plurals     map[groupKind]string
	definitions []definition
	aggregated  map[string]bool // groups that an APIService of the source serves by a Service
	selectors   []selector
	workloads   []workload
	labels      map[label]int32
	incomplete  []string
	gaps        int
	odd         string // what of the object that is being added cannot be read
}

type groupKind struct{ group, kind string }

type node struct {
	Object
	present bool
}

// edge is a reference of one node to another, by their places in the list of nodes.
type edge struct {
	from, to int32
	relation relation
	flags    flags
}

// flags say how much a reference means.
type flags uint8

const (
	// optional: the one that refers works without it.
	optional flags = 1 << iota
	// convention: read from the name of a custom resource's field, not from a schema.
	convention
	// ifPresent: the text may be something else than a name, even a credential. It counts only where such an object is there.
	ifPresent
	// provided: Kubernetes makes what is referred to.
	provided
)

// owner is a reference whose namespace is known only once everything is: an owner has its owned one's, or none.
type owner struct {
	from int32
	uid  string
	to   Object
}

// definition is what a CustomResourceDefinition defines.
type definition struct {
	node   int32
	kind   groupKind
	served []string
}

type label struct{ key, value string }

// workload is what a selector may select: a node with the labels of its pods.
type workload struct {
	node   int32
	labels []int32 // sorted
}

type selector struct {
	node   int32
	labels []int32
}

// New is an empty graph.
func New() *Graph {
	return &Graph{
		ids: map[Object]int32{}, uids: map[string]int32{}, words: map[string]string{}, used: map[groupKind]map[string]bool{},
		plurals: map[groupKind]string{}, aggregated: map[string]bool{}, labels: map[label]int32{},
	}
}

// Note says what of the source was not read, so that the plan does not count as complete.
func (g *Graph) Note(incomplete string) {
	if g.gaps++; len(g.incomplete) < maxGaps {
		g.incomplete = append(g.incomplete, strings.Clone(incomplete))
	}
}

// Resource tells the plural name of a kind, as the source's layout has it. A definition that is missing is then named
// after it.
func (g *Graph) Resource(group, kind, plural string) {
	key := groupKind{g.word(group), g.word(kind)}
	if old, ok := g.plurals[key]; !ok || plural < old {
		g.plurals[key] = strings.Clone(plural)
	}
}

// Add takes in one object: its identity, its references, and nothing else of it. The same object may come more than once,
// in several versions. Without apiVersion, kind or name it is noted as not read, and so is one with a field of reference of a wrong type.
func (g *Graph) Add(object map[string]any) {
	apiVersion, kind := text(object, "apiVersion"), text(object, "kind")
	meta := child(object, "metadata")
	name := text(meta, "name")
	if apiVersion == "" || kind == "" || name == "" {
		g.Note("read an object: it has no apiVersion, kind or name")
		return
	}
	group, version := split(apiVersion)
	self := Object{canonical(group, kind), kind, text(meta, "namespace"), name}
	id := g.id(self)
	g.nodes[id].present = true
	self = g.nodes[id].Object
	key := groupKind{self.Group, self.Kind}
	if g.used[key] == nil {
		g.used[key] = map[string]bool{}
	}
	g.used[key][g.word(version)] = true
	if uid := text(meta, "uid"); uid != "" {
		g.uids[strings.Clone(uid)] = id
	}
	g.odd = ""
	r := reader{g, id, self, object}
	if self.Namespace != "" {
		r.to(namespace, Object{"", "Namespace", "", self.Namespace}, 0)
	}
	r.text(meta, "namespace")
	for _, o := range r.elements(meta, "ownerReferences") {
		group, _ := split(r.text(o, "apiVersion"))
		kind := r.text(o, "kind")
		to := Object{g.word(canonical(group, kind)), g.word(kind), self.Namespace, strings.Clone(r.text(o, "name"))}
		if to.Kind != "" && to.Name != "" && to.Kind != "Node" {
			g.owners = append(g.owners, owner{id, strings.Clone(text(o, "uid")), to})
		}
	}
	if r.read(); g.odd != "" {
		g.Note("read " + self.String() + ": " + g.odd + ", so what it refers to is not known")
	}
}

// id is the place of an object in the list of nodes.
func (g *Graph) id(o Object) int32 {
	id, ok := g.ids[o]
	if !ok {
		// Clones, since a short name may be a part of a long document.
		o = Object{g.word(o.Group), g.word(o.Kind), g.word(o.Namespace), strings.Clone(o.Name)}
		id = int32(len(g.nodes))
		g.ids[o] = id
		g.nodes = append(g.nodes, node{Object: o})
	}
	return id
}

// word keeps one copy of a text that comes again and again.
func (g *Graph) word(text string) string {
	w, ok := g.words[text]
	if !ok {
		w = strings.Clone(text)
		g.words[w] = w
	}
	return w
}

// labelled gives the labels numbers, sorted.
func (g *Graph) labelled(labels map[string]any) []int32 {
	var list []int32
	for k, v := range labels {
		value, _ := v.(string)
		l := label{g.word(k), g.word(value)}
		n, ok := g.labels[l]
		if !ok {
			n = int32(len(g.labels))
			g.labels[l] = n
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}
