package locked

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// sealed is what the newest seal of a folder covers, and the seal itself.
type sealed struct {
	fsys     fs.FS
	producer evidence.Producer
	seal     evidence.Seal
	number   int
	// files are those to copy; statement is the one that is put last, for it says that the others are there.
	files     []evidence.File
	statement evidence.File
}

// openSealed reads the newest seal of a folder and checks that the folder's key signed it.
func openSealed(fsys fs.FS) (*sealed, error) {
	s := &sealed{fsys: fsys}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open the newest seal: %w", err)
	}
	return s, nil
}

func (s *sealed) open() error {
	raw, err := fs.ReadFile(s.fsys, evidence.ProducerFile)
	if err != nil {
		return err
	}
	if err := evidence.Decode(bytes.TrimSuffix(raw, []byte("\n")), &s.producer); err != nil {
		return fmt.Errorf("%s: %w", evidence.ProducerFile, err)
	}
	if id := s.producer.ID; id == "." || strings.Contains(id, "/") || !fs.ValidPath(id) {
		return fmt.Errorf("%s: the id %q cannot name a folder", evidence.ProducerFile, id)
	}
	if raw, err = fs.ReadFile(s.fsys, evidence.KeyFile); err != nil {
		return err
	}
	key, err := evidence.ParseKey(raw)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.fsys, evidence.SealsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if n, ok := sealNumber(evidence.SealsDir + "/" + e.Name() + "/"); ok {
			s.number = max(s.number, n)
		}
	}
	if s.number == 0 {
		return errors.New("the folder has none: nothing in it is sealed yet (a scan seals when it is done)")
	}
	dir := evidence.SealDir(s.number) + "/"
	if raw, err = fs.ReadFile(s.fsys, dir+evidence.SealStatement); err != nil {
		return err
	}
	s.statement = evidence.File{Path: dir + evidence.SealStatement, Size: int64(len(raw)), Digest: evidence.DigestOf(raw)}
	payload, err := evidence.OpenBundle(raw, key)
	if err != nil {
		return err
	}
	statement := evidence.Statement{Predicate: &s.seal}
	if err := evidence.Decode(payload, &statement); err != nil {
		return err
	}
	list, err := fs.ReadFile(s.fsys, dir+evidence.SealFiles)
	if err != nil {
		return err
	}
	if len(statement.Subject) != 1 || statement.PredicateType != evidence.SealType || "sha256:"+statement.Subject[0].Digest["sha256"] != string(evidence.DigestOf(list)) ||
		s.seal.Number != s.number || s.seal.Producer != s.producer.ID {
		return fmt.Errorf("%s does not seal %s", s.statement.Path, dir+evidence.SealFiles)
	}
	covered, err := parseList(list)
	if err != nil {
		return fmt.Errorf("%s: %w", dir+evidence.SealFiles, err)
	}
	for _, f := range covered {
		if !withheld(f.Path) {
			s.files = append(s.files, f)
		}
	}
	for _, name := range []string{evidence.SealFiles, evidence.SealCheckpoint, evidence.SealPopulation} {
		raw, err := fs.ReadFile(s.fsys, dir+name)
		if name == evidence.SealPopulation && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.files = append(s.files, evidence.File{Path: dir + name, Size: int64(len(raw)), Digest: evidence.DigestOf(raw)})
	}
	return nil
}

// sealNumber is the number of the seal that a path leads into.
func sealNumber(name string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(name, evidence.SealsDir+"/")
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "/")
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && strings.HasPrefix(name, evidence.SealDir(n)+"/")
}

func parseList(raw []byte) ([]evidence.File, error) {
	var l evidence.FileList
	if err := evidence.Decode(bytes.TrimSuffix(raw, []byte("\n")), &l); err != nil {
		return nil, err
	}
	for i := range l.Files {
		if f := &l.Files[i]; !fs.ValidPath(f.Path) || len(f.Digest) != len("sha256:")+64 {
			return nil, fmt.Errorf("it lists %.300q with the digest %.100q", f.Path, f.Digest)
		}
	}
	return l.Files, nil
}

// find opens a file as it was when it was sealed, though the log went on since: then it is the beginning of one that is longer.
func (s *sealed) find(f *evidence.File) (*io.SectionReader, io.Closer, error) {
	for _, name := range s.candidates(f.Path) {
		file, err := s.fsys.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		at, ok := file.(io.ReaderAt)
		if !ok {
			return nil, nil, errors.Join(fmt.Errorf("%s cannot be read at a place", name), file.Close())
		}
		body := io.NewSectionReader(at, 0, f.Size)
		h := sha256.New()
		n, err := io.Copy(h, body)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("read %s: %w", name, err), file.Close())
		}
		if n == f.Size && engine.Digest("sha256:"+hex.EncodeToString(h.Sum(nil))) == f.Digest {
			_, err := body.Seek(0, io.SeekStart)
			return body, file, err
		}
		if err := file.Close(); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, &Refused{evidence.FileAltered, f.Path, "it is not there as it was when it was sealed"}
}

// candidates are where the bytes of a sealed file may stand by now: a checkpoint is kept beside the seal, and what a tile held
// before it was full is the beginning of the full one, for which the log's writer gives it up.
func (s *sealed) candidates(name string) []string {
	if name == evidence.CheckpointFile {
		return []string{name, evidence.SealDir(s.number) + "/" + evidence.SealCheckpoint}
	}
	if full, _, partial := strings.Cut(name, ".p/"); partial {
		return []string{name, full}
	}
	return []string{name}
}
