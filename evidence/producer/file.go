package producer

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// reserved is how many bytes are held back on the disk, so that a run can end with a Gap, a Close and a checkpoint though
// the disk is full.
const reserved = 1 << 20

const unfinished = ".tmp"

// errFull says that a bound was reached, which counts as a full disk.
var errFull = fmt.Errorf("the bound of the evidence folder is reached: %w", syscall.ENOSPC)

// full reports whether space is all that is missing.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// disk accounts for the bytes of a folder and holds the reserve.
type disk struct {
	bytes atomic.Int64
	// held is a file without a name: nobody sees it, and it is gone with the process.
	held *os.File
	free atomic.Bool
}

func (d *disk) reserve(dir string) error {
	name := filepath.Join(dir, "reserve"+unfinished)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	d.held = f
	if err := os.Remove(name); err != nil {
		return err
	}
	// Random, for a file system that compresses would hold nothing back for zeros.
	if _, err := io.CopyN(f, rand.Reader, reserved); err != nil {
		return err
	}
	return f.Sync()
}

// release gives the reserve to the last records.
func (d *disk) release() {
	if d.free.CompareAndSwap(false, true) {
		d.held.Close()
	}
}

// fits reports whether n more bytes keep within a bound.
func (d *disk) fits(n int, bound int64) bool {
	if !d.free.Load() {
		bound -= reserved
	}
	return d.bytes.Load()+int64(n) <= bound
}

func (d *disk) close() error {
	if d.held != nil {
		d.release()
	}
	return nil
}

// file is one file of records or inputs. What is durable in it never changes; what could not be made durable is not in it.
type file struct {
	path string
	size int64
	// whole checks a line that is durable, the n-th, where the file must be read again.
	whole func(line []byte, n int) error
	// told hears of an error that was made good.
	told func(error)
	// f is nil when the handle failed: after an error of fsync nothing that handle says later is to be believed.
	f *os.File
}

// openFile opens or makes a file, all of which is durable.
func openFile(path string, whole func([]byte, int) error, told func(error)) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{path: path, size: info.Size(), whole: whole, told: told, f: f}, nil
}

// append makes bytes durable at the end of the file; where it fails, none of them are there.
func (a *file) append(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if a.f == nil {
		return a.restore(b)
	}
	_, err := a.f.WriteAt(b, a.size)
	if err != nil && full(err) {
		if cut := a.f.Truncate(a.size); cut == nil {
			return fmt.Errorf("write %s: %w", a.path, err)
		}
	}
	if err == nil {
		err = a.f.Sync()
	}
	if err != nil {
		a.f.Close()
		a.f = nil
		err = fmt.Errorf("write %s: %w", a.path, err)
		if again := a.restore(b); again != nil {
			return errors.Join(err, again)
		}
		a.told(fmt.Errorf("%w: the file was checked and made anew, and nothing is lost", err))
		return nil
	}
	a.size += int64(len(b))
	return nil
}

// restore makes the file anew: what was durable, held against what is known of it, and b. Pages that fsync gave up are
// clean to the kernel and may never reach the disk; those of a new file are dirty.
func (a *file) restore(b []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore %s: %w", a.path, err)
		}
	}()
	old, err := os.Open(a.path)
	if errors.Is(err, fs.ErrNotExist) && a.size == 0 {
		old, err = nil, nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(a.path+unfinished, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(a.path + unfinished)
		}
	}()
	if old != nil {
		defer old.Close()
		if err := a.copy(f, old); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(b, a.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(a.path+unfinished, a.path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(a.path)); err != nil {
		return err
	}
	a.f, a.size = f, a.size+int64(len(b))
	return nil
}

func (a *file) copy(to io.Writer, from io.Reader) error {
	in := bufio.NewReader(io.LimitReader(from, a.size))
	for n, copied := 0, int64(0); copied < a.size; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read line %d: %w", n+1, err)
		}
		if err := a.whole(bytes.TrimSuffix(line, []byte("\n")), n); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if _, err := to.Write(line); err != nil {
			return err
		}
		copied += int64(len(line))
	}
	return nil
}

var errReplaced = errors.New("it is not the one this run opened: it was removed, or another was put in its place; nothing more is recorded here: start anew, and look into what was done to the folder")

// same checks that a name leads to an open file still. What is written to another nobody finds.
func same(f *os.File, path string) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !os.SameFile(is, named) {
		return fmt.Errorf("%s: %w", path, errReplaced)
	}
	return err
}

func (a *file) close() error {
	if a == nil || a.f == nil {
		return nil
	}
	return a.f.Close()
}

// writeFile makes a small file durable, whole or not at all.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		os.Remove(path + unfinished)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
