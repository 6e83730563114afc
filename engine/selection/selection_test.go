package selection_test

import (
	"encoding/json"
	"strings"
	"testing"

	"proviso.dev/proviso/engine/selection"
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestCompileRefusesWhatVeleroRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		`{"includedNamespaces":["*","a"]}`:                                                           "stands alone",
		`{"excludedNamespaces":["*"]}`:                                                               "cannot be excluded",
		`{"includedNamespaces":["a"],"excludedNamespaces":["a"]}`:                                    "included and excluded",
		`{"includedNamespaces":["a**"]}`:                                                             "**",
		`{"includedNamespaces":["[a"]}`:                                                              "brackets",
		`{"includedNamespaces":["UP"]}`:                                                              "not a name",
		`{"includedResources":["pods"],"includedNamespaceScopedResources":["pods"]}`:                 "do not go with",
		`{"excludedNamespaceScopedResources":["*"],"includedNamespaceScopedResources":["pods"]}`:     "nothing can be included",
		`{"labelSelector":{"matchLabels":{"a":"b"}},"orLabelSelectors":[{"matchLabels":{"a":"b"}}]}`: "exclude each other",
		`{"includedNamespaces":"a"}`:                                                                 "want a list",
		`{"labelSelector":{"matchLabels":{"a":1}}}`:                                                  "want text",
	} {
		if _, err := selection.Compile(decode(t, spec)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", spec, err, want)
		}
	}
}

// TestSelectsWithoutTheCluster is what the comparison with Velero's own code, where everything is known, cannot ask.
func TestSelectsWithoutTheCluster(t *testing.T) {
	labels, none := map[string]string{"app": "db"}, map[string]string{}
	pod := selection.Object{Resource: "pods", Kind: "Pod", Namespace: "a", Name: "p", NamespaceLabels: none, Labels: labels, Related: []selection.Object{}}
	claim := pod
	claim.Resource, claim.Kind, claim.Labels, claim.Related = "persistentvolumeclaims", "PersistentVolumeClaim", nil, nil
	with := claim
	with.Related = []selection.Object{pod}
	unlabelled := pod
	unlabelled.NamespaceLabels = nil
	widget := selection.Object{Resource: "widgets.example.com", Kind: "Widget", Namespace: "a", Name: "w", NamespaceLabels: none}
	class := selection.Object{Resource: "storageclasses.storage.k8s.io", Kind: "StorageClass", Name: "c", ClusterScoped: true}
	for _, c := range []struct {
		name, spec string
		object     selection.Object
		want       selection.Answer
		why        string
	}{
		{"everything", `{}`, pod, selection.Selected, "included"},
		{"labels of the namespace are not known", `{}`, unlabelled, selection.Unknown, "labels of namespace a"},
		{"labels of another included namespace", `{"includedNamespaces":["a","b"]}`, pod, selection.Unknown, "other included"},
		{"excluded whatever the labels", `{"excludedNamespaces":["a"]}`, unlabelled, selection.Excluded, "excluded"},
		{"a claim that its label leaves out", `{"labelSelector":{"matchLabels":{"app":"db"}}}`, claim, selection.Unknown, "brings it along"},
		{"a claim its pod brings along", `{"labelSelector":{"matchLabels":{"app":"db"}}}`, with, selection.Selected, "Pod a/p"},
		{"an unresolved name may be a short one", `{"includedResources":["wd"]}`, widget, selection.Unknown, "short name"},
		{"singular of a custom kind", `{"includedResources":["widget"]}`, widget, selection.Selected, ""},
		{"a policy nobody read", `{"resourcePolicy":{"kind":"ConfigMap","name":"p"}}`, pod, selection.Unknown, "ConfigMap p"},
		{"cluster-scoped by default lists", `{}`, class, selection.Excluded, "not among"},
		{"cluster-scoped, old lists, namespaces not known", `{"excludedResources":["pods"]}`, class, selection.Unknown, "namespaces are not known"},
		{"cluster-scoped on request", `{"includeClusterResources":true}`, class, selection.Selected, ""},
		{"an empty selector", `{"labelSelector":{}}`, pod, selection.Excluded, "empty"},
	} {
		s, err := selection.Compile(decode(t, c.spec))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, why := s.Selects(c.object); got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, got, why, c.want, c.why)
		}
	}
}

func TestVolume(t *testing.T) {
	const claim = `{"metadata":{"name":"c","namespace":"a","labels":{"keep":"no"}},"spec":{"volumeName":"v","accessModes":["ReadWriteOnce"]},"status":{"phase":"Bound"}}`
	const csi, nfs = `{"spec":{"csi":{"driver":"x"},"storageClassName":"fast","capacity":{"storage":"10Gi"}}}`, `{"spec":{"nfs":{"server":"s"}}}`
	pod := func(annotations string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a","annotations":{` + annotations + `}},"spec":{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"c"}}]},"status":{"phase":"Running"}}`
	}
	const policy = `"resourcePolicy":{"kind":"configmap","name":"p"}`
	rule := func(conditions, action string) string {
		return `{"version":"v1","volumePolicies":[{"conditions":{` + conditions + `},"action":{"type":"` + action + `"}}]}`
	}
	for _, c := range []struct {
		name, spec, pv, pod, policy string
		want                        selection.Answer
		method                      selection.Method
	}{
		{"a snapshot", `{}`, csi, "", "", selection.Selected, selection.Snapshot},
		{"a moved snapshot", `{"snapshotMoveData":true}`, csi, "", "", selection.Selected, selection.Moved},
		{"no snapshot of nfs", `{}`, nfs, "", "", selection.Excluded, ""},
		{"snapshots off", `{"snapshotVolumes":false}`, csi, "", "", selection.Excluded, ""},
		{"files by default", `{"defaultVolumesToFsBackup":true}`, nfs, pod(""), "", selection.Selected, selection.Files},
		{"opted out", `{"defaultVolumesToFsBackup":true}`, nfs, pod(`"backup.velero.io/backup-volumes-excludes":"x,data"`), "", selection.Excluded, ""},
		{"opted in", `{"snapshotVolumes":false}`, csi, pod(`"backup.velero.io/backup-volumes":"data"`), "", selection.Selected, selection.Files},
		{"a pod that is not taken", `{"defaultVolumesToFsBackup":true,"excludedResources":["pods"]}`, nfs, pod(""), "", selection.Excluded, ""},
		{"skipped by class", `{` + policy + `}`, csi, "", rule(`"storageClass":["fast"]`, "skip"), selection.Excluded, ""},
		{"skipped by label", `{` + policy + `}`, csi, "", rule(`"pvcLabels":{"keep":"no"}`, "skip"), selection.Excluded, ""},
		{"capacity below", `{` + policy + `}`, csi, "", rule(`"capacity":"0,5Gi"`, "skip"), selection.Selected, selection.Snapshot},
		{"capacity within", `{` + policy + `}`, csi, "", rule(`"capacity":"5Gi,10Gi"`, "skip"), selection.Excluded, ""},
		{"files by policy, no pod", `{` + policy + `}`, csi, "", rule(`"csi":{}`, "fs-backup"), selection.Excluded, selection.Files},
		{"custom", `{` + policy + `}`, csi, "", rule(`"csi":{}`, "custom"), selection.Unknown, ""},
		{"a condition nobody knows", `{` + policy + `}`, csi, "", rule(`"moon":"full"`, "skip"), selection.Unknown, ""},
		{"policy not known", `{` + policy + `}`, csi, "", "", selection.Unknown, ""},
		{"volume not known", `{}`, "", "", "", selection.Unknown, ""},
	} {
		s, err := selection.Compile(decode(t, c.spec))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		known := selection.Cluster{Namespaces: []selection.Namespace{{Name: "a"}}}
		if c.policy != "" {
			known.Policy = decode(t, c.policy)
		}
		v := selection.Volume{Claim: decode(t, claim), Pods: []map[string]any{}}
		if c.pv != "" {
			v.PV = decode(t, c.pv)
		}
		if c.pod != "" {
			v.Pods = append(v.Pods, decode(t, c.pod))
		}
		if got, method, why := s.In(known).Volume(v); got != c.want || method != c.method {
			t.Errorf("%s: %s by %q (%s), want %s by %q", c.name, got, method, why, c.want, c.method)
		}
	}
}

// The labels of the claim's namespace are those of its pods, whether or not all namespaces are known.
func TestVolumeKnowsTheLabelsOfItsNamespace(t *testing.T) {
	s, err := selection.Compile(decode(t, `{"includedNamespaces":["a"],"snapshotVolumes":false,"defaultVolumesToFsBackup":true}`))
	if err != nil {
		t.Fatal(err)
	}
	v := selection.Volume{Claim: decode(t, `{"metadata":{"name":"c","namespace":"a"},"spec":{"volumeName":"v"}}`), PV: decode(t, `{"spec":{"csi":{}}}`),
		Pods: []map[string]any{decode(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a"},"spec":{"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"c"}}]},"status":{"phase":"Running"}}`)}}
	for _, c := range []struct {
		labels map[string]string
		want   selection.Answer
	}{{map[string]string{}, selection.Selected}, {map[string]string{"velero.io/exclude-from-backup": "true"}, selection.Excluded}, {nil, selection.Unknown}} {
		v.NamespaceLabels = c.labels
		if got, _, why := s.Volume(v); got != c.want {
			t.Errorf("labels %v: %s (%s), want %s", c.labels, got, why, c.want)
		}
	}
}
