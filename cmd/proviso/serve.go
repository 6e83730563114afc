package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"

	"proviso.dev/proviso/webhook"
)

// serving is what serve is asked for.
type serving struct {
	profile, context        string
	name, namespace         string
	host, probes            string
	port                    int
	certificates, caBundle  string
	clientCA                string
	timeout, drain, maxAge  time.Duration
	caLife, leafLife, sharp time.Duration
	reload                  time.Duration
	statusWriters, users    []string
	flags                   []string
	printConfig             bool
	image                   string
	certManager             bool
}

func serveCommand(s streams) *cobra.Command {
	v := &serving{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer the API server's admission requests",
		Long: `Answer the API server's admission requests: a validating webhook that judges with the policies, profile and waivers that
lint and scan judge with. Failures warn until the profile says mode: deny. --print-config prints everything that is to be
installed: the webhook configuration, least rights, the Deployment, the CRDs; with --context it asks that cluster what it
serves.`,
		Example: `  proviso serve --print-config --profile proviso.yaml | kubectl apply -f -
  proviso serve --certificates /etc/certs`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if v.timeout < time.Second || v.timeout > 30*time.Second {
				return fmt.Errorf("--timeout %v: want 1s to 30s, as the webhook configuration's timeoutSeconds", v.timeout)
			}
			if c.Flags().Changed(veleroUser) {
				v.users = v.statusWriters
			}
			if v.printConfig {
				if v.clientCA != "" {
					return errors.New("--client-ca: what is printed mounts no such file; add the volume and the flag to the Deployment")
				}
				for _, name := range carried {
					if f := c.Flags().Lookup(name); f.Changed {
						v.flags = append(v.flags, "--"+name+"="+strings.Trim(f.Value.String(), "[]"))
					}
				}
				return v.print(c.Context(), s, c.Flags().Changed("context"))
			}
			return v.run(c.Context(), s)
		},
	}
	f := c.Flags()
	f.StringVar(&v.profile, "profile", "", "profile to judge by, or none (default proviso.yaml if there is one)")
	f.StringVar(&v.context, "context", "", "kubeconfig context of the cluster (default the cluster this runs in, or the current context)")
	f.StringVar(&v.name, "name", "proviso", "name of everything that is installed: the webhook configuration, the Service, and what they stand on")
	f.StringVarP(&v.namespace, "namespace", "n", "proviso-system", "namespace this runs in, where waivers count")
	f.StringVar(&v.host, "host", "", "address to serve admission on (default every one)")
	f.IntVar(&v.port, "port", 9443, "port to serve admission on")
	f.StringVar(&v.probes, "probes", ":8080", "address of /healthz, /readyz and /metrics")
	f.StringVar(&v.certificates, "certificates", own, "own, an authority of our own in one Secret; or the folder of tls.crt and tls.key, which are read again when they change")
	f.StringVar(&v.caBundle, "ca-bundle", "", "file of the authority of --certificates, for --print-config")
	f.StringSliceVar(&v.statusWriters, veleroUser, []string{"system:serviceaccount:velero:velero"}, "users that Velero's server runs as: what it writes into the status of its own kinds is not judged")
	f.StringVar(&v.clientCA, "client-ca", "", "file of the authorities one of which must have signed the API server's client certificate")
	f.DurationVar(&v.timeout, "timeout", 5*time.Second, "timeoutSeconds of the webhook configuration; answers come half a second before it")
	f.DurationVar(&v.drain, "drain", 15*time.Second, "how long requests are still taken after SIGTERM")
	f.DurationVar(&v.maxAge, "max-age", webhook.DefaultMaxAge, "how long a watch may be silent before facts from it are unknown")
	f.DurationVar(&v.reload, "reload", 5*time.Second, "how often profile and policies are looked at for changes")
	f.DurationVar(&v.caLife, "ca-life", 365*24*time.Hour, "how long our own authority is valid")
	f.DurationVar(&v.leafLife, "leaf-life", 7*24*time.Hour, "how long certificates that it signs are valid")
	f.DurationVar(&v.sharp, "ca-overlap", 10*time.Minute, "how long two authorities are published together")
	f.BoolVar(&v.printConfig, "print-config", false, "print what is to be installed, and serve nothing")
	f.StringVar(&v.image, "image", "proviso:latest", "container image, for --print-config")
	f.BoolVar(&v.certManager, "cert-manager", false, "let cert-manager make the certificates, for --print-config")
	return c
}

// veleroUser is the flag that names Velero's users, carried what the printed Deployment is given of what was asked for.
const veleroUser = "velero-user"

var carried = []string{veleroUser, "drain", "max-age", "reload", "ca-life", "leaf-life", "ca-overlap"}

// own is the word for certificates of our own.
const own = "own"

func (v *serving) run(ctx context.Context, s streams) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100) // what lives long is not to be had five times over
	}
	if _, _, err := readProfile(v.profile); err != nil {
		return err // before anything is asked of a cluster
	}
	cluster, err := restConfig(v.context)
	if err != nil {
		return err
	}
	cluster.UserAgent = "proviso-serve"
	log := slog.New(slog.NewJSONHandler(s.err, nil))
	ctrllog.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics, err := webhook.NewMetrics(registry)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	l := &loader{file: v.profile, install: v.install(), metrics: metrics, log: log, users: v.users, bell: make(chan struct{})}
	l.live = func(ctx context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error) {
		return webhook.Live(ctx, objects.Resource(webhook.Configurations), v.name)
	}
	if err := l.read(ctx); err != nil {
		return err
	}
	if err := v.watch(ctx, cluster, l); err != nil {
		return err
	}
	budget := v.timeout - 500*time.Millisecond
	server := &webhook.Server{Host: v.host, Port: v.port, Probes: v.probes, ServerName: v.name + "." + v.namespace + ".svc", Drain: v.drain,
		Registry: registry, Metrics: metrics, Log: log, Handlers: map[string]*webhook.Handler{}, Roots: func() *x509.CertPool { return nil }}
	for path, side := range map[string]webhook.Side{webhook.FailPath: webhook.FailClosed, webhook.IgnorePath: webhook.FailOpen} {
		server.Handlers[path] = &webhook.Handler{Side: side, Sets: l.sets, Facts: l.facts, Own: l.own(), Record: recorder(log), StatusWriters: v.statusWriters, Budget: budget, WaiverNamespace: v.namespace, Now: time.Now, Metrics: metrics}
	}
	server.Ready = l.ready
	group, ctx := errgroup.WithContext(ctx)
	// What the server stands on ends after it.
	under, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := v.certify(under, cluster, server, group, log); err != nil {
		stop()
		return err
	}
	group.Go(func() error { return l.facts.Start(under) })
	group.Go(func() error { return l.keep(under, v.reload) })
	group.Go(func() error {
		return rescan(under, &webhook.Rescan{Client: objects, Sets: l.sets, Facts: l.facts, Metrics: metrics, Log: log}, l)
	})
	group.Go(func() error { return watchOver(under, objects.Resource(webhook.Profiles), metrics, log) })
	group.Go(func() error {
		return (&webhook.Comparison{Live: l.live, Wanted: l.wanted, Metrics: metrics, Log: log}).Run(under)
	})
	group.Go(func() error {
		defer stop()
		return server.Run(ctx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// install is what is installed of what was asked for.
func (v *serving) install() webhook.Install {
	return webhook.Install{Name: v.name, Namespace: v.namespace, Image: v.image, TimeoutSeconds: int32(v.timeout.Seconds()), StatusWriters: v.statusWriters, Flags: v.flags}
}

// restConfig leads to the cluster of a kubeconfig context, or to the one this runs in.
func restConfig(context string) (*rest.Config, error) {
	c, err := config.GetConfigWithContext(context)
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("find the cluster: there is no kubeconfig, and this runs in no cluster (set KUBECONFIG, or name a context with --context)")
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w (name a kubeconfig context with --context)", err)
	}
	return c, nil
}

// watch finds out what the cluster serves, and starts watching what facts come from.
func (v *serving) watch(ctx context.Context, cluster *rest.Config, l *loader) error {
	http, err := rest.HTTPClientFor(cluster)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	mapper, err := apiutil.NewDynamicRESTMapper(cluster, http)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	asking, err := discovery.NewDiscoveryClientForConfigAndClient(cluster, http)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if l.known, err = webhook.Served(ctx, asking, l.sets().Closed.Rows()); err != nil {
		return err
	}
	if l.start, err = l.planned(l.sets().Closed, l.profile); err != nil {
		return err
	}
	l.plan = l.start
	l.facts, err = webhook.NewFacts(ctx, cluster, mapper, asked(l.sets().Closed))
	if err != nil {
		return err
	}
	l.facts.MaxAge = v.maxAge
	return nil
}

// certify gives the server its certificate: from files, or from an authority of our own.
func (v *serving) certify(ctx context.Context, cluster *rest.Config, server *webhook.Server, group *errgroup.Group, log *slog.Logger) error {
	if v.clientCA != "" {
		pem, err := os.ReadFile(v.clientCA)
		if err != nil {
			return fmt.Errorf("read --client-ca: %w", err)
		}
		server.ClientCAs = x509.NewCertPool()
		if !server.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read --client-ca: there is no certificate in %s", v.clientCA)
		}
	}
	if v.certificates != own {
		watcher, err := certwatcher.New(filepath.Join(v.certificates, "tls.crt"), filepath.Join(v.certificates, "tls.key"))
		if err != nil {
			return fmt.Errorf("read --certificates: %w", err)
		}
		server.Certificate = watcher.GetCertificate
		group.Go(func() error { return watcher.Start(ctx) })
		return nil
	}
	scheme, err := webhook.Scheme()
	if err != nil {
		return err
	}
	direct, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	a := &webhook.Authority{Client: direct, Namespace: v.namespace, Secret: v.install().AuthoritySecret(), Configuration: v.name, CALife: v.caLife, LeafLife: v.leafLife, Overlap: v.sharp, Now: time.Now, Metrics: server.Metrics,
		Hosts: []string{server.ServerName, v.name + "." + v.namespace + ".svc.cluster.local"}}
	if v.host != "" {
		a.Hosts = append(a.Hosts, v.host)
	}
	server.Certificate = a.GetCertificate
	server.Roots = func() *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(a.Bundle())
		return pool
	}
	group.Go(func() error {
		return a.Start(ctx, func(err error) { log.Error("certificates", "error", err.Error()) })
	})
	return nil
}

// rescan judges what the fail-open kinds hold, anew with every change of the policies.
func rescan(ctx context.Context, r *webhook.Rescan, l *loader) error {
	for ctx.Err() == nil {
		next := l.changed()
		until, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-next:
			case <-until.Done():
			}
			cancel()
		}()
		err := r.Run(until, l.openKinds())
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// watchOver tries every minute whether the API server still asks us. It cannot be known before somebody has installed the
// configuration, so it is an alarm and no readiness.
func watchOver(ctx context.Context, profiles dynamic.ResourceInterface, metrics *webhook.Metrics, log *slog.Logger) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := webhook.TryAPIServer(ctx, profiles)
		metrics.Tried("apiserver", err == nil)
		if err != nil && ctx.Err() == nil {
			log.Error("the canary was not denied by the API server", "error", err.Error())
		}
	}
}

// recorder logs what is not compliant: who decided what about which object, asked by whom, and nothing of what is in it.
func recorder(log *slog.Logger) func(webhook.Decided) {
	return func(d webhook.Decided) {
		caller := "unauthenticated"
		if d.Authenticated {
			caller = "authenticated"
		}
		log := log.With("id", d.ID, "caller", caller, "repeated", d.Repeated, "webhook", d.Side.String(), "operation", d.Subject.Operation, "kind", d.Subject.Kind, "group", d.Subject.Group(), "namespace", d.Subject.Namespace, "name", d.Subject.Name)
		if len(d.Problems) > 0 {
			log.Info("refused", "problems", len(d.Problems))
		}
		for i := range d.Decisions {
			one := &d.Decisions[i]
			if one.Verdict.String() == "pass" || one.Verdict.String() == "notApplicable" {
				continue
			}
			log.Info("decision", "policy", one.Policy.ID, "verdict", one.Verdict.String(), "effect", one.Effect.String(), "waived", one.Waived, "allowed", d.Allowed, "policySet", string(d.SetDigest))
		}
	}
}
