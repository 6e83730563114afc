package cel

import (
	"fmt"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	apicel "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/library"

	"proviso.dev/proviso/engine/host"
)

// environment is the API server's CEL of Kubernetes 1.37 (k8s.io/apiserver/pkg/cel/environment) without authorizer,
// which asks a cluster, and without the demand that a literal's values be of one type, which {"message": …, "path": …}
// over untyped objects cannot meet; and with our document and host functions. It is put together here because that package brings
// feature gates, metrics and flags along.
func environment(functions []host.Func) (*cel.Env, error) {
	object := cel.MapType(cel.StringType, cel.DynType)
	options := []cel.EnvOption{
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
		cel.CostEstimatorOptions(checker.PresenceTestHasCost(false)),
		library.URLs(), library.Regex(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
		library.Lists(library.ListsVersion(1)), library.SemverLib(library.SemverVersion(1)),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(), ext.TwoVarComprehensions(), ext.Lists(ext.ListsVersion(3)),
		cel.Variable("object", object), cel.Variable("old", object), cel.Variable("oldObject", cel.DynType),
		cel.Variable("operation", cel.StringType), cel.Variable("user", object), cel.Variable("request", object),
		cel.Variable("params", object), cel.Variable("facts", object), cel.Variable("now", cel.TimestampType),
	}
	for _, f := range functions {
		options = append(options, declare(f))
	}
	env, err := cel.NewCustomEnv(append([]cel.EnvOption{cel.StdLib()}, options...)...)
	if err != nil {
		return nil, err
	}
	return bound(env)
}

func programOptions(functions []host.Func) []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostLimit(apicel.PerCallLimit),
		cel.InterruptCheckFrequency(apicel.CheckFrequency),
		cel.CostTracking(costs{&library.CostEstimator{}, functions}),
		cel.CostTrackerOptions(interpreter.PresenceTestHasCost(false)),
	}
}

// hostCost is what a call of a host function costs of the budget: about what the API server's figures give for the
// microseconds the slowest of them takes.
const hostCost = 500

// costs is the API server's estimator, made to hold for untyped objects. cel-go knows the cost of a call by its
// overload, and where an argument's type is dyn there is none: text added to text would cost 1 whatever its length.
type costs struct {
	*library.CostEstimator
	functions []host.Func
}

// CallCost is part of interpreter.ActualCostEstimator.
func (c costs) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	for _, f := range c.functions {
		if f.Name == function {
			cost := uint64(hostCost)
			return &cost
		}
	}
	known := c.CostEstimator.CallCost(function, overload, args, result)
	made := textSize(result)
	if overload != "" && (known == nil) == (made == 0) {
		return known // nil where cel-go's own reckoning by overload is right
	}
	size := made
	for _, a := range args {
		size += textSize(a)
	}
	cost := 1 + uint64(float64(size)*common.StringTraversalCostFactor)
	if (function == "matches" || function == "contains") && len(args) == 2 {
		cost += uint64(float64(textSize(args[0])+1) * common.StringTraversalCostFactor * float64(textSize(args[1])) * common.RegexStringLengthCostFactor)
	}
	if known != nil && *known > cost {
		return known
	}
	return &cost
}

// textSize is the length of text or bytes, and 0 for what has none.
func textSize(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}

var kinds = map[host.Kind]*cel.Type{
	"string": cel.StringType, "bool": cel.BoolType, "list": cel.ListType(cel.DynType), "map": cel.MapType(cel.StringType, cel.DynType), "any": cel.DynType,
}

func declare(f host.Func) cel.EnvOption {
	args := make([]*cel.Type, len(f.Args))
	for i, a := range f.Args {
		args[i] = kinds[a.Kind]
	}
	return cel.Function(f.Name, cel.Overload("proviso_"+f.Name, args, kinds[f.Result], cel.FunctionBinding(func(values ...ref.Val) ref.Val {
		plain := make([]any, len(values))
		for i, v := range values {
			p, err := plainValue(v)
			if err != nil {
				return types.NewErr("%s: %v", f.Name, err)
			}
			plain[i] = p
		}
		out, err := f.Call(plain)
		if err != nil {
			return types.NewErr("%v", err)
		}
		return types.DefaultTypeAdapter.NativeToValue(out)
	})))
}

// plainValue is the plain form of a CEL value, as host functions take it.
func plainValue(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool, types.Int, types.Double, types.String:
		return v.Value(), nil
	case types.Duration:
		return v.Duration.String(), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			e, err := plainValue(it.Next())
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	case traits.Mapper:
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.Value().(string)
			if !ok {
				return nil, fmt.Errorf("a map key is %s, want text", key.Type().TypeName())
			}
			e, err := plainValue(v.Get(key))
			if err != nil {
				return nil, err
			}
			m[name] = e
		}
		return m, nil
	}
	return nil, fmt.Errorf("cannot take %s", v.Type().TypeName())
}
