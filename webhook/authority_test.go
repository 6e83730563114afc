package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A year and a half of an authority's life in steps of two hours, with two replicas of which one lags behind: at each both
// serve a leaf that is valid and that what is published verifies.
func TestAuthorityRotatesWithoutAGap(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	one := &Authority{Hosts: []string{"proviso.proviso-system.svc", "127.0.0.1"}, Overlap: 6 * time.Hour, Now: clock}
	two := &Authority{Hosts: one.Hosts, Overlap: 6 * time.Hour, Now: clock}
	secret := &corev1.Secret{}
	var published []byte
	authorities := map[string]bool{}
	for hour := 0; hour < 24*550; hour += 2 {
		if changed, err := one.advance(secret, published); err != nil {
			t.Fatal(err)
		} else if changed {
			if published != nil && !bytes.Contains(bundleOf(secret), secret.Data[caCert]) {
				t.Fatal("the present authority is not in its own bundle")
			}
		}
		previous := published
		published = bundleOf(secret)
		if err := one.sign(secret, published); err != nil {
			t.Fatal(err)
		}
		if hour%4 == 0 { // the other looks only every four hours
			if err := two.sign(secret, published); err != nil {
				t.Fatal(err)
			}
		}
		authorities[string(secret.Data[caCert])] = true
		for _, bundle := range [][]byte{previous, published} { // the API server may still know only the bundle before this one
			pool := x509.NewCertPool()
			if pool.AppendCertsFromPEM(bundle); hour < 4 {
				continue
			}
			for name, a := range map[string]*Authority{"one": one, "two": two} {
				c, err := a.GetCertificate(&tls.ClientHelloInfo{})
				if err != nil {
					t.Fatal(err)
				}
				for _, host := range a.Hosts {
					if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now}); err != nil {
						t.Fatalf("hour %d, replica %s: %v", hour, name, err)
					}
				}
			}
		}
		now = now.Add(2 * time.Hour)
	}
	if len(authorities) < 3 {
		t.Errorf("%d authorities in a year and a half, want a change every eight months", len(authorities))
	}
	if len(secret.Data[oldCert]) > 0 && len(secret.Data[nextCert]) > 0 {
		t.Error("three authorities at once")
	}
}

func TestAuthoritySecretThatIsBroken(t *testing.T) {
	whole := func() *corev1.Secret {
		s := &corev1.Secret{}
		if _, err := (&Authority{Now: time.Now}).advance(s, nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := whole()
	for name, spoil := range map[string]func(map[string][]byte){
		"half a key":                 func(d map[string][]byte) { d[caKey] = d[caKey][:len(d[caKey])/2] },
		"another authority's key":    func(d map[string][]byte) { d[caKey] = other.Data[caKey] },
		"no certificate":             func(d map[string][]byte) { d[caCert] = nil },
		"a certificate without end":  func(d map[string][]byte) { d[caCert] = bytes.Repeat(d[caCert], 200) },
		"no time of the last change": func(d map[string][]byte) { delete(d, since) },
	} {
		a := &Authority{Hosts: []string{"h"}, Now: time.Now}
		s := whole()
		if err := a.sign(s, bundleOf(s)); err != nil {
			t.Fatal(err)
		}
		before, _ := a.GetCertificate(nil)
		spoil(s.Data)
		changed, err := a.advance(s, bundleOf(s))
		if err == nil || changed {
			t.Errorf("%s: changed %v, %v; want an error and nothing written over it", name, changed, err)
		}
		if after, _ := a.GetCertificate(nil); after != before {
			t.Errorf("%s: the last good leaf is not served any more", name)
		}
	}
}

// What is not published is not served.
func TestALeafWaitsForItsBundle(t *testing.T) {
	a, s := &Authority{Hosts: []string{"h"}, Now: time.Now}, &corev1.Secret{}
	if _, err := a.advance(s, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.sign(s, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.GetCertificate(nil); err == nil {
		t.Error("a leaf is served whose authority nobody was told of")
	}
}

type unreachable struct{ client.Client }

func (unreachable) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody answers")
}

// The time that is left is told at each scrape, whatever else has stopped.
func TestCertificateExpiryIsToldAtTheScrape(t *testing.T) {
	var none atomic.Bool
	l := run(t, func() {}, func(s *Server) {
		valid := s.Certificate
		s.Certificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if none.Load() {
				return nil, fmt.Errorf("there is none")
			}
			return valid(h)
		}
	})
	await(t, "ready", l.readyz)
	now, a := time.Now(), &Authority{Hosts: []string{"h"}, Now: time.Now, Metrics: l.Metrics, CALife: 2 * time.Hour, LeafLife: time.Hour}
	ended, end := context.WithCancel(t.Context())
	end()
	a.Client = unreachable{}
	if err := a.Start(ended, func(error) {}); err != nil {
		t.Fatal(err)
	}
	left := func() map[string]float64 {
		return scraped(t, l.Registry, "proviso_certificate_expires_seconds")
	}
	if got := left(); got["ca"] != 0 {
		t.Errorf("%v s are left of an authority that is not there", got["ca"])
	}
	secret := &corev1.Secret{}
	if _, err := a.advance(secret, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.sign(secret, bundleOf(secret)); err != nil {
		t.Fatal(err)
	}
	first := left()
	if most := 2 * time.Hour.Seconds(); first["ca"] > most || first["ca"] < most-60 || first["leaf"] > most/2 || first["leaf"] < most/2-60 {
		t.Errorf("after %v there are %v s left", time.Since(now), first)
	}
	await(t, "time passes", func() error {
		if again := left(); again["ca"] >= first["ca"] || again["leaf"] >= first["leaf"] {
			return fmt.Errorf("%v, and %v before", again, first)
		}
		return nil
	})
	none.Store(true)
	if got := left(); got["leaf"] != 0 {
		t.Errorf("%v s are left of a certificate that is not there", got["leaf"])
	}
}
