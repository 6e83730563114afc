package velero

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// under moves every file of a store into a folder.
func under(dir string, stores ...memory) memory {
	m := memory{}
	for _, s := range stores {
		for k, v := range s {
			m[path.Join(dir, k)] = v
		}
	}
	return m
}

// watched counts the files that are listed of a data mover, and fails a listing that comes to a key.
type watched struct {
	memory
	blobs  int
	broken string
}

func (w *watched) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for i, err := range w.memory.List(ctx, prefix) {
			if strings.Contains(i.Key, "kopia/") {
				w.blobs++
			}
			if w.broken != "" && strings.HasPrefix(i.Key, w.broken) {
				yield(store.Info{}, fmt.Errorf("list: %w", store.ErrUnavailable))
				return
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func TestLayouts(t *testing.T) {
	one := func(name string) memory { return backup(name, gz(tarOf(sample()...))) }
	restore, kopia := memory{"restores/r1/restore-r1-results.gz": gz([]byte(`{"errors":{},"warnings":{}}`))}, memory{}
	for i := range 100 {
		kopia[fmt.Sprintf("kopia/shop/p%d", i)] = nil
	}
	location := under("", one("b1"), one("b2"), kopia, restore)
	alone := memory{}
	for k, v := range one("b1") {
		alone[path.Base(k)] = v
	}
	for name, c := range map[string]struct {
		files  memory
		prefix string
		broken string
		want   string
		blobs  int
		unread string
	}{
		"a location":                   {files: location, want: "b1 b2 r1"},
		"a location by its prefix":     {files: under("prod", location), prefix: "/prod/", want: "b1@prod b2@prod r1@prod"},
		"another's prefix starts so":   {files: under("", under("prod", one("b1")), under("prod-2", one("b2"))), prefix: "prod", want: "b1@prod"},
		"several below":                {files: under("", under("a", location), under("b/c", one("b3"))), want: "b1@a b2@a b3@b/c r1@a", blobs: 100},
		"one backup":                   {files: alone, want: "b1"},
		"one backup by its prefix":     {files: location, prefix: "backups/b2", want: "b2"},
		"the backups by their prefix":  {files: location, prefix: "backups", want: "b1 b2"},
		"restores only":                {files: under("", restore, kopia), want: "r1", unread: "there are none"},
		"a data mover's files only":    {files: kopia, want: "", blobs: 100, unread: "there are none"},
		"nothing":                      {files: memory{}, want: "", unread: "there are none"},
		"a listing that ends":          {files: location, broken: "backups/b2/v", want: "b1", unread: "list backups"},
		"a listing that ends, further": {files: location, broken: "restores/", want: "b1 b2", unread: "list backups"},
		"a listing that ends, below":   {files: under("a", location), broken: "a/kopia", want: "b1@a", blobs: 1, unread: "list backups"},
	} {
		w := &watched{memory: c.files, broken: c.broken}
		got := inspect(t, &Source{Store: w, Prefix: c.prefix})
		var found []string
		for _, s := range got.subjects {
			if s.Kind != "BackupContents" && s.Kind != "Drill" {
				continue
			}
			text := s.Name
			if prefix, ok := s.Object["location"].(map[string]any)["prefix"].(string); ok {
				text += "@" + prefix
			}
			found = append(found, text)
		}
		if text := strings.Join(found, " "); text != c.want {
			t.Errorf("%s: found %q, want %q", name, text, c.want)
		}
		if w.blobs != c.blobs {
			t.Errorf("%s: %d of a data mover's files were listed, want %d", name, w.blobs, c.blobs)
		}
		if c.unread == "" && len(got.unread) > 0 || c.unread != "" && (len(got.unread) == 0 || got.unread[0].Kind != engine.Hole || !strings.Contains(got.unread[0].Error(), c.unread)) {
			t.Errorf("%s: unread %v, want %q", name, got.unread, c.unread)
		}
	}
}

// misjudged is a store that lists a file with another size than it has.
type misjudged struct {
	memory
	key  string
	more int64
}

func (m *misjudged) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for i, err := range m.memory.List(ctx, prefix) {
			if i.Key == m.key {
				i.Size += m.more
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func (m *misjudged) Open(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	r, i, err := m.memory.Open(ctx, key)
	if key == m.key {
		i.Size += m.more
	}
	return r, i, err
}

func TestAFileOfAnotherSizeThanListedIsAHole(t *testing.T) {
	files := backup("b", gz(tarOf(sample()...)))
	maps.Copy(files, memory{"restores/r/restore-r-results.gz": gz([]byte(`{}`))})
	for key := range files {
		for _, more := range []int64{10, -10} {
			got := inspect(t, &Source{Store: &misjudged{files, key, more}})
			if len(got.unread) == 0 || got.unread[0].Kind != engine.Hole || got.unread[0].File != key || !errors.Is(got.unread[0], io.ErrUnexpectedEOF) {
				t.Errorf("%s, %+d bytes: %v", key, more, got.unread)
			}
			contents := got.of("BackupContents")
			if strings.HasSuffix(key, ".tar.gz") != (contents["tarball"].(map[string]any)["complete"] == false) {
				t.Errorf("%s, %+d bytes: %v", key, more, contents["tarball"])
			}
			for _, f := range contents["files"].([]any) {
				if f := f.(map[string]any); (f["key"] == key) != (f["sha256"] == nil) {
					t.Errorf("%s, %+d bytes: %v", key, more, f)
				}
			}
		}
	}
}

// A link hides the file it stands for, and no other backup.
func TestALinkHidesNothingElse(t *testing.T) {
	dir := t.TempDir()
	stored := under("", backup("b1", gz(tarOf(sample()...))), backup("b2", gz(tarOf(sample()...))))
	for key, text := range stored {
		file := filepath.Join(dir, filepath.FromSlash(key))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"backups/b1/b1.tar.gz", "backups/b1/" + metadataFile} {
		link := filepath.Join(dir, filepath.FromSlash(key))
		if err := errors.Join(os.Remove(link), os.Symlink("/etc/hostname", link)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	s, err := store.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := inspect(t, &Source{Store: s})
	names := ""
	for _, sub := range got.subjects {
		if sub.Kind == "BackupContents" || sub.Kind == "Backup" {
			names += sub.String() + ", "
		}
	}
	if names != "BackupContents b1, Backup velero/b2, BackupContents velero/b2, " {
		t.Error(names)
	}
	unread := ""
	for _, u := range got.unread {
		if u.Kind != engine.Hole {
			t.Error(u)
		}
		unread += u.Position.File + ": " + u.Err.Error() + "\n"
	}
	for _, want := range []string{"backups/b1/b1.tar.gz: list backups: it is a link out of the folder", "backups/b1/velero-backup.json: list backups: it is a link out of the folder",
		"its tarball is not there", "so Velero does not see this backup"} {
		if !strings.Contains(unread, want) {
			t.Errorf("%s\nwant %s", unread, want)
		}
	}
	// Where there are too many of them, or nothing else, that is said once.
	for n, want := range map[int]int{1: 2, mostNames: mostNames + 1, 2 * mostNames: mostNames + 1} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "backups", "b"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := os.Symlink("gone", filepath.Join(dir, "backups", "b", fmt.Sprint(i, ".gz"))); err != nil {
				t.Fatal(err)
			}
		}
		s, err := store.Folder(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := inspect(t, &Source{Store: s})
		if len(got.unread) != want {
			t.Errorf("%d links: %d holes, want %d: %v", n, len(got.unread), want, got.unread[len(got.unread)-1])
		}
	}
}
