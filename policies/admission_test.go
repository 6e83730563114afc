package policies_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// around answers facts by kind: an object for a query by name, a list for any other, null for what is proved to be absent.
type around map[string]any

func (a around) Fact(_ context.Context, q engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	v, ok := a[q.Kind]
	switch {
	case !ok:
		return nil, engine.FactUnknown, nil
	case v == nil:
		return nil, engine.FactAbsent, nil
	}
	return v, engine.FactFound, nil
}

// What the fixtures cannot show: what is unknown and why, and what other parameters make of it.
func TestAdmissionPolicies(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	policies := map[string]engine.Policy{}
	for _, f := range cat.Folders {
		policies[f.Policy.ID] = f.Policy
	}
	const (
		set    = "encryption/statefulset-uses-encrypting-class"
		host   = "residency/no-host-path"
		class  = "residency/storage-class-topology"
		claim  = "residency/claim-in-jurisdiction"
		into   = "residency/restore-in-jurisdiction"
		limits = "access/restore-limits"

		restricted = `{"metadata":{"name":"n","labels":{"proviso.dev/data-class":"restricted"}}}`
		european   = `{"metadata":{"name":"n","labels":{"proviso.dev/jurisdiction":"eu"}}}`
		plain      = `{"metadata":{"name":"n"}}`
		gp3        = `{"metadata":{"name":"gp3","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"ebs.csi.aws.com"}`
		google     = `{"metadata":{"name":"google","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"pd.csi.storage.gke.io"}`
		hosted     = `{"spec":{"volumes":[{"name":"d","hostPath":{"path":"/d"}}]}}`
		promised   = `{"metadata":{"name":"b","labels":{"proviso.dev/jurisdiction":"eu"}},"spec":{"ttl":"720h","includedNamespaces":["n"]}}`
		frankfurt  = `{"metadata":{"name":"c"},"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.gke.io/zone","values":["europe-west3-a"]}]}]}`
		everywhere = `{"metadata":{"name":"c"},"provisioner":"x.io"}`
	)
	for _, c := range []struct {
		policy, kind, object, facts, params, want string
	}{
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[]}`, "", "unknown: by name or by default, is not there"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[` + gp3 + `,` + google + `]}`, "", "unknown: of several defaults not all encrypt (gp3)"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":""}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[` + google + `]}`, "", "unknown: by name or by default, is not there"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"x"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[{"metadata":{"name":"x"},"provisioner":"x.io"}]}`, "", "unknown: whether x.io encrypts is not known"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"x"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[{"metadata":{"name":"x"},"provisioner":"x.io"}]}`, `{"encryptedBelow":["x.io"]}`, "pass"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"x"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[{"metadata":{"name":"x"}}]}`, "", "unknown: whether a class without provisioner encrypts"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-class":"gp3"}},"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[` + gp3 + `,` + google + `]}`, "", "unknown: annotation volume.beta.kubernetes.io/storage-class"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"metadata":{"labels":{"proviso.dev/Data-class":"public"}},"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":` + plain + `,"StorageClass":[` + google + `]}`, "", "unknown: differs only in case"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"metadata":{"labels":{"proviso.dev/data-class":"restrited"}},"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":` + plain + `,"StorageClass":[` + google + `]}`, "", `unknown: data-class "restrited" is not one of`},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"metadata":{"labels":{"proviso.dev/data-class":5}},"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":` + plain + `,"StorageClass":[` + google + `]}`, "", "unknown: is not text"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":null,"StorageClass":[` + google + `]}`, "", "unknown: the namespace is not there"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"google"}}]}}`, `{"Namespace":{"metadata":{"labels":"x"}},"StorageClass":[` + google + `]}`, "", "unknown: metadata.labels of the namespace is no map"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"gp3"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[` + gp3 + `]}`, `{"encryptedBelow":["ebs.csi.aws.com"]}`, "pass"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"gp3"}}]}}`, `{"Namespace":{"metadata":{"labels":null}},"StorageClass":[` + gp3 + `]}`, "", "pass"},

		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"gp3"}}]}}`, `{"Namespace":{"metadata":{"labels":{"x":5}}},"StorageClass":[` + gp3 + `]}`, "", "pass"},
		{set, "apps/StatefulSet", `{"spec":{"volumeClaimTemplates":[{"spec":{"storageClassName":"z"}}]}}`, `{"Namespace":` + restricted + `,"StorageClass":[{"metadata":{"name":"z"},"provisioner":"zfs.csi.openebs.io","parameters":{"encryption":"on","keyformat":"raw","keylocation":true}}]}`, "", "fail: which does not encrypt"},
		{host, "Pod", hosted, `{"Namespace":{"metadata":{"labels":{"x":5}}}}`, "", "pass"},
		{host, "Pod", hosted, `{"Namespace":null}`, "", "unknown: the namespace is not there"},
		{host, "Pod", hosted, `{"Namespace":{"metadata":{"labels":"x"}}}`, "", "unknown: is no map"},
		{host, "Pod", hosted, `{"Namespace":{"metadata":{"labels":{"proviso.dev/data-class":"x"}}}}`, "", `unknown: data-class "x" is not one of`},
		{host, "Pod", hosted, `{"Namespace":{"metadata":{"labels":{"proviso.dev/data-class":5}}}}`, "", "unknown: is not text"},
		{host, "batch/CronJob", `{"spec":{"jobTemplate":{"metadata":{"labels":{"proviso.dev/Data-class":"public"}},"spec":{"template":{"spec":{"volumes":[{"hostPath":{}}]}}}}}}`, `{"Namespace":` + plain + `}`, "", "unknown: differs only in case"},
		{host, "Pod", hosted, `{"Namespace":` + restricted + `}`, `{"classes":["personal"]}`, "pass"},
		{host, "Pod", `{"spec":{"volumes":[{"hostPath":{}}]}}`, `{"Namespace":` + restricted + `}`, "", "fail: puts restricted data"},

		{class, "storage.k8s.io/StorageClass", `{"allowedTopologies":null}`, "", `{"requireTopology":true}`, "fail: states no place"},
		{class, "storage.k8s.io/StorageClass", `{"provisioner":"x.io"}`, "", `{"requireTopology":true}`, "fail: states no place"},
		{class, "storage.k8s.io/StorageClass", `{"provisioner":"x.io","metadata":{"labels":{"proviso.dev/jurisdiction":""}},"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.gke.io/zone","values":["europe-west3-a"]}]}]}`, "", "", "unknown: is blank"},
		{class, "storage.k8s.io/StorageClass", `{"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.kubernetes.io/zone","values":["atlantis-1"]}]}]}`, "", "", "unknown: allowedTopologies[0] names no region or zone that is known here"},
		{class, "storage.k8s.io/StorageClass", `{"allowedTopologies":[{"matchLabelExpressions":[{"key":"x.io/rack","values":["a"]}]}]}`, "", "", "unknown: allowedTopologies[0] names no region"},
		{class, "storage.k8s.io/StorageClass", `{"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.gke.io/zone","values":[]}]}]}`, "", "", "unknown: allowedTopologies[0] names no region"},

		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":` + everywhere + `}`, "", "pass"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":` + everywhere + `}`, `{"requireTopology":true}`, "fail: storage class c states no place"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":null}`, "", "unknown: storage class c is not there"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":{"metadata":{"labels":{"proviso.dev/jurisdiction":5}}},"StorageClass":` + frankfurt + `}`, "", "unknown: is not text, or blank"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":{"metadata":{"labels":{"proviso.dev/jurisdiction":" "}}},"StorageClass":` + frankfurt + `}`, "", "unknown: is not text, or blank"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":null,"StorageClass":` + strings.Replace(frankfurt, "europe-west3", "us-east1", 1) + `}`, "", "unknown: the namespace is not there"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":` + strings.Replace(frankfurt, `"europe-west3-a"`, "", 1) + `}`, "", "unknown: names no region or zone that is known here"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":` + frankfurt + `}`, `{"requireTopology":true}`, "pass"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":{"allowedTopologies":null}}`, `{"requireTopology":true}`, "fail: storage class c states no place"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":null}`, `{"requireTopology":true}`, "unknown: storage class c is not there"},
		{claim, "PersistentVolumeClaim", `{"spec":{}}`, `{"Namespace":` + european + `}`, "", "unknown: the claim names no storage class"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":null,"StorageClass":` + everywhere + `}`, "", "unknown: the namespace is not there"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":{"metadata":{"labels":"x"}},"StorageClass":` + everywhere + `}`, "", "unknown: metadata.labels of the namespace is no map"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"},"metadata":{"labels":{"proviso.dev/jurisdiction":" "}}}`, `{"Namespace":` + european + `,"StorageClass":` + everywhere + `}`, "", "unknown: is not text, or blank"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"},"metadata":{"annotations":{"volume.beta.kubernetes.io/storage-class":"d"}}}`, `{"Namespace":` + european + `,"StorageClass":` + everywhere + `}`, "", "unknown: annotation volume.beta.kubernetes.io/storage-class says d"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":{"allowedTopologies":"x"}}`, "", "unknown: allowedTopologies of the storage class is no list"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":{"allowedTopologies":[{"matchLabelExpressions":[{"key":"x.io/rack","values":["a"]}]}]}}`, "", "unknown: names no region or zone that is known here"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":{"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.kubernetes.io/zone","values":["atlantis-1"]}]}]}}`, "", "unknown: names no region or zone that is known here"},
		{claim, "PersistentVolumeClaim", `{"spec":{"storageClassName":"c"}}`, `{"Namespace":` + european + `,"StorageClass":{"allowedTopologies":[{"matchLabelExpressions":[{"key":"topology.kubernetes.io/zone","values":"eu-central-1a"}]}]}}`, "", "unknown: names no region or zone that is known here"},

		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[` + plain + `]}`, "", "unknown: set the parameter clusterJurisdictions"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[` + plain + `]}`, `{"clusterJurisdictions":["DE","EU"]}`, "pass"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[` + plain + `]}`, `{"clusterJurisdictions":["us"]}`, "fail: backup b must stay in eu, and this cluster lies in us"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"annotations":{"proviso.dev/jurisdiction":"eu"}}},"Namespace":[` + plain + `]}`, `{"clusterJurisdictions":["us"]}`, "fail: backup b must stay in eu, and this cluster lies in us"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":null,"Namespace":[]}`, "", "unknown: backup b is not there"},
		{into, "velero.io/Restore", `{"spec":{"backupName":""}}`, `{"Namespace":[]}`, "", "unknown: the restore names no backup"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":{"proviso.dev/jurisdiction":5}}},"Namespace":[]}`, `{"clusterJurisdictions":["eu"]}`, "unknown: is not text, or blank"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":{"proviso.dev/jurisdiction":"eu"}},"spec":null},"Namespace":[{"metadata":{"name":"m","labels":{"proviso.dev/jurisdiction":"us"}}}]}`, `{"clusterJurisdictions":["eu"]}`, "fail: namespace m is promised to us"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + plain + `,"Namespace":[{"metadata":{"name":"n","labels":{"proviso.dev/jurisdiction":" "}}}]}`, "", "pass"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[{"metadata":{"name":"m","labels":{"proviso.dev/jurisdiction":" "}}}]}`, `{"clusterJurisdictions":["eu"]}`, "pass"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":{"x":5}}},"Namespace":[]}`, "", "pass"},
		{into, "velero.io/Restore", `{"spec":{"scheduleName":"s"}}`, `{"Namespace":[]}`, "", "unknown: name the backup in spec.backupName"},
		{into, "velero.io/Restore", `{"spec":{}}`, `{"Namespace":[]}`, "", "unknown: the restore names no backup"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":"x"}},"Namespace":[]}`, "", "unknown: metadata.labels of the backup is no map"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"annotations":{"proviso.dev/Jurisdiction":"eu"}}},"Namespace":[]}`, "", "unknown: differs only in case"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":{"proviso.dev/jurisdiction":""}}},"Namespace":[]}`, "", "unknown: blank, and names no jurisdiction"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + strings.Replace(promised, `["n"]`, `"n"`, 1) + `,"Namespace":[]}`, `{"clusterJurisdictions":["eu"]}`, "unknown: includedNamespaces of the backup is no list"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[{"metadata":{"name":"n","labels":{"proviso.dev/jurisdiction":" "}}}]}`, `{"clusterJurisdictions":["eu"]}`, "unknown: of namespace n is not text, or blank"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":` + promised + `,"Namespace":[{"metadata":{"name":"m","labels":{"proviso.dev/jurisdiction":"us"}}}]}`, `{"clusterJurisdictions":["eu"]}`, "pass"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b","excludedNamespaces":["n"]}}`, `{"Backup":` + promised + `,"Namespace":[{"metadata":{"name":"n","labels":{"proviso.dev/jurisdiction":"us"}}}]}`, `{"clusterJurisdictions":["eu"]}`, "pass"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b"}}`, `{"Backup":{"metadata":{"labels":{"proviso.dev/jurisdiction":"eu"}}},"Namespace":[{"metadata":{"name":"m","labels":{"proviso.dev/jurisdiction":"us"}}}]}`, `{"clusterJurisdictions":["eu"]}`, "fail: namespace m is promised to us"},
		{into, "velero.io/Restore", `{"spec":{"backupName":"b","namespaceMapping":{"n":"m"}}}`, `{"Backup":` + promised + `,"Namespace":[{"metadata":{"name":"n","labels":{"proviso.dev/jurisdiction":"us"}}}]}`, `{"clusterJurisdictions":["eu"]}`, "pass"},

		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"existingResourcePolicy":"update"}}`, "", `{"allowUpdate":true}`, "pass"},
		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"hooks":{"resources":[{"postHooks":[{}]}]}}}`, "", `{"allowHooks":true}`, "pass"},
		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"resourceModifier":{"name":"m"}}}`, "", `{"allowedModifiers":["m"]}`, "pass"},
		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"resourceModifier":{}}}`, "", `{"allowedModifiers":["m"]}`, "fail: the modifiers of ConfigMap"},
		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"includeClusterResources":true}}`, "", `{"protectedResources":[]}`, "pass"},
		{limits, "velero.io/Restore", `{"spec":{"includedNamespaces":["n"],"includeClusterResources":"false"}}`, "", "", "unknown: spec.includeClusterResources holds the text"},
		{limits, "velero.io/Restore", `{"spec":{"includednamespaces":["n"]}}`, "", "", "unknown: differs only in case"},
		{limits, "velero.io/Restore", `{}`, "", "", "fail: no namespace is named"},
	} {
		p, ok := policies[c.policy]
		if !ok {
			t.Fatalf("there is no policy %s", c.policy)
		}
		decode := func(text string) map[string]any {
			m := map[string]any{}
			if err := json.Unmarshal([]byte(text), &m); text != "" && err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return m
		}
		p.Params = maps.Clone(p.Params)
		maps.Copy(p.Params, decode(c.params))
		set, err := engine.NewSet([]engine.Policy{p})
		if err != nil {
			t.Fatal(err)
		}
		group, kind, grouped := strings.Cut(c.kind, "/")
		apiVersion := group + "/v1"
		if !grouped {
			apiVersion, kind = "v1", c.kind
		}
		object := decode(c.object)
		object["apiVersion"], object["kind"] = apiVersion, kind
		meta, _ := object["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["name"], meta["namespace"] = "x", "n"
		object["metadata"] = meta
		subject := engine.Subject{APIVersion: apiVersion, Kind: kind, Namespace: "n", Name: "x", Operation: engine.Create, Object: object}
		for _, d := range set.Judge(context.Background(), subject, around(decode(c.facts)), time.Unix(1767225600, 0)) {
			got := map[engine.Verdict]string{engine.Pass: "pass", engine.Fail: "fail", engine.Unknown: "unknown", engine.NotApplicable: "notApplicable"}[d.Verdict]
			verdict, text, _ := strings.Cut(c.want, ": ")
			said := d.Reason
			for _, v := range d.Violations {
				said += v.Message
			}
			if got != verdict || !strings.Contains(said, text) {
				t.Errorf("%s of %s with %s and %s: %s %q, want %s", c.policy, c.object, c.facts, c.params, got, said, c.want)
			}
		}
	}
}
