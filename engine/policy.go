package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is a rule with everything that says when and how it is used. It is a value: it has no lifecycle.
type Policy struct {
	// ID is the path of its folder, residency/location-region-allowed. Ref is a short number people cite, RES-01.
	ID, Ref, Title string
	Severity       Severity
	Controls       []Control
	Match          Match
	// When narrows the match; nil is always. False is notApplicable, an error is unknown.
	When Condition
	// Requires and Optional are the paths the rule reads, with their types. A path starts at the object, or at old. or
	// user. A required one that is missing or empty, and any that is mistyped, is unknown before the rule runs.
	Requires, Optional map[string]Type
	// Facts are what the rule must know around the subject, by the name it reads them under.
	Facts map[string]FactQuery
	// Params are the rule's parameters. One whose name ends in Label names a label that decides: where the subject or a fact
	// has a label that differs from it only in case, nothing can be told.
	Params map[string]any
	// Fix is what a person does about a failure.
	Fix    string
	Digest Digest
	Rule   Rule
	// StrictUpdate denies an update for a violation that the old object had already. Without it such a violation only warns:
	// nobody is kept from mending the rest.
	StrictUpdate bool
	// Mode is what is done about a failure and Unknown about an unknown; the zero value of both is to deny.
	Mode, Unknown Mode
}

// Control ties a policy to a clause of a law or standard. Relation is satisfies, supports or evidence-for.
type Control struct {
	Framework string `json:"framework"`
	ID        string `json:"id"`
	Relation  string `json:"relation"`
}

// Match is what a policy is for: any of its rows.
type Match []MatchRow

// MatchRow names kinds of one group. No Versions is every version; no Operations is Create and Update. A group or kind
// "*" is any.
type MatchRow struct {
	Group      string
	Versions   []string
	Kinds      []string
	Operations []string
}

// Rule is the only door to a policy language. It returns what is wrong, nothing where all is well, and an error where it
// could not tell. It must obey the context.
type Rule interface {
	Eval(ctx context.Context, in Input) ([]Violation, error)
}

// Condition is a policy's when.
type Condition func(ctx context.Context, in Input) (bool, error)

// Violation is one thing that is wrong, and where in the object.
type Violation struct {
	Message string `json:"message"`
	Path    string `json:"path,omitempty"`
}

// Input is everything a rule may know.
type Input struct {
	Subject *Subject
	Params  map[string]any
	// Facts holds an object, a list of objects, or nil where the thing is proved absent.
	Facts  map[string]any
	Now    time.Time
	shared *shared
}

type shared struct{ values map[any]any }

// Shared returns what make made for key the first time it was asked for this subject. Languages keep the subject's
// conversion there, so that all policies of a subject use one.
func (in Input) Shared(key any, make func() any) any {
	if in.shared == nil {
		return make()
	}
	v, ok := in.shared.values[key]
	if !ok {
		v = make()
		in.shared.values[key] = v
	}
	return v
}

// compiled is a policy made ready.
type compiled struct {
	*Policy
	declared  []declaration
	facts     []string // names, sorted
	labels    []string // the labels that decide
	needsOld  bool
	needsUser bool
	*pace
}

func compile(p *Policy) (*compiled, error) {
	fail := func(err error) (*compiled, error) { return nil, fmt.Errorf("policy %q: %w", p.ID, err) }
	switch {
	case p.ID == "":
		return nil, errors.New("policy without an id: its folder's path is its id")
	case p.Rule == nil:
		return fail(errors.New("it has no rule"))
	case len(p.Match) == 0:
		return fail(errors.New("it matches nothing: match names no kind"))
	}
	for _, row := range p.Match {
		if len(row.Kinds) == 0 {
			return fail(fmt.Errorf("match of group %q names no kind", row.Group))
		}
		for _, op := range row.Operations {
			if op != Create && op != Update && op != Delete {
				return fail(fmt.Errorf("match: unknown operation %q (want CREATE, UPDATE or DELETE)", op))
			}
		}
	}
	c := &compiled{Policy: p, pace: new(pace)}
	var err error
	if c.declared, err = declarations(p); err != nil {
		return fail(err)
	}
	for _, d := range c.declared {
		c.needsOld = c.needsOld || d.required && d.root == "old"
		c.needsUser = c.needsUser || d.required && d.root == "user"
	}
	for name, q := range p.Facts {
		if err := q.validate(); err != nil {
			return fail(fmt.Errorf("fact %s: %w", name, err))
		}
		c.facts = append(c.facts, name)
	}
	slices.Sort(c.facts)
	for name, value := range p.Params {
		if label, ok := value.(string); ok && label != "" && strings.HasSuffix(name, "Label") {
			c.labels = append(c.labels, label)
		}
	}
	slices.Sort(c.labels)
	return c, nil
}

func (m Match) names(group, kind string) bool {
	return slices.ContainsFunc(m, func(r MatchRow) bool { return r.names(group, kind) })
}

func (r MatchRow) names(group, kind string) bool {
	return (r.Group == "*" || r.Group == group) && (slices.Contains(r.Kinds, kind) || slices.Contains(r.Kinds, "*"))
}

// excludes says why a subject whose kind matches is still none of the policy's business, or "".
func (c *compiled) excludes(s *Subject) string {
	why := ""
	for _, r := range c.Match {
		if !r.names(s.Group(), s.Kind) {
			continue
		}
		switch {
		case len(r.Versions) > 0 && !slices.Contains(r.Versions, s.Version()):
			why = fmt.Sprintf("version %s is not one of %v", s.Version(), r.Versions)
		case !r.operation(s.Operation):
			why = fmt.Sprintf("operation %s is not one of %v", orScan(s.Operation), r.operations())
		case c.needsOld && s.Operation != Update && s.Operation != Delete:
			why = fmt.Sprintf("the rule needs the old object, which %s does not have", orScan(s.Operation))
		case c.needsUser && len(s.User) == 0:
			why = "the rule needs the user, who is known at admission only"
		default:
			return ""
		}
	}
	return why
}

func orScan(op string) string {
	if op == "" {
		return "a scan"
	}
	return op
}

func (r MatchRow) operations() []string {
	if len(r.Operations) == 0 {
		return []string{Create, Update}
	}
	return r.Operations
}

// operation: a scan judges what exists, which is what creating and updating lead to.
func (r MatchRow) operation(op string) bool {
	ops := r.operations()
	if op == "" {
		return slices.Contains(ops, Create) || slices.Contains(ops, Update)
	}
	return slices.Contains(ops, op)
}
