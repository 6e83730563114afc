//go:build unix

package real

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A real Velero keeps backing up, restoring and collecting garbage while the webhook denies, is slow, and is dead. What it
// asks to be deleted while nobody answers waits until somebody does: a request to delete a backup fails closed.
func TestRealServeVeleroGoesOn(t *testing.T) {
	v := velero(t)
	g := &guarded{cluster: v.cluster, profile: filepath.Join(t.TempDir(), "proviso.yaml")}
	who := strings.TrimSpace(g.kubectl(t, "", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"))
	g.writeProfile(t, fmt.Sprintf("apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: deny\nparameters: {clusterJurisdictions: [eu], veleroServiceAccounts: [%q]}\npolicies: {retention/minimum-by-profile: {disabled: true}}\n", who))
	// Nothing in this cluster could delete a namespace of our own again.
	flags := []string{"--namespace", "default", "--velero-user", who}
	at := port(t)
	t.Cleanup(func() { g.drop(t, "secret", "-n", "default", "beside-authority") })
	t.Cleanup(func() { g.drop(t, "crd", "profiles.proviso.dev", "waivers.proviso.dev") })
	g.hang(t, "beside", at, flags, "CustomResourceDefinition", "Secret", "ValidatingWebhookConfiguration")
	g.account = g.kubeconfig
	r := g.serve(t, "beside", at, append(flags, "--name", "beside")...)
	t.Cleanup(r.kill)
	until(t, 30*time.Second, "the API server to ask", func(context.Context) error {
		if out, ok := g.try(t, bsl("abroad", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-"); ok || !strings.Contains(out, "location-region-allowed") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	const where = "versitygw-plain"
	v.backup(t, "kept", where, "Completed", "--include-namespaces", "shop")

	t.Run("it denies", func(t *testing.T) {
		person := []string{"--as", "ann", "--as-group", "system:masters", "-n", "velero"}
		g.denied(t, "deletion-not-early", "", append(person, "delete", "backups.velero.io", "kept")...)
		request := `{"apiVersion":"velero.io/v1","kind":"DeleteBackupRequest","metadata":{"namespace":"velero","name":"early"},"spec":{"backupName":"kept"}}`
		g.denied(t, "deletion-not-early", request, append(person, "create", "-f", "-")...)
		v.lives(t, "denies", where)
		v.collects(t, g, "denies", where)
		g.kubectl(t, "", "get", "-n", "velero", "backups.velero.io", "kept")
	})
	t.Run("it is slow", func(t *testing.T) {
		g.slow(t, "beside", at, 3*time.Second)
		begin := time.Now()
		g.denied(t, "location-region-allowed", bsl("abroad", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-")
		if took := time.Since(begin); took < 3*time.Second {
			t.Fatalf("a denial took %v: the suite tests nothing", took)
		}
		v.lives(t, "slow", where)
		v.collects(t, g, "slow", where)
	})
	t.Run("it is dead", func(t *testing.T) {
		expired := v.expired(t, "dead-old", where)
		v.restores(t, "dead", "kept")
		r.kill()
		if out, ok := g.try(t, bsl("home", "eu-central-1", ""), "apply", "--dry-run=server", "-f", "-"); ok {
			t.Errorf("what fails closed was let in while nobody answered:\n%s", out)
		}
		if got := v.phase(t, "restores", "dead-restore"); got != "Completed" {
			t.Errorf("restore: phase %s, want Completed", got)
		}
		v.backup(t, "dead-backup", where, "Completed", "--include-namespaces", "shop")
		v.validates(t, where)
		g.appears(t, expired)
		refused := time.Now()
		r = g.serve(t, "beside-again", at, append(flags, "--name", "beside")...)
		t.Cleanup(r.kill)
		v.collected(t, "dead-old")
		t.Logf("the expired backup was gone %v after the webhook was started again", time.Since(refused).Round(time.Second))
	})
}

// lives demands that Velero backs up, restores, and writes what it found into its locations.
func (v *veleroServer) lives(t testing.TB, name, where string) {
	t.Helper()
	begin := time.Now()
	v.backup(t, name+"-backup", where, "Completed", "--include-namespaces", "shop")
	v.restores(t, name, name+"-backup")
	if got := v.phase(t, "restores", name+"-restore"); got != "Completed" {
		t.Errorf("restore: phase %s, want Completed\n%s", got, v.do(t, "restore", "logs", name+"-restore"))
	}
	v.validates(t, where)
	t.Logf("backup, restore and validation in %v", time.Since(begin).Round(time.Second))
}

// restores begins a restore that is compliant.
func (v *veleroServer) restores(t testing.TB, name, backup string) {
	t.Helper()
	v.do(t, "restore", "create", name+"-restore", "--from-backup", backup, "--namespace-mappings", "shop:shop-"+name, "--include-namespaces", "shop", "--include-cluster-resources=false", "--existing-resource-policy", "none")
}

// validates waits until Velero has written its status into a location once more.
func (v *veleroServer) validates(t testing.TB, where string) {
	t.Helper()
	last := func() string {
		return v.cluster.kubectl(t, "", "get", "-n", "velero", "backupstoragelocations.velero.io", where, "-o", "jsonpath={.status.lastValidationTime}")
	}
	before := last()
	until(t, time.Minute, "Velero to validate its location", func(context.Context) error {
		if now := last(); now == before {
			return fmt.Errorf("it did so at %s", now)
		}
		return nil
	})
}

// expired makes a backup that has expired, takes the object away, and returns it: Velero looks at a backup's age when the
// object appears, as after a sync, and else once an hour.
func (v *veleroServer) expired(t testing.TB, name, where string) string {
	t.Helper()
	v.do(t, "backup", "create", name, "--include-namespaces", "shop", "--storage-location", where, "--ttl", "2s")
	if got := v.phase(t, "backups", name); got != "Completed" {
		t.Fatalf("backup %s: phase %s", name, got)
	}
	var o map[string]any
	if err := json.Unmarshal([]byte(v.cluster.kubectl(t, "", "get", "-n", "velero", "backups.velero.io", name, "-o", "json")), &o); err != nil {
		t.Fatal(err)
	}
	expiration, err := time.Parse(time.RFC3339, o["status"].(map[string]any)["expiration"].(string))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(expiration.Add(time.Second)))
	meta := o["metadata"].(map[string]any)
	for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
		delete(meta, key)
	}
	v.cluster.kubectl(t, "", "delete", "-n", "velero", "backups.velero.io", name)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// appears makes the object of an expired backup, where Velero's own sync has not done so already.
func (g *guarded) appears(t testing.TB, backup string) {
	t.Helper()
	if out, ok := g.try(t, backup, "create", "-f", "-"); !ok && !strings.Contains(out, "AlreadyExists") {
		t.Fatalf("make an expired backup: %s", out)
	}
}

// collects demands that Velero deletes an expired backup.
func (v *veleroServer) collects(t testing.TB, g *guarded, name, where string) {
	t.Helper()
	begin := time.Now()
	g.appears(t, v.expired(t, name+"-old", where))
	v.collected(t, name+"-old")
	t.Logf("garbage collected in %v", time.Since(begin).Round(time.Second))
}

// collected waits until a backup is gone, and its data with it.
func (v *veleroServer) collected(t testing.TB, name string) {
	t.Helper()
	l := v.locations["versitygw-plain"]
	until(t, 2*time.Minute, "backup "+name+" to be collected", func(context.Context) error {
		if out := v.cluster.kubectl(t, "", "get", "-n", "velero", "backups.velero.io", name, "--ignore-not-found", "-o", "jsonpath={.status}"); out != "" {
			return fmt.Errorf("it is there: %s", out)
		}
		if keys := l.store.keys(t, l.bucket, prefix+"/backups/"+name+"/"); len(keys) > 0 {
			return fmt.Errorf("%d of its files are there", len(keys))
		}
		return nil
	})
}

// slow has the API server ask a webhook once more, by a way that takes this long.
func (g *guarded) slow(t testing.TB, name, port string, by time.Duration) {
	t.Helper()
	replica := &url.URL{Scheme: "https", Host: "127.0.0.1:" + port}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(replica) }, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.published(t, name), MinVersion: tls.VersionTLS12}}}
	late := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(by):
			forward.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(late.Close)
	var c map[string]any
	if err := json.Unmarshal([]byte(g.kubectl(t, "", "get", "validatingwebhookconfiguration", name, "-o", "json")), &c); err != nil {
		t.Fatal(err)
	}
	c["metadata"] = map[string]any{"name": name + "-slow"}
	for _, w := range c["webhooks"].([]any) {
		client := w.(map[string]any)["clientConfig"].(map[string]any)
		client["url"] = strings.Replace(client["url"].(string), replica.String(), late.URL, 1)
		client["caBundle"] = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: late.Certificate().Raw}))
	}
	t.Cleanup(func() { g.drop(t, "validatingwebhookconfiguration", name+"-slow") })
	g.apply(t, c)
	until(t, 30*time.Second, "the API server to ask the slow way", func(context.Context) error {
		begin := time.Now()
		g.try(t, bsl("abroad", "us-east-1", ""), "apply", "--dry-run=server", "-f", "-")
		if took := time.Since(begin); took < by {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
}
