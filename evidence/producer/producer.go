// Package producer owns the writing of an evidence folder: one writer, whose records are durable before they are acknowledged,
// numbered without a gap, chained, and in a log whose head it signs. What it cannot write it counts and declares. It judges
// nothing and checks nothing for a reader: evidence does that.
//
// Start at [Open].
package producer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// The modes of an admission run: what becomes of a request of which no record can be kept. A scan has none: it waits for
// every record and ends where one cannot be kept.
const (
	// Strict keeps the record before the answer; where it cannot, the request is to be denied.
	Strict = "strict"
	// Blocking waits a bounded time for the record; then the request is answered without, and a Gap says so.
	Blocking = "blocking"
	// Batch answers at once and keeps records every tenth of a second; what is lost is counted, and a Gap says so.
	Batch = "batch"
)

// Signer signs checkpoints: an ECDSA key on P-256, whose signature is ASN.1 over the SHA-256 of the message, or an Ed25519 key.
type Signer interface {
	engine.Signer
	Public() crypto.PublicKey
}

// Options are who writes, what, and how.
type Options struct {
	Signer Signer
	// Kind is scan or admission; Mode is one of the above for admission and empty for a scan.
	Kind, Mode string
	// Wait is how long Blocking waits for a record.
	Wait time.Duration
	// Scope is what is to be judged, as the user named it; Run names the run.
	Scope []string
	Run   string
	// Cluster is the one that everything is judged in. Clusters are all that something is judged in, with no UID where one does
	// not say which it is: a log of one cluster takes no run of another, nor one that may be of another.
	Cluster  *evidence.Cluster
	Clusters []evidence.Cluster
	Engine   evidence.Engine
	// MaxBytes bounds the folder: where it is reached, the disk counts as full. Zero is no bound.
	MaxBytes int64
	// Next makes the log that this one is handed over to, and returns its verifier key. It is called when nobody else can write
	// to this one, and nothing is recorded yet. No other run opens a log that was handed over.
	Next func() (string, error)
	// Heartbeat is the time between two Heartbeats; zero writes none.
	Heartbeat time.Duration
	// Counts says how many requests there were, and how many of them were dry runs. All else is counted by what is recorded.
	Counts func() evidence.Counts
	Now    func() time.Time
	// OnTrouble is told what went wrong and is tried again; it must not call the Writer.
	OnTrouble func(error)
}

// Appended is where a record went: its place in the log, and the digest of its line.
type Appended struct {
	Seq    uint64
	Digest engine.Digest
}

var (
	// ErrUnrecorded says that a request is to be answered without a record: it is counted, and a Gap will say so.
	ErrUnrecorded = errors.New("no record could be kept in time: answer without one, a gap will say so")
	// ErrClosed says that the run has its Close, and takes no more records.
	ErrClosed = errors.New("append: the run is closed")
)

// Writer is the one writer of an evidence folder. Its methods may be called by many at once.
type Writer struct {
	dir      string
	o        Options
	key      *evidence.Key
	producer evidence.Producer
	salt     []byte
	// folder and lock are what one writer has locked: the folder, and the file that tells whose it is.
	folder, lock *os.File
	started      time.Time
	first        uint64
	unclosed     bool

	// quiet is held by what writes records and files beside them, and alone while a seal lists the files.
	quiet sync.RWMutex
	// sealing is held by a seal. It guards read, the digests of files that do not change any more.
	sealing sync.Mutex
	read    map[string]evidence.File
	// listing is called while the files are listed, where a test looks on.
	listing func()

	mu sync.Mutex
	// queue are what is not durable yet, in order; room is closed when some of it was taken, wake told when there is more.
	queue   []*entry
	queued  int
	room    chan struct{}
	wake    chan struct{}
	flush   bool
	closing bool
	stopped bool
	// next is where the next record to be numbered goes, durable what is on disk. They differ in batch mode alone.
	next, durable position
	// lost is what no Gap declares yet, differs what is on record and was answered otherwise, lostAll all that the run lost.
	lost, differs loss
	lostAll       uint64
	fault         error
	fatal         error

	disk      disk
	committed chan struct{}
	log       *log
	beats     sync.WaitGroup
	still     context.CancelFunc
	once      sync.Once
	closeErr  error
}

// position is the end of the records.
type position struct {
	seq      uint64
	previous engine.Digest
	// latest is the latest time any record has.
	latest time.Time
	// counts are what the run's records say.
	counts evidence.Counts
}

// Open makes or opens the evidence folder dir, takes up what an earlier run left there, and starts a run. The folder is
// locked until Close. It refuses a folder of another key or another cluster.
func Open(ctx context.Context, dir string, o Options) (*Writer, error) {
	w, err := open(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("open evidence %s: %w", dir, err)
	}
	return w, nil
}

func open(ctx context.Context, dir string, o Options) (_ *Writer, err error) {
	w, err := take(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	o = w.o
	defer func() {
		if err != nil {
			w.release()
		}
	}()
	r, err := w.recover()
	if err != nil {
		return nil, err
	}
	if err := o.within(r.cluster); err != nil {
		return nil, err
	}
	if err := w.disk.reserve(dir); err != nil {
		return nil, fmt.Errorf("reserve %d bytes for the last records: %w", reserved, err)
	}
	if err := o.handsOver(r.next); err != nil {
		return nil, err
	}
	w.next, w.durable, w.first, w.unclosed = r.position, r.position, r.seq, r.unclosed
	w.log = newLog(w, r)
	go w.commit(r.lines)
	w.started = w.now()
	if _, err = w.Append(ctx, evidence.Record{Open: &evidence.Open{Kind: o.Kind, Mode: o.Mode, Scope: o.Scope, Recovered: r.recovered, Dropped: r.dropped, Unclosed: r.unclosed}}); err == nil && o.Mode == Batch {
		err = w.settle(ctx)
	}
	if err != nil {
		w.halt()
		return nil, err
	}
	if o.Heartbeat > 0 {
		beating, stop := context.WithCancel(context.Background())
		w.still = stop
		w.beats.Go(func() { w.beat(beating) })
	}
	return w, nil
}

func (o *Options) check() error {
	switch {
	case o.Signer == nil:
		return errors.New("no key to sign with")
	case o.Run == "":
		return errors.New("the run has no name")
	case o.Kind == "scan" && o.Mode != "":
		return fmt.Errorf("a scan has no mode, and %q was given", o.Mode)
	case o.Kind == "admission" && o.Mode != Strict && o.Mode != Blocking && o.Mode != Batch:
		return fmt.Errorf("mode %q: want %s, %s or %s", o.Mode, Strict, Blocking, Batch)
	case o.Kind != "scan" && o.Kind != "admission":
		return fmt.Errorf("kind %q: want scan or admission", o.Kind)
	case o.Mode == Blocking && o.Wait <= 0:
		return errors.New("mode blocking needs a time to wait")
	case o.MaxBytes != 0 && o.MaxBytes < 2*reserved:
		return fmt.Errorf("a bound of %d bytes: want at least %d", o.MaxBytes, 2*reserved)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnTrouble == nil {
		o.OnTrouble = func(error) {}
	}
	if o.Counts == nil {
		o.Counts = func() evidence.Counts { return evidence.Counts{} }
	}
	return nil
}

// beat writes Heartbeats until the writer stops.
func (w *Writer) beat(ctx context.Context) {
	tick := time.NewTicker(w.o.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := w.Append(ctx, evidence.Record{Heartbeat: &evidence.Counts{}}); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			w.o.OnTrouble(fmt.Errorf("write heartbeat: %w", err))
		}
	}
}

// Close ends the run with a Close record, unless it has one, has a last checkpoint signed, and stops everything. A reason is
// done, stopped or what went wrong. Where the last records cannot be kept or signed, that is the error; the folder is left
// as it is, and the next Open takes it up.
func (w *Writer) Close(ctx context.Context, reason string) error {
	w.once.Do(func() {
		if w.closeErr = w.end(ctx, reason); w.closeErr != nil {
			w.closeErr = fmt.Errorf("close evidence %s: %w", w.dir, w.closeErr)
		}
	})
	return w.closeErr
}

func (w *Writer) end(ctx context.Context, reason string) error {
	w.still()
	w.beats.Wait()
	if w.o.Mode != Batch {
		w.disk.release()
	}
	_, err := w.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: reason}})
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	w.disk.release()
	if err == nil {
		_, err = w.Checkpoint(ctx)
	}
	return errors.Join(err, w.halt())
}

// halt stops everything without another word.
func (w *Writer) halt() error {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.poke()
	<-w.committed
	w.log.halt()
	return w.release()
}

// release leaves the folder to others.
func (w *Writer) release() error {
	return errors.Join(w.disk.close(), w.lock.Close(), w.folder.Close())
}

// same checks that the folder and its lock are those that this run opened.
func (w *Writer) same() error {
	if err := same(w.folder, w.dir); err != nil {
		return err
	}
	return same(w.lock, w.path(evidence.LockFile))
}

// Salt is what commitments to Secrets' values are made with.
func (w *Writer) Salt() []byte { return w.salt }

// Origin names the log; Key is the public key it is signed by.
func (w *Writer) Origin() string { return w.producer.Origin }

// Key is the public key that signs the log.
func (w *Writer) Key() *evidence.Key { return w.key }

// Unclosed reports whether the run before has no Close, which is a hole for good.
func (w *Writer) Unclosed() bool { return w.unclosed }

// Stats are what is known of a Writer at an instant.
type Stats struct {
	// Records counts those that are durable, Pending those that are not yet, Signed those the newest checkpoint covers.
	Records, Pending, Signed uint64
	// UnsignedAge is how long the oldest durable record has waited for a checkpoint.
	UnsignedAge time.Duration
	// Bytes is the size of the folder, Lost how many requests were answered without a record.
	Bytes int64
	Lost  uint64
	// Trouble is what cannot be done at present; nil is none.
	Trouble error
}

// Stats returns what is known at this instant.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	s := Stats{Records: w.durable.seq, Bytes: w.disk.bytes.Load(), Lost: w.lostAll, Trouble: w.fault}
	for _, e := range w.queue {
		if e.rec != nil {
			s.Pending++
		}
	}
	w.mu.Unlock()
	var trouble error
	s.Signed, s.UnsignedAge, trouble = w.log.state()
	if s.Trouble == nil {
		s.Trouble = trouble
	}
	return s
}

func (w *Writer) now() time.Time { return w.o.Now().Round(0).UTC() }
