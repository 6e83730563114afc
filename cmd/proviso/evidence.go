package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

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
to be missing, or not locked, 4 it does not verify; of several places the worst: 4, then 1, then 2.`,
		Example: `  proviso evidence verify evidence --trust cosign.pub
  proviso evidence verify evidence --trust trust.json --against checkpoint-of-june
  proviso evidence verify evidence --against s3://audit/prod`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("nothing to verify: name %s, or s3://BUCKET/PREFIX", evidenceWanted)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			write := func(w io.Writer, v *evidence.Verified) error { return v.Text(w) }
			switch output {
			case "text":
			case "json":
				write = func(w io.Writer, v *evidence.Verified) error { return writeIndented(w, v) }
			default:
				return fmt.Errorf("-o %s: want text or json", output)
			}
			return verifyPlaces(c.Context(), s, args, trust, against, write)
		},
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

func evidenceShowCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show FOLDER | BUNDLE.tar [SEQ...]",
		Short: "List records, or show some whole, with what was judged",
		Long: `List the records, a line each; or show those with the given numbers whole, with what was judged and what was known
around it. Nothing is verified: that is what proviso evidence verify is for.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("nothing to show: name %s", evidenceWanted)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			wanted := map[uint64]bool{}
			for _, text := range args[1:] {
				n, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					return fmt.Errorf("%q is no number of a record", text)
				}
				wanted[n] = true
			}
			fsys, closer, err := evidence.OpenPath(args[0])
			if err != nil {
				return err
			}
			defer closer.Close()
			folder, err := evidence.OpenFolder(fsys)
			if err != nil {
				return err
			}
			defer folder.Close()
			if len(wanted) > 0 {
				return showWhole(s.out, folder, wanted)
			}
			return listRecords(s.out, folder)
		},
	}
}

func listRecords(w io.Writer, folder *evidence.Folder) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		what, about := describeRecord(&rec.Record)
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", rec.Seq, rec.At.Format(time.RFC3339), what, about)
	}
	return table.Flush()
}

// describeRecord says what a record is, and what it is about, in a line.
func describeRecord(r *evidence.Record) (what, about string) {
	switch {
	case r.Open != nil:
		return "open", fmt.Sprintf("%s %s", r.Open.Kind, r.Run)
	case r.Close != nil:
		return "close", r.Close.Reason
	case r.Activation != nil:
		return "policies", fmt.Sprintf("%s, %d policies", r.Activation.PolicySet, r.Activation.Policies)
	case r.Population != nil:
		return "population", fmt.Sprintf("%d items, %d of them holes", r.Population.Items, r.Population.Holes)
	case r.Decision != nil:
		d := r.Decision
		counts := map[string]int{}
		for i := range d.Results {
			counts[d.Results[i].Verdict]++
		}
		name := d.Subject.Name
		if d.Subject.Namespace != "" {
			name = d.Subject.Namespace + "/" + name
		}
		return "decision", fmt.Sprintf("%s %s: %d pass, %d fail, %d unknown, %d not applicable", d.Subject.Kind, name, counts["pass"], counts["fail"], counts["unknown"], counts["notApplicable"])
	case r.Hole != nil:
		return "hole", fmt.Sprintf("%s %s: %s", r.Hole.Source, r.Hole.File, r.Hole.Reason)
	case r.Gap != nil:
		return "gap", fmt.Sprintf("%d requests: %s", r.Gap.Lost, r.Gap.Reason)
	case r.Heartbeat != nil:
		return "heartbeat", fmt.Sprintf("%d requests", r.Heartbeat.Requests)
	case r.Key != nil:
		if r.Key.Next != "" {
			return "key", "the log goes on as " + r.Key.Next
		}
		return "key", "before this log there was " + r.Key.Before
	case r.Change != nil:
		return "change", fmt.Sprintf("%s: %s", r.Change.What, r.Change.Detail)
	case r.Erasure != nil:
		return "erasure", fmt.Sprintf("%d inputs: %s", len(r.Erasure.Inputs), r.Erasure.Reason)
	}
	return "unknown", ""
}

// shown is a record with what it rests on.
type shown struct {
	Digest string           `json:"digest"`
	Record *evidence.Record `json:"record"`
	Input  *evidence.Input  `json:"input,omitempty"`
	Facts  []any            `json:"facts,omitempty"`
	// Erased says which of them are gone.
	Erased []string `json:"erased,omitempty"`
}

func showWhole(w io.Writer, folder *evidence.Folder, wanted map[uint64]bool) error {
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		if !wanted[rec.Seq] {
			continue
		}
		delete(wanted, rec.Seq)
		one := shown{Digest: string(rec.Digest), Record: &rec.Record}
		if d := rec.Decision; d != nil {
			if one.Input, err = folder.Input(d.Input); err != nil && !errors.Is(err, evidence.ErrErased) {
				return err
			} else if err != nil {
				one.Erased = append(one.Erased, err.Error())
			}
			for _, f := range d.Facts {
				if f.Value == "" {
					continue
				}
				v, err := folder.Value(f.Value)
				if errors.Is(err, evidence.ErrErased) {
					one.Erased = append(one.Erased, err.Error())
				} else if err != nil {
					return err
				}
				one.Facts = append(one.Facts, v)
			}
		}
		if err := writeIndented(w, one); err != nil {
			return err
		}
	}
	for n := range wanted {
		return fmt.Errorf("there is no record %d", n)
	}
	return nil
}
