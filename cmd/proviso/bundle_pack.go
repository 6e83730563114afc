package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/bundles"
)

const exitUnverified = 4 // a digest, signature, log or trust does not hold

func bundleBuild(s streams) *cobra.Command {
	var profile, output string
	c := &cobra.Command{
		Use:   "build -o FILE",
		Short: "Pack the policies in force into one file, the same bytes every time",
		Long: `Pack everything that decides how lint and scan judge into one tar file: the policies that the profile's bundles hold, and
the profile as it is written, with its parameters, modes, regions and waivers. The file depends on nothing else, neither on
where the folders lie nor on when it is built: who has the same policies gets the same digest. It is not signed.`,
		Example: "  proviso bundle build -o policies.tar && proviso bundle inspect policies.tar",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if output == "" {
				return errors.New("-o is missing: name the file to write, as in -o policies.tar")
			}
			p, cat, err := readCatalogue(profile)
			if err != nil {
				return err
			}
			raw, err := bundles.Selection{Catalogue: cat, Profile: p}.Pack()
			if err != nil {
				return err
			}
			inputs := []string{profile, "proviso.yaml"}
			for _, f := range cat.Folders {
				if f.Source != "" {
					inputs = append(inputs, f.Source, filepath.Join(f.Source, f.Dir, "policy."+f.Language))
				}
			}
			if err := writePack(raw, output, inputs); err != nil {
				return fmt.Errorf("-o %s: %w", output, err)
			}
			pack, err := bundles.ReadPack(strings.NewReader(string(raw)))
			if err != nil {
				return err
			}
			tellPack(s.out, pack)
			return nil
		},
	}
	c.Flags().StringVarP(&profile, "profile", "f", "", "profile whose policies to pack, or none (default proviso.yaml if there is one)")
	c.Flags().StringVarP(&output, "output", "o", "", "file to write to")
	return c
}

func writePack(raw []byte, output string, inputs []string) error {
	f, err := createOutput(output, inputs)
	if err != nil {
		return err
	}
	if _, err := f.Write(raw); err != nil {
		f.discard()
		return err
	}
	return f.keep()
}

func bundleInspect(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Verify every digest of a pack, and say what is in it",
		Long: `Verify a pack against itself and say what is in it: each file has the digest its list gives, and together they make the policy
set, modes, parameters and waivers it names. Who made it is not told: a pack is not signed, so compare its digest with one
you trust. Exit code 4 where something in it does not hold, 1 where it cannot be read.`,
		Args: oneArg("name a pack that proviso bundle build wrote"),
		RunE: func(_ *cobra.Command, args []string) error {
			pack, err := readPack(args[0])
			var broken *bundles.BrokenPack
			if errors.As(err, &broken) {
				fmt.Fprintf(s.err, "proviso: %s: %v\n", args[0], err)
				return exitCode(exitUnverified)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			tellPack(s.out, pack)
			return listPack(s.out, pack)
		},
	}
}

// readPack reads a pack and makes its set, which is how it is verified.
func readPack(file string) (*bundles.Pack, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pack, err := bundles.ReadPack(f)
	if err != nil {
		return nil, err
	}
	_, err = pack.Set()
	return pack, err
}

// tellPack says what tells a pack from others.
func tellPack(w io.Writer, p *bundles.Pack) {
	fmt.Fprintf(w, "pack %s\npolicy set %s\n%d policies in force, %d waivers\n", p.Digest, p.PolicySet, len(p.Policies), len(p.Waivers))
}

func listPack(out io.Writer, p *bundles.Pack) error {
	var b strings.Builder
	fmt.Fprintf(&b, "where the profile says nothing: mode %s, unknown %s\n", p.Defaults.Mode, p.Defaults.Unknown)
	for _, name := range slices.Sorted(maps.Keys(p.Settings.With)) {
		fmt.Fprintf(&b, "parameter from outside the profile: %s %s\n", name, jsonText(p.Settings.With[name]))
	}
	for _, t := range p.Settings.Tightenings {
		fmt.Fprintf(&b, "tightened by an object of the cluster: %s\n", jsonText(t))
	}
	for _, waiver := range p.Waivers {
		fmt.Fprintf(&b, "waiver: %s\n", jsonText(waiver))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nPOLICY\tMODE\tUNKNOWN\tDIGEST")
	for _, policy := range p.Policies {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", policy.ID, policy.Mode, policy.Unknown, policy.Digest)
	}
	fmt.Fprintln(w, "\nFILE\tDIGEST")
	for _, f := range p.Files {
		fmt.Fprintf(w, "%s\t%s\n", f.Path, f.Digest)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, printable(b.String()))
	return err
}

// printable keeps what a stranger wrote from speaking to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func jsonText(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
