package bundles

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/policies"
)

// The set of a pack judges every fixture of the built-in policies as the set it was made of: verdict, effect, violations,
// reason, waiver.
func TestPackJudgesTheSame(t *testing.T) {
	text := "apiVersion: proviso.dev/v1alpha1\nkind: Profile\nmode: warn\nsets: {ours: [de, fr]}\nparameters: {jurisdictions: [ours]}\n"
	profile, err := ParseProfile("proviso.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Selection{
		"everything": {},
		"a webhook's": {Profile: profile, With: map[string][]string{"veleroServiceAccounts": {"system:serviceaccount:velero:velero"}},
			Tightenings: []Tightening{{Unknown: "deny"}},
			Waivers: []engine.Waiver{{ID: "W-1", Policy: "residency/location-region-allowed", Subjects: engine.Selector{Kind: "BackupStorageLocation"},
				Owner: "o", Reason: "r", Approver: "a", Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}}},
	} {
		if s.Catalogue, err = Read(s.Profile.Table(), Source{FS: policies.FS, Lazy: true}); err != nil {
			t.Fatal(err)
		}
		set, err := s.Set()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Pack()
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadPack(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		packed, err := p.Set()
		if err != nil {
			t.Fatal(err)
		}
		// A rule is compiled when it is first asked, which may take long on a busy machine.
		set, packed = set.WithLimit(time.Minute), packed.WithLimit(time.Minute)
		told, waived := map[engine.Verdict]int{}, 0
		err = fs.WalkDir(policies.FS, ".", func(file string, d fs.DirEntry, err error) error {
			if dir := path.Base(path.Dir(file)); err != nil || d.IsDir() || dir != "good" && dir != "bad" {
				return err
			}
			fixture, err := fs.ReadFile(policies.FS, file)
			if err != nil {
				return err
			}
			for sub, err := range fixtureSubjects(file, fixture, set) {
				if err != nil {
					continue // not a manifest: Check reads the fixtures
				}
				want := set.Judge(context.Background(), *sub, newFixtureFacts(fixture, set), fixtureTime)
				got := packed.Judge(context.Background(), *sub, newFixtureFacts(fixture, packed), fixtureTime)
				if len(got) != len(want) {
					t.Fatalf("%s, %s: %s has %d decisions, and %d from the pack", name, file, sub, len(want), len(got))
				}
				for i := range want {
					if w, g := said(want[i]), said(got[i]); w != g {
						t.Errorf("%s, %s: %s says\n%s\nand from the pack\n%s", name, file, sub, w, g)
					}
					told[want[i].Verdict]++
					if want[i].Waived {
						waived++
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if told[engine.Pass] < 100 || told[engine.Fail] < 100 || told[engine.Unknown] == 0 || (waived == 0) != (len(s.Waivers) == 0) {
			t.Errorf("%s: only %v and %d waived are compared", name, told, waived)
		}
	}
}

// said is a decision without the policy's rule and the waiver's address.
func said(d engine.Decision) string {
	id := d.Policy.ID
	if d.Waiver != nil {
		id += " " + d.Waiver.ID
	}
	d.Policy, d.Waiver = nil, nil
	type fields engine.Decision // which has no String
	return fmt.Sprintf("%s %+v", id, fields(d))
}
