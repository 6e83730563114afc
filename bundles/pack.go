package bundles

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/region"
)

// Selection is everything that decides which policies are in force and how. Set makes the set of it; Pack keeps all of it,
// so that the same set can be made again when the folders, the cluster and the flags are long gone.
type Selection struct {
	// Catalogue was read with the profile's table of regions.
	Catalogue *Catalogue
	// Profile is as it was parsed; nil selects everything.
	Profile  *Profile
	Defaults Defaults
	// With are parameters from outside the profile, as in [Profile.With].
	With map[string][]string
	// Waivers and Tightenings are from outside the profile, too: they are objects of a cluster.
	Waivers     []engine.Waiver
	Tightenings []Tightening
}

// Set makes the set. A waiver of the profile wins over one from outside that took its id.
func (s Selection) Set() (*engine.Set, error) {
	p := s.Profile
	for _, name := range slices.Sorted(maps.Keys(s.With)) {
		p = p.With(name, s.With[name])
	}
	set, err := s.Catalogue.Select(p.Tightened(s.Tightenings), s.Defaults)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(s.Waivers)
	for _, w := range set.Waivers() {
		all = slices.DeleteFunc(all, func(other engine.Waiver) bool { return other.ID == w.ID })
		all = append(all, *w)
	}
	return set.WithWaivers(all)
}

// PackFormat is the format of a pack, a URI that never changes its meaning.
const PackFormat = "https://proviso.dev/policy-pack/v1"

// The files of a pack beside those of the policies, policies/DOMAIN/NAME/policy.yaml and its rule.
const (
	manifestFile = "pack.json"
	profileFile  = "profile.yaml"
	settingsFile = "settings.json"
	policiesDir  = "policies"
)

// Manifest is pack.json, the first file of a pack: what the others make, and their digests. But for the defaults it says
// nothing of its own.
type Manifest struct {
	Format    string         `json:"format"`
	PolicySet engine.Digest  `json:"policySet"`
	Defaults  PackedModes    `json:"defaults"`
	Policies  []PackedPolicy `json:"policies"`
	// Waivers are all that are in force.
	Waivers []WaiverEntry `json:"waivers,omitempty"`
	Files   []PackedFile  `json:"files"`
}

// Settings is settings.json: what comes from outside the profile, as in [Selection].
type Settings struct {
	With        map[string][]string `json:"parameters,omitempty"`
	Waivers     []WaiverEntry       `json:"waivers,omitempty"`
	Tightenings []Tightening        `json:"tightenings,omitempty"`
}

// PackedModes are deny, warn or record.
type PackedModes struct {
	Mode    string `json:"mode"`
	Unknown string `json:"unknown"`
}

// PackedPolicy is a policy in force.
type PackedPolicy struct {
	ID     string        `json:"id"`
	Digest engine.Digest `json:"digest"`
	PackedModes
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// PackedFile is a file of the pack. The profile is as the user wrote it; of the catalogue every policy is there, for the
// profile speaks of those it leaves out, too.
type PackedFile struct {
	Path   string        `json:"path"`
	Digest engine.Digest `json:"digest"`
}

// Pack writes the selection as a tar file that depends on nothing else: not on where the folders lie, what else they hold,
// or when it is written. What it writes it reads back, and gives out only what makes the same set.
func (s Selection) Pack() ([]byte, error) {
	set, err := s.Set()
	if err != nil {
		return nil, err
	}
	table := s.Profile.Table()
	if table == nil {
		table = region.Builtin()
	}
	for _, f := range s.Catalogue.Folders {
		if f.regions != table {
			return nil, fmt.Errorf("pack policies: %s was read with another table of regions than the profile's", f.ID)
		}
	}
	raw, err := s.archive(set)
	if err != nil {
		return nil, fmt.Errorf("pack policies: %w", err)
	}
	pack, err := ReadPack(bytes.NewReader(raw))
	if err == nil {
		_, err = pack.Set()
	}
	if err != nil {
		return nil, fmt.Errorf("pack policies: what was written does not read back: %w", err)
	}
	return raw, nil
}

// archive writes the selection whose set that is.
func (s Selection) archive(set *engine.Set) ([]byte, error) {
	m := Manifest{Format: PackFormat, PolicySet: set.Digest(), Defaults: modes(s.Defaults.Mode, s.Defaults.Unknown)}
	for _, p := range set.Policies() {
		packed := PackedPolicy{ID: p.ID, Digest: p.Digest, PackedModes: modes(p.Mode, p.Unknown)}
		if len(p.Params) > 0 {
			packed.Parameters = jsonOf(p.Params)
		}
		m.Policies = append(m.Policies, packed)
	}
	settings := Settings{With: s.With}
	for _, w := range set.Waivers() {
		entry := entryOf(w)
		m.Waivers = append(m.Waivers, entry)
		if s.Profile == nil || !slices.ContainsFunc(s.Profile.waivers, func(own engine.Waiver) bool { return own.ID == w.ID }) {
			settings.Waivers = append(settings.Waivers, entry)
		}
	}
	// A cluster lists its objects in no order, and the strictest of them holds in any.
	settings.Tightenings = slices.SortedFunc(slices.Values(s.Tightenings), func(a, b Tightening) int { return bytes.Compare(jsonOf(a), jsonOf(b)) })
	files := map[string][]byte{}
	if s.Profile != nil {
		files[profileFile] = s.Profile.raw
	}
	for _, f := range s.Catalogue.Folders {
		files[path.Join(policiesDir, f.Dir, "policy.yaml")] = f.raw
		files[path.Join(policiesDir, f.Dir, f.ruleFile)] = f.source
	}
	var err error
	if len(settings.With)+len(settings.Waivers)+len(settings.Tightenings) > 0 {
		if files[settingsFile], err = textOf(settings); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		m.Files = append(m.Files, PackedFile{name, digestOf(files[name])})
	}
	if files[manifestFile], err = textOf(m); err != nil {
		return nil, err
	}
	return tarOf(files)
}

// textOf is JSON for people.
func textOf(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func modes(mode, unknown engine.Mode) PackedModes {
	return PackedModes{mode.String(), unknown.String()}
}

// entryOf is the waiver as it is written.
func entryOf(w *engine.Waiver) WaiverEntry {
	e := WaiverEntry{ID: w.ID, Policy: w.Policy, Owner: w.Owner, Reason: w.Reason, Approver: w.Approver, Ticket: w.Ticket,
		Expires: w.Expires.UTC().Format(time.RFC3339Nano)}
	s := w.Subjects
	e.Subjects.Group, e.Subjects.Kind, e.Subjects.Namespace, e.Subjects.Name, e.Subjects.Labels = s.Group, s.Kind, s.Namespace, s.Name, s.Labels
	return e
}

// tarOf is the one tar file that holds these files, sorted by name, the manifest at its head; all that is not name or
// content is the same for each.
func tarOf(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func digestOf(raw []byte) engine.Digest {
	sum := sha256.Sum256(raw)
	return engine.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// packable says why a pack may not hold a file of that name, or nothing. The names are plain, whatever system somebody
// unpacks them on.
func packable(name string) error {
	if name == manifestFile || name == profileFile || name == settingsFile {
		return nil
	}
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != policiesDir || !slices.Contains(Domains, parts[1]) || !slices.Contains([]string{"policy.yaml", "policy.rego", "policy.cel"}, parts[3]) {
		return errors.New("is no file of a pack")
	}
	if plain := parts[2]; strings.Trim(plain, ".") == "" || strings.Trim(strings.ToLower(plain), "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return errors.New("is no name for a pack: want a policy's folder named in letters, digits, dots and dashes")
	}
	return nil
}
