package bundles

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/region"
)

// APIVersion is that of Proviso's own kinds.
const APIVersion = "proviso.dev/v1alpha1"

//go:embed schema/profile.json
var profileSchema []byte

// ProfileSchema is the JSON Schema of proviso.yaml.
func ProfileSchema() []byte { return profileSchema }

// Profile is what a user writes in proviso.yaml.
type Profile struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Bundles are the policies to use: "builtin", and folders relative to the profile. None is builtin.
	Bundles []string `json:"bundles"`
	// Frameworks keeps the policies that speak to one of these; none keeps all.
	Frameworks []string `json:"frameworks"`
	// Mode and Unknown are deny, warn or record, for every policy that says nothing else.
	Mode    string `json:"mode"`
	Unknown string `json:"unknown"`
	// Parameters are set on every policy that has one of that name.
	Parameters map[string]any           `json:"parameters"`
	Policies   map[string]PolicySetting `json:"policies"`
	// Labels name the labels that classify objects: jurisdiction, dataClass, tier, retentionProfile, region.
	Labels   map[string]string   `json:"labels"`
	Clusters []Cluster           `json:"clusters"`
	Regions  []Region            `json:"regions"`
	Sets     map[string][]string `json:"sets"`
	Waivers  []WaiverEntry       `json:"waivers"`
	// FailurePolicy moves a kind, written as Kind.group, to the webhook that fails closed (Fail) or open (Ignore).
	FailurePolicy map[string]string `json:"failurePolicy"`
	// Evidence is how the webhook keeps evidence; nil says nothing.
	Evidence *EvidenceSetting `json:"evidence"`

	file    string
	raw     []byte
	doc     *decode.Document
	table   *region.Table
	waivers []engine.Waiver
	tighter []Tightening
}

// EvidenceSetting is what becomes of a request of which no record can be kept, and what evidence may cost.
type EvidenceSetting struct {
	// Mode is strict, blocking or batch; which has no default.
	Mode string `json:"mode"`
	// Wait is how long blocking waits for a record, Heartbeat the time between two signs of life.
	Wait      string `json:"wait"`
	Heartbeat string `json:"heartbeat"`
	// MaxBytes bounds the folder of one replica: a number, or one with Ki, Mi, Gi or Ti.
	MaxBytes string `json:"maxBytes"`

	wait, heartbeat time.Duration
	maxBytes        int64
}

// Limits are wait, heartbeat and maxBytes, or what they are where they are not said.
func (e *EvidenceSetting) Limits() (wait, heartbeat time.Duration, maxBytes int64) {
	return e.wait, e.heartbeat, e.maxBytes
}

// check reads the limits, and tells what is wrong.
func (e *EvidenceSetting) check(bad func(at, message string, args ...any)) {
	if !slices.Contains([]string{"strict", "blocking", "batch"}, e.Mode) {
		bad("evidence.mode", "unknown mode %q: want strict (no record, no allow), blocking (a bounded wait, then a signed gap) or batch (no wait)", e.Mode)
	}
	for _, d := range []struct {
		at, text         string
		into             *time.Duration
		least, most, not time.Duration
	}{
		{"evidence.wait", e.Wait, &e.wait, time.Millisecond, 30 * time.Second, 250 * time.Millisecond},
		// A reader of evidence takes five minutes without a sign for silence.
		{"evidence.heartbeat", e.Heartbeat, &e.heartbeat, time.Second, time.Minute, time.Minute},
	} {
		if *d.into = d.not; d.text == "" {
			continue
		}
		var err error
		if *d.into, err = time.ParseDuration(d.text); err != nil || *d.into < d.least || *d.into > d.most {
			bad(d.at, "%q: want a duration from %v to %v, such as %v", d.text, d.least, d.most, d.not)
		}
	}
	if e.Mode != "blocking" && e.Wait != "" {
		bad("evidence.wait", "only mode blocking waits that long: take it out")
	}
	if e.maxBytes = 10 << 30; e.MaxBytes == "" {
		return
	}
	number, shift := e.MaxBytes, 0
	for unit, s := range map[string]int{"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, shift = n, s
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 63-shift)
	if e.maxBytes = n << shift; err != nil || e.maxBytes < leastEvidence {
		bad("evidence.maxBytes", "%q is no size of a folder: want a whole number such as 10Gi, at least 64Mi", e.MaxBytes)
	}
}

// leastEvidence is what a folder of evidence needs.
const leastEvidence = 64 << 20

// PolicySetting is what a profile says of one policy.
type PolicySetting struct {
	Mode       string         `json:"mode,omitempty"`
	Unknown    string         `json:"unknown,omitempty"`
	Disabled   bool           `json:"disabled,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

// Cluster says where a cluster stands.
type Cluster struct {
	// Name is what reports call it; Source its kubeconfig context or the source it is scanned from.
	Name         string `json:"name"`
	Source       string `json:"source"`
	Region       string `json:"region"`
	Jurisdiction string `json:"jurisdiction"`
}

// Region is a region that Proviso does not know, such as one's own data centre.
type Region struct {
	Provider      string   `json:"provider"`
	Region        string   `json:"region"`
	Country       string   `json:"country"`
	Jurisdictions []string `json:"jurisdictions"`
	Hosts         []string `json:"hosts"`
}

// WaiverEntry is a waiver as it is written. Expires is a date, through whose end (UTC) it holds, or an RFC 3339 instant.
type WaiverEntry struct {
	ID       string `json:"id"`
	Policy   string `json:"policy"`
	Subjects struct {
		Group     string            `json:"group,omitempty"`
		Kind      string            `json:"kind,omitempty"`
		Namespace string            `json:"namespace,omitempty"`
		Name      string            `json:"name,omitempty"`
		Labels    map[string]string `json:"labels,omitempty"`
	} `json:"subjects"`
	Owner    string `json:"owner"`
	Reason   string `json:"reason"`
	Approver string `json:"approver"`
	Expires  string `json:"expires"`
	Ticket   string `json:"ticket,omitempty"`
}

// ReadProfile reads a profile. All problems are reported at once.
func ReadProfile(file string) (*Profile, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return ParseProfile(file, raw)
}

// ParseProfile reads the text of a profile; file is the name in messages.
func ParseProfile(file string, raw []byte) (*Profile, error) {
	p := &Profile{file: file, raw: raw}
	var err error
	if p.doc, err = decodeOne(raw, file, p); err != nil {
		return nil, err
	}
	var errs []error
	bad := func(at, message string, args ...any) {
		errs = append(errs, p.problem(at, fmt.Sprintf(message, args...)))
	}
	if p.APIVersion != APIVersion || p.Kind != "Profile" {
		bad("", "a profile starts with apiVersion: %s and kind: Profile", APIVersion)
	}
	checkMode := func(at, text string) {
		if _, ok := engine.ParseMode(text); !ok && text != "" {
			bad(at, "unknown mode %q: want deny, warn or record", text)
		}
	}
	for _, at := range nulls(p.doc.Value, nil) {
		// A file that was cut off ends like this, and what is not said is not the strict choice everywhere.
		bad(at.String(), "%s says nothing: give it a value, or take it out", at)
	}
	checkMode("mode", p.Mode)
	checkMode("unknown", p.Unknown)
	for id, s := range p.Policies {
		checkMode(pathOf("policies", id, "mode"), s.Mode)
		checkMode(pathOf("policies", id, "unknown"), s.Unknown)
	}
	for kind, policy := range p.FailurePolicy {
		if policy != "Fail" && policy != "Ignore" {
			bad(pathOf("failurePolicy", kind), "unknown failure policy %q: want Fail or Ignore", policy)
		}
	}
	if p.Evidence != nil {
		p.Evidence.check(bad)
	}
	custom := make([]region.Custom, len(p.Regions))
	for i, r := range p.Regions {
		custom[i] = region.Custom(r)
	}
	if p.table, err = region.New(custom, p.Sets); err != nil {
		bad("regions", "%v", err)
	}
	for i := range p.Waivers {
		w, err := p.Waivers[i].waiver()
		if err != nil {
			bad(fmt.Sprintf("waivers[%d].expires", i), "%v", err)
		} else if err := w.Validate(); err != nil {
			for _, e := range unjoin(errors.Unwrap(err)) {
				bad(fmt.Sprintf("waivers[%d]", i), "waiver %q: %v", w.ID, e)
			}
		}
		p.waivers = append(p.waivers, w)
	}
	errs = append(errs, p.checkClusters()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// nulls are the places where a document holds null.
func nulls(v any, at engine.Path) []engine.Path {
	var all []engine.Path
	switch v := v.(type) {
	case nil:
		return []engine.Path{at}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, nulls(v[key], append(slices.Clone(at), engine.Step{Key: key}))...)
		}
	case []any:
		for i, e := range v {
			all = append(all, nulls(e, append(slices.Clone(at), engine.Step{Kind: engine.IndexStep, Index: i}))...)
		}
	}
	return all
}

func (p *Profile) checkClusters() []error {
	var errs []error
	seen := map[string]bool{}
	for i, c := range p.Clusters {
		at := fmt.Sprintf("clusters[%d]", i)
		if c.Name == "" || seen[c.Name] {
			errs = append(errs, p.problem(at+".name", "a cluster needs a name of its own"))
		}
		seen[c.Name] = true
		if p.table == nil || c.Region == "" {
			continue
		}
		place, err := p.table.Locate("", c.Region)
		if err != nil {
			errs = append(errs, p.problem(at+".region", err.Error()))
			continue
		}
		if c.Jurisdiction == "" {
			continue
		}
		if ok, err := p.table.Within(place, []string{c.Jurisdiction}); err != nil {
			errs = append(errs, p.problem(at+".jurisdiction", err.Error()))
		} else if !ok {
			errs = append(errs, p.problem(at+".jurisdiction", fmt.Sprintf("region %s does not lie in %s", c.Region, c.Jurisdiction)))
		}
	}
	return errs
}

func (w *WaiverEntry) waiver() (engine.Waiver, error) {
	out := engine.Waiver{ID: w.ID, Policy: w.Policy, Subjects: engine.Selector(w.Subjects), Owner: w.Owner, Reason: w.Reason, Approver: w.Approver, Ticket: w.Ticket}
	var err error
	if day, dayErr := time.Parse(time.DateOnly, w.Expires); dayErr == nil {
		out.Expires = day.AddDate(0, 0, 1)
	} else if out.Expires, err = time.Parse(time.RFC3339, w.Expires); err != nil && strings.TrimSpace(w.Expires) != "" {
		return out, fmt.Errorf("expires %q is no date: want 2027-01-31 or 2027-01-31T12:00:00Z", w.Expires)
	}
	out.Expires = out.Expires.UTC() // one instant, one value
	return out, nil
}

// Table is the table of regions with the profile's own; nil for a nil profile.
func (p *Profile) Table() *region.Table {
	if p == nil {
		return nil
	}
	return p.table
}

// With is the profile with a parameter for every policy that has it, unless it sets that one itself. A nil profile is an
// empty one.
func (p *Profile) With(parameter string, values []string) *Profile {
	if p == nil {
		p = &Profile{}
	}
	with := *p
	if _, set := p.Parameters[parameter]; !set {
		list := []any{}
		for _, v := range values {
			list = append(list, v)
		}
		with.Parameters = maps.Clone(p.Parameters)
		if with.Parameters == nil {
			with.Parameters = map[string]any{}
		}
		with.Parameters[parameter] = list
	}
	return &with
}

// Problem is a problem at a path of the profile, for what only its user can tell.
func (p *Profile) Problem(at, message string) error { return p.problem(at, message) }

// problem is a problem at a path of the profile.
func (p *Profile) problem(at, message string) error {
	if p.doc == nil {
		return errors.New(message)
	}
	return placed(p.doc, p.file, at, message)
}
