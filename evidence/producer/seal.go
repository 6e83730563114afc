package producer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

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
// of the writer. The signature keeps nobody waiting: what is recorded meanwhile comes after the seal. A folder is sealed after
// its Close was appended, or the seal does not cover it.
func (w *Writer) Seal(ctx context.Context, s evidence.Seal, population []byte, sign func(ctx context.Context, statement []byte) (bundle []byte, err error)) error {
	w.sealing.Lock()
	defer w.sealing.Unlock()
	if err := w.seal(ctx, s, population, sign); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func (w *Writer) seal(ctx context.Context, s evidence.Seal, population []byte, sign func(context.Context, []byte) ([]byte, error)) error {
	if err := w.settle(ctx); err != nil {
		return err
	}
	if err := w.readDone(); err != nil {
		return err
	}
	if _, err := w.Checkpoint(ctx); err != nil {
		return err
	}
	var checkpoint []byte
	var list *evidence.FileList
	if err := w.log.atRest(ctx, func() (err error) {
		checkpoint, list, err = w.sealed(&s)
		return err
	}); err != nil {
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
	within, cancel := context.WithTimeout(ctx, signWithin)
	defer cancel()
	bundle, err := sign(within, statement)
	if err != nil {
		return fmt.Errorf("sign statement: %w", err)
	}
	return w.place(evidence.SealDir(s.Number), map[string][]byte{evidence.SealFiles: files, evidence.SealCheckpoint: checkpoint, evidence.SealPopulation: population, evidence.SealStatement: bundle})
}

// sealed fills a seal in, and lists what it covers: the head of the log, the records up to there, and all other files as they
// are. The log rests meanwhile, and nothing else is written.
func (w *Writer) sealed(s *evidence.Seal) ([]byte, *evidence.FileList, error) {
	w.quiet.Lock()
	defer w.quiet.Unlock()
	w.listing()
	defer w.listing()
	checkpoint, err := w.log.await(context.Background(), 0)
	if err != nil {
		return nil, nil, err
	}
	head, err := evidence.OpenCheckpoint(checkpoint, w.key, w.producer.Origin)
	if err != nil {
		return nil, nil, err
	}
	before, err := w.seals()
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	s.Counts = w.soFar(w.durable.counts)
	w.mu.Unlock()
	s.Producer, s.Origin, s.Number, s.Run, s.Kind, s.Cluster, s.Engine, s.Scope = w.producer.ID, w.producer.Origin, before+1, w.o.Run, w.o.Kind, w.o.Cluster, w.o.Engine, w.o.Scope
	s.Started, s.Finished, s.First, s.Size, s.Root = w.started, w.now(), w.first, head.Size, head.Root
	list, err := w.list(head.Size)
	return checkpoint, list, err
}

// seals is the number of the newest seal. What else somebody put beside the seals is none, and may be taken away again; an
// empty folder gives way to the seal.
func (w *Writer) seals() (int, error) {
	found, err := os.ReadDir(w.path(evidence.SealsDir))
	if err != nil {
		return 0, err
	}
	var numbers []int
	for _, d := range found {
		if n, err := strconv.Atoi(d.Name()); err == nil && n > 0 && d.IsDir() && evidence.SealDir(n) == evidence.SealsDir+"/"+d.Name() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range slices.Backward(numbers) {
		if files, err := os.ReadDir(w.path(evidence.SealDir(n))); err != nil || len(files) > 0 {
			return n, err
		}
	}
	return 0, nil
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
	if is, err := os.Lstat(w.path(dir)); err == nil && is.IsDir() {
		_ = os.Remove(w.path(dir)) // one that is not empty is in the way
	}
	if err := os.Rename(made, w.path(dir)); err != nil {
		return err
	}
	return syncDir(w.path(evidence.SealsDir))
}
