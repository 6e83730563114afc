package evidence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/mod/sumdb/note"
)

// ReadTrust reads whom to believe from a file, as ParseTrust does.
func ReadTrust(name string) (*Trust, error) {
	raw, err := readNamed(name)
	if err != nil {
		return nil, err
	}
	t, err := ParseTrust(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// ReadCheckpoint reads a checkpoint that somebody kept, for Options.Against. Whether it is one of the log that is checked, Verify
// says.
func ReadCheckpoint(name string) ([]byte, error) {
	raw, err := readNamed(name)
	if err != nil {
		return nil, err
	}
	if _, err := note.Open(raw, note.VerifierList()); err != nil {
		if _, signed := errors.AsType[*note.UnverifiedNoteError](err); !signed {
			return nil, fmt.Errorf("%s: it is no checkpoint of a log: want a copy of the file %s of a folder of evidence: %w", name, CheckpointFile, err)
		}
	}
	return raw, nil
}

// readNamed reads a small file that the user names, or a pipe. What has no end is too large.
func readNamed(name string) (raw []byte, err error) {
	defer func() {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, errors.New("it is a folder: name a file")
	}
	if raw, err = io.ReadAll(io.LimitReader(f, maxTrust+1)); err == nil && len(raw) > maxTrust {
		err = fmt.Errorf("it is larger than %d bytes", maxTrust)
	}
	return raw, err
}
