package producer

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

const (
	// maxGroup and maxGroupBytes are how much becomes durable at once; on a disk that fills up, what fits gets there.
	maxGroup      = 1024
	maxGroupBytes = 1 << 20
	// batchEvery is how long batch mode gathers records.
	batchEvery = 100 * time.Millisecond
	// retryEvery is how long a write that failed waits to be tried again.
	retryEvery = 100 * time.Millisecond
	// maxKnown is how many digests of values are remembered as kept, twice over.
	maxKnown = 1 << 16
)

// wal is the files being appended to, and what is known of them.
type wal struct {
	records, inputs *file
	// segment is which of the files they are; lines are the digests of the records in it.
	segment uint64
	lines   []engine.Digest
	// known are values that are kept, forgotten: those kept before, soon to be forgotten.
	known, older map[engine.Digest]bool
}

var errDamaged = errors.New("it is not what was written: the disk altered what was durable; keep the folder as it is, and start a new one")

// commit makes durable what is in the queue, group by group, until the writer stops. Lines
// are the digests of the records that are in the file it appends to.
func (w *Writer) commit(lines []engine.Digest) {
	defer close(w.committed)
	files := wal{lines: lines, segment: w.durable.seq / evidence.SegmentRecords, known: map[engine.Digest]bool{}}
	defer files.close()
	for {
		group := w.take()
		if group == nil {
			return
		}
		w.quiet.RLock()
		end, err := w.store(&files, group)
		done := w.settled(group, end, err)
		w.quiet.RUnlock()
		if !done {
			time.Sleep(retryEvery)
		}
	}
}

// take takes the next group from the queue. It waits for one, and returns nil once the writer has stopped.
func (w *Writer) take() []*entry {
	gathered := false
	for {
		w.mu.Lock()
		switch {
		case len(w.queue) > 0 && (w.o.Mode != Batch || gathered || w.flush || w.stopped || w.queued > maxQueued/2):
			group := w.cut()
			w.mu.Unlock()
			return group
		case len(w.queue) == 0 && w.stopped:
			w.mu.Unlock()
			return nil
		}
		waiting := len(w.queue) > 0
		w.mu.Unlock()
		if waiting {
			t := time.NewTimer(batchEvery)
			for !gathered {
				select {
				case <-t.C:
					gathered = true
				case <-w.wake:
					w.mu.Lock()
					gathered = w.flush || w.stopped || w.queued > maxQueued/2
					w.mu.Unlock()
				}
			}
			t.Stop()
			continue
		}
		<-w.wake
	}
}

// cut takes from the queue what goes into one pair of files at once. What callers gave up is lost here; Gaps that are due
// come first.
func (w *Writer) cut() []*entry {
	waiting := w.queue[:0]
	for _, e := range w.queue {
		if !w.numbersEarly(e) && e.given.Load() {
			w.queued -= e.size
			w.lose(e)
			w.closing = w.closing && !e.closes()
			continue
		}
		waiting = append(waiting, e)
	}
	clear(w.queue[len(waiting):])
	room := evidence.SegmentRecords - w.durable.seq%evidence.SegmentRecords
	group := []*entry{}
	if w.o.Mode != Batch {
		gaps := w.gaps()
		group = append(group, gaps[:min(uint64(len(gaps)), room)]...)
		room -= uint64(len(group))
	}
	n, size := 0, 0
	for _, e := range waiting {
		// A Close stands alone, for what must be declared of those before it is known when they are settled.
		if e.rec != nil && room == 0 || n == maxGroup || n > 0 && (size+e.size > maxGroupBytes || e.closes()) {
			break
		}
		if e.rec != nil {
			room--
		}
		group = append(group, e)
		n, size = n+1, size+e.size
	}
	w.queue, w.queued = waiting[n:], w.queued-size
	if len(w.queue) == 0 {
		w.queue, w.flush = nil, false
	}
	close(w.room)
	w.room = make(chan struct{})
	return group
}

// store writes a group: what records rest on first, then the records. It returns the end of the records.
func (w *Writer) store(f *wal, group []*entry) (position, error) {
	end := w.durable
	if err := f.same(w); err != nil {
		return end, err // before a record is there that nobody is told of
	}
	var inputs, records []byte
	var values, lines []engine.Digest
	fresh := map[engine.Digest]bool{}
	for _, e := range group {
		for _, v := range e.keep {
			if !f.keeps(v.digest) && !fresh[v.digest] {
				fresh[v.digest] = true
				inputs, values = append(inputs, v.line...), append(values, v.digest)
			}
		}
		if e.rec == nil {
			continue
		}
		if w.o.Mode != Batch {
			w.mu.Lock()
			err := w.number(e, &end)
			w.mu.Unlock()
			if err != nil {
				e.line = nil
				e.give(err)
				continue
			}
		}
		end = e.end
		records, lines = append(records, e.line...), append(lines, e.digest)
	}
	more := len(inputs) + len(records) + len(lines)*leafBytes
	if w.o.MaxBytes > 0 && !w.disk.fits(more, w.o.MaxBytes) {
		return end, errFull
	}
	if err := f.turn(w, w.durable.seq/evidence.SegmentRecords); err != nil {
		return end, err
	}
	if err := f.inputs.append(inputs); err != nil {
		return end, err
	}
	for _, d := range values {
		f.keep(d)
	}
	if err := f.records.append(records); err != nil {
		return end, err
	}
	f.lines = append(f.lines, lines...)
	w.disk.bytes.Add(int64(more))
	return end, f.same(w)
}

// turn opens the files of a segment.
func (f *wal) turn(w *Writer, segment uint64) (err error) {
	if f.segment != segment {
		f.close()
		f.segment, f.records, f.inputs, f.lines = segment, nil, nil, nil
	}
	if f.records == nil {
		f.records, err = openFile(w.path(evidence.RecordsFile(segment*evidence.SegmentRecords)), func(line []byte, n int) error {
			if n >= len(f.lines) || evidence.DigestOf(line) != f.lines[n] {
				return errDamaged
			}
			return nil
		}, w.o.OnTrouble)
	}
	if err == nil && f.inputs == nil {
		f.inputs, err = openFile(w.path(evidence.InputsFile(segment*evidence.SegmentRecords)), checkValue, w.o.OnTrouble)
	}
	return err
}

// same checks that the files being appended to are those of the folder, and that it is the folder.
func (f *wal) same(w *Writer) error {
	err := w.same()
	for _, a := range []*file{f.records, f.inputs} {
		if err == nil && a != nil && a.f != nil {
			err = same(a.f, a.path)
		}
	}
	return err
}

func (f *wal) close() {
	f.records.close()
	f.inputs.close()
}

// checkValue checks a line of an inputs file that nobody erased.
func checkValue(line []byte, _ int) error {
	digest, rest, ok := cutDigest(line)
	if !ok || bytes.HasPrefix(rest, []byte(`,"value":`)) && string(evidence.DigestOf(bytes.TrimSuffix(rest[len(`,"value":`):], []byte("}")))) != digest {
		return errDamaged
	}
	return nil
}

// cutDigest reads the beginning of a line of an inputs file.
func cutDigest(line []byte) (digest string, rest []byte, ok bool) {
	const begin, length = `{"digest":"`, len("sha256:") + 64
	rest, ok = bytes.CutPrefix(line, []byte(begin))
	if !ok || len(rest) <= length || rest[length] != '"' {
		return "", nil, false
	}
	return string(rest[:length]), rest[length+1:], true
}

// keeps reports whether a value is known to be kept.
func (f *wal) keeps(d engine.Digest) bool { return f.known[d] || f.older[d] }

// keep notes that a value is kept. What was not written for long is forgotten, and would be kept again.
func (f *wal) keep(d engine.Digest) {
	if len(f.known) >= maxKnown {
		f.known, f.older = map[engine.Digest]bool{}, f.known
	}
	f.known[d] = true
}

// settled tells the callers of a group how it went, and reports whether nothing of it is to be tried again.
func (w *Writer) settled(group []*entry, end position, err error) bool {
	if err != nil {
		return w.failed(group, err)
	}
	var leaves [][]byte
	w.mu.Lock()
	w.fault = nil
	w.durable = end
	if w.o.Mode != Batch {
		w.next = end
	}
	for _, e := range group {
		if e.line == nil {
			continue
		}
		if e.declares != nil && w.o.Mode != Batch {
			e.declares.declared(e.rec.Gap)
		}
		leaves = append(leaves, leafOf(e.digest))
	}
	w.mu.Unlock()
	w.log.add(leaves)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range group {
		if !e.give(nil) && e.line != nil {
			w.differ(e)
		}
	}
	return true
}

// failed is settled where nothing of the group could be written.
func (w *Writer) failed(group []*entry, err error) bool {
	w.mu.Lock()
	first := w.fault == nil
	w.fault = err
	if errors.Is(err, errDamaged) || errors.Is(err, errReplaced) {
		w.fatal = fmt.Errorf("append: %w", err)
	}
	var back []*entry
	for _, e := range group {
		again := !w.stopped && w.fatal == nil && (w.o.Mode == Batch || w.o.Mode == Blocking && !e.given.Load())
		switch {
		case e.declares != nil && w.o.Mode != Batch:
			// It is made anew, with what is lost until then.
		case again:
			back = append(back, e)
		default:
			w.lose(e)
			w.closing = w.closing && !e.closes()
			e.give(fmt.Errorf("append: %w", err))
		}
	}
	for _, e := range back {
		w.queued += e.size
	}
	w.queue = append(back, w.queue...)
	if w.closing && w.o.Mode == Batch && len(w.queue) > 0 {
		w.drop()
	}
	w.mu.Unlock()
	if first {
		w.o.OnTrouble(fmt.Errorf("write evidence: %w", err))
	}
	return len(back) == 0
}

// drop gives up in batch mode what could not be written by the end. The reserve is for the Gap and the Close.
func (w *Writer) drop() {
	w.disk.release()
	var end *entry
	for _, e := range w.queue {
		if e.closes() {
			end = e
			continue
		}
		if e.declares != nil {
			e.declares.undeclared(e.rec.Gap)
		}
		w.lose(e)
		e.give(ErrUnrecorded)
	}
	w.queue, w.queued, w.next = nil, 0, w.durable
	if end != nil {
		if err := w.put(end); err != nil {
			end.give(err)
		}
	}
}
