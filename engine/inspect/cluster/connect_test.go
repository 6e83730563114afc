package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbac "k8s.io/api/rbac/v1"
)

func TestRights(t *testing.T) {
	got := Rights([][2]string{{"", "Pod"}, {"velero.io", "BackupRepository"}, {"", "Namespace"}, {ArtifactGroup, "Bucket"}, {"*", "*"}}, map[[2]string]bool{{"", "Namespace"}: true, {"x", "Y"}: false})
	want := []rbac.PolicyRule{
		{Verbs: []string{"list"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"namespaces"}},
		{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}},
		{Verbs: []string{"list"}, APIGroups: []string{"velero.io"}, Resources: []string{"backuprepositories"}},
	}
	slices.SortFunc(want, func(a, b rbac.PolicyRule) int {
		return slices.Compare(append(a.APIGroups, a.Verbs...), append(b.APIGroups, b.Verbs...))
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rights are %v, want %v", got, want)
	}
}

func TestConnect(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	t.Setenv("KUBECONFIG", config)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := Connect(""); err == nil || !strings.Contains(err.Error(), "no kubeconfig") {
		t.Errorf("without a kubeconfig: %v", err)
	}
	if err := Named(""); err == nil || !strings.Contains(err.Error(), config+": name one by KUBECONFIG") {
		t.Errorf("without a kubeconfig: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	if err := Named(""); err != nil {
		t.Errorf("in a pod: %v", err)
	}
	if Named("prod") == nil {
		t.Error("in a pod without a kubeconfig there is a context")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	f := newFake(t)
	f.add(podsPath, named("default", "a"))
	os.WriteFile(config, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: prod,
clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {token: t0ken}}],
contexts: [{name: prod, context: {cluster: c, user: u}}, {name: lost, context: {cluster: none, user: u}}]}`, f.URL), 0o600)
	s, err := Connect("")
	if err != nil || s.Name != "prod" {
		t.Fatal(s, err)
	}
	s.Kinds = [][2]string{pods}
	for sub, err := range s.Inspect(context.Background()) {
		if err != nil || sub.Origin.Source != "cluster:prod" {
			t.Error(sub, err)
		}
	}
	for name, want := range map[string]string{"dev": `no context "dev": name one of lost, prod`, "lost": "lost"} {
		if _, err := Connect(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("context %s: %v", name, err)
		}
	}
	os.WriteFile(config, []byte("{"), 0o600)
	if _, err := Connect(""); err == nil || !strings.Contains(err.Error(), "read kubeconfig") {
		t.Errorf("broken kubeconfig: %v", err)
	}
}
