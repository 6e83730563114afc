package dependency

import "slices"

// order is what ordering edges make of the nodes.
type order struct {
	// step is, for what something else waits for, the step it is restored in, from 1; 0 for all else.
	step []int32
	// circles are the nodes that wait for each other, or for themselves; each sorted, and sorted by their first.
	circles [][]int32
}

// waits are the nodes that a node waits for and that are there.
func (w *whole) waits(id int32) func(yield func(int32) bool) {
	return func(yield func(int32) bool) {
		for _, e := range w.edges[w.from[id]:w.from[id+1]] {
			if e.relation.orders() && w.nodes[e.to].present && !yield(e.to) {
				return
			}
		}
	}
}

// order finds strongly connected components by Tarjan's algorithm, without recursion since a stranger chooses the depth.
// A component is complete only after all it waits for, so steps are known as components are.
func (w *whole) order() order {
	n := len(w.nodes)
	o := order{step: make([]int32, n)}
	needed := make([]bool, n)
	for id := range int32(n) {
		for to := range w.waits(id) {
			needed[to] = true
		}
	}
	const unseen = 0
	index, low, next := make([]int32, n), make([]int32, n), make([]int32, n)
	onStack := make([]bool, n)
	var stack, path []int32
	count := int32(0)
	enter := func(id int32) {
		count++
		index[id], low[id], next[id] = count, count, w.from[id]
		stack, path = append(stack, id), append(path, id)
		onStack[id] = true
	}
	for root := range int32(n) {
		if index[root] != unseen || !w.nodes[root].present {
			continue
		}
		enter(root)
		for len(path) > 0 {
			id := path[len(path)-1]
			if next[id] < w.from[id+1] {
				e := w.edges[next[id]]
				next[id]++
				switch {
				case !e.relation.orders() || !w.nodes[e.to].present:
				case index[e.to] == unseen:
					enter(e.to)
				case onStack[e.to]:
					low[id] = min(low[id], index[e.to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1]
				low[up] = min(low[up], low[id])
			}
			if low[id] != index[id] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != id {
				at--
			}
			o.complete(w, stack[at:], onStack)
			stack = stack[:at]
		}
	}
	for id, is := range needed {
		if !is {
			o.step[id] = 0
		}
	}
	slices.SortFunc(o.circles, func(a, b []int32) int { return int(a[0]) - int(b[0]) })
	return o
}

// complete gives the members of a component the step after all that they wait for outside of it.
func (o *order) complete(w *whole, members []int32, onStack []bool) {
	step, circle := int32(0), len(members) > 1
	for _, m := range members {
		for to := range w.waits(m) {
			circle = circle || to == m
			if !onStack[to] {
				step = max(step, o.step[to])
			}
		}
	}
	for _, m := range members {
		o.step[m] = step + 1
		onStack[m] = false
	}
	if circle {
		c := slices.Clone(members)
		slices.Sort(c)
		o.circles = append(o.circles, c)
	}
}
