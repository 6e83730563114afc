package cel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/cel"
	"proviso.dev/proviso/engine/host"
)

func eval(t *testing.T, source string, in engine.Input) ([]engine.Violation, error) {
	t.Helper()
	c := &cel.Compiler{Functions: []host.Func{{Name: "region.echo", Args: []host.Arg{{Name: "x", Kind: "any"}}, Result: "any",
		Call: func(a []any) (any, error) { return a[0], nil }}}}
	rule, err := c.Compile("policy.cel", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if in.Subject == nil {
		in.Subject = &engine.Subject{}
	}
	return rule.Eval(context.Background(), in)
}

func TestEval(t *testing.T) {
	subject := &engine.Subject{Operation: "UPDATE", Object: map[string]any{"spec": map[string]any{"ttl": "24h", "size": "10Gi", "n": int64(3),
		"rules": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}}, Old: map[string]any{"spec": map[string]any{}},
		User: map[string]any{"username": "ann"}}
	for _, c := range []struct{ name, source, want string }{
		{"empty", `[]`, ""},
		{"one", `object.spec.ttl == "24h" ? [{"message": "kept " + object.spec.ttl, "path": "spec.ttl"}] : []`, "kept 24h at spec.ttl"},
		{"map over a list", `object.spec.rules.filter(r, r.name != "a").map(r, {"message": r.name, "path": ""})`, "b at "},
		{"duration", `duration(object.spec.ttl) < duration("48h") ? [{"message": "short"}] : []`, "short at "},
		{"quantity", `quantity(object.spec.size).isGreaterThan(quantity("1Gi")) ? [{"message": "big"}] : []`, "big at "},
		{"names of ValidatingAdmissionPolicy", `oldObject != null && request.operation == "UPDATE" && request.userInfo.username == "ann" ? [{"message": "m"}] : []`, "m at "},
		{"optional", `object.?spec.?nothing.orValue("none") == "none" ? [{"message": "m"}] : []`, "m at "},
		{"libraries", `url("https://x.y/z").getHostname() == "x.y" && ip("10.0.0.1").family() == 4 && cidr("10.0.0.0/8").containsIP("10.1.1.1") && [1,2].sum() == 3 && "a1".find("[0-9]") == "1" && semver("1.2.3").major() == 1 && !format.dns1123Label().validate("ok").hasValue() ? [{"message": "m"}] : []`, "m at "},
		{"host function", `region.echo(object.spec)["n"] == 3 && region.echo([1, {"a": null}]).size() == 2 ? [{"message": "m"}] : []`, "m at "},
		{"now", `now == timestamp("2026-01-02T03:04:05Z") ? [{"message": "m"}] : []`, "m at "},
		{"missing field", `object.spec.none == 1 ? [] : [{"message": "m"}]`, "error: no such key: none"},
		{"no list", `object.spec`, "error: the rule answered with"},
		{"no map", `object.spec.rules.map(r, r.name)`, "error: the rule answered with a list of string"},
		{"message is no text", `[{"message": object.spec.n}]`, "error: the rule answered with a violation whose message is no text"},
		{"unknown key", `[{"message": "m", "paht": "x"}]`, "error: the rule answered with a violation that has paht"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			vs, err := eval(t, c.source, engine.Input{Subject: subject, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
			for _, v := range vs {
				got += v.Message + " at " + v.Path
			}
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDocumentIsNeverNull(t *testing.T) {
	vs, err := eval(t, `size(object) + size(old) + size(user) + size(params) + size(facts) == 0 && oldObject == null ? [{"message": "m"}] : []`, engine.Input{})
	if err != nil || len(vs) != 1 {
		t.Errorf("got %v, %v", vs, err)
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"syntax", "[\n  {\"message\": }\n]", "policy.cel:2:15: "},
		{"undeclared variable", "objekt.spec == 1 ? [] : []", "policy.cel:1:1: undeclared reference to 'objekt'"},
		{"undeclared function", "\n  http.get('x')", "policy.cel:2:3: undeclared reference to 'http'"},
		{"result type", "true", "policy.cel:1:1: the expression yields bool, want a list"},
		{"caret", "  objekt", "policy.cel:1:3: undeclared reference to 'objekt' (in container '')\n   1 |   objekt\n         ^"},
		{"bad regex", `"a".matches("(") ? [] : []`, "policy.cel:1:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := (&cel.Compiler{}).Compile("policy.cel", []byte(c.source))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestCondition(t *testing.T) {
	c := &cel.Compiler{}
	when, reads, err := c.Condition("policy.yaml", []byte(`object.spec.provider in ["aws"]`))
	if err != nil {
		t.Fatal(err)
	}
	if len(reads) != 1 || reads[0].Path != "object.spec.provider" {
		t.Errorf("reads %v", reads)
	}
	in := engine.Input{Subject: &engine.Subject{Object: map[string]any{"spec": map[string]any{"provider": "aws"}}}}
	if ok, err := when(context.Background(), in); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if _, err := when(context.Background(), engine.Input{Subject: &engine.Subject{}}); err == nil {
		t.Error("a missing field is no error")
	}
	if _, _, err := c.Condition("policy.yaml", []byte(`1`)); err == nil {
		t.Error("a number is taken for a condition")
	}
}

// The cases of a 5,000 x 5,000 loop and of text that doubles: a deadline, an interrupt and the cost limit, each alone.
func TestLimits(t *testing.T) {
	list := make([]any, 5000)
	for i := range list {
		list[i] = int64(i)
	}
	in := engine.Input{Subject: &engine.Subject{Object: map[string]any{"l": list, "s": strings.Repeat("x", 1<<20)}}}
	double := `object.s`
	for range 9 {
		double = "(" + double + "+" + double + ")"
	}
	for name, source := range map[string]string{
		"range":      `lists.range(1000000000).size() > 0 ? [] : [{"message": "m"}]`,
		"join":       `object.l.map(x, object.s).join(",") == "" ? [] : [{"message": "m"}]`,
		"format":     `size("%s%s%s%s%s%s%s%s%s%s%s%s%s%s".format([object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s,object.s])) > 0 ? [] : [{"message": "m"}]`,
		"typed text": `size(` + strings.ReplaceAll(double, "object.s", "string(object.s)") + `) > 0 ? [] : [{"message": "m"}]`,
		"replace":    `size(object.s.replace("x", object.s)) > 0 ? [] : [{"message": "m"}]`,
		"loop":       `object.l.all(a, object.l.all(b, a >= 0 || b >= 0)) ? [] : [{"message": "m"}]`,
		"text":       `size(` + double + `) > 0 ? [] : [{"message": "m"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := eval(t, source, in); err == nil || !strings.Contains(err.Error(), "limit") {
				t.Errorf("got %v, want a limit", err)
			}
		})
	}
	t.Run("cancel", func(t *testing.T) {
		rule, err := (&cel.Compiler{}).Compile("policy.cel", []byte(`object.l.all(a, object.l.all(b, a >= 0 || b >= 0)) ? [] : [{"message": "m"}]`))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := rule.Eval(ctx, in); err != context.Canceled {
			t.Errorf("got %v, want the context's error before the cost limit's", err)
		}
	})
}

func TestReads(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`object.spec.ttl == "" ? [] : []`, "object.spec.ttl"},
		{`has(object.spec.ttl) ? [] : []`, "object.spec.ttl?"},
		{`object.metadata.labels["a.b/c"] == "" ? [] : []`, `object.metadata.labels["a.b/c"]`},
		{`object.metadata["labels"].x == "" ? [] : []`, `object.metadata.labels.x`},
		{`object.spec.l[0].n == 1 ? [] : []`, "object.spec.l[*].n"},
		{`object.spec.l.all(x, x.n == 1) ? [] : []`, "object.spec.l[*].n"},
		{`object.spec.l.all(x, x.m.all(y, y.n == x.k)) ? [] : []`, "object.spec.l[*].m[*].n object.spec.l[*].k"},
		{`object.spec.l.all(x, true) ? [] : []`, "object.spec.l[*]"},
		{`object.spec.l.all(i, x, x.n == i) ? [] : []`, "object.spec.l[*].n"},
		{`object.spec.l.filter(x, x.a == 1).all(y, y.secret == 2) ? [] : []`, "object.spec.l[*] object.spec.l[*].a"},
		{`object.metadata.labels[object.spec.key] == "" ? [] : []`, "object.metadata.labels object.spec.key"},
		{`object.a[object.k1].b[object.k2] == 1 ? [] : []`, "object.a object.k1 object.k2"},
		{`object.?x.orValue(object.y)[object.k] == 1 ? [] : []`, "object.x object.y object.k"},
		{`has(object.a[object.k1].b) ? [] : []`, "object.a object.k1"},
		{`object.?spec.?ttl.orValue("") == "" ? [] : []`, "object.spec.ttl"},
		{`object[?"spec"].hasValue() ? [] : []`, "object.spec?"},
		{`(object.a == 1 ? object.b : object.c).d == 1 ? [] : []`, "object.a object.b object.c"},
		{`oldObject.spec.x == request.userInfo.username && request.operation == "UPDATE" ? [] : []`, "old.spec.x operation user.username"},
		{`params.min == facts.ns.metadata.name ? [] : []`, "facts.ns.metadata.name params.min"},
		{`size(object) == 1 ? [] : []`, "object"},
		{`[object.a].all(x, x.secret == 1) ? [] : []`, "object.a"},
		{`object.spec.items.map(object, object.name).size() == 0 ? [] : []`, "object.spec.items[*].name"},
	} {
		rule, err := (&cel.Compiler{}).Compile("policy.cel", []byte(c.source))
		if err != nil {
			t.Error(err)
			continue
		}
		got := map[string]bool{}
		for _, r := range rule.Reads() {
			if r.Presence {
				r.Path += "?"
			}
			got[r.Path] = true
		}
		want := map[string]bool{}
		for _, w := range strings.Fields(c.want) {
			want[w] = true
			if !got[w] {
				t.Errorf("%s: %s is not among the reads %v", c.source, w, got)
			}
		}
		for g := range got {
			if !want[g] {
				t.Errorf("%s: unexpected read %s", c.source, g)
			}
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	c := &cel.Compiler{}
	for b.Loop() {
		if _, err := c.Compile("policy.cel", []byte(`object.spec.provider in ["aws"] && !has(object.spec.config.region) ? [{"message": "m", "path": "spec"}] : []`)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvironment(b *testing.B) {
	for b.Loop() {
		if _, err := (&cel.Compiler{}).Compile("policy.cel", []byte(`[]`)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	c := &cel.Compiler{}
	rule, err := c.Compile("policy.cel", []byte(`object.spec.provider in ["aws"] && !has(object.spec.config.region) ? [{"message": "m", "path": "spec"}] : []`))
	if err != nil {
		b.Fatal(err)
	}
	in := engine.Input{Subject: &engine.Subject{Object: map[string]any{"spec": map[string]any{"provider": "aws", "config": map[string]any{"region": "eu-central-1"}}}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rule.Eval(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// Whatever the source, compiling and evaluating it ends, and does not panic.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`[]`, `object.spec.l.map(x, {"message": x.n})`, `[{"message": "m", "path": "p"}]`, `object[?"a"].orValue([])`, `{"a": [1, 2u, 3.0, b"x"]}.a`} {
		f.Add(s)
	}
	c := &cel.Compiler{Functions: host.Functions(nil)}
	in := engine.Input{Subject: &engine.Subject{Object: map[string]any{"spec": map[string]any{"l": []any{map[string]any{"n": "x"}}}}}}
	f.Fuzz(func(t *testing.T, source string) {
		rule, err := c.Compile("policy.cel", []byte(source))
		if err != nil {
			return
		}
		rule.Reads()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		vs, err := rule.Eval(ctx, in)
		if err == nil && len(vs) == 0 && !strings.Contains(source, "[") && !strings.Contains(source, "object") {
			t.Errorf("%q answers with an empty list", source)
		}
	})
}
