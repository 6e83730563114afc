package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"proviso.dev/proviso/engine"
)

// live is a Server that runs, with what its callers need.
type live struct {
	*Server
	client *http.Client
	stop   context.CancelFunc
	ended  chan error
}

type slow struct{ wait func() }

func (s slow) Eval(context.Context, engine.Input) ([]engine.Violation, error) {
	s.wait()
	return nil, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// run starts a server whose one policy, for Things, does what wait does; change alters it before it starts.
func run(t *testing.T, wait func(), change func(*Server)) *live {
	t.Helper()
	set, err := engine.NewSet([]engine.Policy{{ID: "access/slow", Severity: engine.Low, Rule: slow{wait}, Match: engine.Match{{Group: "", Kinds: []string{"Thing"}, Operations: []string{engine.Create}}}}})
	if err != nil {
		t.Fatal(err)
	}
	authority, key, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca, private, err := pair(authority, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(ca, private, []string{"proviso.proviso-system.svc", "127.0.0.1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Host: "127.0.0.1", Port: freePort(t), Probes: fmt.Sprintf("127.0.0.1:%d", freePort(t)), ServerName: "proviso.proviso-system.svc", Registry: registry, Metrics: metrics, Log: slog.New(slog.DiscardHandler),
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return leaf, nil }, Roots: func() *x509.CertPool { return roots }, Ready: func() error { return nil },
		Handlers: map[string]*Handler{FailPath: {Side: FailClosed, Sets: func() *Sets { return &Sets{set, set} }, Budget: 5 * time.Second, Now: time.Now, Metrics: metrics}}}
	if change != nil {
		change(s)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &live{Server: s, stop: stop, ended: make(chan error, 1), client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: s.ServerName}, ForceAttemptHTTP2: true}}}
	go func() { l.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-l.ended:
		case <-time.After(20 * time.Second):
			t.Error("the server does not end")
		}
	})
	return l
}

// await asks until it is told nil.
func await(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func (l *live) readyz() error {
	answer, err := http.Get("http://" + l.Probes + "/readyz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", answer.StatusCode, text)
	}
	return err
}

// post sends a review of a Thing that is so many bytes larger than it must be.
func (l *live) post(more int) (*http.Response, error) {
	review := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","object":{"apiVersion":"v1","kind":"Thing","metadata":{"name":"a"},"x":%q}}}`, strings.Repeat("x", more))
	return l.client.Post("https://"+l.address()+FailPath, "application/json", strings.NewReader(review))
}

func allowed(answer *http.Response, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	var r admissionv1.AdmissionReview
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil || r.Response == nil {
		return false, fmt.Errorf("%s: no AdmissionReview (%v)", answer.Status, err)
	}
	return r.Response.Allowed, nil
}

func TestServerIsReadyOnceTheCanaryWasDenied(t *testing.T) {
	var trouble atomic.Pointer[error]
	l := run(t, func() {}, func(s *Server) {
		s.Ready = func() error {
			if p := trouble.Load(); p != nil {
				return *p
			}
			return nil
		}
	})
	await(t, "ready", l.readyz)
	err := fmt.Errorf("the caches are old")
	trouble.Store(&err)
	if got := l.readyz(); got == nil || !strings.Contains(got.Error(), "the caches are old") {
		t.Errorf("ready with old caches: %v", got)
	}
	trouble.Store(nil)
	// What is served now is not what the API server would trust.
	other, key, _ := newAuthority(time.Now(), time.Hour)
	ca, _, _ := pair(other, key)
	l.canary.set(nil)
	strange := x509.NewCertPool()
	strange.AddCert(ca)
	l2 := run(t, func() {}, func(s *Server) { s.Roots = func() *x509.CertPool { return strange } })
	await(t, "a canary that does not trust us", func() error {
		if err := l2.readyz(); err == nil || !strings.Contains(err.Error(), "certificate") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

func TestServerIsNotReadyWithAnExpiredCertificate(t *testing.T) {
	l := run(t, func() {}, func(s *Server) {
		valid := s.Certificate
		s.Certificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := valid(h)
			old := *c
			leaf := *c.Leaf
			leaf.NotAfter = time.Now().Add(-time.Second)
			old.Leaf = &leaf
			return &old, err
		}
	})
	await(t, "not ready", func() error {
		if err := l.readyz(); err == nil || !strings.Contains(err.Error(), "valid from") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

func TestServerTurnsAwayWhatIsTooMuch(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 10)
	l := run(t, func() { entered <- struct{}{}; <-hold }, func(s *Server) {
		s.MaxBytes = 2 * 2 * perByte * (55 << 10)
		s.Handlers[FailPath].Budget = 2 * time.Second
	})
	await(t, "ready", l.readyz)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if ok, err := allowed(l.post(50 << 10)); err != nil || !ok {
				t.Errorf("in flight: %v, %v", ok, err)
			}
		})
		<-entered
	}
	answer, err := l.post(50 << 10)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %v, %v", answer, err)
	}
	close(hold)
	wg.Wait()
	if ok, err := allowed(l.post(50 << 10)); err != nil || !ok {
		t.Errorf("afterwards: %v, %v", ok, err)
	}
}

// What is not answered the fail-open webhook would let in.
func TestServerDeniesWhatCannotBeJudged(t *testing.T) {
	l := run(t, func() {}, func(s *Server) { s.MaxBytes = 2 * 2 * perByte * (55 << 10); s.Handlers[FailPath].Budget = time.Minute })
	await(t, "ready", l.readyz)
	if ok, err := allowed(l.post(maxBody)); err != nil || ok {
		t.Errorf("allowed %v, %v; want an answer, a denial", ok, err)
	}
}

// Who announces much and sends nothing takes nothing from others.
func TestServerChargesWhatComes(t *testing.T) {
	l := run(t, func() {}, func(s *Server) { s.MaxBytes = 4 << 20; s.Handlers[FailPath].Budget = 2 * time.Second })
	await(t, "ready", l.readyz)
	for range 20 {
		c, err := tls.Dial("tcp", l.address(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", FailPath, maxBody); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := allowed(l.post(100 << 10)); err != nil || !ok {
		t.Errorf("beside idle callers: allowed %v, %v", ok, err)
	}
	if err := l.readyz(); err != nil {
		t.Error(err)
	}
}

// An object of one mebibyte can take six on its way to us.
func TestServerJudgesWhatTheAPIServerTakes(t *testing.T) {
	seen := make(chan struct{}, 1)
	l := run(t, func() { seen <- struct{}{} }, nil)
	await(t, "ready", l.readyz)
	if ok, err := allowed(l.post(20 << 20)); err != nil || !ok {
		t.Errorf("20 MiB: allowed %v, %v", ok, err)
	}
	select {
	case <-seen:
	default:
		t.Error("it was not judged")
	}
}

// What is in flight when the server is told to end is answered, and so is what comes while others still send.
func TestServerDrains(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 100)
	var held atomic.Bool
	l := run(t, func() {
		entered <- struct{}{}
		if held.CompareAndSwap(false, true) {
			<-hold
		}
	}, func(s *Server) { s.Drain = 500 * time.Millisecond })
	await(t, "ready", l.readyz)
	first := make(chan error, 1)
	go func() {
		ok, err := allowed(l.post(0))
		if err == nil && !ok {
			err = fmt.Errorf("denied")
		}
		first <- err
	}()
	<-entered
	l.stop()
	await(t, "not ready while it drains", func() error {
		if err := l.readyz(); err == nil || !strings.Contains(err.Error(), "draining") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if ok, err := allowed(l.post(0)); err != nil || !ok {
		t.Errorf("while it drains: %v, %v", ok, err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Errorf("what was in flight: %v", err)
	}
	if err := <-l.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	l.ended <- nil // for the cleanup
	if _, err := l.post(0); err == nil {
		t.Error("it still answers")
	}
}
