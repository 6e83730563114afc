//go:build unix

package real

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// The glass is broken and put back as it was printed: the API server can verify the replica again within seconds.
func TestRealServeAfterTheGlassWasBroken(t *testing.T) {
	g := faulted(t)
	at := port(t)
	g.own(t, "glass", at)
	r := g.serve(t, "glass", at, "--name", "glass")
	t.Cleanup(r.kill)
	ask := g.through(t)
	denied := func(within time.Duration) {
		t.Helper()
		until(t, within, "the API server to ask", func(context.Context) error {
			if denied, err := ask(0, true); !denied {
				return fmt.Errorf("not denied: %w", err)
			}
			return nil
		})
	}
	denied(30 * time.Second)
	for range 2 {
		g.kubectl(t, "", "delete", "validatingwebhookconfiguration", "glass")
		until(t, 30*time.Second, "the API server to ask nobody", func(context.Context) error {
			if denied, err := ask(0, true); denied || err != nil {
				return fmt.Errorf("denied is %v: %w", denied, err)
			}
			return nil
		})
		time.Sleep(3 * time.Second) // whatever is done at every look was done
		g.hang(t, "glass", at, nil, "Namespace", "ValidatingWebhookConfiguration")
		back := time.Now()
		denied(10 * time.Second)
		t.Logf("denied again after %v", time.Since(back).Round(100*time.Millisecond))
	}
}

// Where the definitions of its own kinds are not there yet serve ends, so that it is started again until they are.
func TestRealServeBeforeItsDefinitions(t *testing.T) {
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		tool(t, name)
	}
	c, err := newCluster("-bare")
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{cluster: c, profile: t.TempDir() + "/profile.yaml"}
	g.writeProfile(t, guardProfile)
	for _, kind := range []string{"Profile", "Waiver"} {
		r := g.launch(t, "bare", port(t))
		select {
		case <-r.done:
			if r.err == nil {
				t.Error("it ended with exit code 0")
			}
		case <-time.After(time.Minute):
			t.Fatal("it did not end")
		}
		text, err := os.ReadFile(r.log)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "proviso.dev/"+kind) || !strings.Contains(string(text), "serve --print-config") {
			t.Errorf("it does not say that %s is to be installed: %s", kind, text)
		}
		g.define(t, kind)
	}
	r := g.launch(t, "bare", port(t))
	until(t, time.Minute, "the replica to take them", func(ctx context.Context) error {
		// It is given no rights and no Secret here, so it says that this is what it lacks.
		if err := r.readyz(ctx); err == nil || strings.Contains(err.Error(), "refused") {
			return fmt.Errorf("readyz: %w", err)
		}
		return nil
	})
}

// define installs the definition of one of our kinds.
func (g *guarded) define(t testing.TB, kind string) {
	t.Helper()
	_, manifests, _ := proviso(t, []string{"KUBECONFIG=" + g.kubeconfig}, "serve", "--print-config", "--profile", g.profile)
	for _, text := range strings.Split(manifests, "\n---\n") {
		var o struct {
			Kind string
			Spec struct{ Names struct{ Kind string } }
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "CustomResourceDefinition" && o.Spec.Names.Kind == kind {
			g.kubectl(t, text, "apply", "-f", "-")
		}
	}
	g.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
}
