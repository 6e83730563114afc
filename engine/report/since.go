package report

import (
	"fmt"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// maxNamedChanges is how many changes of one kind are named where not all is asked for.
const maxNamedChanges = 20

// since says what changed since an earlier run.
func (t *page) since(s *engine.Since, o Options) {
	if s == nil {
		return
	}
	t.begin(block)
	note := ""
	if s.Simulated {
		note = "; it was simulated"
	}
	if s.Unread > 0 {
		note += fmt.Sprintf("; it did not read %s", plural(s.Unread, "thing", "things"))
	}
	t.line("since the scan of %s (%s%s)", s.At.UTC().Format(time.RFC3339), s.Evidence, note)
	for _, c := range changesOf(s) {
		t.listed(c.word, c.code, c.all.Count(), o, len(c.all.List), func(i int) string { return changed(&c.all.List[i]) })
	}
	for _, f := range formersOf(s) {
		t.listed(f.word, yellow, f.all.Count(), o, len(f.all.List), func(i int) string { return f.all.List[i].Subject.String() + former(&f.all.List[i], f.why) })
	}
	for _, p := range []struct {
		word string
		ids  []string
	}{{"policies in force now and not then: ", s.NewPolicies}, {"policies no longer in force: ", s.GonePolicies}, {"policies that were changed, or their parameters or modes: ", s.ChangedPolicies}} {
		if n := len(p.ids); n > 0 {
			ids, more := p.ids, ""
			if n > maxNamedChanges && !o.All {
				ids, more = ids[:maxNamedChanges], fmt.Sprintf(" and %d more", n-maxNamedChanges)
			}
			t.line("  %s%s", p.word, strings.Join(ids, ", ")+more)
		}
	}
	var counts []string
	for _, c := range changesOf(s) {
		counts = append(counts, fmt.Sprintf("%d %s", c.all.Count(), c.word))
	}
	t.line("  %s, %d gone, %d not seen, %d unchanged", strings.Join(counts, ", "), s.Gone.Count(), s.Unseen.Count(), s.Unchanged)
}

// listed names the first of count things, of which there are have.
func (t *page) listed(word, code string, count int, o Options, have int, name func(int) string) {
	if !o.All {
		have = min(have, maxNamedChanges)
	}
	for i := range have {
		t.line("  %s  %s", painted{code, word}, name(i))
	}
	if more := count - have; more > 0 {
		t.line("  %s  %d more", painted{code, word}, more)
	}
}

type changes struct {
	word, code string
	all        *engine.Listed[engine.Change]
}

func changesOf(s *engine.Since) []changes {
	return []changes{{"new", red, &s.New}, {"worse", red, &s.Worse}, {"of a new policy", yellow, &s.NewPolicy}, {"of a changed policy", yellow, &s.ChangedPolicy}, {"not known any more", yellow, &s.NotKnown}, {"fixed", grey, &s.Fixed}, {"better", grey, &s.Better}}
}

type formers struct {
	word, why string
	all       *engine.Listed[engine.Former]
}

func formersOf(s *engine.Since) []formers {
	return []formers{{"gone", "gone is not fixed", &s.Gone}, {"not seen", "its source was not looked at, or not read whole", &s.Unseen}}
}

// changed says what of what became what.
func changed(c *engine.Change) string {
	was := "not judged"
	if c.Was != nil {
		was = outcome(*c.Was)
	}
	severity := ""
	if c.Severity != engine.NoSeverity {
		severity = strings.ToUpper(c.Severity.String()) + "  "
	}
	return fmt.Sprintf("%s%s  %s: %s, was %s", severity, c.Policy, c.Subject, outcome(c.Is), was)
}

func outcome(o engine.Outcome) string {
	if o.Verdict == engine.Pass || o.Verdict == engine.NotApplicable || o.Effect == engine.EffectDeny {
		return verdictWords[o.Verdict]
	}
	return verdictWords[o.Verdict] + " (" + o.Effect.String() + ")"
}

var verdictWords = map[engine.Verdict]string{engine.Unknown: "unknown", engine.Pass: "pass", engine.Fail: "fail", engine.NotApplicable: "not applicable"}

// former is where a subject was that is no longer there, and what it failed.
func former(f *engine.Former, why string) string {
	text := ", from " + f.Subject.Source
	if f.Fails > 0 {
		text += fmt.Sprintf(": it failed %s, and %s", plural(f.Fails, "policy", "policies"), why)
	}
	return text
}

type jsonSince struct {
	Evidence        string        `json:"evidence"`
	Run             string        `json:"run"`
	At              string        `json:"at"`
	Simulated       bool          `json:"simulated"`
	Unread          int           `json:"unread"`
	New             []jsonChange  `json:"new"`
	Worse           []jsonChange  `json:"worse"`
	NewPolicy       []jsonChange  `json:"newPolicy"`
	ChangedPolicy   []jsonChange  `json:"changedPolicy"`
	NotKnown        []jsonChange  `json:"notKnown"`
	Fixed           []jsonChange  `json:"fixed"`
	Better          []jsonChange  `json:"better"`
	Gone            []jsonFormer  `json:"gone"`
	Unseen          []jsonFormer  `json:"unseen"`
	NewPolicies     []string      `json:"newPolicies"`
	GonePolicies    []string      `json:"gonePolicies"`
	ChangedPolicies []string      `json:"changedPolicies"`
	Counts          jsonSinceSums `json:"counts"`
}

// jsonSinceSums count everything; the lists are cut off.
type jsonSinceSums struct {
	New           int `json:"new"`
	Worse         int `json:"worse"`
	NewPolicy     int `json:"newPolicy"`
	ChangedPolicy int `json:"changedPolicy"`
	NotKnown      int `json:"notKnown"`
	Fixed         int `json:"fixed"`
	Better        int `json:"better"`
	Gone          int `json:"gone"`
	Unseen        int `json:"unseen"`
	Unchanged     int `json:"unchanged"`
}

type jsonChange struct {
	Policy   string       `json:"policy"`
	Severity string       `json:"severity"`
	Subject  jsonNamed    `json:"subject"`
	Was      *jsonOutcome `json:"was"`
	Is       *jsonOutcome `json:"is"`
}

type jsonOutcome struct {
	Verdict engine.Verdict `json:"verdict"`
	Effect  engine.Effect  `json:"effect"`
}

type jsonFormer struct {
	Subject jsonNamed `json:"subject"`
	Fails   int       `json:"fails"`
}

type jsonNamed struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Source     string `json:"source"`
	File       string `json:"file"`
}

func jsonSinceOf(s *engine.Since) *jsonSince {
	changes := func(l engine.Listed[engine.Change]) []jsonChange {
		out := make([]jsonChange, len(l.List))
		for i, c := range l.List {
			out[i] = jsonChange{Policy: c.Policy, Severity: c.Severity.String(), Subject: jsonNamed(c.Subject), Is: &jsonOutcome{c.Is.Verdict, c.Is.Effect}}
			if c.Was != nil {
				out[i].Was = &jsonOutcome{c.Was.Verdict, c.Was.Effect}
			}
		}
		return out
	}
	formers := func(l engine.Listed[engine.Former]) []jsonFormer {
		out := make([]jsonFormer, len(l.List))
		for i, f := range l.List {
			out[i] = jsonFormer{jsonNamed(f.Subject), f.Fails}
		}
		return out
	}
	return &jsonSince{s.Evidence, s.Run, s.At.UTC().Format(time.RFC3339Nano), s.Simulated, s.Unread, changes(s.New), changes(s.Worse), changes(s.NewPolicy), changes(s.ChangedPolicy), changes(s.NotKnown), changes(s.Fixed), changes(s.Better),
		formers(s.Gone), formers(s.Unseen), list(s.NewPolicies), list(s.GonePolicies), list(s.ChangedPolicies),
		jsonSinceSums{s.New.Count(), s.Worse.Count(), s.NewPolicy.Count(), s.ChangedPolicy.Count(), s.NotKnown.Count(), s.Fixed.Count(), s.Better.Count(), s.Gone.Count(), s.Unseen.Count(), s.Unchanged}}
}
