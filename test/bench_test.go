package test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
	"proviso.dev/proviso/engine/report"
)

const podYAML = `apiVersion: %s
kind: %s
metadata:
  name: object-%d
  namespace: team-%d
  labels: {app: web, team: payments, tier: "1", proviso.dev/data-class: confidential}
  annotations: {example.com/owner: team@example.com}
spec:
  priority: %d
  ttl: 720h0m0s
  region: eu-central-1
  serviceAccountName: web
  containers:
  - name: web
    image: registry.example.com/web:1.2.3
    ports: [{containerPort: 8080, name: http}]
    env: [{name: A, value: "1"}, {name: B, value: "2"}]
    resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {cpu: "1", memory: 256Mi}}
    readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 5}
    volumeMounts: [{name: data, mountPath: /data}]
  - name: sidecar
    image: registry.example.com/sidecar:4.5.6
    args: ["--level=info", "--listen=:9090"]
    resources: {requests: {cpu: 10m, memory: 32Mi}}
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: data}
  - name: config
    configMap: {name: config, items: [{key: a, path: a.yaml}]}
---
`

// manyPolicies are n policies, the first half in Rego and the rest in CEL; each is for the kinds that kinds names.
func manyPolicies(tb testing.TB, n int, kinds func(i int) string, languages ...string) *engine.Set {
	tb.Helper()
	files := fstest.MapFS{}
	for i := range n {
		dir := fmt.Sprintf("governance/p%05d", i)
		files[dir+"/policy.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `title: t
severity: low
match: [{group: bench.proviso.dev, kinds: [%s]}]
requires: {"spec.containers[*].image": string, spec.ttl: duration}
params: {type: object, properties: {registry: {type: string, default: registry.example.com/}}}
fix: f
`, kinds(i))}
		if languages[i*len(languages)/n] == "cel" {
			files[dir+"/policy.cel"] = &fstest.MapFile{Data: []byte(`object.spec.containers.filter(c, !c.image.startsWith(params.registry)).map(c, {"message": c.image + " is from elsewhere", "path": "spec.containers"}) +
(duration(object.spec.ttl) < duration("24h") ? [{"message": "short", "path": "spec.ttl"}] : [])`)}
			continue
		}
		files[dir+"/policy.rego"] = &fstest.MapFile{Data: fmt.Appendf(nil, `package governance.p%05d

violations contains {"message": sprintf("%%s is from elsewhere", [c.image]), "path": "spec.containers"} if {
	some c in input.object.spec.containers
	not startswith(c.image, input.params.registry)
}

violations contains {"message": "short", "path": "spec.ttl"} if {
	time.parse_duration_ns(input.object.spec.ttl) < time.parse_duration_ns("24h")
}
`, i)}
	}
	set, err := bundles.Load(nil, bundles.Defaults{}, bundles.Source{FS: files})
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// writeObjects writes n objects of ten kinds into files of a hundred.
func writeObjects(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, podYAML, "bench.proviso.dev/v1", fmt.Sprintf("Kind%d", i%10), i, i%50, i%7)
		if (i+1)%100 == 0 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.yaml", i)), []byte(b.String()), 0o644); err != nil {
				tb.Fatal(err)
			}
			b.Reset()
		}
	}
	return dir
}

func judgeAll(tb testing.TB, set *engine.Set, dir string) (engine.Trailer, uint64) {
	tb.Helper()
	in := &manifest.Files{Paths: []string{dir}, Operation: engine.Create, Misspelt: set.Misspelt}
	r := set.Run(context.Background(), in, manifest.NewFacts([]string{dir}, nil, nil, set.FactKinds()), engine.Header{})
	var peak uint64
	n := 0
	results := r.Results
	r.Results = func(yield func(engine.Result) bool) {
		results(func(res engine.Result) bool {
			if n++; n%2000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
			return yield(res)
		})
	}
	trailer, err := report.Tee(r, func(r engine.Report) error { return report.JSON(io.Discard, r, report.Options{}) })
	if err != nil {
		tb.Fatal(err)
	}
	return trailer, peak
}

// 5,000 objects under 100 policies, about 82,500 evaluations, from files to a JSON report: half Rego, half CEL, and each
// alone.
func BenchmarkFiveThousandObjects(b *testing.B) {
	dir := writeObjects(b, 5000)
	kinds := func(i int) string { // 1.65 of 10 kinds for each policy
		if i%20 < 13 {
			return fmt.Sprintf("Kind%d, Kind%d", i%10, (i+1)%10)
		}
		return fmt.Sprintf("Kind%d", i%10)
	}
	for _, languages := range [][]string{{"rego", "cel"}, {"rego"}, {"cel"}} {
		set := manyPolicies(b, 100, kinds, languages...)
		b.Run(strings.Join(languages, "+"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				trailer, peak := judgeAll(b, set, dir)
				if trailer.Summary.Pass < 80000 || !trailer.Complete {
					b.Fatalf("%+v", trailer.Summary)
				}
				b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
				b.ReportMetric(float64(trailer.Summary.Pass), "evaluations")
			}
		})
	}
}

// Judge time follows the policies that match, with real rules of both languages.
func BenchmarkLoadedPolicies(b *testing.B) {
	for _, size := range []struct{ loaded, matching int }{{10, 10}, {100, 100}, {1000, 100}, {10000, 100}} {
		set := manyPolicies(b, size.loaded, func(i int) string {
			if i%(size.loaded/size.matching) == 0 {
				return "Kind0"
			}
			return fmt.Sprintf("Other%d", i%200)
		}, "rego", "cel")
		dir := writeObjects(b, 100)
		in := &manifest.Files{Paths: []string{dir}}
		var sub *engine.Subject
		for s, err := range in.Inspect(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			sub = s
			break
		}
		b.Run(fmt.Sprintf("loaded=%d/matching=%d", size.loaded, size.matching), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := len(set.Judge(context.Background(), *sub, nil, fixed)); n != size.matching {
					b.Fatal(n)
				}
			}
		})
	}
}

// A hundred thousand manifests take no more memory than a thousand.
func TestAHundredThousandManifestsStream(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100,000 manifests")
	}
	set := manyPolicies(t, 4, func(i int) string { return fmt.Sprintf("Kind%d", i) }, "rego", "cel")
	_, small := judgeAll(t, set, writeObjects(t, 5000))
	trailer, large := judgeAll(t, set, writeObjects(t, 100_000))
	if trailer.Summary.Subjects != 100_000 || trailer.Summary.Pass != 40_000 {
		t.Errorf("judged %+v", trailer.Summary)
	}
	t.Logf("heap in use: %d MiB at 5,000, %d MiB at 100,000", small>>20, large>>20)
	if large > 2*small+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", small, large)
	}
}
