package producer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

const (
	// leaves go into the log when so many wait, or the first has waited so long.
	gatherLeaves = 256
	gatherFor    = 250 * time.Millisecond
	// maxLeaves is how many go into it at once.
	maxLeaves = 4096
	// signEvery is the least time between two checkpoints nobody asked for; a KMS charges for each.
	signEvery = time.Second
	// signWithin is how long a signature may take.
	signWithin = 30 * time.Second
	// A log that cannot be written is tried again after a while, and after twice that each time up to a bound.
	firstBackoff, maxBackoff = 250 * time.Millisecond, 5 * time.Second
	// leafBytes is about what a record takes in the log.
	leafBytes = 32 + 2 + 32
)

// log follows the records: it integrates their digests into the tiles, in order, and signs the head.
type log struct {
	w   *Writer
	dir string
	// tree is what the tiles hold. It is computed from the records, and what Tessera says is held against it.
	tree evidence.Tree
	// swept is how many full bundles of entries have no partial ones any more.
	swept uint64

	mu sync.Mutex
	// pending are leaves that are not in the tiles yet; since is when the first of them came, unsigned when the first did
	// that no checkpoint covers.
	pending         [][]byte
	since, unsigned time.Time
	size            uint64
	signed          uint64
	head            []byte
	signedAt        time.Time
	// asked counts who waits for a checkpoint, want is what the most demanding of them wants it to cover.
	asked int
	want  uint64
	// resting is to be done when all that is in the tiles is signed.
	resting        *resting
	changed        chan struct{}
	trouble, fatal error

	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

func newLog(w *Writer, r *recovered) *log {
	l := &log{w: w, dir: w.path(evidence.LogDir), tree: r.tree, pending: r.leaves, size: r.seq, signed: r.head.Size, head: r.note, changed: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.since, l.unsigned = time.Now(), time.Now()
	l.ctx, l.cancel = context.WithCancel(context.Background())
	go l.follow()
	return l
}

// leafOf is the leaf of a record: the bytes of its digest.
func leafOf(d engine.Digest) []byte {
	leaf, err := hex.DecodeString(string(d)[len("sha256:"):])
	if err != nil {
		panic(fmt.Sprintf("leaf of digest %q: %v", d, err)) // DigestOf wrote it
	}
	return leaf
}

// add hands over the leaves of records that are durable.
func (l *log) add(leaves [][]byte) {
	if len(leaves) == 0 {
		return
	}
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.since = time.Now()
	}
	if l.signed == l.size {
		l.unsigned = time.Now()
	}
	l.pending = append(l.pending, leaves...)
	l.size += uint64(len(leaves))
	l.mu.Unlock()
	l.poke()
}

func (l *log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// follow does what is due until it is halted.
func (l *log) follow() {
	defer close(l.done)
	backoff := firstBackoff
	for l.ctx.Err() == nil {
		wait, err := l.step()
		if err != nil && l.ctx.Err() == nil {
			l.told(err)
			wait, backoff = backoff, min(2*backoff, maxBackoff)
		} else {
			backoff = firstBackoff
		}
		if l.broken() {
			return
		}
		t := time.NewTimer(wait)
		for waiting := true; waiting; {
			select {
			case <-l.ctx.Done():
				waiting = false
			case <-t.C:
				waiting = false
			case <-l.wake:
				waiting = err != nil
			}
		}
		t.Stop()
	}
}

// step does what is due, and returns how long there is nothing to do unless it is woken.
func (l *log) step() (time.Duration, error) {
	l.mu.Lock()
	pending, gathered, asked, signed := len(l.pending), time.Since(l.since), l.asked > 0, l.signed
	age := time.Since(l.signedAt)
	// Under load more always waits to be integrated.
	enough := asked && l.tree.Size() > signed && l.tree.Size() >= l.want && l.trouble == nil
	rest := l.resting
	if rest != nil && l.tree.Size() == signed {
		l.resting = nil
	} else {
		rest = nil
	}
	l.mu.Unlock()
	if err := l.w.same(); errors.Is(err, errReplaced) {
		return 0, &damaged{err.Error()}
	}
	switch {
	case rest != nil:
		rest.done <- rest.do()
		return 0, nil
	case enough:
		return 0, l.sign()
	}
	if pending >= gatherLeaves || pending > 0 && (asked || gathered >= gatherFor) {
		return 0, l.integrate()
	}
	if l.tree.Size() > signed {
		if asked || age >= signEvery {
			return 0, l.sign()
		}
		return min(signEvery-age, gatherFor), l.recovered()
	}
	if pending > 0 {
		return gatherFor - gathered, l.recovered()
	}
	return time.Hour, l.recovered()
}

// recovered notes that nothing is wrong.
func (l *log) recovered() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = nil
	return nil
}

// told notes what went wrong, and tells it once.
func (l *log) told(err error) {
	l.mu.Lock()
	first := l.trouble == nil
	l.trouble = err
	if damage, ok := errors.AsType[*damaged](err); ok {
		l.fatal = damage
		l.change()
	}
	l.mu.Unlock()
	if first {
		l.w.o.OnTrouble(fmt.Errorf("write the evidence log: %w", err))
	}
}

// broken reports whether the log can never follow the records again, and stops the writer then.
func (l *log) broken() bool {
	l.mu.Lock()
	fatal := l.fatal
	l.mu.Unlock()
	if fatal == nil {
		return false
	}
	l.w.mu.Lock()
	l.w.fatal = fmt.Errorf("append: %w", fatal)
	l.w.mu.Unlock()
	return true
}

// change wakes all who wait for a checkpoint.
func (l *log) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// damaged says that the log is not what the records give.
type damaged struct{ text string }

func (d *damaged) Error() string { return d.text }

// integrate puts the leaves that wait into the tiles.
func (l *log) integrate() error {
	// What an earlier attempt left behind may be in there, though it failed.
	if err := l.compare(); err != nil {
		return err
	}
	l.mu.Lock()
	leaves := l.pending[:min(len(l.pending), maxLeaves)]
	l.mu.Unlock()
	if len(leaves) == 0 {
		return nil
	}
	if err := spare(l.dir, len(leaves)); err != nil {
		return err
	}
	first := l.tree.Size()
	if err := extend(l.dir, l.w.producer.Origin, leaves); err != nil {
		return errors.Join(err, cleanLog(l.dir), l.compare())
	}
	if err := l.compare(); err != nil {
		return err
	}
	// The tree's root says nothing of the entries beside it.
	var bundle []byte
	for i, leaf := range leaves {
		seq := first + uint64(i)
		if bundle == nil || seq%tileWidth == 0 {
			bundle = entries(l.dir, seq/tileWidth)
		}
		if !holds(bundle, seq, leaf) {
			return &damaged{fmt.Sprintf("the log's entry %d is not the leaf that was put there; keep the folder as it is, and start a new one", seq)}
		}
	}
	return nil
}

// spare checks that there is room on the disk for so many leaves. Tessera on a full disk complains to standard error, of
// which it knows no owner, and leaves half a file behind.
func spare(dir string, leaves int) error {
	name := filepath.Join(dir, "spare"+unfinished)
	defer os.Remove(name)
	if err := os.WriteFile(name, make([]byte, (leaves/tileWidth+3)*2*tileWidth*(leafBytes/2)+64<<10), 0o600); err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	return nil
}

// compare takes from the leaves that wait those Tessera has integrated, and holds its root against the records'.
func (l *log) compare() error {
	state, err := readState(l.dir)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.tree.Size() < state.Size && len(l.pending) > 0 {
		l.tree.Add(l.pending[0])
		l.pending = l.pending[1:]
	}
	l.since = time.Now()
	if state.Size != l.tree.Size() || state.root() != l.tree.Root() {
		return &damaged{fmt.Sprintf("the log has %d leaves with root %s, and the records give %d with root %s: something else writes to it; keep the folder as it is, and start a new one",
			state.Size, state.root(), l.tree.Size(), l.tree.Root())}
	}
	return nil
}

// sign publishes a checkpoint over all that the tiles hold.
func (l *log) sign() error {
	origin, size := l.w.producer.Origin, l.tree.Size()
	begun := time.Now()
	raw, err := signCheckpoint(l.ctx, l.w.o.Signer, l.w.key, origin, &l.tree)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(l.dir, "checkpoint"), raw, 0o644); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := l.sweep(size / tileWidth); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signed, l.head, l.signedAt, l.unsigned = size, raw, begun, begun
	l.change()
	return nil
}

// await waits until a checkpoint covers size records.
func (l *log) await(ctx context.Context, size uint64) ([]byte, error) {
	l.mu.Lock()
	l.asked++
	l.want = max(l.want, size)
	defer func() {
		l.asked--
		l.mu.Unlock()
	}()
	l.poke()
	for l.signed < size {
		if l.fatal != nil {
			return nil, l.fatal
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
			l.mu.Lock()
		case <-ctx.Done():
			l.mu.Lock()
			return nil, errors.Join(fmt.Errorf("wait for a checkpoint over %d records, %d are signed: %w", size, l.signed, context.Cause(ctx)), l.trouble)
		}
	}
	return l.head, nil
}

// state is what Stats tell.
func (l *log) state() (signed uint64, age time.Duration, trouble error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signed < l.size {
		age = time.Since(l.unsigned)
	}
	return l.signed, age, l.trouble
}

func (l *log) halt() {
	l.cancel()
	<-l.done
}

// Checkpoint waits until a signed checkpoint covers all that was appended before, and returns it.
func (w *Writer) Checkpoint(ctx context.Context) ([]byte, error) {
	if err := w.settle(ctx); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	w.mu.Lock()
	size := w.durable.seq
	w.mu.Unlock()
	raw, err := w.log.await(ctx, size)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return raw, nil
}

// sweep removes the partial tiles below the first n full bundles of entries: readers find the full ones. It stays behind
// what Tessera has integrated, for where a partial one is gone Tessera takes all of a full one that it wrote and did not
// integrate, and appends to that.
func (l *log) sweep(n uint64) error {
	for ; l.swept < n; l.swept++ {
		for level, index := -1, l.swept; ; level, index = level+1, index/tileWidth {
			if err := os.RemoveAll(filepath.Join(l.dir, tilePath(level, index)+".p")); err != nil {
				return fmt.Errorf("remove partial tiles: %w", err)
			}
			if level < 0 {
				index *= tileWidth
			} else if index%tileWidth != tileWidth-1 {
				break
			}
		}
	}
	return nil
}
