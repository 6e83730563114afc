package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

func bundleCommand(s streams) *cobra.Command {
	c := &cobra.Command{Use: "bundle", Short: "Pack policies, and take them elsewhere", RunE: noVerb}
	c.AddCommand(bundleBuild(s), bundleInspect(s), bundleExportVAP(s))
	return c
}

func bundleExportVAP(s streams) *cobra.Command {
	var profile, output string
	c := &cobra.Command{
		Use:   "export-vap",
		Short: "Write policies as ValidatingAdmissionPolicies, which the API server holds by itself",
		Long: `Write the policies that need nothing but the request as ValidatingAdmissionPolicies with their bindings: a floor that the
API server holds where proviso serve is not there. Policies in Rego, and those that ask for facts, the time or a function of
Proviso's cannot be written so; they are listed on standard error, each with the reason.

As under proviso serve, failures are warned about until the profile's mode says deny. Exit code 2 where no policy can be
written.`,
		Example: "  proviso bundle export-vap --profile proviso.yaml | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, cat, err := readCatalogue(profile)
			if err != nil {
				return err
			}
			sets, err := selected(cat, p, objects{}, nil).sets()
			if err != nil {
				return err
			}
			floor := cat.Floor(sets.Closed, served)
			if len(floor.Policies) == 0 {
				tellFloor(s, floor, sets, p)
				return exitCode(exitIncomplete)
			}
			if err := writeFloor(s, floor, output, profile); err != nil {
				return err
			}
			tellFloor(s, floor, sets, p)
			return nil
		},
	}
	c.Flags().StringVar(&profile, "profile", "", "profile whose policies, parameters and modes to export, or none (default proviso.yaml if there is one)")
	c.Flags().StringVarP(&output, "output", "o", "", "file to write to (default standard output)")
	return c
}

func writeFloor(s streams, floor *bundles.Floor, output, profile string) error {
	raw, err := floor.YAML()
	if err != nil {
		return err
	}
	if output == "" {
		_, err = s.out.Write(raw)
		return err
	}
	f, err := createOutput(output, []string{profile, "proviso.yaml"})
	if err != nil {
		return fmt.Errorf("-o %s: %w", output, err)
	}
	if _, err := f.Write(raw); err != nil {
		f.discard()
		return fmt.Errorf("-o %s: %w", output, err)
	}
	return f.keep()
}

// tellFloor says what the API server will not hold, or will hold otherwise.
func tellFloor(s streams, floor *bundles.Floor, sets *webhook.Sets, profile *bundles.Profile) {
	set := sets.Closed
	fmt.Fprintf(s.err, "%d of %d policies can be held by the API server\n", len(floor.Policies), len(set.Policies()))
	there := map[string]bool{}
	for _, p := range floor.Policies {
		there[p.ID] = true
	}
	for i, p := range set.Policies() {
		if unknown := unknownOf(p, sets.Open.Policies()[i], moved(profile)); there[p.ID] && unknown != p.Mode {
			fmt.Fprintf(s.err, "otherwise %s: the API server treats what it cannot tell like a failure: %s, where proviso serve does %s\n", p.ID, p.Mode, unknown)
		}
	}
	for _, l := range floor.Left {
		fmt.Fprintf(s.err, "not exported %s: %s\n", l.ID, l.Reason)
	}
	if n := len(set.Waivers()); n > 0 {
		fmt.Fprintf(s.err, "the API server knows no waivers: it denies what the profile's %d waive\n", n)
	}
}

// unknownOf is what serve does about what cannot be told, by a policy of the fail-closed webhook and the same one of the other:
// where that is not one thing, what is not its mode.
func unknownOf(closed, open *engine.Policy, moved map[string]webhook.Side) engine.Mode {
	for _, m := range closed.Match {
		operations := m.Operations
		if len(operations) == 0 {
			operations = []string{engine.Create, engine.Update}
		}
		for _, kind := range m.Kinds {
			for _, operation := range operations {
				mode := open.Unknown
				if webhook.SideOf(m.Group, kind, operation, moved) == webhook.FailClosed {
					mode = closed.Unknown
				}
				if mode != closed.Mode {
					return mode
				}
			}
		}
	}
	return closed.Mode
}

// served is where API servers serve the kinds that Proviso knows, with the subresources that change them.
func served(group, kind string) (resources, versions []string, ok bool) {
	all := webhook.Builtin()
	i := slices.IndexFunc(all, func(r webhook.Resource) bool { return r.Group == group && r.Kind == kind })
	if i < 0 {
		return nil, nil, false
	}
	resources = []string{all[i].Plural}
	for _, sub := range all[i].Subresources {
		resources = append(resources, all[i].Plural+"/"+sub)
	}
	return resources, all[i].Versions, true
}
