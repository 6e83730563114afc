package rego

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"proviso.dev/proviso/engine"
)

// pod is a Pod as controllers make them, of about sixty lines in YAML.
const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"db-0","namespace":"prod","labels":{"app":"db","tier":"gold","app.kubernetes.io/name":"db",
"statefulset.kubernetes.io/pod-name":"db-0"},"annotations":{"backup.velero.io/backup-volumes":"data,wal","pre.hook.backup.velero.io/command":"[\"/bin/freeze\"]"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"db","uid":"1f2e3d4c","controller":true}]},"spec":{"serviceAccountName":"db",
"nodeName":"n1","priority":0,"restartPolicy":"Always","terminationGracePeriodSeconds":30,"containers":[{"name":"db","image":"registry.example.com/db:17.2",
"ports":[{"containerPort":5432,"name":"sql","protocol":"TCP"}],"env":[{"name":"PGDATA","value":"/data/pg"},{"name":"POD","valueFrom":{"fieldRef":
{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"resources":{"limits":{"cpu":"2","memory":"4Gi"},"requests":{"cpu":"1","memory":"4Gi"}},
"volumeMounts":[{"mountPath":"/data","name":"data"},{"mountPath":"/wal","name":"wal"}]},{"name":"metrics","image":"registry.example.com/exporter:1.4",
"ports":[{"containerPort":9187,"name":"metrics","protocol":"TCP"}],"resources":{"limits":{"cpu":"100m","memory":"64Mi"}}}],"volumes":[{"name":"data",
"persistentVolumeClaim":{"claimName":"data-db-0"}},{"name":"wal","persistentVolumeClaim":{"claimName":"wal-db-0"}},{"name":"tmp","emptyDir":{}}],
"tolerations":[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300}]},"status":{"phase":"Running",
"hostIP":"10.0.0.1","podIP":"10.1.0.1","conditions":[{"type":"Ready","status":"True"},{"type":"PodScheduled","status":"True"}]}}`

// realistic is a rule as they ship: every claim a Pod mounts must be named for backup.
const realistic = `package completeness.NAME

annotation := "backup.velero.io/backup-volumes"

named contains trim_space(n) if {
	some n in split(object.get(input.object, ["metadata", "annotations", annotation], ""), ",")
}

violations contains {"message": m, "path": p} if {
	some i, v in input.object.spec.volumes
	v.persistentVolumeClaim.claimName
	not v.name in named
	not exempt
	m := sprintf("volume %s is not backed up, want it in annotation %s", [v.name, annotation])
	p := sprintf("spec.volumes[%d]", [i])
}

violations contains {"message": m, "path": "metadata.labels"} if {
	not input.object.metadata.labels.tier in input.params.tiers
	m := sprintf("tier is %v, want one of %v", [input.object.metadata.labels.tier, concat(", ", input.params.tiers)])
}

exempt if input.object.metadata.labels["proviso.dev/exempt"] == "true"
`

func podInput(t testing.TB) engine.Input {
	var object map[string]any
	if err := json.Unmarshal([]byte(pod), &object); err != nil {
		t.Fatal(err)
	}
	return engine.Input{Subject: &engine.Subject{APIVersion: "v1", Kind: "Pod", Operation: engine.Create, Object: object},
		Params: map[string]any{"tiers": []any{"gold", "silver"}}, Now: now}
}

func sources(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.Replace(realistic, "NAME", fmt.Sprintf("p%03d", i), 1)
	}
	return list
}

// judge judges one subject by all rules, with fresh shared values each round, as the engine does.
func judge(b *testing.B, rules []engine.Rule) {
	policies := make([]engine.Policy, len(rules))
	in := podInput(b)
	for i, r := range rules {
		policies[i] = engine.Policy{ID: fmt.Sprintf("p%03d", i), Match: engine.Match{{Kinds: []string{"Pod"}}}, Rule: r, Params: in.Params}
	}
	set, err := engine.NewSet(policies)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range set.Judge(context.Background(), *in.Subject, nil, now) {
			if d.Verdict != engine.Pass {
				b.Fatal(d, d.Reason, d.Violations)
			}
		}
	}
}

func BenchmarkEach(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var rules []engine.Rule
			for _, s := range sources(n) {
				rules = append(rules, compile(b, s))
			}
			judge(b, rules)
		})
	}
}

type ruleFunc func(context.Context, engine.Input) ([]engine.Violation, error)

func (f ruleFunc) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	return f(ctx, in)
}

// BenchmarkFused is what one query over N modules would cost: one rule answers for all of them, so the deciding around
// each is left out, in the fused query's favour. It saves a quarter of the allocations, but time only at a hundred rules
// under memory pressure, and costs time at ten: that is not worth a second way to evaluate.
func BenchmarkFused(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := compile(b, sources(1)[0])
			modules := map[string]*ast.Module{}
			var body []*ast.Term
			for i, s := range sources(n) {
				modules[fmt.Sprint(i)] = ast.MustParseModule(s)
				body = append(body, ast.NewTerm(modules[fmt.Sprint(i)].Package.Path.Append(ast.StringTerm(entry))))
			}
			c := ast.NewCompiler().WithCapabilities(r.language.capabilities).WithSkipStages(ast.StageRewriteEquals).
				WithStageAfterID(ast.StageCheckSafetyRuleBodies, ast.CompilerStageDefinition{Name: "UnifyScalars", Stage: unifyScalars})
			if c.Compile(modules); c.Failed() {
				b.Fatal(c.Errors)
			}
			var exprs []*ast.Expr
			for i, ref := range body {
				exprs = append(exprs, ast.Equality.Expr(ref, ast.VarTerm(fmt.Sprintf("answer%d", i))))
			}
			for _, m := range c.Modules {
				r.language.bind(m)
			}
			query := ast.NewBody(exprs...)
			judge(b, []engine.Rule{ruleFunc(func(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
				q := topdown.NewQuery(query).WithCompiler(c).WithInput(r.document(in)).WithCancel(&meter{}).WithBuiltins(r.language.builtins).
					WithStrictBuiltinErrors(true).WithStore(noData{}).WithBaseCache(noData{}).WithMetrics(noMetrics).WithTime(epoch)
				var all []engine.Violation
				err := q.Iter(ctx, func(result topdown.QueryResult) error {
					for _, set := range result {
						found, err := violations(set.Value)
						if err != nil {
							return err
						}
						all = append(all, found...)
					}
					return nil
				})
				return all, err
			})})
		})
	}
}

// BenchmarkPrepared is the same rule through OPA's own package rego.
func BenchmarkPrepared(b *testing.B) {
	prepared, err := opa.New(opa.Query("data.completeness.p000.violations"), opa.Module("p.rego", sources(1)[0]), opa.StrictBuiltinErrors(true)).PrepareForEval(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	r := compile(b, sources(1)[0])
	judge(b, []engine.Rule{ruleFunc(func(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
		_, err := prepared.Eval(ctx, opa.EvalParsedInput(r.document(in).Value))
		return nil, err
	})})
}

// BenchmarkFails is a rule that finds two things wrong.
func BenchmarkFails(b *testing.B) {
	r := compile(b, sources(1)[0])
	in := podInput(b)
	in.Params = map[string]any{"tiers": []any{"silver"}}
	in.Subject.Object["metadata"].(map[string]any)["annotations"] = map[string]any{}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := r.Eval(context.Background(), in); len(found) != 3 || err != nil {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkConvert is what turning the whole subject would cost; rules turn what they step into.
func BenchmarkConvert(b *testing.B) {
	in := podInput(b)
	b.ReportAllocs()
	for b.Loop() {
		ast.MustInterfaceToValue(in.Subject.Object)
	}
}

func BenchmarkCompile(b *testing.B) {
	c := &Compiler{}
	source := []byte(sources(1)[0])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Compile("policy.rego", source); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is the first compilation of a process, apart from OPA's own package initialisation.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		newLanguage(nil)
	}
}
