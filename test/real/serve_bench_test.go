//go:build unix

package real

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// made writes so many policies, of which matching are for locations and the others for a kind that is not asked about.
// The rule of each looks at three fields, and all are met.
func made(tb testing.TB, dir string, policies, matching int) {
	tb.Helper()
	for i := range policies {
		kind := "BackupStorageLocation"
		if i >= matching {
			kind = "VolumeSnapshotLocation"
		}
		at := filepath.Join(dir, "governance", fmt.Sprintf("made-%05d", i))
		if err := os.MkdirAll(at, 0o755); err != nil {
			tb.Fatal(err)
		}
		for name, text := range map[string]string{
			"policy.yaml": fmt.Sprintf("title: Made %d\nseverity: high\nmatch:\n  - {group: velero.io, kinds: [%s]}\nrequires: {spec.provider: string}\noptional: {spec.config.region: string, spec.objectStorage.bucket: string}\nparams: {type: object, properties: {number: {type: integer, default: %d}}}\ncontrols: []\nfix: Mend it.\n", i, kind, i),
			"policy.cel":  madeRule,
		} {
			if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o600); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

const madeRule = `object.spec.provider == "none" || object.?spec.?config.?region.orValue("") == "nowhere-" + string(params.number) || object.?spec.?objectStorage.?bucket.orValue("").startsWith("forbidden-")
  ? [{"message": "want another place", "path": "spec.provider"}] : []`

// measured is what an open loop saw: requests start at their times, whether those before have ended or not.
type measured struct {
	latencies []time.Duration
	failed    int
	last      error
}

func (m measured) quantile(q float64) float64 {
	if len(m.latencies) == 0 {
		return math.NaN()
	}
	return float64(m.latencies[min(len(m.latencies)-1, int(q*float64(len(m.latencies))))]) / 1e6
}

func openLoop(rate int, lasting time.Duration, ask func(i int) error) measured {
	var m measured
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for i := range int(lasting.Seconds() * float64(rate)) {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			err := ask(i)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			m.latencies = append(m.latencies, took)
			if err != nil {
				m.failed, m.last = m.failed+1, err
			}
		})
	}
	wg.Wait()
	slices.Sort(m.latencies)
	return m
}

// BenchmarkRealAdmission measures dry-run creations of a location through the real API server, with nothing asked, with a
// webhook that always says yes, with a ValidatingAdmissionPolicy for each of 100 rules, and with serve and 16, 100 and
// 10,000 policies of which 100 match. All in one run, by turns; the rate is PROVISO_RATE, else 100 a second.
func BenchmarkRealAdmission(b *testing.B) {
	g := admission(b)
	rate := 100
	if text := os.Getenv("PROVISO_RATE"); text != "" {
		var err error
		if rate, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", g.kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	config.QPS, config.Burst = -1, 0
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	locations := client.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"}).Namespace("velero")
	create := func(i int) error {
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(bsl(fmt.Sprintf("made-%d", i), "eu-central-1", "")), &o.Object); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := locations.Create(ctx, &o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	defer g.apply(b, g.configuration) // that the other suites work with
	g.kubectl(b, "", "delete", "validatingwebhookconfiguration", "proviso")
	lasting := 10 * time.Second
	report := func(name string, m measured) {
		if m.failed > 0 {
			b.Errorf("%s: %d of %d requests failed: %v", name, m.failed, len(m.latencies), m.last)
		}
		for label, q := range map[string]float64{"p50": .5, "p99": .99, "p99.9": .999} {
			b.ReportMetric(m.quantile(q), name+"-"+label+"-ms")
		}
	}
	for b.Loop() {
		openLoop(rate, 2*time.Second, create) // warm
		report("none", openLoop(rate, lasting, create))

		yes := always(b)
		saysYes := func(name string) {
			g.apply(b, configurationFor(yes.URL, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: yes.Certificate().Raw}))))
			openLoop(rate, 2*time.Second, create)
			report(name, openLoop(rate, lasting, create))
			g.kubectl(b, "", "delete", "validatingwebhookconfiguration", "measured")
		}
		saysYes("yes")

		for _, c := range []struct{ policies, matching int }{{16, 16}, {100, 100}, {10_000, 100}} {
			dir := b.TempDir()
			made(b, dir, c.policies, c.matching)
			profile := filepath.Join(dir, "proviso.yaml")
			if err := os.WriteFile(profile, []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: deny\nbundles: [.]\n"), 0o600); err != nil {
				b.Fatal(err)
			}
			name := fmt.Sprintf("serve-%d", c.policies)
			r := g.measuredReplica(b, name, profile)
			openLoop(rate, 2*time.Second, create)
			before := r.histogram(b)
			report(name, openLoop(rate, lasting, create))
			b.ReportMetric(serverQuantile(before, r.histogram(b), .99)*1000, name+"-server-p99-ms")
			b.ReportMetric(r.resident(b)/(1<<20), name+"-MiB")
			if err := r.process.Signal(syscall.SIGTERM); err != nil {
				b.Fatal(err)
			}
			<-r.done
			g.kubectl(b, "", "delete", "validatingwebhookconfiguration", "measured")
		}
		saysYes("yes-again")

		// Last: what it leaves in the API server's memory would be measured with what comes after it.
		g.floor(b, 100)
		openLoop(rate, 3*time.Second, create)
		report("vap-100", openLoop(rate, lasting, create))
		g.kubectl(b, "", "delete", "validatingadmissionpolicybindings,validatingadmissionpolicies", "-l", "made=yes")
	}
}

// always is a webhook that says yes.
func always(b *testing.B) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review)
	}))
	s.TLS = &tls.Config{NextProtos: []string{"h2"}}
	s.StartTLS()
	b.Cleanup(s.Close)
	return s
}

func configurationFor(url, bundle string) map[string]any {
	return map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": "measured"}, "webhooks": []any{map[string]any{
		"name": "measured.proviso.dev", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": []any{"v1"}, "timeoutSeconds": 10,
		"clientConfig": map[string]any{"url": url, "caBundle": bundle},
		"rules":        []any{map[string]any{"apiGroups": []any{"velero.io"}, "apiVersions": []any{"v1"}, "resources": []any{"backupstoragelocations"}, "operations": []any{"CREATE", "UPDATE"}}}}}}
}

// floor makes so many ValidatingAdmissionPolicies of the same rule.
func (g *guarded) floor(b *testing.B, n int) {
	b.Helper()
	var all strings.Builder
	for i := range n {
		for _, o := range []map[string]any{
			{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": map[string]any{"name": fmt.Sprintf("made-%d", i), "labels": map[string]any{"made": "yes"}}, "spec": map[string]any{
				"failurePolicy": "Fail", "matchConstraints": map[string]any{"resourceRules": []any{map[string]any{"apiGroups": []any{"velero.io"}, "apiVersions": []any{"v1"}, "resources": []any{"backupstoragelocations"}, "operations": []any{"CREATE", "UPDATE"}}}},
				"validations": []any{map[string]any{"expression": fmt.Sprintf(`!(object.spec.provider == "none" || object.?spec.?config.?region.orValue("") == "nowhere-%d" || object.?spec.?objectStorage.?bucket.orValue("").startsWith("forbidden-"))`, i)}}}},
			{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": map[string]any{"name": fmt.Sprintf("made-%d", i), "labels": map[string]any{"made": "yes"}}, "spec": map[string]any{"policyName": fmt.Sprintf("made-%d", i), "validationActions": []any{"Deny"}}},
		} {
			text, err := json.Marshal(o)
			if err != nil {
				b.Fatal(err)
			}
			all.Write(text)
			all.WriteByte('\n')
		}
	}
	g.kubectl(b, all.String(), "apply", "-f", "-")
	denied := strings.Replace(bsl("x", "eu-central-1", ""), `"bucket":"b"`, `"bucket":"forbidden-b"`, 1)
	until(b, time.Minute, "the policies to bite", func(context.Context) error {
		if out, ok := g.try(b, denied, "apply", "--dry-run=server", "-f", "-"); ok {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// measuredReplica is a replica with a configuration of its own, which asks it about locations and nothing else.
func (g *guarded) measuredReplica(b *testing.B, name, profile string, flags ...string) *replica {
	b.Helper()
	address, err := freeAddress()
	if err != nil {
		b.Fatal(err)
	}
	port := address[strings.LastIndexByte(address, ':')+1:]
	authority := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "measured-authority", "namespace": "proviso-system"}}
	g.apply(b, authority)
	g.apply(b, configurationFor("https://127.0.0.1:"+port+"/fail", ""))
	// The manifests' rights name their own Secret and configuration.
	administrator := guarded{cluster: g.cluster, account: g.kubeconfig, profile: profile}
	return administrator.serve(b, name, port, append(flags, "--name", "measured", "--reload", "5s")...)
}

// histogram is the server's own, by upper bound, of the fail-closed webhook.
func (r *replica) histogram(tb testing.TB) map[float64]float64 {
	tb.Helper()
	answer, err := http.Get("http://" + r.probes + "/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	all := map[float64]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		var le string
		var n float64
		if rest, ok := strings.CutPrefix(lines.Text(), `proviso_admission_duration_seconds_bucket{webhook="fail",le="`); ok {
			if le, rest, ok = strings.Cut(rest, `"} `); ok {
				bound, _ := strconv.ParseFloat(le, 64)
				n, _ = strconv.ParseFloat(rest, 64)
				all[bound] = n
			}
		}
	}
	return all
}

// serverQuantile is the upper bound of the bucket that holds it, in seconds.
func serverQuantile(before, after map[float64]float64, q float64) float64 {
	var bounds []float64
	for b := range after {
		bounds = append(bounds, b)
	}
	slices.Sort(bounds)
	total := after[math.Inf(1)] - before[math.Inf(1)]
	for _, b := range bounds {
		if after[b]-before[b] >= q*total {
			return b
		}
	}
	return math.NaN()
}

func (r *replica) resident(tb testing.TB) float64 {
	n, err := strconv.ParseFloat(r.metric(tb, "process_resident_memory_bytes"), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
