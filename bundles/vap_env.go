package bundles

import (
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"
	checking "github.com/google/cel-go/checker"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	limits "k8s.io/apiserver/pkg/apis/cel"
	apicel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/library"
)

// floorEnv compiles expressions as the API server compiles those of a ValidatingAdmissionPolicy. The variables that were
// added are fields of "variables", with the types they compiled to.
type floorEnv struct {
	*cel.Env
	variables *apicel.DeclType
}

// newFloorEnv is what k8s.io/apiserver/pkg/cel/environment gives a server of Kubernetes 1.37 for new expressions, which is
// what 1.36 reads, without authorizer; of the request it has what our document has. That package itself brings feature
// gates, metrics and flags along.
func newFloorEnv() (*floorEnv, error) {
	field := func(name string, t *apicel.DeclType, required bool) *apicel.DeclField {
		return apicel.NewDeclField(name, t, required, nil, nil)
	}
	texts := apicel.NewListType(apicel.StringType, -1)
	user := apicel.NewObjectType("kubernetes.UserInfo", map[string]*apicel.DeclField{
		"username": field("username", apicel.StringType, false), "uid": field("uid", apicel.StringType, false),
		"groups": field("groups", texts, false), "extra": field("extra", apicel.NewMapType(apicel.StringType, texts, -1), false),
	})
	request := apicel.NewObjectType("kubernetes.AdmissionRequest", map[string]*apicel.DeclField{
		"operation": field("operation", apicel.StringType, true), "userInfo": field("userInfo", user, true),
	})
	variables := apicel.NewObjectType("kubernetes.variables", map[string]*apicel.DeclField{})
	base, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(), cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
		cel.CostEstimatorOptions(checking.PresenceTestHasCost(false)),
		library.URLs(), library.Regex(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
		library.Lists(library.ListsVersion(0)), library.SemverLib(library.SemverVersion(1)),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(), ext.TwoVarComprehensions(), ext.Lists(ext.ListsVersion(3)),
	)
	if err != nil {
		return nil, fmt.Errorf("set up the API server's CEL: %w", err)
	}
	provider := apicel.NewDeclTypeProvider(request, variables)
	provider.SetRecognizeKeywordAsFieldName(true)
	options, err := provider.EnvOptions(base.CELTypeProvider())
	if err != nil {
		return nil, fmt.Errorf("set up the API server's CEL: %w", err)
	}
	env, err := base.Extend(append(options, cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType),
		cel.Variable("request", request.CelType()), cel.Variable("variables", variables.CelType()))...)
	if err != nil {
		return nil, fmt.Errorf("set up the API server's CEL: %w", err)
	}
	return &floorEnv{env, variables}, nil
}

// compile answers with the program and its type. The limits are those of the API server.
func (e *floorEnv) compile(expression string) (_ cel.Program, _ *cel.Type, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the API server's CEL does not compile it: %v", r)
		}
	}()
	ast, issues := e.Compile(expression)
	if issues != nil && issues.Err() != nil {
		return nil, nil, errors.New("the API server's CEL does not compile it: " + issues.Errors()[0].Message)
	}
	program, err := e.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(limits.PerCallLimit),
		cel.CostTracking(&library.CostEstimator{}), cel.CostTrackerOptions(interpreter.PresenceTestHasCost(false)))
	if err != nil {
		return nil, nil, fmt.Errorf("the API server's CEL does not compile it: %w", err)
	}
	return program, ast.OutputType(), nil
}

// declare makes a variable known to the expressions after it.
func (e *floorEnv) declare(name string, t *cel.Type) {
	e.variables.Fields[name] = apicel.NewDeclField(name, declared(t), true, nil, nil)
}

// declared is the type the API server gives a variable that compiled to t.
func declared(t *cel.Type) *apicel.DeclType {
	switch t.Kind() {
	case cel.BoolKind:
		return apicel.BoolType
	case cel.StringKind:
		return apicel.StringType
	case cel.ListKind:
		return apicel.NewListType(declared(t.Parameters()[0]), -1)
	case cel.MapKind:
		return apicel.NewMapType(declared(t.Parameters()[0]), declared(t.Parameters()[1]), -1)
	}
	return apicel.DynType
}
