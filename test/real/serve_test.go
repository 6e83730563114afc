//go:build unix

package real

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// guarded is a cluster whose API server asks a webhook of ours.
type guarded struct {
	*cluster
	profile string
	first   *replica
	// account is the kubeconfig of the ServiceAccount that the manifests give the webhook its rights by.
	account string
	// configuration is what the API server asks by.
	configuration map[string]any
}

// replica is one process of serve.
type replica struct {
	*server
	port   string
	probes string
}

const guardProfile = `apiVersion: proviso.dev/v1alpha1
kind: Profile
mode: deny
parameters: {clusterJurisdictions: [eu]}
`

var startGuarded = sync.OnceValues(func() (*cluster, error) { return newCluster("-admission") })

var theGuarded struct {
	sync.Once
	g *guarded
}

// admission is the one cluster of the suites about admission, with one replica that answers.
func admission(t testing.TB) *guarded {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl", "velero"} {
		tool(t, name)
	}
	c, err := startGuarded()
	if err != nil {
		t.Fatal(err)
	}
	theGuarded.Do(func() {
		g := &guarded{cluster: c, profile: filepath.Join(scratch, "guard.yaml")}
		g.writeProfile(t, guardProfile)
		c.kubectl(t, run(t, []string{"KUBECONFIG=" + c.kubeconfig}, "", tool(t, "velero"), "install", "--crds-only", "--dry-run", "-o", "json"), "apply", "--server-side", "-f", "-")
		c.kubectl(t, "", "apply", "--server-side", "-f", "testdata/admission")
		c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
		for _, ns := range []string{"velero", "team-a", "team-b"} {
			c.kubectl(t, "", "create", "namespace", ns)
		}
		g.first = g.install(t)
		theGuarded.g = g
	})
	if theGuarded.g == nil {
		t.Fatal("start the webhook: it failed in the suite that came first")
	}
	return theGuarded.g
}

// writeProfile replaces the profile at once, as a mounted ConfigMap is replaced.
func (g *guarded) writeProfile(t testing.TB, text string) {
	t.Helper()
	next := g.profile + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, g.profile); err != nil {
		t.Fatal(err)
	}
}

// install applies what serve --print-config prints, but for what runs in pods, and has the API server call a process.
func (g *guarded) install(t testing.TB) *replica {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	code, manifests, stderr := proviso(t, []string{"KUBECONFIG=" + g.kubeconfig}, "serve", "--print-config", "--context", "envtest", "--profile", g.profile)
	if code != 0 {
		t.Fatalf("print-config: exit %d: %s", code, stderr)
	}
	var configuration map[string]any
	for _, text := range strings.Split(manifests, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o == nil {
			continue
		}
		if o["kind"] == "ValidatingWebhookConfiguration" {
			configuration = o
			continue
		}
		g.apply(t, o) // nothing runs the pods; that the API server takes their objects is a test too
	}
	g.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	g.account = g.as(t, "proviso")
	g.point(t, configuration, port)
	g.configuration = configuration
	return g.serve(t, "proviso-serve", port)
}

// as writes a kubeconfig for a ServiceAccount in our namespace: a right that the manifests forget is one that is lacking.
func (g *guarded) as(t testing.TB, account string) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(g.kubectl(t, "", "config", "view", "--raw", "-o", "json")), &c); err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(g.kubectl(t, "", "create", "token", account, "-n", "proviso-system", "--duration", "24h"))
	for _, u := range c["users"].([]any) {
		u.(map[string]any)["user"] = map[string]any{"token": token}
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(scratch, account+".kubeconfig")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// point makes the webhooks call a port of this machine, and applies them.
func (g *guarded) point(t testing.TB, configuration map[string]any, port string) {
	t.Helper()
	for _, w := range configuration["webhooks"].([]any) {
		client := w.(map[string]any)["clientConfig"].(map[string]any)
		path := client["service"].(map[string]any)["path"].(string)
		delete(client, "service")
		client["url"] = "https://127.0.0.1:" + port + path
	}
	g.apply(t, configuration)
}

// serve starts a replica and waits until it is ready.
func (g *guarded) serve(t testing.TB, name, port string, flags ...string) *replica {
	t.Helper()
	probes, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"serve", "--profile", g.profile, "--host", "127.0.0.1", "--port", port, "--probes", probes, "--drain", "2s", "--reload", "200ms", "--timeout", "5s"}, flags...)
	s, err := start(name, []string{"KUBECONFIG=" + g.account, "AWS_ACCESS_KEY_ID=" + storeKey, "AWS_SECRET_ACCESS_KEY=" + storeSecret}, bin, args...)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{server: s, port: port, probes: probes}
	if err := s.ready(time.Minute, r.readyz); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replica) readyz(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.probes+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var b bytes.Buffer
		_, _ = b.ReadFrom(answer.Body)
		return fmt.Errorf("%s: %s", answer.Status, b.String())
	}
	return nil
}

// try runs kubectl and returns what it said, and whether it succeeded.
func (g *guarded) try(t testing.TB, stdin string, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.kubectlBin, args...)
	cmd.Env = []string{"KUBECONFIG=" + g.kubeconfig, "HOME=" + scratch}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// denied demands that the webhook denies it, with these words.
func (g *guarded) denied(t testing.TB, want, stdin string, args ...string) {
	t.Helper()
	out, ok := g.try(t, stdin, args...)
	if ok || !strings.Contains(out, "proviso.dev\" denied the request") || !strings.Contains(out, want) {
		t.Errorf("kubectl %s: want a denial with %q, got (%v):\n%s", strings.Join(args, " "), want, ok, out)
	}
}

// admitted demands that it is let in, and returns what kubectl said, warnings among it.
func (g *guarded) admitted(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, ok := g.try(t, stdin, args...)
	if !ok {
		t.Errorf("kubectl %s: want it let in, got:\n%s", strings.Join(args, " "), out)
	}
	return out
}

func bsl(name, region, more string) string {
	return fmt.Sprintf(`{"apiVersion":"velero.io/v1","kind":"BackupStorageLocation","metadata":{"namespace":"velero","name":%q},"spec":{"provider":"aws","objectStorage":{"bucket":"b"},"config":{"region":%q,"serverSideEncryption":"aws:kms","kmsKeyId":"arn:aws:kms:eu-central-1:111122223333:key/1"}%s}}`, name, region, more)
}

func TestRealAdmissionDeniesAndAdmits(t *testing.T) {
	g := admission(t)
	g.denied(t, "us-east-1", bsl("abroad", "us-east-1", ""), "apply", "-f", "-")
	g.admitted(t, bsl("home", "eu-central-1", ""), "apply", "-f", "-")
	t.Cleanup(func() { g.try(t, "", "delete", "bsl", "-n", "velero", "home") })
	out, _ := g.try(t, bsl("abroad", "us-east-1", ""), "apply", "-f", "-")
	for _, want := range []string{"CRITICAL residency/location-region-allowed (RES-01): BackupStorageLocation velero/abroad", "\nfix: ", "\ncontrol: ", "\nwaiver: ", "\ndecision "} {
		if !strings.Contains(out, want) {
			t.Errorf("the denial lacks %q:\n%s", want, out)
		}
	}
	t.Run("warn mode warns", func(t *testing.T) {
		g.writeProfile(t, strings.Replace(guardProfile, "deny", "warn", 1))
		defer g.writeProfile(t, guardProfile)
		until(t, 30*time.Second, "a warning in place of a denial", func(context.Context) error {
			out, ok := g.try(t, bsl("abroad", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-")
			if !ok || !strings.Contains(out, "Warning: proviso RES-01") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	})
	until(t, 30*time.Second, "a denial again", func(context.Context) error {
		if out, ok := g.try(t, bsl("abroad", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-"); ok {
			return fmt.Errorf("admitted: %s", out)
		}
		return nil
	})
	t.Run("a waiver admits, and denies again once it expired", func(t *testing.T) {
		waiver := func(namespace string, expires time.Time) string {
			o := map[string]any{"apiVersion": "proviso.dev/v1alpha1", "kind": "Waiver", "metadata": map[string]any{"name": "abroad", "namespace": namespace}, "spec": map[string]any{
				"policy": "residency/location-region-allowed", "subjects": map[string]any{"kind": "BackupStorageLocation", "name": "waived"},
				"owner": "ann", "approver": "bob", "reason": "moving out", "expires": expires.UTC().Format(time.RFC3339)}}
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		g.denied(t, "waivers count in namespace proviso-system only", waiver("team-a", time.Now().Add(time.Hour)), "apply", "-f", "-")
		g.admitted(t, waiver("proviso-system", time.Now().Add(time.Hour)), "apply", "-f", "-")
		until(t, 30*time.Second, "the waiver to count", func(context.Context) error {
			out, ok := g.try(t, bsl("waived", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-")
			if !ok || !strings.Contains(out, "waived by abroad through") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		g.admitted(t, waiver("proviso-system", time.Now().Add(-time.Minute)), "apply", "-f", "-")
		until(t, 30*time.Second, "the expired waiver to count no more", func(context.Context) error {
			if out, ok := g.try(t, bsl("waived", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-"); ok || !strings.Contains(out, "waiver abroad ended after") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	})
	t.Run("our own kinds", func(t *testing.T) {
		g.denied(t, "no policy", `{"apiVersion":"proviso.dev/v1alpha1","kind":"Waiver","metadata":{"name":"x","namespace":"proviso-system"},"spec":{"policy":"none/such","subjects":{"kind":"Pod"},"owner":"a","approver":"b","reason":"c","expires":"2030-01-01"}}`, "apply", "-f", "-")
		g.denied(t, "would loosen", `{"apiVersion":"proviso.dev/v1alpha1","kind":"Profile","metadata":{"name":"x"},"spec":{"mode":"warn"}}`, "apply", "-f", "-")
		g.denied(t, "canary", `{"apiVersion":"proviso.dev/v1alpha1","kind":"Profile","metadata":{"name":"proviso-canary"},"spec":{"mode":"deny"}}`, "apply", "--dry-run=server", "-f", "-")
	})
}

// metric is the value of the first line of /metrics that starts like this; "" where there is none.
func (r *replica) metric(t testing.TB, start string) string {
	t.Helper()
	answer, err := http.Get("http://" + r.probes + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), start); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// What comes in while nobody answers, or nobody is asked, is seen as soon as it is there.
func TestRealAdmissionSeesWhatCameInUnasked(t *testing.T) {
	g := admission(t)
	configuration := g.kubectl(t, "", "get", "validatingwebhookconfiguration", "proviso", "-o", "json")
	var c map[string]any
	if err := json.Unmarshal([]byte(configuration), &c); err != nil {
		t.Fatal(err)
	}
	c["metadata"] = map[string]any{"name": "proviso"}
	g.kubectl(t, "", "delete", "validatingwebhookconfiguration", "proviso")
	const left = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"left-out","labels":{"proviso.dev/tier":"hot","velero.io/exclude-from-backup":"true"}}}`
	until(t, 30*time.Second, "the API server to ask nobody", func(context.Context) error {
		if out, ok := g.try(t, left, "apply", "-f", "-"); !ok {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	g.apply(t, c)
	standing := `proviso_standing_findings{policy="completeness/nothing-excluded",verdict="fail"}`
	until(t, 30*time.Second, "the namespace to be seen", func(context.Context) error {
		if n := g.first.metric(t, standing); n != "1" {
			return fmt.Errorf("%s is %q", standing, n)
		}
		return nil
	})
	g.admitted(t, "", "label", "namespace", "left-out", "velero.io/exclude-from-backup-")
	until(t, 30*time.Second, "the mended namespace to be seen", func(context.Context) error {
		if n := g.first.metric(t, standing); n != "0" {
			return fmt.Errorf("%s is %q", standing, n)
		}
		return nil
	})
}

// The rights that the manifests give are enough for what runs by them.
func TestRealAdmissionRights(t *testing.T) {
	g := admission(t)
	log, err := os.ReadFile(g.first.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "orbidden") {
			t.Errorf("serve lacks a right: %s", line)
		}
	}
	_, out, stderr := proviso(t, []string{"KUBECONFIG=" + g.as(t, "proviso-scan")}, "scan", "cluster:", "-q", "-o", "json")
	var r struct {
		Unread  []struct{ Error string }
		Summary struct{ Subjects int }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Summary.Subjects == 0 {
		t.Fatalf("scan: %v, %d subjects: %s", err, r.Summary.Subjects, stderr)
	}
	for _, u := range r.Unread {
		t.Errorf("the scan lacks a right: %s", u.Error)
	}
}
