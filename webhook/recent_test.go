package webhook

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"proviso.dev/proviso/engine"
)

func TestRecent(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var r recent
	for _, step := range []struct {
		uid   string
		after time.Duration
		seen  bool
	}{
		{"a", 0, false}, {"a", 0, true}, {"b", time.Second, false}, {"a", remembered - time.Second, true},
		{"c", 2 * time.Second, false}, // the next half
		{"b", 0, true}, {"", 0, false}, {"", 0, false},
		{"d", 3 * remembered, false}, {"c", 0, false}, // too long ago
	} {
		at = at.Add(step.after)
		if got := r.seen(step.uid, at); got != step.seen {
			t.Errorf("%q %v later: seen %v, want %v", step.uid, step.after, got, step.seen)
		}
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent
	at := time.Now()
	for i := range 3 * mostRemembered {
		r.seen(fmt.Sprint(i), at)
	}
	if n := len(r.now) + len(r.older); n > 2*mostRemembered {
		t.Errorf("%d are remembered, want %d at most", n, 2*mostRemembered)
	}
	if !r.seen(fmt.Sprint(3*mostRemembered-1), at) || r.seen("0", at) {
		t.Error("the last are to be remembered, and the first are not")
	}
}

// The API server may ask twice: it is answered, and what was decided counts once.
func TestARepeatedRequestCountsOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	set, err := engine.NewSet([]engine.Policy{{ID: "access/never", Severity: engine.Low, Rule: denyAlways{}, Match: engine.Match{{Kinds: []string{"Thing"}, Operations: []string{engine.Create}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var repeated []bool
	h := &Handler{Side: FailClosed, Sets: func() *Sets { return &Sets{set, set} }, Budget: time.Second, Now: time.Now, Metrics: metrics, Log: func(d Decided) { repeated = append(repeated, d.Repeated) }}
	for _, uid := range []types.UID{"u-1", "u-1", "u-2", "u-1"} {
		got := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: uid, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"Thing","metadata":{"name":"a"}}`)}}})
		if got.Allowed {
			t.Errorf("%s is admitted", uid)
		}
	}
	if want := []bool{false, true, false, true}; !slices.Equal(repeated, want) {
		t.Errorf("repeated %v, want %v", repeated, want)
	}
	if got, want := scraped(t, registry, "proviso_decisions_total"), map[string]float64{"deny access/never fail fail": 2}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
