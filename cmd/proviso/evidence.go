package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/evidence"
)

func evidenceCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence",
		Short: "Check, read, export and replay what was recorded",
		Long:  evidencePage,
		Args:  cobra.ArbitraryArgs,
		RunE:  noVerb,
	}
	c.AddCommand(evidenceVerifyCommand(s), evidenceShowCommand(s), evidenceExportCommand(s), evidenceReplayCommand(s), evidenceReconcileCommand(s), evidenceRotateCommand(s), evidenceCopyCommand(s))
	return c
}

const evidenceWanted = "a folder of evidence, or an auditor bundle"

func evidenceVerifyCommand(s streams) *cobra.Command {
	var trust string
	var against []string
	var output string
	c := &cobra.Command{
		Use:   "verify (FOLDER | BUNDLE.tar | s3://BUCKET/PREFIX)...",
		Short: "Check that nothing was altered, left out or added since it was signed",
		Long: `Check that nothing was altered, left out, added or put in another order since it was signed. Without --trust the key in
the folder is used, and who signed is not established. Of a bucket that evidence was copied to every log is checked, and the
lock of every object; nothing else asks a network. Exit codes: 0 verified, 1 unreadable, 2 verified and something is declared
to be missing, or not locked, 4 it does not verify; of several places the worst: 4, then 1, then 2.
JSON of several places is one document after the other, each with its place.`,
		Example: `  proviso evidence verify evidence --trust cosign.pub
  proviso evidence verify evidence --trust trust.json --against checkpoint-of-june
  proviso evidence verify evidence --against s3://audit/prod`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("nothing to verify: name %s, or s3://BUCKET/PREFIX", evidenceWanted)
			}
			return nil
		},
		RunE: stoppableVerb(func(c *cobra.Command, args []string) error {
			write := func(w io.Writer, v *evidence.Verified) error { return v.Text(w) }
			switch output {
			case "text":
			case "json":
				write = func(w io.Writer, v *evidence.Verified) error { return writeIndented(w, v) }
			default:
				return fmt.Errorf("-o %s: want text or json", output)
			}
			return verifyPlaces(c.Context(), s, args, trust, against, write)
		}),
	}
	f := c.Flags()
	f.StringVar(&trust, "trust", "", "whom you believe: a public key in PEM, or JSON that names keys with the time and the logs they sign for")
	f.StringArrayVar(&against, "against", nil, "a checkpoint of the log that you kept, or the bucket it is copied to, s3://BUCKET/PREFIX; may be repeated")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
