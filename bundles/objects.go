package bundles

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// WaiverOf reads a Waiver object, whose name is the waiver's id. All problems are reported at once.
func (c *Catalogue) WaiverOf(object map[string]any) (engine.Waiver, error) {
	var entry WaiverEntry
	if err := specOf(object, &entry); err != nil {
		return engine.Waiver{}, fmt.Errorf("read Waiver: %w", err)
	}
	meta, _ := object["metadata"].(map[string]any)
	entry.ID, _ = meta["name"].(string)
	w, err := entry.waiver()
	if err != nil {
		return w, fmt.Errorf("waiver %q: %w", w.ID, err)
	}
	errs := []error{w.Validate()}
	if f, err := c.Folder(w.Policy); err == nil {
		w.Policy = f.ID
	} else if w.Policy != "" {
		errs = append(errs, fmt.Errorf("waiver %q: %w", w.ID, err))
	}
	return w, errors.Join(errs...)
}

// Tightening is what a Profile object says: modes that are stricter than those of the profile's file.
type Tightening struct {
	Mode     string                   `json:"mode,omitempty"`
	Unknown  string                   `json:"unknown,omitempty"`
	Policies map[string]PolicySetting `json:"policies,omitempty"`
}

// TighteningOf reads a Profile object. Anything in it that would loosen, or that cannot be told to tighten, is an error.
func (c *Catalogue) TighteningOf(object map[string]any, file *Profile, d Defaults) (Tightening, error) {
	var t Tightening
	if err := specOf(object, &t); err != nil {
		return t, fmt.Errorf("read Profile: %w", err)
	}
	if file == nil {
		file = &Profile{}
	}
	var errs []error
	check := func(at, text string, now engine.Mode) {
		m, ok := engine.ParseMode(text)
		switch {
		case text == "":
		case !ok:
			errs = append(errs, fmt.Errorf("spec.%s: unknown mode %q: want deny, warn or record", at, text))
		case m > now:
			errs = append(errs, fmt.Errorf("spec.%s: %s would loosen what the profile's file says, which is %s; objects may only tighten", at, text, engine.Effect(now)))
		}
	}
	check("mode", t.Mode, mode(d.Mode, file.Mode))
	check("unknown", t.Unknown, mode(d.Unknown, file.Unknown))
	byID := map[string]PolicySetting{}
	known, _ := c.settings(file) // what is wrong with the file was told when it was loaded
	for _, name := range slices.Sorted(maps.Keys(t.Policies)) {
		s, at := t.Policies[name], pathOf("policies", name)
		f, err := c.Folder(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.%s: %w", at, err))
			continue
		}
		if _, twice := byID[f.ID]; twice {
			errs = append(errs, fmt.Errorf("spec.%s: %s is there twice, by its id and by its number", at, f.ID))
		}
		byID[f.ID] = s
		if s.Disabled {
			errs = append(errs, fmt.Errorf("spec.%s.disabled: an object cannot disable a policy", at))
		}
		if len(s.Parameters) > 0 {
			errs = append(errs, fmt.Errorf("spec.%s.parameters: whether they tighten cannot be told; set them in the profile's file", at))
		}
		from := known[f.ID]
		check(at+".mode", s.Mode, mode(d.Mode, file.Mode, from.Mode))
		check(at+".unknown", s.Unknown, mode(d.Unknown, file.Unknown, from.Unknown))
	}
	if len(t.Policies) > 0 {
		t.Policies = byID
	}
	return t, errors.Join(errs...)
}

// Tightened is the profile with the objects' modes where they are stricter. A nil profile is an empty one.
func (p *Profile) Tightened(by []Tightening) *Profile {
	if p == nil {
		p = &Profile{}
	}
	with := *p
	with.tighter = slices.Concat(p.tighter, by)
	return &with
}

// tighten takes the strictest of a policy's modes.
func (p *Profile) tighten(policy *engine.Policy) {
	for _, t := range p.tighter {
		s := t.Policies[policy.ID]
		policy.Mode = min(policy.Mode, mode(policy.Mode, t.Mode), mode(policy.Mode, s.Mode))
		policy.Unknown = min(policy.Unknown, mode(policy.Unknown, t.Unknown), mode(policy.Unknown, s.Unknown))
	}
}

func specOf(object map[string]any, into any) error {
	raw, err := json.Marshal(object["spec"])
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
