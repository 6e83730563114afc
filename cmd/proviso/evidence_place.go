package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"proviso.dev/proviso/engine/inspect/cluster"
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
	if err := toFolder(dir); err != nil {
		return fmt.Errorf("--evidence: %w", err)
	}
	return nil
}

// toFolder checks that a name is one to record evidence into.
func toFolder(name string) error {
	if name == "-" {
		return errors.New("- does not stand for standard output here: name a folder")
	}
	return outsideEvidence(name)
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

// outsideEvidence refuses a target that lies in a folder of evidence, or in an unpacked auditor bundle: with what is not its own
// neither verifies.
func outsideEvidence(target string) error {
	// Some follow a link before they go up from it, others take "link/.." away.
	for _, name := range []string{target, filepath.Clean(target)} {
		at, err := folderOf(name)
		if err != nil {
			return fmt.Errorf("find the folder that %s is in: %w (name a place in a folder)", target, err)
		}
		for ; ; at = filepath.Dir(at) {
			if what := holdsLog(at); what != "" {
				return fmt.Errorf("%s lies in the %s %s: name a place outside of it", target, what, at)
			}
			if at == filepath.Dir(at) {
				break
			}
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

// holdsLog says what a folder is that nothing may be put into; empty is none.
func holdsLog(dir string) string {
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
			return err != nil
		})
	}
	switch {
	case has(evidence.ProducerFile, evidence.CheckpointFile):
		return "evidence folder"
	case has(evidence.ManifestFile, evidence.ManifestStatement):
		return "unpacked auditor bundle"
	}
	return ""
}

// judgedIn are the clusters of a scan, of what is known by their sources; one that does not say which it is is empty.
func judgedIn(asked *sources, known map[string]*evidence.Cluster) (all []evidence.Cluster) {
	for _, in := range asked.inspectors {
		if live, ok := in.(*cluster.Source); ok {
			where := evidence.Cluster{}
			if c := known["cluster:"+live.Name]; c != nil {
				where = *c
			}
			all = append(all, where)
		}
	}
	return all
}
