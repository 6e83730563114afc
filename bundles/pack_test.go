package bundles_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/policies"
)

const packedProfile = `apiVersion: proviso.dev/v1alpha1
kind: Profile
# What is written for people stays.
bundles: [builtin, ./mine]
frameworks: [gdpr, nist800-53r5]
unknown: warn
regions: [{provider: own, region: cellar-1, country: DE}]
sets: {ours: [de, fr]}
parameters: {jurisdictions: [ours]}
policies:
  RES-01: {mode: warn}
  encryption/endpoint-tls: {disabled: true}
waivers:
  - id: W-1
    policy: RES-01
    subjects: {kind: BackupStorageLocation, name: old, labels: {tier: cold}}
    owner: storage team
    reason: it goes in January
    approver: ciso@example.com
    expires: 2027-01-31
`

// selection is a selection of the built-in policies and one's own, as a cluster's webhook has it.
func selection(t *testing.T, text string) bundles.Selection {
	t.Helper()
	var p *bundles.Profile
	if text != "" {
		var err error
		if p, err = bundles.ParseProfile("proviso.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	cat, err := bundles.Read(p.Table(), bundles.Source{FS: policies.FS, Lazy: true}, bundles.Source{Name: "mine", FS: whole()})
	if err != nil {
		t.Fatal(err)
	}
	return bundles.Selection{Catalogue: cat, Profile: p}
}

func waiver(id string) engine.Waiver {
	return engine.Waiver{ID: id, Policy: "retention/kept", Subjects: engine.Selector{Kind: "Schedule", Name: "<x>"}, Owner: "o", Reason: "r", Approver: "a",
		Expires: time.Date(2027, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))}
}

// inForce is a selection with all that a cluster and flags add.
func inForce(t *testing.T) bundles.Selection {
	s := selection(t, packedProfile)
	s.Defaults = bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeDeny}
	s.With = map[string][]string{"veleroServiceAccounts": {"system:serviceaccount:velero:velero"}}
	s.Waivers = []engine.Waiver{waiver("W-3"), waiver("W-2")}
	s.Tightenings = []bundles.Tightening{{Mode: "deny"}, {Policies: map[string]bundles.PolicySetting{"retention/kept": {Unknown: "deny"}}}}
	return s
}

func pack(t *testing.T, s bundles.Selection) []byte {
	t.Helper()
	raw, err := s.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSelectionSet(t *testing.T) {
	s := inForce(t)
	mine := waiver("W-1") // the profile has one of that id
	s.Waivers = append(s.Waivers, mine)
	set, err := s.Set()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, w := range set.Waivers() {
		ids = append(ids, w.ID+" "+w.Owner)
	}
	if want := []string{"W-1 storage team", "W-2 o", "W-3 o"}; !slices.Equal(ids, want) {
		t.Errorf("waivers %q, want %q", ids, want)
	}
	with := 0
	for _, p := range set.Policies() {
		if p.Mode != engine.ModeDeny {
			t.Errorf("%s is not tightened", p.ID)
		}
		if v, ok := p.Params["veleroServiceAccounts"]; ok && reflect.DeepEqual(v, []any{"system:serviceaccount:velero:velero"}) {
			with++
		}
	}
	if with == 0 {
		t.Error("no policy has the parameter from outside")
	}
	s.Waivers = []engine.Waiver{waiver("W-2"), waiver("W-2")}
	if _, err := s.Set(); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("two waivers of one id: %v", err)
	}
}

// A pack gives the same set again: policies, parameters, modes, waivers.
func TestPackGivesTheSameSet(t *testing.T) {
	all := selection(t, "")
	loose := selection(t, "")
	loose.Defaults = bundles.Defaults{Mode: engine.ModeRecord, Unknown: engine.ModeWarn}
	for name, s := range map[string]bundles.Selection{"everything": all, "a profile": selection(t, packedProfile), "other defaults": loose, "a cluster's webhook": inForce(t)} {
		t.Run(name, func(t *testing.T) {
			want, err := s.Set()
			if err != nil {
				t.Fatal(err)
			}
			raw := pack(t, s)
			p, err := bundles.ReadPack(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(raw)); string(p.Digest) != sum || p.PolicySet != want.Digest() || len(p.Policies) != len(want.Policies()) {
				t.Errorf("%s, %s, %d policies; want %s, %s, %d", p.Digest, p.PolicySet, len(p.Policies), sum, want.Digest(), len(want.Policies()))
			}
			got, err := p.Set()
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest() != want.Digest() || len(got.Waivers()) != len(want.Waivers()) || len(p.Waivers) != len(want.Waivers()) {
				t.Errorf("the set is %s with %d waivers, want %s with %d", got.Digest(), len(got.Waivers()), want.Digest(), len(want.Waivers()))
			}
			for i, w := range want.Waivers() {
				have := *got.Waivers()[i]
				if !have.Expires.Equal(w.Expires) {
					t.Errorf("%s expires %s, want %s", w.ID, have.Expires, w.Expires)
				}
				if have.Expires = w.Expires; !reflect.DeepEqual(have, *w) {
					t.Errorf("waiver %+v, want %+v", have, *w)
				}
			}
			for i, w := range want.Policies() {
				have := got.Policies()[i]
				if have.ID != w.ID || have.Digest != w.Digest || have.Mode != w.Mode || have.Unknown != w.Unknown || !reflect.DeepEqual(have.Params, w.Params) {
					t.Errorf("%+v, want %+v", have, w)
				}
			}
		})
	}
}

// The digest of a small pack is written here: what it is changes for nobody, whatever Go or Proviso builds it.
func TestPackIsTheSameForever(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{FS: whole()})
	if err != nil {
		t.Fatal(err)
	}
	s := bundles.Selection{Catalogue: cat, Waivers: []engine.Waiver{waiver("W-2")}, Defaults: bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeDeny}}
	const want = "a68665f5a0ff736f2af363d463a6188dbe487dbf3dbee7dac6cfe1814d833145"
	if got := fmt.Sprintf("%x", sha256.Sum256(pack(t, s))); got != want {
		t.Errorf("the pack's digest is %s, want %s: a format that changes is another format", got, want)
	}
}

// Two builds are the same bytes wherever the folders lie, whenever their files were touched, whatever lies beside them, and
// in whatever order a cluster lists its objects.
func TestPackIsTheSameAnywhere(t *testing.T) {
	build := func(dir, from string, at time.Time, leave ...string) []byte {
		for name, f := range whole() {
			if slices.ContainsFunc(leave, func(part string) bool { return strings.Contains(name, part) }) {
				continue
			}
			file := filepath.Join(dir, "mine", filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(from)
		mine, err := filepath.Rel(from, filepath.Join(dir, "mine"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := bundles.ParseProfile(filepath.Join(mine, "proviso.yaml"), []byte(packedProfile))
		if err != nil {
			t.Fatal(err)
		}
		cat, err := bundles.Read(p.Table(), bundles.Source{FS: policies.FS, Lazy: true}, bundles.Source{Name: mine, FS: os.DirFS(mine)})
		if err != nil {
			t.Fatal(err)
		}
		s := inForce(t)
		s.Catalogue, s.Profile = cat, p
		if len(leave) > 0 {
			slices.Reverse(s.Waivers)
			slices.Reverse(s.Tightenings)
		}
		return pack(t, s)
	}
	one, two := t.TempDir(), t.TempDir()
	first := build(one, one, time.Unix(1, 0))
	second := build(two, filepath.Dir(two), time.Unix(2_000_000_000, 0), "README.md", "good/", "bad/")
	if !bytes.Equal(first, second) {
		t.Error("the packs differ")
	}
}

// What a pack could not give back is not packed.
func TestPackRefuses(t *testing.T) {
	added := selection(t, packedProfile)
	added.Profile = added.Profile.With("veleroServiceAccounts", []string{"x"})
	tightened := selection(t, packedProfile)
	tightened.Defaults.Mode = engine.ModeWarn
	tightened.Profile = tightened.Profile.Tightened([]bundles.Tightening{{Mode: "deny"}})
	const short = "apiVersion: proviso.dev/v1alpha1\nkind: Profile\n"
	table := selection(t, short)
	table.Catalogue = selection(t, "").Catalogue
	unparsed := selection(t, "")
	unparsed.Profile = new(bundles.Profile)
	named := func(name string) bundles.Selection {
		files := fstest.MapFS{}
		for file, f := range whole() {
			files[strings.Replace(file, "kept", name, 1)] = f
		}
		cat, err := bundles.Read(nil, bundles.Source{FS: files})
		if err != nil {
			t.Fatal(err)
		}
		return bundles.Selection{Catalogue: cat}
	}
	nothing := selection(t, packedProfile)
	nothing.Catalogue = &bundles.Catalogue{}
	for name, c := range map[string]struct {
		selection bundles.Selection
		want      string
	}{
		"a parameter that the profile's text does not have": {added, "does not read back: verify pack: its files make the policy set"},
		"modes that the profile's text does not have":       {tightened, "does not read back: verify pack: its files make the policy set"},
		"another table of regions":                          {table, "was read with another table of regions"},
		"a profile without text":                            {unparsed, "does not read back: load pack: profile.yaml"},
		"a name for terminals":                              {named("k\u001b[31m"), "retention"},
		"a name for Windows":                                {named(`..\kept`), "is no name for a pack"},
		"a name of spaces":                                  {named("ke pt"), "is no name for a pack"},
		"a name that is too long":                           {named(strings.Repeat("k", 200)), "policy.cel"},
		"nothing":                                           {nothing, "no policy"},
	} {
		if raw, err := c.selection.Pack(); err == nil || raw != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Every policy of the catalogue is in the pack, with its rule and nothing else.
func TestPackHolds(t *testing.T) {
	s := selection(t, packedProfile)
	p, err := bundles.ReadPack(bytes.NewReader(pack(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"profile.yaml": true}
	for _, f := range s.Catalogue.Folders {
		want["policies/"+f.ID+"/policy.yaml"] = true
		want["policies/"+f.ID+"/policy."+f.Language] = true
	}
	var have []string
	for _, f := range p.Files {
		have = append(have, f.Path)
	}
	if names := slices.Sorted(maps.Keys(want)); !slices.Equal(have, names) {
		t.Errorf("%q, want %q", have, names)
	}
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(packedProfile))); string(p.Files[len(p.Files)-1].Digest) != sum {
		t.Error("the profile is not there as it was written")
	}
}
