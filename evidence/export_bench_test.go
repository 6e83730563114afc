//go:build unix

package evidence_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"proviso.dev/proviso/evidence"
)

// BenchmarkExport tells what it takes to export a scan, and to verify that. PROVISO_LARGE makes it one of 100,000 records.
func BenchmarkExport(b *testing.B) {
	n := 5_000
	if os.Getenv("PROVISO_LARGE") != "" {
		n = 100_000
	}
	k := newKey(b)
	dir := scanOf(b, k, n, func(i int) evidence.Subject {
		return evidence.Subject{APIVersion: "velero.io/v1", Kind: "BackupStorageLocation", Namespace: fmt.Sprint("ns", i%50), Name: fmt.Sprint("location-", i), Source: "cluster:"}
	})
	name := filepath.Join(b.TempDir(), "bundle.tar")
	verify := func(b *testing.B, name string) {
		b.Helper()
		for b.Loop() {
			fsys, closer, err := evidence.OpenPath(name)
			if err != nil {
				b.Fatal(err)
			}
			v, err := evidence.Verify(fsys, evidence.Options{})
			if err != nil || v.ExitCode() != evidence.ExitVerified {
				b.Fatal(err, v.Problems, v.Holes)
			}
			closer.Close()
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	}
	b.Run("verify folder", func(b *testing.B) { verify(b, dir) })
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Create(name)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := evidence.Export(b.Context(), os.DirFS(dir), f, &evidence.ExportOptions{Key: k.public(b), Sign: signer(b, k), Scratch: b.TempDir()}); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		info, err := os.Stat(name)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(info.Size())/float64(n), "B/record")
	})
	b.Run("verify", func(b *testing.B) { verify(b, name) })
}
