//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// What is or may be of another cluster is not recorded into the folder of one, beside whatever else it is scanned.
func TestScanOfAnotherCluster(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	kubeconfig := "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n"
	for name, uid := range map[string]string{"a": "uid-a", "b": "uid-b", "closed": "", "named": ""} {
		kubeconfig += fmt.Sprintf("- {name: %s, cluster: {server: %q}}\n", name, apiServer(t, uid, new(atomic.Int32)))
	}
	kubeconfig += "contexts:\n"
	for _, name := range []string{"a", "b", "closed", "named"} {
		kubeconfig += fmt.Sprintf("- {name: %s, context: {cluster: %s}}\n", name, name)
	}
	put(t, "kubeconfig", kubeconfig)
	put(t, "proviso.yaml", "apiVersion: proviso.dev/v1alpha1\nkind: Profile\nclusters:\n- {source: named, name: Named}\n")
	put(t, "own.yaml", "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: own, namespace: velero}\nspec: {schedule: 0 1 * * *, template: {}}\n")
	t.Setenv("KUBECONFIG", "kubeconfig")
	scan := func(dir string, sources ...string) (int, string) {
		var errs bytes.Buffer
		code := run(t.Context(), append([]string{"scan", "-q", "--evidence", dir}, sources...), streams{strings.NewReader(""), io.Discard, &errs})
		return code, errs.String()
	}
	of, several := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "several")
	if code, said := scan(of, "cluster:a"); code == exitTrouble {
		t.Fatal(said)
	}
	other, unknown := "with UID uid-a, and this is the one with UID uid-b: name a folder of its own", "with UID uid-a, and it cannot be established that this one is"
	for _, tt := range []struct{ sources, want string }{
		{"cluster:b", other}, {"cluster:b own.yaml", other}, {"cluster:a cluster:b", other}, {"cluster:closed", unknown}, {"cluster:closed own.yaml", unknown},
		{"cluster:named", unknown}, {"cluster:a cluster:named", unknown}, {"cluster:a", ""}, {"cluster:a own.yaml", ""}, {"own.yaml", ""},
	} {
		_, before := kept(t, of)
		code, said := scan(of, strings.Fields(tt.sources)...)
		if _, after := kept(t, of); (code == exitTrouble) != (tt.want != "") || (len(after) == len(before)) != (tt.want != "") || !strings.Contains(said, tt.want) {
			t.Errorf("%s: exit code %d, %d records more, want %q: %s", tt.sources, code, len(after)-len(before), tt.want, said)
		}
	}
	for _, sources := range []string{"cluster:a cluster:b", "cluster:a cluster:b own.yaml", "cluster:closed"} {
		if code, said := scan(several, strings.Fields(sources)...); code == exitTrouble {
			t.Errorf("a folder of several: %s: %s", sources, said)
		}
	}
	var out bytes.Buffer
	_ = run(t.Context(), []string{"evidence", "verify", several}, streams{strings.NewReader(""), &out, io.Discard})
	if want := "cluster   not established for 1 run of 3\n"; !strings.Contains(out.String(), want) {
		t.Errorf("verify says %s, want %q", &out, want)
	}
}
