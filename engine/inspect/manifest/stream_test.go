package manifest_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"proviso.dev/proviso/engine/inspect/manifest"
)

// many writes a file of n backup locations.
func many(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "many.yaml")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for i := range n {
		fmt.Fprintf(w, "---\napiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata:\n  name: location-%d\n  namespace: velero\n  labels:\n    app.kubernetes.io/name: velero\nspec:\n  provider: aws\n  default: true\n  objectStorage:\n    bucket: backups\n    prefix: cluster-%d\n  config:\n    region: eu-central-1\n    s3ForcePathStyle: \"true\"\n  accessMode: ReadWrite\n  validationFrequency: 1m\n", i, i)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 100,000 manifests")
	}
	// peak is the most memory in use at the end of any tenth of the inspection.
	peak := func(n int) uint64 {
		in := &manifest.Files{Paths: []string{many(t, n)}}
		var most uint64
		seen := 0
		for sub, err := range in.Inspect(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("location-%d", seen); sub.Name != want {
				t.Fatalf("%s comes where %s should", sub.Name, want)
			}
			if seen++; seen%(n/10) == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
		if seen != n {
			t.Fatalf("found %d of %d", seen, n)
		}
		return most
	}
	small, large := peak(1_000), peak(100_000)
	t.Logf("in use: %d KiB at 1,000, %d KiB at 100,000 manifests", small>>10, large>>10)
	if large > small*3/2+4<<20 {
		t.Errorf("memory grows with the number of manifests: %d KiB at 1,000, %d KiB at 100,000", small>>10, large>>10)
	}
}

func BenchmarkInspect(b *testing.B) {
	const n = 2000
	in := &manifest.Files{Paths: []string{many(b, n)}}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range in.Inspect(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/manifest")
}
