package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// list notes every file of the folder.
func (v *verification) list() error {
	clear(v.files)
	if err := v.walk(v.fsys, v.placed); err != nil {
		return err
	}
	if v.exported != nil || v.files[ProducerFile] != nil {
		return nil
	}
	for name := range v.files {
		dir, _, _ := strings.Cut(name, "/")
		begun := slices.Contains([]string{"records", "inputs", ObjectsDir, SealsDir}, dir) || strings.HasPrefix(name, "log/tile/")
		if begun && v.files[CheckpointFile] != nil {
			return nil // what is missing is told
		}
	}
	return errors.New("read evidence: there is no producer.json: this is no evidence folder, or making one was cut off before anything was recorded")
}

// placed reports whether what is checked may have a file of that name.
func (v *verification) placed(name string) bool {
	if v.exported != nil && (name == SaltFile || name == LockFile || strings.HasPrefix(name, "log/.state/")) {
		return false
	}
	return Placed(name)
}

// walk notes every file. What is neither a file nor a folder has no place in evidence.
func (v *verification) walk(fsys fs.FS, placed func(name string) bool) error {
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			v.problem(FileUnlisted, name, "it is no plain file")
			return nil
		}
		if v.exported == nil && unfinished(name) {
			v.hole(Unfinished, name, "it is half made: a run was cut off there, or is at it; no record rests on it, and the next run removes it")
			return nil
		}
		if !placed(name) {
			v.problem(FileUnlisted, name, "evidence has no such file")
			return nil
		}
		v.files[name] = info
		return nil
	})
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	return nil
}

var unfinishedLog = regexp.MustCompile(`^log/(\.state/(version|treeState)|tile/(entries|[0-7])/(x\d{3}/)*\d{3}(\.p/[1-9])?)\d+$`)

// unfinished reports whether a file is one that a writer has not finished: it ends in .tmp, or lies in what does, or Tessera
// has it under a name that goes on with a random number.
func unfinished(name string) bool {
	_, _, tile := parseTile(name)
	return strings.Contains(name+"/", ".tmp/") || !tile && unfinishedLog.MatchString(name)
}

// Placed reports whether a folder of evidence has files of that name.
func Placed(name string) bool {
	if slices.Contains([]string{ProducerFile, KeyFile, TrustedRootFile, SaltFile, LockFile, CheckpointFile}, name) {
		return true
	}
	dir, base := path.Split(name)
	switch {
	case dir == "records/" || dir == "inputs/":
		_, ok := segmentOf(name)
		return ok
	case dir == ObjectsDir+"/":
		raw, err := hex.DecodeString(base)
		return err == nil && len(raw) == sha256.Size && base == strings.ToLower(base)
	case strings.HasPrefix(dir, "log/tile/"):
		return true
	case strings.HasPrefix(dir, SealsDir+"/"):
		_, ok := sealOf(path.Dir(name))
		return ok && slices.Contains([]string{SealFiles, SealCheckpoint, SealPopulation, SealStatement}, base)
	}
	_, state := stateFiles[name]
	return state
}

// read reads a file whole, up to a limit.
func (v *verification) read(name string, limit int64) ([]byte, bool) {
	info := v.files[name]
	switch {
	case info == nil:
		v.problem(FileMissing, name, "it is not there")
		return nil, false
	case info.Size() > limit:
		v.problem(FileAltered, name, "it has %d bytes: at most %d are read", info.Size(), limit)
		return nil, false
	}
	raw, err := fs.ReadFile(v.fsys, name)
	if err != nil {
		v.problem(FileMissing, name, "read: %v", err)
		return nil, false
	}
	return raw, true
}
