//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"proviso.dev/proviso/evidence"
)

// apiServer is one that holds a schedule; without a uid nobody may ask which cluster it is. It counts who does.
func apiServer(t *testing.T, uid string, asked *atomic.Int32) (address string) {
	t.Helper()
	answers := map[string]string{
		"/api": `{"kind":"APIGroupDiscoveryList","items":[]}`,
		"/apis": `{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"velero.io"},"versions":[{"version":"v1","freshness":"Current","resources":[
			{"resource":"schedules","responseKind":{"kind":"Schedule"},"scope":"Namespaced","verbs":["get","list"]}]}]}]}`,
		"/apis/velero.io/v1/schedules": `{"apiVersion":"velero.io/v1","kind":"ScheduleList","metadata":{"resourceVersion":"1"},"items":[
			{"metadata":{"namespace":"velero","name":"nightly"},"spec":{"schedule":"0 1 * * *","template":{}}}]}`,
		"/api/v1/namespaces/kube-system": `{"metadata":{"name":"kube-system","uid":"` + uid + `"}}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if strings.HasSuffix(r.URL.Path, "/kube-system") {
			asked.Add(1)
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","reason":"NotFound","message":"no such thing"}`)
		case uid == "" && strings.HasSuffix(r.URL.Path, "/kube-system"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","reason":"Forbidden","message":"you may not"}`)
		default:
			_, _ = io.WriteString(w, answer)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The evidence of a scan says which cluster it is of: all of it where nothing else was scanned, and else each record.
func TestScanSaysWhichCluster(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	kubeconfig := "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n"
	for name, address := range map[string]string{"a": apiServer(t, "uid-a", new(atomic.Int32)), "b": apiServer(t, "uid-b", new(atomic.Int32)), "closed": apiServer(t, "", new(atomic.Int32))} {
		kubeconfig += fmt.Sprintf("- {name: %s, cluster: {server: %q}}\n", name, address)
	}
	kubeconfig += "contexts:\n"
	for _, name := range []string{"a", "b", "closed"} {
		kubeconfig += fmt.Sprintf("- {name: %s, context: {cluster: %s}}\n", name, name)
	}
	put(t, "kubeconfig", kubeconfig)
	put(t, "proviso.yaml", "apiVersion: proviso.dev/v1alpha1\nkind: Profile\nclusters:\n- {source: \"cluster:a\", name: Alpha, region: eu-central-1}\n- {source: closed, name: Closed}\n")
	put(t, "own.yaml", "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: own, namespace: velero}\nspec: {schedule: 0 1 * * *, template: {}}\n")
	t.Setenv("KUBECONFIG", "kubeconfig")
	a, b := evidence.Cluster{UID: "uid-a", Name: "Alpha", Region: "eu-central-1"}, evidence.Cluster{UID: "uid-b"}
	for name, tt := range map[string]struct {
		sources []string
		// run is what the records of the run itself and the seal say, all what any record says.
		run     *evidence.Cluster
		all     []evidence.Cluster
		warning string
	}{
		"one":         {[]string{"cluster:"}, &a, []evidence.Cluster{a}, ""},
		"two":         {[]string{"cluster:a", "cluster:b"}, nil, []evidence.Cluster{a, b}, ""},
		"and a file":  {[]string{"cluster:b", "own.yaml"}, nil, []evidence.Cluster{b}, ""},
		"not allowed": {[]string{"cluster:closed"}, &evidence.Cluster{Name: "Closed"}, []evidence.Cluster{{Name: "Closed"}}, `proviso: warning: cluster:closed: the evidence will not say which cluster it is: get namespace kube-system: refused: 403 you may not (the rule `},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "evidence")
			var errs bytes.Buffer
			if code := run(t.Context(), append([]string{"scan", "-q", "--evidence", dir}, tt.sources...), streams{strings.NewReader(""), io.Discard, &errs}); code == exitTrouble {
				t.Fatalf("scan: %s", errs.String())
			}
			if warned := strings.Contains(errs.String(), "warning"); warned != (tt.warning != "") || !strings.Contains(errs.String(), tt.warning) {
				t.Errorf("it says %s, want %q", errs.String(), tt.warning)
			}
			v, err := evidence.Verify(os.DirFS(dir), evidence.Options{})
			if err != nil || len(v.Problems) > 0 {
				t.Fatal(err, v.Problems)
			}
			if !slices.Equal(v.Clusters, tt.all) {
				t.Errorf("the records say %v, want %v", v.Clusters, tt.all)
			}
			same := func(what string, got *evidence.Cluster) {
				if (got == nil) != (tt.run == nil) || got != nil && *got != *tt.run {
					t.Errorf("%s says %v, want %v", what, got, tt.run)
				}
			}
			folder, err := evidence.OpenFolder(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			for rec, err := range folder.Records() {
				switch d := rec.Decision; {
				case err != nil:
					t.Fatal(err)
				case rec.Open != nil:
					same("the Open", rec.Cluster)
				case d != nil && d.Subject.Source == "own.yaml" && rec.Cluster != nil:
					t.Errorf("a file is said to be of %v", rec.Cluster)
				}
			}
			raw, err := os.ReadFile(filepath.Join(dir, evidence.SealDir(1), evidence.SealStatement))
			if err != nil {
				t.Fatal(err)
			}
			seal := evidence.Seal{}
			payload, err := evidence.OpenBundle(raw, keyIn(t, dir))
			if err == nil {
				err = evidence.Decode(payload, &evidence.Statement{Predicate: &seal})
			}
			if err != nil {
				t.Fatal(err)
			}
			same("the seal", seal.Cluster)
		})
	}
}

// keyIn is the key that a folder names.
func keyIn(t *testing.T, dir string) *evidence.Key {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, evidence.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	key, err := evidence.ParseKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
