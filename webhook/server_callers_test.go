package webhook

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// caller is the certificate of an authority, and one of a caller that it signed.
func caller(t *testing.T) (ca *x509.Certificate, leaf *tls.Certificate) {
	t.Helper()
	authority, key, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca, private, err := pair(authority, key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = newClientLeaf(ca, private); err != nil {
		t.Fatal(err)
	}
	return ca, leaf
}

func TestServerDemandsClientCertificates(t *testing.T) {
	ca, leaf := caller(t)
	recorded := make(chan Decided, 10)
	var trusted atomic.Pointer[x509.CertPool]
	l := run(t, func() {}, func(s *Server) {
		trusted.Store(x509.NewCertPool())
		trusted.Load().AddCert(ca)
		s.ClientCAs = trusted.Load
		s.Handlers[FailPath].Log = func(d Decided) { recorded <- d }
	})
	await(t, "ready, for the canary needs no certificate", l.readyz)
	if answer, err := l.post(0); err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a certificate: %v, %v", answer, err)
	}
	r, err := http.NewRequest(http.MethodPost, "https://"+l.address()+FailPath, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(canaryHeader, "guess")
	if answer, err := l.client.Do(r); err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a guessed token: %v, %v", answer, err)
	}
	l.client.Transport.(*http.Transport).CloseIdleConnections()
	with := l.client.Transport.(*http.Transport).Clone()
	with.TLSClientConfig.Certificates = []tls.Certificate{*leaf}
	l.client = &http.Client{Transport: with}
	if ok, err := allowed(l.post(0)); err != nil || !ok {
		t.Errorf("with a certificate: %v, %v", ok, err)
	}
	if d := <-recorded; !d.Authenticated || len(recorded) > 0 {
		t.Errorf("with a certificate: recorded %+v", d)
	}
	trusted.Store(x509.NewCertPool())
	with.CloseIdleConnections()
	if answer, err := l.post(0); err == nil {
		t.Errorf("of an authority that is trusted no more: %v", answer.Status)
	}
}

// A session that could be resumed would carry what was found out about a caller beyond the authorities that are trusted now.
func TestServerVerifiesCallersAtEachConnection(t *testing.T) {
	ca, leaf := caller(t)
	var trusted atomic.Pointer[x509.CertPool]
	l := run(t, func() {}, func(s *Server) {
		trusted.Store(x509.NewCertPool())
		trusted.Load().AddCert(ca)
		s.ClientCAs = trusted.Load
	})
	await(t, "ready", l.readyz)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		trusted.Store(x509.NewCertPool())
		trusted.Load().AddCert(ca)
		with := l.client.Transport.(*http.Transport).Clone()
		with.DisableKeepAlives = true
		with.TLSClientConfig.Certificates, with.TLSClientConfig.ClientSessionCache = []tls.Certificate{*leaf}, tls.NewLRUClientSessionCache(10)
		with.TLSClientConfig.MinVersion, with.TLSClientConfig.MaxVersion = version, version
		l.client = &http.Client{Transport: with}
		for range 2 {
			answer, err := l.post(0)
			if err != nil || answer.StatusCode != http.StatusOK || answer.TLS.DidResume {
				t.Errorf("%s: %v, %v; want an answer on a connection of its own", tls.VersionName(version), answer, err)
				continue
			}
			_, _ = io.Copy(io.Discard, answer.Body) // the session is told of beside it
			answer.Body.Close()
		}
		trusted.Store(x509.NewCertPool())
		if answer, err := l.post(0); err == nil {
			t.Errorf("%s, of an authority that is trusted no more: %v", tls.VersionName(version), answer.Status)
		}
	}
}

// Without a word on who may call, anybody who reaches the port can have made a request up.
func TestServerTellsUnauthenticatedCallers(t *testing.T) {
	recorded := make(chan Decided, 10)
	l := run(t, func() {}, func(s *Server) { s.Handlers[FailPath].Log = func(d Decided) { recorded <- d } })
	await(t, "ready", l.readyz)
	_, leaf := caller(t)
	for _, show := range [][]tls.Certificate{nil, {*leaf}} { // of an authority that nobody named
		with := l.client.Transport.(*http.Transport).Clone()
		with.TLSClientConfig.Certificates = show
		l.client = &http.Client{Transport: with}
		if ok, err := allowed(l.post(0)); err != nil || !ok {
			t.Fatalf("%v, %v", ok, err)
		}
		if d := <-recorded; d.Authenticated {
			t.Errorf("recorded %+v, and nobody vouches for the caller", d)
		}
	}
}

// newClientLeaf is what the API server would show.
func newClientLeaf(ca *x509.Certificate, key any) (*tls.Certificate, error) {
	leaf, err := newLeaf(ca, key, []string{"kube-apiserver"}, time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	t := *leaf.Leaf
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, &t, ca, leaf.Leaf.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leaf.PrivateKey}, nil
}
