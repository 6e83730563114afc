package dependency

import (
	"fmt"
	"strings"
	"testing"
)

// A reference of a wrong type is no reference that is not there: the object was not read.
func TestAFieldOfAWrongTypeMakesThePlanIncomplete(t *testing.T) {
	deployment := func(pod any) m { return object("apps/v1", "Deployment", "a/d", spec(m{"template": m{"spec": pod}})) }
	in := func(container m) m { return deployment(m{"containers": l{container}}) }
	for want, o := range map[string]m{
		"Deployment a/d: its spec is no object":               object("apps/v1", "Deployment", "a/d", m{"spec": l{int64(1)}}),
		"Deployment a/d: its template is no object":           object("apps/v1", "Deployment", "a/d", spec(m{"template": "x"})),
		"Deployment a/d: its volumes is no list":              deployment(m{"volumes": "x"}),
		"Deployment a/d: its containers is no list":           deployment(m{"containers": m{"a": int64(1)}}),
		"Deployment a/d: its name is no text":                 in(m{"env": l{m{"valueFrom": m{"secretKeyRef": m{"name": int64(5)}}}}}),
		"Deployment a/d: its envFrom is no list":              in(m{"envFrom": "x"}),
		"Deployment a/d: its serviceAccountName is no text":   deployment(m{"serviceAccountName": int64(7)}),
		"Deployment a/d: its imagePullSecrets is no list of":  deployment(m{"imagePullSecrets": l{"gone"}}),
		"StatefulSet a/s: its replicas is no number from 0":   object("apps/v1", "StatefulSet", "a/s", spec(m{"replicas": "3"})),
		"StatefulSet a/n: its replicas is no number from 0":   object("apps/v1", "StatefulSet", "a/n", spec(m{"replicas": int64(-1)})),
		"PersistentVolumeClaim a/c: its volumeName is no":     object("v1", "PersistentVolumeClaim", "a/c", spec(m{"volumeName": true})),
		"Thing a/t: its ownerReferences is no list":           object("x.io/v1", "Thing", "a/t", m{"metadata": m{"ownerReferences": "x"}}),
		"ConfigMap c: its namespace is no text":               object("v1", "ConfigMap", "c", m{"metadata": m{"namespace": int64(1)}}),
		"CustomResourceDefinition x: its versions is no list": object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "x", spec(m{"versions": "v1"})),
	} {
		plan := graphOf(o).Plan()
		if plan["complete"] != false || !strings.Contains(fmt.Sprint(plan["incomplete"]), "read "+want) {
			t.Errorf("%v, %v; want %s", plan["complete"], plan["incomplete"], want)
		}
	}
	// What is null is not there, and what the fields of a custom resource mean only its operator knows.
	for _, o := range append(cluster(3), deployment(nil), deployment(m{"volumes": nil, "serviceAccountName": nil, "containers": l{m{"env": nil}}}),
		object("x.io/v1", "Thing", "a/t", m{"spec": m{"volumes": "x", "secretName": int64(1), "issuerRef": l{}}}), object("x.io/v1", "Thing", "a/u", m{"spec": "x"})) {
		if plan := graphOf(o).Plan(); plan["complete"] != true {
			t.Errorf("%v: %v", o, plan["incomplete"])
		}
	}
}
