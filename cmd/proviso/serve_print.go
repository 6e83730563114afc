package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/discovery"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/webhook"
)

// print writes everything that is to be installed, for what the cluster serves where one is asked.
func (v *serving) print(ctx context.Context, s streams, live bool) error {
	profile, sources, err := readProfile(v.profile)
	if err != nil {
		return err
	}
	if err := v.keeps(profile); err != nil {
		return err
	}
	if profile != nil {
		for i, b := range profile.Bundles {
			if b != "builtin" && !filepath.IsAbs(b) {
				return profile.Problem(fmt.Sprintf("bundles[%d]", i), fmt.Sprintf("%s is a folder beside the profile, and the Pods get the profile alone: put it into the image, and name it by its absolute path", b))
			}
		}
	}
	catalogue, err := bundles.Read(profile.Table(), sources...)
	if err != nil {
		return err
	}
	sets, err := selected(catalogue, profile, objects{}, v.with()).sets()
	if err != nil {
		return err
	}
	var known []webhook.Resource
	if live {
		rest, err := restConfig(v.context)
		if err != nil {
			return err
		}
		asking, err := discovery.NewDiscoveryClientForConfig(rest)
		if err != nil {
			return fmt.Errorf("connect to the cluster: %w", err)
		}
		if known, err = webhook.Served(ctx, asking, sets.Closed.Rows()); err != nil {
			return err
		}
	}
	fail, ignore, dropped, err := webhook.Rules(sets.Closed.Rows(), known, moved(profile))
	if err != nil {
		return err
	}
	for _, d := range dropped {
		fmt.Fprintf(s.err, "not watched: %s of %s: %s\n", strings.Join(d.Operations, ", "), strings.TrimSuffix(d.Kind+"."+d.Group, "."), d.Reason)
	}
	install := v.install()
	if install.ProfileYAML, err = v.profileText(); err != nil {
		return err
	}
	if e := evidenceOf(profile); e != nil {
		install.Evidence, install.Key = v.evidence, v.key
		_, _, install.EvidenceBytes = e.Limits()
	}
	switch {
	case v.certManager:
		install.Certificates = webhook.CertManager
	case v.certificates != own:
		install.Certificates = webhook.Files
		if v.caBundle == "" {
			return errors.New("--certificates: name the authority that the API server is to trust with --ca-bundle FILE")
		}
		if install.CABundle, err = os.ReadFile(v.caBundle); err != nil {
			return fmt.Errorf("read --ca-bundle: %w", err)
		}
	}
	facts := sets.Closed.FactKinds()
	var open [][2]string
	for _, r := range webhook.OpenKinds(sets.Closed.Rows(), known, moved(profile)) {
		open = append(open, [2]string{r.Group, r.Kind})
	}
	all, err := install.Objects(fail, ignore, webhook.Rights{Facts: cluster.Rights(open, facts), Scan: cluster.Rights(sets.Closed.Kinds(), facts)})
	if err != nil {
		return err
	}
	note, err := install.Note()
	if err != nil {
		return err
	}
	return webhook.WriteYAML(s.out, note, all...)
}

// profileText is the profile as it was written; the Pods read it too.
func (v *serving) profileText() ([]byte, error) {
	file := v.profile
	switch file {
	case "none":
		return nil, nil
	case "":
		file = "proviso.yaml"
	}
	raw, err := os.ReadFile(file)
	if v.profile == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return raw, nil
}

// usersParameter is what policies call the users that Velero's server runs as.
const usersParameter = "veleroServiceAccounts"

// selection is what decides which policies are in force, for both webhooks.
type selection struct{ closed, open bundles.Selection }

func selected(c *bundles.Catalogue, p *bundles.Profile, o objects, with map[string][]string) selection {
	one := bundles.Selection{Catalogue: c, Profile: p, With: with, Waivers: o.waivers, Tightenings: o.tighter}
	s := selection{one, one}
	s.closed.Defaults, s.open.Defaults = closedDefaults, openDefaults
	return s
}

func (s selection) bySide() map[webhook.Side]bundles.Selection {
	return map[webhook.Side]bundles.Selection{webhook.FailClosed: s.closed, webhook.FailOpen: s.open}
}

func (s selection) sets() (*webhook.Sets, error) {
	closed, err := s.closed.Set()
	if err != nil {
		return nil, err
	}
	open, err := s.open.Set()
	return &webhook.Sets{Closed: closed, Open: open}, err
}

// plan is what is to be watched for a set of policies.
type plan struct {
	configuration *admissionregistration.ValidatingWebhookConfiguration
	dropped       map[string]string // why which operations on kinds are in no rule
}

// planned is the plan for policies: the webhook configuration that belongs to them.
func (l *loader) planned(set *engine.Set, p *bundles.Profile) (plan, error) {
	fail, ignore, dropped, err := webhook.Rules(set.Rows(), l.known, moved(p))
	if err != nil {
		return plan{}, fmt.Errorf("plan what is watched: %w", err)
	}
	next := plan{l.install.Configuration(fail, ignore), map[string]string{}}
	for _, d := range dropped {
		for _, operation := range d.Operations {
			next.dropped[operation+" of "+strings.TrimSuffix(d.Kind+"."+d.Group, ".")] = d.Reason
		}
	}
	return next, nil
}

// moved are the kinds that the profile moves to the other webhook.
func moved(p *bundles.Profile) map[string]webhook.Side {
	sides := map[string]webhook.Side{}
	if p != nil {
		for kind, policy := range p.FailurePolicy {
			sides[kind] = webhook.FailOpen
			if policy == "Fail" {
				sides[kind] = webhook.FailClosed
			}
		}
	}
	return sides
}
