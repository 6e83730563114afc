package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// recordedFolder reads the records of a folder by their numbers, a file of them at a time.
type recordedFolder struct {
	dir    string
	fsys   fs.FS
	origin string
	// kept are the files read last, seen which request names a record, by seq; 0 is none.
	kept     map[uint64][]recordedLine
	order    []uint64
	seen     []uint64
	declared map[string]bool
	// torn are the times of runs that answer before a record is durable, and ended without a word.
	torn []span
	last evidence.Record
}

type span struct{ from, until time.Time }

// recordedLine is what is compared of a record.
type recordedLine struct {
	digest                 engine.Digest
	at                     time.Time
	decides, allowed       bool
	event, operation       string
	group, namespace, name string
}

// mostFiles is how many files of records are held at once.
const mostFiles = 16

// each reads a file of records, and returns how many it has.
func (f *recordedFolder) each(segment uint64, do func(*evidence.Record, engine.Digest) error) (n uint64, err error) {
	name := evidence.RecordsFile(segment * evidence.SegmentRecords)
	file, err := f.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for in := bufio.NewReaderSize(file, 256<<10); ; n++ {
		line, err := boundedLine(in)
		if errors.Is(err, io.EOF) {
			return n, nil // what has no end was never acknowledged
		}
		var rec evidence.Record
		if err == nil {
			err = json.Unmarshal(line, &rec)
		}
		if err == nil && rec.Seq != segment*evidence.SegmentRecords+n {
			err = fmt.Errorf("it is record %d", rec.Seq)
		}
		if err == nil {
			err = do(&rec, evidence.DigestOf(line))
		}
		if err != nil {
			return n, fmt.Errorf("%s:%d: %w", filepath.Join(f.dir, name), n+1, err)
		}
	}
}

// lines are what is compared of the records in a file; those read last are held.
func (f *recordedFolder) lines(segment uint64) ([]recordedLine, error) {
	if lines, held := f.kept[segment]; held {
		return lines, nil
	}
	var lines []recordedLine
	_, err := f.each(segment, func(rec *evidence.Record, digest engine.Digest) error {
		l := recordedLine{digest: digest, at: rec.At}
		if d := rec.Decision; d != nil && d.Answer != nil {
			group, _, _ := strings.Cut(d.Subject.APIVersion, "/")
			if group == d.Subject.APIVersion {
				group = ""
			}
			l.decides, l.allowed, l.event, l.operation, l.group, l.namespace, l.name = true, d.Answer.Allowed, d.Event, d.Operation, group, d.Subject.Namespace, d.Subject.Name
		}
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.order) == mostFiles {
		delete(f.kept, f.order[0])
		f.order = f.order[1:]
	}
	f.kept[segment], f.order = lines, append(f.order, segment)
	return lines, nil
}

// ended notes how the last run did, when the next begins or there is none.
func (f *recordedFolder) ended(next time.Time) {
	n := len(f.torn) - 1
	switch {
	case n < 0 || !f.torn[n].until.IsZero():
	case f.last.Close != nil:
		f.torn = f.torn[:n]
	default:
		f.torn[n].until = next
		if next.IsZero() {
			f.torn[n].until = f.last.At.Add(time.Minute)
		}
	}
}

// see notes that a request names a record, and reports whether another one does.
func (f *recordedFolder) see(seq, request uint64) (another bool) {
	if need := int(seq) + 1; need > len(f.seen) {
		f.seen = append(f.seen, make([]uint64, need-len(f.seen))...)
	}
	another = f.seen[seq] != 0 && f.seen[seq] != request
	f.seen[seq] = request
	return another
}

func (f *recordedFolder) saw(seq uint64) bool { return seq < uint64(len(f.seen)) && f.seen[seq] != 0 }
