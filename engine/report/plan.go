package report

import "proviso.dev/proviso/engine"

// maxPlans is how many restore plans a report keeps until its end. The rest are counted.
const maxPlans = 100

// plan is a restore plan as the canonical form tells it. What a plan does not say, or says in another shape, is empty: it
// may come from a file that anybody wrote.
type plan struct {
	Subject     jsonSubject  `json:"subject"`
	Complete    bool         `json:"complete"`
	Nodes       int64        `json:"nodes"`
	Edges       int64        `json:"edges"`
	Missing     []lacking    `json:"missing"`
	Definitions []definition `json:"definitions"`
	Cycles      [][]string   `json:"cycles"`
	Order       []step       `json:"order"`
	ordered     int64        // how many objects are in steps, where Order is cut short, too
}

type lacking struct {
	Group      string   `json:"group"`
	Kind       string   `json:"kind"`
	Namespace  string   `json:"namespace"`
	Name       string   `json:"name"`
	Relation   string   `json:"relation"`
	Optional   bool     `json:"optional"`
	External   bool     `json:"external"`
	Convention bool     `json:"convention"`
	By         []string `json:"by"`
	Count      int64    `json:"count"`
}

type definition struct {
	Group    string   `json:"group"`
	Kind     string   `json:"kind"`
	Versions []string `json:"versions"`
	CRD      string   `json:"crd"`
	Present  bool     `json:"present"`
	Served   []string `json:"served"`
	Count    int64    `json:"count"`
	Problem  string   `json:"problem"`
}

type step struct {
	Step      int64    `json:"step"`
	Items     []string `json:"items"`
	Truncated bool     `json:"truncated"`
}

// plans collects the restore plans of a run, for formats that tell them last.
type plans struct {
	kept []plan
	seen int
}

func (p *plans) add(s *engine.Subject) {
	if !isPlan(s) {
		return
	}
	if p.seen++; p.seen <= maxPlans {
		p.kept = append(p.kept, planOf(s))
	}
}

func isPlan(s *engine.Subject) bool {
	return s.Kind == "RestorePlan" && s.Group() == "artifact.proviso.dev"
}

func planOf(s *engine.Subject) plan {
	o := s.Object
	p := plan{ordered: count(o, "orderCount"), Subject: jsonSubjectOf(s), Complete: is(o, "complete"), Nodes: count(o, "nodes"), Edges: count(o, "edges"),
		Missing: []lacking{}, Definitions: []definition{}, Cycles: [][]string{}, Order: []step{}}
	for _, m := range objects(o["missing"]) {
		p.Missing = append(p.Missing, lacking{text(m, "group"), text(m, "kind"), text(m, "namespace"), text(m, "name"), text(m, "relation"),
			is(m, "optional"), is(m, "external"), is(m, "convention"), texts(m["by"]), count(m, "count")})
	}
	for _, m := range objects(o["definitions"]) {
		p.Definitions = append(p.Definitions, definition{text(m, "group"), text(m, "kind"), texts(m["versions"]), text(m, "crd"),
			is(m, "present"), texts(m["served"]), count(m, "count"), text(m, "problem")})
	}
	cycles, _ := o["cycles"].([]any)
	for _, c := range cycles {
		p.Cycles = append(p.Cycles, texts(c))
	}
	for _, m := range objects(o["order"]) {
		p.Order = append(p.Order, step{count(m, "step"), texts(m["items"]), is(m, "truncated")})
	}
	return p
}

func is(m map[string]any, key string) bool { return m[key] == true }

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func count(m map[string]any, key string) int64 {
	n, _ := m[key].(int64)
	return max(n, 0)
}

func objects(v any) []map[string]any {
	list, _ := v.([]any)
	var all []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// texts are the strings of a list; never null.
func texts(v any) []string {
	list, _ := v.([]any)
	all := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
