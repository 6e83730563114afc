package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"proviso.dev/proviso/evidence"
)

// recordsTo holds the flags about a scan's evidence against each other and the folder, and lets nobody end the recording who
// no longer reads the report.
func (j *judging) recordsTo() error {
	switch {
	case j.evidence == "" && j.key != "":
		return errors.New("--key: it signs evidence, and none is recorded: name a folder with --evidence")
	case j.evidence == "":
		return nil
	case isURL(j.evidence):
		return errNoFolder(j.evidence)
	}
	// A write to a pipe that nobody reads kills, unless somebody asks for the signal: then it is an error like any other.
	// Programs that are started must not inherit that, as they would what is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return recordedOutside(j.evidence)
}

// recordedOutside checks where --evidence is to be recorded.
func recordedOutside(dir string) error {
	if err := outsideEvidence(dir); err != nil {
		return fmt.Errorf("--evidence: %w", err)
	}
	return nil
}

func isURL(name string) bool { return strings.Contains(name, "://") }

func errNoFolder(name string) error {
	return fmt.Errorf("--evidence %s: it is recorded into a folder; --copy s3://BUCKET/PREFIX copies that", name)
}

// toFile checks that a name is one to write a file under.
func toFile(name string) error {
	if name == "-" {
		return errors.New("it does not stand for standard output here: name a file")
	}
	return outsideEvidence(name)
}

// outsideEvidence refuses a target that lies in a folder of evidence: with what is not the log's own it does not verify.
func outsideEvidence(target string) error {
	// Some follow a link before they go up from it, others take "link/.." away.
	for _, name := range []string{target, filepath.Clean(target)} {
		at, err := folderOf(name)
		if err != nil {
			return err
		}
		for ; !holdsLog(at) && at != filepath.Dir(at); at = filepath.Dir(at) {
		}
		if holdsLog(at) {
			return fmt.Errorf("%s lies in the evidence folder %s: name a place outside of it", target, at)
		}
	}
	return nil
}

// folderOf is the folder that a name is in, or the nearest above it that is there; absolute and without links.
func folderOf(name string) (string, error) {
	if !filepath.IsAbs(name) {
		here, err := os.Getwd() // may go through links, and is resolved with the rest
		if err != nil {
			return "", err
		}
		name = here + string(filepath.Separator) + name
	}
	at, err := filepath.EvalSymlinks(name)
	if err == nil {
		return filepath.Dir(at), nil
	}
	for errors.Is(err, fs.ErrNotExist) && len(name) > 1 {
		name, _ = filepath.Split(strings.TrimRight(name, string(filepath.Separator)))
		at, err = filepath.EvalSymlinks(name)
	}
	return at, err
}

// holdsLog reports whether a folder is one of evidence.
func holdsLog(dir string) bool {
	for _, name := range []string{evidence.ProducerFile, evidence.CheckpointFile} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return false
		}
	}
	return true
}
