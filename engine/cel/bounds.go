package cel

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

const (
	// maxText is how many bytes one call may build; the API server takes requests of 3 MiB.
	maxText = 4 << 20
	// maxElements is how many elements one call may build.
	maxElements = 100_000
)

// built says, from the arguments of a call, how many bytes or elements it would build, and how many it may. The cost
// limit is charged after a call has returned, which for these is too late: one call can ask for a terabyte.
var built = map[string]func(args []ref.Val) (size, most uint64){
	"replace": func(args []ref.Val) (uint64, uint64) {
		s, _ := args[0].(types.String)
		old, _ := args[1].(types.String)
		with := textSize(args[2])
		return textSize(s) + uint64(strings.Count(string(s), string(old)))*with, maxText
	},
	"join": func(args []ref.Val) (uint64, uint64) {
		size := deepSize(args[0])
		if list, ok := args[0].(traits.Sizer); ok && len(args) > 1 {
			n, _ := list.Size().(types.Int)
			size += uint64(n) * textSize(args[1])
		}
		return size, maxText
	},
	"format": func(args []ref.Val) (uint64, uint64) { return textSize(args[0]) + deepSize(args[1]), maxText },
	"lists.range": func(args []ref.Val) (uint64, uint64) {
		n, _ := args[0].(types.Int)
		return uint64(max(n, 0)), maxElements
	},
}

// deepSize is the bytes of text in a value, and one for each element.
func deepSize(v ref.Val) uint64 {
	switch v := v.(type) {
	case traits.Lister:
		var size uint64
		for it := v.Iterator(); it.HasNext() == types.True && size <= maxText; {
			size += 1 + deepSize(it.Next())
		}
		return size
	case traits.Mapper:
		var size uint64
		for it := v.Iterator(); it.HasNext() == types.True && size <= maxText; {
			key := it.Next()
			size += 1 + deepSize(key) + deepSize(v.Get(key))
		}
		return size
	}
	return textSize(v)
}

// bound puts the checks of built before the functions' own code.
func bound(env *cel.Env) (*cel.Env, error) {
	var options []cel.EnvOption
	for name, sizes := range built {
		decl, ok := env.Functions()[name]
		if !ok {
			return nil, fmt.Errorf("bound %s: cel-go no longer has it", name)
		}
		bindings, err := decl.Bindings()
		if err != nil {
			return nil, fmt.Errorf("bound %s: %w", name, err)
		}
		code := map[string]*functions.Overload{}
		for _, b := range bindings {
			code[b.Operator] = b
		}
		for _, o := range decl.OverloadDecls() {
			b, ok := code[o.ID()]
			if !ok {
				return nil, fmt.Errorf("bound %s: overload %s has no code of its own", name, o.ID())
			}
			kind := cel.Overload
			if o.IsMemberFunction() {
				kind = cel.MemberOverload
			}
			options = append(options, cel.Function(name, kind(o.ID(), o.ArgTypes(), o.ResultType(), bounded(name, len(o.ArgTypes()), b, sizes))))
		}
	}
	return env.Extend(options...)
}

func bounded(name string, arity int, code *functions.Overload, sizes func([]ref.Val) (uint64, uint64)) cel.OverloadOpt {
	check := func(args ...ref.Val) ref.Val {
		if size, most := sizes(args); size > most {
			return types.NewErr("%s would build %d bytes or elements, over the limit of %d", name, size, most)
		}
		return nil
	}
	switch {
	case arity == 1 && code.Unary != nil:
		return cel.UnaryBinding(func(a ref.Val) ref.Val {
			if err := check(a); err != nil {
				return err
			}
			return code.Unary(a)
		})
	case arity == 2 && code.Binary != nil:
		return cel.BinaryBinding(func(a, b ref.Val) ref.Val {
			if err := check(a, b); err != nil {
				return err
			}
			return code.Binary(a, b)
		})
	}
	return cel.FunctionBinding(func(args ...ref.Val) ref.Val {
		if err := check(args...); err != nil {
			return err
		}
		return code.Function(args...)
	})
}
