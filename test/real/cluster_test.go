//go:build unix

package real

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// cluster is a real API server with its etcd; no controller runs, so what a controller would write a suite writes.
type cluster struct {
	kubeconfig string
	kubectlBin string
	etcd       string
}

var startCluster = sync.OnceValues(func() (*cluster, error) { return newCluster("") })

// newCluster starts an API server and its etcd; what it is called tells its logs from those of another.
func newCluster(name string, change ...func(*envtest.APIServer)) (*cluster, error) {
	dir := os.Getenv("PROVISO_TOOLS")
	env := &envtest.Environment{BinaryAssetsDirectory: dir, ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	env.ControlPlane.GetAPIServer().Path = filepath.Join(dir, "kube-apiserver")
	for _, c := range change {
		c(env.ControlPlane.GetAPIServer())
	}
	env.ControlPlane.Etcd = &envtest.Etcd{Path: filepath.Join(dir, "etcd")}
	for server, out := range map[string]func(*os.File){
		"kube-apiserver": func(f *os.File) { env.ControlPlane.GetAPIServer().Out, env.ControlPlane.GetAPIServer().Err = f, f },
		"etcd":           func(f *os.File) { env.ControlPlane.Etcd.Out, env.ControlPlane.Etcd.Err = f, f },
	} {
		f, err := os.Create(filepath.Join(scratch, server+name+".log"))
		if err != nil {
			return nil, err
		}
		out(f)
	}
	if _, err := env.Start(); err != nil {
		return nil, fmt.Errorf("start kube-apiserver and etcd: %w", err)
	}
	atEnd(func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop kube-apiserver and etcd:", err)
		}
	})
	c := &cluster{kubeconfig: filepath.Join(scratch, "kubeconfig"+name), kubectlBin: filepath.Join(dir, "kubectl"), etcd: env.ControlPlane.Etcd.URL.String()}
	return c, os.WriteFile(c.kubeconfig, env.KubeConfig, 0o600)
}

// liveCluster is the one cluster of all suites; each has namespaces of its own there.
func liveCluster(t testing.TB) *cluster {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		tool(t, name)
	}
	c, err := startCluster()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubectl runs kubectl on the cluster and returns what it printed.
func (c *cluster) kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	return run(t, []string{"KUBECONFIG=" + c.kubeconfig}, stdin, c.kubectlBin, args...)
}

// fill makes the objects all backups are made of: namespaces shop and hooks with what they need, bound as controllers would have bound it.
func (c *cluster) fill(t testing.TB) {
	t.Helper()
	c.kubectl(t, "", "apply", "-f", "testdata/crd.yaml")
	c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd/ledgers.books.example.com")
	c.kubectl(t, "", "apply", "-f", "testdata/shop.yaml", "-f", "testdata/hooks.yaml")
	for _, what := range []string{"pv/shop-data", "pvc/data"} {
		c.kubectl(t, "", "patch", "-n", "shop", what, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Bound"}}`)
	}
	c.kubectl(t, "", "patch", "-n", "hooks", "pod/db", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Running"}}`)
}
