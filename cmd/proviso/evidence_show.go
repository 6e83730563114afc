package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/evidence"
)

func evidenceShowCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show FOLDER | BUNDLE.tar [SEQ...]",
		Short: "List records, or show some whole, with what was judged",
		Long: `List the records, a line each; or show those with the given numbers whole, with what was judged and what was known
around it. Of what was asked of the webhook the line says who asked, where what was judged is kept, and what was answered.
Nothing is verified: that is what proviso evidence verify is for.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("nothing to show: name %s", evidenceWanted)
			}
			return nil
		},
		RunE: stoppableVerb(func(_ *cobra.Command, args []string) error {
			var wanted []uint64
			for _, text := range args[1:] {
				n, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					return fmt.Errorf("%q is no number of a record", text)
				}
				wanted = append(wanted, n)
			}
			fsys, closer, err := evidence.OpenPath(args[0])
			if err != nil {
				return err
			}
			defer closer.Close()
			folder, err := evidence.OpenFolder(fsys)
			if errors.Is(err, fs.ErrNotExist) {
				return noEvidence(args[0])
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			defer folder.Close()
			if len(wanted) > 0 {
				return showWhole(s.out, folder, wanted)
			}
			return listRecords(s.out, folder)
		}),
	}
}

// noEvidence is the error about a place that has no producer.json.
func noEvidence(name string) error {
	return fmt.Errorf("open evidence: %s is no folder of evidence: it has no %s (name one that proviso scan --evidence or proviso serve --evidence writes)", name, evidence.ProducerFile)
}

func listRecords(w io.Writer, folder *evidence.Folder) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		user := ""
		if d := rec.Decision; d != nil && d.Answer != nil {
			if in, err := folder.Input(d.Input); err == nil { // else it was erased or left out
				user, _ = in.User["username"].(string)
			}
		}
		what, about := describeRecord(&rec.Record, user)
		if p := rec.Population; p != nil {
			about = describePopulation(p, noManifests(folder, p))
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", rec.Seq, rec.At.Format(time.RFC3339), what, about)
	}
	return table.Flush()
}

// describeRecord says what a record is, and what it is about, in a line that cannot alter a terminal. User is who asked, if it
// is known.
func describeRecord(r *evidence.Record, user string) (what, about string) {
	what, about = describedRecord(r, user)
	return what, printable(strings.Join(strings.Fields(about), " "))
}

func describedRecord(r *evidence.Record, user string) (what, about string) {
	switch {
	case r.Open != nil:
		return "open", fmt.Sprintf("%s %s", r.Open.Kind, r.Run)
	case r.Close != nil:
		return "close", r.Close.Reason
	case r.Activation != nil:
		return "policies", fmt.Sprintf("%s, %s", r.Activation.PolicySet, countOf(r.Activation.Policies, "policy", "policies"))
	case r.Population != nil:
		return "population", describePopulation(r.Population, 0)
	case r.Decision != nil:
		return "decision", describeDecision(r.Decision, user)
	case r.Hole != nil && r.Hole.Kind == evidence.NotManifest:
		return "no manifest", fmt.Sprintf("%s %s: %s", r.Hole.Source, r.Hole.File, r.Hole.Reason)
	case r.Hole != nil:
		return "hole", fmt.Sprintf("%s %s: %s", r.Hole.Source, r.Hole.File, r.Hole.Reason)
	case r.Gap != nil:
		return "gap", fmt.Sprintf("%s: %s", countOf(r.Gap.Lost, "request", "requests"), r.Gap.Reason)
	case r.Heartbeat != nil:
		return "heartbeat", countOf(r.Heartbeat.Requests, "request", "requests")
	case r.Key != nil:
		if r.Key.Next != "" {
			return "key", "the log goes on as " + r.Key.Next
		}
		return "key", "before this log there was " + r.Key.Before
	case r.Change != nil:
		return "change", fmt.Sprintf("%s: %s", r.Change.What, r.Change.Detail)
	case r.Erasure != nil:
		return "erasure", fmt.Sprintf("%s: %s", countOf(len(r.Erasure.Inputs), "input", "inputs"), r.Erasure.Reason)
	}
	return "unknown", ""
}

// describePopulation says how much there was; of what was not read, so many were no manifests, in which there is nothing to judge.
func describePopulation(p *evidence.Population, noManifests int) string {
	text := fmt.Sprintf("%s, %d of them holes", countOf(p.Items, "item", "items"), p.Holes-noManifests)
	if noManifests > 0 {
		text += ", " + countOf(noManifests, "no manifest", "no manifests")
	}
	return text
}

// noManifests counts what the list of a population says to be no manifest. Where that cannot be read all that was not read is a hole.
func noManifests(folder *evidence.Folder, p *evidence.Population) (n int) {
	if p.Holes == 0 {
		return 0
	}
	list, err := folder.Object(p.List)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(list) {
		var item evidence.Item
		if err := json.Unmarshal(line, &item); err == nil && item.Hole != nil && item.Hole.Kind == evidence.NotManifest {
			n++
		}
	}
	return min(n, p.Holes)
}

// describeDecision says of what was asked who asked and what was answered, and of all what the policies said, or why none did.
func describeDecision(d *evidence.Decision, user string) string {
	text := d.Subject.Kind + " " + d.Subject.Name + ": "
	if d.Subject.Namespace != "" {
		text = d.Subject.Kind + " " + d.Subject.Namespace + "/" + d.Subject.Name + ": "
	}
	if a := d.Answer; a != nil {
		text += d.Operation
		if user != "" {
			text += " by " + user
		}
		answer := ": denied"
		if a.Allowed {
			answer = ": admitted"
		}
		text += answer + ": "
	}
	if n := len(d.Problems); n > 0 {
		text += d.Problems[0]
		if n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
		return text
	}
	var c evidence.Counts
	c.Add(d)
	text += fmt.Sprintf("%d pass, %d fail, %d unknown, %d not applicable", c.Pass, c.Fail, c.Unknown, c.NotApplicable)
	if c.Waived > 0 {
		text += fmt.Sprintf(", %d waived", c.Waived)
	}
	return text
}

// countOf is a number with its noun.
func countOf[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// leftOutText is what an export says in place of a value that it leaves out (evidence/FORMAT.md).
const leftOutText = "left out of the export"

// leftOut reports whether a value is gone because an export leaves it out.
func leftOut(err error) bool {
	return errors.Is(err, evidence.ErrErased) && strings.HasSuffix(err.Error(), ": "+leftOutText)
}

// gone says which value is, and why.
func gone(err error) string {
	if leftOut(err) {
		return strings.Replace(err.Error(), evidence.ErrErased.Error()+": ", "", 1)
	}
	return err.Error()
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

func showWhole(w io.Writer, folder *evidence.Folder, wanted []uint64) error {
	missing := map[uint64]bool{}
	for _, n := range wanted {
		missing[n] = true
	}
	for rec, err := range folder.Records() {
		if err != nil {
			return err
		}
		if !missing[rec.Seq] {
			continue
		}
		delete(missing, rec.Seq)
		one := shown{Digest: string(rec.Digest), Record: &rec.Record}
		if d := rec.Decision; d != nil {
			if one.Input, err = folder.Input(d.Input); err != nil && !errors.Is(err, evidence.ErrErased) {
				return err
			} else if err != nil {
				one.Erased = append(one.Erased, gone(err))
			}
			for _, f := range d.Facts {
				if f.Value == "" {
					continue
				}
				v, err := folder.Value(f.Value)
				if errors.Is(err, evidence.ErrErased) {
					one.Erased = append(one.Erased, gone(err))
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
	for _, n := range wanted {
		if missing[n] {
			return fmt.Errorf("there is no record %d", n)
		}
	}
	return nil
}
