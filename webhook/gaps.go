package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Gaps are where the webhook configuration that is live watches less than the wanted one, fails open where it should fail
// closed, or leads elsewhere: one line each, by webhook. What watches more is no gap, nor is the same said otherwise. Wanted
// is one that [Install.Configuration] makes; a nil live is one that is not there.
func Gaps(live, wanted *admissionregistration.ValidatingWebhookConfiguration) []string {
	if live == nil {
		return []string{fmt.Sprintf("there is no ValidatingWebhookConfiguration %s, so that nothing is watched", wanted.Name)}
	}
	// What one of ours leaves out the others do no harm to leave out: it is never judged.
	var unjudged []admissionregistration.MatchCondition
	for i := range wanted.Webhooks {
		unjudged = append(unjudged, wanted.Webhooks[i].MatchConditions...)
	}
	var gaps []string
	for i := range wanted.Webhooks {
		gaps = append(gaps, gapsOf(live.Webhooks, &wanted.Webhooks[i], unjudged)...)
	}
	return gaps
}

// gapsOf are those of one webhook. Whatever it is called, a webhook that watches the same at least as strictly will do.
func gapsOf(live []admissionregistration.ValidatingWebhook, want *admissionregistration.ValidatingWebhook, unjudged []admissionregistration.MatchCondition) []string {
	weak := make([][]string, len(live))
	for i := range live {
		weak[i] = weaker(&live[i], want, unjudged)
	}
	var lines []string
	resources := map[[2]string][]string{} // by operations and version, and what is wrong with that
	for _, rule := range want.Rules {
		for _, gv := range versions(rule.Rule) {
			for _, resource := range rule.Resources {
				wrong := map[string][]string{}
				for _, operation := range rule.Operations {
					best, found := -1, false
					for i := range live {
						if !slices.ContainsFunc(live[i].Rules, func(r admissionregistration.RuleWithOperations) bool { return asks(r, operation, gv, resource) }) {
							continue
						}
						if !found || len(weak[i]) == 0 || live[i].Name == want.Name && len(weak[best]) > 0 {
							best, found = i, true
						}
					}
					switch {
					case !found:
						wrong["is not watched"] = append(wrong["is not watched"], string(operation))
					case live[best].Name == want.Name:
						lines = append(lines, weak[best]...)
					case len(weak[best]) > 0:
						left := "is left to " + live[best].Name + ", where " + strings.Join(weak[best], " and ")
						wrong[left] = append(wrong[left], string(operation))
					}
				}
				for why, operations := range wrong {
					slices.Sort(operations)
					what := [2]string{strings.Join(operations, ", ") + " of " + gv.String(), why}
					resources[what] = append(resources[what], resource)
				}
			}
		}
	}
	for what, names := range resources {
		slices.Sort(names)
		lines = append(lines, what[0]+" "+strings.Join(names, ", ")+" "+what[1])
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	for i := range lines {
		lines[i] = want.Name + ": " + lines[i]
	}
	return lines
}

func versions(rule admissionregistration.Rule) []schema.GroupVersion {
	var all []schema.GroupVersion
	for _, group := range rule.APIGroups {
		for _, version := range rule.APIVersions {
			all = append(all, schema.GroupVersion{Group: group, Version: version})
		}
	}
	return all
}

// asks reports whether a rule makes the API server ask, by the API server's own reading of stars: "*" is no subresource, and
// "pods/*" are those of pods and pods.
func asks(rule admissionregistration.RuleWithOperations, operation admissionregistration.OperationType, gv schema.GroupVersion, resource string) bool {
	if or(rule.Scope, admissionregistration.AllScopes) != admissionregistration.AllScopes {
		return false // which kinds are namespaced a rule does not say
	}
	name, sub, _ := strings.Cut(resource, "/")
	return (slices.Contains(rule.Operations, operation) || slices.Contains(rule.Operations, admissionregistration.OperationAll)) &&
		named(rule.APIGroups, gv.Group) && named(rule.APIVersions, gv.Version) &&
		slices.ContainsFunc(rule.Resources, func(r string) bool {
			n, s, _ := strings.Cut(r, "/")
			return (n == "*" || n == name) && (s == "*" || s == sub)
		})
}

func named(list []string, name string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, name)
}

// weaker says in what a webhook is less than a wanted one, whatever their rules.
func weaker(live, want *admissionregistration.ValidatingWebhook, unjudged []admissionregistration.MatchCondition) []string {
	var all []string
	differs := func(is bool, field string, has, wants any) {
		if is {
			all = append(all, fmt.Sprintf("%s is %v, want %v", field, has, wants))
		}
	}
	policy := or(live.FailurePolicy, admissionregistration.Fail)
	differs(policy != admissionregistration.Fail && policy != *want.FailurePolicy, "failurePolicy", policy, *want.FailurePolicy)
	match := or(live.MatchPolicy, admissionregistration.Equivalent)
	differs(match != *want.MatchPolicy, "matchPolicy", match, *want.MatchPolicy)
	// Shorter, and the API server gives up before we answer.
	timeout := or(live.TimeoutSeconds, 10)
	differs(timeout < *want.TimeoutSeconds, "timeoutSeconds", timeout, *want.TimeoutSeconds)
	// With any other the API server refuses what is only tried.
	effects := or(live.SideEffects, admissionregistration.SideEffectClassUnknown)
	differs(effects != admissionregistration.SideEffectClassNone && effects != admissionregistration.SideEffectClassNoneOnDryRun, "sideEffects", effects, *want.SideEffects)
	// The first that the API server knows is what it sends.
	differs(!slices.Equal(live.AdmissionReviewVersions[:min(1, len(live.AdmissionReviewVersions))], want.AdmissionReviewVersions), "admissionReviewVersions", live.AdmissionReviewVersions, want.AdmissionReviewVersions)
	to, wanted := leads(live.ClientConfig, want.ClientConfig)
	stricter := strings.TrimSuffix(wanted, IgnorePath) + FailPath
	differs(to != wanted && (*want.FailurePolicy == admissionregistration.Fail || to != stricter), "clientConfig", to, wanted)
	for _, more := range leftOut(live.NamespaceSelector, want.NamespaceSelector) {
		all = append(all, "namespaceSelector leaves out more than is wanted by "+more)
	}
	for _, more := range leftOut(live.ObjectSelector, want.ObjectSelector) {
		all = append(all, "objectSelector leaves out more than is wanted by "+more)
	}
	for _, c := range live.MatchConditions {
		if !slices.ContainsFunc(unjudged, func(w admissionregistration.MatchCondition) bool { return w.Expression == c.Expression }) {
			all = append(all, fmt.Sprintf("matchConditions leave out more than is wanted by %s: %s", c.Name, oneLine(c.Expression)))
		}
	}
	return all
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// leads says where two webhooks lead to. Of a URL only the path can be held against a Service: whose address it is, the API
// server alone finds out.
func leads(live, want admissionregistration.WebhookClientConfig) (has, wants string) {
	text := func(s *admissionregistration.ServiceReference) string {
		return fmt.Sprintf("service %s/%s:%d%s", s.Namespace, s.Name, or(s.Port, 443), or(s.Path, "/"))
	}
	if live.Service != nil {
		return text(live.Service), text(want.Service)
	}
	u, err := url.Parse(or(live.URL, ""))
	if err != nil {
		return *live.URL, text(want.Service)
	}
	return "path " + u.Path, "path " + or(want.Service.Path, "/")
}

// leftOut is by which requirements one selector leaves out what another does not.
func leftOut(live, want *meta.LabelSelector) []string {
	if live == nil {
		return nil
	}
	var more []string
	for _, key := range slices.Sorted(maps.Keys(live.MatchLabels)) {
		more = append(more, key+"="+live.MatchLabels[key])
	}
	for _, e := range live.MatchExpressions {
		if want != nil {
			for _, w := range want.MatchExpressions {
				if w.Key == e.Key && w.Operator == e.Operator {
					e.Values = slices.DeleteFunc(slices.Clone(e.Values), func(v string) bool { return slices.Contains(w.Values, v) })
				}
			}
		}
		if e.Operator != meta.LabelSelectorOpNotIn || len(e.Values) > 0 {
			more = append(more, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Key, e.Operator, strings.Join(e.Values, ", "))))
		}
	}
	return more
}

// Configurations is the resource of webhook configurations.
var Configurations = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}

// readWithin is how long the API server may take to show a webhook configuration.
const readWithin = 5 * time.Second

// Live is the webhook configuration of a name; nil where there is none.
func Live(ctx context.Context, configurations dynamic.ResourceInterface, name string) (*admissionregistration.ValidatingWebhookConfiguration, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	o, err := configurations.Get(ctx, name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	c := &admissionregistration.ValidatingWebhookConfiguration{}
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, c)
	}
	if err != nil {
		return nil, fmt.Errorf("get ValidatingWebhookConfiguration %s: %w", name, err)
	}
	return c, nil
}

// Comparison holds the webhook configuration that is live against the wanted one. No webhook is asked about changes of it,
// so that nothing but looking again shows that somebody loosened it.
type Comparison struct {
	Live   func(context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error)
	Wanted func() *admissionregistration.ValidatingWebhookConfiguration
	// Seen is told what is live, at each look; it may be nil.
	Seen    func(live *admissionregistration.ValidatingWebhookConfiguration)
	Metrics *Metrics
	Log     *slog.Logger

	told []string
}

// Run compares at once and then every minute, until the context ends.
func (c *Comparison) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		c.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look compares once, and tells what it found if that is not what it found before.
func (c *Comparison) look(ctx context.Context) {
	live, err := c.Live(ctx)
	if ctx.Err() != nil {
		return
	}
	number, words, lines := 0, "the webhook configuration leaves a gap (apply what serve --print-config prints)", []string(nil)
	if err != nil {
		number, words, lines = -1, "whether the webhook configuration leaves gaps is not known", []string{err.Error()}
	} else {
		lines = Gaps(live, c.Wanted())
		number = len(lines)
		if c.Seen != nil {
			c.Seen(live)
		}
	}
	c.Metrics.compared(number)
	if slices.Equal(lines, c.told) {
		return
	}
	for _, line := range lines {
		c.Log.Error(words, "gap", line)
	}
	if len(lines) == 0 {
		c.Log.Info("the webhook configuration leaves no gap any more")
	}
	c.told = lines
}
