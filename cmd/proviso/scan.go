package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func scanCommand(s streams) *cobra.Command {
	j := &judging{}
	c := &cobra.Command{
		Use:   "scan SOURCE...",
		Short: "Judge things that exist",
		Long: `Judge things that exist: Velero backups, buckets, snapshots and keys, etcd files, live clusters, and manifests; see
proviso help sources. A scan has no operation: policies that are only for updates or deletions do not apply.`,
		Example: `  proviso scan velero:s3://backups/prod cluster:prod
  proviso scan velero:./copy-of-the-bucket -o text -o dot=restore.dot
  kubectl get bsl,schedules -A -o yaml | proviso scan -`,
		Args: someArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(100) // unlike a lint, a scan may hold much and run long
			}
			if j.sample < 1 {
				return fmt.Errorf("--sample %d: want 1 for every version, or more", j.sample)
			}
			return j.judge(c.Context(), s, args, "")
		},
	}
	j.flags(c)
	c.Flags().IntVar(&j.sample, "sample", 1, "look at each N-th object version of a bucket only, and at every velero-backup.json; subjects say that they were sampled")
	return c
}
