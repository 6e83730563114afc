package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FactQuery asks for objects around a subject. As a policy declares it, Name and Namespace may be paths of the subject
// (with a leading dot); as a FactSource gets it they are resolved: literal, with Names in place of a path that leads to
// many.
type FactQuery struct {
	Group, Kind string
	// Namespace is empty for cluster-scoped kinds and for every namespace.
	Namespace string
	// Name asks for one object. A path with [*] asks for one object for each name it leads to.
	Name string
	// Names is a resolved path with [*]; the answer is a list.
	Names []string
	// Wildcard reads a path with [*] as Velero's include lists are read: "*" in a name is any text, and an absent or empty
	// list is everything.
	Wildcard bool
	// Labels asks for all objects with these labels, All for all objects of the kind; the answer is a list.
	Labels map[string]string
	All    bool
	// Optional answers null where the subject names nothing.
	Optional bool
}

// FactState says what is known about a fact.
type FactState uint8

// The states of a fact. Absent is proved: the source listed that kind completely.
const (
	FactUnknown FactState = iota
	FactFound
	FactAbsent
)

// FactSource answers facts about a subject, from within the subject's own source. A found fact is an object
// (map[string]any) for a query by name, and a list ([]any) of objects, complete, for any other.
type FactSource interface {
	Fact(ctx context.Context, q FactQuery, about *Subject) (any, FactState, error)
}

// ErrDoubtful is wrapped by a FactSource's error where it is not that the fact cannot be answered, but that the source
// contradicts itself or could not be read. Such an unknown is never let go.
var ErrDoubtful = errors.New("the source is in doubt")

// NoFacts answers nothing: every fact is unknown.
type NoFacts struct{}

// Fact answers FactUnknown.
func (NoFacts) Fact(context.Context, FactQuery, *Subject) (any, FactState, error) {
	return nil, FactUnknown, errors.New("no source of facts was given")
}

func (q FactQuery) validate() error {
	ways := 0
	for _, set := range []bool{q.Name != "", len(q.Labels) > 0, q.All} {
		if set {
			ways++
		}
	}
	switch {
	case q.Kind == "":
		return errors.New("it names no kind")
	case ways != 1:
		return errors.New("ask by exactly one of name, labels and all")
	case q.Wildcard && !strings.HasSuffix(q.Name, "[*]"):
		return errors.New("wildcard goes with a name path that ends in [*]")
	}
	for _, text := range []string{q.Name, q.Namespace} {
		if strings.HasPrefix(text, ".") {
			if _, err := ParsePath(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// String names what is asked for.
func (q FactQuery) String() string {
	what := q.Kind
	switch {
	case q.Names != nil:
		what += " " + strings.Join(q.Names, ", ")
	case q.Name != "":
		what += " " + q.Name
	case q.All:
		return "every " + what
	default:
		what += fmt.Sprintf(" with labels %v", q.Labels)
	}
	if q.Namespace != "" {
		what += " in namespace " + q.Namespace
	}
	return what
}

// MatchesName reports whether pattern, in which "*" is any text, names the object called name.
func MatchesName(pattern, name string) bool {
	prefix, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, prefix) {
		return false
	}
	name = name[len(prefix):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], after
	}
}

// resolve fills the query's paths from the subject. Nothing is asked where ok is false: then why says what is missing,
// or is empty where the answer is null.
func (q FactQuery) resolve(s *Subject) (resolved FactQuery, why string, ok bool) {
	one := func(text string) (string, string) {
		if !strings.HasPrefix(text, ".") {
			return text, ""
		}
		path, _ := ParsePath(text)
		value, problem := "", ""
		path.Walk(s.Object, func(_ Path, v any, found bool) {
			name, isText := v.(string)
			switch {
			case !found && v == nil || name == "" && isText:
				problem = text[1:] + " is missing"
			case !isText:
				problem = fmt.Sprintf("%s holds %s, want a name", text[1:], describe(v))
			}
			value = name
		})
		return value, problem
	}
	if q.Namespace, why = one(q.Namespace); why != "" {
		return q, why, false
	}
	if !strings.Contains(q.Name, "[*]") || !strings.HasPrefix(q.Name, ".") {
		if q.Name, why = one(q.Name); why != "" && q.Optional && strings.HasSuffix(why, " is missing") {
			why = ""
			return q, "", false
		}
		return q, why, why == ""
	}
	path, _ := ParsePath(q.Name)
	text := q.Name[1:]
	q.Name = ""
	visited := false
	path.Walk(s.Object, func(at Path, v any, found bool) {
		visited = true
		name, isText := v.(string)
		switch {
		case found && isText && q.Wildcard && strings.Trim(name, wildcardName) != "":
			why = fmt.Sprintf("%s holds %q, a pattern that cannot be read here (want letters, digits, dots, dashes and *)", at, name)
		case found && isText && name != "":
			q.Names = append(q.Names, name)
		case v == nil && !found && !slices.ContainsFunc(at, func(s Step) bool { return s.Kind == IndexStep }):
			// The list itself is absent.
		default:
			why = fmt.Sprintf("%s holds %s, want a name", at, describe(v))
		}
	})
	switch {
	case why != "":
		return q, why, false
	case len(q.Names) > 0:
	case q.Wildcard:
		q.Names = []string{"*"}
	case visited && !q.Optional:
		return q, text + " is missing", false
	default:
		q.Names = []string{}
	}
	return q, "", true
}

// wildcardName are the characters of a name in a wildcard list.
const wildcardName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*"

// answer is a fact once fetched.
type answer struct {
	value any
	state FactState
	why   string
	cause Cause
}

// fact fetches a resolved query once per subject.
func (j *judgement) fact(ctx context.Context, q FactQuery) answer {
	key := fmt.Sprintf("%q %q %q %q %q %v %v", q.Group, q.Kind, q.Namespace, q.Name, q.Names, q.Labels, q.All)
	if a, ok := j.answers[key]; ok {
		return a
	}
	var a answer
	if q.Names != nil && len(q.Names) == 0 {
		a = answer{value: []any{}, state: FactFound}
	} else {
		v, state, err := j.ask(ctx, q)
		a = answer{value: v, state: state, cause: CauseFact}
		switch {
		case err != nil:
			a.state, a.why = FactUnknown, err.Error()
			if errors.Is(err, ErrDoubtful) {
				a.cause = CauseError
			}
		case state == FactAbsent:
			a.value = nil
		case state == FactFound && !q.answers(v):
			a.state, a.why = FactUnknown, fmt.Sprintf("the source answered with %s", describe(v))
		}
	}
	if !errors.Is(context.Cause(ctx), errYield) { // then it is asked again
		j.answers[key] = a
	}
	return a
}

// ask tells the watchdog that the time is the source's.
func (j *judgement) ask(ctx context.Context, q FactQuery) (any, FactState, error) {
	j.asking.Add(1)
	defer j.asking.Add(-1)
	return j.source.Fact(ctx, q, j.subject)
}

// answers reports whether v has the shape the query asks for.
func (q FactQuery) answers(v any) bool {
	if q.Name != "" {
		m, ok := v.(map[string]any)
		return ok && m != nil
	}
	_, ok := v.([]any)
	return ok
}
