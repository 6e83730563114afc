package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	if err := toFile(name); err != nil {
		return nil, err
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
			info, err := os.Stat(input)
			if err == nil && (os.SameFile(info, there) || info.IsDir() && within(input, name) && !reportOf(name)) {
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

// within reports whether a file lies in a folder.
func within(folder, file string) bool {
	from, err := filepath.Abs(folder)
	to, err2 := filepath.Abs(file)
	rel, err3 := filepath.Rel(from, to)
	return errors.Join(err, err2, err3) == nil && filepath.IsLocal(rel)
}

// liesIn reports whether a file lies in a folder, which may not be there yet, by their names or where links lead.
func liesIn(folder, file string) bool {
	if within(folder, file) {
		return true
	}
	there, err := filepath.EvalSymlinks(folder)
	at, err2 := folderOf(file)
	return errors.Join(err, err2) == nil && within(there, at)
}

// reportOf reports whether a file is what an earlier run wrote, or of a kind that is never judged.
func reportOf(file string) bool {
	if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
		return true
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 4096))
	return err == nil && (bytes.Contains(start, []byte(`"kind": "Report"`)) || bytes.Contains(start, []byte("sarif")))
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
