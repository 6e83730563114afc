package evidence

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// BundleAltered is the error of a file that was an auditor bundle and cannot be opened as one any more: it was cut off, or a
// byte between its files was altered.
type BundleAltered struct{ err error }

func (e *BundleAltered) Error() string { return e.err.Error() }
func (e *BundleAltered) Unwrap() error { return e.err }

// Verified is what checking it finds.
func (e *BundleAltered) Verified() *Verified {
	return &Verified{Problems: []Problem{{Code: FileAltered, Text: e.Error()}}, Unchecked: []string{"what is in it: it cannot be opened"}}
}

// wasBundle reports whether a file was written as an auditor bundle, whatever became of it: near its beginning there is the
// header of a file that one has, as it is written.
func wasBundle(from io.ReaderAt, size int64) bool {
	head := make([]byte, block)
	for at := int64(0); at+block <= min(size, 1<<20); at += block {
		if _, err := from.ReadAt(head, at); err != nil {
			return false
		}
		h, err := tar.NewReader(bytes.NewReader(head)).Next()
		if err != nil {
			continue
		}
		inner, within := strings.CutPrefix(h.Name, ExportDir+"/")
		if within && Placed(inner) || exportPlaced(h.Name) {
			if want, err := archiveHeader(h.Name, h.Size); err == nil && bytes.Equal(head, want) {
				return true
			}
		}
	}
	return false
}

// holdsEvidence reports whether a file system is none of evidence, and has one in the place where an auditor bundle has it.
func holdsEvidence(fsys fs.FS) bool {
	return !isExport(fsys) && !there(fsys, ProducerFile) && there(fsys, path.Join(ExportDir, ProducerFile))
}

// besideEvidence reports whether a folder has what an auditor bundle, and nothing else, has beside its evidence.
func besideEvidence(fsys fs.FS) bool {
	return slices.ContainsFunc([]string{InstructionsFile, GapsFile, SummaryCSV, SummaryHTML}, func(name string) bool { return there(fsys, name) })
}

func there(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// faulty notes an error of reading that is not the end.
type faulty struct {
	io.ReaderAt
	err error
}

// ReadAt is part of io.ReaderAt.
func (f *faulty) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) && f.err == nil {
		f.err = err
	}
	return n, err
}
