package report_test

import (
	"io"
	"runtime"
	"runtime/metrics"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// decided is a report of n subjects that are judged already, so that a benchmark measures writing alone.
func decided(b *testing.B, n int) engine.Report {
	r := sample(b)
	var few []engine.Result
	for x := range r.Results {
		if x.Unread == nil {
			few = append(few, x)
		}
	}
	trailer := r.Trailer()
	return engine.Report{Header: r.Header, Trailer: func() engine.Trailer { return trailer }, Results: func(yield func(engine.Result) bool) {
		for i := range n {
			if !yield(few[i%len(few)]) {
				return
			}
		}
	}}
}

// heap samples the heap's size while it writes, and keeps the largest.
type heap struct {
	writes int
	peak   uint64
}

func (h *heap) Write(p []byte) (int, error) {
	if h.writes++; h.writes%1000 == 0 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		h.peak = max(h.peak, s[0].Value.Uint64())
	}
	return len(p), nil
}

// Benchmark writes 100,000 subjects' results; peak-MiB is the largest heap seen meanwhile.
func Benchmark(b *testing.B) {
	for _, name := range report.Formats() {
		f, _ := report.Lookup(name)
		b.Run(name, func(b *testing.B) {
			r := decided(b, 100_000)
			runtime.GC()
			var h heap
			b.ReportAllocs()
			for b.Loop() {
				if err := f(&h, r, report.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(h.peak)/(1<<20), "peak-MiB")
		})
	}
}

// TestMemoryIsFlat compares the heap at the end of a short run and of one ten times as long.
func TestMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("judges 110,000 subjects")
	}
	live := func(f report.Format, n int) uint64 {
		r := run(t, policies()[:1], nil, many(n))
		results := r.Results
		var size uint64
		r.Results = func(yield func(engine.Result) bool) {
			for x := range results {
				if !yield(x) {
					return
				}
			}
			runtime.GC()
			s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			metrics.Read(s)
			size = s[0].Value.Uint64()
		}
		if err := f(io.Discard, r, report.Options{}); err != nil {
			t.Fatal(err)
		}
		return size
	}
	for _, name := range []string{"dot", "github", "graph", "json", "junit", "text"} {
		f, _ := report.Lookup(name)
		short, long := live(f, 2_500), live(f, 25_000)
		if long > short+1<<20 {
			t.Errorf("%s holds %d KiB after 2,500 subjects and %d KiB after 25,000", name, short>>10, long>>10)
		}
	}
}
