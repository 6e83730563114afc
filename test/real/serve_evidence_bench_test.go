//go:build unix

package real

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// BenchmarkRealEvidence measures what records cost admission: creations of a location through the real API server, 50 a
// second, with no evidence and with each mode, by turns in one run. A dry run leaves no record, so these are kept, and deleted
// in between.
func BenchmarkRealEvidence(b *testing.B) {
	a := recordedCluster(b)
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	locations := client.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"}).Namespace("velero")
	var number atomic.Int64
	create := func(int) error {
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(bsl(fmt.Sprintf("kept-%d", number.Add(1)), "eu-central-1", "")), &o.Object); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := locations.Create(ctx, &o, metav1.CreateOptions{})
		return err
	}
	dir := b.TempDir()
	policies := filepath.Join(dir, "policies")
	made(b, policies, 16, 16)
	g := &guarded{cluster: a.cluster}
	g.kubectl(b, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"proviso-system"}}`, "apply", "-f", "-")
	const rate, lasting = 50, 10 * time.Second
	for b.Loop() {
		for _, mode := range []string{"off", "strict", "blocking", "batch"} {
			profile, flags := filepath.Join(policies, mode+".yaml"), []string(nil)
			text := "apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: deny\nbundles: [.]\n"
			if mode != "off" {
				text += "evidence: {mode: " + mode + "}\n"
				flags = []string{"--evidence", filepath.Join(dir, mode+".evidence"), "--key", a.key}
			}
			if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
			r := g.measuredReplica(b, "evidence-"+mode, profile, flags...)
			openLoop(rate, 2*time.Second, create)
			before := r.histogram(b)
			m := openLoop(rate, lasting, create)
			if m.failed > 0 {
				b.Errorf("%s: %d of %d requests failed: %v", mode, m.failed, len(m.latencies), m.last)
			}
			for label, q := range map[string]float64{"p50": .5, "p99": .99} {
				b.ReportMetric(m.quantile(q), mode+"-"+label+"-ms")
			}
			b.ReportMetric(serverQuantile(before, r.histogram(b), .99)*1000, mode+"-server-p99-ms")
			if mode != "off" {
				var bytes, records float64
				if _, err := fmt.Sscan(r.metric(b, "proviso_evidence_bytes ")+" "+r.metric(b, "proviso_evidence_records "), &bytes, &records); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(bytes/records, mode+"-bytes/record")
			}
			if err := r.process.Signal(syscall.SIGTERM); err != nil {
				b.Fatal(err)
			}
			<-r.done
			g.kubectl(b, "", "delete", "validatingwebhookconfiguration", "measured")
			if err := locations.DeleteCollection(b.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
