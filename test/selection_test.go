package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"proviso.dev/proviso/engine/selection"
)

// question is a line of what test/tools/velero/selects reads.
type question struct {
	Spec       map[string]any   `json:"spec"`
	Object     map[string]any   `json:"object"`
	Others     []map[string]any `json:"others,omitempty"`
	Namespaces []map[string]any `json:"namespaces,omitempty"`
	Policy     string           `json:"policy,omitempty"`

	policy  map[string]any
	related []map[string]any
}

// TestSelectionAgreesWithVelero asks Velero's own code and engine/selection the same 10,000 questions. Everything about the
// cluster is known, so unknown is no answer.
func TestSelectionAgreesWithVelero(t *testing.T) {
	const pairs, seed = 10_000, 20260711
	binary := veleroSelects(t)
	g := &generator{rand.New(rand.NewPCG(seed, 1))}
	questions := make([]question, pairs)
	for i := range questions {
		questions[i] = g.question()
	}
	cmd := exec.Command(binary)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer in.Close()
		w := bufio.NewWriter(in)
		for _, q := range questions {
			if json.NewEncoder(w).Encode(q) != nil {
				return
			}
		}
		w.Flush()
	}()
	counts := map[string]int{}
	wrong := 0
	answers := json.NewDecoder(out)
	for i, q := range questions {
		var theirs struct {
			Selected bool
			Error    string
		}
		if err := answers.Decode(&theirs); err != nil {
			t.Fatalf("read answer %d: %v", i, err)
		}
		want := selection.Excluded
		if theirs.Selected {
			want = selection.Selected
		}
		counts[want.String()]++
		if theirs.Error != "" {
			counts["refused"]++
		}
		ours, why := q.answer()
		if ours == want {
			continue
		}
		if wrong++; wrong <= 10 {
			text, _ := json.Marshal(q)
			t.Errorf("pair %d: ours is %s (%s), Velero's is %s %s\n%s", i, ours, why, want, theirs.Error, text)
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs: %v, %d disagree", pairs, counts, wrong)
	for _, kind := range []string{"selected", "excluded", "refused"} {
		if counts[kind] < pairs/20 {
			t.Errorf("only %d of %d pairs are %s: the generator does not try it enough", counts[kind], pairs, kind)
		}
	}
}

func veleroSelects(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PROVISO_TOOLS")
	if dir == "" {
		t.Skip("PROVISO_TOOLS names no folder with velero-selects: make test builds it, from test/tools/velero")
	}
	binary := filepath.Join(dir, "velero-selects")
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("velero-selects is not among the tools (%v): make test builds it, from test/tools/velero", err)
	}
	return binary
}

// custom are the kinds beyond the built-in ones that the helper's cluster serves.
var custom = []selection.Resource{
	{Group: "example.com", Plural: "clusterwidgets", Singular: "clusterwidget", Kind: "ClusterWidget"},
	{Group: "example.com", Plural: "widgets", Singular: "widget", Kind: "Widget", Short: []string{"wd"}, Namespaced: true},
}

func (q question) answer() (selection.Answer, string) {
	s, err := selection.Compile(q.Spec)
	if err != nil {
		return selection.Excluded, err.Error()
	}
	c := selection.Cluster{Namespaces: []selection.Namespace{}, Resources: custom, AllResources: true, Policy: q.policy}
	for _, ns := range q.Namespaces {
		o := selection.ObjectOf(ns)
		c.Namespaces = append(c.Namespaces, selection.Namespace{Name: o.Name, Labels: o.Labels})
	}
	object := selection.ObjectOf(q.Object)
	object.Related = []selection.Object{}
	for _, m := range q.related {
		r := selection.ObjectOf(m)
		r.Related = []selection.Object{}
		if object.Kind == "PersistentVolume" {
			for _, m := range q.Others {
				if m["kind"] == "Pod" {
					pod := selection.ObjectOf(m)
					pod.Related = []selection.Object{}
					r.Related = append(r.Related, pod)
				}
			}
		}
		object.Related = append(object.Related, r)
	}
	return s.In(c).Selects(object)
}

// generator makes questions.
type generator struct{ *rand.Rand }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) some(most int, from ...string) []any {
	var list []any
	for range 1 + g.IntN(most) {
		if item := pick(g, from...); !slices.Contains(list, any(item)) {
			list = append(list, item)
		}
	}
	return list
}

var namespaceNames = []string{"a", "b", "prod", "prod-db", "prod-web", "kube-system", "x1"}

func (g *generator) question() question {
	q := question{Spec: g.spec()}
	for _, name := range namespaceNames[:3+g.IntN(len(namespaceNames)-2)] {
		q.Namespaces = append(q.Namespaces, g.object("v1", "Namespace", "", name))
	}
	in := q.Namespaces[g.IntN(len(q.Namespaces))]["metadata"].(map[string]any)["name"].(string)
	switch g.IntN(12) {
	case 0:
		at := g.IntN(len(q.Namespaces))
		q.Object = q.Namespaces[at]
		name := q.Object["metadata"].(map[string]any)["name"].(string)
		if g.chance(50) {
			q.related = []map[string]any{g.object("v1", "ConfigMap", name, "inside")}
		}
		q.Others = q.related
		// The helper wants the object once.
		others := slices.Delete(slices.Clone(q.Namespaces), at, at+1)
		q.Namespaces = append(others, q.Object)
		q.Object = q.Namespaces[len(q.Namespaces)-1]
	case 1, 2:
		q.Object = g.claim(in)
		if g.chance(60) {
			q.related = []map[string]any{g.pod(in)}
			q.Others = q.related
		}
	case 3:
		q.Object = g.object("v1", "PersistentVolume", "", "volume")
		if g.chance(70) {
			q.related = []map[string]any{g.claim(in)}
			q.Others = q.related
			if g.chance(50) {
				q.Others = append(slices.Clone(q.related), g.pod(in))
			}
		}
	case 4:
		q.Object = g.object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets.example.com")
		if g.chance(60) {
			q.related = []map[string]any{g.object("example.com/v1", "Widget", in, "w")}
			q.Others = q.related
		}
	case 5:
		q.Object = g.pod(in)
		if g.chance(50) {
			q.related = []map[string]any{g.claim(in)}
			q.Others = q.related
		}
	case 6:
		kind := pick(g, [2]string{"rbac.authorization.k8s.io/v1", "ClusterRole"}, [2]string{"storage.k8s.io/v1", "StorageClass"}, [2]string{"v1", "Node"},
			[2]string{"example.com/v1", "ClusterWidget"}, [2]string{"snapshot.storage.k8s.io/v1", "VolumeSnapshotContent"})
		q.Object = g.object(kind[0], kind[1], "", "one")
	default:
		kind := pick(g, [2]string{"v1", "ConfigMap"}, [2]string{"v1", "Secret"}, [2]string{"apps/v1", "Deployment"}, [2]string{"apps/v1", "StatefulSet"},
			[2]string{"batch/v1", "CronJob"}, [2]string{"v1", "Service"}, [2]string{"v1", "Event"}, [2]string{"events.k8s.io/v1", "Event"}, [2]string{"example.com/v1", "Widget"},
			[2]string{"networking.k8s.io/v1", "Ingress"}, [2]string{"snapshot.storage.k8s.io/v1", "VolumeSnapshot"})
		q.Object = g.object(kind[0], kind[1], in, "one")
	}
	// With a resource policy Velero fails a pod whose claim and volume are not there, which is no question of selection.
	if g.chance(15) && q.Object["kind"] != "Pod" {
		g.withPolicy(&q)
	}
	return q
}

func (g *generator) object(apiVersion, kind, namespace, name string) map[string]any {
	meta := map[string]any{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	labels := map[string]any{}
	if g.chance(50) {
		labels["app"] = pick(g, "db", "web")
	}
	if g.chance(50) {
		labels["tier"] = pick(g, "gold", "tin", "")
	}
	if g.chance(6) {
		labels["velero.io/exclude-from-backup"] = pick(g, "true", "true", "false")
	}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	// The helper runs the actions for pods and claims, so only there the annotation is looked at.
	if g.chance(4) && kind != "CustomResourceDefinition" {
		meta["annotations"] = map[string]any{"velero.io/skip-from-backup": "true"}
	}
	if g.chance(4) {
		meta["deletionTimestamp"] = "2026-07-01T00:00:00Z"
	}
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	if kind == "Namespace" {
		o["status"] = map[string]any{"phase": pick(g, "Active", "Active", "Active", "Terminating")}
	}
	return o
}

func (g *generator) claim(namespace string) map[string]any {
	o := g.object("v1", "PersistentVolumeClaim", namespace, "claim")
	o["spec"] = map[string]any{"volumeName": "volume"}
	o["status"] = map[string]any{"phase": "Bound"}
	return o
}

func (g *generator) pod(namespace string) map[string]any {
	o := g.object("v1", "Pod", namespace, "pod")
	o["spec"] = map[string]any{"nodeName": "n", "volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "claim"}}}}
	o["status"] = map[string]any{"phase": "Running"}
	return o
}

func (g *generator) spec() map[string]any {
	s := map[string]any{}
	namespaces := []string{"a", "b", "prod", "prod-db", "prod-*", "*", "?", "p*", "x[0-9]", "x[a-c0]", "kube-system", "gone", "*-web"}
	if g.chance(50) {
		s["includedNamespaces"] = g.some(3, namespaces...)
	}
	if g.chance(12) {
		s["includedNamespaces"] = []any{"*"}
	}
	if g.chance(5) {
		s["includedNamespaces"] = []any{"kube-system", "prod", "b", "a", "prod-db"}
	}
	if g.chance(30) {
		s["excludedNamespaces"] = g.some(2, slices.Concat(namespaces, []string{"**", "Bad_Name", "[a", "n[]"})...)
	}
	names := []string{"pods", "po", "deployments.apps", "Deployment", "deployments", "persistentvolumeclaims", "pvc", "pv", "namespaces", "ns", "secrets", "configmaps", "cm",
		"widgets", "widget", "wd", "widgets.example.com", "wd.example", "clusterwidgets.example.com", "clusterroles.rbac.authorization.k8s.io", "clusterroles", "clusterroles.rbac",
		"customresourcedefinitions", "crd", "storageclasses", "events", "events.events.k8s.io", "nosuchthings", "*.apps", "cluster*", "{pods,secrets}", "[ab]*",
		"volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents", "services", "svc", "ingresses", "\\pods"}
	list := func(key string, percent int, more ...string) {
		if g.chance(percent) {
			s[key] = g.some(4, slices.Concat(names, more)...)
		}
		if g.chance(percent / 6) {
			s[key] = []any{"*"}
		}
	}
	style := g.IntN(100)
	if style < 45 {
		list("includedResources", 55)
		list("excludedResources", 30)
		if g.chance(45) {
			s["includeClusterResources"] = g.chance(60)
		}
	}
	if style >= 43 && style < 85 {
		list("includedClusterScopedResources", 40)
		list("excludedClusterScopedResources", 25)
		list("includedNamespaceScopedResources", 45)
		list("excludedNamespaceScopedResources", 25)
	}
	switch n := g.IntN(100); {
	case n < 30:
		s["labelSelector"] = g.selector()
	case n < 45:
		s["orLabelSelectors"] = []any{g.selector(), g.selector()}
	case n < 46:
		s["labelSelector"], s["orLabelSelectors"] = g.selector(), []any{g.selector()}
	case n < 47:
		s["orLabelSelectors"] = []any{}
	}
	return s
}

func (g *generator) selector() map[string]any {
	s := map[string]any{}
	if g.chance(60) {
		s["matchLabels"] = map[string]any{pick(g, "app", "tier"): pick(g, "db", "web", "gold", "")}
	}
	if g.chance(50) {
		operator := pick(g, "In", "NotIn", "Exists", "DoesNotExist")
		e := map[string]any{"key": pick(g, "app", "tier", "none"), "operator": operator}
		if operator == "In" || operator == "NotIn" {
			e["values"] = g.some(2, "db", "web", "gold", "")
		}
		s["matchExpressions"] = []any{e}
	}
	return s
}

// withPolicy gives the question a resource policy, written as JSON, which is YAML.
func (g *generator) withPolicy(q *question) {
	q.Spec["resourcePolicy"] = map[string]any{"kind": pick(g, "configmap", "ConfigMap"), "name": "policy"}
	p := map[string]any{"version": "v1"}
	names := []string{"pods", "persistentvolumeclaims", "configmaps", "secrets", "deployments", "widgets", "Widget", "clusterroles", "storageclasses", "namespaces", "persistentvolumes"}
	if g.chance(60) {
		in := map[string]any{}
		for _, key := range []string{"includedClusterScopedResources", "excludedClusterScopedResources", "includedNamespaceScopedResources", "excludedNamespaceScopedResources"} {
			if g.chance(40) {
				in[key] = g.some(2, names...)
			}
		}
		p["includeExcludePolicy"] = in
	}
	filter := func(kinds ...any) map[string]any {
		f := map[string]any{"kinds": kinds}
		if g.chance(50) {
			f["labelSelector"] = g.selector()
		}
		if len(kinds) > 0 && kinds[0] != "*" && g.chance(40) {
			f["names"] = g.some(2, "one", "claim", "p*", "volume")
		}
		if len(kinds) > 0 && kinds[0] != "*" && g.chance(20) {
			f["excludedNames"] = g.some(1, "one", "c*")
		}
		return f
	}
	if g.chance(40) {
		p["clusterScopedFilterPolicy"] = map[string]any{"resourceFilters": []any{filter("clusterroles", "storageclasses"), filter("persistentvolumes")}}
	}
	if g.chance(50) {
		filters := []any{filter("configmaps", "widgets"), filter("persistentvolumeclaims")}
		if g.chance(50) {
			filters = append(filters, filter("*"))
		}
		p["namespacedFilterPolicies"] = []any{map[string]any{"namespaces": g.some(2, "a", "prod", "prod*", "*", "x1"), "resourceFilters": filters}}
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("write a policy: %v", err))
	}
	q.Policy = string(text)
	q.policy = map[string]any{}
	if err := json.Unmarshal(text, &q.policy); err != nil {
		panic(fmt.Sprintf("read a policy: %v", err))
	}
}
