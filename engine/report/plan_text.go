package report

import (
	"fmt"
	"strings"
)

// How much of a plan the text tells where not all is asked for. -o json and -o graph tell the rest.
const (
	maxTextMissing = 10
	maxTextCycles  = 3
	maxTextSteps   = 4
	maxTextItems   = 6
)

// plans tells, for each backup, what is missing and who needs it, what waits in circles, and what to restore first.
func (t *page) plans(p *plans, o Options) {
	for i := range p.kept {
		t.begin(block)
		t.plan(&p.kept[i], o)
	}
	if n := p.seen - len(p.kept); n > 0 {
		t.line("%s", plural(n, "more restore plan", "more restore plans"))
	}
}

func (t *page) plan(p *plan, o Options) {
	name := p.Subject.Name
	if p.Subject.Namespace != "" {
		name = p.Subject.Namespace + "/" + name
	}
	t.line("%s%s: %d objects, %d references", painted{bold, "Restore plan "}, name, p.Nodes, p.Edges)
	if !p.Complete {
		t.line("  %s", painted{yellow, "not all of the backup was read: what is missing may be in what was not"})
	}
	most := func(n, limit int) int {
		if o.All {
			return n
		}
		return min(n, limit)
	}
	shown := most(len(p.Missing), maxTextMissing)
	for _, m := range p.Missing[:shown] {
		object := m.Kind + " " + m.Name
		if m.Namespace != "" {
			object = m.Kind + " " + m.Namespace + "/" + m.Name
		}
		note := ""
		if m.Optional {
			note = ", optional"
		} else if m.External {
			note = ", the cluster's own"
		}
		t.line("  %s%s (%s%s), needed by %s", painted{yellow, "missing: "}, object, m.Relation, note, few(m.By, int(m.Count)))
	}
	t.more(len(p.Missing)-shown, "missing")
	for _, d := range p.Definitions {
		if d.Problem != "" {
			t.line("  %s%s.%s: %s (%s)", painted{yellow, "definition: "}, d.Kind, d.Group, d.Problem, plural(int(d.Count), "object", "objects"))
		}
	}
	shown = most(len(p.Cycles), maxTextCycles)
	for _, c := range p.Cycles[:shown] {
		t.line("  %s%s", painted{yellow, "they wait for each other: "}, t.items(c, o))
	}
	t.more(len(p.Cycles)-shown, "cycles")
	inSteps := int64(0)
	for _, s := range p.Order {
		inSteps += int64(len(s.Items))
	}
	shown = most(len(p.Order), maxTextSteps)
	for _, s := range p.Order[:shown] {
		t.line("  step %d: %s", s.Step, t.items(s.Items, o))
	}
	t.more(len(p.Order)-shown, "steps")
	if rest := p.Nodes - max(p.ordered, inSteps); rest > 0 && inSteps > 0 {
		t.line("  last: the other %s, in any order, since nothing waits for them", plural(int(rest), "object", "objects"))
	}
}

func (t *page) more(n int, what string) {
	if n > 0 {
		t.line("  and %d more %s (--all names them)", n, what)
	}
}

func (t *page) items(list []string, o Options) string {
	if o.All {
		return strings.Join(list, ", ")
	}
	return few(list[:min(len(list), maxTextItems)], len(list))
}

// few joins the first of n things.
func few(first []string, n int) string {
	text := strings.Join(first, ", ")
	if n > len(first) {
		text += fmt.Sprintf(" and %d more", n-len(first))
	}
	return text
}
