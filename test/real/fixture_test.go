//go:build unix

package real

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const fixture = "../../cmd/proviso/samples/velero"

// The fixture of the fast tests is a backup and a restore that a real Velero made. Velero still writes the same files and the same objects;
// -update makes the fixture anew.
func TestRealFixture(t *testing.T) {
	v := velero(t)
	l := v.locations["versitygw-plain"]
	v.backup(t, "shop-20261101", l.name, "Completed", "--include-namespaces", "shop", "--labels", "team=retail")
	v.do(t, "restore", "create", "shop-drill", "--from-backup", "shop-20261101", "--namespace-mappings", "shop:shop-drill")
	if got := v.phase(t, "restores", "shop-drill"); got != "Completed" {
		t.Fatalf("restore: phase %s, want Completed\n%s", got, v.do(t, "restore", "logs", "shop-drill"))
	}
	now := map[string][]byte{}
	for _, key := range l.store.keys(t, l.bucket, prefix+"/") {
		name := strings.TrimPrefix(key, prefix+"/")
		if strings.HasPrefix(name, "backups/shop-20261101/") || strings.HasPrefix(name, "restores/shop-drill/") {
			now[name] = l.store.get(t, l.bucket, key)
		}
	}
	if *update {
		write(t, now)
	}
	kept := map[string][]byte{}
	err := filepath.WalkDir(fixture, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(fixture, path)
		if err != nil {
			return err
		}
		kept[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(kept)), slices.Sorted(maps.Keys(now)); !slices.Equal(got, want) {
		t.Errorf("the fixture has files\n%v, Velero writes\n%v: make it anew with -update", got, want)
	}
	const list = "backups/shop-20261101/shop-20261101-resource-list.json.gz"
	// A busy API server may write Events of its own.
	events := regexp.MustCompile(`"v1/Event":\[[^]]*\],?`)
	if got, want := unzip(t, kept[list]), events.ReplaceAllString(unzip(t, now[list]), ""); got != want {
		t.Errorf("the fixture's backup lists\n%s, Velero lists\n%s: make it anew with -update", got, want)
	}
}

func write(t *testing.T, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(fixture); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		file := filepath.Join(fixture, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func unzip(t *testing.T, data []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
