package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"proviso.dev/proviso/evidence/listing"
)

// maxKept is how large a file that is written again and again may be to be kept in memory; no writer makes a larger.
const maxKept = 64 << 10

// maxTorn is how many bytes after the last line end of a file are kept in memory.
const maxTorn = 1 << 20

// resting is a folder as it was at one moment.
type resting struct {
	from fs.FS
	*listing.FS
}

// maxListings is how often a folder is listed before that is given up.
const maxListings = 8

// atRest sees a folder as it is now, though its writer goes on. A writer makes durable first what others speak of: a seal speaks
// of the head of the log, that of tiles, those of records, and they of inputs and objects. It is listed the other way round, so
// that all that what is listed speaks of is listed too. What grows is read as far as it went; what is written anew is kept.
func atRest(from fs.FS) (fs.FS, error) {
	for range maxListings {
		r := &resting{from, listing.New()}
		_, unfounded := fs.Lstat(from, ProducerFile)
		parts := []string{SealsDir, CheckpointFile, LogDir, "records", "."}
		for i, part := range parts {
			if err := r.list(part, parts[:i]); err != nil {
				return nil, err
			}
		}
		made := errors.Is(unfounded, fs.ErrNotExist) && r.Has(ProducerFile)
		if !made && !r.reopened() {
			return r, nil
		}
	}
	return nil, fmt.Errorf("each of the %d times it was listed its writer began another run meanwhile: read it again later", maxListings)
}

// reopened reports whether a run began after the records were listed and the last run among them had ended: then inputs and
// objects are listed that no record and no seal speaks of.
func (r *resting) reopened() bool {
	next := uint64(0)
	for r.Has(RecordsFile(next)) {
		next += SegmentRecords
	}
	if next == 0 {
		return false
	}
	newest := RecordsFile(next - 1)
	was, err := r.Lstat(newest)
	if err != nil {
		return false
	}
	is, err := fs.Lstat(r.from, newest)
	if grown := err == nil && is.Size() != was.Size(); !grown {
		if _, err := fs.Lstat(r.from, RecordsFile(next)); err != nil {
			return false
		}
	}
	return r.closed(newest, was.Size())
}

// closed reports whether the last whole line of a file of records is the Close of a run.
func (r *resting) closed(name string, size int64) bool {
	f, err := r.Open(name)
	if err != nil {
		return false // it says so when it is asked for
	}
	defer f.Close()
	end := make([]byte, min(size, maxTorn))
	if _, err := f.(io.ReaderAt).ReadAt(end, size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	end = bytes.TrimSuffix(end[:bytes.LastIndexByte(end, '\n')+1], []byte("\n"))
	var last struct {
		Close *Close `json:"close"`
	}
	return json.Unmarshal(end[bytes.LastIndexByte(end, '\n')+1:], &last) == nil && last.Close != nil
}

// list lists a part of the folder but for those that were listed before it.
func (r *resting) list(part string, before []string) error {
	// A walk would follow a link that it begins with. What else may be wrong with it the walk of all tells.
	if info, err := fs.Lstat(r.from, part); err != nil || info.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	var partials []string
	err := fs.WalkDir(r.from, part, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return r.swept(name)
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(before, name):
			return fs.SkipDir
		case d.IsDir():
			if strings.HasSuffix(name+"/", partialTile) {
				partials = append(partials, name)
			}
			return nil
		case r.Has(name):
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return r.swept(name)
		}
		if err != nil {
			return err
		}
		return r.put(name, info)
	})
	// The files of a folder are removed before it is.
	for _, name := range partials {
		if err == nil && !r.Has(name) {
			err = r.swept(name)
		}
	}
	return err
}

// swept lists the full tile in which the content of a partial one that is gone stands by now. What else is gone was unfinished.
func (r *resting) swept(name string) error {
	full, _, partial := strings.Cut(name+"/", partialTile)
	if !partial || r.Has(full) {
		return nil
	}
	info, err := fs.Lstat(r.from, full)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	return r.put(full, info)
}

func (r *resting) put(name string, info fs.FileInfo) error {
	f := listing.File{Size: info.Size(), Mode: info.Mode(), Modified: info.ModTime(), Open: func() (io.ReadCloser, error) { return r.open(name, info, nil) }}
	if dir := path.Dir(name); (dir == "records" || dir == "inputs") && f.Mode.IsRegular() {
		if torn := r.torn(name, f.Size); len(torn) > 0 {
			f.Open = func() (io.ReadCloser, error) { return r.open(name, info, torn) }
		}
	}
	// What cannot be read now is not kept, and says so when it is asked for.
	if rewritten(name) && f.Mode.IsRegular() && f.Size <= maxKept {
		if raw, err := fs.ReadFile(r.from, name); err == nil {
			f.Size, f.Open = int64(len(raw)), func() (io.ReadCloser, error) {
				return section{io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))), io.NopCloser(nil)}, nil
			}
		}
	}
	return r.Put(name, f)
}

// rewritten reports whether a file is written anew as the log grows.
func rewritten(name string) bool {
	return name == CheckpointFile || path.Dir(name) == LogDir+"/.state"
}

// open reads a file as far as it went, what has no line end as it was. To open what is no plain file may wait for ever.
func (r *resting) open(name string, info fs.FileInfo, torn []byte) (io.ReadCloser, error) {
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no plain file")}
	}
	f, err := r.from.Open(name)
	if full, _, partial := strings.Cut(name, partialTile); partial && errors.Is(err, fs.ErrNotExist) {
		f, err = r.from.Open(full)
	}
	if err != nil {
		return nil, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}, f.Close())
	}
	whole := info.Size() - int64(len(torn))
	return section{io.NewSectionReader(&withTorn{at, whole, torn}, 0, info.Size()), f}, nil
}

// torn is what follows the last line end of a file. The next run cuts it off, and writes something else there. Where it is very
// long it is not kept.
func (r *resting) torn(name string, size int64) []byte {
	f, err := r.from.Open(name)
	if err != nil {
		return nil // it says so when it is asked for
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil
	}
	end := make([]byte, min(size, maxTorn))
	n, err := at.ReadAt(end[:min(len(end), 1)], size-1)
	if err != nil || n == 0 || end[0] == '\n' {
		return nil
	}
	if _, err := at.ReadAt(end, size-int64(len(end))); err != nil {
		return nil
	}
	if last := bytes.LastIndexByte(end, '\n'); last >= 0 || int64(len(end)) == size {
		return end[last+1:]
	}
	return nil
}

// withTorn is a file up to its last line end, and what followed.
type withTorn struct {
	io.ReaderAt
	whole int64
	torn  []byte
}

func (w *withTorn) ReadAt(b []byte, at int64) (n int, err error) {
	if at < w.whole {
		if n, err = w.ReaderAt.ReadAt(b[:min(int64(len(b)), w.whole-at)], at); err != nil || n == len(b) {
			return n, err
		}
	}
	rest := copy(b[n:], w.torn[min(max(at-w.whole, 0), int64(len(w.torn))):])
	if n += rest; n < len(b) {
		err = io.EOF
	}
	return n, err
}
