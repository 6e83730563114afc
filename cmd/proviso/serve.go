package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"

	"proviso.dev/proviso/engine"
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
	evidence, key           string
	copy, keep              string
	reports, trust          string
}

func serveCommand(s streams) *cobra.Command {
	v := &serving{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer the API server's admission requests",
		Long: `Answer the API server's admission requests: a validating webhook that judges with the policies, profile and waivers that
lint and scan judge with. Failures warn until the profile says mode: deny; what cannot be told is denied where the webhook
fails closed, unless the profile says unknown: warn. --print-config prints everything that is to be
installed: the webhook configuration, least rights, the Deployment, the CRDs; with --context it asks that cluster what it
serves.`,
		Example: `  proviso serve --print-config --profile proviso.yaml | kubectl apply -f -
  proviso serve --certificates /etc/certs`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// A rule may take a second, and what looks after it wants as much again.
			if v.timeout < 2*time.Second || v.timeout > 30*time.Second {
				return fmt.Errorf("--timeout %v: want 2s to 30s, as the webhook configuration's timeoutSeconds", v.timeout)
			}
			if c.Flags().Changed(veleroUser) {
				v.users = v.statusWriters
			}
			if v.printConfig {
				if v.clientCA != "" {
					return errors.New("--client-ca: what is printed mounts no such file; add the volume and the flag to the Deployment")
				}
				if v.reports != "" {
					return errors.New("--reports: what is printed mounts no such folder; add the volume and the flag to what runs the pods")
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
	f.StringSliceVar(&v.statusWriters, veleroUser, []string{defaultVeleroUser}, "users that Velero's server runs as: what it writes into the status of its own kinds is not judged")
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
	f.StringVar(&v.evidence, "evidence", "", "folder to keep evidence in, of this replica alone; the profile's evidence: says how")
	f.StringVar(&v.key, "key", "", "key that signs the evidence: a cosign.key, awskms://, gcpkms://, azurekms://, hashivault:// or k8s://")
	f.StringVar(&v.copy, "copy", "", "bucket under object lock, s3://BUCKET/PREFIX, that evidence is copied to whenever it was sealed")
	f.StringVar(&v.keep, "keep", "", "how long copies are locked, from when they were sealed: 2190d, 6y")
	f.StringVar(&v.reports, "reports", "", "evidence of scans, which says what the last one said of a backup: restores of what fails are denied")
	f.StringVar(&v.trust, "trust", "", "whom you believe about --reports, as for proviso evidence verify")
	f.BoolVar(&v.certManager, "cert-manager", false, "let cert-manager make the certificates, for --print-config")
	return c
}

// veleroUser is the flag that names Velero's users, carried what the printed Deployment is given of what was asked for.
const veleroUser, defaultVeleroUser = "velero-user", "system:serviceaccount:velero:velero"

var carried = []string{veleroUser, "drain", "max-age", "reload", "ca-life", "leaf-life", "ca-overlap", "copy", "keep"}

// own is the word for certificates of our own.
const own = "own"

// budget is how long one answer may take.
func (v *serving) budget() time.Duration { return v.timeout - 500*time.Millisecond }

func (v *serving) run(ctx context.Context, s streams) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(100) // what lives long is not to be had five times over
	}
	profile, _, err := readProfile(v.profile)
	if err == nil {
		err = v.keeps(profile)
	}
	if err == nil && v.evidence != "" {
		err = recordedOutside(v.evidence)
	}
	var scans *reports
	if err == nil {
		scans, err = v.lastScans()
	}
	if err != nil {
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
	records, err := v.openJournal(ctx, s, profile, objects, registry, log)
	if err != nil {
		return err
	}
	err = v.answer(ctx, cluster, objects, records, scans, registry, metrics, log)
	if records == nil {
		return err
	}
	reason := "stopped"
	if err != nil {
		reason = failed(err)
	}
	return errors.Join(err, records.close(reason))
}

// answer serves until the context ends.
func (v *serving) answer(ctx context.Context, cluster *rest.Config, objects dynamic.Interface, records *journal, scans *reports, registry *prometheus.Registry, metrics *webhook.Metrics, log *slog.Logger) error {
	l := &loader{file: v.profile, journal: records, install: v.install(), metrics: metrics, log: log, with: v.with(), bell: make(chan struct{})}
	l.live = func(ctx context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error) {
		return webhook.Live(ctx, objects.Resource(webhook.Configurations), v.name)
	}
	if err := l.read(ctx); err != nil {
		return err
	}
	if err := v.watch(ctx, cluster, l); err != nil {
		return err
	}
	server := &webhook.Server{Host: v.host, Port: v.port, Probes: v.probes, ServerName: v.name + "." + v.namespace + ".svc", Drain: v.drain,
		Registry: registry, Metrics: metrics, Log: log, Handlers: map[string]*webhook.Handler{}, Roots: func() *x509.CertPool { return nil }}
	var facts engine.FactSource = l.facts
	if scans != nil {
		facts = beside{scans, l.facts}
	}
	for path, side := range map[string]webhook.Side{webhook.FailPath: webhook.FailClosed, webhook.IgnorePath: webhook.FailOpen} {
		server.Handlers[path] = &webhook.Handler{Side: side, Sets: l.sets, Facts: facts, Own: l.own(), Log: logged(log), StatusWriters: v.statusWriters, Budget: v.budget(), WaiverNamespace: v.namespace, Now: time.Now, Metrics: metrics}
		if records != nil {
			server.Handlers[path].Recorder = records
		}
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
	if scans != nil {
		group.Go(func() error { return scans.keep(under, v.reload, log) })
	}
	group.Go(func() error { return l.keep(under, v.reload) })
	group.Go(func() error {
		return rescan(under, &webhook.Rescan{Client: objects, Sets: l.sets, Facts: l.facts, Metrics: metrics, Log: log}, l)
	})
	group.Go(func() error { return watchOver(under, objects.Resource(webhook.Profiles), metrics, log) })
	comparison := &webhook.Comparison{Live: l.live, Wanted: l.wanted, Metrics: metrics, Log: log}
	if records != nil {
		comparison.Seen = func(live *admissionregistration.ValidatingWebhookConfiguration) {
			records.seen(wantedChange, l.wanted())
			records.seen(configurationChange, live)
		}
		group.Go(func() error { return records.run(under) })
		group.Go(func() error { return records.seals(under) })
	}
	group.Go(func() error { return comparison.Run(under) })
	group.Go(func() error {
		defer stop()
		return server.Run(ctx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// with are the parameters of policies that were asked for.
func (v *serving) with() map[string][]string {
	with := map[string][]string{}
	if len(v.users) > 0 {
		with[usersParameter] = v.users
	}
	if v.reports != "" {
		with[reportsParameter] = []string{v.reports}
	}
	return with
}

// lastScans are what scans said, where --reports names their evidence; nil is nothing.
func (v *serving) lastScans() (*reports, error) {
	if v.reports == "" {
		if v.trust != "" {
			return nil, errors.New("--trust says whom to believe about scans: name their evidence with --reports")
		}
		return nil, nil
	}
	if isURL(v.reports) {
		return nil, fmt.Errorf("--reports %s: they are read from a folder: name one that proviso scan --evidence writes", v.reports)
	}
	o, err := verifyOptions(v.trust, nil)
	return &reports{dir: v.reports, trust: o.Trust, now: time.Now}, err
}

// install is what is installed of what was asked for.
func (v *serving) install() webhook.Install {
	return webhook.Install{Name: v.name, Namespace: v.namespace, Image: v.image, TimeoutSeconds: int32(v.timeout.Seconds()), StatusWriters: v.statusWriters, Flags: v.flags}
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

// logged logs what is not compliant: who decided what about which object, asked by whom, and nothing of what is in it.
func logged(log *slog.Logger) func(webhook.Decided) {
	return func(d webhook.Decided) {
		caller := "unauthenticated"
		if d.Authenticated {
			caller = "authenticated"
		}
		var policySet engine.Digest
		if d.Set != nil {
			policySet = d.Set.Digest()
		}
		log := log.With("id", d.ID, "caller", caller, "repeated", d.Repeated, "webhook", d.Side.String(), "operation", d.Subject.Operation, "kind", d.Subject.Kind, "group", d.Subject.Group(), "namespace", d.Subject.Namespace, "name", d.Subject.Name)
		if len(d.Problems) > 0 {
			log.Info("refused", "problems", len(d.Problems))
		}
		if d.Unrecorded != nil {
			log.Error("denied: there is no record of it", "error", d.Unrecorded.Error())
		}
		for i := range d.Decisions {
			one := &d.Decisions[i]
			if one.Verdict.String() == "pass" || one.Verdict.String() == "notApplicable" {
				continue
			}
			log.Info("decision", "policy", one.Policy.ID, "verdict", one.Verdict.String(), "effect", one.Effect.String(), "waived", one.Waived, "allowed", d.Allowed, "policySet", string(policySet))
		}
	}
}
