package webhook

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Both authorities are published as long as an API server may know of one only.
func TestAuthorityWaitsForEachOverlap(t *testing.T) {
	const life, overlap = 100 * time.Hour, 6 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, s := &Authority{CALife: life, Overlap: overlap, Now: func() time.Time { return now }}, &corev1.Secret{}
	step := func(after time.Duration, want bool, what string) {
		t.Helper()
		now = now.Add(after)
		published := bundleOf(s)
		if changed, err := a.advance(s, published); err != nil || changed != want {
			t.Fatalf("%s: changed %v, %v, want %v", what, changed, err, want)
		}
	}
	step(0, true, "the first authority")
	step(life*2/3, true, "a next one beside it")
	first, next := bytes.Clone(s.Data[caCert]), bytes.Clone(s.Data[nextCert])
	step(overlap-time.Second, false, "before the next one may be known everywhere")
	if !bytes.Equal(s.Data[caCert], first) || !bytes.Equal(s.Data[nextCert], next) {
		t.Error("the next authority is used before its time")
	}
	step(time.Second, true, "the next one in place of the old")
	if !bytes.Equal(s.Data[caCert], next) || !bytes.Equal(s.Data[oldCert], first) || len(s.Data[nextCert]) > 0 {
		t.Error("the next authority is not used in place of the old")
	}
	step(overlap-time.Second, false, "while leaves of the old one may be served")
	if !bytes.Equal(s.Data[oldCert], first) {
		t.Error("the old authority goes before its time")
	}
	step(time.Second, true, "the old one gone")
	if len(s.Data[oldCert]) > 0 {
		t.Error("the old authority is still there")
	}
}

// few is an API server that has one Secret and, unless the glass was broken, one webhook configuration.
type few struct {
	client.Client
	sync.Mutex
	secret        corev1.Secret
	configuration *admissionregistrationv1.ValidatingWebhookConfiguration
	down          bool
}

func (f *few) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	f.Lock()
	defer f.Unlock()
	if f.down {
		return errors.New("nobody answers")
	}
	switch into := into.(type) {
	case *corev1.Secret:
		f.secret.DeepCopyInto(into)
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		if f.configuration == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "validatingwebhookconfigurations"}, key.Name)
		}
		f.configuration.DeepCopyInto(into)
	}
	return nil
}

func (f *few) Update(_ context.Context, from client.Object, _ ...client.UpdateOption) error {
	f.Lock()
	defer f.Unlock()
	switch from := from.(type) {
	case *corev1.Secret:
		from.DeepCopyInto(&f.secret)
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		f.configuration = from.DeepCopy()
	}
	return nil
}

func (f *few) does(what func()) {
	f.Lock()
	defer f.Unlock()
	what()
}

// printed is the configuration as it is printed: without a bundle.
func printed() *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: make([]admissionregistrationv1.ValidatingWebhook, 2)}
}

// After the glass was broken and put back the API server can verify us again at once, and nobody has to restart anything.
func TestAuthorityPublishesAnewWhatWasPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, err := NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		cluster := &few{configuration: printed()}
		var logged []string
		a := &Authority{Client: cluster, Hosts: []string{"h"}, Now: time.Now, Metrics: metrics}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- a.Start(ctx, func(err error) { cluster.does(func() { logged = append(logged, err.Error()) }) })
		}()
		in := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		published := func(when string) {
			t.Helper()
			cluster.Lock()
			defer cluster.Unlock()
			for _, w := range cluster.configuration.Webhooks {
				if len(a.Bundle()) == 0 || !bytes.Equal(w.ClientConfig.CABundle, a.Bundle()) {
					t.Errorf("%s: the API server cannot verify what is served", when)
				}
			}
		}
		in(lookEvery)
		published("at the start")
		cluster.does(func() { cluster.configuration = nil })
		in(17 * time.Minute)
		cluster.does(func() { cluster.configuration = printed() })
		in(2 * time.Second)
		published("put back")
		cluster.does(func() { cluster.configuration.Webhooks[1].ClientConfig.CABundle = []byte("of somebody else") })
		in(2 * time.Second)
		published("overwritten")
		// An outage is told once, and so is the next.
		for range 2 {
			cluster.does(func() { cluster.down = true })
			in(time.Minute)
			cluster.does(func() { cluster.down = false })
			in(time.Minute)
		}
		stop()
		if err := <-ended; err != nil || len(logged) != 2 || slices.Contains(logged, "") {
			t.Errorf("ended with %v, logged %q; want each of two outages once", err, logged)
		}
	})
}
