package locked

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// keptSize is how large a file may be to be kept in memory once it was read: no tile and no checkpoint is larger.
const keptSize = 64 << 10

// checking is the checking of one log.
type checking struct {
	*Bucket
	*log
	o evidence.Options
	*evidence.Verified
	// newest is the newest seal whose files are all there; fully and partly count those before it.
	newest, fully, partly int
	// listed are the keys that seals name, seen the files of the newest by their keys.
	listed map[string]bool
	view   *view
	seen   map[string]*viewed

	mu sync.Mutex
	// strays are what no seal lists.
	strays          []string
	done            int
	held            int
	until           time.Time
	problems, holes findings
}

// Verify checks every log under the prefix: each object's lock, and the log as its newest seal lists it, by [evidence.Verify]. What
// it yields ends with an error where the bucket could not be read: that says nothing about the evidence.
func (b *Bucket) Verify(ctx context.Context, o evidence.Options, progress func(id string, done, of int)) iter.Seq2[*evidence.Verified, error] {
	return func(yield func(*evidence.Verified, error) bool) {
		if o.Now.IsZero() {
			yield(nil, errors.New("verify evidence: no time is given to hold locks against"))
			return
		}
		found := false
		for l, err := range b.logs(ctx) {
			if err == nil && !l.ofEvidence() {
				continue
			}
			var v *evidence.Verified
			if err == nil {
				found = true
				v, err = b.check(ctx, l, o, progress)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if !found {
			yield(nil, fmt.Errorf("verify %s: there is no log of evidence under it", b))
		}
	}
}

// ofEvidence tells a log from what else a bucket may hold.
func (l *log) ofEvidence() bool {
	for key := range l.objects {
		if l.id != "" && (strings.HasPrefix(key, evidence.SealsDir+"/") || strings.HasPrefix(key, evidence.ProducerFile+"/")) {
			return true
		}
	}
	return false
}

// Checkpoints are the heads of a log that were copied with its seals, for evidence.Options.Against.
func (b *Bucket) Checkpoints(ctx context.Context, id string) ([][]byte, error) {
	l := &log{id, map[string]*object{}}
	for v, err := range b.list(ctx, id+"/"+evidence.SealsDir+"/") {
		if err != nil {
			return nil, err
		}
		if path.Base(v.key) == evidence.SealCheckpoint {
			l.add(v, v.key)
		}
	}
	var all [][]byte
	for _, key := range slices.Sorted(maps.Keys(l.objects)) {
		o := l.objects[key]
		if len(o.versions) == 0 {
			continue
		}
		raw, err := b.whole(ctx, o.versions[0])
		if err != nil {
			return nil, err
		}
		all = append(all, raw)
	}
	return all, nil
}

func (b *Bucket) check(ctx context.Context, l *log, o evidence.Options, progress func(string, int, int)) (*evidence.Verified, error) {
	c := &checking{Bucket: b, log: l, o: o, Verified: &evidence.Verified{Producer: evidence.Producer{ID: l.id}}, listed: map[string]bool{}, problems: findings{}, holes: findings{}, view: newView(ctx, b), seen: map[string]*viewed{}}
	if err := c.readSeals(ctx); err != nil {
		return nil, err
	}
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, key := range slices.Sorted(maps.Keys(l.objects)) {
		if within.Err() != nil {
			break
		}
		g.Go(func() error {
			err := c.look(within, key, l.objects[key])
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.done++; progress != nil {
				progress(l.id, c.done, len(l.objects))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if n := len(c.strays); n > 0 {
		c.hole(evidence.Unfinished, slices.Min(c.strays), "%d objects, this one among them, are in the list of no seal: a copy was cut off, or somebody else put them there", n)
	}
	if c.newest > 0 {
		v, err := evidence.Verify(c.view, o)
		if c.view.err != nil {
			return nil, c.view.err
		}
		if err != nil {
			return nil, err
		}
		v.Problems = slices.DeleteFunc(v.Problems, func(p evidence.Problem) bool { return p.Code == evidence.FileMissing && withheld(p.Place) })
		c.Verified = v
	}
	c.tell()
	return c.Verified, nil
}

// readSeals reads what the seals list, and settles which is the newest that is here whole.
func (c *checking) readSeals(ctx context.Context) error {
	numbers := map[int]bool{}
	for key, o := range c.objects {
		if n, ok := sealNumber(key); ok && len(o.versions) > 0 {
			numbers[n] = true
		}
	}
	var newest []evidence.File
	whole := map[int]bool{}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		files, all, err := c.readSeal(ctx, n)
		if err != nil {
			return err
		}
		if whole[n] = all; all {
			newest, c.newest = files, n
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		switch {
		case n > c.newest:
			c.hole(evidence.Unfinished, evidence.SealDir(n), "what the seal covers is not all here: a copy was cut off, or objects are gone whose lock has ended (copy again)")
		case n < c.newest && whole[n]:
			c.fully++
		case n < c.newest:
			c.partly++
		}
	}
	if len(numbers) == 0 {
		c.hole(evidence.Unfinished, evidence.SealsDir, "there is no seal: a copy was cut off (copy again)")
	}
	for i := range newest {
		f := &newest[i]
		n := &viewed{version: c.objects[keyOf(f)].versions[0]}
		if err := c.view.put(f.Path, n); err != nil {
			c.problem(evidence.FileAltered, f.Path, "%v", err)
		}
		c.seen[keyOf(f)] = n
	}
	return nil
}

// readSeal is what a seal covers, and the seal, and whether all of it is here.
func (c *checking) readSeal(ctx context.Context, n int) (files []evidence.File, whole bool, err error) {
	dir := evidence.SealDir(n) + "/"
	there := func(key string) bool { return c.objects[key] != nil && len(c.objects[key].versions) > 0 }
	whole = there(dir+evidence.SealStatement) && there(dir+evidence.SealFiles)
	if there(dir + evidence.SealFiles) {
		raw, err := c.whole(ctx, c.objects[dir+evidence.SealFiles].versions[0])
		if err != nil {
			return nil, false, err
		}
		covered, err := parseList(raw)
		if err != nil {
			c.problem(evidence.FileAltered, dir+evidence.SealFiles, "%v", err)
			whole = false
		}
		for _, f := range covered {
			if !withheld(f.Path) {
				files = append(files, f)
			}
		}
	}
	for _, name := range []string{evidence.SealFiles, evidence.SealCheckpoint, evidence.SealPopulation, evidence.SealStatement} {
		if there(dir + name) {
			files = append(files, evidence.File{Path: dir + name})
		}
	}
	for i := range files {
		key := keyOf(&files[i])
		c.listed[key] = true
		whole = whole && there(key)
	}
	return files, whole, nil
}

// look reads an object and asks for its lock. What the newest seal covers is checked later, and read then where it is large.
func (c *checking) look(ctx context.Context, key string, o *object) error {
	if len(o.versions) == 0 {
		return nil // only what hid it is left: its lock has ended, and where a seal needs it that is told
	}
	place := c.id + "/" + key
	if o.hidden {
		c.hole(Hidden, place, "it was deleted: the server keeps it, and who does not ask for versions does not find it")
	}
	first, n := o.versions[0], c.seen[key]
	sum, named := sumOf(key)
	var d engine.Digest
	var err error
	switch {
	case n != nil && first.size > keptSize:
	case n != nil:
		n.kept, err = c.whole(ctx, first)
	default:
		if d, err = c.digest(ctx, first); err == nil && named && string(d) != "sha256:"+sum {
			c.problem(evidence.FileAltered, place, "it is not what its name says")
		}
	}
	if err != nil {
		return err
	}
	_, ofSeal := sealNumber(key)
	switch {
	case c.listed[key]:
		_, l, err := c.head(ctx, first)
		if err != nil {
			return err
		}
		c.lock(place, l)
	case named:
		c.mu.Lock()
		c.strays = append(c.strays, place)
		c.mu.Unlock()
	case !ofSeal:
		c.problem(evidence.FileUnlisted, place, "no seal lists it, and evidence has no such file")
	}
	return c.lookLater(ctx, place, o)
}

// lookLater compares what was put over an object with it.
func (c *checking) lookLater(ctx context.Context, place string, o *object) error {
	if len(o.versions) == 1 {
		return nil
	}
	was, err := c.digest(ctx, o.versions[0])
	for _, v := range o.versions[1:] {
		if err != nil {
			return err
		}
		var d engine.Digest
		if d, err = c.digest(ctx, v); err == nil && d != was {
			c.problem(Overwritten, place, "other bytes were put over it on %s: who does not ask for versions reads those", v.modified.Format(time.RFC3339))
		}
	}
	return err
}

// lock notes how an object is locked.
func (c *checking) lock(place string, l lock) {
	if l.holds(c.o.Now) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.held++; c.until.IsZero() || l.until.Before(c.until) {
			c.until = l.until
		}
		return
	}
	switch l.mode {
	case types.ObjectLockModeCompliance:
		c.hole(Unlocked, place, "its lock ended on %s", l.until.Format(time.RFC3339))
	case types.ObjectLockModeGovernance:
		c.hole(Unlocked, place, "it is locked in GOVERNANCE mode: who has the right can delete it")
	default:
		c.hole(Unlocked, place, "it is not locked, or the credentials lack s3:GetObjectRetention")
	}
}

func (c *checking) problem(code, place, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems.add(evidence.Problem{Code: code, Place: place, Text: fmt.Sprintf(format, args...)})
}

func (c *checking) hole(code, place, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holes.add(evidence.Problem{Code: code, Place: place, Text: fmt.Sprintf(format, args...)})
}

// tell says in words what was checked and what was not.
func (c *checking) tell() {
	c.Problems, c.Holes = append(c.Problems, c.problems.told()...), append(c.Holes, c.holes.told()...)
	if c.held > 0 {
		c.Checked = append(c.Checked, fmt.Sprintf("%d objects in the bucket: %d are locked in COMPLIANCE mode, until %s at least", len(c.objects), c.held, c.until.UTC().Format(time.RFC3339)))
	}
	if c.fully > 0 {
		c.Checked = append(c.Checked, counted(c.fully, "1 earlier seal: every file it lists is in the bucket as it was", "%d earlier seals: every file they list is in the bucket as it was"))
	}
	if c.partly > 0 {
		c.Unchecked = append(c.Unchecked, counted(c.partly, "the files of 1 earlier seal that are not there any more, or never were: the newest covers its records", "the files of %d earlier seals that are not there any more, or never were: the newest covers their records"))
	}
	c.Unchecked = append(c.Unchecked, "the salt, the lock and log/.state, which are never copied", "that no log is missing: nothing says which there should be")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}
