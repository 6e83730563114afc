package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/policies"
)

func policyCommand(s streams) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Show, write and test policies", RunE: noVerb}
	var profile string
	c.PersistentFlags().StringVar(&profile, "profile", "", "profile whose policies and parameters to show (default proviso.yaml if there is one)")
	c.AddCommand(policyList(s, &profile), policyExplain(s, &profile), policyNew(s), policyTest(s))
	return c
}

// readCatalogue reads the policies that the profile's bundles hold.
func readCatalogue(file string) (*bundles.Profile, *bundles.Catalogue, error) {
	p, sources, err := readProfile(file)
	if err != nil {
		return nil, nil, err
	}
	cat, err := bundles.Read(p.Table(), sources...)
	return p, cat, err
}

func policyList(s streams, profile *string) *cobra.Command {
	var framework, output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the policies",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, cat, err := readCatalogue(*profile)
			if err != nil {
				return err
			}
			if _, ok := bundles.Frameworks()[framework]; framework != "" && !ok {
				return fmt.Errorf("--framework %s: there is no such framework: want one of %s", framework, strings.Join(bundles.FrameworkIDs(), ", "))
			}
			var list []*bundles.Folder
			for _, f := range cat.Folders {
				if framework == "" || f.Serves(framework) {
					list = append(list, f)
				}
			}
			switch output {
			case "text":
				w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tREF\tSEVERITY\tRULE\tTITLE")
				for _, f := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.ID, f.Ref, f.Severity, f.Language, f.Title)
				}
				return w.Flush()
			case "json":
				e := json.NewEncoder(s.out)
				e.SetIndent("", "  ")
				return e.Encode(bundles.Describe(list))
			}
			return fmt.Errorf("-o %s: want text or json", output)
		},
	}
	c.Flags().StringVar(&framework, "framework", "", "only policies that speak to this framework")
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func policyExplain(s streams, profile *string) *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Say what a policy wants, why, and how to meet it",
		Long:  "Say what a policy wants, why, and how to meet it. ID is the policy's id or its number, such as RES-01.",
		Args:  oneArg("name a policy by its id or number; proviso policy list shows them"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			_, cat, err := readCatalogue(*profile)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			var ids []string
			for _, f := range cat.Folders {
				ids = append(ids, f.ID+"\t"+f.Title)
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			_, cat, err := readCatalogue(*profile)
			if err != nil {
				return err
			}
			f, err := cat.Folder(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(s.out, f.Explain())
			return err
		},
	}
}

func policyNew(s streams) *cobra.Command {
	var dir, language string
	c := &cobra.Command{
		Use:     "new DOMAIN/NAME",
		Short:   "Write the folder of a new policy, with a fixture that fails until the rule is written",
		Example: "  proviso policy new retention/tapes-kept --language rego --dir ./policies",
		Args:    oneArg("name the policy, as in retention/tapes-kept"),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := bundles.Skeleton(args[0], language)
			if err != nil {
				return err
			}
			target := filepath.Join(dir, filepath.FromSlash(args[0]))
			if _, err := os.Stat(target); err == nil {
				return fmt.Errorf("write %s: it is there already: choose another name, or remove it", target)
			}
			names := make([]string, 0, len(files))
			for name := range files {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				file := filepath.Join(target, filepath.FromSlash(name))
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, files[name], 0o644)); err != nil {
					return fmt.Errorf("write %s: %w", file, err)
				}
				fmt.Fprintln(s.out, file)
			}
			fmt.Fprintf(s.err, "next: write the rule, then\n  proviso policy test %s\nto judge by it, name its folder in proviso.yaml (proviso help profile):\n  bundles: [builtin, %s]\n", target, bundle(dir))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "policies", "folder of the policies")
	c.Flags().StringVar(&language, "language", "cel", "cel or rego")
	return c
}

// bundle is a folder of policies as proviso.yaml names it.
func bundle(dir string) string {
	dir = filepath.ToSlash(filepath.Clean(dir))
	if filepath.IsAbs(dir) || strings.HasPrefix(dir, "../") {
		return dir
	}
	return "./" + dir
}

func policyTest(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "test [PATH]",
		Short: "Test policies by their fixtures, and lint their source",
		Long: `Test policies by their own fixtures and lint their source: undeclared reads, unused parameters, rules that nothing
reaches, examples that do not do what they say. PATH is one policy's folder or a folder of policies; without it the
built-in ones are tested.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			src := bundles.Source{FS: policies.FS}
			if len(args) == 1 {
				var err error
				if src, err = policySource(args[0]); err != nil {
					return err
				}
			}
			profile, _, err := readProfile("")
			if err != nil {
				return err
			}
			cat, err := bundles.Check(profile.Table(), src)
			if err != nil {
				for line := range strings.Lines(err.Error() + "\n") {
					fmt.Fprint(s.out, line)
				}
				return exitCode(exitTrouble)
			}
			which, is := "policies", "are"
			if len(cat.Folders) == 1 {
				which, is = "policy", "is"
			}
			if len(args) == 0 {
				which = "built-in " + which
			}
			fmt.Fprintf(s.out, "%d %s %s whole: fixtures, examples, declared reads, controls\n", len(cat.Folders), which, is)
			if len(args) == 0 {
				fmt.Fprintln(s.err, "your own: proviso policy test PATH")
			}
			return nil
		},
	}
}

// policySource finds the tree a path belongs to: the folder of one policy stands two below its tree.
func policySource(arg string) (bundles.Source, error) {
	var none bundles.Source
	info, err := os.Stat(arg)
	if err != nil {
		return none, fmt.Errorf("test policies: %w", err)
	}
	if !info.IsDir() {
		return none, fmt.Errorf("test policies: %s is a file: want a policy's folder, or a folder of policies", arg)
	}
	full, err := filepath.Abs(arg)
	if err != nil {
		return none, fmt.Errorf("test policies: %w", err)
	}
	if _, err := os.Stat(filepath.Join(arg, "policy.yaml")); errors.Is(err, fs.ErrNotExist) {
		if domain := filepath.Base(full); slices.Contains(bundles.Domains, domain) {
			return domainSource(filepath.Join(arg, ".."), domain)
		}
		return bundles.Source{Name: filepath.ToSlash(filepath.Clean(arg)), FS: os.DirFS(arg)}, nil
	}
	root := filepath.Join(arg, "..", "..")
	return bundles.Source{Name: filepath.ToSlash(root), FS: os.DirFS(root), Only: []string{path.Join(filepath.Base(filepath.Dir(full)), filepath.Base(full))}}, nil
}

// domainSource is the policies of one domain of a tree.
func domainSource(root, domain string) (bundles.Source, error) {
	src := bundles.Source{Name: filepath.ToSlash(filepath.Clean(root)), FS: os.DirFS(root)}
	found, err := fs.Glob(src.FS, domain+"/*/policy.yaml")
	if err != nil || len(found) == 0 {
		return src, errors.Join(fmt.Errorf("test policies: %s holds no policy: want a policy's folder, or a folder of policies", filepath.Join(root, domain)), err)
	}
	for _, file := range found {
		src.Only = append(src.Only, path.Dir(file))
	}
	return src, nil
}
