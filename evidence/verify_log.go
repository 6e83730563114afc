package evidence

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
)

// segment is what a file of records, and the one of inputs beside it, hold.
type segment struct {
	records []line
	// torn and tornInputs say that the last line has no end.
	torn, tornInputs bool
	inputs           []kept
	faults           []Problem
	// panicked is what reading it panicked with.
	panicked any
}

type line struct {
	record *Record
	digest engine.Digest
	number int
}

type kept struct {
	digest engine.Digest
	erased string
}

// segmentOf is the number of a file of records or inputs.
func segmentOf(name string) (n uint64, ok bool) {
	digits := strings.TrimSuffix(path.Base(name), ".jsonl")
	n, err := strconv.ParseUint(digits, 10, 34)
	return n, err == nil && (name == RecordsFile(n*SegmentRecords) || name == InputsFile(n*SegmentRecords))
}

// segments counts what there is to read. The files bound it, whatever a head says; and they follow one another, or what they
// hold is in no log.
func (v *verification) segments() (n uint64) {
	there := func(n uint64) bool {
		return v.files[RecordsFile(n*SegmentRecords)] != nil || v.files[InputsFile(n*SegmentRecords)] != nil || len(v.tiles.files[tile{entries, n * SegmentRecords / tileWidth}]) > 0
	}
	for there(n) {
		n++
	}
	for name := range v.files {
		if at, ok := segmentOf(name); ok && at >= n {
			v.problem(OrderBroken, name, "the file before it is not there")
		}
	}
	return n
}

// readLog reads all records in order.
func (v *verification) readLog() error {
	v.tiles = newTiles(v)
	v.run = &running{verification: v}
	last := v.segments()
	// Segments are read side by side and taken in order.
	next := make(chan chan *segment, runtime.GOMAXPROCS(0))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(next)
		for n := range last {
			one := make(chan *segment, 1)
			select {
			case next <- one:
			case <-stop:
				return
			}
			go func() {
				s := &segment{}
				defer func() { s.panicked = recover(); one <- s }()
				s = v.readSegment(n * SegmentRecords)
			}()
		}
	}()
	first := uint64(0)
	if _, there := v.roots[0]; there {
		v.roots[0] = v.tiles.Root()
	}
	for one := range next {
		s := <-one
		if s.panicked != nil {
			panic(s.panicked) // where callers can see to the exit code
		}
		v.segment(first, s)
		first += SegmentRecords
	}
	v.tiles.end()
	v.run.end()
	return nil
}

// readSegment reads the files of the records from first on. It runs beside others and alters nothing.
func (v *verification) readSegment(first uint64) *segment {
	s := &segment{}
	// What is large is decoded one at a time, however many files are read side by side.
	decode := func(raw []byte, into any) error {
		if len(raw) > largeLine {
			v.large.Lock()
			defer v.large.Unlock()
		}
		return Decode(raw, into)
	}
	s.tornInputs = s.lines(v.fsys, v.files, InputsFile(first), func(raw []byte, number int) error {
		var value struct {
			Digest engine.Digest   `json:"digest"`
			Value  json.RawMessage `json:"value,omitempty"`
			Erased string          `json:"erased,omitempty"`
		}
		if err := decode(raw, &value); err != nil {
			return err
		}
		switch {
		case value.Erased != "" && value.Value != nil:
			return errors.New("the value is there, and is called erased")
		case value.Erased == "" && DigestOf(value.Value) != value.Digest:
			return errors.New("the value has another digest")
		}
		s.inputs = append(s.inputs, kept{value.Digest, value.Erased})
		return nil
	}, InputAltered)
	s.torn = s.lines(v.fsys, v.files, RecordsFile(first), func(raw []byte, number int) error {
		r := &Record{}
		if err := decode(raw, r); err != nil {
			return err
		}
		s.records = append(s.records, line{r, DigestOf(raw), number})
		return nil
	}, RecordAltered)
	return s
}

// lines reads a file line by line and reports whether the last has no end.
func (s *segment) lines(fsys fs.FS, files map[string]fs.FileInfo, name string, each func(raw []byte, number int) error, code string) (torn bool) {
	if files[name] == nil {
		return false
	}
	fault := func(number int, format string, args ...any) {
		s.faults = append(s.faults, Problem{code, fmt.Sprintf("%s:%d", name, number), fmt.Sprintf(format, args...)})
	}
	f, err := fsys.Open(name)
	if err != nil {
		fault(0, "read: %v", err)
		return false
	}
	defer f.Close()
	in := newLines(f)
	in.most = mostOf(name)
	for number := 1; ; number++ {
		raw, err := in.next()
		switch {
		case err == io.EOF:
			return false
		case errors.Is(err, io.ErrUnexpectedEOF):
			return true
		case err != nil:
			fault(number, "read: %v", err)
			return false
		}
		if err := each(raw, number); err != nil {
			fault(number, "%v", err)
		}
	}
}

// largeLine is how many bytes of a line are many.
const largeLine = 256 << 10

// mostOf is how many bytes a line of a file may have.
func mostOf(name string) int {
	if strings.HasPrefix(name, "records/") {
		return MaxRecord
	}
	return MaxLine
}

// boundedLines reads lines of at most so many bytes.
type boundedLines struct {
	in   *bufio.Reader
	long []byte
	most int
}

func newLines(r io.Reader) *boundedLines {
	return &boundedLines{in: bufio.NewReaderSize(r, 256<<10), most: MaxLine}
}

// next is the next line without its end, until next is called again. Its error is io.EOF after the last, and
// io.ErrUnexpectedEOF where that has no end.
func (l *boundedLines) next() ([]byte, error) {
	for l.long = l.long[:0]; ; {
		part, err := l.in.ReadSlice('\n')
		l.long = append(l.long, part...)
		switch {
		case len(l.long) > l.most+1 || len(l.long) > l.most && err != nil:
			return nil, fmt.Errorf("a line is longer than %d bytes", l.most)
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(l.long) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		default:
			return l.long[:len(l.long)-1], nil
		}
	}
}

// segment takes what a segment holds into the log.
func (v *verification) segment(first uint64, s *segment) {
	for _, p := range s.faults {
		v.problem(p.Code, p.Place, "%s", p.Text)
	}
	if s.torn && len(s.records) < SegmentRecords {
		v.torn = RecordsFile(first)
		v.hole(Unsealed, v.torn, "the last line was not written whole: it was never acknowledged")
	} else if s.torn {
		v.problem(RecordAltered, RecordsFile(first), "its last line has no end, and the file was full before it")
	}
	if s.tornInputs && v.files[InputsFile(first+SegmentRecords)] == nil {
		v.hole(Unsealed, InputsFile(first), "the last line was not written whole: no record rests on it")
	} else if s.tornInputs {
		v.problem(InputAltered, InputsFile(first), "its last line has no end, and more inputs follow")
	}
	for _, in := range s.inputs {
		v.known[in.digest] = v.known[in.digest] || in.erased == ""
		if v.exported != nil && in.erased == leftOutText {
			v.exported.inputs++
			v.erased[in.digest] = true
		}
	}
	if size := v.tiles.Size(); len(s.records) > 0 && size < first {
		v.problem(RecordMissing, RecordsFile(size), "the records from seq %d to %d are not there", size, first-1)
	}
	next := 0
	// away is set between records that are not there: the first of them is told.
	away := false
	missing := func(seq uint64, where string) {
		if !away {
			v.problem(RecordMissing, RecordsFile(seq), "the record with seq %d is %s", seq, where)
		}
		away = true
	}
	var leaves [][]byte
	for seq := first; seq < first+SegmentRecords; seq++ {
		var at *line
		if next < len(s.records) && s.records[next].record.Seq == seq {
			at = &s.records[next]
			next++
		}
		if at == nil && seq >= v.Head.Size {
			break
		}
		if seq%tileWidth == 0 && seq < v.Head.Size {
			leaves = v.leaves(seq / tileWidth)
		}
		var leaf []byte
		if i := int(seq % tileWidth); seq < v.Head.Size && i < len(leaves) {
			leaf = leaves[i]
		}
		switch {
		case at != nil:
			sum, err := hex.DecodeString(strings.TrimPrefix(string(at.digest), "sha256:"))
			if err != nil {
				panic(err) // DigestOf made it
			}
			if leaf != nil && !bytes.Equal(leaf, sum) {
				v.problem(RecordAltered, fmt.Sprintf("%s:%d", RecordsFile(seq), at.number), "the record with seq %d is not the one the log has there", seq)
			}
			away = false
			v.run.record(at)
			v.tiles.add(sum)
			v.Records++
		case leaf != nil:
			if v.exported == nil {
				missing(seq, "in the log, and not here")
			}
			v.run.leftOut(seq, engine.Digest("sha256:"+hex.EncodeToString(leaf)))
			v.tiles.add(leaf)
		default:
			missing(seq, "not there")
			v.tiles.add(make([]byte, leafSize))
		}
		if _, wanted := v.roots[v.tiles.Size()]; wanted {
			v.roots[v.tiles.Size()] = v.tiles.Root()
		}
	}
	if next < len(s.records) {
		at := s.records[next]
		v.problem(OrderBroken, fmt.Sprintf("%s:%d", RecordsFile(first), at.number), "the record has seq %d, which is not its place", at.record.Seq)
	}
	if n := v.tiles.Size(); n > v.Head.Size {
		v.Unsigned = n - v.Head.Size
	}
}
