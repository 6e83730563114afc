package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func scanCommand(s streams) *cobra.Command {
	j := &judging{}
	var copyTo, keep string
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
			if err := j.recordsTo(); err != nil {
				return err
			}
			to, err := j.copying(c.Context(), copyTo, keep)
			if err != nil {
				return err
			}
			return to.after(c.Context(), s, j.evidence, j.judge(c.Context(), s, args, ""))
		},
	}
	j.flags(c)
	c.Flags().StringVar(&j.evidence, "evidence", "", "folder to record into what was judged, signed; made if it is not there (see proviso help evidence)")
	c.Flags().StringVar(&j.key, "key", "", "key that signs evidence: a cosign.key, awskms://, gcpkms://, azurekms://, hashivault:// or k8s://NAMESPACE/SECRET (default one of this user's, made if there is none)")
	c.Flags().StringVar(&copyTo, "copy", "", "bucket under object lock to copy the evidence to, s3://BUCKET/PREFIX, once it is sealed (see proviso evidence copy)")
	c.Flags().StringVar(&keep, "keep", "", "with --copy, how long what is copied is locked: 2190d, 6y; nobody can undo it")
	c.Flags().StringVar(&j.sinceDir, "since", "", "folder of evidence, or auditor bundle, whose last scan to hold this one against: tells what is new, worse, fixed and gone")
	c.Flags().StringVar(&j.trust, "trust", "", "whom to believe about --since: a public key in PEM, or JSON with keys, as for proviso evidence verify")
	c.Flags().IntVar(&j.sample, "sample", 1, "look at each N-th object version of a bucket only, and at every velero-backup.json; subjects say that they were sampled")
	return c
}
