//go:build unix

package real

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// auditPolicy keeps who wrote what, and no content: the least that reconciling needs.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
`

var startAudited = sync.OnceValues(func() (*cluster, error) {
	policy := filepath.Join(scratch, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return newCluster("-audited", func(server *envtest.APIServer) {
		server.Configure().Set("audit-policy-file", policy).Set("audit-log-path", filepath.Join(scratch, "audit.log")).Set("audit-log-mode", "blocking")
	})
})

// audited is a cluster whose API server keeps an audit log, with replicas that keep evidence.
type audited struct {
	*guarded
	log string
	key string
}

var theAudited struct {
	sync.Once
	a *audited
}

func recordedCluster(t testing.TB) *audited {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl", "velero"} {
		tool(t, name)
	}
	c, err := startAudited()
	if err != nil {
		t.Fatal(err)
	}
	theAudited.Do(func() {
		a := &audited{guarded: &guarded{cluster: c, profile: filepath.Join(scratch, "audited.yaml")}, log: filepath.Join(scratch, "audit.log")}
		c.kubectl(t, run(t, []string{"KUBECONFIG=" + c.kubeconfig}, "", tool(t, "velero"), "install", "--crds-only", "--dry-run", "-o", "json"), "apply", "--server-side", "-f", "-")
		a.mode(t, "strict")
		a.hang(t, "evidence", "1", []string{"--evidence", "/var/lib/proviso/evidence", "--key", "/etc/proviso-key/cosign.key"}, "CustomResourceDefinition", "Namespace", "StatefulSet") // nothing runs the pods; that the API server takes them is a test too
		c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
		c.kubectl(t, "", "create", "namespace", "velero")
		dir := filepath.Join(scratch, "evidence-key")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		// A scan with no key makes one.
		subject := filepath.Join(dir, "subject.yaml")
		if err := os.WriteFile(subject, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, out := proviso(t, []string{"HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, "scan", subject, "--profile", "none", "--evidence", filepath.Join(dir, "scan"))
		a.key = filepath.Join(dir, "proviso", "key", "cosign.key")
		if _, err := os.Stat(a.key); err != nil {
			t.Fatalf("make a key: %v: %s", err, out)
		}
		theAudited.a = a
	})
	if theAudited.a == nil {
		t.Fatal("prepare the cluster: it failed in the suite that came first")
	}
	return theAudited.a
}

func (a *audited) mode(t testing.TB, mode string) {
	t.Helper()
	a.writeProfile(t, guardProfile+"policies: {completeness/nothing-excluded: {mode: warn}}\nevidence: {mode: "+mode+"}\n")
}

// records starts two replicas with a folder of evidence each.
func (a *audited) records(t testing.TB, name, mode string) ([]*replica, *balancer, []string) {
	t.Helper()
	a.mode(t, mode)
	b := balance(t, 0)
	a.hang(t, name, b.port(), []string{"--evidence", "/var/lib/proviso/evidence", "--key", "/etc/proviso-key/cosign.key"}, "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret", "ValidatingWebhookConfiguration")
	a.account = a.as(t, name)
	var both []*replica
	var dirs []string
	for _, n := range []string{"a", "b"} {
		dir := filepath.Join(scratch, name+"-"+n+".evidence")
		r := a.serve(t, name+"-"+n, port(t), a.flags(name, dir)...)
		t.Cleanup(func() { b.end(r.port, syscall.SIGTERM) })
		b.put(r)
		both, dirs = append(both, r), append(dirs, dir)
	}
	until(t, 30*time.Second, "the API server to ask", func(context.Context) error {
		if denied, err := a.through(t)(0, true); !denied {
			return fmt.Errorf("not denied: %w", err)
		}
		return nil
	})
	return both, b, dirs
}

func (a *audited) flags(name, dir string) []string {
	return []string{"--name", name, "--evidence", dir, "--key", a.key}
}

// since is the audit log from an offset on, in a file of its own; it waits until the log has an event.
func (a *audited) since(t testing.TB, offset int64, wanted string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.log")
	until(t, 30*time.Second, "the audit log to have "+wanted, func(context.Context) error {
		all, err := os.ReadFile(a.log)
		if err != nil {
			return err
		}
		if !bytes.Contains(all[offset:], []byte(wanted)) {
			return fmt.Errorf("%d bytes do not", len(all[offset:]))
		}
		return os.WriteFile(file, all[offset:], 0o600)
	})
	return file
}

func (a *audited) size(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(a.log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// marked are the annotations of the events about locations, by the location's name; the last one counts.
func marked(t testing.TB, file string) map[string]map[string]string {
	t.Helper()
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	events := map[string]map[string]string{}
	for line := range bytes.Lines(all) {
		var e struct {
			ObjectRef   struct{ Name, Resource string }
			Annotations map[string]string
		}
		if json.Unmarshal(line, &e) == nil && (e.ObjectRef.Resource == "backupstoragelocations" || e.ObjectRef.Resource == "namespaces") {
			events[e.ObjectRef.Name] = e.Annotations
		}
	}
	return events
}

func TestRealEvidenceOfAdmission(t *testing.T) {
	a := recordedCluster(t)
	begin := a.size(t)
	t.Cleanup(func() { a.drop(t, "bsl", "-n", "velero", "home", "waived") })
	both, b, dirs := a.records(t, "recorded", "strict")
	a.admitted(t, bsl("home", "eu-central-1", ""), "create", "-f", "-")
	a.denied(t, "us-east-1", bsl("abroad", "us-east-1", ""), "create", "-f", "-")
	a.admitted(t, bsl("tried", "eu-central-1", ""), "create", "--dry-run=server", "-f", "-")
	// The API server keeps its connections: the other replica is asked once the first goes.
	counts := [2]int{}
	for i, r := range both {
		if _, err := fmt.Sscan(r.metric(t, "proviso_evidence_records "), &counts[i]); err != nil {
			t.Fatal(err)
		}
	}
	asked := both[0]
	if counts[1] > counts[0] {
		asked = both[1]
	}
	b.end(asked.port, syscall.SIGTERM)
	if asked.err != nil {
		t.Errorf("%s ended with %v", asked.name, asked.err)
	}
	warned := a.admitted(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"judged","labels":{"proviso.dev/tier":"hot","velero.io/exclude-from-backup":"true"}}}`, "create", "-f", "-")
	if !strings.Contains(warned, "Warning: proviso CMP-05") {
		t.Errorf("want a warning: %s", warned)
	}
	waiver := fmt.Sprintf(`{"apiVersion":"proviso.dev/v1alpha1","kind":"Waiver","metadata":{"name":"w-1","namespace":"proviso-system"},"spec":{"policy":"residency/location-region-allowed","subjects":{"kind":"BackupStorageLocation","name":"waived"},"owner":"ann","approver":"bob","reason":"moving","expires":%q}}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	a.admitted(t, waiver, "apply", "-f", "-")
	until(t, 30*time.Second, "the waiver to count", func(context.Context) error {
		if out, ok := a.try(t, bsl("waived", "us-east-1", ""), "create", "--dry-run=server", "-f", "-"); !ok {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	a.admitted(t, bsl("waived", "us-east-1", ""), "create", "-f", "-")
	file := a.since(t, begin, `"name":"waived"`)
	events := marked(t, file)
	for name, want := range map[string]string{"home": "sha256:", "abroad": "sha256:", "tried": "none: dry run", "waived": "sha256:"} {
		if got := events[name]["fail.proviso.dev/record"]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: the audit log says %q, want %q: %v", name, got, want, events[name])
		}
	}
	for _, r := range both {
		b.end(r.port, syscall.SIGTERM)
		if r != asked && r.err != nil {
			t.Errorf("%s ended with %v", r.name, r.err)
		}
	}
	for _, dir := range dirs {
		code, out, _ := proviso(t, nil, "evidence", "verify", dir, "--trust", filepath.Join(filepath.Dir(a.key), "cosign.pub"))
		if code != 0 {
			t.Errorf("verify %s: exit code %d: %s", dir, code, out)
		}
		code, out, _ = proviso(t, nil, "evidence", "replay", dir)
		if code != 0 {
			t.Errorf("replay %s: exit code %d: %s", dir, code, out)
		}
	}
	code, out, _ := proviso(t, nil, append([]string{"evidence", "reconcile", "--audit", file}, dirs...)...)
	if code != 0 || !strings.Contains(out, "5 name their record") || strings.Contains(out, "named by no event") {
		t.Errorf("reconcile: exit code %d: %s", code, out)
	}
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The log that the API server keeps says of one decision what it was not.
	mark := events["home"]["fail.proviso.dev/record"]
	if err := os.WriteFile(file, bytes.ReplaceAll(all, []byte(mark), []byte(strings.Replace(mark, mark[7:11], "0000", 1))), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := proviso(t, nil, append([]string{"evidence", "reconcile", "--audit", file}, dirs...)...); code != 4 || !strings.Contains(out, "is another, sha256:") {
		t.Errorf("reconcile with a record that differs: exit code %d: %s", code, out)
	}
}

// writes creates locations, and counts those that were let in.
func (a *audited) writes(t testing.TB, prefix string) (create func(i int, bad bool) (bool, error), let *atomic.Int64) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	locations := client.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"}).Namespace("velero")
	let = &atomic.Int64{}
	return func(i int, bad bool) (bool, error) {
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(strings.Replace(someLocation(i, bad), `"made-`, `"`+prefix+`-`, 1)), &o.Object); err != nil {
			return false, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := locations.Create(ctx, &o, metav1.CreateOptions{})
		if err == nil {
			let.Add(1)
		} else if strings.Contains(err.Error(), "denied the request: CRITICAL residency/location-region-allowed") {
			return true, nil
		}
		return false, err
	}, let
}

// Replicas are killed under load: every request that was answered has its record, and what came in while nobody answered
// becomes a gap.
func TestRealEvidenceReplicasKilled(t *testing.T) {
	a := recordedCluster(t)
	begin := a.size(t)
	const unasked = "came-in-unasked"
	t.Cleanup(func() { a.drop(t, "bsl", "-n", "velero", "--all", "--wait=false") })
	both, b, dirs := a.records(t, "slain", "strict")
	create, let := a.writes(t, "slain")
	l := under(t, 30, create)
	for i := range 6 {
		r := both[i%2]
		from := time.Now()
		b.end(r.port, syscall.SIGKILL)
		b.put(a.serve(t, fmt.Sprintf("%s-%d", r.name, i), r.port, a.flags("slain", dirs[i%2])...))
		time.Sleep(time.Until(from.Add(2 * time.Second))) // the spacing of the faults, not a wait for anything
	}
	l.stop()
	for _, c := range l.calls {
		if c.err == nil && c.bad != c.denied {
			t.Errorf("a wrong answer at %s", c.begin.Format(time.StampMilli))
		}
	}
	for _, r := range both {
		b.end(r.port, syscall.SIGKILL)
	}
	a.admitted(t, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"`+unasked+`"}}`, "create", "-f", "-")
	file := a.since(t, begin, `"name":"`+unasked+`"`)
	code, out, _ := proviso(t, nil, append([]string{"evidence", "reconcile", "--audit", file, "--key", a.key}, dirs...)...)
	if code != 2 || !strings.Contains(out, "failed open: nobody answered") || strings.Contains(out, "differs:") || !strings.Contains(out, "signed gaps now") {
		t.Errorf("reconcile: exit code %d: %s", code, out)
	}
	t.Logf("%d locations let in, of %d calls\n%s", let.Load(), len(l.calls), out)
	if code, again, _ := proviso(t, nil, append([]string{"evidence", "reconcile", "--audit", file}, dirs...)...); code != 2 || !strings.Contains(again, "declared already") || strings.Contains(again, "gap:") {
		t.Errorf("again: exit code %d: %s", code, again)
	}
	// Each location that is there was let in by a record.
	events, names := marked(t, file), strings.Fields(a.kubectl(t, "", "get", "bsl", "-n", "velero", "-o", "jsonpath={.items[*].metadata.name}"))
	for _, name := range names {
		if strings.HasPrefix(name, "slain-") && !strings.HasPrefix(events[name]["fail.proviso.dev/record"], "sha256:") {
			t.Errorf("%s is there, and the audit log names no record: %v", name, events[name])
		}
	}
	if len(names) < 50 {
		t.Errorf("%d locations: too few to show anything", len(names))
	}
	for _, dir := range dirs {
		code, out, _ := proviso(t, nil, "evidence", "verify", dir)
		if code != 2 || !strings.Contains(out, "has no end") {
			t.Errorf("verify %s: exit code %d: %s", dir, code, out)
		}
	}
}
