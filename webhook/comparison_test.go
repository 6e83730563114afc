package webhook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistration "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
)

// scraped are the values of a metric, by its labels' values in the order of their names.
func scraped(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() // it is one of them
		}
	}
	return values
}

// What is found is told once, and the metric is never a gap's absence that nobody looked for.
func TestComparisonTellsWhatChanged(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	fail, ignore, _, err := Rules([]engine.MatchRow{{Group: "velero.io", Kinds: []string{"Schedule"}}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wanted := Install{Name: "proviso", Namespace: "proviso-system", TimeoutSeconds: 5}.Configuration(fail, ignore)
	open := wanted.DeepCopy()
	open.Webhooks[0].FailurePolicy = new(admissionregistration.Ignore)
	var log bytes.Buffer
	var live *admissionregistration.ValidatingWebhookConfiguration
	var trouble error
	c := &Comparison{Metrics: metrics, Log: slog.New(slog.NewTextHandler(&log, nil)), Wanted: func() *admissionregistration.ValidatingWebhookConfiguration { return wanted },
		Live: func(context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error) {
			return live, trouble
		}}
	if n := scraped(t, registry, "proviso_configuration_gaps")[""]; n != -1 {
		t.Errorf("before anybody looked there are %v gaps, want -1", n)
	}
	for _, step := range []struct {
		name  string
		live  *admissionregistration.ValidatingWebhookConfiguration
		err   error
		gaps  float64
		words string // in what is logged; nothing else is
	}{
		{"there is none", nil, nil, 1, "there is no ValidatingWebhookConfiguration proviso"},
		{"still none", nil, nil, 1, ""},
		{"whole", wanted, nil, 0, "leaves no gap any more"},
		{"still whole", wanted, nil, 0, ""},
		{"failing open", open, nil, 1, "fail.proviso.dev: failurePolicy is Ignore, want Fail"},
		{"still failing open", open, nil, 1, ""},
		{"not to be read", nil, errors.New("forbidden"), -1, "forbidden"},
		{"still not", nil, errors.New("forbidden"), -1, ""},
		{"failing open, still", open, nil, 1, "failurePolicy is Ignore"},
	} {
		log.Reset()
		live, trouble = step.live, step.err
		c.look(t.Context())
		if n := scraped(t, registry, "proviso_configuration_gaps")[""]; n != step.gaps {
			t.Errorf("%s: %v gaps, want %v", step.name, n, step.gaps)
		}
		if text := log.String(); !strings.Contains(text, step.words) || (step.words == "") != (text == "") {
			t.Errorf("%s: logged %q, want %q", step.name, text, step.words)
		}
	}
}
