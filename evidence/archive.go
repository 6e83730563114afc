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
	"path/filepath"
	"strings"
	"time"

	"proviso.dev/proviso/evidence/listing"
)

const (
	// maxFiles is how many files an archive may have, maxName how long their names may be.
	maxFiles = 200_000
	maxName  = 255
	block    = 512
)

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
// headers, and nothing that two readers could understand in two ways. Its error is a [BundleAltered] where it was one of those.
func OpenArchive(in io.ReaderAt, size int64) (fs.FS, error) {
	a, from := listing.New(), &faulty{ReaderAt: in}
	refused := func(format string, args ...any) (fs.FS, error) {
		why := fmt.Sprintf(format, args...)
		was := wasBundle(from, size)
		switch {
		case from.err != nil: // that says nothing about the bytes
			return nil, fmt.Errorf("open archive: %w", from.err)
		case was:
			return nil, &BundleAltered{fmt.Errorf("open archive: %s (it was written as an auditor bundle, and was cut off or altered since)", why)}
		}
		return nil, fmt.Errorf("open archive: %s (an auditor bundle is read as proviso evidence export writes it, or unpacked, as a folder)", why)
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
		body := at
		open := func() (io.ReadCloser, error) {
			return section{io.NewSectionReader(in, body, h.Size), io.NopCloser(nil)}, nil
		}
		if err := a.Put(h.Name, listing.File{Size: h.Size, Mode: 0o444, Open: open}); err != nil {
			return refused("%v", err)
		}
		if at += h.Size; !zero(from, at, padding(h.Size)) {
			return refused("there is something after the end of %s", h.Name)
		}
		at += padding(h.Size)
	}
	return a, nil
}

// section is a part of something.
type section struct {
	*io.SectionReader
	io.Closer
}

// zero reports whether n bytes, at most two blocks of them, are zero.
func zero(from io.ReaderAt, at, n int64) bool {
	b := make([]byte, n)
	if _, err := from.ReadAt(b, at); err != nil {
		return n == 0
	}
	return bytes.Count(b, []byte{0}) == len(b)
}

// OpenPath opens a folder of evidence as it is now, though its writer goes on, or an archive of one, by its path.
func OpenPath(name string) (fs.FS, io.Closer, error) {
	info, err := os.Stat(name)
	if err != nil && strings.Contains(name, "://") {
		return nil, nil, fmt.Errorf("open evidence: %s is no path: want a folder of evidence or an auditor bundle (of buckets, proviso evidence verify alone reads)", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open evidence: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, nil, fmt.Errorf("open evidence: %w", err)
		}
		still, err := atRest(root.FS())
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("open evidence %s: %w", name, err), root.Close())
		}
		if holdsEvidence(still) {
			within := filepath.Join(name, ExportDir)
			err := fmt.Errorf("open evidence: %s is no folder of evidence; there is one in %s: name that", name, within)
			if besideEvidence(still) {
				err = &BundleAltered{fmt.Errorf("open evidence: %s is an auditor bundle without its manifest (if it never was one, name %s)", name, within)}
			}
			return nil, nil, errors.Join(err, root.Close())
		}
		return still, root, nil
	}
	if !info.Mode().IsRegular() { // to open a pipe waits until somebody writes to it
		return nil, nil, fmt.Errorf("open evidence: %s is neither a folder nor a file: want a folder of evidence or an auditor bundle", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open evidence: %w", err)
	}
	fsys, err := OpenArchive(f, info.Size())
	if err == nil && holdsEvidence(fsys) {
		err = &BundleAltered{errors.New("open archive: it is an auditor bundle without its manifest")}
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return fsys, f, nil
}
