package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// outputFile is where a report goes. Name is the file it takes the place of once it is whole; empty where it is written
// to directly.
type outputFile struct {
	*os.File
	name string
}

// createOutput opens the file of a report. It may be none of the inputs.
func createOutput(name string, inputs []string) (*outputFile, error) {
	if name == "" {
		return nil, errors.New("it names no file: want FORMAT=FILE")
	}
	there, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case there.IsDir():
		return nil, fmt.Errorf("%s is a folder: name a file in it", name)
	case !there.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &outputFile{File: f}, err
	default:
		for _, input := range inputs {
			if info, err := os.Stat(input); err == nil && os.SameFile(info, there) {
				return nil, fmt.Errorf("%s is an input: name another file", name)
			}
		}
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return nil, err
		}
	}
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fmt.Errorf("write into the folder %s: %w", dir, errors.Unwrap(err))
	}
	return &outputFile{f, name}, nil
}

// keep closes the file and gives it its name.
func (f *outputFile) keep() error {
	if f.name == "" {
		return f.Close()
	}
	err := errors.Join(f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.name)
	}
	return err
}

// discard takes the file away.
func (f *outputFile) discard() {
	f.Close()
	if f.name != "" {
		os.Remove(f.Name())
	}
}
