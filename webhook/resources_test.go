package webhook_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

func builtinKind(t *testing.T, group, kind string) webhook.Resource {
	t.Helper()
	for _, r := range webhook.Builtin() {
		if r.Group == group && r.Kind == kind {
			return r
		}
	}
	t.Fatalf("the table has no %s of %q", kind, group)
	return webhook.Resource{}
}

// A rule with a wrong plural never matches, and nobody sees it.
func TestIrregularPlurals(t *testing.T) {
	for _, tc := range []struct{ group, kind, plural string }{
		{"storage.k8s.io", "StorageClass", "storageclasses"},
		{"snapshot.storage.k8s.io", "VolumeSnapshotClass", "volumesnapshotclasses"},
		{"storage.k8s.io", "VolumeAttributesClass", "volumeattributesclasses"},
		{"networking.k8s.io", "NetworkPolicy", "networkpolicies"},
		{"networking.k8s.io", "Ingress", "ingresses"},
		{"velero.io", "BackupRepository", "backuprepositories"},
		{"config.kio.kasten.io", "Policy", "policies"},
		{"core.kubestash.com", "BackupBatch", "backupbatches"},
		{"core.kubestash.com", "BackupVerifier", "backupverifier"},
		{"core.kubestash.com", "BackupVerificationSession", "backupverificationsession"},
		{"storage.kubestash.com", "Repository", "repositories"},
		{"storage.kubestash.com", "RetentionPolicy", "retentionpolicies"},
		{"storage.kubestash.com", "BackupStorage", "backupstorages"},
		{"k8up.io", "PreBackupPod", "prebackuppods"},
	} {
		if got := builtinKind(t, tc.group, tc.kind).Plural; got != tc.plural {
			t.Errorf("%s of %s is served as %q, want %q", tc.kind, tc.group, got, tc.plural)
		}
	}
}

func TestTable(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, r := range webhook.Builtin() {
		key := [2]string{r.Group, r.Kind}
		if seen[key] {
			t.Errorf("%s of %q is there twice", r.Kind, r.Group)
		}
		seen[key] = true
		if len(r.Versions) == 0 || r.Plural != strings.ToLower(r.Plural) || strings.Contains(r.Plural, "/") || slices.Contains(r.Subresources, "scale") {
			t.Errorf("%+v cannot be", r)
		}
	}
	// Whoever may write these changes labels through them (CVE-2026-30963), or containers.
	for kind, want := range map[[2]string][]string{
		{"", "Namespace"}: {"finalize", "status"}, {"", "PersistentVolume"}: {"status"}, {"", "PersistentVolumeClaim"}: {"status"},
		{"", "Pod"}: {"ephemeralcontainers"}, {"apps", "StatefulSet"}: {"status"}, {"velero.io", "BackupStorageLocation"}: {},
	} {
		if got := builtinKind(t, kind[0], kind[1]).Subresources; !slices.Equal(got, want) {
			t.Errorf("subresources of %s are %q, want %q", kind, got, want)
		}
	}
}

func discovering(lists ...*meta.APIResourceList) *fake.FakeDiscovery {
	return &fake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: lists}}
}

func TestServed(t *testing.T) {
	verbs := meta.Verbs{"create", "delete", "get", "list", "patch", "update"}
	got, err := webhook.Served(t.Context(), discovering(
		&meta.APIResourceList{GroupVersion: "v1", APIResources: []meta.APIResource{
			{Name: "namespaces", Kind: "Namespace", Verbs: verbs}, {Name: "namespaces/status", Kind: "Namespace", Verbs: verbs}, {Name: "namespaces/finalize", Kind: "Namespace", Verbs: meta.Verbs{"update"}},
			{Name: "pods", Kind: "Pod", Namespaced: true, Verbs: verbs}, {Name: "pods/status", Kind: "Pod", Namespaced: true, Verbs: verbs}, {Name: "pods/ephemeralcontainers", Kind: "Pod", Namespaced: true, Verbs: verbs},
			{Name: "pods/eviction", Group: "policy", Version: "v1", Kind: "Eviction", Namespaced: true, Verbs: meta.Verbs{"create"}},
		}},
		// Not in the table, of a group that is the API server's own, and of one that is not.
		&meta.APIResourceList{GroupVersion: "autoscaling/v1", APIResources: []meta.APIResource{{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true, Verbs: verbs}}},
		&meta.APIResourceList{GroupVersion: "autoscaling/v2", APIResources: []meta.APIResource{{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true, Verbs: verbs},
			{Name: "horizontalpodautoscalers/status", Kind: "HorizontalPodAutoscaler", Namespaced: true, Verbs: verbs}}},
		// In the table, of a group that is the API server's own and that client-go does not know.
		&meta.APIResourceList{GroupVersion: "apiextensions.k8s.io/v1", APIResources: []meta.APIResource{{Name: "customresourcedefinitions", Kind: "CustomResourceDefinition", Verbs: verbs},
			{Name: "customresourcedefinitions/status", Kind: "CustomResourceDefinition", Verbs: verbs}}},
		&meta.APIResourceList{GroupVersion: "example.org/v1beta1", APIResources: []meta.APIResource{{Name: "tapes", Kind: "Tape", Namespaced: true, Verbs: verbs}}},
		&meta.APIResourceList{GroupVersion: "example.org/v1", APIResources: []meta.APIResource{{Name: "tapes", Kind: "Tape", Namespaced: true, Verbs: verbs}, {Name: "tapes/status", Kind: "Tape", Namespaced: true, Verbs: verbs},
			{Name: "cassettes", Kind: "Tape", Namespaced: true, Verbs: meta.Verbs{"create"}}, {Name: "spools", Kind: "Tape", Namespaced: true, Verbs: meta.Verbs{"get"}},
			{Name: "tapes/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true, Verbs: verbs}}},
	), nil)
	want := []webhook.Resource{
		{Versions: []string{"v1"}, Kind: "Namespace", Plural: "namespaces", Subresources: []string{"finalize", "status"}},
		{Versions: []string{"v1"}, Kind: "Pod", Plural: "pods", Subresources: []string{"ephemeralcontainers"}, Namespaced: true},
		{Group: "apiextensions.k8s.io", Versions: []string{"v1"}, Kind: "CustomResourceDefinition", Plural: "customresourcedefinitions", Subresources: []string{"status"}},
		{Group: "autoscaling", Versions: []string{"v2", "v1"}, Kind: "HorizontalPodAutoscaler", Plural: "horizontalpodautoscalers", Subresources: []string{"status"}, Namespaced: true},
		{Group: "example.org", Versions: []string{"v1"}, Kind: "Tape", Plural: "cassettes", Namespaced: true},
		{Group: "example.org", Versions: []string{"v1", "v1beta1"}, Kind: "Tape", Plural: "tapes", Namespaced: true},
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("served %v\n%+v\nwant\n%+v", err, got, want)
	}
}

// A group whose server is down would leave its kinds unwatched.
func TestServedPartly(t *testing.T) {
	partly := func() *fake.FakeDiscovery {
		d := discovering(&meta.APIResourceList{GroupVersion: "v1", APIResources: []meta.APIResource{{Name: "pods", Kind: "Pod"}}}, &meta.APIResourceList{GroupVersion: "metrics.example.org/v1"})
		asked := 0
		d.PrependReactor("get", "resource", func(clienttesting.Action) (bool, runtime.Object, error) {
			if asked++; asked == 1 {
				return false, nil, nil
			}
			return true, nil, errors.New("no endpoints")
		})
		return d
	}
	if _, err := webhook.Served(t.Context(), partly(), []engine.MatchRow{{Group: "velero.io", Kinds: []string{"Backup"}}}); err != nil {
		t.Errorf("a group that no policy is for does not answer: %v", err)
	}
	theirs := []engine.MatchRow{{Group: "", Kinds: []string{"Pod"}}, {Group: "metrics.example.org", Kinds: []string{"Measure"}}}
	_, err := webhook.Served(t.Context(), partly(), theirs)
	if err == nil || !strings.Contains(err.Error(), "discover kinds of ") || !strings.Contains(err.Error(), "no endpoints (see kubectl get apiservices)") {
		t.Errorf("a group that does not answer: %v", err)
	}
	if _, err := webhook.Served(t.Context(), discovering(), nil); err == nil {
		t.Error("a cluster that serves nothing is believed")
	}
}
