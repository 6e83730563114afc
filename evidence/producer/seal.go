package producer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// Object stores a whole file by its digest. It is durable when it returns.
func (w *Writer) Object(r io.Reader) (engine.Digest, error) {
	d, err := w.object(r)
	if err != nil {
		return "", fmt.Errorf("store object: %w", err)
	}
	return d, nil
}

func (w *Writer) object(r io.Reader) (_ engine.Digest, err error) {
	w.quiet.RLock()
	defer w.quiet.RUnlock()
	f, err := os.CreateTemp(w.path(evidence.ObjectsDir), "*"+unfinished)
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), r)
	if err != nil {
		return "", err
	}
	if w.o.MaxBytes > 0 && !w.disk.fits(int(n), w.o.MaxBytes) {
		return "", errFull
	}
	if err := f.Chmod(0o644); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	d := engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	if err := os.Rename(f.Name(), w.path(evidence.ObjectFile(d))); err != nil {
		return "", err
	}
	w.disk.bytes.Add(n)
	return d, syncDir(w.path(evidence.ObjectsDir))
}

// Seal has a checkpoint signed over all that was appended, and writes the next seal: a list of every file of the folder, the
// checkpoint, population where it is the checkpoint of a scan's population, and the statement over the list, whose bundle
// sign makes. Producer, Origin, Number, Run, Kind, Cluster, Engine, Scope, Started, Finished, First, Size, Root and Counts are filled in.
// Nothing else is written while it lists the files; those that do not change any more were read before that, once in the life
// of the writer. A folder is sealed after its Close was appended, or the seal does not cover it.
func (w *Writer) Seal(ctx context.Context, s evidence.Seal, population []byte, sign func(ctx context.Context, statement []byte) (bundle []byte, err error)) error {
	w.sealing.Lock()
	defer w.sealing.Unlock()
	if err := errors.Join(w.settle(ctx), w.readDone()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	// What is not signed yet is waited for twice: here for long, and for what came meanwhile while all else waits.
	if _, err := w.Checkpoint(ctx); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	w.quiet.Lock()
	defer w.quiet.Unlock()
	if err := w.seal(ctx, s, population, sign); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func (w *Writer) seal(ctx context.Context, s evidence.Seal, population []byte, sign func(context.Context, []byte) ([]byte, error)) error {
	w.mu.Lock()
	size, counts := w.durable.seq, w.soFar(w.durable.counts)
	w.mu.Unlock()
	checkpoint, err := w.log.await(ctx, size)
	if err != nil {
		return err
	}
	head, err := evidence.OpenCheckpoint(checkpoint, w.key, w.producer.Origin)
	if err != nil {
		return err
	}
	before, err := os.ReadDir(w.path(evidence.SealsDir))
	if err != nil {
		return err
	}
	s.Counts = counts
	s.Producer, s.Origin, s.Number, s.Run, s.Kind, s.Cluster, s.Engine, s.Scope = w.producer.ID, w.producer.Origin, len(before)+1, w.o.Run, w.o.Kind, w.o.Cluster, w.o.Engine, w.o.Scope
	s.Started, s.Finished, s.First, s.Size, s.Root = w.started, w.now(), w.first, head.Size, head.Root
	list, err := w.list()
	if err != nil {
		return err
	}
	files, err := evidence.Encode(list)
	if err != nil {
		return err
	}
	files = append(files, '\n')
	sum := sha256.Sum256(files)
	statement, err := evidence.Encode(evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.SealType, Predicate: s,
		Subject: []evidence.StatementSubject{{Name: evidence.SealFiles, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}}})
	if err != nil {
		return err
	}
	bundle, err := sign(ctx, statement)
	if err != nil {
		return fmt.Errorf("sign statement: %w", err)
	}
	return w.place(evidence.SealDir(s.Number), map[string][]byte{evidence.SealFiles: files, evidence.SealCheckpoint: checkpoint, evidence.SealPopulation: population, evidence.SealStatement: bundle})
}

// place makes the folder of a seal, whole or not at all.
func (w *Writer) place(dir string, files map[string][]byte) error {
	made := w.path(dir) + unfinished
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(made)
	for name, text := range files {
		if text == nil {
			continue
		}
		if err := writeFile(filepath.Join(made, name), text, 0o644); err != nil {
			return err
		}
		w.disk.bytes.Add(int64(len(text)))
	}
	if err := os.Rename(made, w.path(dir)); err != nil {
		return err
	}
	return syncDir(w.path(evidence.SealsDir))
}

// list names every file of the folder, sorted.
func (w *Writer) list() (*evidence.FileList, error) {
	l := &evidence.FileList{}
	err := w.walk(func(name string) error {
		if name == evidence.LockFile {
			// It is empty. To close it would give up what tells others whose lock it is.
			l.Files = append(l.Files, evidence.File{Path: name, Digest: evidence.DigestOf(nil)})
			return nil
		}
		if f, read := w.read[name]; read {
			l.Files = append(l.Files, f)
			return nil
		}
		f, err := w.digest(name)
		l.Files = append(l.Files, f)
		return err
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
		f, err := w.digest(name)
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

func (w *Writer) digest(name string) (evidence.File, error) {
	f, err := os.Open(w.path(name))
	if err != nil {
		return evidence.File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return evidence.File{Path: name, Size: n, Digest: engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))}, err
}
