package exported

import (
	"fmt"
	"testing"
)

func TestStatements(t *testing.T) {
	for name, c := range map[string]struct {
		statement map[string]any
		want      string
	}{
		"texts become lists": {map[string]any{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"},
			"map[actions:[s3:*] conditions:map[] effect:Allow principals:[*] resources:[*]]"},
		"principals by kind": {map[string]any{"Effect": "Deny", "Action": []any{"a", "b"}, "NotPrincipal": map[string]any{"AWS": []any{"1", "*"}, "Service": "*"}},
			"map[actions:[a b] conditions:map[] effect:Deny notPrincipals:[1 * Service:*] principals:[] resources:[]]"},
		"scalars become texts": {map[string]any{"Effect": "Allow", "NotAction": "a", "Condition": map[string]any{"Op": map[string]any{"k": int64(3), "l": []any{true}}}},
			"map[actions:[] conditions:map[Op:map[k:[3] l:[true]]] effect:Allow notActions:[a] principals:[] resources:[]]"},
	} {
		o := Read(map[string]any{"Statement": []any{c.statement}})
		got, ok := o.Statements()
		if !ok || fmt.Sprint(got[0]) != c.want {
			t.Errorf("%s: got %v, problems %v, want %s", name, got, o.Problems(), c.want)
		}
	}
}

// A policy of which a part cannot be read is none.
func TestStatementsThatCannotBeRead(t *testing.T) {
	good := map[string]any{"Effect": "Allow", "Action": "a"}
	for name, v := range map[string]any{
		"no statement": nil, "a text": "x", "an element is no object": []any{good, "x"}, "no action": []any{good, map[string]any{"Effect": "Allow"}},
		"no effect": map[string]any{"Action": "a"}, "misspelt condition": map[string]any{"Effect": "Allow", "Action": "a", "Conditions": map[string]any{}},
		"action is a number": map[string]any{"Effect": "Allow", "Action": int64(3)}, "condition of an object": map[string]any{"Effect": "Allow", "Action": "a",
			"Condition": map[string]any{"Op": map[string]any{"k": map[string]any{}}}},
	} {
		o := Read(map[string]any{"Statement": v})
		if got, ok := o.Statements(); ok || got != nil || len(o.Problems()) == 0 {
			t.Errorf("%s: got %v, problems %v", name, got, o.Problems())
		}
	}
}
