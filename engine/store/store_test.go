package store_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/engine/store"
)

func keys(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

func content(t *testing.T, s store.Store, key string) string {
	t.Helper()
	r, info, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != int64(len(b)) {
		t.Errorf("%s: size %d, read %d", key, info.Size, len(b))
	}
	return string(b)
}

func writeFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		file := filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("content of "+n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type entry struct {
	tar.Header
	body string
}

func writeTar(t *testing.T, name string, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.Mode = int64(len(e.body)), 0o644
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	if strings.HasSuffix(name, "gz") {
		var z bytes.Buffer
		zw := gzip.NewWriter(&z)
		if _, err := zw.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		data = z.Bytes()
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func file(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg}, "content of " + name}
}

// A folder, a tar file and a gzipped one are the same store.
func TestFilesAreListedAndOpened(t *testing.T) {
	names := []string{"a-b", "a/b", "a/c/d", "b"}
	dir := t.TempDir()
	writeFiles(t, dir, names...)
	entries := []entry{{tar.Header{Name: "a/", Typeflag: tar.TypeDir}, ""}, file("b"), file("a/c/d"), file("./a-b"), file("a/b")}
	for _, place := range []string{dir, writeTar(t, "s.tar", entries...), writeTar(t, "s.tar.gz", entries...), writeTar(t, "s.tgz", entries...)} {
		s, err := store.Open(t.Context(), place)
		if err != nil {
			t.Fatal(err)
		}
		if got := keys(t, s, ""); !slices.Equal(got, names) {
			t.Errorf("%s: listed %q, want %q", place, got, names)
		}
		if got := keys(t, s, "a/"); !slices.Equal(got, []string{"a/b", "a/c/d"}) {
			t.Errorf("%s: listed %q under a/", place, got)
		}
		if got := content(t, s, "a/c/d"); got != "content of a/c/d" {
			t.Errorf("%s: read %q", place, got)
		}
		if _, _, err := s.Open(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v, want fs.ErrNotExist", place, err)
		}
	}
}

func TestFolderStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"absolute": outside, "dots": "../../../../../../etc/hostname"} {
		dir := t.TempDir()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skipf("no links here: %v", err)
		}
		s, err := store.Folder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if r, _, err := s.Open(t.Context(), name); err == nil {
			r.Close()
			t.Errorf("%s: opened a file outside the folder", name)
		}
		var failed error
		for _, err := range s.List(t.Context(), "") {
			failed = err
		}
		if failed == nil {
			t.Errorf("%s: a link that leads out is listed as a file", name)
		}
	}
}

// What is no file hides itself and nothing else of the folder.
func TestAFolderIsListedPastWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, "a", "m/x", "z", "other/y")
	for name, target := range map[string]string{"m/nothing": "gone", "m/out": "../../secret", "m/within": "../a", "m/folder": "../other", "other/nothing": "gone"} {
		if err := os.Symlink(filepath.FromSlash(target), filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	s, err := store.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]string{
		"":   "[a m/folder: it is no regular file m/nothing: it is a link m/out: it is a link m/within m/x other/nothing: it is a link other/y z]",
		"m/": "[m/folder: it is no regular file m/nothing: it is a link m/out: it is a link m/within m/x]",
	} {
		var got []string
		for info, err := range s.List(t.Context(), prefix) {
			var entry *store.EntryError
			switch {
			case errors.As(err, &entry):
				what, _, _ := strings.Cut(entry.Err.Error(), " out of")
				what, _, _ = strings.Cut(what, " (")
				got = append(got, entry.Key+": "+what)
				if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), entry.Key) {
					t.Errorf("%v: want the folder and the entry named", err)
				}
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, info.Key)
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("under %q: %v\nwant %s", prefix, got, want)
		}
	}
}

func TestTarRefuses(t *testing.T) {
	whole := writeTar(t, "whole.tar", file("a"), file("b"))
	cut, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	truncated := filepath.Join(t.TempDir(), "cut.tar")
	if err := os.WriteFile(truncated, cut[:1024+100], 0o644); err != nil {
		t.Fatal(err)
	}
	for want, place := range map[string]string{
		"leads out":       writeTar(t, "out.tar", file("../a")),
		"twice":           writeTar(t, "twice.tar", file("a"), file("./a")),
		"no regular file": writeTar(t, "link.tar", entry{tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b"}, ""}),
		"unexpected EOF":  truncated,
	} {
		s, err := store.Tar(place)
		if err != nil {
			t.Fatal(err)
		}
		var got error
		for _, err := range s.List(t.Context(), "") {
			got = err
		}
		if got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("%s: error %v, want %q", filepath.Base(place), got, want)
		}
		if _, _, err := s.Open(t.Context(), "a"); err == nil {
			t.Errorf("%s: opened a file of an archive that is refused", filepath.Base(place))
		}
	}
}

func TestOpenSaysWhatItWants(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, "x.zip")
	for text, want := range map[string]string{
		filepath.Join(dir, "x.zip"):        "want a folder, a .tar",
		filepath.Join(dir, "none"):         "no such file",
		"s3://":                            "want s3://bucket/prefix",
		"s3://user:pass@bucket/x":          "give credentials by the environment",
		"s3://bucket?zone=a":               `no option "zone"`,
		"s3://bucket?endpoint=localhost:1": "no http or https URL",
	} {
		if _, err := store.Open(t.Context(), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: the error shows the password: %v", text, err)
		}
	}
}

func TestFolderFileThatShrinks(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte(strings.Repeat("x", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := store.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Open(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(name, 10); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read %d bytes with error %v, want the change told", len(b), err)
	}
}

func ExampleParseSource() {
	s, err := store.ParseSource("s3://backups/prod?endpoint=https://s3.example.org&region=eu-central-1")
	fmt.Println(s, s.Endpoint, s.Region, err)
	// Output: s3://backups/prod?endpoint=https://s3.example.org https://s3.example.org eu-central-1 <nil>
}
