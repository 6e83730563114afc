package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"proviso.dev/proviso/webhook"
)

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
		authorities := clientAuthorities{file: v.clientCA, log: log}
		if err := authorities.read(); err != nil {
			return err
		}
		server.ClientCAs = authorities.now
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

// clientAuthorities are those of --client-ca as the file is now; while it cannot be read, as it was.
type clientAuthorities struct {
	file string
	log  *slog.Logger
	mu   sync.Mutex
	raw  []byte
	pool *x509.CertPool
	told string
}

func (a *clientAuthorities) read() error {
	raw, err := os.ReadFile(a.file)
	if err != nil {
		return fmt.Errorf("read --client-ca: %w", err)
	}
	if bytes.Equal(raw, a.raw) {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return fmt.Errorf("read --client-ca: there is no certificate in %s", a.file)
	}
	a.raw, a.pool = raw, pool
	return nil
}

func (a *clientAuthorities) now() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.read()
	if why := fmt.Sprint(err); err != nil && why != a.told {
		a.log.Error("client authorities: those read last count", "error", why)
	}
	a.told = fmt.Sprint(err)
	return a.pool
}
