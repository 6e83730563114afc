package producer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// recovered is what an earlier run left.
type recovered struct {
	position
	// tree is what the log's tiles hold, leaves those of the records after them.
	tree   evidence.Tree
	leaves [][]byte
	// head is the log's signed head, note as it was signed.
	head evidence.Checkpoint
	note []byte
	// lines are the digests of the records in the newest file.
	lines []engine.Digest
	// recovered counts the records after the head, dropped the bytes of a torn end; unclosed is whether the last run has no Close.
	recovered uint64
	dropped   int64
	unclosed  bool
	// cluster is the UID of the one that was named last.
	cluster string
	// next is the verifier key of the log that this one was handed over to.
	next string

	// all is the tree over all records, state what Tessera says of its own, bundle the entries it has for the records being
	// read; last is the last record, tail those after the log's.
	all    evidence.Tree
	state  *treeState
	bundle []byte
	last   *evidence.Record
	tail   []tailed
}

// tailed is a record that the log does not hold yet.
type tailed struct {
	rec  *evidence.Record
	size int64
}

// recover reads what is there, drops what was never acknowledged, and refuses what it cannot go on from.
func (w *Writer) recover() (*recovered, error) {
	if err := w.clean(); err != nil {
		return nil, err
	}
	r := &recovered{}
	var err error
	if r.note, err = os.ReadFile(w.path(evidence.CheckpointFile)); err != nil {
		return nil, err
	}
	if r.head, err = evidence.OpenCheckpoint(r.note, w.key, w.producer.Origin); err != nil {
		return nil, fmt.Errorf("refuse to continue: %s: %w", evidence.CheckpointFile, err)
	}
	if r.state, err = readState(w.path(evidence.LogDir)); err != nil {
		return nil, fmt.Errorf("refuse to continue: %w", err)
	}
	segments, err := w.segments()
	if err != nil {
		return nil, fmt.Errorf("refuse to continue: %w", err)
	}
	for n := range segments {
		name := evidence.RecordsFile(n * evidence.SegmentRecords)
		if err := r.read(w, name, n+1 == segments); err != nil {
			return nil, fmt.Errorf("refuse to continue: %w", err)
		}
	}
	if lost, err := w.torn(r); err != nil {
		return nil, err
	} else if len(lost) > 0 {
		return w.forget(r, lost)
	}
	if err := r.compare(); err != nil {
		return nil, fmt.Errorf("refuse to continue: %w", err)
	}
	r.recovered = r.seq - r.head.Size
	r.unclosed = r.last != nil && r.last.Close == nil
	return r, w.sync(r)
}

// sync makes durable what was taken up: a process that is killed leaves in memory what it had not synced.
func (w *Writer) sync(r *recovered) error {
	for _, name := range []string{evidence.RecordsFile(max(r.seq, 1) - 1), "records", "inputs", "."} {
		f, err := os.Open(w.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = f.Sync()
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget takes records from the end, and reads the folder again.
func (w *Writer) forget(r *recovered, lost []tailed) (*recovered, error) {
	cut := map[string]int64{}
	for _, t := range lost {
		cut[evidence.RecordsFile(t.rec.Seq)] += t.size
	}
	for name, n := range cut {
		info, err := os.Stat(w.path(name))
		if err == nil && info.Size() == n {
			err = os.Remove(w.path(name))
		} else if err == nil {
			err = os.Truncate(w.path(name), info.Size()-n)
		}
		if err != nil {
			return nil, err
		}
		r.dropped += n
	}
	again, err := w.recover()
	if err == nil {
		again.dropped += r.dropped
	}
	return again, err
}

// segments counts the files of records; there must be no gap between them.
func (w *Writer) segments() (uint64, error) {
	found, err := os.ReadDir(w.path("records"))
	if err != nil {
		return 0, err
	}
	for n, f := range found {
		if want := evidence.RecordsFile(uint64(n) * evidence.SegmentRecords); "records/"+f.Name() != want {
			return 0, fmt.Errorf("records/%s: want %s there", f.Name(), want)
		}
	}
	return uint64(len(found)), nil
}

// read takes up a file of records. Only the last may end in what is no whole line.
func (r *recovered) read(w *Writer, name string, last bool) error {
	f, err := os.OpenFile(w.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	r.lines = nil
	in := bufio.NewReaderSize(f, 256<<10)
	size := int64(0)
	for n := 1; ; n++ {
		raw, err := in.ReadBytes('\n')
		if err == io.EOF && len(raw) == 0 {
			break
		}
		if err != nil && err != io.EOF {
			return err
		}
		// Pages that were never written are zeros, and no line has one.
		if torn := err == io.EOF || bytes.IndexByte(raw, 0) >= 0; torn {
			if !last {
				return fmt.Errorf("%s:%d: it is cut off, and more records follow", name, n)
			}
			return r.cut(f, size)
		}
		if err := r.line(w, bytes.TrimSuffix(raw, []byte("\n"))); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		size += int64(len(raw))
		if r.seq > r.state.Size {
			r.tail[len(r.tail)-1].size = int64(len(raw))
		}
	}
	if !last && len(r.lines) != evidence.SegmentRecords {
		return fmt.Errorf("%s: it has %d records, and more follow elsewhere: want %d", name, len(r.lines), evidence.SegmentRecords)
	}
	return nil
}

// cut takes the torn end from a file.
func (r *recovered) cut(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r.dropped += info.Size() - size
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// compare holds the records against the log.
func (r *recovered) compare() error {
	if most := max(r.head.Size, r.state.Size); r.seq < most {
		return fmt.Errorf("there are %d records, and the log speaks of %d: an older copy of the records was put back, or their end was lost; keep the folder as it is for whoever looks into it, and start a new one", r.seq, most)
	}
	if r.tree.Root() != r.state.root() {
		return fmt.Errorf("the tree of the log's %d leaves is not that of the records; keep the folder as it is, and start a new one", r.state.Size)
	}
	return nil
}

// torn takes a torn end from the newest file of inputs, and returns the records that rest on what is lost: none of them was
// acknowledged, for inputs are durable first.
func (w *Writer) torn(r *recovered) ([]tailed, error) {
	names, err := w.inputs()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	f, err := os.OpenFile(w.path(names[0]), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int64(0)
	for in := bufio.NewReaderSize(f, 256<<10); ; {
		raw, err := in.ReadBytes('\n')
		if err == io.EOF && len(raw) == 0 {
			return nil, f.Sync()
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err == io.EOF || bytes.IndexByte(raw, 0) >= 0 {
			break
		}
		size += int64(len(raw))
	}
	if err := r.cut(f, size); err != nil {
		return nil, err
	}
	return w.unrest(r, names)
}

// inputs are the files of inputs, newest first.
func (w *Writer) inputs() ([]string, error) {
	found, err := os.ReadDir(w.path("inputs"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		names = append(names, "inputs/"+f.Name())
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// unrest finds the records at the end, after those in the log, from the first on whose input or fact is kept nowhere.
func (w *Writer) unrest(r *recovered, names []string) ([]tailed, error) {
	missing := map[engine.Digest]bool{}
	for _, t := range r.tail {
		for _, d := range restsOn(t.rec) {
			missing[d] = true
		}
	}
	for _, name := range names {
		if len(missing) == 0 {
			return nil, nil
		}
		if err := eachLine(w.path(name), func(line []byte) {
			if digest, _, ok := cutDigest(line); ok {
				delete(missing, engine.Digest(digest))
			}
		}); err != nil {
			return nil, err
		}
	}
	for i, t := range r.tail {
		if slices.ContainsFunc(restsOn(t.rec), func(d engine.Digest) bool { return missing[d] }) {
			return r.tail[i:], nil
		}
	}
	return nil, nil
}

// restsOn are the digests of what a record needs kept.
func restsOn(rec *evidence.Record) []engine.Digest {
	if rec.Decision == nil {
		return nil
	}
	all := []engine.Digest{rec.Decision.Input}
	for i := range rec.Decision.Facts {
		if value := rec.Decision.Facts[i].Value; value != "" {
			all = append(all, value)
		}
	}
	return all
}

func eachLine(path string, each func([]byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for in := bufio.NewReaderSize(f, 256<<10); ; {
		raw, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		each(raw)
	}
}
