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

// held is what was checked and holds: nothing is said to where something does not verify.
func (v *Verified) held() []string {
	if len(v.Problems) > 0 {
		return nil
	}
	return v.Checked
}

// MarshalJSON is part of json.Marshaler.
func (v *Verified) MarshalJSON() ([]byte, error) {
	type fields Verified
	f := fields(*v)
	f.Checked = append([]string{}, v.held()...)
	return Encode(f)
}

// Text writes what was checked, for whom, and what was not, for people. What it quotes of evidence cannot alter a terminal.
func (v *Verified) Text(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(plain(fmt.Sprintf(format, args...)) + "\n") }
	if v.Place != "" {
		line("place     %s", v.Place)
	}
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
	if v.Producer.Origin == "" {
		line("log       not established: it cannot be read")
	} else {
		line("log       %s", v.Producer.Origin)
	}
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
	line("head      %s, root %s", plural(v.Head.Size, "record", "records"), v.Head.Root)
	if b := v.Before; b != nil {
		line("before    %s, %s, root %s, signed by sha256:%s", b.Origin, plural(b.Size, "record", "records"), b.Root, b.Signer)
	}
	if n := v.Next; n != nil {
		line("goes on   %s, signed by sha256:%s", n.Origin, n.Signer)
	}
	for _, c := range v.Clusters {
		uid := c.UID
		if uid == "" {
			uid = "not established which: its records give no UID"
		}
		line("cluster   %s", strings.Join(nonEmpty(c.Name, uid, c.Region, c.Jurisdiction), ", "))
	}
	unidentified := uint64(0)
	for i := range v.Runs {
		if v.Runs[i].Unidentified {
			unidentified++
		}
	}
	if unidentified > 0 {
		line("cluster   not established for %s of %d", plural(unidentified, "run", "runs"), len(v.Runs))
	}
	for i := range v.Runs {
		r := &v.Runs[i]
		end := "open"
		if r.Closed {
			end = r.Reason
		}
		if r.Simulated {
			end += ", simulated"
		}
		line("run       %s %s, records %d to %d, %s to %s, %s: %d judged", r.Kind, r.ID, r.First, r.Last, r.Start.Format(time.RFC3339), r.End.Format(time.RFC3339), end, r.Counts.Decisions)
	}
	line("verdicts  %d pass, %d fail, %d unknown, %d not applicable, %d waived", v.Counts.Pass, v.Counts.Fail, v.Counts.Unknown, v.Counts.NotApplicable, v.Counts.Waived)
	if x := v.Export; x != nil {
		line("export    %d of %s; values left out that they rest on: %d", v.Records, plural(v.Head.Size, "record", "records"), x.InputsLeftOut)
	}
	line("")
	for _, text := range v.held() {
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

// apart says in words the counts in which two differ: what this one has, and what the other.
func (c *Counts) apart(o *Counts) (this, other string) {
	var mine, theirs []string
	for _, k := range []struct {
		one, many string
		c, o      uint64
	}{
		{"request", "requests", c.Requests, o.Requests}, {"decision", "decisions", c.Decisions, o.Decisions}, {"pass", "pass", c.Pass, o.Pass},
		{"fail", "fail", c.Fail, o.Fail}, {"unknown", "unknown", c.Unknown, o.Unknown}, {"not applicable", "not applicable", c.NotApplicable, o.NotApplicable},
		{"waived", "waived", c.Waived, o.Waived}, {"hole", "holes", c.Holes, o.Holes}, {"dry run", "dry runs", c.DryRuns, o.DryRuns},
		{"request lost", "requests lost", c.Lost, o.Lost},
	} {
		if k.c != k.o {
			mine, theirs = append(mine, plural(k.c, k.one, k.many)), append(theirs, plural(k.o, k.one, k.many))
		}
	}
	return strings.Join(mine, ", "), strings.Join(theirs, ", ")
}

// plural is a number with its noun.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
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
