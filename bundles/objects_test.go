package bundles_test

import (
	"fmt"
	"strings"
	"testing"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/policies"
)

func builtin(t *testing.T) *bundles.Catalogue {
	t.Helper()
	cat, err := bundles.Read(nil, bundles.Source{FS: policies.FS, Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestProfileObjectsOnlyTighten(t *testing.T) {
	cat := builtin(t)
	defaults := bundles.Defaults{Mode: engine.ModeWarn, Unknown: engine.ModeDeny}
	file, err := bundles.ParseProfile("p.yaml", []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\npolicies:\n  encryption/storage-class-encrypts: {mode: deny}\n  residency/location-region-allowed: {mode: record}\n"))
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	of := func(spec object) object {
		return object{"apiVersion": "proviso.dev/v1alpha1", "kind": "Profile", "metadata": object{"name": "p"}, "spec": spec}
	}
	for name, c := range map[string]struct {
		spec object
		want string // "" is accepted
	}{
		"stricter for all":       {object{"mode": "deny"}, ""},
		"the same":               {object{"mode": "warn"}, ""},
		"looser for all":         {object{"mode": "record"}, "would loosen"},
		"looser unknowns":        {object{"unknown": "warn"}, "would loosen"},
		"stricter for one":       {object{"policies": object{"residency/location-region-allowed": object{"mode": "warn"}}}, ""},
		"by its number":          {object{"policies": object{"RES-01": object{"mode": "deny"}}}, ""},
		"looser by its number":   {object{"policies": object{"ENC-01": object{"mode": "warn"}}}, "would loosen what the profile's file says, which is deny"},
		"by both":                {object{"policies": object{"RES-01": object{"mode": "deny"}, "residency/location-region-allowed": object{"mode": "deny"}}}, "is there twice"},
		"looser for one":         {object{"policies": object{"encryption/storage-class-encrypts": object{"mode": "warn"}}}, "would loosen what the profile's file says, which is deny"},
		"disabling":              {object{"policies": object{"encryption/storage-class-encrypts": object{"disabled": true}}}, "cannot disable"},
		"parameters":             {object{"policies": object{"encryption/storage-class-encrypts": object{"parameters": object{"x": "y"}}}}, "cannot be told"},
		"a policy that is not":   {object{"policies": object{"encryption/none-such": object{"mode": "deny"}}}, "no policy"},
		"waivers in a profile":   {object{"waivers": []any{}}, "unknown field"},
		"a mode of another type": {object{"mode": int64(1)}, "read Profile"},
		"no such mode":           {object{"mode": "refuse"}, "unknown mode"},
	} {
		tightening, err := cat.TighteningOf(of(c.spec), file, defaults)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil {
			continue
		}
		before, err := cat.Select(file, defaults)
		if err != nil {
			t.Fatal(err)
		}
		after, err := cat.Select(file.Tightened([]bundles.Tightening{tightening}), defaults)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range after.Policies() {
			if was := before.Policies()[i]; p.Mode > was.Mode || p.Unknown > was.Unknown {
				t.Errorf("%s: %s is looser than before", name, p.ID)
			}
			if policies, _ := c.spec["policies"].(object); policies["RES-01"] != nil && p.Ref == "RES-01" && p.Mode != engine.ModeDeny {
				t.Errorf("%s: %s is %v, want deny", name, p.ID, p.Mode)
			}
			if c.spec["mode"] == "deny" && p.Mode != engine.ModeDeny {
				t.Errorf("%s: %s is not tightened", name, p.ID)
			}
		}
	}
}

func TestWaiverObjects(t *testing.T) {
	cat := builtin(t)
	type object = map[string]any
	whole := func() object {
		return object{"policy": "encryption/storage-class-encrypts", "subjects": object{"kind": "StorageClass", "name": "old"}, "owner": "a", "reason": "b", "approver": "c", "expires": "2027-01-31"}
	}
	w, err := cat.WaiverOf(object{"metadata": object{"name": "w1"}, "spec": whole()})
	if err != nil || w.ID != "w1" || w.Subjects.Name != "old" || w.Expires.Format("2006-01-02") != "2027-02-01" {
		t.Errorf("%+v, %v", w, err)
	}
	for field, value := range map[string]any{"policy": "encryption/none", "expires": "soon", "owner": "", "reason": nil, "approver": "", "subjects": map[string]any{}} {
		spec := whole()
		spec[field] = value
		if _, err := cat.WaiverOf(object{"metadata": object{"name": "w1"}, "spec": spec}); err == nil {
			t.Errorf("a waiver with %s %v is accepted", field, value)
		}
	}
	if _, err := cat.WaiverOf(object{"metadata": object{"name": "w1"}}); err == nil {
		t.Error("a waiver without spec is accepted")
	}
}

// A waiver that is read again is the same value, in whatever zone it is written: what changes is loaded anew.
func TestWaiversReadAgainAreTheSame(t *testing.T) {
	cat := builtin(t)
	for _, expires := range []string{"2027-01-31", "2027-01-31T12:00:00+02:00", "2027-01-31T12:00:00+05:30"} {
		object := map[string]any{"metadata": map[string]any{"name": "w"}, "spec": map[string]any{"policy": "encryption/storage-class-encrypts",
			"subjects": map[string]any{"kind": "StorageClass", "name": "old"}, "owner": "a", "reason": "b", "approver": "c", "expires": expires}}
		var read [2]engine.Waiver
		for i := range read {
			var err error
			if read[i], err = cat.WaiverOf(object); err != nil {
				t.Fatal(err)
			}
		}
		if fmt.Sprint(read[0]) != fmt.Sprint(read[1]) {
			t.Errorf("%s: %v, then %v", expires, read[0], read[1])
		}
	}
}
