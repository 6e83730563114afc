package evidence

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// maxFiles is how many files an archive may have, maxName how long their names may be.
	maxFiles = 200_000
	maxName  = 255
	block    = 512
)

// archive is a tar seen as a file system. Its files are read where they lie.
type archive struct {
	from io.ReaderAt
	// nodes are files and folders by path; "." is the root.
	nodes map[string]*node
}

// node is a file or folder of an archive; it is its own fs.FileInfo and fs.DirEntry.
type node struct {
	name     string
	dir      bool
	at, size int64
	children []fs.DirEntry
}

// archiveHeader is the header of a file in an archive: all else of it is as it always is, so that an archive is told by the
// names and the bytes of its files, and no byte of it can be altered unseen.
func archiveHeader(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("archive %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// padding is how many bytes there are to the end of a block.
func padding(size int64) int64 { return -size & (block - 1) }

// writeArchive writes files, sorted by name, as OpenArchive reads them.
func writeArchive(ctx context.Context, w io.Writer, parts []part) error {
	zeros := make([]byte, 2*block)
	for i := range parts {
		p := &parts[i]
		h, err := archiveHeader(p.Path, p.Size)
		if err == nil {
			_, err = w.Write(h)
		}
		if err == nil {
			err = p.copyTo(ctx, w)
		}
		if err == nil {
			_, err = w.Write(zeros[:padding(p.Size)])
		}
		if err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	if _, err := w.Write(zeros); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// OpenArchive sees a tar as a file system. It reads what [Export] writes and nothing else: plain files in the order of their
// names, each header as it is written, no byte besides. So there are no links, no devices, no sparse files, no extended
// headers, and nothing that two readers could understand in two ways.
func OpenArchive(from io.ReaderAt, size int64) (fs.FS, error) {
	a := &archive{from, map[string]*node{".": {name: ".", dir: true}}}
	refused := func(format string, args ...any) (fs.FS, error) {
		return nil, fmt.Errorf("open archive: %s (an auditor bundle is read as proviso evidence export writes it, or unpacked, as a folder)", fmt.Sprintf(format, args...))
	}
	head, last := make([]byte, block), ""
	for at, files := int64(0), 0; ; files++ {
		if _, err := from.ReadAt(head, at); err != nil {
			return refused("it has no end: after %d bytes: %v", at, err)
		}
		if head[0] == 0 {
			if rest := size - at; rest != 2*block || !zero(from, at, rest) {
				return refused("there is more after its end")
			}
			break
		}
		h, err := tar.NewReader(bytes.NewReader(head)).Next()
		if err != nil {
			return refused("the header at %d: %v", at, err)
		}
		switch {
		case h.Typeflag != tar.TypeReg:
			return refused("%.300q is no plain file", h.Name)
		case len(h.Name) > maxName || !fs.ValidPath(h.Name) || h.Name == ".":
			return refused("%.300q is no path below its root", h.Name)
		case h.Name <= last:
			return refused("%q is not in its order, or there twice", h.Name)
		case files >= maxFiles:
			return refused("it has more than %d files", maxFiles)
		case h.Size < 0 || h.Size > size-at-block:
			return refused("%s ends after the archive", h.Name)
		}
		last = h.Name
		want, err := archiveHeader(h.Name, h.Size)
		if err != nil || !bytes.Equal(head, want) {
			return refused("the header of %s is not as it is written", h.Name)
		}
		at += block
		if err := a.put(h.Name, &node{name: path.Base(h.Name), at: at, size: h.Size}); err != nil {
			return nil, err
		}
		if at += h.Size; !zero(from, at, padding(h.Size)) {
			return refused("there is something after the end of %s", h.Name)
		}
		at += padding(h.Size)
	}
	for _, n := range a.nodes {
		slices.SortFunc(n.children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return a, nil
}

// zero reports whether n bytes, at most two blocks of them, are zero.
func zero(from io.ReaderAt, at, n int64) bool {
	b := make([]byte, n)
	if _, err := from.ReadAt(b, at); err != nil {
		return n == 0
	}
	return bytes.Count(b, []byte{0}) == len(b)
}

func (a *archive) put(name string, n *node) error {
	a.nodes[name] = n
	parent := path.Dir(name)
	up := a.nodes[parent]
	if up == nil {
		up = &node{name: path.Base(parent), dir: true}
		if err := a.put(parent, up); err != nil {
			return err
		}
	}
	if !up.dir {
		return fmt.Errorf("open archive: %q is a file and a folder", parent)
	}
	up.children = append(up.children, n)
	return nil
}

// Open is part of fs.FS.
func (a *archive) Open(name string) (fs.File, error) {
	n := a.nodes[name]
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case n == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &opened{SectionReader: io.NewSectionReader(a.from, n.at, n.size), node: n}, nil
}

// opened is an open file or folder of an archive.
type opened struct {
	*io.SectionReader
	*node
	read int
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.node, nil }
func (o *opened) Close() error               { return nil }
func (o *opened) Size() int64                { return o.size }

// ReadDir is part of fs.ReadDirFile.
func (o *opened) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := o.children[o.read:]
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		rest = rest[:min(n, len(rest))]
	}
	o.read += len(rest)
	return rest, nil
}

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return n.size }
func (n *node) ModTime() time.Time         { return time.Time{} }
func (n *node) IsDir() bool                { return n.dir }
func (n *node) Sys() any                   { return nil }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) Type() fs.FileMode          { return n.Mode().Type() }
func (n *node) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// plainFiles are the plain files and the folders of a file system; to open anything else may wait for ever.
type plainFiles struct{ fs.FS }

// Open is part of fs.FS.
func (p plainFiles) Open(name string) (fs.File, error) {
	if info, err := fs.Stat(p.FS, name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no plain file")}
	}
	return p.FS.Open(name)
}

// Stat is part of fs.StatFS.
func (p plainFiles) Stat(name string) (fs.FileInfo, error) { return fs.Stat(p.FS, name) }

// Lstat is part of fs.ReadLinkFS: of a link it tells of the link.
func (p plainFiles) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(p.FS, name) }

// ReadLink is part of fs.ReadLinkFS.
func (p plainFiles) ReadLink(name string) (string, error) { return fs.ReadLink(p.FS, name) }

// OpenPath opens a folder of evidence, or an archive of one, by its path.
func OpenPath(name string) (fs.FS, io.Closer, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open evidence: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, nil, fmt.Errorf("open evidence: %w", err)
		}
		return plainFiles{root.FS()}, root, nil
	}
	if !info.Mode().IsRegular() { // to open a pipe waits until somebody writes to it
		return nil, nil, fmt.Errorf("open evidence: %s is neither a folder nor a file: want a folder of evidence or an auditor bundle", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open evidence: %w", err)
	}
	fsys, err := OpenArchive(f, info.Size())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return fsys, f, nil
}
