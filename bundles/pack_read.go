package bundles

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// maxPack is how many bytes of a pack are read: two hundred times what the built-in policies take.
const maxPack = 64 << 20

// Pack is a pack that was read: every file has the digest that its manifest says. Whether the policies are those it says
// is for [Pack.Set] to find out.
type Pack struct {
	Manifest
	Settings Settings
	// Digest is that of the whole.
	Digest engine.Digest
	files  map[string][]byte
}

// BrokenPack is the error of what is a pack and does not hold: something in it was altered, added or taken away.
type BrokenPack struct{ Err error }

func (b *BrokenPack) Error() string { return "verify pack: " + b.Err.Error() }

// Unwrap is what is wrong.
func (b *BrokenPack) Unwrap() error { return b.Err }

func broken(format string, args ...any) error { return &BrokenPack{fmt.Errorf(format, args...)} }

// ReadPack reads a pack of whatever origin. It takes nothing but what [Selection.Pack] writes, byte for byte, so that there
// is one pack for a selection, and nothing rides along.
func ReadPack(r io.Reader) (*Pack, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxPack+1))
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	if len(raw) > maxPack {
		return nil, fmt.Errorf("read pack: it is larger than %d MiB", maxPack>>20)
	}
	p := &Pack{Digest: digestOf(raw), files: map[string][]byte{}}
	t := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := t.Next()
		if len(p.files) == 0 && (err != nil || h.Name != manifestFile) {
			return nil, fmt.Errorf("read pack: it is none: want a tar file that begins with %s (proviso bundle build writes one)", manifestFile)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken("after %d files: %w", len(p.files), err)
		}
		// Other formats know holes, which make much of few bytes.
		if h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
			return nil, broken("%q is no plain file", h.Name)
		}
		if err := packable(h.Name); err != nil {
			return nil, broken("%q %w", h.Name, err)
		}
		if _, twice := p.files[h.Name]; twice {
			return nil, broken("%s is there twice", h.Name)
		}
		if p.files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, broken("%s: %w", h.Name, err)
		}
	}
	if err := json.Unmarshal(p.files[manifestFile], &p.Manifest); err != nil {
		return nil, broken("%s: %w", manifestFile, err)
	}
	if p.Format != PackFormat {
		return nil, fmt.Errorf("read pack: its format is %q: this version of Proviso reads %s", p.Format, PackFormat)
	}
	if err := p.digests(); err != nil {
		return nil, err
	}
	if raw, ok := p.files[settingsFile]; ok {
		if err := json.Unmarshal(raw, &p.Settings); err != nil {
			return nil, broken("%s: %w", settingsFile, err)
		}
	}
	if again, err := tarOf(p.files); err != nil || !bytes.Equal(raw, again) {
		return nil, broken("the archive is not as it was written: something between the files was altered or added")
	}
	return p, nil
}

// digests holds the files against the manifest, both ways.
func (p *Pack) digests() error {
	listed := map[string]bool{manifestFile: true}
	for _, f := range p.Files {
		listed[f.Path] = true
		raw, ok := p.files[f.Path]
		if !ok {
			return broken("%q is missing", f.Path)
		}
		if have := digestOf(raw); have != f.Digest {
			return broken("%s: its digest is %s, and %s says %q", f.Path, have, manifestFile, f.Digest)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if !listed[name] {
			return broken("%s was added: %s does not list it", name, manifestFile)
		}
	}
	return nil
}

// Set makes the set again, with its waivers. It is the recorded one or an error. Rules are compiled when they are first
// asked, as those of a lazy [Source].
func (p *Pack) Set() (*engine.Set, error) {
	s, err := p.selection()
	if err != nil {
		return nil, err
	}
	set, err := s.Set()
	if err != nil {
		return nil, fmt.Errorf("load pack: %w", err)
	}
	if set.Digest() != p.PolicySet {
		return nil, broken("its files make the policy set %s, and %s says %q", set.Digest(), manifestFile, p.PolicySet)
	}
	again, err := s.archive(set)
	if err != nil {
		return nil, fmt.Errorf("load pack: %w", err)
	}
	if digestOf(again) != p.Digest {
		return nil, broken("%s does not say what its files make: policies, waivers or modes differ", manifestFile)
	}
	return set, nil
}

func (p *Pack) selection() (Selection, error) {
	s := Selection{With: p.Settings.With, Tightenings: p.Settings.Tightenings, Defaults: Defaults{mode(0, p.Defaults.Mode), mode(0, p.Defaults.Unknown)}}
	fail := func(err error) (Selection, error) { return s, fmt.Errorf("load pack: %w", err) }
	var err error
	if raw, ok := p.files[profileFile]; ok {
		if s.Profile, err = ParseProfile(profileFile, raw); err != nil {
			return fail(err)
		}
	}
	for i := range p.Settings.Waivers {
		w, err := p.Settings.Waivers[i].waiver()
		if err != nil {
			return fail(fmt.Errorf("waiver %q: %w", w.ID, err))
		}
		s.Waivers = append(s.Waivers, w)
	}
	folders, err := p.folders()
	if err != nil {
		return fail(err)
	}
	if s.Catalogue, err = Read(s.Profile.Table(), Source{FS: folders, Lazy: true}); err != nil {
		return fail(err)
	}
	return s, nil
}

// folders are the policies' folders. A zip file is the one file system in memory that the standard library has.
func (p *Pack) folders() (*zip.Reader, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, raw := range p.files {
		inside, ok := strings.CutPrefix(name, policiesDir+"/")
		if !ok {
			continue
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: inside, Method: zip.Store})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(raw); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
}
