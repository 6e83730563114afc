package manifest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

// folder writes files, named by their paths, and returns the folder they lie in.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var kinds = map[engine.UnreadKind]string{engine.Broken: "broken", engine.Hole: "hole", engine.NotManifest: "not a manifest"}

// found is what an inspection yields, as text, with dir cut from places.
func found(t *testing.T, in engine.Inspector, dir string) []string {
	t.Helper()
	var all []string
	for sub, err := range in.Inspect(context.Background()) {
		var line string
		var unread *engine.Unread
		switch {
		case err == nil:
			line = fmt.Sprintf("%s:%d:%d: %s", sub.Origin.File, sub.Origin.Line, sub.Origin.Column, sub)
		case errors.As(err, &unread):
			line = fmt.Sprintf("%v [%s]", unread, kinds[unread.Kind])
		default:
			t.Errorf("not an *engine.Unread: %v", err)
		}
		all = append(all, strings.ReplaceAll(line, dir+"/", ""))
	}
	return all
}

func expect(t *testing.T, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func object(kind, name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n", kind, name)
}

func TestFoldersAreReadInOrder(t *testing.T) {
	dir := folder(t, map[string]string{
		"b.yml":                        object("Pod", "b"),
		"a/z.json":                     `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"z","namespace":"n"}}`,
		"a/y.YAML":                     object("Pod", "y1") + "---\n" + object("Pod", "y2"),
		"notes.txt":                    "not: read",
		".hidden.yaml":                 object("Pod", "hidden"),
		".git/config.yaml":             object("Pod", "git"),
		"empty/README.md":              "x",
		"chart/Chart.yaml":             "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/values.yaml":            "replicas: 1\n",
		"chart/templates/a.yaml":       object("Pod", "{{ .Release.Name }}"),
		"chart/templates/sub/b.yaml":   object("Pod", "plain"),
		"loose.yaml":                   "a: {{ .Values.x }}\n",
		"k/kustomization.yaml":         "resources: [a.yaml]\n",
		"k/other.yaml":                 "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
		"templates/not-a-chart/x.yaml": object("Pod", "x"),
	})
	expect(t, found(t, &manifest.Files{Paths: []string{dir}}, dir), []string{
		"a/y.YAML:1:1: Pod y1",
		"a/y.YAML:5:1: Pod y2",
		"a/z.json:1:1: Pod n/z",
		"b.yml:1:1: Pod b",
		"chart/Chart.yaml:1:1: it is a Helm chart's description [not a manifest]",
		"chart/templates/a.yaml:1: chart template: render it first (helm template . | proviso lint -) [hole]",
		"chart/templates/sub/b.yaml:1: chart template: render it first (helm template . | proviso lint -) [hole]",
		"chart/values.yaml:1:1: it is a Helm chart's values [not a manifest]",
		"k/kustomization.yaml:1:1: it is a kustomization [not a manifest]",
		"k/other.yaml:1:1: it is a kustomization [not a manifest]",
		"loose.yaml:1: chart template: render it first (helm template . | proviso lint -) [hole]",
		"templates/not-a-chart/x.yaml:1:1: Pod x",
	})
	expect(t, found(t, &manifest.Files{Paths: []string{filepath.Join(dir, ".hidden.yaml"), filepath.Join(dir, "missing.yaml"), filepath.Join(dir, "empty"), filepath.Join(dir, "b.yml")}}, dir), []string{
		".hidden.yaml:1:1: Pod hidden",
		"missing.yaml: read: no such file or directory (check the path) [broken]",
		"empty: read folder: it holds no .yaml, .yml or .json file (name another, or name the files) [hole]",
		"b.yml:1:1: Pod b",
	})
}

func TestLinks(t *testing.T) {
	dir := folder(t, map[string]string{"in/a.yaml": object("Pod", "a"), "out/b.yaml": object("Pod", "b")})
	for link, to := range map[string]string{"in/b.yaml": "../out/b.yaml", "in/loop": "..", "in/dead.yaml": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	expect(t, found(t, &manifest.Files{Paths: []string{filepath.Join(dir, "in")}}, dir), []string{
		"in/a.yaml:1:1: Pod a",
		"in/b.yaml:1:1: Pod b",
		"in/dead.yaml: read: no such file or directory (check the path) [broken]",
		"in/loop: read folder: it is a link, and links to folders are not followed (name the folder it leads to) [hole]",
	})
}

func TestUnreadableFilesHideNoOthers(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := folder(t, map[string]string{"a.yaml": object("Pod", "a"), "b.yaml": object("Pod", "b")})
	if err := os.Chmod(filepath.Join(dir, "a.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	expect(t, found(t, &manifest.Files{Paths: []string{dir}}, dir), []string{"a.yaml: read: permission denied [broken]", "b.yaml:1:1: Pod b"})
}

func TestDocumentsThatAreNoObjects(t *testing.T) {
	for raw, want := range map[string]string{
		"a: 1\n":                        "in:1:1: it has no apiVersion and kind [not a manifest]",
		"- a\n":                         "in:1:1: it is no object [not a manifest]",
		"kind: Pod\n":                   "in:1:1: it has no apiVersion and kind [not a manifest]",
		"apiVersion: 1\nkind: Pod\n":    "in:1:13: read object: apiVersion is no text (quote it) [broken]",
		"apiVersion: v1\nkind: [Pod]\n": "in:2:1: read object: kind is no text (quote it) [broken]",
		"apiVersion: v1\nkind:\n":       "in:2:1: read object: kind is no text (quote it) [broken]",
		"apiVersion: v1\nKind: Pod\n":   "in:2:1: read object: Kind differs only in case from kind: write kind [broken]",
		object("Pod", "5"):              "in:3:18: read object: metadata.name is no text (quote it) [broken]",
		"apiVersion: v1\nkind: Pod\nmetadata: [x]\n":           "in:3:1: read object: metadata is no object [broken]",
		"apiVersion: v1\nkind: Pod\nmetadata:\n  Name: x\n":    "in:4:3: read object: metadata.Name differs only in case from metadata.name: write metadata.name [broken]",
		"apiVersion: v1\nkind: Pod\nspec:\n  a: 1\n  a: 2\n":   `in:5:3: read YAML: key "a" is there twice, first at 4:3 (remove one) [broken]`,
		"apiVersion: v1\nkind: List\nitems: []\n":              "in:1:1: it is an empty List [not a manifest]",
		"apiVersion: v1\nkind: PodList\nitems:\n":              "in:1:1: it is an empty PodList [not a manifest]",
		"apiVersion: v1\nkind: List\nitems:\n- metadata: {}\n": "in:4:3: read list: an element has no apiVersion or kind (add both) [broken]",
		"apiVersion: v1\nkind: PodList\nitems:\n- 5\n":         "in:4:3: read list: an element is no object [broken]",
	} {
		in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte(raw), StdinName: "in"}
		expect(t, found(t, in, ""), []string{want})
	}
}

func TestListsAreUnpacked(t *testing.T) {
	raw := `apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: a
- apiVersion: velero.io/v1
  kind: BackupList
  items:
  - metadata: {name: b, namespace: velero}
    spec:
      ttl: 24h
`
	var subs []*engine.Subject
	for sub, err := range (&manifest.Files{Paths: []string{"-"}, Stdin: []byte(raw), Operation: engine.Create}).Inspect(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	if len(subs) != 2 || subs[0].String() != "Pod a" || subs[1].String() != "Backup velero/b" || subs[1].APIVersion != "velero.io/v1" || subs[1].Operation != engine.Create {
		t.Fatalf("found %v", subs)
	}
	o := subs[1].Origin
	if got, want := o.Place("spec.ttl"), (engine.Position{File: "stdin", Line: 14, Column: 12}); got != want {
		t.Errorf("spec.ttl is at %v, want %v", got, want)
	}
	if got, want := o.Place("spec.missing[*].x"), (engine.Position{File: "stdin", Line: 13, Column: 5}); got != want {
		t.Errorf("what is missing is at %v, want %v", got, want)
	}
	if got, want := o.Position, (engine.Position{File: "stdin", Line: 12, Column: 5}); got != want {
		t.Errorf("the element is at %v, want %v", got, want)
	}
	if subs[1].Object["kind"] != "Backup" {
		t.Errorf("the element's kind is %v", subs[1].Object["kind"])
	}
	// A kind of its own that ends in List but has no items is an object.
	in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte("apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}\n")}
	expect(t, found(t, in, ""), []string{"stdin:1:1: AllowList a"})
}

func TestOriginSaysWhereASubjectIsFrom(t *testing.T) {
	doc := "# Source: chart/templates/x.yaml\napiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    \"a.b/c\": d\n"
	in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte("---\n" + doc + "---\n" + object("Pod", "y"))}
	for sub, err := range in.Inspect(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		o := sub.Origin
		sum := sha256.Sum256([]byte(doc))
		if o.Template != "chart/templates/x.yaml" || o.Source != "-" || o.File != "stdin" || o.Digest != engine.Digest("sha256:"+hex.EncodeToString(sum[:])) {
			t.Errorf("origin %+v", o)
		}
		if got, want := o.Place(`metadata.labels["a.b/c"]`), (engine.Position{File: "stdin", Line: 8, Column: 14}); got != want {
			t.Errorf("the label is at %v, want %v", got, want)
		}
		if got := o.Lines(8, 20); !reflect.DeepEqual(got, []string{"    \"a.b/c\": d"}) {
			t.Errorf("lines %q", got)
		}
		break
	}
}

func TestMisspeltDocumentsAreNotJudged(t *testing.T) {
	in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte("apiVersion: v1\nkind: Pod\nspec:\n  Provider: aws\n"), Misspelt: func(s *engine.Subject) []engine.Misspelling {
		path, _ := engine.ParsePath("spec.provider")
		return engine.Misspellings(s.Object, []engine.Path{path})
	}}
	expect(t, found(t, in, ""), []string{"stdin:4:3: read object: spec.Provider differs only in case from spec.provider: write spec.provider [broken]"})
}

func TestInspectionEndsWhenToldTo(t *testing.T) {
	in := &manifest.Files{Paths: []string{"-"}, Stdin: []byte(strings.Repeat(object("Pod", "x")+"---\n", 1000))}
	n := 0
	for range in.Inspect(t.Context()) {
		if n++; n == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range in.Inspect(ctx) {
		cancel()
		last = err
	}
	var unread *engine.Unread
	if !errors.As(last, &unread) || unread.Kind != engine.Hole || !errors.Is(last, context.Canceled) {
		t.Errorf("a stopped inspection ends with %v", last)
	}
}

func TestReadStdin(t *testing.T) {
	got, err := manifest.ReadStdin(strings.NewReader("a: 1"))
	if err != nil || string(got) != "a: 1" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := manifest.ReadStdin(zeros{}); err == nil || !strings.Contains(err.Error(), "longer than 256 MiB") {
		t.Errorf("an endless stdin: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
