// Package store lists and opens files in a folder, a tar file or an S3 bucket. It only reads, it never writes to disk,
// and what it answers is whole or an error: a listing that fails ends with its error, a file that ends early is not a
// shorter file.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
)

// Info is what is known of a file without reading it.
type Info struct {
	// Key is the file's name relative to the store's root, with slashes.
	Key  string
	Size int64
	// Modified is when the file was last written; zero where that is not known.
	Modified time.Time
	// Version and ETag name the very bytes in an S3 bucket; empty elsewhere.
	Version, ETag string
}

// Store is a place that holds files.
type Store interface {
	// List yields the files whose keys start with prefix, sorted by key. A listing with an error is not whole: an
	// [*EntryError] stands in the place of what it names, and the listing goes on; it ends after any other.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Open reads a file as it was when it was opened. Errors wrap fs.ErrNotExist, [ErrRefused], [ErrUnsupported] or
	// [ErrUnavailable] where they are that.
	Open(ctx context.Context, key string) (io.ReadCloser, Info, error)
	// String is how the user named the store, without credentials.
	String() string
}

// What a store may answer instead of a file.
var (
	// ErrRefused is that the store knows us and says no (HTTP 401, 403).
	ErrRefused = errors.New("refused")
	// ErrUnsupported is that the store has no such call (HTTP 501, 405).
	ErrUnsupported = errors.New("not supported by this store")
	// ErrUnavailable is that the store did not answer, or not wholly, within the budget of retries.
	ErrUnavailable = errors.New("unavailable")
)

// EntryError is one entry of a listing that is no file to read.
type EntryError struct {
	Store, Key string
	Err        error
}

func (e *EntryError) Error() string { return fmt.Sprintf("list %s in %s: %v", e.Key, e.Store, e.Err) }

// Unwrap is what is wrong with the entry.
func (e *EntryError) Unwrap() error { return e.Err }

// Open is the store a user names: a folder, a file ending in .tar, .tar.gz or .tgz, or s3://bucket/prefix as
// [ParseSource] reads it.
func Open(ctx context.Context, text string) (Store, error) {
	if strings.HasPrefix(text, "s3://") {
		s, err := ParseSource(text)
		if err != nil {
			return nil, err
		}
		return S3(ctx, s)
	}
	info, err := os.Stat(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	case info.IsDir():
		return Folder(text)
	case strings.HasSuffix(text, ".tar"), strings.HasSuffix(text, ".tar.gz"), strings.HasSuffix(text, ".tgz"):
		return Tar(text)
	}
	return nil, fmt.Errorf("open store %s: it is a file: want a folder, a .tar, .tar.gz or .tgz file, or s3://bucket/prefix", text)
}
