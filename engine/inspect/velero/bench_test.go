package velero

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// generate writes a tarball of about size bytes, each object with its twin.
func generate(w io.Writer, size int64) {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	t := tar.NewWriter(z)
	random := rand.New(rand.NewPCG(1, 2))
	for n := int64(0); n < size; {
		name := "object-" + strconv.FormatInt(n, 36)
		var env strings.Builder
		for i := range 100 {
			fmt.Fprintf(&env, `{"name":"VARIABLE_%d","value":"%x"},`, i, random.Uint64())
		}
		text := object("v1", "ConfigMap", "shop", name, `,"spec":{"env":[`+env.String()+`{}]}`)
		for _, e := range twins("configmaps", "v1", "namespaces/shop/"+name, text) {
			_ = t.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.text)), Typeflag: tar.TypeReg})
			_, _ = t.Write([]byte(e.text))
			n += int64(len(e.text)) + 512
		}
	}
	_ = t.Close()
	_ = z.Close()
}

// BenchmarkIndex reads, digests and decodes a tarball of VELERO_BENCH_MIB (256), against decompressing it only.
func BenchmarkIndex(b *testing.B) {
	mib, _ := strconv.ParseInt(os.Getenv("VELERO_BENCH_MIB"), 10, 64)
	if mib == 0 {
		mib = 256
	}
	var packed bytes.Buffer
	generate(&packed, mib<<20)
	for b.Loop() {
		start := time.Now()
		z, _ := gzip.NewReader(bytes.NewReader(packed.Bytes()))
		n, _ := io.Copy(io.Discard, z)
		plain := time.Since(start)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		before, peak, taken := m.HeapInuse, uint64(0), 0
		start = time.Now()
		t := &tarball{limits: Limits{}.orDefault(), index: newIndex(1 << 30), open: func(context.Context) (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(packed.Bytes())), int64(packed.Len()), nil
		}}
		out := t.read(b.Context(), false, func(*item) bool {
			if taken++; taken%2000 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
			return true
		})
		ours := time.Since(start)
		t.index.close()
		if out.err != nil {
			b.Fatal(out.err)
		}
		b.ReportMetric(float64(n)/1e6/ours.Seconds(), "MB/s")
		b.ReportMetric(float64(n)/1e6/plain.Seconds(), "gunzip-MB/s")
		b.ReportMetric(100*plain.Seconds()/ours.Seconds(), "%-of-gunzip")
		b.ReportMetric(float64(max(peak, before)-before)/(1<<20), "heap-MiB")
	}
}
