package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"proviso.dev/proviso/engine"
)

// Metrics are what a scrape sees. A nil *Metrics counts nothing.
type Metrics struct {
	registry  prometheus.Registerer
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	inFlight  prometheus.Gauge
	shed      prometheus.Counter
	factAge   *prometheus.GaugeVec
	policySet *prometheus.GaugeVec
	reloads   *prometheus.CounterVec
	canary    *prometheus.GaugeVec
	standing  *prometheus.GaugeVec
	gaps      prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	vector := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "proviso_" + name, Help: help}, labels)
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "proviso_" + name, Help: help}, labels)
	}
	m := &Metrics{
		registry: registry,
		requests: counters("admission_requests_total", "Admission requests answered.", "webhook", "operation", "allowed"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "proviso_admission_duration_seconds", Help: "How long answers took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 5}}, []string{"webhook"}),
		decisions: counters("decisions_total", "Decisions at admission that are not a pass; those of a repeated request once.", "webhook", "policy", "verdict", "effect"),
		inFlight:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "proviso_admission_in_flight", Help: "Admission requests being answered."}),
		shed:      prometheus.NewCounter(prometheus.CounterOpts{Name: "proviso_admission_shed_total", Help: "Requests turned away because too many were in flight."}),
		factAge:   vector("fact_age_seconds", "Time since the watch of a kind that facts come from last gave a sign of life.", "group", "kind"),
		policySet: vector("policy_set_info", "The policies in force: 1 for their digest.", "digest"),
		reloads:   counters("reloads_total", "Reloads of profile and policies, by outcome.", "outcome"),
		canary:    vector("canary_denied", "Whether an object that must be denied was, last time: by the way it was tried.", "way"),
		standing:  vector("standing_findings", "Objects of fail-open kinds that fail a policy now, or of which it cannot be told, whatever admission said.", "policy", "verdict"),
		gaps:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "proviso_configuration_gaps", Help: "In how much the webhook configuration falls short of what the policies want; -1 where that is not known."}),
	}
	m.gaps.Set(-1)
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.decisions, m.inFlight, m.shed, m.factAge, m.policySet, m.reloads, m.canary, m.standing, m.gaps} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) answered(side Side, operation string, allowed bool, took time.Duration) {
	if m == nil {
		return
	}
	yes := "false"
	if allowed {
		yes = "true"
	}
	switch operation {
	case engine.Create, engine.Update, engine.Delete:
	default:
		operation = "other" // what callers make up must not become series
	}
	m.requests.WithLabelValues(side.String(), operation, yes).Inc()
	m.duration.WithLabelValues(side.String()).Observe(took.Seconds())
}

func (m *Metrics) decided(side Side, decisions []engine.Decision) {
	if m == nil {
		return
	}
	for _, d := range decisions {
		if d.Verdict != engine.Pass && d.Verdict != engine.NotApplicable {
			m.decisions.WithLabelValues(side.String(), d.Policy.ID, d.Verdict.String(), d.Effect.String()).Inc()
		}
	}
}

// Loaded tells which policies are in force.
func (m *Metrics) Loaded(digest engine.Digest) {
	m.policySet.Reset()
	m.policySet.WithLabelValues(string(digest)).Set(1)
	m.reloads.WithLabelValues("loaded").Inc()
}

// Refused counts a reload that was refused.
func (m *Metrics) Refused() { m.reloads.WithLabelValues("refused").Inc() }

func (m *Metrics) enter() {
	if m != nil {
		m.inFlight.Inc()
	}
}

func (m *Metrics) leave() {
	if m != nil {
		m.inFlight.Dec()
	}
}

func (m *Metrics) turnedAway() {
	if m != nil {
		m.shed.Inc()
	}
}

// expires tells at each scrape how long a certificate is still valid, so that nothing that stops can stop the time. None
// at all is valid for 0 seconds.
func (m *Metrics) expires(which string, until func() time.Time) error {
	if m == nil {
		return nil
	}
	return m.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "proviso_certificate_expires_seconds", Help: "Time until a certificate expires: ca or leaf.", ConstLabels: prometheus.Labels{"which": which}},
		func() float64 {
			at := until()
			if at.IsZero() {
				return 0
			}
			return time.Until(at).Seconds()
		}))
}

// compared tells how many gaps the webhook configuration leaves; -1 where that is not known.
func (m *Metrics) compared(gaps int) {
	if m != nil {
		m.gaps.Set(float64(gaps))
	}
}

// Tried tells whether the canary was denied.
func (m *Metrics) Tried(way string, denied bool) {
	if m == nil {
		return
	}
	value := 0.0
	if denied {
		value = 1
	}
	m.canary.WithLabelValues(way).Set(value)
}
