package bundles

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	admission "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
)

// server stands for the API server with one exported policy.
type server struct {
	*admission.ValidatingAdmissionPolicy
	programs map[string]cel.Program
}

func newServer(t *testing.T, p *admission.ValidatingAdmissionPolicy) *server {
	t.Helper()
	env, err := newFloorEnv()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{p, map[string]cel.Program{}}
	compile := func(expression string) *cel.Type {
		program, typ, err := env.compile(expression)
		if err != nil {
			t.Fatalf("%s: %v:\n%s", p.Name, err, expression)
		}
		s.programs[expression] = program
		return typ
	}
	for _, c := range p.Spec.MatchConditions {
		compile(c.Expression)
	}
	for _, v := range p.Spec.Variables {
		env.declare(v.Name, compile(v.Expression))
	}
	for _, v := range p.Spec.Validations {
		compile(v.Expression)
		compile(v.MessageExpression)
	}
	return s
}

// denies is what the server says of a request: nothing where it lets it pass.
func (s *server) denies(t *testing.T, sub engine.Subject) []string {
	t.Helper()
	if !slices.ContainsFunc(s.Spec.MatchConstraints.ResourceRules, func(r admission.NamedRuleWithOperations) bool {
		return slices.Contains(r.APIGroups, sub.Group()) && slices.Contains(r.Resources, strings.ToLower(sub.Kind)+"s") && slices.Contains(r.Operations, admission.OperationType(sub.Operation))
	}) {
		return nil
	}
	orNull := func(m map[string]any, is bool) any {
		if !is {
			return nil
		}
		return m
	}
	variables := map[string]any{}
	in := map[string]any{
		"object":    orNull(sub.Object, sub.Operation != engine.Delete),
		"oldObject": orNull(sub.Old, len(sub.Old) > 0),
		"request":   map[string]any{"operation": sub.Operation, "userInfo": orEmptyMap(sub.User)}, "variables": variables,
	}
	eval := func(expression string) (ref.Val, error) {
		out, _, err := s.programs[expression].Eval(in)
		return out, err
	}
	for _, c := range s.Spec.MatchConditions {
		if out, err := eval(c.Expression); err != nil {
			return []string{err.Error()} // failurePolicy Fail
		} else if out.Value() == false {
			return nil
		}
	}
	var failed error
	for _, v := range s.Spec.Variables {
		out, err := eval(v.Expression)
		if err != nil { // it matters where it is used; what uses it then finds no such key
			failed = err
			continue
		}
		variables[v.Name] = out
	}
	var denied []string
	for _, v := range s.Spec.Validations {
		out, err := eval(v.Expression)
		if err != nil {
			denied = append(denied, fmt.Sprint(err, failed))
		} else if out.Value() != true {
			message, err := eval(v.MessageExpression)
			if err != nil {
				t.Errorf("%s: message of %s: %v", s.Name, v.Expression, err)
				continue
			}
			denied = append(denied, message.Value().(string))
		}
	}
	return denied
}

func orEmptyMap(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
