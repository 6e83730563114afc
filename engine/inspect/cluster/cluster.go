// Package cluster lists objects of a live Kubernetes cluster as subjects, and answers facts from the same cluster. It only
// reads, page by page, and never asks for a list that is not paged. What it has no right to see, or cannot list to its
// end, it yields as a hole that names the resource and the rule that would grant it.
//
// The contents of Secrets are replaced by their digests before anything else sees them.
//
// Start at [Connect] and [Rights].
package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"proviso.dev/proviso/engine"
)

// ArtifactGroup is the group of what Proviso itself makes; no cluster holds any, whatever it serves under that name.
const ArtifactGroup = "artifact.proviso.dev"

// Source is one cluster. It implements [engine.Inspector] and [engine.FactSource]; many goroutines may ask for facts. Its
// exported fields are set before its first use.
type Source struct {
	// Name is what people call the cluster; subjects come from "cluster:NAME".
	Name string
	// Kinds are the groups and kinds of the subjects, as (*engine.Set).Kinds gives them. "*" is any group or kind; a kind
	// that is only meant by "*" is not listed if it is one of [Passing].
	Kinds [][2]string
	// FactKinds are the groups and kinds that facts may be asked of, as (*engine.Set).FactKinds gives them.
	FactKinds map[[2]string]bool
	// Attempts is how often one request is made until it succeeds, 0 is 6. Backoff is the pause after the first failure,
	// which doubles with each that follows, 0 is 250 ms. Budget is how long one request may take with all its attempts, 0 is
	// three minutes.
	Attempts        int
	Backoff, Budget time.Duration
	// MaxFacts is how many bytes of objects are kept to answer facts, 0 is 256 MiB. Kinds beyond it are asked for by name
	// only.
	MaxFacts int64

	client *http.Client
	base   *url.URL
	// pageBytes is the size of a page from which on a smaller one is asked for.
	pageBytes int64

	mu      sync.Mutex
	shelves map[groupKind]*shelf
	kept    int64

	discovering chan struct{}
	found       *catalogue
}

type groupKind struct{ group, kind string }

// passing are kinds that come and go by themselves, that are measured and not kept, or that are somebody's way in.
var passing = map[groupKind]bool{
	{"", "Event"}: true, {"events.k8s.io", "Event"}: true, {"coordination.k8s.io", "Lease"}: true, {"coordination.k8s.io", "LeaseCandidate"}: true,
	{"", "ComponentStatus"}: true, {"metrics.k8s.io", "PodMetrics"}: true, {"metrics.k8s.io", "NodeMetrics"}: true,
	{"oauth.openshift.io", "OAuthAccessToken"}: true, {"oauth.openshift.io", "OAuthAuthorizeToken"}: true, {"oauth.openshift.io", "UserOAuthAccessToken"}: true,
	{"management.cattle.io", "Token"}: true, {"ext.cattle.io", "Token"}: true,
	{"reports.kyverno.io", "EphemeralReport"}: true, {"reports.kyverno.io", "ClusterEphemeralReport"}: true,
}

// Passing are the groups and kinds that a "*" does not stand for: events, leases, measurements, access tokens and the like.
func Passing() [][2]string {
	var list [][2]string
	for gk := range passing {
		list = append(list, [2]string{gk.group, gk.kind})
	}
	slices.SortFunc(list, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return list
}

// Connect is the cluster of a context of the standard kubeconfig files; the empty context is the current one, or the
// cluster that this process runs in where there is no kubeconfig. It asks the cluster nothing yet.
func Connect(kubeconfigContext string) (*Source, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	raw, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	name := kubeconfigContext
	if name == "" {
		name = raw.CurrentContext
	}
	if name == "" && len(raw.Contexts) == 0 {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("connect to cluster: no kubeconfig in %s, and %w", strings.Join(rules.Precedence, ", "), err)
		}
		return New("in-cluster", config)
	}
	contexts := slices.Sorted(maps.Keys(raw.Contexts))
	switch {
	case name == "":
		return nil, fmt.Errorf("connect to cluster: the kubeconfig has no current context: name one of %s", strings.Join(contexts, ", "))
	case raw.Contexts[name] == nil:
		return nil, fmt.Errorf("connect to cluster: the kubeconfig has no context %q: name one of %s", name, strings.Join(contexts, ", "))
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	return New(name, config)
}

// New is the cluster that config leads to, called name.
func New(name string, config *rest.Config) (*Source, error) {
	config = rest.CopyConfig(config)
	if config.UserAgent == "" {
		config.UserAgent = "proviso"
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	own := *client
	// The transport adds the credentials to every request, so a redirection would send them to whoever it names.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Source{
		Name: name, client: &own, base: base, pageBytes: 64 << 20,
		shelves: map[groupKind]*shelf{}, discovering: make(chan struct{}, 1),
	}, nil
}

func (s *Source) source() string { return "cluster:" + s.Name }

func (s *Source) unread(kind engine.UnreadKind, err error) error {
	return &engine.Unread{Source: s.source(), Position: engine.Position{File: s.source()}, Kind: kind, Err: err}
}

// Inspect yields the objects of every kind by group and kind, then in the server's order, which is that of namespaces and
// names. A kind that the cluster does not serve has no objects, and is no hole.
func (s *Source) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		found, err := s.discover(ctx)
		if err != nil {
			yield(nil, s.unread(engine.Hole, err))
			return
		}
		resources, holes := found.wanted(s.Kinds)
		for _, hole := range holes {
			if !yield(nil, s.unread(engine.Hole, hole)) {
				return
			}
		}
		// Facts are fetched before anything is judged, so that no policy's time is spent on a listing.
		for _, gk := range s.factKinds() {
			if _, err := s.shelf(ctx, gk); err != nil {
				yield(nil, s.unread(engine.Hole, err))
				return
			}
		}
		for _, r := range resources {
			for item, err := range s.list(ctx, r, r.collection(""), "") {
				var sub *engine.Subject
				if err == nil {
					sub, err = s.subject(r, item)
				}
				if err != nil {
					err = s.unread(engine.Hole, err)
				}
				if !yield(sub, err) {
					return
				}
			}
			if ctx.Err() != nil {
				return // told by the listing
			}
		}
	}
}

func (s *Source) subject(r resource, item []byte) (*engine.Subject, error) {
	object, err := r.object(item)
	if err != nil {
		return nil, err
	}
	namespace, name := identity(object)
	return &engine.Subject{
		APIVersion: object["apiVersion"].(string), Kind: r.kind, Namespace: namespace, Name: name, Object: object,
		Origin: engine.Origin{Source: s.source(), Digest: engine.Digest(digest(item))},
	}, nil
}

func (s *Source) factKinds() []groupKind {
	var kinds []groupKind
	for k, asked := range s.FactKinds {
		if asked && k[0] != ArtifactGroup {
			kinds = append(kinds, groupKind{k[0], k[1]})
		}
	}
	slices.SortFunc(kinds, func(a, b groupKind) int {
		return strings.Compare(a.group+"/"+a.kind, b.group+"/"+b.kind)
	})
	return kinds
}

var errCutShort = errors.New("cut short")
