// Package exported reads what the tools of a cloud print, JSON or YAML saved to files: the files of a folder, the fields
// of an object with the places of those that are mistyped, and IAM policy documents in one shape. It is what the
// inspectors of buckets and of cloud accounts share. It imports engine and engine/decode only, and has no network.
//
// Start at [Files] and [Object].
package exported

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// MaxBytes is the longest file that is read. Exports are joined with each other and so are held in memory.
const MaxBytes = 256 << 20

var limits = decode.Limits{Bytes: MaxBytes, Nodes: 20_000_000}

// Files are files and folders. A folder stands for the .json, .yaml and .yml files in it, however deep, hidden ones left
// out, and for those Also names; a file that is named is read whatever its name.
type Files struct {
	Paths []string
	// Also reports that a file of a folder is read in spite of its name. It may be nil.
	Also func(path string) bool
}

// File is one file as it was read.
type File struct {
	// Source is the path as the user named it; Path the file's own.
	Source, Path string
	Data         []byte
}

// All yields the files in the order of Paths, then of names. What cannot be read is yielded as an *[engine.Unread].
func (f Files) All(ctx context.Context) iter.Seq2[*File, error] {
	return func(yield func(*File, error) bool) {
		for _, source := range f.Paths {
			found, more := false, true
			err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
				if !more || ctx.Err() != nil {
					return fs.SkipAll
				}
				file, unread := f.entry(source, path, d, err)
				if file == nil && unread == nil {
					if d.IsDir() && path != source && strings.HasPrefix(d.Name(), ".") {
						return fs.SkipDir
					}
					return nil
				}
				found = true
				if unread != nil {
					more = yield(nil, unread)
				} else {
					more = yield(file, nil)
				}
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
				return nil
			})
			switch {
			case !more:
				return
			case ctx.Err() != nil:
				yield(nil, &engine.Unread{Source: source, Kind: engine.Hole, Err: context.Cause(ctx)})
				return
			case err != nil:
				found = true
				more = yield(nil, &engine.Unread{Source: source, Position: engine.Position{File: source}, Err: reason(err)})
			case !found:
				more = yield(nil, &engine.Unread{Source: source, Position: engine.Position{File: source}, Kind: engine.Hole,
					Err: errors.New("read folder: it holds no export (name another, or name the files)")})
			}
			if !more {
				return
			}
		}
	}
}

// entry reads one file of a walk; nothing where it is not wanted.
func (f Files) entry(source, path string, d fs.DirEntry, err error) (*File, *engine.Unread) {
	unread := &engine.Unread{Source: source, Position: engine.Position{File: path}}
	if err != nil {
		unread.Err = reason(err)
		return nil, unread
	}
	wanted := slices.Contains([]string{".json", ".yaml", ".yml"}, strings.ToLower(filepath.Ext(path))) || f.Also != nil && f.Also(path)
	if path != source && (d.IsDir() || strings.HasPrefix(d.Name(), ".") || !wanted) {
		if d.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(d.Name(), ".") {
			return nil, nil
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return nil, nil
		}
		unread.Kind, unread.Err = engine.Hole, errors.New("read folder: it is a link, and links to folders are not followed (name the folder it leads to)")
		return nil, unread
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		unread.Err = reason(err)
		return nil, unread
	case info.IsDir() && d.Type()&fs.ModeSymlink == 0:
		return nil, nil
	case info.IsDir():
		unread.Kind, unread.Err = engine.Hole, errors.New("read folder: it is a link (name the folder it leads to)")
		return nil, unread
	case path != source && !info.Mode().IsRegular():
		unread.Kind, unread.Err = engine.Hole, errors.New("read folder: it is no regular file, and such are read only when they are named")
		return nil, unread
	}
	file, err := os.Open(path)
	if err != nil {
		unread.Err = reason(err)
		return nil, unread
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	switch {
	case err != nil:
		unread.Err = reason(err)
		return nil, unread
	case len(data) > MaxBytes:
		unread.Err = fmt.Errorf("read: it is longer than %d MiB (export it in parts)", MaxBytes>>20)
		return nil, unread
	}
	return &File{Source: source, Path: path, Data: data}, nil
}

// reason is what went wrong without the path, which the place says already.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("read: %w", err)
}

// Documents yields the documents of the file, and an *[engine.Unread] for each that cannot be parsed.
func (f *File) Documents() iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		for d, err := range decode.Documents(bytes.NewReader(f.Data), f.Path, limits) {
			if err != nil {
				u := &engine.Unread{Source: f.Source, Position: engine.Position{File: f.Path}, Err: err}
				var at *decode.Error
				if errors.As(err, &at) {
					u.Position, u.Err = engine.Position{File: at.File, Line: at.Line, Column: at.Column}, at.Err
				}
				if !yield(nil, u) {
					return
				}
				continue
			}
			sum := sha256.Sum256([]byte(d.Raw))
			if !yield(&Document{Document: d, File: f, digest: engine.Digest("sha256:" + hex.EncodeToString(sum[:]))}, nil) {
				return
			}
		}
	}
}

// Document is one document of a file.
type Document struct {
	*decode.Document
	File   *File
	digest engine.Digest
}

// Place is where path leads to in the file.
func (d *Document) Place(path []any) engine.Position {
	at := d.Position(path...)
	return engine.Position{File: d.Document.File, Line: at.Line, Column: at.Column}
}

// Broken is a problem as the engine wants it.
func (d *Document) Broken(p Problem) *engine.Unread {
	return &engine.Unread{Source: d.File.Source, Position: d.Place(p.Path), Err: p.Err}
}

// Other is a value that is none of what the inspector knows.
func (d *Document) Other(path []any, err error) *engine.Unread {
	return &engine.Unread{Source: d.File.Source, Position: d.Place(path), Kind: engine.NotManifest, Err: err}
}

// Marks are the places in documents that fields of an artifact were read from.
type Marks map[string]Mark

// Mark is a place in a document.
type Mark struct {
	Document *Document
	Path     []any
}

// Set notes that the artifact's field was read from path of the document.
func (m Marks) Set(field string, d *Document, path []any) { m[field] = Mark{d, path} }

// Origin is that of an artifact that starts at path of the document. A path of the artifact leads to the mark of the field,
// or of its nearest ancestor that has one.
func (m Marks) Origin(d *Document, path []any) engine.Origin {
	return engine.Origin{
		Source: d.File.Source, Position: d.Place(path), Digest: d.digest, Lines: d.Lines,
		Locate: func(text string) engine.Position {
			for text != "" {
				if mark, ok := m[text]; ok {
					return mark.Document.Place(mark.Path)
				}
				text = text[:max(0, strings.LastIndexAny(text, ".["))]
			}
			return d.Place(path)
		},
	}
}
