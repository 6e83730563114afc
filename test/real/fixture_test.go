package real

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const fixture = "../testdata/velero"

// The fixture of the fast tests is a backup and a restore that a real Velero made; -update makes it anew.
func TestRealFixture(t *testing.T) {
	if !*update {
		t.Skip("makes test/testdata/velero anew with -update only")
	}
	v := velero(t)
	l := v.locations["versitygw-plain"]
	v.backup(t, "shop-20261101", l.name, "Completed", "--include-namespaces", "shop", "--labels", "team=retail")
	v.do(t, "restore", "create", "shop-drill", "--from-backup", "shop-20261101", "--namespace-mappings", "shop:shop-drill")
	if got := v.phase(t, "restores", "shop-drill"); got != "Completed" {
		t.Fatalf("restore: phase %s, want Completed\n%s", got, v.do(t, "restore", "logs", "shop-drill"))
	}
	keys := l.store.keys(t, l.bucket, prefix+"/")
	if err := os.RemoveAll(fixture); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		rel := strings.TrimPrefix(key, prefix+"/")
		if !strings.HasPrefix(rel, "backups/shop-20261101/") && !strings.HasPrefix(rel, "restores/shop-drill/") {
			continue
		}
		answer, err := l.store.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &l.bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(fixture, filepath.FromSlash(rel))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
