package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// selection is which records and values an export holds.
type selection struct {
	records []bool
	// needed are the digests of the values that the records rest on, and whether they were judged themselves.
	needed map[engine.Digest]bool
	// objects are those they rest on.
	objects map[engine.Digest]bool
	// activations are those that were in force in the period.
	activations []Activation
	// all is set where no record is left out.
	all bool
}

// choose reads all records up to the head and settles which are exported. Beside those in the period, a record is there
// where others could not be understood without it: what opened their run and put their policies into force, keys, gaps that
// reach into the period, erasures. And where the period alone decides, the records on both sides of each of its ends are there,
// for they show that none of it is missing.
func (e *exporting) choose() error {
	e.records = make([]bool, e.m.Head.Size)
	e.needed, e.objects = map[engine.Digest]bool{}, map[engine.Digest]bool{}
	var tree Tree
	var frame []*Kept // what later records of the run need
	var force forces
	last, was, some := (*Kept)(nil), beforePeriod, false
	edges := e.o.Namespace == ""
	take := func(k *Kept) {
		for _, k := range append(frame, k) {
			if !e.records[k.Seq] {
				e.records[k.Seq] = true
				e.rests(&k.Record)
			}
		}
	}
	for k, err := range e.folder.Records() {
		if err = errors.Join(err, e.ctx.Err()); err != nil {
			return err
		}
		if k.Seq >= e.m.Head.Size {
			e.m.Unsigned++
			continue
		}
		if k.Seq != tree.Size() {
			return fmt.Errorf("record %d is not in its place (proviso evidence verify says more)", k.Seq)
		}
		sum, err := hex.DecodeString(strings.TrimPrefix(string(k.Digest), "sha256:"))
		if err != nil {
			return err
		}
		tree.Add(sum)
		k.Line = nil
		side := e.o.side(k.At)
		crosses := edges && side != was
		if crosses && last != nil {
			take(last)
		}
		if k.Open != nil {
			frame = nil
		}
		if k.Open != nil || k.Activation != nil || k.Population != nil {
			frame = append(frame, k)
		}
		force.record(&k.Record, side == inPeriod)
		mine := e.o.Namespace == "" || k.Decision != nil && inNamespace(&k.Decision.Subject, e.o.Namespace)
		wanted := side == inPeriod && (mine || k.Decision == nil)
		forced := k.Key != nil || k.Erasure != nil || k.Gap != nil && (e.o.Until.IsZero() || k.Gap.From.Before(e.o.Until)) && !k.Gap.Until.Before(e.o.From)
		if wanted || forced || crosses {
			take(k)
		}
		last, was, some = k, side, some || mine && (wanted || forced)
	}
	if edges && was != afterPeriod && last != nil {
		take(last)
	}
	e.activations = force.told
	if tree.Size() != e.m.Head.Size || tree.Root() != e.m.Head.Root {
		return fmt.Errorf("the records are not those that the head of %d speaks of (proviso evidence verify says more)", e.m.Head.Size)
	}
	e.all = !slices.Contains(e.records, false)
	for seq, there := range e.records {
		switch {
		case !there:
			e.m.LeftOut++
		case seq > 0 && e.records[seq-1]:
			e.m.Included[len(e.m.Included)-1].Last++
		default:
			e.m.Included = append(e.m.Included, Range{uint64(seq), uint64(seq)})
		}
	}
	e.m.Records = e.m.Head.Size - e.m.LeftOut
	switch {
	case some:
	case e.o.Namespace != "":
		return fmt.Errorf("no record is within the filter: it has no decision about the namespace %s (proviso evidence show lists what was judged)", e.o.Namespace)
	default:
		return errors.New("no record is within the filter")
	}
	return e.countTorn()
}

// countTorn counts the lines that were not written whole: nobody was told that they were kept, and they are not exported.
func (e *exporting) countTorn() error {
	for _, pattern := range []string{"records/*.jsonl", "inputs/*.jsonl"} {
		names, err := fs.Glob(e.fsys, pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			torn, err := endsTorn(e.fsys, name)
			if err != nil {
				return err
			}
			if torn {
				e.m.Unsigned++
			}
		}
	}
	return nil
}

// endsTorn reports whether the last line of a file has no end.
func endsTorn(fsys fs.FS, name string) (bool, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return false, fmt.Errorf("%s cannot be read at a place", name)
	}
	end := make([]byte, 1)
	_, err = at.ReadAt(end, info.Size()-1)
	return err == nil && end[0] != '\n', err
}

// rests notes what a record rests on.
func (e *exporting) rests(r *Record) {
	switch {
	case r.Activation != nil:
		e.objects[r.Activation.Pack] = true
	case r.Population != nil && e.o.Namespace == "":
		e.objects[r.Population.List] = true
	case r.Decision != nil:
		e.needed[r.Decision.Input] = true
		for i := range r.Decision.Facts {
			d := r.Decision.Facts[i].Value
			if _, known := e.needed[d]; !known && d != "" {
				e.needed[d] = false
			}
		}
	}
}

// putEvidence writes the part of the folder that is exported, in the folder's own layout.
func (e *exporting) putEvidence() error {
	for _, name := range []string{ProducerFile, KeyFile, TrustedRootFile} {
		if err := e.from(path.Join(ExportDir, name), name, -1); err != nil {
			return err
		}
	}
	if err := e.writtenBytes(path.Join(ExportDir, CheckpointFile), e.checkpoint); err != nil {
		return err
	}
	for at, width := range tilesOf(e.m.Head.Size) {
		name, each := at.path(width), int64(32)
		if at.level == entries {
			each = leafSize + 2
		}
		from, err := widest(e.fsys, at, width)
		if err == nil {
			err = e.from(path.Join(ExportDir, name), from, int64(width)*each)
		}
		if err != nil {
			return err
		}
	}
	seals, err := fs.Glob(e.fsys, SealsDir+"/*/*")
	if err != nil {
		return err
	}
	for _, name := range seals {
		if !Placed(name) {
			continue
		}
		if path.Base(name) == SealStatement {
			e.m.Seals++
		}
		if err := e.from(path.Join(ExportDir, name), name, -1); err != nil {
			return err
		}
	}
	for d := range e.objects {
		if err := e.from(path.Join(ExportDir, ObjectFile(d)), ObjectFile(d), -1); err != nil {
			return err
		}
	}
	for first := uint64(0); first < e.m.Head.Size; first += SegmentRecords {
		if err := e.putRecords(first); err != nil {
			return err
		}
	}
	inputs, err := fs.Glob(e.fsys, "inputs/*.jsonl")
	if err != nil {
		return err
	}
	for _, name := range inputs {
		if err := e.putInputs(name); err != nil {
			return err
		}
	}
	return nil
}

// widest is the file of a tile that has at least width entries.
func widest(fsys fs.FS, at tile, width int) (string, error) {
	for _, w := range []int{width, tileWidth} {
		if _, err := fs.Stat(fsys, at.path(w)); err == nil {
			return at.path(w), nil
		}
	}
	for w := width + 1; w < tileWidth; w++ {
		if _, err := fs.Stat(fsys, at.path(w)); err == nil {
			return at.path(w), nil
		}
	}
	return "", fmt.Errorf("%s is not there (proviso evidence verify says more)", at.path(width))
}

// putRecords writes the records of one file that are exported.
func (e *exporting) putRecords(first uint64) error {
	name := RecordsFile(first)
	until := min(first+SegmentRecords, e.m.Head.Size)
	if !slices.Contains(e.records[first:until], true) {
		return nil
	}
	return e.written(path.Join(ExportDir, name), func(w io.Writer) error {
		return eachLine(e.fsys, name, func(raw []byte, _ int64, number int) error {
			seq := first + uint64(number) - 1
			if seq >= until || !e.records[seq] {
				return nil
			}
			_, err := w.Write(append(raw, '\n'))
			return err
		})
	})
}

// whole reports whether nothing of the folder is left out.
func (e *exporting) whole() bool { return e.all && !e.o.WithoutInputs && e.o.Namespace == "" }

// leftOutText stands in place of a value that an export leaves out.
const leftOutText = "left out of the export"

// putInputs writes the values of one file that the exported records rest on.
func (e *exporting) putInputs(name string) error {
	to := path.Join(ExportDir, name)
	return e.written(to, func(w io.Writer) error {
		return eachLine(e.fsys, name, func(raw []byte, _ int64, number int) error {
			kept, err := parseKept(raw)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", name, number, err)
			}
			judged, needed := e.needed[kept.Digest]
			switch {
			case !needed && !e.whole():
				return nil
			case kept.Erased != "":
			case e.o.WithoutInputs, e.o.Namespace != "" && !judged && namesOther(kept.Value, e.o.Namespace):
				if raw, err = Encode(KeptValue{Digest: kept.Digest, Erased: leftOutText}); err != nil {
					return err
				}
				e.m.InputsLeftOut++
			}
			_, err = w.Write(append(bytes.Clone(raw), '\n'))
			return err
		})
	})
}

// parseKept reads a line of inputs.
func parseKept(raw []byte) (kept struct {
	Digest engine.Digest   `json:"digest"`
	Value  json.RawMessage `json:"value"`
	Erased string          `json:"erased"`
}, err error) {
	err = json.Unmarshal(raw, &kept)
	return kept, err
}
