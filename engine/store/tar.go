package store

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// The most a tar file may hold: what is past it is refused before it is kept.
const (
	maxEntries = 1_000_000
	maxTotal   = 1 << 40
)

// tarFile is the files of a tar file. It is never unpacked: each file is read where it lies.
type tarFile struct {
	name  string
	index func() ([]Info, error)
}

// Tar is the store of a tar file's files, gzipped or not.
func Tar(file string) (Store, error) {
	if info, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open store %s: it is no regular file", file)
	}
	t := &tarFile{name: file}
	t.index = sync.OnceValues(t.scan)
	return t, nil
}

func (t *tarFile) String() string { return t.name }

func (t *tarFile) reader() (*tar.Reader, io.Closer, error) {
	file, err := os.Open(t.name)
	if err != nil {
		return nil, nil, err
	}
	if strings.HasSuffix(t.name, ".tar") {
		return tar.NewReader(file), file, nil
	}
	z, err := gzip.NewReader(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return tar.NewReader(z), file, nil
}

func (t *tarFile) scan() (_ []Info, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("list %s: %w", t.name, err)
		}
	}()
	r, file, err := t.reader()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var infos []Info
	seen, total := map[string]bool{}, int64(0)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		key, ok := entryKey(h)
		switch {
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("entry %q is no regular file", h.Name)
		case !ok:
			return nil, fmt.Errorf("entry %q leads out of the archive", h.Name)
		case seen[key]:
			return nil, fmt.Errorf("entry %q is there twice", key)
		}
		if total += h.Size; total > maxTotal || len(infos) == maxEntries {
			return nil, fmt.Errorf("refused: more than %d entries or %d bytes", maxEntries, int64(maxTotal))
		}
		seen[key] = true
		infos = append(infos, Info{Key: key, Size: h.Size, Modified: h.ModTime.UTC()})
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, nil
}

func entryKey(h *tar.Header) (string, bool) {
	key := path.Clean(h.Name)
	return key, filepath.IsLocal(filepath.FromSlash(key)) && !strings.ContainsRune(key, 0)
}

func (t *tarFile) List(_ context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		infos, err := t.index()
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, i := range infos {
			if strings.HasPrefix(i.Key, prefix) && !yield(i, nil) {
				return
			}
		}
	}
}

func (t *tarFile) Open(_ context.Context, key string) (io.ReadCloser, Info, error) {
	fail := func(err error) (io.ReadCloser, Info, error) {
		return nil, Info{}, fmt.Errorf("open %s in %s: %w", key, t.name, err)
	}
	infos, err := t.index()
	if err != nil {
		return fail(err)
	}
	at, ok := slices.BinarySearchFunc(infos, key, func(i Info, key string) int { return strings.Compare(i.Key, key) })
	if !ok {
		return fail(fs.ErrNotExist)
	}
	r, file, err := t.reader()
	if err != nil {
		return fail(err)
	}
	for {
		h, err := r.Next()
		if err != nil {
			return fail(errors.Join(err, file.Close()))
		}
		if found, _ := entryKey(h); found == key && h.Typeflag == tar.TypeReg {
			return &exact{ReadCloser: &member{r, file}, name: key, left: infos[at].Size}, infos[at], nil
		}
	}
}

type member struct {
	io.Reader
	io.Closer
}
