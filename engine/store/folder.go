package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
)

// folder is a folder of files. Nothing outside it is read, wherever a link in it may lead.
type folder struct {
	name string
	root *os.Root
}

// Folder is the store of a folder's files.
func Folder(dir string) (Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &folder{name: dir, root: root}, nil
}

func (f *folder) String() string { return f.name }

func (f *folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := f.walk(ctx, ".", prefix, yield); err != nil && !errors.Is(err, errStop) {
			yield(Info{}, fmt.Errorf("list %s: %w", f.name, err))
		}
	}
}

// errStop ends a walk whose caller has seen enough.
var errStop = errors.New("stop")

func (f *folder) walk(ctx context.Context, dir, prefix string, yield func(Info, error) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	// Keys are sorted as a bucket sorts them, by their bytes, where a-b comes before a/b.
	sortKey := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	for _, e := range entries {
		key := path.Join(dir, e.Name())
		if e.IsDir() {
			if within := key + "/"; strings.HasPrefix(within, prefix) || strings.HasPrefix(prefix, within) {
				if err := f.walk(ctx, key, prefix, yield); err != nil {
					return err
				}
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		info, err := f.stat(key)
		if err != nil {
			err = &EntryError{f.name, key, err}
		}
		if !yield(info, err) {
			return errStop
		}
	}
	return nil
}

// stat is what is known of a file. What is none is not opened either: a pipe would not answer.
func (f *folder) stat(key string) (Info, error) {
	info, err := f.root.Stat(key)
	if err == nil && info.Mode().IsRegular() {
		return Info{Key: key, Size: info.Size(), Modified: info.ModTime().UTC()}, nil
	}
	if err == nil {
		return Info{}, errors.New("it is no regular file (take it out of the folder)")
	}
	if link, bad := f.root.Lstat(key); bad == nil && link.Mode()&fs.ModeSymlink != 0 {
		return Info{}, fmt.Errorf("it is a link out of the folder or to nothing (copy the file there): %w", err)
	}
	return Info{}, err
}

func (f *folder) Open(_ context.Context, key string) (io.ReadCloser, Info, error) {
	info, err := f.stat(key)
	if err != nil {
		return nil, Info{}, fmt.Errorf("open %s in %s: %w", key, f.name, err)
	}
	file, err := f.root.Open(key)
	if err != nil {
		return nil, Info{}, fmt.Errorf("open %s in %s: %w", key, f.name, err)
	}
	return &exact{ReadCloser: file, name: key, left: info.Size}, info, nil
}

// exact reads as many bytes as there were when the file was opened, and says so where there are fewer or more.
type exact struct {
	io.ReadCloser
	name string
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	if e.left < 0 || errors.Is(err, io.EOF) && e.left > 0 {
		return n, fmt.Errorf("read %s: its size changed while it was read: %w", e.name, ErrUnavailable)
	}
	return n, err
}
