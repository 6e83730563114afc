package main

import (
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"
)

// scheme is how a source that is no path starts.
var scheme = regexp.MustCompile(`^[a-z0-9]{2,}:`)

func scanCommand(s streams) *cobra.Command {
	j := &judging{}
	c := &cobra.Command{
		Use:   "scan SOURCE...",
		Short: "Judge things that exist",
		Long: `Judge things that exist: a file or folder of manifests, or standard input (-). A scan has no operation: policies that
are only for updates or deletions do not apply.`,
		Example: `  kubectl get bsl,schedules -A -o yaml | proviso scan -
  proviso scan ./exported --facts namespaces.json`,
		Args: someArgs,
		RunE: func(c *cobra.Command, args []string) error {
			for _, source := range args {
				if _, err := os.Stat(source); err != nil && scheme.MatchString(source) {
					return fmt.Errorf("scan %s: this build reads no such source: want a file or folder of manifests, or -", source)
				}
			}
			return j.judge(c.Context(), s, args, "")
		},
	}
	j.flags(c)
	return c
}
