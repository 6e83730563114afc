package bundles_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// entry is a file of an archive.
type entry struct {
	tar.Header
	body string
}

func entries(t testing.TB, raw []byte) []entry {
	t.Helper()
	var all []entry
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*h, string(body)})
	}
}

func archive(t testing.TB, all []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.body))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func plain(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}, body}
}

func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// small is a pack of one policy of one's own, with all that a pack may have.
func small(t testing.TB) []byte {
	t.Helper()
	p, err := bundles.ParseProfile("proviso.yaml", []byte(`apiVersion: proviso.dev/v1alpha1
kind: Profile
unknown: warn
waivers: [{id: W-1, policy: RET-99, subjects: {name: x}, owner: o, reason: r, approver: a, expires: 2027-01-31}]
`))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := bundles.Read(p.Table(), bundles.Source{FS: whole()})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := bundles.Selection{Catalogue: cat, Profile: p, Waivers: []engine.Waiver{waiver("W-2")}, Tightenings: []bundles.Tightening{{Mode: "warn"}},
		Defaults: bundles.Defaults{Mode: engine.ModeRecord}}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// verified reads a pack and makes its set.
func verified(raw []byte) (*engine.Set, error) {
	p, err := bundles.ReadPack(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return p.Set()
}

// forged is a pack that somebody altered who knows how digests are made.
func forged(t *testing.T, raw []byte, alter func(m *bundles.Manifest, s *bundles.Settings, files map[string]string)) []byte {
	t.Helper()
	var m bundles.Manifest
	files := map[string]string{}
	all := entries(t, raw)
	for _, e := range all[1:] {
		files[e.Name] = e.body
	}
	if err := json.Unmarshal([]byte(all[0].body), &m); err != nil {
		t.Fatal(err)
	}
	var settings bundles.Settings
	if err := json.Unmarshal([]byte(files["settings.json"]), &settings); err != nil {
		t.Fatal(err)
	}
	alter(&m, &settings, files)
	text := func(v any) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	files["settings.json"] = text(settings)
	m.Files = nil
	var out []entry
	for _, name := range slices.Sorted(maps.Keys(files)) {
		m.Files = append(m.Files, bundles.PackedFile{Path: name, Digest: engine.Digest(digest(files[name]))})
		out = append(out, plain(name, files[name]))
	}
	return archive(t, append([]entry{plain("pack.json", text(m))}, out...))
}

func TestReadPackRefuses(t *testing.T) {
	raw := small(t)
	const rule, yaml, profile = "policies/retention/kept/policy.cel", "policies/retention/kept/policy.yaml", "profile.yaml"
	if _, err := verified(forged(t, raw, func(*bundles.Manifest, *bundles.Settings, map[string]string) {})); err != nil {
		t.Fatalf("a pack that nobody altered: %v", err)
	}
	edited := func(edit func([]entry) []entry) []byte { return archive(t, edit(entries(t, raw))) }
	forge := func(alter func(*bundles.Manifest, *bundles.Settings, map[string]string)) []byte {
		return forged(t, raw, alter)
	}
	replaced := func(files map[string]string, name, old, new string) {
		if !strings.Contains(files[name], old) {
			t.Fatalf("%s does not hold %q", name, old)
		}
		files[name] = strings.Replace(files[name], old, new, 1)
	}
	link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: rule, Linkname: "/etc/passwd", Format: tar.FormatUSTAR}, ""}
	for name, c := range map[string]struct {
		raw    []byte
		want   string
		broken bool // it is a pack, and does not hold
	}{
		"nothing":           {nil, "it is none", false},
		"a text":            {[]byte("pack.json"), "it is none", false},
		"another archive":   {archive(t, []entry{plain("a", "b")}), "it is none", false},
		"a later format":    {edited(func(e []entry) []entry { e[0].body = strings.Replace(e[0].body, "pack/v1", "pack/v2", 1); return e }), `its format is "https://proviso.dev/policy-pack/v2"`, false},
		"no manifest in it": {archive(t, []entry{plain("pack.json", "")}), "pack.json: unexpected end", true},
		"a rule altered":    {edited(func(e []entry) []entry { e[1].body += " "; return e }), rule + ": its digest is sha256:", true},
		"a digest altered": {edited(func(e []entry) []entry {
			e[0].body = strings.Replace(e[0].body, `.yaml",`+"\n      \"digest\": \"sha256:", `.yaml",`+"\n      \"digest\": \"sha257:", 1)
			return e
		}), "its digest is", true},
		"a file taken away":  {edited(func(e []entry) []entry { return slices.Delete(e, 2, 3) }), `"` + yaml + `" is missing`, true},
		"a file added":       {edited(func(e []entry) []entry { return append(e, plain("policies/retention/other/policy.yaml", "x")) }), "policies/retention/other/policy.yaml was added", true},
		"a file twice":       {edited(func(e []entry) []entry { return append(e, e[1]) }), rule + " is there twice", true},
		"the manifest twice": {edited(func(e []entry) []entry { return append(e, e[0]) }), "pack.json is there twice", true},
		"a link":             {edited(func(e []entry) []entry { e[1] = link; return e }), "is no plain file", true},
		"a folder": {edited(func(e []entry) []entry {
			return append(e, entry{tar.Header{Typeflag: tar.TypeDir, Name: "policies/", Format: tar.FormatUSTAR}, ""})
		}), "is no plain file", true},
		"a file with extras": {edited(func(e []entry) []entry {
			e[1].Format, e[1].PAXRecords = tar.FormatPAX, map[string]string{"A.b": "c"}
			return e
		}), "is no plain file", true},
		"a path that leads out": {edited(func(e []entry) []entry { return append(e, plain("../policy.yaml", "x")) }), "is no file of a pack", true},
		"one elsewhere":         {edited(func(e []entry) []entry { return append(e, plain("rules/retention/kept/policy.yaml", "x")) }), "is no file of a pack", true},
		"one from the root":     {edited(func(e []entry) []entry { return append(e, plain("/policies/retention/policy.yaml", "x")) }), "is no file of a pack", true},
		"one in the middle":     {edited(func(e []entry) []entry { return append(e, plain("policies/retention/../policy.yaml", "x")) }), "is no name for a pack", true},
		"another domain":        {edited(func(e []entry) []entry { return append(e, plain("policies/etc/kept/policy.yaml", "x")) }), "is no file of a pack", true},
		"a fixture":             {edited(func(e []entry) []entry { return append(e, plain("policies/retention/kept/README.md", "x")) }), "is no file of a pack", true},
		"another order":         {edited(func(e []entry) []entry { e[1], e[2] = e[2], e[1]; return e }), "the archive is not as it was written", true},
		"another time":          {edited(func(e []entry) []entry { e[1].ModTime = time.Unix(1, 0); return e }), "the archive is not as it was written", true},
		"another mode":          {edited(func(e []entry) []entry { e[1].Mode = 0o755; return e }), "the archive is not as it was written", true},
		"something after it":    {append(slices.Clone(raw), "more"...), "the archive is not as it was written", true},
		"cut off in a file":     {raw[:len(raw)-1500], "settings.json: unexpected EOF", true},
		"cut off in a header":   {raw[:700+512*((len(entries(t, raw)[0].body)+511)/512)], "after 1 files: unexpected EOF", true},
		"cut off at its end":    {raw[:len(raw)-512], "the archive is not as it was written", true},
		"a rule forged":         {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) { replaced(f, rule, "<", ">") }), "make the policy set", true},
		"a policy forged":       {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) { replaced(f, yaml, "high", "low") }), "make the policy set", true},
		"a mode forged": {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) {
			replaced(f, profile, "unknown: warn", "unknown: deny")
		}), "make the policy set", true},
		"a default forged":  {forge(func(m *bundles.Manifest, _ *bundles.Settings, _ map[string]string) { m.Defaults.Mode = "deny" }), "make the policy set", true},
		"a default of none": {forge(func(m *bundles.Manifest, _ *bundles.Settings, _ map[string]string) { m.Defaults.Unknown = "" }), "does not say what its files make", true},
		"a policy's own":    {forge(func(m *bundles.Manifest, _ *bundles.Settings, _ map[string]string) { m.Policies[0].Mode = "deny" }), "does not say what its files make", true},
		"a parameter": {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) {
			s.With = map[string][]string{"minimum": {"1h"}}
		}), "minimum: expected string, but got array", false},
		"a tightening less": {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) { s.Tightenings = nil }), "make the policy set", true},
		"a waiver forged": {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) {
			replaced(f, profile, "2027", "2097")
		}), "does not say what its files make", true},
		"a waiver more": {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) { s.Waivers = nil }), "does not say what its files make", true},
		"a waiver for longer": {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) {
			s.Waivers[0].Expires = "2097-01-01"
		}), "does not say what its files make", true},
		"settings altered": {edited(func(e []entry) []entry { e[4].body = strings.Replace(e[4].body, "2027", "2097", 1); return e }), "settings.json: its digest is", true},
		"settings that cannot be": {edited(func(e []entry) []entry {
			e[4].body = "["
			e[0].body = strings.Replace(e[0].body, digest(entries(t, raw)[4].body), digest("["), 1)
			return e
		}), "settings.json: unexpected end", true},
		"a waiver less":        {forge(func(m *bundles.Manifest, _ *bundles.Settings, _ map[string]string) { m.Waivers = m.Waivers[1:] }), "does not say what its files make", true},
		"a waiver without end": {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) { s.Waivers[0].Expires = "never" }), `expires "never" is no date`, false},
		"a waiver of nobody":   {forge(func(_ *bundles.Manifest, s *bundles.Settings, _ map[string]string) { s.Waivers[0].Owner = "" }), "owner is missing", false},
		"no policies":          {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) { delete(f, rule); delete(f, yaml) }), "holds no policy", false},
		"a rule alone": {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) {
			f["policies/retention/other/policy.cel"] = "[]"
		}), "does not say what its files make", true},
		"two rules": {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) {
			f["policies/retention/kept/policy.rego"] = "x"
		}), "want exactly one", false},
		"a broken profile":      {forge(func(_ *bundles.Manifest, _ *bundles.Settings, f map[string]string) { f[profile] = "kind: [" }), "profile.yaml:2:1", false},
		"a member nobody knows": {edited(func(e []entry) []entry { e[0].body = strings.Replace(e[0].body, "{", `{"x": 1,`, 1); return e }), "does not say what its files make", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verified(c.raw)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if broken := new(bundles.BrokenPack); errors.As(err, &broken) != c.broken {
				t.Errorf("%v: told as broken %v, want %v", err, !c.broken, c.broken)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func TestReadPackReads(t *testing.T) {
	if _, err := bundles.ReadPack(zeros{}); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("a pack without end: %v", err)
	}
	if _, err := bundles.ReadPack(torn{}); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("a pack that cannot be read: %v", err)
	}
}

// No bit of a pack may differ.
func TestEveryBitOfAPack(t *testing.T) {
	raw := small(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	for bit := 0; bit < 8*len(raw); bit += step {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := verified(raw); err == nil {
			t.Errorf("bit %d of byte %d may be flipped", bit%8, bit/8)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
}

// Whatever is read gives the recorded set.
func FuzzReadPack(f *testing.F) {
	raw := small(f)
	f.Add(raw)
	f.Add(raw[:1024])
	all := entries(f, raw)
	f.Add(archive(f, all[:2]))
	all[1].Format = tar.FormatPAX
	f.Add(archive(f, all))
	f.Fuzz(func(t *testing.T, raw []byte) { recorded(t, raw) })
}

// The same of packs whose digests are right, whatever they hold.
func FuzzForgedPack(f *testing.F) {
	raw := small(f)
	body := func(i int) string { return entries(f, raw)[i].body }
	f.Add(body(0), body(1), body(2), body(3), body(4))
	f.Fuzz(func(t *testing.T, manifest, rule, policy, profile, settings string) {
		all := entries(t, raw)
		for i, text := range []string{manifest, rule, policy, profile, settings} {
			if i > 0 {
				all[0].body = strings.Replace(all[0].body, digest(all[i].body), digest(text), 1)
			}
			all[i].body = text
		}
		recorded(t, archive(t, all))
	})
}

func recorded(t *testing.T, raw []byte) {
	p, err := bundles.ReadPack(bytes.NewReader(raw))
	if err != nil {
		return
	}
	set, err := p.Set()
	if err == nil && (set.Digest() != p.PolicySet || len(set.Policies()) != len(p.Policies) || len(set.Waivers()) != len(p.Waivers)) {
		t.Errorf("the set is not the recorded one")
	}
}
