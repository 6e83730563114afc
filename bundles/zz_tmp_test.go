package bundles_test

import (
	"os"
	"testing"

	"proviso.dev/proviso/bundles"
)

func TestTmp(t *testing.T) {
	cat, err := bundles.Check(nil, bundles.Source{Name: "policies", FS: os.DirFS("../policies")})
	t.Logf("%d", len(cat.Folders))
	if err != nil {
		t.Error(err)
	}
}
