package dependency

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// cluster is a whole cluster of n applications: nothing is missing in it and nothing circles.
func cluster(n int) []m {
	objects := []m{
		object("storage.k8s.io/v1", "StorageClass", "fast", nil),
		object("scheduling.k8s.io/v1", "PriorityClass", "high", nil),
		object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.x.io", spec(m{"group": "x.io", "names": m{"kind": "Thing"}, "versions": l{m{"name": "v1", "served": true}}})),
	}
	for i := range n {
		ns := fmt.Sprintf("n%03d", i/20)
		if i%20 == 0 {
			objects = append(objects, object("v1", "Namespace", ns, nil))
		}
		at := func(kind string) string { return fmt.Sprintf("%s/%s%d", ns, kind, i) }
		name := func(kind string) string { return fmt.Sprintf("%s%d", kind, i) }
		pod := m{"serviceAccountName": name("sa"), "priorityClassName": "high",
			"containers": l{m{"env": l{m{"valueFrom": m{"secretKeyRef": m{"name": name("s"), "key": "k"}}}}, "envFrom": l{m{"configMapRef": m{"name": name("c")}}}}},
			"volumes":    l{m{"persistentVolumeClaim": m{"claimName": name("d")}}}}
		labels := m{"app": name("a")}
		objects = append(objects,
			object("v1", "Secret", at("s"), nil), object("v1", "ConfigMap", at("c"), nil), object("v1", "ServiceAccount", at("sa"), nil),
			object("v1", "PersistentVolume", name("v"), spec(m{"storageClassName": "fast", "claimRef": m{"namespace": ns, "name": name("d")}})),
			object("v1", "PersistentVolumeClaim", at("d"), spec(m{"volumeName": name("v"), "storageClassName": "fast"})),
			object("apps/v1", "Deployment", at("a"), spec(m{"template": m{"metadata": m{"labels": labels}, "spec": pod}})),
			object("v1", "Pod", at("p"), m{"metadata": m{"labels": labels}, "spec": pod}),
			object("v1", "Service", at("svc"), spec(m{"selector": labels})),
			object("networking.k8s.io/v1", "Ingress", at("i"), spec(m{"defaultBackend": m{"service": m{"name": name("svc")}}})),
			object("x.io/v1", "Thing", at("t"), spec(m{"passwordSecretRef": m{"name": name("s")}})),
		)
	}
	return objects
}

// tangle is any set of claims made of each other, with and without circles.
func tangle(t *rapid.T) []m {
	n := rapid.IntRange(1, 12).Draw(t, "claims")
	var objects []m
	for i := range n {
		objects = append(objects, object("v1", "PersistentVolumeClaim", fmt.Sprint("a/c", i),
			spec(m{"dataSource": m{"kind": "PersistentVolumeClaim", "name": fmt.Sprint("c", rapid.IntRange(0, n).Draw(t, "of"))}})))
	}
	return objects
}

// steps gives each item of the order its step, and each of a cycle its number.
func steps(plan m) (step map[string]int64, circle map[string]int) {
	step, circle = map[string]int64{}, map[string]int{}
	for _, s := range plan["order"].(l) {
		for _, item := range s.(m)["items"].(l) {
			step[item.(string)] = s.(m)["step"].(int64)
		}
	}
	for i, c := range plan["cycles"].(l) {
		for _, item := range c.(l) {
			circle[item.(string)] = i + 1
		}
	}
	return step, circle
}

func TestOrderRespectsEveryEdge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := graphOf(append(cluster(rapid.IntRange(0, 6).Draw(t, "applications")), tangle(t)...)...)
		step, circle := steps(g.Plan())
		needed := map[string]bool{}
		for e := range g.Edges() {
			if !e.Orders || e.Missing {
				continue
			}
			from, to := e.From.String(), e.To.String()
			needed[to] = true
			if step[to] == 0 {
				t.Fatalf("%s is needed by %s and in no step", to, from)
			}
			if s := step[from]; s != 0 && s <= step[to] && (circle[from] == 0 || circle[from] != circle[to]) {
				t.Fatalf("%s in step %d needs %s of step %d", from, s, to, step[to])
			}
		}
		if len(step) != len(needed) {
			t.Fatalf("%d items are ordered, %d needed", len(step), len(needed))
		}
	})
}

func TestTheOrderOfAddingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := append(cluster(rapid.IntRange(0, 6).Draw(t, "applications")), tangle(t)...)
		want := graphOf(objects...).Plan()
		if got := graphOf(rapid.Permutation(objects).Draw(t, "objects")...).Plan(); !reflect.DeepEqual(got, want) {
			t.Fatalf("plan = %v\nwant %v", got, want)
		}
	})
}

func TestRemovingWhatIsNeededMakesItMissing(t *testing.T) {
	objects := cluster(4)
	whole := graphOf(objects...)
	if n := whole.Plan()["missingCount"]; n != int64(0) {
		t.Fatalf("%v are missing of a whole cluster", n)
	}
	needed := map[string]bool{}
	for e := range whole.Edges() {
		if e.Relation != "selects" {
			needed[e.To.String()] = true
		}
	}
	removed := 0
	for i, o := range objects {
		meta := o["metadata"].(m)
		ns, _ := meta["namespace"].(string)
		id := Object{"", o["kind"].(string), ns, meta["name"].(string)}
		if !needed[id.String()] {
			continue
		}
		removed++
		want := map[string]bool{id.String(): true}
		if id.Kind == "CustomResourceDefinition" {
			want = map[string]bool{"CustomResourceDefinition Thing.x.io": true}
		}
		got := map[string]bool{}
		for _, x := range graphOf(slices.Delete(slices.Clone(objects), i, i+1)...).Plan()["missing"].(l) {
			x := x.(m)
			ns, _ := x["namespace"].(string)
			got[Object{"", x["kind"].(string), ns, x["name"].(string)}.String()] = true
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("without %s, missing are %v", id, got)
		}
	}
	if removed < 20 {
		t.Errorf("only %d objects are needed", removed)
	}
}

// BenchmarkPlan plans 66,000 objects; MiB is what the graph holds of them.
func BenchmarkPlan(b *testing.B) {
	objects := cluster(6600)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	live := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := live()
	g := graphOf(objects...)
	held := live() - before
	runtime.KeepAlive(g)
	b.ReportAllocs()
	for b.Loop() {
		graphOf(objects...).Plan()
	}
	b.ReportMetric(float64(held)/(1<<20), "MiB")
	b.ReportMetric(float64(len(objects)), "objects")
}
