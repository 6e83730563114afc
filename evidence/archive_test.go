//go:build unix

package evidence_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
)

// plainHeader is the header of a file as exports write it.
func plainHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

func tarOf(t *testing.T, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, strings.NewReader(strings.Repeat("x", int(h.Size))), h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An archive is read only as it is written: whatever two readers could take in two ways is refused.
func TestArchiveRefuses(t *testing.T) {
	with := func(name string, change func(*tar.Header)) []byte {
		h := plainHeader(name, 1)
		change(h)
		return tarOf(t, h)
	}
	plain := tarOf(t, plainHeader("a", 1), plainHeader("b/c", 513))
	if from, err := evidence.OpenArchive(bytes.NewReader(plain), int64(len(plain))); err != nil {
		t.Fatal(err)
	} else if raw, err := fs.ReadFile(from, "b/c"); err != nil || len(raw) != 513 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	at := func(n int, b byte) []byte { c := bytes.Clone(plain); c[n] = b; return c }
	sparse := with("a", func(h *tar.Header) { h.Format = tar.FormatGNU })
	sparse[156] = tar.TypeGNUSparse
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"nothing":             {nil, "no end"},
		"a symbolic link":     {with("a", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0 }), "no plain file"},
		"a hard link":         {with("a", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeLink, "b", 0 }), "no plain file"},
		"a device":            {with("a", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeChar, 0 }), "no plain file"},
		"a pipe":              {with("a", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeFifo, 0 }), "no plain file"},
		"a folder":            {with("a/", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeDir, 0 }), "no plain file"},
		"a sparse file":       {sparse, "header"},
		"a sparse file (PAX)": {with("a", func(h *tar.Header) { h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"VENDOR.sparse": "1"} }), "header"},
		"a long name (PAX)":   {with(strings.Repeat("n/", 400)+"n", func(h *tar.Header) { h.Format = tar.FormatPAX }), "header"},
		"a long name (GNU)":   {with(strings.Repeat("n/", 400)+"n", func(h *tar.Header) { h.Format = tar.FormatGNU }), "header"},
		"outside":             {tarOf(t, plainHeader("../a", 1)), "no path below its root"},
		"from the root":       {tarOf(t, plainHeader("/a", 1)), "no path below its root"},
		"by a way round":      {tarOf(t, plainHeader("a/../b", 1)), "no path below its root"},
		"twice":               {tarOf(t, plainHeader("a", 1), plainHeader("a", 1)), "twice"},
		"a file in a file":    {tarOf(t, plainHeader("a", 1), plainHeader("a/b", 1)), "a file and a folder"},
		"not in order":        {tarOf(t, plainHeader("b", 1), plainHeader("a", 1)), "not in its order"},
		"another mode":        {with("a", func(h *tar.Header) { h.Mode = 0o4755 }), "not as it is written"},
		"another time":        {with("a", func(h *tar.Header) { h.ModTime = time.Unix(1, 0) }), "not as it is written"},
		"an owner":            {with("a", func(h *tar.Header) { h.Uname = "root" }), "not as it is written"},
		"after a file":        {at(512+100, 1), "after the end of a"},
		"after its end":       {append(bytes.Clone(plain), 0), "more after its end"},
		"in its end":          {at(len(plain)-1, 1), "more after its end"},
		"compressed":          {[]byte("\x1f\x8b" + strings.Repeat("z", 2000)), "header"},
		"larger than it is":   {hugeTar(t), "ends after the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := evidence.OpenArchive(bytes.NewReader(c.raw), int64(len(c.raw))); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for n := 0; n < len(plain); n += 512 {
		if _, err := evidence.OpenArchive(bytes.NewReader(plain[:n]), int64(n)); err == nil {
			t.Errorf("cut off after %d bytes, and nobody said so", n)
		}
	}
}

// What is neither a folder nor a file is not waited for, neither named nor within a folder.
func TestOpenPath(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "records")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(filepath.Join(dir, "salt"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := evidence.OpenPath(pipe); err == nil || !strings.Contains(err.Error(), pipe+" is neither a folder nor a file") {
		t.Errorf("a pipe: %v", err)
	}
	fsys, closer, err := evidence.OpenPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if _, err := fsys.Open("records"); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("a pipe in a folder: %v", err)
	}
	if _, err := fs.ReadFile(fsys, "salt"); err != nil {
		t.Errorf("a file: %v", err)
	}
	if _, err := fs.Stat(fsys, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// hugeTar has a file that says it is 7 GiB long.
func hugeTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(plainHeader("a", 7<<30)); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 1024)...)
}

// endless is a tar of so many empty files, made as it is read.
type endless struct{ headers int }

func (e endless) ReadAt(b []byte, at int64) (int, error) {
	n := int(at / 512)
	if n >= e.headers {
		clear(b)
		return len(b), nil
	}
	var out bytes.Buffer
	err := tar.NewWriter(&out).WriteHeader(plainHeader(fmt.Sprintf("%07d", n), 0))
	return copy(b, out.Bytes()), err
}

// An archive of a million files ends before they are all noted.
func TestArchiveFiles(t *testing.T) {
	for files, want := range map[int]bool{200_000: true, 200_001: false, 1_000_000: false} {
		_, err := evidence.OpenArchive(endless{files}, int64(files+2)*512)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "more than 200000 files") {
			t.Errorf("%d files: %v", files, err)
		}
	}
}
