//go:build unix

package producer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// lock takes what one writer has until both are closed: the folder, which nobody can take away from under it and make anew,
// and the file in it, which tells others whose it is and stays empty.
func lock(dir, name string) (folder, file *os.File, err error) {
	if folder, err = os.Open(dir); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			folder.Close()
		}
	}()
	// A network file system may lock files alone.
	err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !slices.ContainsFunc([]error{syscall.EBADF, syscall.EINVAL, syscall.ENOTSUP}, func(e error) bool { return errors.Is(err, e) }) {
		return nil, nil, locked(dir, name, err)
	}
	if file, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	// The flock excludes; this one is there to be asked for its process.
	if err == nil {
		err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	}
	if err != nil {
		return nil, nil, errors.Join(locked(name, name, err), file.Close())
	}
	return folder, file, nil
}

// locked says who has the lock that could not be had.
func locked(path, name string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	owner := "another process"
	if f, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
		defer f.Close()
		asked := syscall.Flock_t{Type: syscall.F_WRLCK}
		switch err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &asked); {
		case err == nil && asked.Type != syscall.F_UNLCK:
			owner = fmt.Sprintf("process %d", asked.Pid)
		case err == nil:
			owner = "this process"
		}
	}
	return fmt.Errorf("%s is writing to it: one folder has one writer; wait for it to end, or name another folder", owner)
}
