package evidence

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// The exit codes that checking ends with; the same as proviso's own.
const (
	ExitVerified   = 0
	ExitIncomplete = 2
	ExitUnverified = 4
)

// ExitCode is 4 where something does not verify, 2 where something is declared to be missing, and 0.
func (v *Verified) ExitCode() int {
	switch {
	case len(v.Problems) > 0:
		return ExitUnverified
	case len(v.Holes) > 0:
		return ExitIncomplete
	}
	return ExitVerified
}

// Text writes what was checked, for whom, and what was not, for people. What it quotes of evidence cannot alter a terminal.
func (v *Verified) Text(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(plain(fmt.Sprintf(format, args...)) + "\n") }
	switch v.ExitCode() {
	case ExitVerified:
		line("verified")
	case ExitIncomplete:
		line("INCOMPLETE: what is there verifies, and something is missing")
	default:
		line("NOT VERIFIED")
	}
	for _, p := range v.Problems {
		line("  wrong    %s  [%s]", p, p.Code)
	}
	for _, p := range v.Holes {
		line("  missing  %s  [%s]", p, p.Code)
	}
	line("")
	line("log       %s", v.Producer.Origin)
	switch {
	case v.Signer == "":
		line("signer    not established: there is no key to read")
	case !v.Established:
		line("signer    not established: checked against the key in the folder, sha256:%s", v.Signer)
	case v.SignerName != "":
		line("signer    %s, sha256:%s", v.SignerName, v.Signer)
	default:
		line("signer    sha256:%s", v.Signer)
	}
	if x := v.Export; x != nil {
		switch {
		case x.Signer == "":
			line("exporter  not established: the manifest cannot be read")
		case !x.Established:
			line("exporter  not established: checked against the key in the bundle, sha256:%s", x.Signer)
		default:
			line("exporter  %s", strings.Join(nonEmpty(x.SignerName, "sha256:"+x.Signer), ", "))
		}
		line("left out  %s", x.LeftOut)
	}
	line("head      %d records, root %s", v.Head.Size, v.Head.Root)
	if b := v.Before; b != nil {
		line("before    %s, %d records, root %s, signed by sha256:%s", b.Origin, b.Size, b.Root, b.Signer)
	}
	if n := v.Next; n != nil {
		line("goes on   %s, signed by sha256:%s", n.Origin, n.Signer)
	}
	for _, c := range v.Clusters {
		line("cluster   %s", strings.Join(nonEmpty(c.Name, c.UID, c.Region, c.Jurisdiction), ", "))
	}
	for i := range v.Runs {
		r := &v.Runs[i]
		end := "open"
		if r.Closed {
			end = r.Reason
		}
		line("run       %s %s, records %d to %d, %s to %s, %s: %d judged", r.Kind, r.ID, r.First, r.Last, r.Start.Format(time.RFC3339), r.End.Format(time.RFC3339), end, r.Counts.Decisions)
	}
	line("verdicts  %d pass, %d fail, %d unknown, %d not applicable, %d waived", v.Counts.Pass, v.Counts.Fail, v.Counts.Unknown, v.Counts.NotApplicable, v.Counts.Waived)
	if x := v.Export; x != nil {
		line("export    %d of %d records; of the values they rest on %d are left out", v.Records, v.Head.Size, x.InputsLeftOut)
	}
	line("")
	for _, text := range v.Checked {
		line("checked      %s", text)
	}
	for _, text := range v.Unchecked {
		line("not checked  %s", text)
	}
	_, err := io.WriteString(w, b.String())
	if err != nil {
		return fmt.Errorf("write what was verified: %w", err)
	}
	return nil
}

// nonEmpty are the texts that are not empty.
func nonEmpty(texts ...string) (all []string) {
	for _, t := range texts {
		if t != "" {
			all = append(all, t)
		}
	}
	return all
}

// plain replaces what could alter a terminal, or the reading of a line.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
