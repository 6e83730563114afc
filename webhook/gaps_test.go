package webhook_test

import (
	"slices"
	"strings"
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

// wanted is the configuration for a few kinds: schedules fail closed; namespaces and updates of restores fail open.
func wanted(t *testing.T) *admissionregistration.ValidatingWebhookConfiguration {
	t.Helper()
	fail, ignore, _, err := webhook.Rules([]engine.MatchRow{
		{Group: "velero.io", Kinds: []string{"Schedule"}}, {Group: "velero.io", Kinds: []string{"BackupStorageLocation"}},
		{Group: "velero.io", Kinds: []string{"Restore"}}, {Kinds: []string{"Namespace"}}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return webhook.Install{Name: "proviso", Namespace: "proviso-system", TimeoutSeconds: 5, StatusWriters: []string{"velero"}}.Configuration(fail, ignore)
}

func TestGaps(t *testing.T) {
	type configuration = admissionregistration.ValidatingWebhookConfiguration
	of := func(c *configuration, name string) *admissionregistration.ValidatingWebhook {
		for i := range c.Webhooks {
			if c.Webhooks[i].Name == name+".proviso.dev" {
				return &c.Webhooks[i]
			}
		}
		t.Fatalf("no webhook %s", name)
		return nil
	}
	fail := func(c *configuration) *admissionregistration.ValidatingWebhook { return of(c, "fail") }
	without := func(list []string, one string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == one })
	}
	// change does to each rule on schedules what some does.
	change := func(some func(*admissionregistration.RuleWithOperations)) func(*configuration) {
		return func(c *configuration) {
			for i, r := range fail(c).Rules {
				if slices.Contains(r.Resources, "schedules") {
					some(&fail(c).Rules[i])
				}
			}
		}
	}
	const locations = "fail.proviso.dev: CREATE, UPDATE of velero.io/v1 backupstoragelocations, schedules is not watched"
	for name, tc := range map[string]struct {
		live func(*configuration)
		want []string // parts of the lines
	}{
		"the same": {func(*configuration) {}, nil},
		// Harmless.
		"a bundle, annotations, labels": {func(c *configuration) {
			c.Annotations, c.Labels = map[string]string{"a": "b"}, nil
			fail(c).ClientConfig.CABundle = []byte("x")
		}, nil},
		"another order": {func(c *configuration) {
			slices.Reverse(c.Webhooks)
			for i := range c.Webhooks {
				slices.Reverse(c.Webhooks[i].Rules)
				for _, r := range c.Webhooks[i].Rules {
					slices.Reverse(r.Resources)
					slices.Reverse(r.Operations)
				}
			}
		}, nil},
		"a namespace that is watched too": {func(c *configuration) {
			fail(c).NamespaceSelector.MatchExpressions[0].Values = []string{"kube-system"}
		}, nil},
		"every namespace": {func(c *configuration) { fail(c).NamespaceSelector = nil }, nil},
		"every request":   {func(c *configuration) { fail(c).MatchConditions = nil }, nil},
		"what the API server fills in": {func(c *configuration) {
			fail(c).FailurePolicy, fail(c).MatchPolicy, fail(c).TimeoutSeconds, fail(c).ClientConfig.Service.Port, fail(c).ObjectSelector = nil, nil, nil, nil, &meta.LabelSelector{}
			for i := range fail(c).Rules {
				fail(c).Rules[i].Scope = new(admissionregistration.AllScopes)
			}
		}, nil},
		"more kinds and time": {func(c *configuration) {
			fail(c).TimeoutSeconds = new(int32(30))
			fail(c).Rules = append(fail(c).Rules, admissionregistration.RuleWithOperations{Operations: []admissionregistration.OperationType{"*"}, Rule: admissionregistration.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}}})
		}, nil},
		"stars": {change(func(r *admissionregistration.RuleWithOperations) {
			r.APIGroups, r.APIVersions, r.Resources, r.Operations = []string{"*"}, []string{"*"}, []string{"*"}, []admissionregistration.OperationType{"*"}
		}), nil},
		"what may fail open fails closed": {func(c *configuration) {
			of(c, "ignore").FailurePolicy = new(admissionregistration.Fail)
		}, nil},
		"what may fail open is asked for with what fails closed": {func(c *configuration) {
			fail(c).Rules = append(fail(c).Rules, of(c, "ignore").Rules...)
			c.Webhooks = slices.DeleteFunc(c.Webhooks, func(w admissionregistration.ValidatingWebhook) bool { return w.Name == "ignore.proviso.dev" })
		}, nil},
		"another name, and another webhook beside it": {func(c *configuration) {
			weak := *fail(c).DeepCopy()
			weak.Name, weak.FailurePolicy = "weak.example.org", new(admissionregistration.Ignore)
			fail(c).Name = "strong.example.org"
			c.Webhooks = append([]admissionregistration.ValidatingWebhook{weak}, c.Webhooks...)
		}, nil},
		"a URL, which an API server outside the cluster network needs": {func(c *configuration) {
			fail(c).ClientConfig = admissionregistration.WebhookClientConfig{URL: new("https://127.0.0.1:9443/fail")}
		}, nil},

		// Watched less.
		"no rules":     {func(c *configuration) { fail(c).Rules = nil }, []string{locations, "fail.proviso.dev: CREATE of velero.io/v1 restores is not watched"}},
		"no webhook":   {func(c *configuration) { fail(c).Name, fail(c).Rules = "x", nil }, []string{locations, "CREATE of velero.io/v1 restores"}},
		"our own kind": {func(c *configuration) { of(c, "own").Rules[0].Resources = []string{"profiles"} }, []string{"own.proviso.dev: CREATE, DELETE, UPDATE of proviso.dev/v1alpha1 waivers is not watched"}},
		"one kind less": {change(func(r *admissionregistration.RuleWithOperations) { r.Resources = without(r.Resources, "schedules") }),
			[]string{"fail.proviso.dev: CREATE, UPDATE of velero.io/v1 schedules is not watched"}},
		"one operation less": {change(func(r *admissionregistration.RuleWithOperations) { r.Operations = r.Operations[:1] }),
			[]string{"fail.proviso.dev: UPDATE of velero.io/v1 backupstoragelocations, schedules is not watched"}},
		"another version": {change(func(r *admissionregistration.RuleWithOperations) { r.APIVersions = []string{"v2"} }), []string{locations}},
		"another group":   {change(func(r *admissionregistration.RuleWithOperations) { r.APIGroups = []string{"k8up.io"} }), []string{locations}},
		"a scope":         {change(func(r *admissionregistration.RuleWithOperations) { r.Scope = new(admissionregistration.ClusterScope) }), []string{locations}},
		"no subresources": {func(c *configuration) {
			for i := range of(c, "ignore").Rules {
				r := &of(c, "ignore").Rules[i]
				if r.Resources = slices.Clone(r.Resources); slices.Contains(r.Resources, "namespaces") {
					r.Resources = []string{"*"} // which are none of them
				}
			}
		}, []string{"ignore.proviso.dev: CREATE, UPDATE of v1 namespaces/finalize, namespaces/status is not watched"}},

		// Watched less strictly.
		"fails open": {func(c *configuration) { fail(c).FailurePolicy = new(admissionregistration.Ignore) }, []string{"fail.proviso.dev: failurePolicy is Ignore, want Fail"}},
		"fails open, and so does another webhook": {func(c *configuration) {
			fail(c).FailurePolicy = new(admissionregistration.Ignore)
			other := *fail(c).DeepCopy()
			other.Name = "other.example.org"
			c.Webhooks = append([]admissionregistration.ValidatingWebhook{other}, c.Webhooks...)
		}, []string{"fail.proviso.dev: failurePolicy is Ignore, want Fail"}},
		"exact versions":  {func(c *configuration) { fail(c).MatchPolicy = new(admissionregistration.Exact) }, []string{"matchPolicy is Exact, want Equivalent"}},
		"too little time": {func(c *configuration) { fail(c).TimeoutSeconds = new(int32(1)) }, []string{"timeoutSeconds is 1, want 5"}},
		"side effects":    {func(c *configuration) { fail(c).SideEffects = new(admissionregistration.SideEffectClassSome) }, []string{"sideEffects is Some, want NoneOnDryRun"}},
		"an older review": {func(c *configuration) { fail(c).AdmissionReviewVersions = []string{"v1beta1", "v1"} }, []string{"admissionReviewVersions is [v1beta1 v1], want [v1]"}},
		"elsewhere":       {func(c *configuration) { fail(c).ClientConfig.Service.Name = "other" }, []string{"clientConfig is service proviso-system/other:443/fail, want service proviso-system/proviso:443/fail"}},
		"the other path":  {func(c *configuration) { fail(c).ClientConfig.Service.Path = new("/ignore") }, []string{"443/ignore, want"}},
		"a URL of another": {func(c *configuration) {
			fail(c).ClientConfig = admissionregistration.WebhookClientConfig{URL: new("https://h/ignore")}
		}, []string{"clientConfig is path /ignore, want path /fail"}},
		"a namespace more": {func(c *configuration) {
			e := &fail(c).NamespaceSelector.MatchExpressions[0]
			e.Values = append(slices.Clone(e.Values), "velero")
		}, []string{"fail.proviso.dev: namespaceSelector leaves out more than is wanted by kubernetes.io/metadata.name NotIn velero"}},
		"namespaces that say so": {func(c *configuration) {
			of(c, "own").NamespaceSelector = &meta.LabelSelector{MatchExpressions: []meta.LabelSelectorRequirement{{Key: "skip", Operator: meta.LabelSelectorOpDoesNotExist}}}
		}, []string{"own.proviso.dev: namespaceSelector leaves out more than is wanted by skip DoesNotExist"}},
		"other namespaces by a label of the same name": {func(c *configuration) {
			fail(c).NamespaceSelector.MatchExpressions[0].Operator = meta.LabelSelectorOpIn
		}, []string{"leaves out more than is wanted by " + core.LabelMetadataName + " In kube-system, proviso-system"}},
		"objects that say so": {func(c *configuration) {
			fail(c).ObjectSelector = &meta.LabelSelector{MatchLabels: map[string]string{"checked": "yes"}}
		}, []string{"objectSelector leaves out more than is wanted by checked=yes"}},
		"a condition": {func(c *configuration) {
			fail(c).MatchConditions = append(slices.Clone(fail(c).MatchConditions), admissionregistration.MatchCondition{Name: "not-ann", Expression: "request.userInfo.username != 'ann'"})
		}, []string{"matchConditions leave out more than is wanted by not-ann: request.userInfo.username != 'ann'"}},
		"what is to fail closed is left to the other webhook": {func(c *configuration) {
			of(c, "ignore").Rules = append(of(c, "ignore").Rules, fail(c).Rules...)
			c.Webhooks = slices.DeleteFunc(c.Webhooks, func(w admissionregistration.ValidatingWebhook) bool { return w.Name == "fail.proviso.dev" })
		}, []string{"fail.proviso.dev: CREATE of velero.io/v1 restores is left to ignore.proviso.dev, where failurePolicy is Ignore, want Fail and clientConfig is",
			"fail.proviso.dev: CREATE, UPDATE of velero.io/v1 backupstoragelocations, schedules is left to ignore.proviso.dev"}},
	} {
		live := wanted(t).DeepCopy()
		tc.live(live)
		got := webhook.Gaps(live, wanted(t))
		if len(got) != len(tc.want) {
			t.Errorf("%s: %d gaps %q, want %d", name, len(got), got, len(tc.want))
			continue
		}
		slices.Sort(tc.want)
		for i, want := range tc.want {
			if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
				t.Errorf("%s: gap %d of %q lacks %q", name, i, got, want)
			}
		}
	}
	if got := webhook.Gaps(nil, wanted(t)); len(got) != 1 || !strings.Contains(got[0], "there is no ValidatingWebhookConfiguration proviso") {
		t.Errorf("no configuration at all: %q", got)
	}
}
