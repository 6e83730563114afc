package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

// What is odd about a document may not make it vanish: each of these is told, and none is "no manifest".
func TestOddDocumentsAreTold(t *testing.T) {
	location := `{"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": "a"}}`
	for name, c := range map[string]struct{ file, text, want string }{
		"items is an object":           {"a.yaml", "apiVersion: v1\nkind: List\nitems: {a: " + location + "}\n", "items is no list"},
		"items is text":                {"a.yaml", "apiVersion: v1\nkind: List\nitems: x\n", "items is no list"},
		"Items":                        {"a.yaml", "apiVersion: v1\nkind: List\nItems: [" + location + "]\n", "Items differs only in case from items"},
		"kind: list":                   {"a.yaml", "apiVersion: v1\nkind: list\nitems: [" + location + "]\n", "kind list differs only in case from List"},
		"a List without items":         {"a.yaml", "apiVersion: v1\nkind: List\n", "it has no items"},
		"a bare list of objects":       {"a.json", "[" + location + "]", "a bare list of objects"},
		"only an apiVersion":           {"a.yaml", "apiVersion: velero.io/v1\nmetadata: {name: a}\n", "only one of apiVersion and kind"},
		"only a kind":                  {"a.yaml", "kind: Schedule\nspec: {}\n", "only one of apiVersion and kind"},
		"a broken values.yaml":         {"values.yaml", "a: [\n", "read YAML"},
		"a label that is a list":       {"a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: [y]}}\n", "metadata.labels is no map of texts"},
		"labels that are a list":       {"a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [{x: y}]}\n", "metadata.labels is no map of texts"},
		"Labels":                       {"a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, Labels: {x: y}}\n", "metadata.Labels differs only in case from metadata.labels"},
		"a key twice beside {{":        {"a.yaml", "apiVersion: v1\nkind: Pod\nspec: {a: \"{{ a }}\"}\nspec: {}\n", "is there twice"},
		"a list in another case":       {"a.yaml", "apiVersion: velero.io/v1\nkind: BackupStorageLocationlist\nitems: []\n", "differs only in case"},
		"a truncated manifest with {{": {"a.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations: {note: \"{{ x }}\"}\n  name: a\nspec: {a: [\n", "read YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			told := false
			for sub, err := range (&manifest.Files{Paths: []string{dir}}).Inspect(context.Background()) {
				var u *engine.Unread
				switch {
				case sub != nil:
					t.Errorf("%s is taken for a subject", sub)
				case errors.As(err, &u) && u.Kind == engine.Broken && strings.Contains(err.Error(), c.want):
					told = true
				default:
					t.Errorf("got %v", err)
				}
			}
			if !told {
				t.Errorf("nothing says %q", c.want)
			}
		})
	}
}

// A file that other tools give a meaning by its name is judged by what it holds.
func TestAnObjectInAValuesFileIsJudged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"values.yaml", "kustomization.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for sub := range (&manifest.Files{Paths: []string{dir}}).Inspect(context.Background()) {
		if sub != nil {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d objects are judged, want 2", n)
	}
}

func TestNamespaceOfThoseThatNameNone(t *testing.T) {
	text := "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: a}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: b, namespace: own}\n---\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: c}\n"
	got := ""
	for sub, err := range (&manifest.Files{Paths: []string{"-"}, Stdin: []byte(text), Namespace: "velero"}).Inspect(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		inside, _ := sub.Object["metadata"].(map[string]any)["namespace"].(string)
		got += sub.String() + " " + inside + ";"
	}
	if want := "Schedule velero/a velero;PersistentVolumeClaim own/b own;StorageClass c ;"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is wrong with a snapshot is told although no fact is asked for.
func TestTroubleWithSnapshots(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for file, want := range map[string]string{
		write("good.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"): "",
		write("broken.yaml", "a: [\n"):  "read YAML",
		write("empty.yaml", ""):         "it holds no Kubernetes object",
		write("other.yaml", "a: b\n"):   "it holds no Kubernetes object",
		filepath.Join(dir, "none.yaml"): "no such file",
	} {
		got := ""
		for _, err := range manifest.NewFacts(nil, []string{file}, nil, nil).Trouble(context.Background()) {
			got += err.Error()
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", filepath.Base(file), got, want)
		}
	}
}

// The ways an object in the files could lose to a snapshot, or a snapshot to itself, and pass for something it is not.
func TestFactsOfFilesAndSnapshotsTogether(t *testing.T) {
	list := `{"apiVersion":"v1","kind":"NamespaceList","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"prod","labels":{"class":"personal"}}}]}`
	kinds := map[[2]string]bool{{"", "Namespace"}: true, {"storage.k8s.io", "StorageClass"}: true}
	for name, c := range map[string]struct {
		file, snapshot, second string
		query                  engine.FactQuery
		want                   string
	}{
		"a re-declared object keeps the labels it has": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: prod, labels: {team: a}}\n", list, "",
			engine.FactQuery{Kind: "Namespace", Name: "prod"}, "map[class:personal team:a]"},
		"in a list too": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n", list, "",
			engine.FactQuery{Kind: "Namespace", Names: []string{"pro*"}}, "map[class:personal]"},
		"a cluster-scoped object that writes a namespace": {"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: a, namespace: x, labels: {from: file}}\n",
			"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: a, labels: {also: there}}\n", "",
			engine.FactQuery{Group: "storage.k8s.io", Kind: "StorageClass", Name: "a"}, "map[also:there from:file]"},
		"an escaped kind": {"apiVersion: storage.k8s.io/v1\nkind: \"Storage\\x43lass\"\nmetadata: {name: a, labels: {from: file}}\n", "", "",
			engine.FactQuery{Group: "storage.k8s.io", Kind: "StorageClass", Name: "a"}, "map[from:file]"},
		"an object beside a complete list that lacks it": {"", list, "apiVersion: v1\nkind: Namespace\nmetadata: {name: extra}\n",
			engine.FactQuery{Kind: "Namespace", All: true}, "not in the complete list"},
		"an object that a complete list has otherwise": {"", list, "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n",
			engine.FactQuery{Kind: "Namespace", All: true}, "is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var paths, snapshots []string
			for i, text := range []string{c.file, c.snapshot, c.second} {
				if text == "" {
					continue
				}
				file := filepath.Join(dir, string(rune('a'+i))+".yaml")
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					paths = append(paths, file)
				} else {
					snapshots = append(snapshots, file)
				}
			}
			v, _, err := manifest.NewFacts(paths, snapshots, nil, kinds).Fact(context.Background(), c.query, nil)
			got := fmt.Sprint(err)
			if l, isList := v.([]any); isList && len(l) == 1 {
				v = l[0]
			}
			if m, ok := v.(map[string]any); ok {
				got = fmt.Sprint(m["metadata"].(map[string]any)["labels"])
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
