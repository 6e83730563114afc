//go:build unix

package real

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/policies"
)

// floorSpace is the one namespace in which the exported policies hold, so that they are in no other suite's way.
const floorSpace = "floor"

// asked is a fixture as a request to the API server.
type asked struct {
	engine.Subject
	file string
	// blame are the exported policies that the judge says fail or cannot be told.
	blame []string
	live  *unstructured.Unstructured // what an update or a deletion is about
}

// Every fixture of the exported policies, asked of a real API server that holds them, is denied there exactly where the
// judge says fail or unknown.
func TestRealExportedPolicies(t *testing.T) {
	c := liveCluster(t)
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	crds := run(t, nil, "", tool(t, "velero"), "install", "--crds-only", "--dry-run", "-o", "json")
	c.kubectl(t, crds, "apply", "--server-side", "-f", "-")
	c.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
	c.kubectl(t, "", "create", "namespace", floorSpace)
	// The fixtures' users may do anything there.
	c.kubectl(t, "", "create", "rolebinding", "-n", floorSpace, "anyone", "--clusterrole=cluster-admin", "--group=system:authenticated")

	profile := filepath.Join(t.TempDir(), "proviso.yaml")
	if err := os.WriteFile(profile, []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: deny\nunknown: deny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exported := run(t, nil, "", bin, "bundle", "export-vap", "--profile", profile)
	ids := exportedIDs(exported)
	if len(ids) < 3 {
		t.Fatalf("only %v were exported", ids)
	}
	requests := fixtureRequests(t, ids)
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What the schema of a kind refuses never comes to a policy.
	requests = slices.DeleteFunc(requests, func(r *asked) bool {
		if r.Kind == "Namespace" {
			return true // it lies in none
		}
		if r.Operation != engine.Create {
			r.live = &unstructured.Unstructured{Object: runtime.DeepCopyJSON(r.Old)}
			if err := admin.Create(t.Context(), r.live); err != nil {
				t.Logf("left out: %s: the old object: %v", r.file, err)
				return true
			}
		}
		err := r.ask(t.Context(), config)
		if err != nil {
			t.Logf("left out: %s: %v", r.file, err)
		}
		return err != nil
	})

	within := strings.ReplaceAll(exported, "  policyName: ", "  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: "+floorSpace+"}}}\n  policyName: ")
	c.kubectl(t, within, "apply", "-f", "-")
	defer func() {
		c.kubectl(t, within, "delete", "-f", "-")
		for _, r := range requests {
			if r.live != nil {
				until(t, 30*time.Second, "the end of the floor", func(ctx context.Context) error { return client.IgnoreNotFound(admin.Delete(ctx, r.live)) })
			}
		}
		c.kubectl(t, "", "delete", "rolebinding", "-n", floorSpace, "anyone")
	}()
	bitten, admitted := map[string]int{}, map[string]int{}
	for _, r := range requests {
		if len(r.blame) > 0 {
			until(t, 30*time.Second, "the denial of "+r.file, func(ctx context.Context) error { return r.agrees(ctx, config) })
			for _, id := range r.blame {
				bitten[id]++
			}
		}
	}
	for _, r := range requests {
		if len(r.blame) == 0 {
			if err := r.agrees(t.Context(), config); err != nil {
				t.Error(err)
			}
			admitted[path.Dir(path.Dir(r.file))]++
		}
	}
	for _, id := range ids {
		if bitten[id] == 0 || admitted[id] == 0 {
			t.Errorf("%s: the API server denied %d of its fixtures and admitted %d, want some of both", id, bitten[id], admitted[id])
		}
	}
	t.Logf("%d requests; denied by policy %v", len(requests), bitten)
}

func exportedIDs(exported string) (ids []string) {
	for line := range strings.Lines(exported) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "proviso.dev/policy: "); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// fixtureRequests are the fixtures of the exported policies, judged. Each has a name of its own.
func fixtureRequests(t *testing.T, ids []string) (all []*asked) {
	t.Helper()
	set, err := bundles.Load(nil, bundles.Defaults{}, bundles.Source{FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		files, err := fs.Glob(policies.FS, id+"/*/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := fs.ReadFile(policies.FS, file)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range strings.Split(string(raw), "\n---") {
				var doc map[string]any
				// Numbers are whole where they are written so, as the API server reads them.
				if raw, err := yaml.YAMLToJSON([]byte(text)); err != nil {
					t.Fatalf("%s: %v", file, err)
				} else if err := utiljson.Unmarshal(raw, &doc); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				r := &asked{file: file}
				r.Operation, r.Object, r.User = engine.Create, doc, map[string]any{"username": "admin", "groups": []any{}}
				if doc["kind"] == "AdmissionReview" {
					r.Operation, _, _ = unstructured.NestedString(doc, "request", "operation")
					r.Object, _, _ = unstructured.NestedMap(doc, "request", "object")
					r.Old, _, _ = unstructured.NestedMap(doc, "request", "oldObject")
					r.User, _, _ = unstructured.NestedMap(doc, "request", "userInfo")
				}
				of := r.Object
				if len(of) == 0 {
					of = r.Old
				}
				r.APIVersion, r.Kind = of["apiVersion"].(string), of["kind"].(string)
				r.Namespace, r.Name = floorSpace, fmt.Sprintf("%s-%d", path.Base(id), len(all))
				for _, object := range []map[string]any{r.Object, r.Old} {
					if meta, ok := object["metadata"].(map[string]any); ok {
						meta["name"], meta["namespace"] = r.Name, floorSpace
					}
				}
				for _, d := range set.Judge(t.Context(), r.Subject, nil, time.Now()) {
					if (d.Verdict == engine.Fail || d.Verdict == engine.Unknown) && slices.Contains(ids, d.Policy.ID) {
						r.blame = append(r.blame, d.Policy.ID)
					}
				}
				all = append(all, r)
			}
		}
	}
	return all
}

// as is a client of the fixture's user.
func (r *asked) as(config *rest.Config) (client.Client, error) {
	with := rest.CopyConfig(config)
	with.Impersonate.UserName, _ = r.User["username"].(string)
	groups, _, err := unstructured.NestedStringSlice(r.User, "groups")
	with.Impersonate.Groups = groups
	if err != nil {
		return nil, err
	}
	return client.New(with, client.Options{})
}

// ask asks for the request without effect.
func (r *asked) ask(ctx context.Context, config *rest.Config) error {
	c, err := r.as(config)
	if err != nil {
		return err
	}
	switch r.Operation {
	case engine.Create:
		return c.Create(ctx, &unstructured.Unstructured{Object: runtime.DeepCopyJSON(r.Object)}, client.DryRunAll)
	case engine.Update:
		now := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(r.Object)}
		now.SetResourceVersion(r.live.GetResourceVersion())
		now.SetUID(r.live.GetUID())
		return c.Update(ctx, now, client.DryRunAll)
	default:
		return c.Delete(ctx, r.live.DeepCopy(), client.DryRunAll)
	}
}

// agrees says where the API server and the judge differ.
func (r *asked) agrees(ctx context.Context, config *rest.Config) error {
	err := r.ask(ctx, config)
	if err == nil {
		if len(r.blame) > 0 {
			return fmt.Errorf("%s: %s %s is admitted, and the judge denies it by %v", r.file, r.Operation, &r.Subject, r.blame)
		}
		return nil
	}
	for _, id := range r.blame {
		if strings.Contains(err.Error(), "denied request: "+id+": ") {
			return nil
		}
	}
	return fmt.Errorf("%s: %s %s: %w, and the judge denies it by %v", r.file, r.Operation, &r.Subject, err, r.blame)
}
