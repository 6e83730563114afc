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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/webhook"
)

// loader keeps the policies in force: those of the profile's file, with the waivers and profiles that are objects of the
// cluster. A reload is all or nothing; the last good policies stay.
type loader struct {
	file, namespace string
	metrics         *webhook.Metrics
	log             *slog.Logger
	known           []webhook.Resource
	facts           *webhook.Facts
	watched         map[string]bool // operations on kinds that the webhook configuration names

	mu        sync.Mutex
	catalogue *bundles.Catalogue
	profile   *bundles.Profile
	objects   objects
	seen      [sha256.Size]byte
	now       atomic.Pointer[webhook.Sets]
	// overlaid is whether the cluster's own were taken in.
	overlaid atomic.Bool
	told     string // what was wrong with them last
	// users are Velero's, where others than the policies know.
	users []string
	// bell is closed when other policies are put into force.
	bell chan struct{}
}

// objects are what the cluster adds to the profile.
type objects struct {
	waivers []engine.Waiver
	tighter []bundles.Tightening
}

var closedDefaults, openDefaults = bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeDeny}, bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeWarn}

func (l *loader) sets() *webhook.Sets { return l.now.Load() }

// read reads profile and policies and puts them into force.
func (l *loader) read() error {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.objects
	if l.overlaid.Load() {
		// A Profile object that the new policies make nothing of would loosen by that.
		all, wrong, err := l.gather(catalogue, profile)
		if err = errors.Join(append(wrong, err)...); err != nil {
			return fmt.Errorf("hold the cluster's waivers and profiles against the new policies: %w", err)
		}
		o = all
	}
	sets, err := selected(catalogue, profile, o, l.users)
	if err != nil {
		return err
	}
	if l.watched != nil {
		if err := l.covered(sets.Closed); err != nil {
			return err
		}
	}
	l.catalogue, l.profile, l.objects, l.seen = catalogue, profile, o, seen
	l.force(sets)
	return nil
}

func (l *loader) force(sets *webhook.Sets) {
	l.now.Store(sets)
	close(l.bell)
	l.bell = make(chan struct{})
	l.metrics.Loaded(sets.Closed.Digest())
	l.log.Info("policies in force", "digest", string(sets.Closed.Digest()), "policies", len(sets.Closed.Policies()), "waivers", len(sets.Closed.Waivers()))
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

// usersParameter is what policies call the users that Velero's server runs as.
const usersParameter = "veleroServiceAccounts"

func selected(c *bundles.Catalogue, p *bundles.Profile, o objects, users []string) (*webhook.Sets, error) {
	if len(users) > 0 {
		p = p.With(usersParameter, users)
	}
	with := func(d bundles.Defaults) (*engine.Set, error) {
		set, err := c.Select(p.Tightened(o.tighter), d)
		if err != nil {
			return nil, err
		}
		all := slices.Clone(o.waivers)
		for _, w := range set.Waivers() {
			// The file's waiver wins over an object that took its id.
			all = slices.DeleteFunc(all, func(other engine.Waiver) bool { return other.ID == w.ID })
			all = append(all, *w)
		}
		return set.WithWaivers(all)
	}
	closed, err := with(closedDefaults)
	if err != nil {
		return nil, err
	}
	open, err := with(openDefaults)
	return &webhook.Sets{Closed: closed, Open: open}, err
}

// plan notes what the webhook configuration that belongs to these policies watches.
func (l *loader) plan() error {
	rows := l.sets().Closed.Rows()
	if _, _, _, err := webhook.Rules(rows, l.known, moved(l.profile)); err != nil {
		return fmt.Errorf("plan what is watched: %w", err)
	}
	l.watched = map[string]bool{}
	for _, key := range operations(rows) {
		l.watched[key] = true
	}
	return nil
}

func operations(rows []engine.MatchRow) []string {
	var all []string
	for _, row := range rows {
		for _, operation := range row.Operations {
			all = append(all, operation+" of "+row.Kinds[0]+"."+row.Group)
		}
	}
	return all
}

// covered refuses policies that need what is not watched, or no right was given for.
func (l *loader) covered(set *engine.Set) error {
	for _, key := range operations(set.Rows()) {
		if !l.watched[key] {
			return fmt.Errorf("%s is not watched: install what serve --print-config prints now, and restart", strings.TrimSuffix(key, "."))
		}
	}
	return l.facts.Covers(asked(set))
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

// keep reloads when files change, and when waivers or profiles of the cluster do.
func (l *loader) keep(ctx context.Context, every time.Duration) error {
	tick, soon := time.NewTicker(every), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	defer soon.Stop()
	for {
		if l.overlaid.Load() {
			soon.Stop() // it is for the start alone
		}
		waivers, profiles := l.facts.Changed(webhook.Group, "Waiver"), l.facts.Changed(webhook.Group, "Profile")
		l.overlay()
		select {
		case <-ctx.Done():
			return nil
		case <-waivers:
		case <-profiles:
		case <-soon.C:
		case <-tick.C:
			_, sources, err := readProfile(l.file)
			if err == nil && l.fingerprint(sources) == l.seen {
				continue
			}
			if err == nil {
				err = l.read()
			}
			if err != nil {
				l.metrics.Refused()
				l.log.Error("reload refused; the last good policies stay in force", "error", err.Error())
			}
		}
	}
}

// overlay puts the cluster's waivers and profiles into force. One that cannot be read counts for nothing, and is told; where
// they are not known, those that were stay.
func (l *loader) overlay() {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, wrong, err := l.gather(l.catalogue, l.profile)
	if err != nil {
		l.tell("waivers and profiles are not known; those in force stay", err)
		return
	}
	l.tell("some objects count for nothing", errors.Join(wrong...))
	l.overlaid.Store(true)
	if fmt.Sprint(o) == fmt.Sprint(l.objects) {
		return
	}
	sets, err := selected(l.catalogue, l.profile, o, l.users)
	if err != nil {
		l.metrics.Refused()
		l.log.Error("waivers and profiles refused; the last good policies stay in force", "error", err.Error())
		return
	}
	l.objects = o
	l.force(sets)
}

// tell logs what is wrong once, not at every look.
func (l *loader) tell(what string, err error) {
	if fmt.Sprint(err) != l.told && err != nil {
		l.log.Error(what, "error", err.Error())
	}
	l.told = fmt.Sprint(err)
}

// gather reads the waivers and profiles that are objects of the cluster, and what is wrong with them.
func (l *loader) gather(c *bundles.Catalogue, p *bundles.Profile) (o objects, wrong []error, err error) {
	waivers, err := l.facts.Objects(webhook.Group, "Waiver", l.namespace)
	if err != nil {
		return o, nil, err
	}
	profiles, err := l.facts.Objects(webhook.Group, "Profile", "")
	if err != nil {
		return o, nil, err
	}
	for _, object := range waivers {
		if w, err := c.WaiverOf(object); err != nil {
			wrong = append(wrong, err)
		} else {
			o.waivers = append(o.waivers, w)
		}
	}
	for _, object := range profiles {
		if t, err := c.TighteningOf(object, p, closedDefaults); err != nil {
			wrong = append(wrong, err)
		} else {
			o.tighter = append(o.tighter, t)
		}
	}
	return o, wrong, nil
}

// ready is why the policies in force are not those that should be; nil where they are.
func (l *loader) ready() error {
	switch {
	case l.sets() == nil:
		return errors.New("no policies are loaded")
	case !l.overlaid.Load():
		return errors.New("the cluster's waivers and profiles are not known yet")
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
			if sub.Namespace != l.namespace {
				return []string{fmt.Sprintf("waivers count in namespace %s only: create it there", l.namespace)}
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			_, err := l.catalogue.WaiverOf(sub.Object)
			return problems(err)
		},
		"Profile": func(sub engine.Subject) []string {
			if why := webhook.DenyCanary(sub); why != "" {
				return []string{why}
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			_, err := l.catalogue.TighteningOf(sub.Object, l.profile, closedDefaults)
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
