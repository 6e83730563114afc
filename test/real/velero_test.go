//go:build unix

package real

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// location is a BackupStorageLocation with the bucket behind it.
type location struct {
	name, bucket string
	store        *s3server
}

const prefix = "team-a" // of every location

// source is the location as Proviso is told of it.
func (l location) source() string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s", l.bucket, prefix, l.store.endpoint, region)
}

// veleroServer is a Velero that runs, with one location per store with object lock and one without.
type veleroServer struct {
	cluster   *cluster
	bin       string
	locations map[string]location // by name
}

var theVelero struct {
	sync.Once
	v *veleroServer
}

// velero is the one Velero of all suites.
func velero(t testing.TB) *veleroServer {
	t.Helper()
	bin := tool(t, "velero")
	tool(t, "plugins/velero-plugin-for-aws")
	c, gw, mo := liveCluster(t), gateway(t), minio(t)
	theVelero.Do(func() {
		v := &veleroServer{cluster: c, bin: bin, locations: map[string]location{}}
		for _, s := range []*s3server{gw, mo} {
			for _, kind := range []string{"locked", "plain"} {
				l := location{name: s.name + "-" + kind, bucket: "backups-" + kind, store: s}
				s.bucket(t, l.bucket, map[string]int32{"locked": 31}[kind])
				v.locations[l.name] = l
			}
		}
		v.install(t)
		c.fill(t) // before Velero starts: it looks for new kinds every five minutes only
		v.start(t)
		theVelero.v = v
	})
	if theVelero.v == nil {
		t.Fatal("start Velero: it failed in the suite that came first")
	}
	return theVelero.v
}

// install makes what `velero install` makes, but for the pods: restores look for the Deployment object.
func (v *veleroServer) install(t testing.TB) {
	t.Helper()
	c := v.cluster
	env := []string{"KUBECONFIG=" + c.kubeconfig}
	c.kubectl(t, run(t, env, "", v.bin, "install", "--crds-only", "--dry-run", "-o", "json"), "apply", "--server-side", "-f", "-")
	c.kubectl(t, "", "create", "namespace", "velero")
	all := run(t, env, "", v.bin, "install", "--dry-run", "-o", "json", "--provider", "aws", "--plugins", "velero/velero-plugin-for-aws:v1.14.3",
		"--bucket", "unused", "--no-secret", "--use-volume-snapshots=false")
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(all), &list); err != nil {
		t.Fatalf("read what velero install would make: %v", err)
	}
	made := 0
	for _, item := range list.Items {
		if item["kind"] == "Deployment" || item["kind"] == "ServiceAccount" {
			c.apply(t, item)
			made++
		}
	}
	if made != 2 {
		t.Fatalf("install Velero: %d of Deployment and ServiceAccount, want both", made)
	}
	c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	c.apply(t, map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": "velero", "name": "cloud-credentials"},
		"stringData": map[string]any{"cloud": fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", storeKey, storeSecret)}})
	for _, l := range v.locations {
		c.apply(t, map[string]any{"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": map[string]any{"namespace": "velero", "name": l.name},
			"spec": map[string]any{"provider": "aws", "objectStorage": map[string]any{"bucket": l.bucket, "prefix": prefix},
				"credential": map[string]any{"name": "cloud-credentials", "key": "cloud"},
				"config":     map[string]any{"region": region, "s3ForcePathStyle": "true", "s3Url": l.store.endpoint}}})
	}
}

func (c *cluster) apply(t testing.TB, object map[string]any) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, string(text), "apply", "-f", "-")
}

// start runs the server. It also serves metrics on port 8080 of all interfaces and has no flag for it, so one Velero runs at a time.
func (v *veleroServer) start(t testing.TB) {
	t.Helper()
	unlock, err := lockFile(filepath.Join(os.TempDir(), "proviso-velero-8080.lock"))
	if err != nil {
		t.Fatal(err)
	}
	atEnd(unlock)
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s, err := start("velero", []string{"KUBECONFIG=" + v.cluster.kubeconfig}, v.bin, "server", "--namespace", "velero",
		"--plugin-dir", filepath.Join(os.Getenv("PROVISO_TOOLS"), "plugins"), "--metrics-address", metrics, "--profiler-address", "",
		"--default-backup-storage-location", "versitygw-locked", "--log-format", "json", "--store-validation-frequency", "10s")
	if err != nil {
		t.Fatal(err)
	}
	err = s.ready(2*time.Minute, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metrics+"/metrics", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	v.cluster.kubectl(t, "", "wait", "-n", "velero", "--for=jsonpath={.status.phase}=Available", "--timeout=90s", "bsl", "--all")
}

// do runs the velero command.
func (v *veleroServer) do(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, []string{"KUBECONFIG=" + v.cluster.kubeconfig}, "", v.bin, append(args, "--namespace", "velero")...)
}

// phase waits until an object of Velero's is in one of its last phases and returns that.
func (v *veleroServer) phase(t testing.TB, kind, name string) string {
	t.Helper()
	var phase string
	until(t, 2*time.Minute, kind+" "+name, func(context.Context) error {
		phase = strings.TrimSpace(v.cluster.kubectl(t, "", "get", "-n", "velero", kind+".velero.io", name, "-o", "jsonpath={.status.phase}"))
		switch phase {
		case "Completed", "PartiallyFailed", "Failed", "FailedValidation":
			return nil
		}
		return fmt.Errorf("phase %q", phase)
	})
	return phase
}

// backup makes a backup of one location and demands its last phase.
func (v *veleroServer) backup(t testing.TB, name, where, phase string, args ...string) {
	t.Helper()
	if !strings.Contains(strings.Join(args, " "), "--from-schedule") {
		args = append(args, "--storage-location", where, "--ttl", "720h")
	}
	v.do(t, append([]string{"backup", "create", name}, args...)...)
	if got := v.phase(t, "backups", name); got != phase {
		t.Fatalf("backup %s: phase %s, want %s\n%s", name, got, phase, v.do(t, "backup", "logs", name))
	}
}
