package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

const (
	// maxQueue and maxQueued bound what waits to become durable, in entries and in bytes.
	maxQueue  = 8192
	maxQueued = 64 << 20
)

// entry is something that waits to become durable.
type entry struct {
	// rec is nil where values are kept for records to come, or where only everything before it is waited for.
	rec  *evidence.Record
	keep []value
	// declares is what a Gap of the writer's own declares.
	declares *loss
	// line is the record as it is written, once it has its number; end is where the records end after it.
	line   []byte
	digest engine.Digest
	end    position
	size   int
	done   chan error
	// given is set by whoever comes first: the caller who gives up, or the writer who is done.
	given atomic.Bool
}

// give tells the caller how it went, and reports whether it did: not where that was told or nobody waits any more.
func (e *entry) give(err error) bool {
	first := e.given.CompareAndSwap(false, true)
	if first {
		e.done <- err
	}
	return first
}

// decides reports whether somebody waits for an answer.
func (e *entry) decides() bool { return e.rec != nil && e.rec.Decision != nil }

// closes reports whether the run ends with it.
func (e *entry) closes() bool { return e.rec != nil && e.rec.Close != nil }

// value is a line of an inputs file.
type value struct {
	digest engine.Digest
	line   []byte
}

// Append writes a record: its Type, Producer, Seq, Previous, Run, At, Backwards, Engine, and Cluster where it has none, are filled in. What keep
// holds, inputs and values of facts, is stored beside it by the digest of its encoding. Appended is where it went.
//
// Strict, and for scans, an error says that there is no record. Blocking and in batch mode ErrUnrecorded says so, and
// that it was counted.
func (w *Writer) Append(ctx context.Context, rec evidence.Record, keep ...any) (Appended, error) {
	e, err := w.entry(&rec, keep)
	if err != nil {
		return Appended{}, err
	}
	if err := w.pass(ctx, e); err != nil {
		return Appended{}, err
	}
	return Appended{rec.Seq, e.digest}, nil
}

// Enqueue is Append for scans, which write many records in order: it waits for room alone, and what it returns waits until
// the record is durable.
func (w *Writer) Enqueue(ctx context.Context, rec evidence.Record, keep ...any) (durable func() error, err error) {
	e, err := w.entry(&rec, keep)
	if err != nil {
		return nil, err
	}
	if err := w.enqueue(ctx, e, nil); err != nil {
		return nil, err
	}
	return func() error { return w.await(ctx, e, nil) }, nil
}

func (w *Writer) entry(rec *evidence.Record, keep []any) (*entry, error) {
	if n := parts(rec); n != 1 {
		return nil, fmt.Errorf("append: the record has %d parts: want one", n)
	}
	values, err := encodeValues(keep)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	rec.Type, rec.Producer, rec.Run, rec.Engine = evidence.RecordType, w.producer.ID, w.o.Run, w.o.Engine
	if rec.Cluster == nil {
		rec.Cluster = w.o.Cluster
	}
	return &entry{rec: rec, keep: values, done: make(chan error, 1)}, nil
}

// Keep stores values before any record rests on them, so that a scan need not hold all it listed.
func (w *Writer) Keep(ctx context.Context, keep ...any) error {
	values, err := encodeValues(keep)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return w.pass(ctx, &entry{keep: values, done: make(chan error, 1)})
}

// settle waits until all that was appended before is durable.
func (w *Writer) settle(ctx context.Context) error {
	return w.pass(ctx, &entry{done: make(chan error, 1)})
}

// pass sees an entry through the queue. In batch mode nobody waits for a record to be durable, but for the last.
func (w *Writer) pass(ctx context.Context, e *entry) error {
	var late <-chan time.Time
	if w.o.Mode == Blocking && e.decides() {
		t := time.NewTimer(w.o.Wait)
		defer t.Stop()
		late = t.C
	}
	early := w.numbersEarly(e) && !e.closes()
	if err := w.enqueue(ctx, e, late); err != nil || early {
		return err
	}
	return w.await(ctx, e, late)
}

func (w *Writer) await(ctx context.Context, e *entry, late <-chan time.Time) error {
	var gaveUp error
	select {
	case err := <-e.done:
		return err
	case <-late:
		gaveUp = ErrUnrecorded
	case <-ctx.Done():
		gaveUp = fmt.Errorf("append: %w", context.Cause(ctx))
	}
	if !e.given.CompareAndSwap(false, true) {
		return <-e.done
	}
	return gaveUp
}

func encodeValues(keep []any) ([]value, error) {
	values := make([]value, 0, len(keep))
	for _, k := range keep {
		raw, err := evidence.Encode(k)
		if err != nil {
			return nil, err
		}
		digest := evidence.DigestOf(raw)
		line, err := evidence.Encode(evidence.KeptValue{Digest: digest, Value: json.RawMessage(raw)})
		if err != nil {
			return nil, err
		}
		if len(line) > evidence.MaxLine {
			return nil, fmt.Errorf("a value to be kept has %d bytes: at most %d can be read again", len(line), evidence.MaxLine)
		}
		values = append(values, value{digest, append(line, '\n')})
	}
	return values, nil
}

// parts counts what a record says.
func parts(r *evidence.Record) (n int) {
	for _, there := range []bool{r.Open != nil, r.Heartbeat != nil, r.Close != nil, r.Activation != nil, r.Population != nil, r.Decision != nil, r.Hole != nil, r.Gap != nil,
		r.Key != nil, r.Change != nil, r.Erasure != nil} {
		if there {
			n++
		}
	}
	return n
}

// enqueue puts an entry in the queue, once there is room.
func (w *Writer) enqueue(ctx context.Context, e *entry, late <-chan time.Time) error {
	for _, v := range e.keep {
		e.size += len(v.line)
	}
	for {
		w.mu.Lock()
		switch {
		case w.fatal != nil:
			defer w.mu.Unlock()
			return w.fatal
		case w.closing && e.rec != nil:
			w.mu.Unlock()
			return ErrClosed
		case len(w.queue) < maxQueue && w.queued < maxQueued || w.numbersEarly(e) && e.closes():
			err := w.put(e)
			w.mu.Unlock()
			w.poke()
			return err
		case w.numbersEarly(e) && !e.closes():
			w.lose(e)
			w.mu.Unlock()
			return ErrUnrecorded
		}
		room := w.room
		w.mu.Unlock()
		var err error
		select {
		case <-room:
			continue
		case <-late:
			err = ErrUnrecorded
		case <-ctx.Done():
			err = fmt.Errorf("append: %w", context.Cause(ctx))
		}
		w.mu.Lock()
		w.lose(e)
		w.mu.Unlock()
		return err
	}
}

// numbersEarly reports whether a record gets its number when it is put in the queue, for its caller does not wait.
func (w *Writer) numbersEarly(e *entry) bool { return w.o.Mode == Batch && e.rec != nil }

// put is the end of enqueue, with the lock held.
func (w *Writer) put(e *entry) error {
	if w.numbersEarly(e) {
		for _, gap := range w.gaps() {
			if err := w.number(gap, &w.next); err != nil {
				return err
			}
			w.queue, w.queued = append(w.queue, gap), w.queued+gap.size
			gap.declares.declared(gap.rec.Gap)
		}
		if err := w.number(e, &w.next); err != nil {
			return err
		}
	}
	w.closing = w.closing || e.closes()
	w.flush = w.flush || e.rec == nil || e.closes()
	w.queue, w.queued = append(w.queue, e), w.queued+e.size
	return nil
}

// number gives a record its place, and writes its line.
func (w *Writer) number(e *entry, at *position) error {
	r := e.rec
	r.Seq, r.Previous, r.At = at.seq, at.previous, w.now()
	r.Backwards = r.At.Before(at.latest)
	switch counts := w.soFar(at.counts); {
	case r.Heartbeat != nil:
		r.Heartbeat = &counts
	case r.Close != nil:
		r.Close = &evidence.Close{Reason: r.Close.Reason, Counts: counts}
	}
	line, err := evidence.Encode(r)
	if err != nil {
		return err
	}
	if err := evidence.Readable(line); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	e.digest = evidence.DigestOf(line)
	e.size += len(line) + 1 - len(e.line)
	e.line = append(line, '\n')
	at.seq, at.previous = r.Seq+1, e.digest
	if !r.Backwards {
		at.latest = r.At
	}
	at.count(r)
	e.end = *at
	return nil
}

// soFar completes the counts of what is recorded by what is not.
func (w *Writer) soFar(c evidence.Counts) evidence.Counts {
	asked := w.o.Counts()
	c.Requests, c.DryRuns, c.Lost = asked.Requests, asked.DryRuns, w.lostAll
	return c
}

// count counts what a record says.
func (at *position) count(r *evidence.Record) {
	c := &at.counts
	if r.Hole != nil {
		c.Holes++
	}
	if r.Decision != nil {
		c.Add(r.Decision)
	}
}

// poke tells the committing goroutine that there is something to do.
func (w *Writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }
