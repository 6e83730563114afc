//go:build unix

package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
)

// The evidence of a scan says which cluster it is of, as that names itself.
func TestRealScanEvidenceCluster(t *testing.T) {
	c := liveCluster(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	code, _, errs := proviso(t, []string{"KUBECONFIG=" + c.kubeconfig}, "scan", "cluster:", "--evidence", dir, "-q")
	if strings.Contains(errs, "warning") {
		t.Errorf("scan: exit code %d: %s", code, errs)
	}
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	uid := strings.TrimSpace(c.kubectl(t, "", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"))
	if len(v.Problems) > 0 || uid == "" || len(v.Clusters) != 1 || v.Clusters[0] != (evidence.Cluster{UID: uid}) {
		t.Errorf("the evidence is of %v, want %s; problems %v", v.Clusters, uid, v.Problems)
	}
}
