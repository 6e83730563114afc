package locked

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// view is a folder of evidence as a seal lists it, read where it lies in the bucket.
type view struct {
	ctx    context.Context
	bucket *Bucket
	// nodes are files and folders by path; "." is the root.
	nodes map[string]*node

	mu sync.Mutex
	// err is the first error of the bucket: what could not be read is not for that altered.
	err error
}

// node is a file or folder; it is its own fs.FileInfo and fs.DirEntry.
type node struct {
	name     string
	dir      bool
	version  version
	children []fs.DirEntry
	// kept are the bytes of a small file that was read already.
	kept []byte
}

func newView(ctx context.Context, b *Bucket) *view {
	return &view{ctx: ctx, bucket: b, nodes: map[string]*node{".": {name: ".", dir: true}}}
}

// put places a file; a name that is there keeps what it has.
func (v *view) put(name string, n *node) {
	if v.nodes[name] != nil {
		return
	}
	v.nodes[name] = n
	parent := path.Dir(name)
	up := v.nodes[parent]
	if up == nil {
		up = &node{name: path.Base(parent), dir: true}
		v.put(parent, up)
	}
	at, _ := slices.BinarySearchFunc(up.children, n.name, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
	up.children = slices.Insert(up.children, at, fs.DirEntry(n))
}

// Open is part of fs.FS.
func (v *view) Open(name string) (fs.File, error) {
	n := v.nodes[name]
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case n == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case n.dir:
		return &opened{node: n, view: v}, nil
	case n.kept != nil:
		return &opened{node: n, view: v, ReadCloser: io.NopCloser(bytes.NewReader(n.kept))}, nil
	}
	r, err := v.bucket.open(v.ctx, n.version)
	if err != nil {
		return nil, v.failed(err)
	}
	return &opened{node: n, view: v, ReadCloser: r}, nil
}

func (v *view) failed(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	return err
}

// opened is an open file or folder.
type opened struct {
	io.ReadCloser
	*node
	view *view
	read int
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.node, nil }

func (o *opened) Read(p []byte) (int, error) {
	if o.dir {
		return 0, &fs.PathError{Op: "read", Path: o.name, Err: fs.ErrInvalid}
	}
	n, err := o.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, o.view.failed(err)
	}
	return n, err
}

func (o *opened) Close() error {
	if o.dir {
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
func (n *node) Size() int64                { return n.version.size }
func (n *node) ModTime() time.Time         { return n.version.modified }
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
