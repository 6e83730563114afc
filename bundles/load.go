package bundles

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
)

// Defaults are what holds where the profile says nothing: deny for lint and scan.
type Defaults struct{ Mode, Unknown engine.Mode }

// Load reads the policies, selects among them as the profile says, sets their parameters and modes, and compiles the
// set with the profile's waivers. A nil profile selects everything. All problems are reported at once.
func Load(p *Profile, d Defaults, sources ...Source) (*engine.Set, error) {
	if p == nil {
		p = &Profile{}
	}
	cat, err := Read(p.table, sources...)
	if err != nil {
		return nil, err
	}
	return cat.Select(p, d)
}

// Select makes the set that the profile describes.
func (c *Catalogue) Select(p *Profile, d Defaults) (*engine.Set, error) {
	if p == nil {
		p = &Profile{}
	}
	errs := c.checkNames(p)
	settings, twice := c.settings(p)
	errs = append(errs, twice...)
	var policies []engine.Policy
	for _, f := range c.Folders {
		setting := settings[f.ID].PolicySetting
		if setting.Disabled || !f.Serves(p.Frameworks...) {
			continue
		}
		policy := f.Policy
		policy.Mode = mode(d.Mode, p.Mode, setting.Mode)
		policy.Unknown = mode(d.Unknown, p.Unknown, setting.Unknown)
		p.tighten(&policy)
		var bad []error
		policy.Params, bad = f.params(p, settings[f.ID])
		errs = append(errs, bad...)
		policies = append(policies, policy)
	}
	if len(policies) == 0 && len(errs) == 0 {
		errs = append(errs, p.problem("", "the profile selects no policy"))
	}
	// A parameter that is wrong for several policies is one mistake.
	seen := map[string]bool{}
	errs = slices.DeleteFunc(errs, func(err error) bool {
		text := err.Error()
		again := seen[text]
		seen[text] = true
		return again
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	set, err := engine.NewSet(policies)
	if err != nil {
		return nil, err
	}
	waivers := slices.Clone(p.waivers)
	for i := range waivers {
		if f, err := c.Folder(waivers[i].Policy); err == nil { // by number, too
			waivers[i].Policy = f.ID
		}
	}
	return set.WithWaivers(waivers)
}

// setting is what a profile says of one policy, and the name it says it by: the policy's id or its number.
type setting struct {
	PolicySetting
	by string
}

// settings are what a profile says of policies, by id. Names that nobody has are checkNames' to find.
func (c *Catalogue) settings(p *Profile) (map[string]setting, []error) {
	all := map[string]setting{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.Policies)) {
		f, err := c.Folder(name)
		if err != nil {
			continue
		}
		if other, ok := all[f.ID]; ok {
			errs = append(errs, p.problem(pathOf("policies", name), fmt.Sprintf("%s is %s, which is set already: keep one", name, other.by)))
			continue
		}
		all[f.ID] = setting{p.Policies[name], name}
	}
	return all, errs
}

// mode takes the last of the texts that says something; the profile's reader has checked them.
func mode(m engine.Mode, texts ...string) engine.Mode {
	for _, text := range texts {
		if chosen, ok := engine.ParseMode(text); ok {
			m = chosen
		}
	}
	return m
}

// Serves reports whether a control of the policy belongs to one of the frameworks; none named is all.
func (f *Folder) Serves(frameworks ...string) bool {
	return len(frameworks) == 0 || slices.ContainsFunc(f.Controls, func(c engine.Control) bool { return slices.Contains(frameworks, c.Framework) })
}

// checkNames finds what the profile names and nobody has.
func (c *Catalogue) checkNames(p *Profile) []error {
	var errs []error
	var params []string
	labels := map[string]bool{}
	for _, f := range c.Folders {
		for name := range f.Properties {
			params = append(params, name)
			if label, ok := strings.CutSuffix(name, "Label"); ok {
				labels[label] = true
			}
		}
	}
	for i, name := range p.Frameworks {
		if _, ok := Frameworks()[name]; !ok {
			errs = append(errs, p.problem(fmt.Sprintf("frameworks[%d]", i), fmt.Sprintf("there is no framework %q%s: want some of %s", name, didYouMean(name, FrameworkIDs()), strings.Join(FrameworkIDs(), ", "))))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Policies)) {
		if _, err := c.Folder(id); err != nil {
			errs = append(errs, p.problem(pathOf("policies", id), err.Error()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Parameters)) {
		if !slices.Contains(params, name) {
			errs = append(errs, p.problem(pathOf("parameters", name), fmt.Sprintf("no policy has a parameter %q%s", name, didYouMean(name, params))))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Labels)) {
		if !labels[name] {
			errs = append(errs, p.problem(pathOf("labels", name), fmt.Sprintf("no policy reads a label called %q%s", name, didYouMean(name, slices.Collect(maps.Keys(labels))))))
		}
	}
	for i, w := range p.Waivers {
		if _, err := c.Folder(w.Policy); err != nil {
			errs = append(errs, p.problem(fmt.Sprintf("waivers[%d].policy", i), err.Error()))
		}
	}
	return errs
}

func pathOf(keys ...string) string {
	var p engine.Path
	for _, k := range keys {
		p = append(p, engine.Step{Key: k})
	}
	return p.String()
}

// params are the policy's parameters: its defaults, then the profile's for all policies, its labels, and its own.
func (f *Folder) params(p *Profile, setting setting) (map[string]any, []error) {
	values, from := maps.Clone(f.Params), map[string]string{}
	for name, v := range p.Parameters {
		if _, ok := f.Properties[name]; ok {
			values[name], from[name] = v, pathOf("parameters", name)
		}
	}
	for name, v := range p.Labels {
		if _, ok := f.Properties[name+"Label"]; ok {
			values[name+"Label"], from[name+"Label"] = v, pathOf("labels", name)
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(setting.Parameters)) {
		at := pathOf("policies", setting.by, "parameters", name)
		if _, ok := f.Properties[name]; !ok {
			errs = append(errs, p.problem(at, fmt.Sprintf("%s has no parameter %q%s", f.ID, name, didYouMean(name, slices.Collect(maps.Keys(f.Properties))))))
			continue
		}
		values[name], from[name] = setting.Parameters[name], at
	}
	if len(from) == 0 {
		return values, errs // the defaults were checked when the folder was read
	}
	for _, bad := range f.checkParams(values) {
		path, _ := engine.ParsePath(bad.at)
		at, name := "", "the parameters"
		if len(path) > 0 {
			name = path[0].Key
			at = from[name] + bad.at[len(path[:1].String())+1:]
		}
		path.Walk(values, func(_ engine.Path, v any, _ bool) {
			if err := f.unknownSet(v); err != nil && err.Error() == bad.message {
				bad.message += "; sets are " + f.sets()
			}
		})
		errs = append(errs, p.problem(at, name+": "+bad.message))
	}
	return values, errs
}

// sets names the sets of countries there are.
func (f *Folder) sets() string {
	codes := func(name string) bool { return len(name) == 2 && name != "eu" && name != "us" }
	return strings.Join(slices.DeleteFunc(f.regions.Sets(), codes), ", ") + ", and the codes of countries, such as de"
}
