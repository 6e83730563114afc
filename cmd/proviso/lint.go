package main

import (
	"slices"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

func lintCommand(s streams) *cobra.Command {
	j := &judging{formats: slices.DeleteFunc(report.Formats(), func(name string) bool { return name == "graph" || name == "dot" })}
	c := &cobra.Command{
		Use:   "lint PATH... | -",
		Short: "Judge manifests about to be deployed",
		Long: `Judge manifests about to be deployed: files, folders, or standard input (-), in YAML or JSON, with many documents,
Lists, or what helm template prints. Facts come from the same files, then from --facts.`,
		Example: `  proviso lint deploy/
  helm template ./chart | proviso lint -
  proviso lint deploy/ -o text -o sarif=proviso.sarif -o junit=proviso.xml`,
		Args: someArgs,
		RunE: func(c *cobra.Command, args []string) error { return j.judge(c.Context(), s, args, engine.Create) },
	}
	j.flags(c)
	return c
}
