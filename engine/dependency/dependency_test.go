package dependency

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type m = map[string]any
type l = []any

// object is an object with fields at its top level, and a namespace where name holds a slash.
func object(apiVersion, kind, name string, fields m) m {
	meta := m{"name": name}
	if ns, n, ok := strings.Cut(name, "/"); ok {
		meta = m{"name": n, "namespace": ns}
	}
	o := m{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	for k, v := range fields {
		if k == "metadata" {
			for k, v := range v.(m) {
				meta[k] = v
			}
			continue
		}
		o[k] = v
	}
	return o
}

func spec(fields m) m { return m{"spec": fields} }

func graphOf(objects ...m) *Graph {
	g := New()
	for _, o := range objects {
		g.Add(o)
	}
	return g
}

// told are the edges but those to Namespaces: "from relation to", with what else is said of them.
func told(g *Graph) []string {
	var all []string
	for e := range g.Edges() {
		if e.Relation == "namespace" {
			continue
		}
		text := fmt.Sprint(e.From, " ", e.Relation, " ", e.To)
		for _, mark := range []struct {
			is   bool
			word string
		}{{e.Missing, "missing"}, {e.Optional, "optional"}, {e.Convention, "convention"}} {
			if mark.is {
				text += " " + mark.word
			}
		}
		all = append(all, text)
	}
	return all
}

func TestReferences(t *testing.T) {
	pod := m{
		"serviceAccountName": "runner", "priorityClassName": "high", "runtimeClassName": "gvisor", "imagePullSecrets": l{m{"name": "reg"}},
		"containers": l{m{"env": l{
			m{"valueFrom": m{"secretKeyRef": m{"name": "db", "key": "k"}}},
			m{"valueFrom": m{"configMapKeyRef": m{"name": "maybe", "optional": true}}},
			m{"valueFrom": m{"fieldRef": m{"fieldPath": "metadata.name"}}}},
			"envFrom": l{m{"configMapRef": m{"name": "conf"}}, m{"secretRef": m{"name": "db"}}}}},
		"initContainers": l{m{"envFrom": l{m{"secretRef": m{"name": "init"}}}}},
		"volumes": l{m{"secret": m{"secretName": "db"}}, m{"configMap": m{"name": "files"}}, m{"persistentVolumeClaim": m{"claimName": "data"}},
			m{"projected": m{"sources": l{m{"configMap": m{"name": "kube-root-ca.crt"}}, m{"secret": m{"name": "proj", "optional": true}}}}},
			m{"csi": m{"nodePublishSecretRef": m{"name": "csi"}}}, m{"secret": m{"secretName": "runner-token-x7k2p"}},
			m{"ephemeral": m{"volumeClaimTemplate": m{"spec": m{"storageClassName": "scratch"}}}}},
	}
	ofPod := func(who string) []string {
		list := []string{}
		for _, s := range []string{"env ConfigMap a/conf missing", "env ConfigMap a/maybe missing optional", "env Secret a/db missing", "env Secret a/init missing",
			"mount ConfigMap a/files missing", "mount Secret a/csi missing", "mount Secret a/db missing", "mount Secret a/proj missing optional",
			"imagePull Secret a/reg missing", "serviceAccount ServiceAccount a/runner missing", "priorityClass PriorityClass high missing",
			"runtimeClass RuntimeClass gvisor missing", "claim PersistentVolumeClaim a/data missing", "storageClass StorageClass scratch missing"} {
			list = append(list, who+" "+s)
		}
		return list
	}
	template := m{"template": m{"spec": pod}}
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.x.io", spec(m{"group": "x.io", "names": m{"kind": "Thing"},
		"versions": l{m{"name": "v1", "served": true}, m{"name": "v0", "served": false}}}))
	thing := func(fields m) m { return object("x.io/v1", "Thing", "a/t", spec(fields)) }
	for name, c := range map[string]struct {
		objects []m
		want    []string
	}{
		"pod":         {[]m{object("v1", "Pod", "a/p", spec(pod))}, ofPod("Pod a/p")},
		"deployment":  {[]m{object("apps/v1", "Deployment", "a/d", spec(template))}, ofPod("Deployment a/d")},
		"daemon set":  {[]m{object("extensions/v1beta1", "DaemonSet", "a/d", spec(template))}, ofPod("DaemonSet a/d")},
		"replica set": {[]m{object("apps/v1", "ReplicaSet", "a/d", spec(template))}, ofPod("ReplicaSet a/d")},
		"controller":  {[]m{object("v1", "ReplicationController", "a/d", spec(template))}, ofPod("ReplicationController a/d")},
		"job":         {[]m{object("batch/v1", "Job", "a/j", spec(template))}, ofPod("Job a/j")},
		"cron job":    {[]m{object("batch/v1", "CronJob", "a/j", spec(m{"jobTemplate": m{"spec": template}}))}, ofPod("CronJob a/j")},
		"stateful set": {[]m{object("apps/v1", "StatefulSet", "a/s", spec(m{"replicas": int64(2), "serviceName": "s", "ordinals": m{"start": int64(3)},
			"volumeClaimTemplates": l{m{"metadata": m{"name": "data"}, "spec": m{"storageClassName": "fast"}}}}))}, []string{
			"StatefulSet a/s claim PersistentVolumeClaim a/data-s-3 missing", "StatefulSet a/s claim PersistentVolumeClaim a/data-s-4 missing",
			"StatefulSet a/s governingService Service a/s missing optional", "StatefulSet a/s storageClass StorageClass fast missing"}},
		"endless stateful set": {[]m{object("apps/v1", "StatefulSet", "a/s", spec(m{"replicas": int64(0),
			"volumeClaimTemplates": l{m{"metadata": m{"name": "data"}}}}))}, nil},
		"what Kubernetes makes": {[]m{
			object("v1", "Pod", "kube-system/p", spec(m{"priorityClassName": "system-node-critical", "serviceAccountName": "default"})),
			object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "b", m{"roleRef": m{"kind": "ClusterRole", "name": "cluster-admin"}}),
			object("rbac.authorization.k8s.io/v1", "RoleBinding", "kube-system/system:x", m{"roleRef": m{"kind": "Role", "name": "system:x"},
				"subjects": l{m{"kind": "ServiceAccount", "name": "maker", "namespace": "kube-system"}}}),
			object("v1", "Pod", "kube-system/static", m{"metadata": m{"ownerReferences": l{m{"apiVersion": "v1", "kind": "Node", "name": "n"}}}}),
			object("v1", "ServiceAccount", "kube-system/s", m{"secrets": l{m{"name": "s-token-abcde"}}, "imagePullSecrets": l{m{"name": "s-dockercfg-abcde"}}}),
		}, nil},
		"claim": {[]m{object("v1", "PersistentVolumeClaim", "a/c", spec(m{"volumeName": "v", "storageClassName": "fast",
			"dataSource": m{"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "old"}}))}, []string{
			"PersistentVolumeClaim a/c volume PersistentVolume v missing", "PersistentVolumeClaim a/c storageClass StorageClass fast missing",
			"PersistentVolumeClaim a/c dataSource VolumeSnapshot a/old missing"}},
		"volume": {[]m{object("v1", "PersistentVolume", "v", spec(m{"storageClassName": "fast", "claimRef": m{"namespace": "a", "name": "c"},
			"csi": m{"nodeStageSecretRef": m{"namespace": "b", "name": "s"}}, "azureFile": m{"secretName": "az", "secretNamespace": "b"}}))}, []string{
			"PersistentVolume v claimedBy PersistentVolumeClaim a/c missing optional", "PersistentVolume v credentials Secret b/az missing",
			"PersistentVolume v credentials Secret b/s missing", "PersistentVolume v storageClass StorageClass fast missing optional"}},
		"classes": {[]m{object("storage.k8s.io/v1", "StorageClass", "c", m{"parameters": m{
			"csi.storage.k8s.io/provisioner-secret-name": "s", "csi.storage.k8s.io/provisioner-secret-namespace": "b",
			"csi.storage.k8s.io/node-stage-secret-name": "${pvc.name}", "csi.storage.k8s.io/node-stage-secret-namespace": "b"}})},
			[]string{"StorageClass c credentials Secret b/s missing"}},
		"snapshots": {[]m{
			object("snapshot.storage.k8s.io/v1", "VolumeSnapshot", "a/s", m{"spec": m{"volumeSnapshotClassName": "k", "source": m{"persistentVolumeClaimName": "c"}},
				"status": m{"boundVolumeSnapshotContentName": "vsc"}}),
			object("snapshot.storage.k8s.io/v1", "VolumeSnapshotContent", "vsc", spec(m{"volumeSnapshotClassName": "k", "volumeSnapshotRef": m{"namespace": "a", "name": "s"}})),
		}, []string{
			"VolumeSnapshot a/s definition CustomResourceDefinition VolumeSnapshot.snapshot.storage.k8s.io missing",
			"VolumeSnapshot a/s takenFrom PersistentVolumeClaim a/c missing optional",
			"VolumeSnapshot a/s content VolumeSnapshotContent vsc", "VolumeSnapshot a/s snapshotClass VolumeSnapshotClass k missing",
			"VolumeSnapshotContent vsc definition CustomResourceDefinition VolumeSnapshotContent.snapshot.storage.k8s.io missing",
			"VolumeSnapshotContent vsc snapshot VolumeSnapshot a/s optional", "VolumeSnapshotContent vsc snapshotClass VolumeSnapshotClass k missing"}},
		"ingress": {[]m{object("networking.k8s.io/v1", "Ingress", "a/i", spec(m{"ingressClassName": "nginx", "defaultBackend": m{"service": m{"name": "d"}},
			"rules": l{m{"http": m{"paths": l{m{"backend": m{"service": m{"name": "web"}}}, m{"backend": m{"serviceName": "old"}}}}}}, "tls": l{m{"secretName": "cert"}}}))},
			[]string{"Ingress a/i ingressClass IngressClass nginx missing", "Ingress a/i tls Secret a/cert missing", "Ingress a/i backend Service a/d missing",
				"Ingress a/i backend Service a/old missing", "Ingress a/i backend Service a/web missing"}},
		"autoscaler": {[]m{object("autoscaling/v2", "HorizontalPodAutoscaler", "a/h", spec(m{"scaleTargetRef": m{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}))},
			[]string{"HorizontalPodAutoscaler a/h scales Deployment a/d missing"}},
		"selectors": {[]m{
			object("v1", "Service", "a/s", spec(m{"selector": m{"app": "x"}})),
			object("policy/v1", "PodDisruptionBudget", "a/b", spec(m{"selector": m{"matchLabels": m{"app": "x", "tier": "1"}}})),
			object("apps/v1", "Deployment", "a/d", spec(m{"template": m{"metadata": m{"labels": m{"app": "x", "tier": "1"}}}})),
			object("apps/v1", "Deployment", "a/e", spec(m{"template": m{"metadata": m{"labels": m{"app": "x"}}}})),
			object("apps/v1", "Deployment", "b/d", spec(m{"template": m{"metadata": m{"labels": m{"app": "x"}}}})),
		}, []string{"PodDisruptionBudget a/b selects Deployment a/d", "Service a/s selects Deployment a/d", "Service a/s selects Deployment a/e"}},
		"webhooks": {[]m{
			object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w", m{"webhooks": l{m{"clientConfig": m{"service": m{"namespace": "a", "name": "h"}}},
				m{"clientConfig": m{"url": "https://x"}}}}),
			object("apiregistration.k8s.io/v1", "APIService", "v1.agg.io", spec(m{"group": "agg.io", "version": "v1", "service": m{"namespace": "a", "name": "h"}})),
			object("agg.io/v1", "Seen", "a/x", nil),
			object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "cs.y.io", spec(m{"conversion": m{"webhook": m{"clientConfig": m{"service": m{"namespace": "a", "name": "h"}}}}})),
		}, []string{"APIService v1.agg.io calls Service a/h missing", "CustomResourceDefinition cs.y.io calls Service a/h missing", "Seen a/x definition APIService v1.agg.io",
			"ValidatingWebhookConfiguration w calls Service a/h missing"}},
		"bindings": {[]m{
			object("rbac.authorization.k8s.io/v1", "RoleBinding", "a/b", m{"roleRef": m{"kind": "Role", "name": "r"}, "subjects": l{
				m{"kind": "ServiceAccount", "name": "s"}, m{"kind": "ServiceAccount", "name": "s", "namespace": "b"}, m{"kind": "User", "name": "u"}}}),
			object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "c", m{"roleRef": m{"kind": "ClusterRole", "name": "own"}}),
		}, []string{"ClusterRoleBinding c role ClusterRole own missing", "RoleBinding a/b role Role a/r missing",
			"RoleBinding a/b subject ServiceAccount a/s missing optional", "RoleBinding a/b subject ServiceAccount b/s missing optional"}},
		"owners": {[]m{
			object("apps/v1", "ReplicaSet", "a/r", m{"metadata": m{"uid": "u1", "ownerReferences": l{m{"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone", "uid": "u9"}}}}),
			object("v1", "Pod", "a/p", m{"metadata": m{"ownerReferences": l{m{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u1"}}}}),
			object("x.io/v1", "Thing", "far", m{"metadata": m{"uid": "u3"}}), crd,
			object("v1", "Secret", "a/s", m{"metadata": m{"ownerReferences": l{m{"apiVersion": "x.io/v1", "kind": "Thing", "name": "far", "uid": "u3"}}}}),
		}, []string{"Pod a/p owner ReplicaSet a/r optional", "ReplicaSet a/r owner Deployment a/gone missing optional", "Secret a/s owner Thing far optional",
			"Thing far definition CustomResourceDefinition things.x.io"}},
		"accounts": {[]m{
			object("v1", "ServiceAccount", "a/s", m{"secrets": l{m{"name": "own"}}, "imagePullSecrets": l{m{"name": "reg"}}}),
			object("v1", "Secret", "a/s-token-abcde", m{"type": "kubernetes.io/service-account-token", "metadata": m{"annotations": m{"kubernetes.io/service-account.name": "s"}}}),
		}, []string{"Secret a/s-token-abcde token ServiceAccount a/s", "ServiceAccount a/s mountable Secret a/own missing optional", "ServiceAccount a/s imagePull Secret a/reg missing"}},
		"conventions": {[]m{crd, thing(m{
			"superuserSecret": m{"name": "root"}, "secretName": "plain", "auth": m{"passwordSecretRef": m{"name": "pass", "key": "k"}},
			"s3Credentials": m{"accessKeyId": m{"name": "s3", "key": "id"}}, "credential": m{"name": "cloud", "key": "cloud"},
			"valuesFrom": l{m{"kind": "ConfigMap", "name": "values", "optional": true}}, "env": l{m{"valueFrom": m{"configMapKeyRef": m{"name": "cm"}}}},
			"pods":         m{"imagePullSecrets": l{m{"name": "reg"}}, "volumes": l{m{"secret": m{"secretName": "vol"}}}},
			"clientSecret": "s3cr3t-value", "message": m{"name": "nothing"}, "tlsSecretName": "{{ .Release.Name }}", "issuerRef": m{"name": "ca"},
		})}, []string{"Thing a/t names ConfigMap a/cm missing convention", "Thing a/t names ConfigMap a/values missing optional convention",
			"Thing a/t definition CustomResourceDefinition things.x.io", "Thing a/t names Issuer a/ca missing convention",
			"Thing a/t names Secret a/cloud missing convention", "Thing a/t names Secret a/pass missing convention", "Thing a/t names Secret a/plain missing convention",
			"Thing a/t names Secret a/reg missing convention", "Thing a/t names Secret a/root missing convention", "Thing a/t names Secret a/s3 missing convention",
			"Thing a/t names Secret a/vol missing convention"}},
		"a bare secret that is one": {[]m{crd, thing(m{"clientSecret": "there"}), object("v1", "Secret", "a/there", nil)}, []string{
			"Thing a/t definition CustomResourceDefinition things.x.io", "Thing a/t names Secret a/there convention"}},
		"certificate": {[]m{object("cert-manager.io/v1", "Certificate", "a/c", spec(m{"secretName": "tls", "issuerRef": m{"kind": "ClusterIssuer", "name": "ca"}}))}, []string{
			"Certificate a/c names ClusterIssuer ca missing convention",
			"Certificate a/c definition CustomResourceDefinition Certificate.cert-manager.io missing", "Certificate a/c makes Secret a/tls missing optional convention"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := told(graphOf(c.objects...))
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("edges:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestDefinitions(t *testing.T) {
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.x.io", spec(m{"group": "x.io", "names": m{"kind": "Thing"},
		"versions": l{m{"name": "v2", "served": true}, m{"name": "v1", "served": false}, m{"name": "v3", "served": true}}}))
	old := object("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "olds.x.io", spec(m{"group": "x.io", "names": m{"kind": "Old"}, "version": "v1"}))
	g := graphOf(object("x.io/v2", "Thing", "a/1", nil), object("x.io/v1", "Thing", "a/2", nil), crd, old, object("x.io/v1", "Old", "o", nil),
		object("y.io/v1", "Lost", "a/3", nil), object("metrics.k8s.io/v1beta1", "PodMetrics", "a/4", nil), object("apps/v1", "Deployment", "a/5", nil))
	g.Resource("y.io", "Lost", "losts")
	want := l{
		m{"group": "x.io", "kind": "Old", "versions": l{"v1"}, "crd": "olds.x.io", "present": true, "served": l{"v1"}, "count": int64(1)},
		m{"group": "x.io", "kind": "Thing", "versions": l{"v1", "v2"}, "crd": "things.x.io", "present": true, "served": l{"v2", "v3"}, "count": int64(2), "problem": "version v1 is not served"},
		m{"group": "y.io", "kind": "Lost", "versions": l{"v1"}, "crd": "losts.y.io", "present": false, "count": int64(1), "problem": "no CRD in the backup"},
	}
	if got := g.Plan()["definitions"]; !reflect.DeepEqual(got, want) {
		t.Errorf("definitions = %v\nwant %v", got, want)
	}
}

func TestMissing(t *testing.T) {
	var objects []m
	for i := range 7 {
		objects = append(objects, object("v1", "Pod", fmt.Sprint("a/p", i), spec(m{"containers": l{m{"envFrom": l{m{"secretRef": m{"name": "db", "optional": i != 3}}}}}})))
	}
	objects = append(objects, object("v1", "Namespace", "a", nil), object("v1", "PersistentVolumeClaim", "a/c", spec(m{"storageClassName": "fast"})))
	plan := graphOf(objects...).Plan()
	want := l{
		m{"group": "", "kind": "Secret", "namespace": "a", "name": "db", "relation": "env", "optional": false, "count": int64(7), "by": l{"Pod a/p0", "Pod a/p1", "Pod a/p2", "Pod a/p3", "Pod a/p4"}},
		m{"group": "storage.k8s.io", "kind": "StorageClass", "name": "fast", "relation": "storageClass", "optional": false, "external": true, "count": int64(1), "by": l{"PersistentVolumeClaim a/c"}},
	}
	if got := plan["missing"]; !reflect.DeepEqual(got, want) {
		t.Errorf("missing = %v\nwant %v", got, want)
	}
	if plan["nodes"] != int64(9) || plan["complete"] != true {
		t.Errorf("nodes, complete = %v, %v", plan["nodes"], plan["complete"])
	}
}

func TestOrder(t *testing.T) {
	volume := object("v1", "PersistentVolume", "v", spec(m{"claimRef": m{"namespace": "a", "name": "c"}, "storageClassName": "fast"}))
	claim := object("v1", "PersistentVolumeClaim", "a/c", spec(m{"volumeName": "v", "storageClassName": "fast"}))
	pod := object("v1", "Pod", "a/p", spec(m{"volumes": l{m{"persistentVolumeClaim": m{"claimName": "c"}}}}))
	plan := graphOf(pod, claim, volume, object("v1", "Namespace", "a", nil), object("storage.k8s.io/v1", "StorageClass", "fast", nil)).Plan()
	want := l{
		m{"step": int64(1), "items": l{"Namespace a", "StorageClass fast"}},
		m{"step": int64(2), "items": l{"PersistentVolume v"}},
		m{"step": int64(3), "items": l{"PersistentVolumeClaim a/c"}},
	}
	if !reflect.DeepEqual(plan["order"], want) || plan["orderCount"] != int64(4) || len(plan["cycles"].(l)) != 0 {
		t.Errorf("order = %v, cycles = %v\nwant %v", plan["order"], plan["cycles"], want)
	}
}

func TestCycles(t *testing.T) {
	clone := func(name, of string) m {
		return object("v1", "PersistentVolumeClaim", "a/"+name, spec(m{"dataSource": m{"kind": "PersistentVolumeClaim", "name": of}}))
	}
	plan := graphOf(clone("x", "y"), clone("y", "z"), clone("z", "x"), clone("self", "self"), clone("after", "x")).Plan()
	want := l{l{"PersistentVolumeClaim a/self"}, l{"PersistentVolumeClaim a/x", "PersistentVolumeClaim a/y", "PersistentVolumeClaim a/z"}}
	if !reflect.DeepEqual(plan["cycles"], want) {
		t.Errorf("cycles = %v, want %v", plan["cycles"], want)
	}
}

func TestWhatPointsBackIsNoCycle(t *testing.T) {
	crd := func(group, kind string) m {
		return object("apiextensions.k8s.io/v1", "CustomResourceDefinition", strings.ToLower(kind)+"s."+group, spec(m{"group": group, "names": m{"kind": kind}}))
	}
	owned := func(apiVersion, kind, name string) m {
		return m{"ownerReferences": l{m{"apiVersion": apiVersion, "kind": kind, "name": name}}}
	}
	plan := graphOf(
		crd("x.io", "Cluster"), object("x.io/v1", "Cluster", "a/c", spec(m{"superuserSecret": m{"name": "s"}})),
		object("v1", "Secret", "a/s", m{"metadata": owned("x.io/v1", "Cluster", "c")}),
		object("v1", "ServiceAccount", "a/sa", m{"secrets": l{m{"name": "sa-token-abcde"}}}),
		object("v1", "Secret", "a/sa-token-abcde", m{"type": "kubernetes.io/service-account-token", "metadata": m{"annotations": m{"kubernetes.io/service-account.name": "sa"}}}),
		object("v1", "PersistentVolumeClaim", "a/pvc", spec(m{"volumeName": "pv", "dataSource": m{"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "vs"}})),
		object("v1", "PersistentVolume", "pv", spec(m{"claimRef": m{"namespace": "a", "name": "pvc"}})),
		object("snapshot.storage.k8s.io/v1", "VolumeSnapshot", "a/vs", spec(m{"source": m{"persistentVolumeClaimName": "pvc", "volumeSnapshotContentName": "vsc"}})),
		object("snapshot.storage.k8s.io/v1", "VolumeSnapshotContent", "vsc", spec(m{"volumeSnapshotRef": m{"namespace": "a", "name": "vs"}})),
		crd("snapshot.storage.k8s.io", "VolumeSnapshot"),
	).Plan()
	if c := plan["cycles"].(l); len(c) != 0 {
		t.Errorf("cycles = %v", c)
	}
}

func TestIncomplete(t *testing.T) {
	g := graphOf(object("v1", "Namespace", "a", nil), m{"kind": "Pod"})
	g.Note("read tarball: it is cut short")
	plan := g.Plan()
	want := l{"read an object: it has no apiVersion, kind or name", "read tarball: it is cut short"}
	if plan["complete"] != false || !reflect.DeepEqual(plan["incomplete"], want) {
		t.Errorf("complete, incomplete = %v, %v", plan["complete"], plan["incomplete"])
	}
}

func TestKindsOfSeveralGroupsAreToldApart(t *testing.T) {
	g := graphOf(object("v1", "Service", "a/x", nil), object("serving.knative.dev/v1", "Service", "a/x", nil))
	text := fmt.Sprint(g.Plan()["graph"])
	if !strings.Contains(text, "from:Service a/x") || !strings.Contains(text, "from:Service.serving.knative.dev a/x") {
		t.Errorf("graph = %s", text)
	}
}

func TestBounds(t *testing.T) {
	g := New()
	for i := range 25_000 {
		ns := fmt.Sprintf("n%05d", i)
		g.Add(object("v1", "Namespace", ns, nil))
		g.Add(object("v1", "Pod", ns+"/p", spec(m{"containers": l{m{"envFrom": l{m{"secretRef": m{"name": "gone"}}}}}})))
	}
	plan := g.Plan()
	if n := len(plan["missing"].(l)); n != 1000 || plan["missingCount"] != int64(25_000) {
		t.Errorf("%d of %v missing", n, plan["missingCount"])
	}
	step := plan["order"].(l)[0].(m)
	if n := len(step["items"].(l)); n != 10_000 || step["truncated"] != true || plan["orderTruncated"] != true || plan["orderCount"] != int64(25_000) {
		t.Errorf("%d items of %v, truncated %v", n, plan["orderCount"], step["truncated"])
	}
	if n := len(plan["graph"].(l)); n != 20_000 || plan["graphTruncated"] != true {
		t.Errorf("%d edges in the graph", n)
	}
}

func TestHostileShapes(t *testing.T) {
	deep := any("end")
	for range 10_000 {
		deep = m{"secretRef": l{deep}}
	}
	for name, o := range map[string]m{
		"wrong types": object("v1", "Pod", "a/p", spec(m{"containers": "x", "volumes": l{nil, int64(1), m{"secret": l{}}}, "serviceAccountName": int64(1)})),
		"deep":        object("x.io/v1", "Thing", "a/t", spec(m{"a": deep})),
		"replicas": object("apps/v1", "StatefulSet", "a/s", spec(m{"replicas": int64(1) << 60,
			"volumeClaimTemplates": l{m{"metadata": m{"name": "d"}}}})),
		"negative": object("apps/v1", "StatefulSet", "a/s", spec(m{"replicas": int64(-1), "volumeClaimTemplates": l{m{"metadata": m{"name": "d"}}}})),
		"no spec":  object("apps/v1", "StatefulSet", "a/s", m{"spec": nil}),
	} {
		if plan := graphOf(o).Plan(); plan["nodes"] != int64(1) {
			t.Errorf("%s: nodes = %v", name, plan["nodes"])
		}
	}
}
