package rego

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/host"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

// double is a host function for tests.
var double = host.Func{Name: "test.double", Args: []host.Arg{{Name: "value", Kind: host.Any}, {Name: "in", Kind: host.List}}, Result: host.Any, Call: func(args []any) (any, error) {
	switch v := args[0].(type) {
	case int64:
		return v * 2, nil
	case string:
		return v + v, nil
	case nil:
		panic("no value")
	}
	return nil, fmt.Errorf("cannot double %T", args[0])
}}

// module wraps a body in a module that says "m at <path>" where the body holds.
func module(body string) string {
	return "package a.b\n\nviolations contains {\"message\": \"m\", \"path\": \"p\"} if {\n" + body + "\n}\n"
}

func compile(t testing.TB, source string) *Rule {
	t.Helper()
	r, err := (&Compiler{Functions: []host.Func{double}}).Compile("policy.rego", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func input() engine.Input {
	return engine.Input{
		Subject: &engine.Subject{
			Operation: engine.Delete,
			Object: map[string]any{"spec": map[string]any{"ttl": "7", "big": int64(9007199254740993), "half": 0.5, "on": false, "nothing": nil,
				"rules": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}},
			Old: map[string]any{"spec": map[string]any{"ttl": "7"}},
		},
		Params: map[string]any{"min": int64(3)},
		Facts:  map[string]any{"ns": map[string]any{"tier": "gold"}, "absent": nil, "all": []any{map[string]any{"n": int64(1)}}},
		Now:    now,
	}
}

func TestEval(t *testing.T) {
	// Each body holds if it sees the document as it should.
	for name, body := range map[string]string{
		"object":            `input.object.spec.ttl == "7"`,
		"old on delete":     `input.object.spec.ttl == input.old.spec.ttl`,
		"operation":         `input.operation == "DELETE"`,
		"nil map is empty":  `input.user == {}`,
		"params":            `input.params.min == 3`,
		"fact":              `input.facts.ns.tier == "gold"`,
		"absent fact":       `input.facts.absent == null`,
		"list of facts":     `input.facts.all[_].n == 1`,
		"now":               `input.now == "2026-01-02T03:04:05.000006Z"`,
		"now as a time":     `time.parse_rfc3339_ns(input.now) == 1767323045000006000`,
		"whole numbers":     `input.object.spec.big == 9007199254740993`,
		"whole in text":     `sprintf("%d", [input.object.spec.big]) == "9007199254740993"`,
		"fractions":         `input.object.spec.half == 0.5`,
		"null is a value":   `input.object.spec.nothing == null`,
		"seven roots":       `object.keys(input) == {"object", "old", "operation", "user", "params", "facts", "now"}`,
		"iteration":         `count([r | some r in input.object.spec.rules; r.name in {"a", "b"}]) == 2`,
		"host function":     `test.double(input.object.spec.big, []) == 18014398509481986`,
		"host takes a set":  `test.double("x", {"b", "a"}) == "xx"`,
		"walk":              `walk(input.object, [["spec", "ttl"], v]); v == "7"`,
		"template":          `$"is {input.object.spec.ttl}" == "is 7"`,
		"every":             `every r in input.object.spec.rules { r.name != "c" }`,
		"else and function": `grade(input.params.min) == "low"`,
	} {
		t.Run(name, func(t *testing.T) {
			source := module(body) + "\ngrade(x) := \"high\" if { x > 5 } else := lower(\"LOW\")\n"
			got, err := compile(t, source).Eval(context.Background(), input())
			if err != nil || len(got) != 1 || got[0] != (engine.Violation{Message: "m", Path: "p"}) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestEvalTwiceAndBetweenSubjects(t *testing.T) {
	r := compile(t, module(`input.facts.all[_].n == 1; input.params.min == 3; input.object.spec.on == false`))
	in := input()
	for range 2 {
		if got, err := r.Eval(context.Background(), in); len(got) != 1 || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	// Other parameters and facts must not be taken for the ones turned before.
	in.Params = map[string]any{"min": int64(4)}
	if got, err := r.Eval(context.Background(), in); len(got) != 0 || err != nil {
		t.Errorf("other parameters: got %v, %v", got, err)
	}
	in = input()
	in.Facts["all"] = in.Facts["all"].([]any)[:0]
	if got, err := r.Eval(context.Background(), in); len(got) != 0 || err != nil {
		t.Errorf("other facts: got %v, %v", got, err)
	}
}

func TestListCacheForgets(t *testing.T) {
	var c listCache
	for i := range 3 * maxLists {
		if got := c.value([]any{int64(i)}).String(); got != fmt.Sprintf("[%d]", i) {
			t.Fatalf("list %d: got %s", i, got)
		}
	}
	if len(c.lists) != maxLists {
		t.Errorf("the cache holds %d lists, want %d", len(c.lists), maxLists)
	}
}

// What cannot be told must be an error and never an empty answer.
func TestEvalCannotTell(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"failing function": {module(`to_number("7d") < 30`), "policy.rego:4:1: to_number"},
		"under not":        {module(`not to_number("7d") >= 30`), "to_number"},
		"host function":    {module(`test.double(input.object.spec.on, []) == 1`), "cannot double bool"},
		"host panic":       {module(`test.double(input.object.spec.nothing, []) == 1`), "panicked: no value"},
		"conflict":         {module(`x == 1`) + "x := 1 if input.operation\nx := 2 if input.params\n", "produced conflicting values"},
		"text":             {"package a.b\nviolations contains \"m\" if true", "the rule answered with a set of string"},
		"no message":       {"package a.b\nviolations contains {\"path\": \"p\"} if true", "no message"},
		"number":           {"package a.b\nviolations contains {\"message\": 7} if true", `"message" is no text`},
		"path":             {"package a.b\nviolations contains {\"message\": \"m\", \"path\": [\"a\"]} if true", `"path" is no text`},
		"more":             {"package a.b\nviolations contains {\"message\": \"m\", \"severity\": \"low\"} if true", `has "severity", want message and path only`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compile(t, c.source).Eval(context.Background(), input())
			if err == nil || len(got) > 0 && err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", got, err, c.want)
			}
		})
	}
}

func TestPathIsOptional(t *testing.T) {
	r := compile(t, "package a.b\nviolations contains {\"message\": \"m\"} if true\nviolations contains {\"message\": \"n\", \"path\": \"\"} if true")
	got, err := r.Eval(context.Background(), input())
	if err != nil || fmt.Sprint(got) != "[{m } {n }]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	head := "package a.b\nviolations contains {\"message\": \"m\"} if true\n"
	for name, c := range map[string]struct{ source, want string }{
		"empty":              {"", "1:1: the source is empty"},
		"comment only":       {"# nothing", "1:1: the source is empty"},
		"syntax":             {module("x := "), "5:1: unexpected"},
		"version 0":          {"package a.b\nviolations[x] { x := 1 }", "2:1: "},
		"too long":           {head + strings.Repeat("#", maxSource), "want at most"},
		"package of one":     {strings.Replace(head, "a.b", "a", 1), "1:1: the package is a, want package <domain>.<name>"},
		"package in capital": {strings.Replace(head, "a.b", "a.B", 1), "1:1: the package is a.B"},
		"no entry":           {"package a.b\nx := 1", "1:1: the module has no rule violations"},
		"complete rule":      {"package a.b\nviolations := {} if true", "2:1: violations is no set"},
		"object":             {"package a.b\nviolations[x] := 1 if x := 2", "2:1: violations is no set"},
		"function":           {"package a.b\nviolations(x) := 1 if x == 1", "2:1: violations is no set"},
		"deeper":             {"package a.b\nviolations.x contains 1 if true", "2:1: violations is no set"},
		"default":            {head + "default violations := set()", "3:1: default violations is not offered"},
		"unknown function":   {module("foo.bar(1)"), "4:1: undefined function foo.bar\n   4 | foo.bar(1)\n       ^"},
		"world":              {module("x := time.now_ns()\nx > 1"), "4:6: time.now_ns is not offered: a rule must give the same answer when replayed; use input.now"},
		"network":            {module(`http.send({"method": "get", "url": "x"}).status_code != 200`), "4:1: http.send is not offered: a rule has no network"},
		"as an argument":     {module(`count([opa.runtime()]) == 1`), "4:8: opa.runtime is not offered"},
		"with as target":     {module(`count([1]) with count as http.send`), "4:12: with is not offered"},
		"with of input":      {module(`input.object with input as {}`), "4:14: with is not offered"},
		"with of data":       {module(`x with data.a.b.x as 1`) + "x := 2", "4:3: with is not offered"},
		"print":              {module(`print(1)`), "4:1: print is not offered"},
		"unknown part":       {module(`input.request.x == 1`), "4:1: input has no request"},
		"other data":         {module(`data.users.x == 1`), "4:1: data.users.x is not offered"},
		"all data":           {module(`count(data) == 1`), "recursive"},
		"own package whole":  {"package a.b\nx := data.a.b\nviolations contains {\"message\": \"m\"} if x", "recursive"},
		"computed data":      {module(`some x; data.a.b[x] == 1`), "recursive"},
		"import of data":     {"package a.b\nimport data.users\n" + head[12:], "2:1: import of data.users is not offered"},
		"future import":      {"package a.b\nimport future.keywords.in\n" + head[12:], "2:1: import of future.keywords"},
		"doubling":           {module(levels(40, `[1, 2]`, `[PREV, PREV]`)), "3:1: the rule makes values of more than"},
		"doubling functions": {module("count(d16([1])) == 1") + "d1(x) := [x, x]\nd2(x) := d1(d1(x))\nd4(x) := d2(d2(x))\nd8(x) := d4(d4(x))\nd16(x) := d8(d8(x))", "10:1: the rule makes values of more than"},
		"doubling rules":     {head + "x := [y, y]\ny := [z, z]\nz := [" + strings.Repeat("[[1, 2]],", 10000) + "1]", "the rule makes values of more than"},
		"large number":       {module(`1e1234 > 2`), "4:1: the number is too large"},
		"unification":        {module(`x := 1; input.object = x`), "4:22: = is not offered: write := to name a value and == to compare"},
		"types never equal":  {module(`count(input.object) == "7"`), "4:1: match error"},
		"unsafe":             {module(`x == y`), "var x is unsafe"},
		"type":               {module(`count(7) == 1`), "4:1: "},
		"recursion":          {module(`f(1) == 1`) + "f(x) := f(x)", "recursive"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := (&Compiler{}).Compile("policy.rego", []byte(c.source))
			var problem *engine.CompileError
			if r != nil || !errors.As(err, &problem) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
			if problem.File != "policy.rego" || problem.Line < 1 || problem.Column < 1 {
				t.Errorf("got the place %s:%d:%d", problem.File, problem.Line, problem.Column)
			}
		})
	}
}

func TestCompileTellsEveryProblemOnce(t *testing.T) {
	_, err := (&Compiler{}).Compile("p.rego", []byte(module("x := time.now_ns()\nfoo(x)\nhttp.send({}) with input as 1")))
	if n := strings.Count(err.Error(), "p.rego:"); n != 4 {
		t.Errorf("got %d problems, want 4:\n%v", n, err)
	}
}

// Nothing outside the list may be called, whatever OPA adds.
func TestOnlyOfferedFunctions(t *testing.T) {
	for name, why := range map[string]string{"rand.intn": "replayed", "uuid.rfc4122": "replayed", "net.lookup_ip_addr": "network", "glob.match": "regex.match",
		"yaml.unmarshal": "json.unmarshal", "io.jwt.decode_verify": "keys", "json.match_schema": "fetch", "trace": "writes nothing", "all": "bounded"} {
		if _, ok := offered[name]; ok {
			t.Errorf("%s is offered", name)
		}
		if got := reason(name); !strings.Contains(got, why) {
			t.Errorf("%s: the reason is %q", name, got)
		}
	}
}

// The real functions, through both the type checker and the conversion of values.
func TestHostFunctions(t *testing.T) {
	c := &Compiler{Functions: host.Functions(nil)}
	for body, want := range map[string]string{
		`region.within("aws", "eu-central-1", ["eu"])`:           "[{m p}] <nil>",
		`region.within("aws", "eu-central-1", {"eu"})`:           "[{m p}] <nil>",
		`not region.within("aws", "us-east-1", ["eu"])`:          "[{m p}] <nil>",
		`region.within("aws", "atlantis-1", ["eu"])`:             "locate \"atlantis-1\": ",
		`region.within("aws", input.object.spec.on, ["eu"])`:     "policy.rego:4:1: call region.within: place is a bool",
		`"DE" in region.locate("aws", "eu-central-1").countries`: "[{m p}] <nil>",
	} {
		r, err := c.Compile("policy.rego", []byte(module(body)))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		got, err := r.Eval(context.Background(), input())
		if s := fmt.Sprint(got, err); !strings.Contains(s, want) {
			t.Errorf("%s: got %s, want %s", body, s, want)
		}
	}
	if _, err := c.Compile("policy.rego", []byte(module(`region.within(1, "x", [])`))); err == nil {
		t.Error("an argument of another type compiles")
	}
}

func TestPackage(t *testing.T) {
	if got := compile(t, module("true")).Package(); got != "a.b" {
		t.Errorf("got %s", got)
	}
}
