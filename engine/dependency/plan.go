package dependency

import (
	"cmp"
	"maps"
	"slices"
)

// How much of a plan is written out. Counts tell the rest.
const (
	maxMissing     = 1000
	maxBy          = 5
	maxOrder       = 10_000
	maxGraph       = 20_000
	maxCycles      = 100
	maxMembers     = 100
	maxDefinitions = 1000
	maxGaps        = 20
)

// Plan is what a restore needs, as the fields of a RestorePlan: complete, nodes, edges, missing, definitions, cycles,
// order and graph, every list sorted. A list that is cut short is told by missingCount, definitionsCount, cyclesCount and orderCount, which
// are always there, and by orderTruncated and graphTruncated, which are there where they are true. Reasons for which the plan is not complete stand
// in incomplete. Values are bool, int64, string, []any and map[string]any; each call makes new ones.
//
// Order holds what something else waits for, and nothing else: the minimal set to restore first. Every item waits only for
// items of earlier steps, or of its own where it is in a cycle. The graph keeps what is missing first, then what orders, then the rest, and
// references to Namespaces last; so a cut costs what says least.
func (g *Graph) Plan() map[string]any {
	w := g.resolve()
	o := w.order()
	present := 0
	for _, n := range w.nodes {
		if n.present {
			present++
		}
	}
	plan := map[string]any{
		"complete": g.gaps == 0, "nodes": int64(present), "edges": int64(len(w.edges)),
	}
	if g.gaps > 0 {
		why := slices.Clone(g.incomplete)
		slices.Sort(why)
		plan["incomplete"] = texts(slices.Compact(why))
	}
	plan["missing"], plan["missingCount"] = w.missing()
	plan["definitions"], plan["definitionsCount"] = g.kinds(w)
	cycles := []any{}
	for _, c := range o.circles[:min(len(o.circles), maxCycles)] {
		cycles = append(cycles, w.labels(c[:min(len(c), maxMembers)]))
	}
	plan["cycles"], plan["cyclesCount"] = cycles, int64(len(o.circles))
	steps, count := w.steps(o)
	plan["order"], plan["orderCount"] = steps, int64(count)
	if count > maxOrder {
		plan["orderTruncated"] = true
	}
	plan["graph"] = w.graph()
	if len(w.edges) > maxGraph {
		plan["graphTruncated"] = true
	}
	return plan
}

func texts(l []string) []any {
	list := make([]any, len(l))
	for i, s := range l {
		list[i] = s
	}
	return list
}

func (w *whole) labels(ids []int32) []any {
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = w.label(id)
	}
	return list
}

// missing is what is referred to and not there, one entry for each relation, and how many there are.
func (w *whole) missing() ([]any, int64) {
	var absent []edge
	for _, e := range w.edges {
		if !w.nodes[e.to].present {
			absent = append(absent, e)
		}
	}
	// Edges come sorted by what refers, and stay so for each missing thing.
	slices.SortStableFunc(absent, func(a, b edge) int { return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.relation, b.relation)) })
	list, count := []any{}, int64(0)
	for len(absent) > 0 {
		first := absent[0]
		n := 1
		for n < len(absent) && absent[n].to == first.to && absent[n].relation == first.relation {
			n++
		}
		group := absent[:n]
		absent = absent[n:]
		if count++; count > maxMissing {
			continue
		}
		all := optional | convention
		by := []any{}
		for i, e := range group {
			all &= e.flags
			if i < maxBy {
				by = append(by, w.label(e.from))
			}
		}
		o := w.nodes[first.to].Object
		m := map[string]any{"group": o.Group, "kind": o.Kind, "name": o.Name, "relation": first.relation.String(),
			"optional": all&optional != 0, "by": by, "count": int64(n)}
		if o.Namespace != "" {
			m["namespace"] = o.Namespace
		}
		if external[groupKind{o.Group, o.Kind}] {
			m["external"] = true
		}
		if all&convention != 0 {
			m["convention"] = true
		}
		list = append(list, m)
	}
	return list, count
}

// kinds tells of each kind of custom resource whether its definition is there and serves the versions used.
func (g *Graph) kinds(w *whole) ([]any, int64) {
	uses := map[groupKind]int64{}
	for _, n := range w.nodes {
		if k := (groupKind{n.Group, n.Kind}); n.present && g.custom(k) {
			uses[k]++
		}
	}
	list := []any{}
	keys := slices.SortedFunc(maps.Keys(uses), func(a, b groupKind) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.kind, b.kind))
	})
	for _, k := range keys[:min(len(keys), maxDefinitions)] {
		versions := slices.Sorted(maps.Keys(g.used[k]))
		d, present := w.byKind[k]
		m := map[string]any{"group": k.group, "kind": k.kind, "versions": texts(versions), "present": present, "count": uses[k]}
		if !present {
			m["crd"] = g.definitionName(k)
			m["problem"] = "no CRD in the backup"
		} else {
			m["crd"] = g.nodes[d.node].Name
			m["served"] = texts(d.served)
			for _, v := range versions {
				if _, ok := slices.BinarySearch(d.served, v); !ok {
					m["problem"] = "version " + v + " is not served"
					break
				}
			}
		}
		list = append(list, m)
	}
	return list, int64(len(keys))
}

// steps lists what is to be restored first, and says how much that is.
func (w *whole) steps(o order) ([]any, int) {
	byStep := [][]int32{}
	count := 0
	for id, s := range o.step {
		if s == 0 {
			continue
		}
		count++
		for int(s) > len(byStep) {
			byStep = append(byStep, nil)
		}
		byStep[s-1] = append(byStep[s-1], int32(id))
	}
	list, left := []any{}, maxOrder
	for i, ids := range byStep {
		if left == 0 {
			break
		}
		step := map[string]any{"step": int64(i + 1), "items": w.labels(ids[:min(len(ids), left)])}
		if len(ids) > left {
			step["truncated"] = true
		}
		left -= min(len(ids), left)
		list = append(list, step)
	}
	return list, count
}

// graph lists the edges, what says most first.
func (w *whole) graph() []any {
	weight := func(e edge) int {
		switch {
		case !w.nodes[e.to].present:
			return 0
		case e.relation == namespace:
			return 3
		case e.relation.orders():
			return 1
		}
		return 2
	}
	list := make([]any, 0, min(len(w.edges), maxGraph))
	for level := range 4 {
		for _, e := range w.edges {
			if len(list) == maxGraph {
				return list
			}
			if weight(e) != level {
				continue
			}
			m := map[string]any{"from": w.label(e.from), "to": w.label(e.to), "relation": e.relation.String()}
			if level == 0 {
				m["missing"] = true
			}
			list = append(list, m)
		}
	}
	return list
}
