package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/dependency"
	"proviso.dev/proviso/engine/inspect/bucket"
	"proviso.dev/proviso/engine/inspect/cloud"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/engine/inspect/etcd"
	"proviso.dev/proviso/engine/inspect/fleet"
	"proviso.dev/proviso/engine/inspect/velero"
	"proviso.dev/proviso/engine/store"
)

// scheme is how a source that is no path starts.
var scheme = regexp.MustCompile(`^[a-z0-9]{2,}:`)

// artifacts is the group of what was never a Kubernetes object.
const artifacts = "artifact.proviso.dev"

// sources are what a command was asked to look at: inspectors in the order named, and who answers facts about what comes
// from each.
type sources struct {
	set        *engine.Set
	paths      []string
	clouds     []string
	inspectors []engine.Inspector
	facts      answers
	live       map[string]bool
	sample     int
	// notes are what the user may have meant, for standard error.
	notes []string
}

// open makes sources of what the command line names. Manifests come first.
func openSources(ctx context.Context, args []string, set *engine.Set, sample int) (*sources, error) {
	c := &sources{set: set, sample: sample, facts: answers{own: map[string]engine.FactSource{}, buckets: map[string][]*engine.Subject{}}, live: map[string]bool{}}
	for _, arg := range args {
		kind, rest, _ := strings.Cut(arg, ":")
		if _, err := os.Stat(arg); err == nil || !scheme.MatchString(arg) {
			c.paths = append(c.paths, arg)
			if backups(arg) {
				c.notes = append(c.notes, fmt.Sprintf("%s holds Velero's backups, and only the manifests in it are judged: scan velero:%s judges the backups", arg, arg))
			}
			continue
		}
		if err := c.open(ctx, arg, kind, rest); err != nil {
			return nil, fmt.Errorf("scan %s: %w", arg, err)
		}
	}
	if len(c.clouds) > 0 {
		c.inspectors = append(c.inspectors, exports{&cloud.Files{Paths: c.clouds}, "cloud:", false})
	}
	return c, nil
}

func (c *sources) open(ctx context.Context, arg, kind, rest string) error {
	if rest == "" && kind != "cluster" {
		return fmt.Errorf("it names nothing: want %s: and a place, see proviso help sources", kind)
	}
	if kind == "velero" || kind == "bucket" || kind == "cloud" {
		if err := exportInstead(kind, rest); err != nil {
			return err
		}
	}
	switch kind {
	case "velero":
		return c.velero(ctx, rest)
	case "bucket":
		return c.bucket(ctx, rest)
	case "cloud":
		c.clouds = append(c.clouds, rest)
	case "etcd":
		c.inspectors = append(c.inspectors, &etcd.File{Path: rest})
	case "cluster":
		if err := cluster.Named(rest); err != nil {
			return err
		}
		s, err := cluster.Connect(rest)
		if err != nil {
			return err
		}
		// What protects a claim is joined from kinds that few policies speak of.
		s.Kinds, s.FactKinds = append(c.set.Kinds(), fleet.Kinds()...), c.set.FactKinds()
		c.inspectors, c.facts.own["cluster:"+s.Name] = append(c.inspectors, s), s
	default:
		return fmt.Errorf("there is no kind of source %q: want velero, bucket, cloud, etcd or cluster, or a path that is there", kind)
	}
	return nil
}

// velero judges backups and, where they lie in a bucket, the bucket.
func (c *sources) velero(ctx context.Context, text string) error {
	s, err := store.Open(ctx, text)
	if err != nil {
		return err
	}
	live := strings.HasPrefix(text, "s3://")
	if !live && contentsAlone(ctx, s) {
		return errors.New("it is the contents of a backup without its description: give the folder it lay in, with velero-backup.json beside it, or an archive of that folder")
	}
	in := placed{&velero.Source{Store: s, Kinds: c.set.FactKinds(), Plan: func() velero.Planner { return dependency.New() }}, place(text)}
	c.inspectors, c.facts.own[s.String()] = append(c.inspectors, in), in
	if !live {
		return nil
	}
	source, err := store.ParseSource(text)
	if err != nil {
		return err
	}
	return c.look(ctx, source, false)
}

func (c *sources) bucket(ctx context.Context, place string) error {
	if !strings.HasPrefix(place, "s3://") {
		info, err := os.Stat(place)
		if err != nil {
			return err
		}
		return c.first(ctx, exports{&bucket.Exported{Files: []string{place}}, "bucket:", !info.IsDir()})
	}
	source, err := store.ParseSource(place)
	if err != nil {
		return err
	}
	if _, err := source.Client(ctx); err != nil { // as for velero: without credentials nothing was even asked
		return err
	}
	return c.look(ctx, source, true)
}

// look asks a bucket what it is, once.
func (c *sources) look(ctx context.Context, s store.Source, objects bool) error {
	name := s.Endpoint + " " + s.Bucket
	if c.live[name] && !objects {
		return nil
	}
	c.live[name] = true
	return c.first(ctx, &bucket.Live{Source: s, Objects: objects, Sample: c.sample})
}

// joined joins what is inspected into what protects what, knowing of the clusters what the profile says.
func joined(in engine.Inspector, profile *bundles.Profile, now time.Time) engine.Inspector {
	j := fleet.Join{In: in, TierLabel: "proviso.dev/tier", Clusters: map[string]fleet.Cluster{}, Now: now,
		// Holes count against this: a live cluster lists all there is of a kind, or says that it did not.
		Listed: func(source, _, _ string) bool { return strings.HasPrefix(source, "cluster:") },
		Decode: func(text string) (map[string]any, error) {
			doc, err := decode.One(strings.NewReader(text), "resource policy", decode.Limits{})
			if err != nil {
				return nil, err
			}
			policy, ok := doc.Value.(map[string]any)
			if !ok {
				return nil, errors.New("the resource policy is no object")
			}
			return policy, nil
		},
	}
	if profile == nil {
		return j
	}
	if tier := profile.Labels["tier"]; tier != "" {
		j.TierLabel = tier
	}
	for _, c := range profile.Clusters {
		known := fleet.Cluster{Name: c.Name, Region: c.Region, Jurisdiction: c.Jurisdiction}
		j.Clusters[c.Source], j.Clusters["cluster:"+c.Source] = known, known
	}
	return j
}

// first takes the buckets that an inspector begins with, so that facts about them can be answered from the start.
func (c *sources) first(ctx context.Context, in engine.Inspector) error {
	next, stop := iter.Pull2(in.Inspect(ctx))
	begun := &begun{next: next, stop: stop}
	for {
		sub, err, ok := next()
		if !ok {
			break
		}
		if err == nil && sub.Kind == "Bucket" {
			if known := c.facts.buckets[sub.Name]; slices.ContainsFunc(known, func(k *engine.Subject) bool { return k.Origin.Source == sub.Origin.Source }) {
				continue
			}
			c.facts.buckets[sub.Name] = append(c.facts.buckets[sub.Name], sub)
		}
		begun.pending = append(begun.pending, outcome{sub, err})
		if err == nil && sub.Kind != "Bucket" {
			break
		}
	}
	c.inspectors = append(c.inspectors, begun)
	return ctx.Err()
}

type outcome struct {
	sub *engine.Subject
	err error
}

// begun is an inspection that was begun before the run.
type begun struct {
	pending []outcome
	next    func() (*engine.Subject, error, bool)
	stop    func()
}

// Inspect is part of engine.Inspector. It can be taken once.
func (b *begun) Inspect(context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		defer b.stop()
		for _, o := range b.pending {
			if !yield(o.sub, o.err) {
				return
			}
		}
		for {
			sub, err, ok := b.next()
			if !ok || !yield(sub, err) {
				return
			}
		}
	}
}

// answers answers a fact from the subject's own source, then from the snapshots; what a bucket is, from all buckets that
// were looked at.
type answers struct {
	own       map[string]engine.FactSource
	buckets   map[string][]*engine.Subject
	files     engine.FactSource
	snapshots engine.FactSource
	// earlier tells what was in the scan before.
	earlier *earlier
}

// Fact is part of engine.FactSource.
func (a answers) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	if q.Group == artifacts && q.Kind == "Bucket" {
		switch found := a.buckets[q.Name]; len(found) {
		case 0:
			return nil, engine.FactUnknown, fmt.Errorf("the bucket %q was not looked at: scan bucket:s3://%s, too", q.Name, q.Name)
		case 1:
			return found[0].Object, engine.FactFound, nil
		default:
			return nil, engine.FactUnknown, fmt.Errorf("%d buckets are named %q: %w", len(found), q.Name, engine.ErrDoubtful)
		}
	}
	if q.Group == artifacts && q.Kind == "Previous" {
		return a.earlier.Fact(ctx, q, about)
	}
	own, ok := a.own[about.Origin.Source]
	if !ok {
		return a.files.Fact(ctx, q, about)
	}
	value, state, err := own.Fact(ctx, q, about)
	if state != engine.FactUnknown || errors.Is(err, engine.ErrDoubtful) {
		return value, state, err
	}
	if value, state, _ := a.snapshots.Fact(ctx, q, about); state != engine.FactUnknown {
		return value, state, nil
	}
	return nil, engine.FactUnknown, answerable(q, err)
}

// answerable adds to a source's doubt about all objects of a kind who could tell them.
func answerable(q engine.FactQuery, err error) error {
	if q.Name != "" || err == nil || strings.Contains(err.Error(), "--facts") {
		return err
	}
	if q.Group == "" && q.Kind == "Namespace" {
		return fmt.Errorf("%w: give a complete list with --facts namespaces.json (kubectl get --raw /api/v1/namespaces > namespaces.json)", err)
	}
	return fmt.Errorf("%w: give a complete list of the cluster's with --facts FILE (kubectl get --raw prints one)", err)
}
