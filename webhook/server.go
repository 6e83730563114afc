package webhook

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Server serves handlers over TLS, with probes and metrics on a port of their own. Its fields are set before Run.
type Server struct {
	Host string
	Port int
	// Probes is the address of /healthz, /readyz and /metrics.
	Probes string
	// Handlers are what answers, by path.
	Handlers map[string]*Handler
	// Certificate is the one to serve; Roots are what the API server verifies it with, nil where that is not known here.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Roots       func() *x509.CertPool
	// ServerName is the name the API server calls us by.
	ServerName string
	// ClientCAs, where given, are who must have signed a caller's certificate; they are asked for at each handshake.
	ClientCAs func() *x509.CertPool
	// Ready says what else keeps the server from being ready: policies, caches.
	Ready func() error
	// Drain is how long requests are still taken after the context ended: until every API server has heard of it.
	Drain time.Duration
	// MaxBytes is how many bytes requests of each handler may take, as they come and once they are decoded; 0 is 128 MiB.
	MaxBytes int64
	Registry *prometheus.Registry
	Metrics  *Metrics
	Log      *slog.Logger

	draining atomic.Bool
	canary   canary
}

// bodyWithin is how long a caller may take to send a request; the API server has it whole before it calls. probeWithin is
// that of who asks whether we are ready.
const bodyWithin, probeWithin = 3 * time.Second, 10 * time.Second

// Run serves until the context ends and what was in flight then is answered.
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := errors.Join(s.canary.prepare(), s.Metrics.expires("leaf", s.expires)); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.Probes)
	if err != nil {
		return fmt.Errorf("serve probes: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("/metrics", promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{}))
	probes := &http.Server{Handler: mux, ReadTimeout: probeWithin, WriteTimeout: probeWithin}

	var wg sync.WaitGroup
	failed := make(chan error, 2)
	wg.Go(func() {
		if err := probes.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve probes: %w", err)
		}
	})
	server := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: s.Host, Port: s.Port, TLSOpts: []func(*tls.Config){s.tls}})
	if s.MaxBytes == 0 {
		s.MaxBytes = 128 << 20
	}
	for path, h := range s.Handlers { // neither webhook can take what the other needs
		server.Register(path, s.guarded(h.Budget, newRoom(s.MaxBytes), h))
	}
	wg.Go(func() {
		if err := server.Start(serving); err != nil {
			failed <- fmt.Errorf("serve admission: %w", err)
		}
	})
	wg.Go(func() { s.watchCanary(serving) })
	err = nil
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.draining.Store(true)
		s.Log.Info("draining", "for", s.Drain)
		select {
		case err = <-failed:
		case <-time.After(s.Drain):
		}
	}
	stop()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeWithin)
	defer cancel()
	err = errors.Join(err, probes.Shutdown(closing))
	wg.Wait()
	return err
}

func (s *Server) tls(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	c.GetCertificate = s.Certificate
	if s.ClientCAs != nil {
		// The canary has no certificate the API server's authority signed; guarded demands one of everybody else.
		c.ClientAuth = tls.VerifyClientCertIfGiven
		c.SessionTicketsDisabled = true // a session resumed would be of an authority that may have gone
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := c.Clone()
			now.ClientCAs = s.ClientCAs()
			return now, nil
		}
	}
}

// guarded bounds what callers may cost before a handler sees them. The budget runs from here on: what a request waits and
// is read for, its judging has not.
func (s *Server) guarded(budget time.Duration, inFlight *room, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		own := s.canary.is(r)
		if s.ClientCAs != nil && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) && !own {
			http.Error(w, "a client certificate is wanted", http.StatusUnauthorized)
			return
		}
		s.Metrics.enter()
		defer s.Metrics.leave()
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(start.Add(bodyWithin)), c.SetWriteDeadline(start.Add(budget+bodyWithin))); err != nil {
			http.Error(w, "deadlines cannot be set", http.StatusInternalServerError)
			return
		}
		ctx, cancel := context.WithDeadlineCause(r.Context(), start.Add(budget), errOver)
		defer cancel()
		r = r.WithContext(ctx)
		if !own {
			// The fail-open webhook lets in what is turned away: first there is a wait.
			waiting, stop := context.WithDeadline(ctx, start.Add(budget/2))
			defer stop()
			body := &charged{ReadCloser: r.Body, ctx: waiting, to: inFlight}
			defer func() {
				if ctx.Err() != nil { // a rule that was told to stop may not have stopped yet
					time.AfterFunc(stopsWithin, body.release)
					return
				}
				body.release()
			}()
			if body.come(smallest) != nil {
				s.turnAway(w)
				return
			}
			r.Body = body
			defer func() {
				if body.refused {
					s.Metrics.turnedAway()
				}
			}()
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) turnAway(w http.ResponseWriter) {
	s.Metrics.turnedAway()
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too many requests are in flight", http.StatusServiceUnavailable)
}

// errOver is why judging was stopped where the time was over.
var errOver = errors.New("the time for an answer was over")

// ready is why the server is not ready; nil where it is.
func (s *Server) ready() error {
	if s.draining.Load() {
		return errors.New("draining")
	}
	cert, err := s.Certificate(&tls.ClientHelloInfo{ServerName: s.ServerName})
	if err != nil {
		return err
	}
	now := time.Now()
	if cert.Leaf != nil && (now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter)) {
		return fmt.Errorf("the certificate is valid from %s to %s only", cert.Leaf.NotBefore.UTC().Format(time.RFC3339), cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if err := s.Ready(); err != nil {
		return err
	}
	return s.canary.trouble()
}

// expires is when the certificate that is served expires; zero where there is none.
func (s *Server) expires() time.Time {
	cert, err := s.Certificate(&tls.ClientHelloInfo{ServerName: s.ServerName})
	if err != nil || cert.Leaf == nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}

// watchCanary tries, again and again, whether what must be denied is.
func (s *Server) watchCanary(ctx context.Context) {
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	for {
		err := s.try(ctx)
		if ctx.Err() != nil {
			return
		}
		s.canary.set(err)
		s.Metrics.Tried("tls", err == nil)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// canaryEvery is how often the canary is tried.
const canaryEvery = 2 * time.Second

func token() (string, error) {
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// address is where the server can be called from this machine.
func (s *Server) address() string {
	host := s.Host
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(s.Port))
}
