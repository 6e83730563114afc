package evidence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// watched is a file system that notes what is there and could not be read: that says nothing about the evidence. What is no plain
// file is no business of it, and the salt is its owner's.
type watched struct {
	fs.FS

	mu sync.Mutex
	// err is the first error.
	err error
}

// Open is part of fs.FS.
func (w *watched) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, w.failed(name, err)
	}
	return &watchedFile{f, name, w}, nil
}

// Stat is part of fs.StatFS: to know of a file needs no right to read it.
func (w *watched) Stat(name string) (fs.FileInfo, error) { return fs.Stat(w.FS, name) }

// ReadDir is part of fs.ReadDirFS.
func (w *watched) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(w.FS, name) }

// failed notes an error, and returns it.
func (w *watched) failed(name string, err error) error {
	if name == SaltFile && errors.Is(err, fs.ErrPermission) {
		return err
	}
	if info, unknown := fs.Lstat(w.FS, name); unknown != nil || !info.Mode().IsRegular() {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fmt.Errorf("read evidence: %w", err)
		if _, named := errors.AsType[*fs.PathError](err); !named {
			w.err = fmt.Errorf("read evidence: %s: %w", name, err)
		}
	}
	return err
}

// each takes steps that read from it. Where it has failed they took for missing or altered what is neither.
func (w *watched) each(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		w.mu.Lock()
		err := w.err
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

type watchedFile struct {
	fs.File
	name string
	from *watched
}

func (f *watchedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.from.failed(f.name, err)
	}
	return n, err
}
