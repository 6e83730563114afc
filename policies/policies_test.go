package policies_test

import (
	"os"
	"testing"

	"proviso.dev/proviso/bundles"
)

// Every policy is whole: see bundles.Check. A folder on disk that is not embedded would be no policy, so both are read.
func TestPolicies(t *testing.T) {
	cat, err := bundles.Check(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d policies", len(cat.Folders))
}
