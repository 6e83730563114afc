package producer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"proviso.dev/proviso/evidence"
)

// line takes up a record. Those that a signed head covers are what was written, or its root will not be theirs; the others are
// read.
func (r *recovered) line(w *Writer, raw []byte) error {
	if len(r.lines) == evidence.SegmentRecords {
		return fmt.Errorf("a file has %d records, and this is one more", evidence.SegmentRecords)
	}
	digest := evidence.DigestOf(raw)
	leaf := leafOf(digest)
	if r.seq+1 >= r.head.Size || r.seq+1 >= r.state.Size {
		rec := &evidence.Record{}
		if err := evidence.Decode(raw, rec); err != nil {
			return err
		}
		switch {
		case rec.Type != evidence.RecordType:
			return fmt.Errorf("its type is %q: want %s", rec.Type, evidence.RecordType)
		case rec.Producer != w.producer.ID:
			return fmt.Errorf("it was written by %s, and the folder is of %s", rec.Producer, w.producer.ID)
		case rec.Seq != r.seq:
			return fmt.Errorf("it is record %d, and record %d belongs here", rec.Seq, r.seq)
		case rec.Previous != r.previous:
			return errors.New("it does not follow the record before it")
		}
		r.last = rec
	}
	if bytes.Contains(raw, []byte(`,"key":{"next":`)) {
		rec := &evidence.Record{}
		if err := evidence.Decode(raw, rec); err != nil {
			return err
		}
		if rec.Key != nil && rec.Key.Next != "" {
			r.next = rec.Key.Next
		}
	}
	at, err := timeOf(raw)
	if err != nil {
		return err
	}
	if uid := clusterOf(raw); uid != "" {
		r.cluster = uid
	}
	if at.After(r.latest) {
		r.latest = at
	}
	r.all.Add(leaf)
	if r.seq < r.state.Size {
		if r.seq%tileWidth == 0 {
			r.bundle = entries(w.path(evidence.LogDir), r.seq/tileWidth)
		}
		if !holds(r.bundle, r.seq, leaf) {
			return errors.New("the log has another leaf for it: one of them was altered")
		}
		r.tree.Add(leaf)
	} else {
		r.leaves = append(r.leaves, leaf)
		r.tail = append(r.tail, tailed{rec: r.last})
	}
	r.seq, r.previous = r.seq+1, digest
	r.lines = append(r.lines, digest)
	if r.seq == r.head.Size && r.all.Root() != r.head.Root {
		return errors.New("the records up to here are not those that were signed")
	}
	return nil
}

// timeOf reads At from a line without decoding the rest: a member's name cannot be in a string before it, where quotes are
// escaped.
func timeOf(raw []byte) (time.Time, error) {
	const name = `,"at":"`
	_, rest, ok := bytes.Cut(raw, []byte(name))
	text, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed {
		return time.Time{}, errors.New("it has no time")
	}
	return time.Parse(time.RFC3339Nano, string(text))
}

// clusterOf reads from the Open of a run which cluster it was of, as timeOf reads its time; empty is none. What is recorded of
// single items says nothing: a scan may be of several clusters.
func clusterOf(raw []byte) string {
	head, rest, _ := bytes.Cut(raw, []byte(`,"engine":{`))
	if _, part, _ := bytes.Cut(rest, []byte("}")); !bytes.HasPrefix(part, []byte(`,"open":{`)) {
		return ""
	}
	_, text, _ := bytes.Cut(head, []byte(`,"cluster":`))
	var c evidence.Cluster
	if json.Unmarshal(text, &c) != nil {
		return ""
	}
	return c.UID
}
