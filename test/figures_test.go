package test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine/inspect/velero"
	"proviso.dev/proviso/engine/store"
)

// madeUp makes the objects of a made-up cluster one after the other: what they say varies as it does in real ones, so
// that they compress as real ones do.
type madeUp struct {
	random *rand.Rand
	text   bytes.Buffer
	n      int
}

// apps is how many workloads a namespace has, of which each comes with the sixteen objects that next makes.
const apps = 25

// made is one object and where Velero puts it.
type made struct {
	resource, version, kind, namespace, name string
	text                                     []byte // valid until the next one is made
}

func (c *madeUp) hex(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[c.random.IntN(16)]
	}
	return string(b)
}

func (c *madeUp) secret(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (c *madeUp) next() made {
	turn, app := c.n%16, c.n/16
	c.n++
	ns, base := fmt.Sprintf("team-%04d", app/apps), fmt.Sprintf("%s-%d", []string{"checkout", "payments", "catalog", "search", "identity"}[app%5], app%apps)
	m := made{version: "v1", namespace: ns, name: base}
	body, more := "", ""
	switch turn {
	case 0, 1, 2, 3:
		m.resource, m.kind, m.name = "pods", "Pod", base+"-"+c.hex(9)+"-"+c.hex(5)
		body = `"spec":` + c.podSpec(base) + `,"status":{"phase":"Running","podIP":"10.` + fmt.Sprintf("%d.%d.%d", c.random.IntN(256), c.random.IntN(256), c.random.IntN(256)) + `","startTime":"2026-01-0` + strconv.Itoa(1+app%9) + `T08:00:00Z",` +
			`"conditions":[{"type":"Initialized","status":"True","lastTransitionTime":"2026-01-01T08:00:01Z"},{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T08:00:09Z"}],` +
			`"containerStatuses":[{"name":"app","ready":true,"restartCount":` + strconv.Itoa(c.random.IntN(4)) + `,"image":"registry.example.com/` + base + `:1.2","imageID":"registry.example.com/app@sha256:` + c.hex(64) + `","containerID":"containerd://` + c.hex(64) + `","state":{"running":{"startedAt":"2026-01-01T08:00:05Z"}}}],"qosClass":"Burstable"}`
		more = `,"generateName":"` + base + `-","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"` + base + `-rs0","uid":"` + c.uid() + `","controller":true,"blockOwnerDeletion":true}]`
	case 4, 5, 6:
		m.resource, m.version, m.kind, m.name = "replicasets.apps", "apps/v1", "ReplicaSet", fmt.Sprintf("%s-rs%d", base, turn-4)
		body = `"spec":{"replicas":0,"selector":{"matchLabels":{"app":"` + base + `"}},"template":{"metadata":{"labels":{"app":"` + base + `","pod-template-hash":"` + c.hex(9) + `"}},"spec":` + c.podSpec(base) + `}},"status":{"replicas":0,"observedGeneration":2}`
	case 7:
		m.resource, m.version, m.kind = "deployments.apps", "apps/v1", "Deployment"
		body = `"spec":{"replicas":3,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":"` + base + `"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"}},"template":{"metadata":{"labels":{"app":"` + base + `"}},"spec":` + c.podSpec(base) + `}},"status":{"replicas":3,"readyReplicas":3,"availableReplicas":3}`
	case 8, 9:
		m.resource, m.kind, m.name = "configmaps", "ConfigMap", fmt.Sprintf("%s-config-%d", base, turn)
		var lines strings.Builder
		for i := range 20 + c.random.IntN(300) {
			fmt.Fprintf(&lines, `feature.%d.enabled=%t\nfeature.%d.endpoint=https://%s.%s.svc:8443/v1/%s\n`, i, c.random.IntN(2) == 0, i, base, ns, c.hex(8))
		}
		body = `"data":{"application.properties":"` + lines.String() + `"}`
	case 10, 11:
		m.resource, m.kind, m.name = "secrets", "Secret", fmt.Sprintf("%s-secret-%d", base, turn)
		body = `"type":"Opaque","data":{"password":"` + c.secret(24) + `","tls.crt":"` + c.secret(900+c.random.IntN(900)) + `"}`
	case 12:
		m.resource, m.kind = "services", "Service"
		body = `"spec":{"clusterIP":"10.96.` + strconv.Itoa(c.random.IntN(256)) + `.1","type":"ClusterIP","sessionAffinity":"None","ports":[{"name":"http","port":80,"targetPort":8080,"protocol":"TCP"}],"selector":{"app":"` + base + `"}},"status":{"loadBalancer":{}}`
	case 13:
		m.resource, m.version, m.kind = "certificates.cert-manager.io", "cert-manager.io/v1", "Certificate"
		body = `"spec":{"secretName":"` + base + `-tls","dnsNames":["` + base + `.` + ns + `.svc"],"issuerRef":{"name":"internal","kind":"ClusterIssuer"},"duration":"2160h0m0s"},"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"Certificate is up to date","observedGeneration":1}],"notAfter":"2026-04-01T00:00:00Z","revision":1}`
	case 14, 15: // a release as Helm keeps it: gzip, in base64 twice
		m.resource, m.kind, m.name = "secrets", "Secret", fmt.Sprintf("sh.helm.release.v1.%s.v%d", base, turn)
		body = `"type":"helm.sh/release.v1","data":{"release":"` + base64.StdEncoding.EncodeToString([]byte(c.secret(3000+c.random.IntN(24000)))) + `"}`
	}
	c.text.Reset()
	fmt.Fprintf(&c.text, `{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":%q,"uid":%q,"resourceVersion":"%d","creationTimestamp":"2026-01-01T08:00:00Z","labels":{"app":%q,"app.kubernetes.io/name":%q,"app.kubernetes.io/managed-by":"Helm"},`+
		`"annotations":{"meta.helm.sh/release-name":%q,"meta.helm.sh/release-namespace":%q},"managedFields":[{"manager":"helm","operation":"Update","apiVersion":%q,"time":"2026-01-01T08:00:00Z","fieldsType":"FieldsV1",`+
		`"fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{}}}}}]%s},%s}`,
		m.version, m.kind, m.name, ns, c.uid(), 1000+c.n*7, base, base, base, ns, m.version, more, body)
	m.text = c.text.Bytes()
	return m
}

func (c *madeUp) uid() string {
	return c.hex(8) + "-" + c.hex(4) + "-4" + c.hex(3) + "-a" + c.hex(3) + "-" + c.hex(12)
}

func (c *madeUp) podSpec(base string) string {
	var env strings.Builder
	for i := range 12 {
		fmt.Fprintf(&env, `{"name":"SETTING_%d","value":"%s"},`, i, c.hex(12))
	}
	return `{"serviceAccountName":"default","nodeName":"node-` + strconv.Itoa(c.random.IntN(200)) + `","containers":[{"name":"app","image":"registry.example.com/` + base + `:1.2","imagePullPolicy":"IfNotPresent","env":[` + env.String() +
		`{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"` + base + `-secret-10","key":"password"}}}],"ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],"resources":{"limits":{"cpu":"1","memory":"512Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},` +
		`"livenessProbe":{"httpGet":{"path":"/live","port":8080,"scheme":"HTTP"},"periodSeconds":10,"failureThreshold":3},"securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"capabilities":{"drop":["ALL"]}},"terminationMessagePath":"/dev/termination-log",` +
		`"volumeMounts":[{"name":"config","mountPath":"/etc/app"},{"name":"kube-api-access-` + c.hex(5) + `","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}]}],"volumes":[{"name":"config","configMap":{"name":"` + base + `-config-8","defaultMode":420}}],` +
		`"restartPolicy":"Always","dnsPolicy":"ClusterFirst","schedulerName":"default-scheduler","terminationGracePeriodSeconds":30,"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]}`
}

// writeBackup writes a backup as Velero does, under backups/large of the folder: of so many objects, or where there are
// none, until the tarball holds so many bytes. It answers how many objects and bytes there are.
func writeBackup(tb testing.TB, dir string, objects int, size int64) (count int, bytes int64) {
	tb.Helper()
	at := filepath.Join(dir, "backups", "large")
	must := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	must(os.MkdirAll(at, 0o755))
	file, err := os.Create(filepath.Join(at, "large.tar.gz"))
	must(err)
	z := gzip.NewWriter(file) // as Velero makes it
	t := tar.NewWriter(z)
	put := func(name string, text []byte) {
		must(t.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Typeflag: tar.TypeReg, Mode: 0o755, ModTime: time.Unix(1767225600, 0)}))
		_, err := t.Write(text)
		must(err)
		bytes += 512 + (int64(len(text))+511)&^511
	}
	put("metadata/version", []byte("1.1.0\n"))
	listed := map[string]*strings.Builder{}
	c := &madeUp{random: rand.New(rand.NewPCG(1, 2))}
	for objects > 0 && count < objects || objects == 0 && bytes < size {
		m := c.next()
		scope := "/namespaces/" + m.namespace + "/" + m.name + ".json"
		put("resources/"+m.resource+scope, m.text)
		put("resources/"+m.resource+"/v1-preferredversion"+scope, m.text)
		kind := m.version + "/" + m.kind
		if listed[kind] == nil {
			listed[kind] = &strings.Builder{}
		} else {
			listed[kind].WriteByte(',')
		}
		fmt.Fprintf(listed[kind], "%q", m.namespace+"/"+m.name)
		count++
	}
	must(errors.Join(t.Close(), z.Close(), file.Close()))
	beside := func(name, text string) {
		f, err := os.Create(filepath.Join(at, name))
		must(err)
		w := io.WriteCloser(f)
		if strings.HasSuffix(name, ".gz") {
			w = gzip.NewWriter(f)
		}
		_, err = io.WriteString(w, text)
		must(errors.Join(err, w.Close()))
		if w != io.WriteCloser(f) {
			must(f.Close())
		}
	}
	var list []string
	for kind, names := range listed {
		list = append(list, fmt.Sprintf("%q:[%s]", kind, names))
	}
	beside("large-resource-list.json.gz", "{"+strings.Join(list, ",")+"}")
	beside("large-results.gz", `{"errors":{},"warnings":{}}`)
	beside("large-logs.gz", "")
	beside("large-volumeinfo.json.gz", "[]")
	beside("large-itemoperations.json.gz", "[]")
	beside("velero-backup.json", fmt.Sprintf(`{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"large","namespace":"velero"},"spec":{"ttl":"720h0m0s","storageLocation":"default"},`+
		`"status":{"phase":"Completed","formatVersion":"1.1.0","startTimestamp":"2026-01-10T00:00:00Z","completionTimestamp":"2026-01-10T00:10:00Z","expiration":"2026-02-09T00:00:00Z","progress":{"totalItems":%d,"itemsBackedUp":%d}}}`, count, count))
	return count, bytes
}

// timed runs a command to its end: how long it took, and the most memory it had. The exit codes of a scan are no failures.
func timed(tb testing.TB, cmd *exec.Cmd) (time.Duration, int64) {
	tb.Helper()
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	start := time.Now()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var peak int64
	for {
		select {
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 3 || exit.ExitCode() < 2) {
				tb.Fatalf("%s: %v: %s", cmd, err, complaint.String())
			}
			return time.Since(start), peak
		case <-tick.C:
			// A child's resource usage would count what its parent had when it forked.
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the most memory a process ever had, in bytes; zero where the system does not tell.
func highWater(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

func megabytesPerSecond(n int64, d time.Duration) float64 { return float64(n) / 1e6 / d.Seconds() }

// mebibytes is the size of the tarball to generate: PROVISO_MIB, else 10,240 where PROVISO_LARGE is set, else 1,024.
func mebibytes(tb testing.TB) int64 {
	text := os.Getenv("PROVISO_MIB")
	switch {
	case text == "" && os.Getenv("PROVISO_LARGE") != "":
		return 10 << 10
	case text == "":
		return 1 << 10
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// A backup of 66,000 objects, from its files to a JSON report by the command, with the policies that come with it.
func BenchmarkBackupJudged(b *testing.B) {
	dir := b.TempDir()
	command := filepath.Join(dir, "proviso")
	if out, err := exec.Command("go", "build", "-o", command, "../cmd/proviso").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	backup := filepath.Join(dir, "store")
	count, size := writeBackup(b, backup, 66_000, 0)
	b.ResetTimer()
	for b.Loop() {
		took, peak := timed(b, exec.Command(command, "scan", "velero:"+backup, "-q", "--now", "2026-01-11T00:00:00Z", "-o", "json="+filepath.Join(dir, "report.json")))
		report, err := os.ReadFile(filepath.Join(dir, "report.json"))
		if err != nil || !bytes.Contains(report, []byte(`"subjects"`)) {
			b.Fatalf("no report: %v", err)
		}
		b.ReportMetric(float64(count), "items")
		b.ReportMetric(float64(count)/took.Seconds(), "items/s")
		b.ReportMetric(megabytesPerSecond(size, took), "MB/s")
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	}
}

// readingEnv names the work that a child of the benchmark is to do, and readingStore the folder to do it on.
const readingEnv, readingStore = "PROVISO_TEST_READING", "PROVISO_TEST_STORE"

// TestReadingChild is no test but the child process of BenchmarkBackupRead. It prints how long the work took, and the
// most memory it had meanwhile beyond what there was before, in nanoseconds and bytes.
func TestReadingChild(t *testing.T) {
	work := os.Getenv(readingEnv)
	if work == "" {
		t.Skip("a part of BenchmarkBackupRead")
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100) // as a scan sets it
	}
	// What starting the test binary took is given back, and the mark of the most memory set back to what is left.
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Log(err)
	}
	before, start := highWater(os.Getpid()), time.Now()
	if err := reading(work, os.Getenv(readingStore)); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("took %d %d\n", time.Since(start), highWater(os.Getpid())-before)
}

func reading(work, dir string) error {
	if work == "inflate" {
		f, err := os.Open(filepath.Join(dir, "backups", "large", "large.tar.gz"))
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		return err
	}
	s, err := store.Folder(dir)
	if err != nil {
		return err
	}
	// What BackupContents tells is known once every entry was read, digested and decoded; nothing is judged.
	for sub, err := range (&velero.Source{Store: s}).Inspect(context.Background()) {
		if err != nil {
			return err
		}
		if sub.Kind == "BackupContents" {
			if told := sub.Object["tarball"].(map[string]any); told["complete"] != true || fmt.Sprint(told["problems"]) != "[]" {
				return fmt.Errorf("the tarball was read as %v", told)
			}
			return nil
		}
	}
	return errors.New("there was no BackupContents")
}

// A tarball of so many mebibytes read, digested and decoded, against gzip -dc on
// the same file, and against Go's decompressor alone for the memory.
func BenchmarkBackupRead(b *testing.B) {
	dir := b.TempDir()
	count, size := writeBackup(b, dir, 0, mebibytes(b)<<20)
	tarball := filepath.Join(dir, "backups", "large", "large.tar.gz")
	packed, err := os.Stat(tarball)
	if err != nil {
		b.Fatal(err)
	}
	child := func(work string) (took time.Duration, peak int64) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestReadingChild$")
		cmd.Env = append(os.Environ(), readingEnv+"="+work, readingStore+"="+dir)
		out, err := cmd.CombinedOutput()
		if n, _ := fmt.Sscanf(string(out), "took %d %d", &took, &peak); err != nil || n != 2 {
			b.Fatalf("%s: %v: %s", work, err, out)
		}
		return took, peak
	}
	b.ResetTimer()
	for b.Loop() {
		var plain, inflate, ours time.Duration
		var inflatePeak, ourPeak int64
		const rounds = 2
		for range rounds { // by turns, so that what slows the machine slows both
			d, _ := timed(b, exec.Command("gzip", "-dc", tarball))
			plain += d / rounds
			d, peak := child("read")
			ours, ourPeak = ours+d/rounds, max(ourPeak, peak)
			d, peak = child("inflate")
			inflate, inflatePeak = inflate+d/rounds, max(inflatePeak, peak)
		}
		b.ReportMetric(float64(count), "items")
		b.ReportMetric(float64(size)/float64(packed.Size()), "ratio")
		b.ReportMetric(megabytesPerSecond(size, ours), "MB/s")
		b.ReportMetric(megabytesPerSecond(size, plain), "gzip-MB/s")
		b.ReportMetric(megabytesPerSecond(size, inflate), "inflate-MB/s")
		b.ReportMetric(100*plain.Seconds()/ours.Seconds(), "%-of-gzip")
		b.ReportMetric(float64(ourPeak-inflatePeak)/(1<<20), "beyond-MiB")
		b.ReportMetric(float64(ourPeak)/(1<<20), "peak-MiB")
	}
}
