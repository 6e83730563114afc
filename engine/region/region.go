// Package region says where data lies: it reads the name of a region, zone, key, bucket location or endpoint into the
// countries the data may be in, and compares those with sets such as eu. It never asks a network and never guesses: what
// a name does not prove is an error. Start at [Builtin], [Table.Locate] and [Table.Within].
package region

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Place is where data lies, as far as a name proves it.
type Place struct {
	Provider  string   // aws, gcp, azure, ovh, scaleway, or what a [Custom] says; may be empty for a custom place
	Region    string   // as the provider writes it; empty when only the country is known
	Countries []string // ISO 3166-1 alpha-2, upper case, sorted: every country data may lie in
	Areas     []string // sets data stays in although the countries are not listed, such as eu for Google's EU
	// Partition is the separately run part of the provider: aws, aws-us-gov, aws-cn, aws-eusc, azure, azure-china,
	// azure-us-gov, gcp, ovh, scaleway; "custom" for custom places.
	Partition     string
	Jurisdictions []string // sets the user declared a custom place to be in
	Custom        bool
}

// Custom is a region the user declares: an own data centre, or one Proviso does not know yet.
type Custom struct {
	Provider string // as in Place; empty matches whatever provider is asked about
	Region   string // its name, compared without regard to case
	Country  string // ISO 3166-1 alpha-2; required
	// Jurisdictions are sets the region belongs to. A name not known yet becomes a set; a built-in one must hold Country.
	Jurisdictions []string
	Hosts         []string // endpoints there, "minio.example.com" or "10.0.0.7:9000", compared whole; without a port any port matches
}

// Table is all that is known of places. It does not change and is safe for concurrent use.
type Table struct {
	regions map[string]map[string]Place // provider, region in lower case
	zones   map[string]string           // beginning of an AWS zone id, to its region
	hosts   map[string]Place
	sets    map[string]*set
}

// Builtin is the table of the clouds Proviso knows, with no custom regions or sets. It is built once.
func Builtin() *Table { return builtin() }

var builtin = sync.OnceValue(func() *Table {
	t := &Table{regions: map[string]map[string]Place{}, zones: map[string]string{}, hosts: map[string]Place{}, sets: map[string]*set{}}
	add := func(provider, partition, name, country string) {
		if t.regions[provider] == nil {
			t.regions[provider] = map[string]Place{}
		}
		t.regions[provider][name] = Place{Provider: provider, Region: name, Countries: []string{country}, Partition: partition}
	}
	for partition, rows := range awsRegions {
		for _, r := range rows {
			add(aws, partition, r.name, r.country)
			if r.zones != "" {
				t.zones[r.zones] = r.name
			}
		}
	}
	for partition, rows := range azureRegions {
		for _, r := range rows {
			add(azure, partition, r.name, r.country)
		}
	}
	for provider, rows := range map[string][]row{gcp: gcpRegions, ovh: ovhRegions, scaleway: scalewayRegions} {
		for _, r := range rows {
			add(provider, provider, r.name, r.country)
		}
	}
	for _, code := range strings.Fields(countryCodes) {
		t.sets[strings.ToLower(code)] = countries(code)
	}
	for name, codes := range builtinSets {
		t.sets[name] = countries(strings.Fields(codes)...)
	}
	return t
})

// New adds custom regions and sets to the built-in table. A set maps a name to country codes, other sets and regions
// ("eu-central-1" or "ovh/gra"). Redefining a built-in region or set, an unknown country or member, a circle and a host
// claimed twice are errors; all of them are reported, joined.
func New(custom []Custom, sets map[string][]string) (*Table, error) {
	base := Builtin()
	t := &Table{regions: map[string]map[string]Place{}, zones: base.zones, hosts: map[string]Place{}, sets: maps.Clone(base.sets)}
	for provider, rows := range base.regions {
		t.regions[provider] = maps.Clone(rows)
	}
	var errs []error
	for _, c := range custom {
		if err := t.addCustom(c); err != nil {
			errs = append(errs, fmt.Errorf("region %q: %w", clip(c.Region), err))
		}
	}
	merged := maps.Clone(sets)
	if merged == nil {
		merged = map[string][]string{}
	}
	for _, c := range custom { // a jurisdiction is a set the region is a member of
		for _, j := range c.Jurisdictions {
			key := strings.ToLower(j)
			if own := base.sets[key]; own == nil {
				merged[key] = append(slices.Clip(merged[key]), named(c.Provider)+"/"+strings.ToLower(c.Region))
			} else if !own.countries[strings.ToUpper(c.Country)] {
				errs = append(errs, fmt.Errorf("region %q: jurisdiction %q does not hold %s; correct one of the two", clip(c.Region), clip(j), strings.ToUpper(clip(c.Country))))
			}
		}
	}
	errs = append(errs, t.addSets(merged)...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

func (t *Table) addCustom(c Custom) error {
	name, provider := strings.ToLower(c.Region), named(c.Provider)
	country := strings.ToUpper(c.Country)
	switch {
	case !wellFormed(name):
		return errors.New("not a name; use letters, digits, dots and dashes")
	case provider != "" && !wellFormed(provider):
		return fmt.Errorf("%q is not a provider name; use letters, digits, dots and dashes", clip(c.Provider))
	case len(country) != 2 || t.sets[strings.ToLower(country)] == nil || !t.sets[strings.ToLower(country)].countries[country]:
		return fmt.Errorf("country %q is not an ISO 3166-1 code%s", clip(c.Country), t.suggest(strings.ToLower(c.Country)))
	}
	for p, rows := range t.regions {
		if old, ok := rows[name]; ok && (p == provider || provider == "" || p == "") {
			if old.Custom {
				return errors.New("declared twice; choose one")
			}
			return fmt.Errorf("it is known already, of %s in %s, and it stays as it is; choose another name", p, strings.Join(old.Countries, ", "))
		}
	}
	if _, taken := gcpBuckets[name]; taken && (provider == "" || provider == gcp) {
		return errors.New("it is known already, as a bucket location, and it stays as it is; choose another name")
	}
	p := Place{Provider: provider, Region: name, Countries: []string{country}, Partition: "custom", Custom: true}
	for _, j := range c.Jurisdictions {
		p.Jurisdictions = append(p.Jurisdictions, strings.ToLower(j))
	}
	slices.Sort(p.Jurisdictions)
	if t.regions[provider] == nil {
		t.regions[provider] = map[string]Place{}
	}
	t.regions[provider][name] = p
	for _, h := range c.Hosts {
		host, port, err := splitHost(h)
		if err != nil {
			return fmt.Errorf("host %q: %w", clip(h), err)
		}
		key := host
		if port != "" {
			key += ":" + port
		}
		if _, twice := t.hosts[key]; twice {
			return fmt.Errorf("host %q: declared twice; choose one", clip(h))
		}
		if _, _, found := knownHost(t, host); found {
			return fmt.Errorf("host %q: belongs to a cloud Proviso knows, and stays there", clip(h))
		}
		t.hosts[key] = p
	}
	return nil
}

// named is a custom region's provider in its short lower-case form.
func named(provider string) string {
	if known, err := normalise(provider); err == nil {
		return known
	}
	return strings.ToLower(provider)
}

// wellFormed says that a lower-case name is short and plain enough for a set, region or provider.
func wellFormed(name string) bool {
	if name == "" || len(name) > 63 {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_' {
			return false
		}
	}
	return true
}

// clip keeps what an error quotes short.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}

// clone keeps callers from changing the table.
func (p Place) clone() Place {
	p.Countries, p.Areas, p.Jurisdictions = slices.Clone(p.Countries), slices.Clone(p.Areas), slices.Clone(p.Jurisdictions)
	return p
}
