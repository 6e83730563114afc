package locked

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"proviso.dev/proviso/evidence/listing"
)

// view is a folder of evidence as a seal lists it, read where it lies in the bucket.
type view struct {
	*listing.FS
	ctx    context.Context
	bucket *Bucket

	mu sync.Mutex
	// err is the first error of the bucket: what could not be read is not for that altered.
	err error
}

// viewed is a file of a view, and its bytes where it is small and was read already.
type viewed struct {
	version version
	kept    []byte
}

func newView(ctx context.Context, b *Bucket) *view {
	return &view{FS: listing.New(), ctx: ctx, bucket: b}
}

// put places a file; a name that is there keeps what it has.
func (v *view) put(name string, f *viewed) error {
	if v.Has(name) {
		return nil
	}
	return v.Put(name, listing.File{Size: f.version.size, Mode: 0o444, Modified: f.version.modified, Open: func() (io.ReadCloser, error) {
		if f.kept != nil {
			return io.NopCloser(bytes.NewReader(f.kept)), nil
		}
		body, err := v.bucket.open(v.ctx, f.version)
		if err != nil {
			return nil, v.failed(err)
		}
		return &watched{body, v}, nil
	}})
}

func (v *view) failed(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	return err
}

// watched is an object that is being read.
type watched struct {
	io.ReadCloser
	from *view
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.from.failed(err)
	}
	return n, err
}
