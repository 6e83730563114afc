//go:build unix

package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// A scan is not held against one of another cluster, though both were called by one name; whether it is another is asked once.
func TestSinceIsOfTheSameCluster(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	asked := new(atomic.Int32)
	for file, uid := range map[string]string{"a": "uid-a", "b": "uid-b", "closed": ""} {
		put(t, file, fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: one, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: one, context: {cluster: c}}]}", apiServer(t, uid, asked)))
	}
	put(t, "own.yaml", "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: own, namespace: velero}\nspec: {schedule: 0 1 * * *, template: {}}\n")
	scan := func(kubeconfig string, args ...string) (code int, out, errs string) {
		t.Helper()
		t.Setenv("KUBECONFIG", kubeconfig)
		var to, told bytes.Buffer
		code = run(t.Context(), append([]string{"scan", "-q"}, args...), streams{strings.NewReader(""), &to, &told})
		return code, to.String(), told.String()
	}
	for _, of := range []string{"a", "closed"} {
		if code, _, errs := scan(of, "cluster:one", "--evidence", "of-"+of); code == exitTrouble {
			t.Fatal(errs)
		}
	}
	if code, _, errs := scan("a", "own.yaml", "--evidence", "of-own"); code == exitTrouble {
		t.Fatal(errs)
	}
	const unchecked = "whether cluster:one is the cluster that it was could not be checked: "
	for name, tt := range map[string]struct {
		now  string
		args []string
		// refused is whether it is held against nothing; asked is how often the cluster is asked which it is.
		refused bool
		says    string
		asked   int32
	}{
		"the same":                      {"a", []string{"cluster:one", "--since", "of-a"}, false, "", 1},
		"the same, the current context": {"a", []string{"cluster:", "--since", "of-a"}, false, "", 1},
		"another":                       {"b", []string{"cluster:one", "--since", "of-a"}, true, "cluster:one is another cluster than it was: uid-b now, and uid-a in the scan of ", 1},
		"another, the current context":  {"b", []string{"cluster:", "--since", "of-a"}, true, "cluster:one is another cluster than it was: ", 1},
		"another, and it is recorded":   {"b", []string{"cluster:one", "--since", "of-a", "--evidence", "of-b"}, true, "cluster:one is another cluster than it was: ", 1},
		"another, whatever is forgiven": {"b", []string{"cluster:one", "--since", "of-a", "--fail-on", "never", "--allow-unknown"}, true, "cluster:one is another cluster than it was: ", 1},
		"it does not say now":           {"closed", []string{"cluster:one", "--since", "of-a"}, false, unchecked + "get namespace kube-system: refused", 1},
		"it did not say then":           {"a", []string{"cluster:one", "--since", "of-closed"}, false, unchecked + "the earlier scan did not know which it was", 1},
		"it was not looked at":          {"b", []string{"cluster:one", "--since", "of-own"}, false, "", 0},
		"it is not looked at":           {"b", []string{"own.yaml", "--since", "of-a"}, false, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked.Load()
			code, out, errs := scan(tt.now, tt.args...)
			if (code == exitTrouble) != tt.refused || strings.Contains(out, "since the scan of") == tt.refused {
				t.Errorf("exit code %d, refused should be %v: %s%s", code, tt.refused, out, errs)
			}
			if !strings.Contains(errs, tt.says) || tt.says == "" && strings.Contains(errs, "another cluster") || tt.says == "" && strings.Contains(errs, unchecked) {
				t.Errorf("it says %q, want %q", errs, tt.says)
			}
			if n := asked.Load() - before; n != tt.asked {
				t.Errorf("the cluster was asked %d times which it is, want %d", n, tt.asked)
			}
		})
	}
}
