//go:build unix

package evidence_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"proviso.dev/proviso/evidence"
)

// badDisk fails to read from an offset on.
type badDisk struct {
	io.ReaderAt
	from int64
}

func (f badDisk) ReadAt(b []byte, at int64) (int, error) {
	if at >= f.from {
		return 0, syscall.EIO
	}
	return f.ReaderAt.ReadAt(b, at)
}

// A bundle that was cut off, or of which a byte between its files was altered, is told from what never was a bundle.
func TestBundleAltered(t *testing.T) {
	_, _ = export(t)
	raw := bundle.raw
	altered := func(in io.ReaderAt, size int) (opened, was bool) {
		_, err := evidence.OpenArchive(in, int64(size))
		_, was = errors.AsType[*evidence.BundleAltered](err)
		return err == nil, was
	}
	for at := 0; at < len(raw); at++ {
		flipped := bytes.Clone(raw)
		flipped[at] ^= 1
		if opened, was := altered(bytes.NewReader(flipped), len(flipped)); !opened && !was {
			t.Fatalf("byte %d is altered, and it is no bundle", at)
		}
		if at > 8192 { // headers and padding are by then as before
			at += 100
		}
	}
	for n := 512; n < len(raw); n += 512 {
		if opened, was := altered(bytes.NewReader(raw[:n-1]), n-1); opened || !was && n > 512 {
			t.Fatalf("cut off after %d bytes: opened %v, a bundle %v", n-1, opened, was)
		}
	}
	for name, other := range map[string][]byte{
		"nothing": nil, "no tar": bytes.Repeat([]byte("x"), 4096), "another tar": tarOf(t, plainHeader("b", 1), plainHeader("a", 1)),
		"another tar, cut off": tarOf(t, plainHeader("evidence/notes", 1))[:1024],
	} {
		if opened, was := altered(bytes.NewReader(other), len(other)); opened || was {
			t.Errorf("%s: opened %v, a bundle %v", name, opened, was)
		}
	}
	if opened, was := altered(badDisk{bytes.NewReader(raw), 4096}, len(raw)); opened || was {
		t.Errorf("it cannot be read: opened %v, altered %v", opened, was)
	}
}

// A bundle of which nobody signed what is in it does not verify, as a file or unpacked.
func TestArchiveNoManifest(t *testing.T) {
	raw := tarOf(t, plainHeader("evidence/cosign.pub", 1), plainHeader("evidence/producer.json", 1))
	name := filepath.Join(t.TempDir(), "bundle.tar")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	refusedBundle(t, name)
	for _, beside := range []string{evidence.InstructionsFile, evidence.GapsFile, evidence.SummaryCSV, evidence.SummaryHTML} {
		dir := t.TempDir()
		place(t, filepath.Join(dir, evidence.ExportDir, evidence.ProducerFile), filepath.Join(dir, beside))
		refusedBundle(t, dir)
	}
}

// place makes files with nothing in them.
func place(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func refusedBundle(t *testing.T, name string) {
	t.Helper()
	_, _, err := evidence.OpenPath(name)
	was, ok := errors.AsType[*evidence.BundleAltered](err)
	if !ok || !strings.Contains(err.Error(), "without its manifest") {
		t.Fatalf("it is %v", err)
	}
	if v := was.Verified(); v.ExitCode() != evidence.ExitUnverified || !strings.Contains(v.Problems[0].Text, "without its manifest") {
		t.Errorf("it is %+v", v)
	}
}
