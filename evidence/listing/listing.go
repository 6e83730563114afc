// Package listing is a file system whose names are held in memory, and whose bytes are read where they lie.
package listing

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// FS is a file system of the files that were put into it; their folders are there by themselves.
type FS struct {
	// nodes are files and folders by path; "." is the root.
	nodes map[string]*node
}

// File is what a file system tells of a file. Open reads it from its start; io.ReaderAt of what it returns is passed on.
type File struct {
	Size     int64
	Mode     fs.FileMode
	Modified time.Time
	Open     func() (io.ReadCloser, error)
}

// node is a file or folder; it is its own fs.FileInfo and fs.DirEntry.
type node struct {
	File
	name     string
	children []fs.DirEntry
}

// New is a file system without files.
func New() *FS { return &FS{map[string]*node{".": folder(".")}} }

func folder(name string) *node {
	return &node{name: path.Base(name), File: File{Mode: fs.ModeDir | 0o555}}
}

// Put places a file. Its error is that something has the name already, or that a file stands in the place of a folder above it.
func (f *FS) Put(name string, file File) error {
	return f.put(name, &node{name: path.Base(name), File: file})
}

func (f *FS) put(name string, n *node) error {
	if f.nodes[name] != nil {
		return fmt.Errorf("%q is there already", name)
	}
	parent := path.Dir(name)
	up := f.nodes[parent]
	if up == nil {
		up = folder(parent)
		if err := f.put(parent, up); err != nil {
			return err
		}
	}
	if !up.IsDir() {
		return fmt.Errorf("%q is a file and a folder", parent)
	}
	f.nodes[name] = n
	at, _ := slices.BinarySearchFunc(up.children, n.name, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
	up.children = slices.Insert(up.children, at, fs.DirEntry(n))
	return nil
}

// Has reports whether there is something of that name.
func (f *FS) Has(name string) bool { return f.nodes[name] != nil }

func (f *FS) find(op, name string) (*node, error) {
	n := f.nodes[name]
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	case n == nil:
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Open is part of fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return &opened{node: n}, nil
	}
	body, err := n.File.Open()
	if err != nil {
		return nil, err
	}
	return &opened{node: n, ReadCloser: body}, nil
}

// Stat is part of fs.StatFS.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.Lstat(name) }

// Lstat is part of fs.ReadLinkFS: what a link was is in its mode.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink is part of fs.ReadLinkFS. No link is followed.
func (f *FS) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: errors.ErrUnsupported}
}

// opened is an open file or folder.
type opened struct {
	io.ReadCloser
	*node
	read int
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.node, nil }

func (o *opened) Read(b []byte) (int, error) {
	if o.ReadCloser == nil {
		return 0, &fs.PathError{Op: "read", Path: o.name, Err: fs.ErrInvalid}
	}
	return o.ReadCloser.Read(b)
}

// ReadAt is part of io.ReaderAt, where the file's bytes can be read so.
func (o *opened) ReadAt(b []byte, at int64) (int, error) {
	from, ok := o.ReadCloser.(io.ReaderAt)
	if !ok {
		return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.ErrUnsupported}
	}
	return from.ReadAt(b, at)
}

func (o *opened) Close() error {
	if o.ReadCloser == nil {
		return nil
	}
	return o.ReadCloser.Close()
}

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
func (n *node) Size() int64                { return n.File.Size }
func (n *node) ModTime() time.Time         { return n.Modified }
func (n *node) IsDir() bool                { return n.File.Mode.IsDir() }
func (n *node) Sys() any                   { return nil }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) Type() fs.FileMode          { return n.Mode().Type() }
func (n *node) Mode() fs.FileMode          { return n.File.Mode }
