package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// Folder reads an evidence folder that was verified; it checks digests again, and nothing else. One goroutine may use it.
type Folder struct {
	fsys     fs.FS
	Producer Producer
	// values are where the values of inputs and facts stand.
	values map[engine.Digest]valueAt
	open   map[string]readerAt
}

type valueAt struct {
	file   string
	at     int64
	length int
	erased string
}

type readerAt interface {
	fs.File
	io.ReaderAt
}

// ErrErased is wrapped by the error about a value that was erased.
var ErrErased = errors.New("it was erased")

// OpenFolder reads where what stands in a folder, or in the one that an auditor bundle holds.
func OpenFolder(fsys fs.FS) (*Folder, error) {
	fsys, err := evidenceIn(fsys)
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	f := &Folder{fsys: fsys, values: map[engine.Digest]valueAt{}, open: map[string]readerAt{}}
	raw, err := fs.ReadFile(fsys, ProducerFile)
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	if err := Decode(bytes.TrimSuffix(raw, []byte("\n")), &f.Producer); err != nil {
		return nil, fmt.Errorf("open evidence: %s: %w", ProducerFile, err)
	}
	files, err := fs.Glob(fsys, "inputs/*.jsonl")
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	for _, name := range files {
		if err := f.index(name); err != nil {
			return nil, fmt.Errorf("open evidence: %w", err)
		}
	}
	return f, nil
}

// Close closes what was opened.
func (f *Folder) Close() error {
	var errs []error
	for _, file := range f.open {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

func (f *Folder) index(name string) error {
	return eachLine(f.fsys, name, func(raw []byte, at int64, number int) error {
		var line struct {
			Digest engine.Digest   `json:"digest"`
			Value  json.RawMessage `json:"value"`
			Erased string          `json:"erased"`
		}
		if err := json.Unmarshal(raw, &line); err != nil {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if was, there := f.values[line.Digest]; !there || was.erased != "" {
			f.values[line.Digest] = valueAt{name, at, len(raw), line.Erased}
		}
		return nil
	})
}

// eachLine calls a function for each whole line of a file, with where it starts.
func eachLine(fsys fs.FS, name string, do func(raw []byte, at int64, number int) error) error {
	file, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in, at, most := bufio.NewReaderSize(file, 256<<10), int64(0), mostOf(name)
	var raw []byte
	for number := 1; ; number++ {
		raw = raw[:0]
		for {
			part, err := in.ReadSlice('\n')
			raw = append(raw, part...)
			if err == nil {
				break
			}
			if err == io.EOF {
				return nil // what has no end was never acknowledged
			}
			if err != bufio.ErrBufferFull {
				return fmt.Errorf("%s:%d: %w", name, number, err)
			}
			if len(raw) > most {
				return fmt.Errorf("%s:%d: the line is longer than %d bytes", name, number, most)
			}
		}
		if err := do(raw[:len(raw)-1], at, number); err != nil {
			return err
		}
		at += int64(len(raw))
	}
}

// Records are the folder's records with the digests of their lines, in order.
func (f *Folder) Records() iter.Seq2[*Kept, error] {
	return func(yield func(*Kept, error) bool) {
		files, err := fs.Glob(f.fsys, "records/*.jsonl")
		if err != nil {
			yield(nil, fmt.Errorf("read records: %w", err))
			return
		}
		slices.Sort(files)
		stop := errors.New("stop")
		for _, name := range files {
			err := eachLine(f.fsys, name, func(raw []byte, _ int64, number int) error {
				k := &Kept{Line: bytes.Clone(raw), Digest: DigestOf(raw)}
				if err := Decode(raw, &k.Record); err != nil {
					return fmt.Errorf("%s:%d: %w", name, number, err)
				}
				if !yield(k, nil) {
					return stop
				}
				return nil
			})
			if errors.Is(err, stop) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("read records: %w", err))
				return
			}
		}
	}
}

// Kept is a record with its line, as it was signed, and the digest of that.
type Kept struct {
	Record
	Line   []byte
	Digest engine.Digest
}

// Value is what was kept under a digest: an object, list or scalar as the engine has them.
func (f *Folder) Value(d engine.Digest) (any, error) {
	raw, err := f.raw(d)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d, err)
	}
	return parseValue(raw)
}

func parseValue(raw []byte) (any, error) {
	doc, err := decode.JSON(string(raw), "what was kept", decode.Limits{})
	if err != nil {
		return nil, err
	}
	return doc.Value, nil
}

// Input is what was judged.
func (f *Folder) Input(d engine.Digest) (*Input, error) {
	raw, err := f.raw(d)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d, err)
	}
	return ParseInput(raw)
}

// ParseInput reads an encoded Input, its values as the engine has them.
func ParseInput(raw []byte) (*Input, error) {
	v, err := parseValue(raw)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("read input: it is no object")
	}
	text := func(key string) string { s, _ := m[key].(string); return s }
	object := func(key string) map[string]any { o, _ := m[key].(map[string]any); return o }
	return &Input{APIVersion: text("apiVersion"), Kind: text("kind"), Namespace: text("namespace"), Name: text("name"), Operation: text("operation"),
		Object: object("object"), Old: object("old"), User: object("user"), Source: text("source")}, nil
}

// raw is the value's text.
func (f *Folder) raw(d engine.Digest) ([]byte, error) {
	at, there := f.values[d]
	switch {
	case !there:
		return nil, errors.New("it is not there")
	case at.erased != "":
		return nil, fmt.Errorf("%w: %s", ErrErased, at.erased)
	}
	file := f.open[at.file]
	if file == nil {
		opened, err := f.fsys.Open(at.file)
		if err != nil {
			return nil, err
		}
		var ok bool
		if file, ok = opened.(readerAt); !ok {
			return nil, fmt.Errorf("%s cannot be read at a place", at.file)
		}
		f.open[at.file] = file
	}
	line := make([]byte, at.length)
	if _, err := file.ReadAt(line, at.at); err != nil {
		return nil, err
	}
	var kept struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(line, &kept); err != nil {
		return nil, err
	}
	if DigestOf(kept.Value) != d {
		return nil, errors.New("it has another digest")
	}
	return kept.Value, nil
}

// maxObject is how many bytes of an object are read at once.
const maxObject = 512 << 20

// Object is a whole file kept by its digest.
func (f *Folder) Object(d engine.Digest) ([]byte, error) {
	if !strings.HasPrefix(string(d), "sha256:") || len(d) != len("sha256:")+64 {
		return nil, fmt.Errorf("read object: %q is no digest", d)
	}
	file, err := f.fsys.Open(ObjectFile(d))
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxObject+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read object %s: %w", d, err)
	case len(raw) > maxObject:
		return nil, fmt.Errorf("read object %s: it is larger than %d bytes", d, maxObject)
	case DigestOf(raw) != d:
		return nil, fmt.Errorf("read object %s: it has another digest", d)
	}
	return raw, nil
}
