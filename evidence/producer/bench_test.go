//go:build unix

package producer_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// pod is a decision of 20 policies on a Pod, about as large as they are.
func pod(n int) (evidence.Record, evidence.Input, error) {
	name := fmt.Sprint("api-7d9c6b5f4-", n)
	in := evidence.Input{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: name, Operation: "CREATE", User: map[string]any{"username": "system:serviceaccount:kube-system:replicaset-controller"},
		Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "shop", "labels": map[string]any{"app": "api"}},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "api", "image": "registry.example/api@sha256:0123456789012345678901234567890123456789012345678901234567890123"}}}}}
	raw, err := evidence.Encode(in)
	d := &evidence.Decision{Event: fmt.Sprintf("5f6c9a52-6c1f-4a3e-9d07-%012d", n), Source: "admission", Operation: "CREATE", Subject: evidence.Subject{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: name},
		Input: evidence.DigestOf(raw), Activation: 1, PolicySet: evidence.DigestOf(nil), Answer: &evidence.Answer{Allowed: true}}
	for p := range 20 {
		d.Results = append(d.Results, evidence.Result{Policy: fmt.Sprint("retention/policy-", p), Digest: evidence.DigestOf(nil), Severity: "high", Verdict: "notApplicable", Effect: "record",
			Controls: []engine.Control{{Framework: "dora", ID: "art-12", Relation: "supports"}}})
	}
	return evidence.Record{Decision: d}, in, err
}

// offered is how many records a second batch mode is given: as it answers at once, any number could be.
const offered = 5000

// Acknowledged records a second, the time an answer waits for one, and what one takes on disk.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []string{producer.Strict, producer.Blocking, producer.Batch} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", mode, callers), func(b *testing.B) {
				dir := b.TempDir()
				o := serving(newKey(b), mode)
				o.Wait = time.Minute
				w := open(b, dir, o)
				var next, lost atomic.Int64
				times := make([]time.Duration, b.N)
				var all sync.WaitGroup
				b.ResetTimer()
				start := time.Now()
				for range callers {
					all.Go(func() {
						for n := int(next.Add(1)) - 1; n < b.N; n = int(next.Add(1)) - 1 {
							rec, in, err := pod(n)
							if err != nil {
								b.Error(err)
							}
							if mode == producer.Batch {
								time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / offered)))
							}
							begun := time.Now()
							if _, err := w.Append(b.Context(), rec, in); err != nil {
								lost.Add(1)
							}
							times[n] = time.Since(begun)
						}
					})
				}
				all.Wait()
				b.StopTimer()
				took := b.Elapsed()
				if _, err := w.Checkpoint(b.Context()); err != nil {
					b.Fatal(err)
				}
				slices.Sort(times)
				b.ReportMetric((float64(b.N)-float64(lost.Load()))/took.Seconds(), "records/s")
				b.ReportMetric(times[len(times)*99/100].Seconds()*1000, "p99-ms")
				b.ReportMetric(times[len(times)/2].Seconds()*1000, "p50-ms")
				b.ReportMetric(float64(w.Stats().Bytes)/float64(b.N), "B/record")
				b.ReportMetric(float64(lost.Load()), "lost")
			})
		}
	}
}
