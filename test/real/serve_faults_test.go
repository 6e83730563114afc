//go:build unix

package real

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

var startFaulted = sync.OnceValues(func() (*cluster, error) { return newCluster("-faults") })

var theFaulted struct {
	sync.Once
	g *guarded
}

// faulted is a cluster whose API server may be hurt, with a good location and one abroad. Each suite has a webhook
// configuration of its own there.
func faulted(t testing.TB) *guarded {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl", "velero"} {
		tool(t, name)
	}
	c, err := startFaulted()
	if err != nil {
		t.Fatal(err)
	}
	theFaulted.Do(func() {
		g := &guarded{cluster: c, profile: filepath.Join(scratch, "faulted.yaml")}
		g.writeProfile(t, guardProfile)
		c.kubectl(t, run(t, []string{"KUBECONFIG=" + c.kubeconfig}, "", tool(t, "velero"), "install", "--crds-only", "--dry-run", "-o", "json"), "apply", "--server-side", "-f", "-")
		g.hang(t, "faults", "1", nil, "CustomResourceDefinition", "Namespace")
		c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
		c.kubectl(t, "", "create", "namespace", "velero")
		c.kubectl(t, bsl("home", "eu-central-1", "")+bsl("abroad", "us-east-1", ""), "apply", "-f", "-")
		theFaulted.g = g
	})
	if theFaulted.g == nil {
		t.Fatal("prepare the cluster: it failed in the suite that came first")
	}
	return theFaulted.g
}

// hang applies what serve --print-config prints of these kinds; a webhook configuration calls a port of this machine, and
// goes when the suite ends.
func (g *guarded) hang(t testing.TB, name, port string, flags []string, kinds ...string) {
	t.Helper()
	code, manifests, stderr := proviso(t, []string{"KUBECONFIG=" + g.kubeconfig}, append([]string{"serve", "--print-config", "--name", name, "--profile", g.profile}, flags...)...)
	if code != 0 {
		t.Fatalf("print-config: exit %d: %s", code, stderr)
	}
	var all strings.Builder
	for _, text := range strings.Split(manifests, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			switch {
			case o["kind"] != kind:
			case kind == "ValidatingWebhookConfiguration":
				t.Cleanup(func() { g.drop(t, "validatingwebhookconfiguration", name) })
				g.point(t, o, port)
			default:
				all.WriteString(text + "\n---\n")
			}
		}
	}
	g.kubectl(t, all.String(), "apply", "-f", "-")
}

// drop deletes an object when a suite has ended, and its context with it.
func (c *cluster) drop(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(c.kubectlBin, append([]string{"delete", "--ignore-not-found"}, args...)...)
	cmd.Env = []string{"KUBECONFIG=" + c.kubeconfig, "HOME=" + scratch}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("kubectl delete %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// own applies what replicas of this name stand on.
func (g *guarded) own(t testing.TB, name, port string) {
	t.Helper()
	g.hang(t, name, port, nil, "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret", "ValidatingWebhookConfiguration")
	g.account = g.as(t, name)
}

// pair is two replicas behind a balancer that the API server calls.
func (g *guarded) pair(t testing.TB, name string, lag time.Duration, flags ...string) ([]*replica, *balancer) {
	t.Helper()
	b := balance(t, lag)
	g.own(t, name, b.port())
	var both []*replica
	for _, n := range []string{"a", "b"} {
		r := g.serve(t, name+"-"+n, port(t), append(flags, "--name", name)...)
		t.Cleanup(func() { b.end(r.port, syscall.SIGKILL) })
		b.put(r)
		both = append(both, r)
	}
	until(t, 30*time.Second, "the API server to ask", func(context.Context) error {
		if denied, err := g.through(t)(0, true); !denied {
			return fmt.Errorf("not denied: %w", err)
		}
		return nil
	})
	return both, b
}

func port(t testing.TB) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	return port
}

// end sends a signal to the replica on a port and waits until it has ended.
func (b *balancer) end(port string, signal syscall.Signal) {
	b.mu.Lock()
	r := b.replicas[port]
	b.mu.Unlock()
	_ = r.process.Signal(signal) // it may have ended
	<-r.done
}

// One of two replicas is killed again and again: nothing wrong is let in, and no call fails but those it was answering.
func TestRealServeReplicaKilled(t *testing.T) {
	g := faulted(t)
	both, b := g.pair(t, "killed", 0)
	l := under(t, 30, g.through(t))
	type dying struct{ from, to time.Time }
	var kills []dying
	for i := range 10 {
		r := both[i%2]
		kill := dying{from: time.Now()}
		b.end(r.port, syscall.SIGKILL)
		// A connection whose end the API server has not heard of yet is in flight too.
		kill.to = time.Now().Add(50 * time.Millisecond)
		kills = append(kills, kill)
		b.put(g.serve(t, fmt.Sprintf("%s-%d", r.name, i), r.port, "--name", "killed"))
		time.Sleep(time.Until(kill.from.Add(2 * time.Second))) // the spacing of the faults, not a wait for anything
	}
	t.Logf("%d kills in %v", len(kills), time.Since(kills[0].from).Round(time.Second))
	l.check(t, func(c call) bool {
		for _, kill := range kills {
			if c.begin.Before(kill.to) && c.end.After(kill.from) {
				return true
			}
		}
		return false
	})
}

// Twenty rolling restarts: not one call is lost, and nobody touches the webhook configuration.
func TestRealServeRollingRestarts(t *testing.T) {
	g := faulted(t)
	both, b := g.pair(t, "rolling", time.Second)
	configuration := func() string {
		return g.kubectl(t, "", "get", "validatingwebhookconfiguration", "rolling", "-o", "json")
	}
	before := configuration()
	l := under(t, 30, g.through(t))
	begin := time.Now()
	for i := range 20 {
		r := both[i%2]
		b.end(r.port, syscall.SIGTERM)
		b.mu.Lock()
		ended := b.replicas[r.port]
		b.mu.Unlock()
		if ended.err != nil {
			t.Errorf("restart %d: the replica ended with %v, want exit code 0", i, ended.err)
		}
		b.put(g.serve(t, fmt.Sprintf("%s-%d", r.name, i), r.port, "--name", "rolling"))
	}
	t.Logf("20 restarts in %v", time.Since(begin).Round(time.Second))
	l.check(t, nil)
	if after := configuration(); after != before {
		t.Errorf("the webhook configuration was\n%s\nand is\n%s", before, after)
	}
}

// Certificates of seconds: ten leaves and two authorities change under load, and two replicas race for the Secret.
func TestRealServeCertificatesRotate(t *testing.T) {
	g := faulted(t)
	both, b := g.pair(t, "rotating", 0, "--ca-life", "20s", "--leaf-life", "6s", "--ca-overlap", "3s")
	l := under(t, 40, g.through(t))
	leaves, authorities := map[string]bool{}, map[string]bool{}
	handshakes := 0
	until(t, 3*time.Minute, "ten leaves and three authorities", func(context.Context) error {
		pool := g.published(t, "rotating")
		for _, r := range both {
			// A connection of its own: what is pooled shakes hands once.
			conn, err := tls.Dial("tcp", "127.0.0.1:"+r.port, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
			handshakes++
			if err != nil {
				t.Errorf("handshake %d: %v", handshakes, err)
				continue
			}
			leaf := conn.ConnectionState().PeerCertificates[0]
			leaves[r.port+leaf.SerialNumber.String()], authorities[leaf.Issuer.CommonName] = true, true
			conn.Close()
		}
		if len(leaves) < 22 || len(authorities) < 3 {
			return fmt.Errorf("%d leaves of two replicas, %d authorities", len(leaves), len(authorities))
		}
		return nil
	})
	t.Logf("%d leaves and %d authorities served to %d handshakes", len(leaves), len(authorities), handshakes)
	l.check(t, nil)
	for _, which := range []string{"ca", "leaf"} {
		if b.replicas[both[0].port].metric(t, `proviso_certificate_expires_seconds{which="`+which+`"}`) == "" {
			t.Errorf("no metric tells when the %s expires", which)
		}
	}
}

func schedule(name, location string) string {
	o := map[string]any{"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": map[string]any{"namespace": "velero", "name": name},
		"spec": map[string]any{"schedule": "0 3 * * *", "template": map[string]any{"includedNamespaces": []any{"velero"}, "storageLocation": location, "ttl": "720h0m0s"}}}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(text)
}
