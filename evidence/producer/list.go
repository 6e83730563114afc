package producer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// resting is something that is done while the log's files do not change.
type resting struct {
	do   func() error
	done chan error
}

// atRest has something done when all that is in the tiles is signed; the log writes nothing meanwhile.
func (l *log) atRest(ctx context.Context, do func() error) error {
	r := &resting{do, make(chan error, 1)}
	l.mu.Lock()
	l.resting = r
	l.asked++
	l.mu.Unlock()
	l.poke()
	var gone error
	select {
	case err := <-r.done:
		r.done <- err
	case <-l.done:
		gone = errors.New("the log is closed")
	case <-ctx.Done():
		gone = fmt.Errorf("wait for the log: %w", context.Cause(ctx))
	}
	l.mu.Lock()
	l.asked--
	begun := l.resting != r
	if !begun {
		l.resting, gone = nil, errors.Join(gone, l.fatal, l.trouble)
	}
	l.mu.Unlock()
	if begun {
		return <-r.done
	}
	return gone
}

// list names every file of the folder, sorted, as it was when the log had size records. Records after them are not of it.
func (w *Writer) list(size uint64) (*evidence.FileList, error) {
	l := &evidence.FileList{}
	err := w.walk(func(name string) error {
		if !evidence.Placed(name) {
			return nil // somebody else put it there, and may take it away again
		}
		if name == evidence.LockFile {
			// It is empty. To close it would give up what tells others whose lock it is.
			l.Files = append(l.Files, evidence.File{Path: name, Digest: evidence.DigestOf(nil)})
			return nil
		}
		lines, cut := recordsUpTo(name, size)
		f, read := w.read[name]
		if !cut {
			lines = allLines
		}
		if !read || cut {
			var err error
			if f, err = w.digest(name, lines); err != nil {
				return err
			}
		}
		if strings.HasPrefix(name, evidence.ObjectsDir+"/") && evidence.ObjectFile(f.Digest) != name {
			return nil // it is not what its name says: nobody wrote it here
		}
		l.Files = append(l.Files, f)
		return nil
	})
	slices.SortFunc(l.Files, func(a, b evidence.File) int { return strings.Compare(a.Path, b.Path) })
	return l, err
}

// readDone reads the files that do not change any more and were not read yet.
func (w *Writer) readDone() error {
	w.mu.Lock()
	current := w.durable.seq / evidence.SegmentRecords * evidence.SegmentRecords
	w.mu.Unlock()
	if w.read == nil {
		w.read = map[string]evidence.File{}
	}
	err := w.walk(func(name string) error {
		if _, read := w.read[name]; read || !done(name, current) {
			return nil
		}
		f, err := w.digest(name, allLines)
		if err == nil {
			w.read[name] = f
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was unfinished, or a tile that has become full, and the list is made anew
	}
	return err
}

var fullTile = regexp.MustCompile(`^` + evidence.LogDir + `/tile/[^.]*/[0-9]{3}$`)

// done reports whether a file is never written again, where records are appended from current on.
func done(name string, current uint64) bool {
	dir, _, _ := strings.Cut(name, "/")
	switch {
	case strings.Contains(name, unfinished):
		return false
	case dir == evidence.ObjectsDir, dir == evidence.SealsDir:
		return true
	case dir == path.Dir(evidence.RecordsFile(0)):
		return name < evidence.RecordsFile(current)
	case dir == path.Dir(evidence.InputsFile(0)):
		return name < evidence.InputsFile(current)
	}
	return fullTile.MatchString(name)
}

// walk calls do for every file of the folder, by its name in it.
func (w *Writer) walk(do func(name string) error) error {
	return filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		return do(filepath.ToSlash(name))
	})
}

// recordsUpTo is how many lines a file of records had when the log had size records, and whether it may have more by now.
func recordsUpTo(name string, size uint64) (lines uint64, cut bool) {
	dir, base := path.Split(name)
	first, err := strconv.ParseUint(strings.TrimSuffix(base, ".jsonl"), 10, 64)
	first *= evidence.SegmentRecords
	if err != nil || dir != path.Dir(evidence.RecordsFile(0))+"/" || size >= first+evidence.SegmentRecords {
		return 0, false
	}
	return max(size, first) - first, true
}

const allLines = math.MaxUint64

// digest is that of so many lines of a file.
func (w *Writer) digest(name string, lines uint64) (evidence.File, error) {
	f, err := os.Open(w.path(name))
	if err != nil {
		return evidence.File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n := int64(0)
	if lines == allLines {
		n, err = io.Copy(h, f)
	}
	for in := bufio.NewReaderSize(f, 256<<10); lines < allLines && lines > 0 && err == nil; {
		var part []byte
		part, err = in.ReadSlice('\n')
		n += int64(len(part))
		h.Write(part)
		if err == nil {
			lines--
		} else if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
	}
	if err != nil {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	return evidence.File{Path: name, Size: n, Digest: engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))}, err
}
