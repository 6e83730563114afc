//go:build unix

package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A claim of a live cluster is joined with the schedules that take it, the backups that hold it where they lie, and the
// drill that restored it.
func TestRealScanFleet(t *testing.T) {
	v := backups(t)
	sources := []string{"cluster:"}
	for _, store := range []string{"versitygw", "minio"} {
		sources = append(sources, "velero:"+v.locations[store+"-locked"].source())
	}
	f := scan(t, []string{"KUBECONFIG=" + v.cluster.kubeconfig}, sources...)
	type claim struct{ ref, namespace string }
	for is, verdict := range map[claim]string{
		{"CMP-01", "shop"}: "pass", {"CMP-01", "shop-mapped"}: "fail", // the schedule takes shop, and nothing takes what was restored
		{"REC-01", "shop"}: "pass",
		{"REC-02", "shop"}: "pass", // the scoped backup, whose contents are not part of this scan
		{"REC-04", "shop"}: "fail", // the drill's backup was scanned, and holds no data of the claim
		{"REC-09", "shop"}: "fail",
	} {
		seen := false
		for _, d := range f.Decisions {
			if d.Subject.Kind == "Protection" && d.Subject.Namespace == is.namespace && d.Policy.ID == policy(t, is.ref) {
				seen = true
				if d.Verdict != verdict {
					t.Errorf("%s on claim %s/data: %s, want %s %v %s", is.ref, is.namespace, d.Verdict, verdict, d.Violations, d.Reason)
				}
			}
		}
		if !seen {
			t.Errorf("%s did not judge claim %s/data", is.ref, is.namespace)
		}
	}
}

// A live cluster is judged by what it holds; whoever may not list a kind gets a hole, never a pass.
func TestRealScanCluster(t *testing.T) {
	v := backups(t)
	c := v.cluster
	f := scan(t, []string{"KUBECONFIG=" + c.kubeconfig}, "cluster:")
	f.want(t, "pass", "RES-02", "BackupStorageLocation", "minio-locked")
	f.want(t, "fail", "REC-03", "Backup", "minio-partial")
	f.want(t, "pass", "REC-03", "Backup", "minio-nightly-1")
	if f.code != 3 {
		t.Errorf("exit code %d, want 3 for the backup that failed in part\n%s", f.code, f.errs)
	}

	// A reader of everything but schedules.
	c.kubectl(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: partial-reader}
rules:
  - {apiGroups: [velero.io], resources: [backups, backupstoragelocations, restores], verbs: [get, list, watch]}
  - {apiGroups: [""], resources: [namespaces, persistentvolumes, persistentvolumeclaims], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: partial-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: partial-reader}
subjects: [{kind: ServiceAccount, namespace: velero, name: partial-reader}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: velero, name: partial-reader}
`, "apply", "-f", "-")
	token := strings.TrimSpace(c.kubectl(t, "", "create", "token", "-n", "velero", "partial-reader"))
	text, err := os.ReadFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	limited := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(limited, text, 0o600); err != nil {
		t.Fatal(err)
	}
	as := []string{"KUBECONFIG=" + limited}
	user := strings.TrimSpace(run(t, as, "", c.kubectlBin, "config", "view", "--minify", "-o", "jsonpath={.users[0].name}"))
	run(t, as, "", c.kubectlBin, "config", "unset", "users."+user)
	run(t, as, "", c.kubectlBin, "config", "set-credentials", user, "--token="+token)
	f = scan(t, as, "cluster:")
	hole := false
	for _, u := range f.Unread {
		hole = hole || strings.Contains(u.Source+u.Error, "schedules")
	}
	if !hole || f.Complete {
		t.Errorf("complete is %v and unread %v, want the right to list schedules named as missing", f.Complete, f.Unread)
	}
	if f.code == 0 {
		t.Error("exit code 0 of a scan that could not list everything")
	}
	if strings.Contains(f.raw+f.errs, token) {
		t.Error("the report holds the token")
	}
}
