package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

func evidenceReplayCommand(s streams) *cobra.Command {
	var output, trust string
	c := &cobra.Command{
		Use:   "replay FOLDER | BUNDLE.tar",
		Short: "Judge again what was recorded, and compare",
		Long: `Judge again the recorded inputs by the recorded policies and facts at the recorded time, and compare every verdict. What
does not verify is not replayed. Exit codes: 0 all equal, 1 unreadable, 2 something was not judged, or cannot be judged again:
it was erased or left out, or ended by a limit; 4 it does not verify, or a verdict differs.`,
		Example: "  proviso evidence replay evidence",
		Args:    oneArg(evidenceWanted),
		RunE: stoppableVerb(func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("-o %s: want text or json", output)
			}
			fsys, closer, err := evidence.OpenPath(args[0])
			if err != nil {
				return err
			}
			defer closer.Close()
			o, err := verifyOptions(trust, nil)
			if err != nil {
				return err
			}
			v, err := evidence.Verify(fsys, o)
			if err != nil {
				return err
			}
			if v.ExitCode() == exitUnverified {
				if err := v.Text(s.err); err != nil {
					return err
				}
				return exitCode(exitUnverified)
			}
			if !v.Established {
				fmt.Fprintf(s.err, "proviso: note: who signed %s is not established: name a key you trust with --trust\n", args[0])
			}
			if v.Unjudged > 0 {
				fmt.Fprintf(s.err, "proviso: note: the evidence tells of %s, where nothing was judged (proviso evidence verify lists them)\n", countOf(v.Unjudged, "hole or gap", "holes or gaps"))
			}
			unclosed := slices.ContainsFunc(v.Holes, func(h evidence.Problem) bool { return h.Code == evidence.Unclosed })
			if unclosed {
				fmt.Fprintln(s.err, "proviso: note: a run is still running, or ended before it was done (proviso evidence verify says which)")
			}
			folder, err := evidence.OpenFolder(fsys)
			if err != nil {
				return err
			}
			defer folder.Close()
			r, err := replay(c.Context(), folder)
			if err != nil {
				return errors.New(printable(err.Error())) // it may quote what is recorded
			}
			r.RecordsLeftOut = v.LeftOut
			if output == "json" {
				err = writeIndented(s.out, r)
			} else {
				err = replayText(s.out, r)
			}
			switch {
			case err != nil:
				return err
			case len(r.Differences) > 0:
				return exitCode(exitUnverified)
			case v.Unjudged > 0 || unclosed || r.Records == 0 || r.Unrepeatable > 0 || r.NotJudged > r.Refused || r.Erased > 0 || r.ValuesLeftOut > 0 || r.RecordsLeftOut > 0:
				return exitCode(exitIncomplete)
			}
			return nil
		}),
	}
	c.Flags().StringVar(&trust, "trust", "", "whom you believe, as for proviso evidence verify")
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// verifyOptions reads what evidence is held against.
func verifyOptions(trust string, against []string) (evidence.Options, error) {
	o := evidence.Options{Now: time.Now()}
	if trust != "" {
		var err error
		if o.Trust, err = evidence.ReadTrust(trust); err != nil {
			return o, fmt.Errorf("read --trust %w", err)
		}
	}
	for _, file := range against {
		raw, err := evidence.ReadCheckpoint(file)
		if err != nil {
			return o, fmt.Errorf("read --against %w", err)
		}
		o.Against = append(o.Against, raw)
	}
	return o, nil
}

// replayed is what judging a folder again gave.
type replayed struct {
	*evidence.Replayed
	// ValuesLeftOut counts the records whose input or facts an export leaves out, RecordsLeftOut those it leaves out themselves.
	ValuesLeftOut  int    `json:"valuesLeftOut"`
	RecordsLeftOut uint64 `json:"recordsLeftOut"`
}

// replay judges every decision of a folder again.
func replay(ctx context.Context, folder *evidence.Folder) (*replayed, error) {
	r := &replayed{Replayed: &evidence.Replayed{Differences: []evidence.Difference{}}}
	sets := map[uint64]*engine.Set{}
	packs := map[engine.Digest]*engine.Set{}
	for rec, err := range folder.Records() {
		if err != nil {
			return nil, err
		}
		if a := rec.Activation; a != nil {
			if packs[a.Pack] == nil {
				if packs[a.Pack], err = packed(folder, a); err != nil {
					return nil, fmt.Errorf("replay record %d: %w", rec.Seq, err)
				}
			}
			sets[rec.Seq] = packs[a.Pack]
			if holds := packs[a.Pack].Digest(); holds != a.PolicySet {
				r.Differences = append(r.Differences, evidence.Difference{Seq: rec.Seq, Subject: "the policies put into force", Recorded: string(a.PolicySet), Replayed: string(holds)})
			}
		}
		if rec.Decision == nil {
			continue
		}
		set := sets[rec.Decision.Activation]
		if set == nil {
			return nil, fmt.Errorf("replay record %d: the policies of record %d are not there", rec.Seq, rec.Decision.Activation)
		}
		erased := r.Erased
		if err := folder.Replay(ctx, &rec.Record, set, r.Replayed); err != nil {
			return nil, err
		}
		if r.Erased > erased && onlyLeftOut(folder, rec.Decision) {
			r.Erased, r.ValuesLeftOut = erased, r.ValuesLeftOut+1
		}
	}
	return r, nil
}

// onlyLeftOut reports whether all that is gone of what a decision rests on was left out by an export, and nothing erased.
func onlyLeftOut(folder *evidence.Folder, d *evidence.Decision) bool {
	_, err := folder.Input(d.Input)
	for i := 0; i < len(d.Facts) && (err == nil || leftOut(err)); i++ {
		if value := d.Facts[i].Value; value != "" {
			_, err = folder.Value(value)
		}
	}
	return err == nil || leftOut(err)
}

// packed compiles the policies that a record put into force.
func packed(folder *evidence.Folder, a *evidence.Activation) (*engine.Set, error) {
	raw, err := folder.Object(a.Pack)
	if err != nil {
		return nil, err
	}
	pack, err := bundles.ReadPack(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return pack.Set()
}

func replayText(w io.Writer, r *replayed) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// What is recorded may be anything, and no name hides that something differs.
	plain := func(text string) string { return printable(strings.Join(strings.Fields(text), " ")) }
	for _, d := range r.Differences {
		fmt.Fprintf(table, "record %d\t%s\t%s\n\trecorded\t%s\n\treplayed\t%s\n", d.Seq, plain(d.Subject), plain(d.Policy), plain(d.Recorded), plain(d.Replayed))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	text := fmt.Sprintf("%s judged again, %s: %d differ\n", countOf(r.Records-r.NotJudged, "record", "records"), countOf(r.Results, "result", "results"), len(r.Differences))
	if r.Unrepeatable > 0 {
		text += fmt.Sprintf("%s not compared: ended by a limit of time or memory, which other machines have elsewhere\n", countOf(r.Unrepeatable, "result", "results"))
	}
	if n := r.NotJudged - r.Refused; n > 0 {
		text += fmt.Sprintf("%s not judged again: what was asked is recorded as not judged, for a problem with it\n", countOf(n, "record", "records"))
	}
	if r.Refused > 0 {
		text += fmt.Sprintf("%s not judged again: what was asked was refused before any policy was, for a problem with it\n", countOf(r.Refused, "record", "records"))
	}
	if r.Erased > 0 {
		text += fmt.Sprintf("%s not judged again: what was judged, or known around it, was erased\n", countOf(r.Erased, "record", "records"))
	}
	if r.ValuesLeftOut > 0 {
		text += fmt.Sprintf("%s not judged again: what was judged, or known around it, is left out of the export\n", countOf(r.ValuesLeftOut, "record", "records"))
	}
	if r.RecordsLeftOut > 0 {
		text += fmt.Sprintf("%s left out of the export\n", countOf(r.RecordsLeftOut, "record", "records"))
	}
	_, err := io.WriteString(w, text)
	return err
}
