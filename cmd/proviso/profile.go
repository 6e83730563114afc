package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
	"proviso.dev/proviso/policies"
)

// readProfile reads the profile, from the file named or from proviso.yaml where there is one, and finds the policies it wants.
func readProfile(file string) (*bundles.Profile, []bundles.Source, error) {
	chosen, err := findProfile(file)
	if err != nil {
		return nil, nil, err
	}
	return chosen.read()
}

// profileText is a profile as it was found; without a file there is none.
type profileText struct {
	file string
	raw  []byte
}

func findProfile(file string) (profileText, error) {
	if file == "none" {
		return profileText{}, nil
	}
	if file == "" {
		if _, err := os.Stat("proviso.yaml"); errors.Is(err, fs.ErrNotExist) {
			return profileText{}, nil
		}
		file = "proviso.yaml"
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return profileText{}, fmt.Errorf("read profile: %w", err)
	}
	return profileText{file, raw}, nil
}

// mark names the profile in a report.
func (t profileText) mark() report.Profile {
	if t.file == "" {
		return report.Profile{}
	}
	return report.Profile{File: t.file, Digest: engine.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(t.raw)))}
}

// selection is the policies that the profile wants, and how.
func (t profileText) selection() (bundles.Selection, error) {
	profile, sources, err := t.read()
	if err != nil {
		return bundles.Selection{}, err
	}
	catalogue, err := bundles.Read(profile.Table(), sources...)
	return bundles.Selection{Catalogue: catalogue, Profile: profile}, err
}

func (t profileText) read() (*bundles.Profile, []bundles.Source, error) {
	builtin := bundles.Source{FS: policies.FS, Lazy: true}
	if t.file == "" {
		return nil, []bundles.Source{builtin}, nil
	}
	p, err := bundles.ParseProfile(t.file, t.raw)
	if err != nil {
		return nil, nil, err
	}
	var sources []bundles.Source
	for i, b := range p.Bundles {
		if b == "builtin" {
			sources = append(sources, builtin)
			continue
		}
		dir := b
		if !filepath.IsAbs(b) {
			dir = filepath.Join(filepath.Dir(t.file), b)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, nil, p.Problem(fmt.Sprintf("bundles[%d]", i), fmt.Sprintf("there is no folder %s: want builtin, or a folder relative to the profile", dir))
		}
		sources = append(sources, bundles.Source{Name: filepath.ToSlash(dir), FS: os.DirFS(dir)})
	}
	if len(sources) == 0 {
		sources = []bundles.Source{builtin}
	}
	return p, sources, nil
}
