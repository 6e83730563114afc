package manifest_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

const namespaceList = `{"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[
 {"metadata":{"name":"a","labels":{"tier":"gold"}}},
 {"metadata":{"name":"orders","labels":{"tier":"tin"}}},
 {"metadata":{"name":"orders-2","labels":{"tier":"gold"}}}]}`

func TestFacts(t *testing.T) {
	dir := folder(t, map[string]string{
		"files/ns.yaml":     object("Namespace", "orders") + "---\n" + object("Namespace", "twice") + "---\n" + object("Namespace", "same"),
		"files/two.yaml":    object("Namespace", "same") + "---\n" + object("Namespace", "twice") + "spec: {x: 1}\n",
		"files/class.yaml":  "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\n---\napiVersion: other.io/v1\nkind: StorageClass\nmetadata: {name: alien}\n",
		"files/secret.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: n1}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: n2}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d, namespace: n1}\n",
		"files/broken.yaml": "kind: PersistentVolume\n a: b\n",
		"files/chart.yaml":  "x: {{ .Release.Namespace }}\n",
		"complete.json":     namespaceList,
		"paged.json":        strings.Replace(namespaceList, `"5"`, `"5","continue":"x"`, 1),
		"counted.json":      strings.Replace(namespaceList, `"5"`, `"5","remainingItemCount":9`, 1),
		"printed.json":      strings.Replace(namespaceList, `"5"`, `""`, 1),
		"namespaced.json":   strings.Replace(namespaceList, `"name":"a"`, `"name":"a","namespace":"x"`, 1),
		"empty.json":        `{"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[]}`,
		"bad.json":          `{"kind":"NamespaceList"`,
		"single.yaml":       object("Namespace", "snap"),
	})
	wanted := map[[2]string]bool{{"", "Namespace"}: true, {"storage.k8s.io", "StorageClass"}: true, {"", "ConfigMap"}: true, {"", "PersistentVolume"}: true}
	ns := func(q engine.FactQuery) engine.FactQuery { q.Kind = "Namespace"; return q }
	for name, c := range map[string]struct {
		snapshot string
		q        engine.FactQuery
		want     string
	}{
		"by name":                                      {"", ns(engine.FactQuery{Name: "orders"}), "found orders"},
		"namespace is ignored":                         {"", ns(engine.FactQuery{Name: "orders", Namespace: "x"}), "found orders"},
		"a folder proves no absence":                   {"", ns(engine.FactQuery{Name: "no"}), `unknown: no Namespace "no" in these files: add it, or give a snapshot with --facts`},
		"twice, different":                             {"", ns(engine.FactQuery{Name: "twice"}), `unknown: Namespace "twice" is there twice: files/ns.yaml:5 and files/two.yaml:5 (keep one, or judge each cluster's files on their own)`},
		"twice, the same":                              {"", ns(engine.FactQuery{Name: "same"}), "found same"},
		"several names":                                {"", ns(engine.FactQuery{Names: []string{"same", "orders", "same"}}), "found same orders"},
		"one of several missing":                       {"", ns(engine.FactQuery{Names: []string{"same", "no"}}), `unknown: no Namespace "no" in these files: add it, or give a snapshot with --facts`},
		"a pattern wants a listing":                    {"", ns(engine.FactQuery{Names: []string{"*"}}), "unknown: files do not tell every Namespace named *: give a complete NamespaceList of a cluster with --facts (kubectl get --raw /api/v1/namespaces prints one)"},
		"all want a listing":                           {"", ns(engine.FactQuery{All: true}), "unknown: files do not tell every Namespace: give a complete NamespaceList of a cluster with --facts (kubectl get --raw /api/v1/namespaces prints one)"},
		"the group counts":                             {"", engine.FactQuery{Group: "storage.k8s.io", Kind: "StorageClass", Name: "alien"}, `unknown: no StorageClass "alien" in these files: add it, or give a snapshot with --facts`},
		"in a namespace":                               {"", engine.FactQuery{Kind: "ConfigMap", Name: "c", Namespace: "n2"}, "found c"},
		"in another namespace":                         {"", engine.FactQuery{Kind: "ConfigMap", Name: "d", Namespace: "n2"}, `unknown: no ConfigMap "n2/d" in these files: add it, or give a snapshot with --facts`},
		"in any namespace":                             {"", engine.FactQuery{Kind: "ConfigMap", Name: "d"}, "found d"},
		"in several namespaces":                        {"", engine.FactQuery{Kind: "ConfigMap", Name: "c"}, `unknown: ConfigMap "c" is there twice: files/secret.yaml:1 and files/secret.yaml:5 (keep one, or judge each cluster's files on their own)`},
		"a broken document":                            {"", engine.FactQuery{Kind: "PersistentVolume", Name: "x"}, "unknown: a document that may hold one cannot be read: files/broken.yaml:2:3: read YAML: "},
		"a kind nobody declared":                       {"", engine.FactQuery{Kind: "Node", Name: "x"}, "unknown: no policy declared that it asks for Node"},
		"absence is proved":                            {"complete.json", ns(engine.FactQuery{Name: "no"}), "absent"},
		"a file counts before":                         {"complete.json", ns(engine.FactQuery{Name: "same"}), "found same"},
		"only in the listing":                          {"complete.json", ns(engine.FactQuery{Name: "orders-2"}), "found orders-2"},
		"all of the listing":                           {"complete.json", ns(engine.FactQuery{All: true}), `unknown: Namespace "twice" is there twice: files/ns.yaml:5 and files/two.yaml:5 (keep one, or judge each cluster's files on their own)`},
		"a pattern finds what is about to be deployed": {"complete.json", ns(engine.FactQuery{Names: []string{"sam*"}}), "found same"},
		"labels":                      {"complete.json", ns(engine.FactQuery{Labels: map[string]string{"tier": "gold"}}), "found a orders-2"},
		"labels nothing has":          {"complete.json", ns(engine.FactQuery{Labels: map[string]string{"tier": "none"}}), "found"},
		"patterns":                    {"complete.json", ns(engine.FactQuery{Names: []string{"orders*", "zzz"}}), "found orders orders-2"},
		"names, one proved absent":    {"complete.json", ns(engine.FactQuery{Names: []string{"orders", "no"}}), "found orders"},
		"a page proves nothing":       {"paged.json", ns(engine.FactQuery{Name: "no"}), `unknown: no Namespace "no"`},
		"a counted page neither":      {"counted.json", ns(engine.FactQuery{All: true}), "unknown: files do not tell"},
		"nor what kubectl get prints": {"printed.json", ns(engine.FactQuery{All: true}), "unknown: files do not tell"},
		"nor a namespaced list":       {"namespaced.json", ns(engine.FactQuery{All: true}), "unknown: files do not tell"},
		"nor an empty one":            {"empty.json", ns(engine.FactQuery{Name: "no"}), `unknown: no Namespace "no"`},
		"a page holds what it holds":  {"paged.json", ns(engine.FactQuery{Name: "orders-2"}), "found orders-2"},
		"a broken snapshot":           {"bad.json", ns(engine.FactQuery{Name: "orders"}), "unknown: a document that may hold one cannot be read: bad.json:1:24: read JSON: the text ends here"},
		"a missing snapshot":          {"gone.json", ns(engine.FactQuery{Name: "orders"}), "unknown: a document that may hold one cannot be read: gone.json: read: no such file or directory (check the path)"},
		"a single object":             {"single.yaml", ns(engine.FactQuery{Name: "snap"}), "found snap"},
	} {
		var snapshots []string
		if c.snapshot != "" {
			snapshots = []string{filepath.Join(dir, c.snapshot)}
		}
		facts := manifest.NewFacts([]string{filepath.Join(dir, "files")}, snapshots, nil, wanted)
		got := strings.ReplaceAll(answer(t, facts, c.q), dir+"/", "")
		if got != c.want && !(strings.HasPrefix(c.want, "unknown: ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

func answer(t *testing.T, facts *manifest.Facts, q engine.FactQuery) string {
	t.Helper()
	v, state, err := facts.Fact(t.Context(), q, nil)
	if (state == engine.FactUnknown) != (err != nil) || (state == engine.FactFound) != (v != nil) {
		t.Errorf("state %d goes with %v and %v", state, v, err)
	}
	name := func(v any) string {
		return " " + v.(map[string]any)["metadata"].(map[string]any)["name"].(string)
	}
	switch state {
	case engine.FactUnknown:
		return "unknown: " + err.Error()
	case engine.FactAbsent:
		return "absent"
	}
	list, isList := v.([]any)
	if !isList {
		return "found" + name(v)
	}
	text := "found"
	for _, e := range list {
		text += name(e)
	}
	return text
}

func TestFactsAreReadOnceByMany(t *testing.T) {
	facts := manifest.NewFacts([]string{"-"}, nil, []byte(object("Namespace", "a")), map[[2]string]bool{{"", "Namespace"}: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := answer(t, facts, engine.FactQuery{Kind: "Namespace", Name: "a"}); got != "found a" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
}

func TestTwoListingsOfOneKind(t *testing.T) {
	dir := folder(t, map[string]string{"a.json": namespaceList, "b.json": strings.Replace(namespaceList, `"5"`, `"6"`, 1)})
	facts := manifest.NewFacts(nil, []string{dir}, nil, map[[2]string]bool{{"", "Namespace"}: true})
	want := fmt.Sprintf("unknown: two snapshots list it: %s/a.json:1 and %s/b.json:1 (give one)", dir, dir)
	if got := answer(t, facts, engine.FactQuery{Kind: "Namespace", All: true}); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
