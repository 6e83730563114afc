package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	admissionregistration "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/webhook"
)

// loader keeps the policies in force: those of the profile's file, with the waivers and profiles that are objects of the
// cluster. A reload is all or nothing; the last good policies stay. Policies that need more than the API server asks us
// about are refused by a reload; a start has no others to stay with and loads them, and then the alarm about gaps is up
// until the configuration that belongs to them is installed.
type loader struct {
	file    string
	install webhook.Install
	metrics *webhook.Metrics
	log     *slog.Logger
	known   []webhook.Resource
	facts   *webhook.Facts
	// journal is the evidence, which knows of policies before they are in force; nil keeps none.
	journal *journal
	// live reads the webhook configuration that is installed.
	live func(context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error)
	// start is the plan of the start.
	start plan

	reading   atomic.Pointer[reading]
	mu        sync.Mutex
	catalogue *bundles.Catalogue
	profile   *bundles.Profile
	plan      plan
	objects   objects
	listed    listed // what objects were made of
	seen      [sha256.Size]byte
	now       atomic.Pointer[webhook.Sets]
	// overlaid is whether the cluster's own were taken in.
	overlaid atomic.Bool
	told     string // what was wrong with them last
	// with are parameters of policies that serve was given.
	with map[string][]string
	// bell is closed when other policies are put into force.
	bell chan struct{}
}

// reading is what objects of our own kinds are read by. Requests take it without the lock, which a reload holds long.
type reading struct {
	catalogue *bundles.Catalogue
	profile   *bundles.Profile
}

// objects are what the cluster adds to the profile.
type objects struct {
	waivers []engine.Waiver
	tighter []bundles.Tightening
}

var closedDefaults, openDefaults = bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeDeny}, bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeWarn}

func (l *loader) sets() *webhook.Sets { return l.now.Load() }

// read reads profile and policies and puts them into force.
func (l *loader) read(ctx context.Context) error {
	_, sources, err := readProfile(l.file)
	if err != nil {
		return err
	}
	// What changes after this is read at the next look.
	seen := l.fingerprint(sources)
	profile, sources, err := readProfile(l.file)
	if err != nil {
		return err
	}
	for i := range sources {
		sources[i].Lazy = false // what is wrong is to be told before a request depends on it
	}
	catalogue, err := bundles.Read(profile.Table(), sources...)
	if err != nil {
		return err
	}
	o := l.objects
	if l.overlaid.Load() {
		// A Profile object that the new policies make nothing of would loosen by that. Where they cannot be listed now, those
		// in force stay, and so do those the new policies are held against.
		if listed, err := l.list(); err == nil {
			l.listed = listed
		}
		all, wrong := gather(catalogue, profile, l.listed)
		if err := errors.Join(wrong...); err != nil {
			return fmt.Errorf("hold the cluster's waivers and profiles against the new policies: %w", err)
		}
		o = all
	}
	if l.catalogue != nil && !reflect.DeepEqual(evidenceOf(l.profile), evidenceOf(profile)) {
		return errors.New("the profile's evidence: is another, which needs a restart")
	}
	chosen := selected(catalogue, profile, o, l.with)
	sets, err := chosen.sets()
	if err != nil {
		return err
	}
	next := l.plan
	if l.facts != nil {
		if next, err = l.planned(sets.Closed, profile); err != nil {
			return err
		}
		if err := l.facts.Covers(asked(sets.Closed)); err != nil {
			return err
		}
		if err := l.covered(ctx, next); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.force(ctx, chosen, sets, "profile and policies were read"); err != nil {
		return err
	}
	l.catalogue, l.profile, l.objects, l.seen, l.plan = catalogue, profile, o, seen, next
	l.reading.Store(&reading{catalogue, profile})
	if next.configuration != nil {
		l.journal.seen(wantedChange, next.configuration)
	}
	return nil
}

// force puts policies into force once they are on record, where there is one.
func (l *loader) force(ctx context.Context, chosen selection, sets *webhook.Sets, why string) error {
	if l.journal == nil {
		l.now.Store(sets)
	} else if err := l.journal.announce(ctx, chosen, sets, func() { l.now.Store(sets) }); err != nil {
		return fmt.Errorf("put the policies on record: %w", err)
	}
	l.journal.reloaded(why, nil)
	close(l.bell)
	l.bell = make(chan struct{})
	l.metrics.Loaded(sets.Closed.Digest())
	l.log.Info("policies in force", "digest", string(sets.Closed.Digest()), "policies", len(sets.Closed.Policies()), "waivers", len(sets.Closed.Waivers()))
	return nil
}

// changed is closed when other policies come into force.
func (l *loader) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bell
}

func (l *loader) openKinds() []webhook.Resource {
	l.mu.Lock()
	defer l.mu.Unlock()
	return webhook.OpenKinds(l.sets().Open.Rows(), l.known, moved(l.profile))
}

// wanted is the webhook configuration that belongs to the policies in force.
func (l *loader) wanted() *admissionregistration.ValidatingWebhookConfiguration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plan.configuration
}

// covered refuses a plan that the API server would not ask us by. What is installed decides; where that cannot be read, what
// was wanted at the start.
func (l *loader) covered(ctx context.Context, next plan) error {
	for _, what := range slices.Sorted(maps.Keys(next.dropped)) {
		if _, before := l.start.dropped[what]; !before {
			return fmt.Errorf("%s is not watched: %s (what was installed after the start is seen after a restart)", what, next.dropped[what])
		}
	}
	if reflect.DeepEqual(next.configuration, l.plan.configuration) {
		return nil
	}
	which := "that is installed"
	live, err := l.live(ctx)
	if err != nil {
		live, which = l.start.configuration, fmt.Sprintf("of the start (the one that is installed is not known: %v)", err)
	}
	gaps := webhook.Gaps(live, next.configuration)
	if len(gaps) == 0 {
		return nil
	}
	return fmt.Errorf("the webhook configuration %s is not enough for the new policies: %s: install what they need, and they are loaded (proviso serve --print-config | kubectl apply -f -)", which, strings.Join(gaps, "; "))
}

// asked are the kinds to be watched: those that policies ask about, and our own. Secrets are never among them, and no
// cluster holds what only Proviso makes.
func asked(set *engine.Set) [][2]string {
	kinds := maps.Clone(set.FactKinds())
	kinds[[2]string{webhook.Group, "Waiver"}], kinds[[2]string{webhook.Group, "Profile"}] = true, true
	maps.DeleteFunc(kinds, func(gk [2]string, _ bool) bool {
		return gk == [2]string{"", "Secret"} || gk[0] == cluster.ArtifactGroup
	})
	return slices.SortedFunc(maps.Keys(kinds), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// retryAtMost is how long files that were refused, and have not changed, wait to be tried again: the cluster may have.
const retryAtMost = time.Minute

// refusal is what was refused last. The same files are tried ever less often, and why is told once.
type refusal struct {
	seen  [sha256.Size]byte
	why   string
	wait  time.Duration
	until time.Time
}

func (r *refusal) waits(seen [sha256.Size]byte, now time.Time) bool {
	return seen == r.seen && now.Before(r.until)
}

// note takes one more refusal and reports whether it is to be told.
func (r *refusal) note(seen [sha256.Size]byte, why error, now time.Time, every time.Duration) (news bool) {
	news = why.Error() != r.why
	if seen != r.seen {
		r.wait = every
	}
	r.seen, r.why, r.until = seen, why.Error(), now.Add(r.wait)
	r.wait = max(every, min(2*r.wait, retryAtMost))
	return news
}

// keep reloads when files change, and when waivers or profiles of the cluster do.
func (l *loader) keep(ctx context.Context, every time.Duration) error {
	var refused refusal
	tick, soon := time.NewTicker(every), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	defer soon.Stop()
	for {
		if l.overlaid.Load() {
			soon.Stop() // it is for the start alone
		}
		waivers, profiles := l.facts.Changed(webhook.Group, "Waiver"), l.facts.Changed(webhook.Group, "Profile")
		l.overlay(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-waivers:
		case <-profiles:
		case <-soon.C:
		case <-tick.C:
			_, sources, err := readProfile(l.file)
			seen := l.fingerprint(sources)
			if refused.waits(seen, time.Now()) {
				continue
			}
			if err == nil && seen != l.seen {
				err = l.read(ctx)
			}
			if err == nil {
				refused = refusal{}
				continue
			}
			l.metrics.Refused()
			if refused.note(seen, err, time.Now(), every) {
				l.log.Error("reload refused; the last good policies stay in force", "error", err.Error())
				l.journal.reloaded("profile and policies", err)
			}
		}
	}
}

// ready is why the policies in force are not those that should be; nil where they are.
func (l *loader) ready() error {
	switch {
	case l.sets() == nil:
		return errors.New("no policies are loaded")
	case !l.overlaid.Load():
		return errors.New("the cluster's waivers and profiles are not known yet")
	}
	if err := l.journal.ready(); err != nil {
		return err
	}
	return l.facts.Fresh(l.metrics)
}

// own are the checks of our own kinds.
func (l *loader) own() map[string]func(engine.Subject) []string {
	problems := func(err error) []string {
		if err == nil {
			return nil
		}
		return strings.Split(err.Error(), "\n")
	}
	return map[string]func(engine.Subject) []string{
		"Waiver": func(sub engine.Subject) []string {
			if sub.Namespace != l.install.Namespace {
				return []string{fmt.Sprintf("waivers count in namespace %s only: create it there", l.install.Namespace)}
			}
			_, err := l.reading.Load().catalogue.WaiverOf(sub.Object)
			return problems(err)
		},
		"Profile": func(sub engine.Subject) []string {
			if why := webhook.DenyCanary(sub); why != "" {
				return []string{why}
			}
			by := l.reading.Load()
			_, err := by.catalogue.TighteningOf(sub.Object, by.profile, closedDefaults)
			return problems(err)
		},
	}
}

// fingerprint digests the profile and every file of its own policy folders.
func (l *loader) fingerprint(sources []bundles.Source) [sha256.Size]byte {
	h := sha256.New()
	file := l.file
	if file == "" {
		file = "proviso.yaml"
	}
	raw, err := os.ReadFile(file)
	fmt.Fprintln(h, raw, errors.Is(err, fs.ErrNotExist))
	for _, src := range sources {
		if src.Name == "" {
			continue // the built-in ones are part of the program
		}
		err := fs.WalkDir(src.FS, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := fs.ReadFile(src.FS, name)
			fmt.Fprintln(h, name, sha256.Sum256(raw), err)
			return nil
		})
		fmt.Fprintln(h, src.Name, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
