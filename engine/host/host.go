// Package host holds the functions both rule languages offer, defined once so that they cannot differ: where things lie, how
// long they are kept, how often they run. It binds no language, asks no clock and no network, and remembers nothing between calls.
// Start at [Functions].
package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"proviso.dev/proviso/engine/region"
)

// Kind is the type of an argument or a result, as both languages see it.
type Kind string

// The kinds. A function checks every argument against its kind before it looks at it; Any is checked by the function.
const (
	String Kind = "string"
	Bool   Kind = "bool"
	List   Kind = "list"
	Map    Kind = "map"
	Any    Kind = "any"
)

// Arg is one argument.
type Arg struct {
	Name string
	Kind Kind
}

// Func is one function. Values are nil, bool, int64, float64, string, []any and map[string]any, both ways.
type Func struct {
	Name   string // as rules write it, with one dot
	Doc    string // one or two sentences for the reader of a rule
	Args   []Arg
	Result Kind
	// Call answers, or errs in one line that is the same for the same arguments on every machine. It never panics and
	// keeps nothing; it is safe for concurrent use.
	Call func(args []any) (any, error)
}

// Functions lists every function, sorted by name, bound to a table of places. A nil table is the built-in one.
func Functions(t *region.Table) []Func {
	if t == nil {
		t = region.Builtin()
	}
	all := slices.Concat(regionFuncs(t), retentionFuncs(), scheduleFuncs())
	for i := range all {
		all[i].Call = checked(all[i])
	}
	all = append(all, unknown)
	slices.SortFunc(all, func(a, b Func) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Untold is the error of verdict.unknown: what a rule says about why it cannot tell.
type Untold struct{ Reason string }

func (u *Untold) Error() string { return u.Reason }

// unknown is how a rule says that it cannot tell, in its own words.
var unknown = Func{
	Name: "verdict.unknown", Args: []Arg{{"reason", String}}, Result: Any,
	Doc: "Makes the verdict unknown, for the reason given. Use it where neither pass nor fail is proved.",
	Call: func(args []any) (any, error) {
		if len(args) == 1 {
			if reason, ok := args[0].(string); ok && strings.TrimSpace(reason) != "" {
				return nil, &Untold{strings.Join(strings.Fields(strings.ToValidUTF8(reason, "?")), " ")}
			}
		}
		return nil, errors.New("call verdict.unknown: want one argument, the reason")
	},
}

// checked wraps a call so that it meets only the arguments it declares.
func checked(f Func) func([]any) (any, error) {
	call := f.Call
	return func(args []any) (any, error) {
		if len(args) != len(f.Args) {
			return nil, fmt.Errorf("call %s: %d arguments, want %d", f.Name, len(args), len(f.Args))
		}
		for i, arg := range f.Args {
			if got := kindOf(args[i]); arg.Kind != Any && got != arg.Kind {
				return nil, fmt.Errorf("call %s: %s is a %s, want a %s", f.Name, arg.Name, got, arg.Kind)
			}
		}
		result, err := call(args)
		switch {
		case err != nil && (strings.HasPrefix(err.Error(), "locate ") || strings.HasPrefix(err.Error(), "parse ")):
			return nil, err // it says what it did, and on what: it is about the object, and not about the call
		case err != nil:
			return nil, fmt.Errorf("call %s: %w", f.Name, err)
		}
		return result, nil
	}
}

// kindOf is the kind of a value; numbers and null have words of their own, for errors.
func kindOf(v any) Kind {
	switch v.(type) {
	case string:
		return String
	case bool:
		return Bool
	case []any:
		return List
	case map[string]any:
		return Map
	case nil:
		return "null"
	case int64, float64, int:
		return "number"
	}
	return Any
}

func regionFuncs(t *region.Table) []Func {
	provider := Arg{"provider", String}
	return []Func{
		{
			Name: "region.locate", Args: []Arg{provider, {"place", String}}, Result: Map,
			Doc: "Where a region, zone, key, bucket location or endpoint lies: {provider, region, countries, areas, partition}. An error when the name does not prove it.",
			Call: func(args []any) (any, error) {
				return placed(t.Locate(args[0].(string), args[1].(string)))
			},
		},
		{
			Name: "region.known", Args: []Arg{provider, {"place", String}}, Result: Bool,
			Doc: "Whether region.locate answers. True says nothing about where the place is.",
			Call: func(args []any) (any, error) {
				_, err := t.Locate(args[0].(string), args[1].(string))
				return err == nil, nil
			},
		},
		{
			Name: "region.within", Args: []Arg{provider, {"place", String}, {"sets", List}}, Result: Bool,
			Doc: "Whether everything the place may hold lies inside the union of the sets, such as [\"eu\"]. An error when the place or a set is unknown.",
			Call: func(args []any) (any, error) {
				sets := make([]string, 0, len(args[2].([]any)))
				for i, v := range args[2].([]any) {
					s, ok := v.(string)
					if !ok {
						return nil, fmt.Errorf("sets[%d] is a %s, want a string", i, kindOf(v))
					}
					sets = append(sets, s)
				}
				p, err := t.Locate(args[0].(string), args[1].(string))
				if err != nil {
					return nil, err
				}
				in, err := t.Within(p, sets)
				return in, err
			},
		},
		{
			Name: "region.bucket", Args: []Arg{provider, {"constraint", Any}}, Result: Map,
			Doc: "Where a bucket lies by the location its store reports, as region.locate. For aws null and \"\" are us-east-1 and \"EU\" is eu-west-1.",
			Call: func(args []any) (any, error) {
				constraint, ok := args[1].(string)
				if !ok && args[1] != nil {
					return nil, fmt.Errorf("constraint is a %s, want a string or null", kindOf(args[1]))
				}
				return placed(t.LocateBucket(args[0].(string), constraint))
			},
		},
	}
}

// placed is a place as rules see it.
func placed(p region.Place, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"provider": p.Provider, "region": p.Region, "partition": p.Partition,
		"countries": listed(p.Countries), "areas": listed(p.Areas),
	}, nil
}

func listed(names []string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}
