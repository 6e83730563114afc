// Package etcd turns an etcd snapshot file into one EtcdSnapshot artifact: whether its hash is right, whether its pages
// agree, its revision, its keys, and how many Secrets in it are encrypted. It only reads, and neither a key nor a value
// leaves it.
//
// The database is opened in a child process with little memory and little time, because the library that reads it maps
// the file and may crash, or never end, on a damaged one.
//
// Start at [File]; a program that uses it must also call [Child].
package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"proviso.dev/proviso/engine"
)

// Verb is the first argument that makes this program call [Child] with those that follow.
const Verb = "__etcd-child"

const (
	apiVersion = "artifact.proviso.dev/v1alpha1"
	kind       = "EtcdSnapshot"
	// sector is what the size of a bbolt file is a multiple of, so that a rest of a hash's length is a hash.
	sector = 512
	// maxSize is above any database that etcd can serve; what is larger is a sparse file meant to keep us busy.
	maxSize = 256 << 30

	defaultMemory  = 1 << 30
	defaultTimeout = 10 * time.Minute
)

// The states of a snapshot's hash.
const (
	hashValid   = "valid"
	hashInvalid = "invalid"
	hashMissing = "missing"
)

// File inspects one snapshot file, as etcdctl snapshot save writes it, or a copy of a member's database, which has no hash.
// It implements [engine.Inspector]: it yields one EtcdSnapshot, then an [engine.Unread] for what of it could not be told. A
// file that is no regular file or no database, or cannot be read to its end, yields only that.
type File struct {
	// Path is the file as the user named it.
	Path string
	// Self is the command that ends in a call of [Child]; nil is this very program with [Verb].
	Self []string
	// Memory is how many bytes the child may use besides the mapped file; 0 is 1 GiB.
	Memory int64
	// Timeout is how long the child may run; 0 is ten minutes.
	Timeout time.Duration
}

// Inspect yields the snapshot.
func (f *File) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		sub, hashed, err := f.hash(ctx)
		if err != nil {
			kind := engine.Broken
			if ctx.Err() != nil || errors.Is(err, errChanged) {
				kind = engine.Hole
			}
			yield(nil, f.unread(kind, err))
			return
		}
		told, err := f.ask(ctx)
		if err == nil && !f.still(hashed) {
			err = errChanged // the figures may be another file's than the hash
		}
		if err == nil {
			err = told.into(sub.Object)
		}
		if !yield(sub, nil) || err == nil {
			return
		}
		yield(nil, f.unread(engine.Hole, fmt.Errorf("read database: %w", err)))
	}
}

func (f *File) unread(kind engine.UnreadKind, err error) error {
	return &engine.Unread{Source: "etcd:" + f.Path, Position: engine.Position{File: f.Path}, Err: err, Kind: kind}
}

var errChanged = errors.New("the file changed while it was read (copy it, then scan the copy)")

// still reports whether the path leads to the very file that was opened, unchanged.
func (f *File) still(opened os.FileInfo) bool {
	now, err := os.Lstat(f.Path)
	return err == nil && os.SameFile(now, opened) && now.Size() == opened.Size() && now.ModTime().Equal(opened.ModTime())
}

// hash is the subject with all that needs no database, and the file it was read from.
func (f *File) hash(ctx context.Context) (*engine.Subject, os.FileInfo, error) {
	named, err := os.Lstat(f.Path)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	case !named.Mode().IsRegular():
		return nil, nil, fmt.Errorf("open snapshot: it is no regular file but %s (name the file itself)", named.Mode().Type())
	case named.Size() == 0:
		return nil, nil, errors.New("open snapshot: the file is empty (take the snapshot again)")
	case named.Size() > maxSize:
		return nil, nil, fmt.Errorf("open snapshot: it has %d bytes, more than etcd can serve (%d)", named.Size(), int64(maxSize))
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	opened, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	if !os.SameFile(named, opened) {
		return nil, nil, fmt.Errorf("open snapshot: %w", errChanged)
	}
	if !isDatabase(file) {
		return nil, nil, errors.New("open snapshot: it is no etcd database, nor a damaged one (give the file that etcdctl snapshot save wrote)")
	}
	state, whole, err := sum(ctx, file, opened.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("read snapshot: %w", err)
	}
	if !f.still(opened) {
		return nil, nil, fmt.Errorf("read snapshot: %w", errChanged)
	}
	name := filepath.Base(f.Path)
	return &engine.Subject{
		APIVersion: apiVersion, Kind: kind, Name: name,
		Object: map[string]any{
			"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name},
			"file": f.Path, "size": opened.Size(), "modified": opened.ModTime().UTC().Format(time.RFC3339),
			"hash": map[string]any{"state": state},
		},
		Origin: engine.Origin{Source: "etcd:" + f.Path, Position: engine.Position{File: f.Path}, Digest: whole},
	}, opened, nil
}

// A bbolt file begins with two pages of the size its writer's machine has, and behind each page's header stands a number
// that only bbolt writes, in that machine's order of bytes.
const (
	pageHeader = 16
	leastPage  = 1 << 10
	mostPage   = 64 << 10
)

var magics = [][]byte{{0xED, 0xDA, 0x0C, 0xED}, {0xED, 0x0C, 0xDA, 0xED}}

// isDatabase reports whether either of the first two pages says that it is bbolt's. What says so and is damaged is a
// snapshot to judge; what does not is another kind of file.
func isDatabase(file io.ReaderAt) bool {
	marked := func(at int64) bool {
		mark := make([]byte, 4)
		n, _ := file.ReadAt(mark, at+pageHeader)
		return n == len(mark) && slices.ContainsFunc(magics, func(m []byte) bool { return bytes.Equal(m, mark) })
	}
	found := marked(0)
	for size := int64(leastPage); size <= mostPage && !found; size *= 2 {
		found = marked(size)
	}
	return found
}

// sum reads size bytes and tells whether the last 32 are the SHA-256 of those before, and the digest of all.
func sum(ctx context.Context, r io.Reader, size int64) (state string, whole engine.Digest, err error) {
	body := size
	if size%sector == sha256.Size {
		body -= sha256.Size
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, contextReader{ctx, io.LimitReader(r, body)}, make([]byte, 1<<20)); err != nil {
		return "", "", err
	}
	of := h.Sum(nil)
	trailer := make([]byte, size-body)
	if _, err := io.ReadFull(r, trailer); err != nil {
		return "", "", errChanged
	}
	if n, _ := r.Read(make([]byte, 1)); n > 0 {
		return "", "", errChanged
	}
	h.Write(trailer)
	whole = engine.Digest(fmt.Sprintf("sha256:%x", h.Sum(nil)))
	switch {
	case len(trailer) == 0:
		return hashMissing, whole, nil
	case bytes.Equal(trailer, of):
		return hashValid, whole, nil
	}
	return hashInvalid, whole, nil
}

// contextReader ends with the context's error.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
