package webhook_test

import (
	"bytes"
	_ "embed"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/policies"
	"proviso.dev/proviso/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

// builtin is the set of all policies that ship.
func builtin(t *testing.T) *engine.Set {
	t.Helper()
	set, err := bundles.Load(nil, bundles.Defaults{}, bundles.Source{Name: "builtin", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

//go:embed testdata/ca.pem
var authority []byte

var installs = map[string]webhook.Install{
	"own":         {Image: "registry.example/proviso:1.0.0", StatusWriters: []string{"system:serviceaccount:velero:velero"}},
	"files":       {Name: "guard", Namespace: "guarded", Image: "registry.example/proviso:1.0.0", Replicas: 3, TimeoutSeconds: 3, Certificates: webhook.Files, CABundle: authority, ProfileYAML: []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: deny\n")},
	"evidence":    {Image: "registry.example/proviso:1.0.0", Evidence: "/var/lib/proviso/evidence", Key: "/etc/proviso-key/cosign.key", EvidenceBytes: 10 << 30},
	"certmanager": {Image: "registry.example/proviso:1.0.0", Certificates: webhook.CertManager},
}

// objects are those of one install: own for all policies that ship, the others for a few kinds.
func objects(t *testing.T, name string) []runtime.Object {
	t.Helper()
	rows, rights := []engine.MatchRow{{Kinds: []string{"Namespace"}}, {Group: "velero.io", Kinds: []string{"Restore"}}},
		webhook.Rights{Facts: cluster.Rights(nil, map[[2]string]bool{{"", "Namespace"}: true}), Scan: cluster.Rights([][2]string{{"velero.io", "Restore"}}, nil)}
	if name == "own" {
		set := builtin(t)
		rows, rights = set.Rows(), webhook.Rights{Facts: cluster.Rights(nil, set.FactKinds()), Scan: cluster.Rights(set.Kinds(), set.FactKinds())}
	}
	fail, ignore, _, err := webhook.Rules(rows, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := installs[name].Objects(fail, ignore, rights)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestGolden(t *testing.T) {
	for name, install := range installs {
		note, err := install.Note()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := webhook.WriteYAML(&b, note, objects(t, name)...); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "golden", name+".yaml")
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s has changed; where that is meant: go test ./webhook -run TestGolden -update, and look at the difference", file)
		}
	}
}

// The list is Kubernetes' own of good practices for admission webhooks, and what attacks on others taught.
func TestGoodPractice(t *testing.T) {
	for name, install := range installs {
		t.Run(name, func(t *testing.T) {
			namespace := install.Namespace
			if namespace == "" {
				namespace = "proviso-system"
			}
			all := objects(t, name)
			c, isLast := all[len(all)-1].(*admissionregistration.ValidatingWebhookConfiguration)
			if !isLast {
				t.Fatalf("the webhooks are not applied last, but %T", all[len(all)-1])
			}
			policies := map[string]admissionregistration.FailurePolicyType{}
			for _, w := range c.Webhooks {
				if w.FailurePolicy == nil || w.TimeoutSeconds == nil || *w.TimeoutSeconds > 5 || w.MatchPolicy == nil || *w.MatchPolicy != admissionregistration.Equivalent ||
					w.SideEffects == nil || *w.SideEffects != admissionregistration.SideEffectClassNoneOnDryRun || !slices.Equal(w.AdmissionReviewVersions, []string{"v1"}) {
					t.Fatalf("%s leaves to chance what it should say", w.Name)
				}
				policies[w.Name] = *w.FailurePolicy
				if w.ObjectSelector != nil {
					t.Errorf("%s can be skipped by what an object says of itself", w.Name)
				}
				for _, m := range w.MatchConditions {
					// One is false wherever it is not Velero's own user that updates a kind of Velero's and leaves alone all that is judged.
					for _, part := range []string{"!(request.operation == 'UPDATE' && ", "request.kind.group == 'velero.io' && ", `request.userInfo.username in ["system:serviceaccount:velero:velero"] && `,
						"object.?spec == oldObject.?spec", "metadata.?labels ==", "metadata.?annotations ==", "metadata.?ownerReferences ==", "metadata.?finalizers =="} {
						if !strings.Contains(m.Expression, part) {
							t.Errorf("%s can be skipped by more than Velero's own status: %s lacks %s", w.Name, m.Expression, part)
						}
					}
				}
				var excluded []string
				if w.NamespaceSelector != nil {
					for _, e := range w.NamespaceSelector.MatchExpressions {
						if e.Key != "kubernetes.io/metadata.name" || e.Operator != "NotIn" {
							t.Errorf("%s leaves out namespaces by %s, which tenants can set", w.Name, e.Key)
						}
						excluded = append(excluded, e.Values...)
					}
				}
				ours := 0
				for _, r := range w.Rules {
					for _, text := range slices.Concat(r.APIGroups, r.APIVersions, r.Resources) {
						if strings.Contains(text, "*") {
							t.Errorf("%s watches %q", w.Name, text)
						}
						if slices.Contains([]string{"secrets", "leases", "events", "nodes"}, text) || strings.HasPrefix(text, "admissionregistration") {
							t.Errorf("%s watches %s", w.Name, text)
						}
					}
					if slices.Contains(r.Operations, admissionregistration.OperationAll) || slices.Contains(r.Operations, admissionregistration.Connect) || len(r.APIVersions) == 0 {
						t.Errorf("%s: %v", w.Name, r)
					}
					if r.APIGroups[0] == "proviso.dev" {
						ours++
					}
				}
				// Waivers lie in our namespace: their webhook leaves out none, and watches nothing that our pods need.
				switch {
				case ours == 0 && !slices.Equal(excluded, []string{"kube-system", namespace}):
					t.Errorf("%s leaves out %q, want kube-system and %s", w.Name, excluded, namespace)
				case ours > 0 && (ours != len(w.Rules) || len(excluded) > 0):
					t.Errorf("%s mixes our own kinds with others", w.Name)
				}
			}
			for webhook, want := range map[string]admissionregistration.FailurePolicyType{"fail.proviso.dev": "Fail", "ignore.proviso.dev": "Ignore", "own.proviso.dev": "Fail"} {
				if policies[webhook] != want {
					t.Errorf("%s has failure policy %q, want %s", webhook, policies[webhook], want)
				}
			}
		})
	}
}

func TestLeastRights(t *testing.T) {
	everything := []rbac.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets", "namespaces"}, Verbs: []string{"get"}}, {APIGroups: []string{"velero.io"}, Resources: []string{"*"}, Verbs: []string{"get"}},
		{APIGroups: []string{"*"}, Resources: []string{"pods"}, Verbs: []string{"get"}}}
	for name, install := range installs {
		t.Run(name, func(t *testing.T) {
			all, err := install.Objects(nil, nil, webhook.Rights{Facts: everything, Scan: everything})
			if err != nil {
				t.Fatal(err)
			}
			secretRoles, namespaces, compares := 0, 0, 0
			for _, o := range all {
				switch role := o.(type) {
				case *rbac.ClusterRole:
					for _, r := range role.Rules {
						if slices.Contains(r.Resources, "secrets") || slices.Contains(slices.Concat(r.Resources, r.APIGroups, r.Verbs), "*") {
							t.Errorf("%s may %v", role.Name, r)
						}
						if slices.Contains(r.Resources, "namespaces") {
							namespaces++
						}
						writes := slices.DeleteFunc(slices.Clone(r.Verbs), func(v string) bool { return v == "get" || v == "list" || v == "watch" })
						isConfig := slices.Equal(r.Resources, []string{"validatingwebhookconfigurations"}) && len(r.ResourceNames) == 1
						if isCanary := slices.Equal(r.Resources, []string{"profiles"}) && slices.Equal(writes, []string{"create"}); len(writes) > 0 && !isCanary && !isConfig {
							t.Errorf("%s may %v", role.Name, r)
						}
						if isConfig && slices.Contains(writes, "update") != (install.Certificates == webhook.Own) {
							t.Errorf("%s may %v", role.Name, r)
						}
						if isConfig && slices.Contains(r.Verbs, "get") {
							compares++
						}
					}
				case *rbac.Role:
					secretRoles++
					for _, r := range role.Rules {
						if len(r.ResourceNames) != 1 || !slices.Equal(r.Verbs, []string{"get", "update"}) {
							t.Errorf("%s may %v", role.Name, r)
						}
					}
				}
			}
			if compares != 1 {
				t.Errorf("%d roles may read the webhook configuration, want the webhook's", compares)
			}
			if wantRoles := map[bool]int{true: 1}[install.Certificates == webhook.Own]; secretRoles != wantRoles || namespaces != 2+map[bool]int{true: 1}[install.Evidence != ""] {
				t.Errorf("%d roles for Secrets, want %d, and %d for namespaces", secretRoles, wantRoles, namespaces)
			}
		})
	}
}

// Each replica writes on a volume of its own that outlives it, with a key that it reads as a file: no right to read Secrets.
func TestEvidencePods(t *testing.T) {
	for _, o := range objects(t, "evidence") {
		if d, ok := o.(*apps.Deployment); ok {
			t.Errorf("Deployment %s: its replicas would share a volume, or lose it", d.Name)
		}
		set, ok := o.(*apps.StatefulSet)
		if !ok {
			continue
		}
		pod, kept := set.Spec.Template.Spec, set.Spec.PersistentVolumeClaimRetentionPolicy
		claim := set.Spec.VolumeClaimTemplates[0].Spec
		room := claim.Resources.Requests[core.ResourceStorage]
		if claim.AccessModes[0] != core.ReadWriteOnce || kept.WhenDeleted != apps.RetainPersistentVolumeClaimRetentionPolicyType || kept.WhenScaled != apps.RetainPersistentVolumeClaimRetentionPolicyType || room.Value() <= 10<<30 {
			t.Errorf("the volume is %v, kept by %v", claim, kept)
		}
		var at []string
		for _, m := range pod.Containers[0].VolumeMounts {
			if m.ReadOnly != (m.MountPath != "/var/lib/proviso") {
				t.Errorf("%s: read only %v", m.MountPath, m.ReadOnly)
			}
			at = append(at, m.MountPath)
		}
		if !slices.Contains(at, "/var/lib/proviso") || !slices.Contains(at, "/etc/proviso-key") || pod.SecurityContext.FSGroup == nil {
			t.Errorf("mounted at %q, group %v", at, pod.SecurityContext.FSGroup)
		}
		return
	}
	t.Error("nothing runs")
}

// What one node's loss, one bad pod or one curious neighbour can do.
func TestPods(t *testing.T) {
	for _, o := range objects(t, "own") {
		var pod core.PodSpec
		switch o := o.(type) {
		case *apps.Deployment:
			pod = o.Spec.Template.Spec
			if *o.Spec.Replicas < 2 || o.Spec.Strategy.RollingUpdate.MaxUnavailable.IntVal != 0 || len(pod.TopologySpreadConstraints) == 0 {
				t.Errorf("%s stands on one leg", o.Name)
			}
			if p := pod.Containers[0]; p.ReadinessProbe.HTTPGet.Path != "/readyz" || p.LivenessProbe.HTTPGet.Path != "/healthz" || p.ReadinessProbe.HTTPGet.Port.StrVal != "probes" {
				t.Error("the probes ask elsewhere than the server answers")
			}
		case *batch.CronJob:
			pod = o.Spec.JobTemplate.Spec.Template.Spec
			if o.Spec.ConcurrencyPolicy != batch.ForbidConcurrent || !slices.Contains(pod.Containers[0].Args, "cluster:") {
				t.Errorf("%s: %v", o.Name, o.Spec)
			}
		case *policy.PodDisruptionBudget:
			if o.Spec.MaxUnavailable.IntVal != 1 {
				t.Error("a drain may take all replicas at once")
			}
			continue
		default:
			continue
		}
		s := pod.Containers[0].SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" ||
			pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || pod.Containers[0].Resources.Limits.Memory().IsZero() {
			t.Errorf("%s may more than it needs", pod.Containers[0].Name)
		}
	}
}

func TestRefusedInstalls(t *testing.T) {
	for want, install := range map[string]webhook.Install{
		"no image is named":                            {},
		"1 replica":                                    {Image: "i", Replicas: 1},
		"a timeout of 31 s":                            {Image: "i", TimeoutSeconds: 31},
		"cannot be a name":                             {Image: "i", Name: "a b"},
		"kube-system, which no webhook":                {Image: "i", Namespace: "kube-system"},
		"the CA bundle has none in PEM":                {Image: "i", Certificates: webhook.Files, CABundle: []byte("-----BEGIN CERTIFICATE-----\n")},
		"the server publishes its own":                 {Image: "i", CABundle: authority},
		`evidence "evidence": want the absolute path`:  {Image: "i", Evidence: "evidence", Key: "/etc/key/cosign.key", EvidenceBytes: 1},
		`evidence "/evidence": want the absolute path`: {Image: "i", Evidence: "/evidence", Key: "/etc/key/cosign.key", EvidenceBytes: 1},
		`key "cosign.key": want the absolute path`:     {Image: "i", Evidence: "/var/lib/proviso/evidence", Key: "cosign.key", EvidenceBytes: 1},
		"the pods may read no Secret by themselves":    {Image: "i", Evidence: "/var/lib/proviso/evidence", Key: "k8s://proviso-system/key", EvidenceBytes: 1},
		"a volume needs a size":                        {Image: "i", Evidence: "/var/lib/proviso/evidence", Key: "awskms://alias/proviso"},
	} {
		if _, err := install.Objects(nil, nil, webhook.Rights{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if _, err := install.Note(); err == nil {
			t.Errorf("a note on what cannot be installed (%s)", want)
		}
	}
}

// Structural, or the API server does not take them; and what a reader of kubectl explain needs.
func TestDefinitions(t *testing.T) {
	all, err := webhook.Definitions()
	if err != nil || len(all) != 2 {
		t.Fatalf("%d definitions: %v", len(all), err)
	}
	scopes := map[string]string{"Waiver": "Namespaced", "Profile": "Cluster"}
	for _, d := range all {
		kind, _, _ := unstructured.NestedString(d.Object, "spec", "names", "kind")
		plural, _, _ := unstructured.NestedString(d.Object, "spec", "names", "plural")
		if scope, _, _ := unstructured.NestedString(d.Object, "spec", "scope"); scopes[kind] != scope || builtinKind(t, "proviso.dev", kind).Plural != plural || d.GetName() != plural+".proviso.dev" {
			t.Errorf("%s: %s %s %s", d.GetName(), kind, plural, scope)
		}
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		schema, _, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
		structural(t, kind, schema)
		// A mistyped field must reach the check that refuses it.
		if keeps, _, _ := unstructured.NestedBool(schema, "properties", "spec", "x-kubernetes-preserve-unknown-fields"); !keeps {
			t.Errorf("%s: unknown fields of its spec are cut out without a word", kind)
		}
		for _, never := range []string{"trust", "waivers", "disabled", "bundles"} {
			if _, there, _ := unstructured.NestedFieldNoCopy(schema, "properties", "spec", "properties", never); there {
				t.Errorf("%s: %s comes from the file alone", kind, never)
			}
		}
	}
}

func structural(t *testing.T, at string, schema map[string]any) {
	t.Helper()
	if text, _ := schema["type"].(string); text == "" {
		t.Errorf("%s has no type", at)
	}
	properties, _ := schema["properties"].(map[string]any)
	more, hasMore := schema["additionalProperties"].(map[string]any)
	if len(properties) > 0 && hasMore {
		t.Errorf("%s has both properties and additionalProperties", at)
	}
	for name, below := range properties {
		structural(t, at+"."+name, below.(map[string]any))
	}
	if hasMore {
		structural(t, at+"[]", more)
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if properties[name.(string)] == nil {
			t.Errorf("%s requires %v, which it does not describe", at, name)
		}
	}
}
