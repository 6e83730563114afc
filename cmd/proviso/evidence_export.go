package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/evidence"
)

func evidenceExportCommand(s streams) *cobra.Command {
	var o evidence.ExportOptions
	var from, until, key, output string
	c := &cobra.Command{
		Use:   "export FOLDER -o BUNDLE.tar",
		Short: "Write what an auditor needs into one file",
		Long: `Write a folder of evidence, or a part of it, into one tar that an auditor checks without us: the log and its signed head,
the records, what was judged, the policies, what is missing, OSCAL assessment results, a summary for people, and VERIFY.md with
the commands of openssl, cosign and fsck. A signed manifest lists every file and says what was left out. The same records give
the same bytes, but for signatures. What does not verify is not exported (exit code 4).`,
		Example: `  proviso evidence export evidence -o june.tar --from 2026-06-01T00:00:00Z --until 2026-07-01T00:00:00Z
  proviso evidence export evidence -o team-a.tar --namespace team-a --key awskms:///alias/auditors
  proviso evidence export evidence -o june.tar --record 17 --record 23`,
		Args: oneArg("a folder of evidence"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if output == "" {
				return errors.New("nowhere to write: name a file with -o")
			}
			for flag, at := range map[string]struct {
				text string
				to   *time.Time
			}{"--from": {from, &o.From}, "--until": {until, &o.Until}} {
				if at.text == "" {
					continue
				}
				if *at.to, err = time.Parse(time.RFC3339, at.text); err != nil {
					return fmt.Errorf("%s %q: want a time like 2026-06-01T00:00:00Z", flag, at.text)
				}
				*at.to = at.to.UTC()
			}
			if err := bundleTo(output); err != nil {
				return fmt.Errorf("-o %s: %w", output, err)
			}
			return export(c.Context(), s, args[0], output, key, &o)
		},
	}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "the file to write")
	f.StringVar(&from, "from", "", "leave out what was recorded before this time")
	f.StringVar(&until, "until", "", "leave out what was recorded at this time and after")
	f.StringVar(&o.Namespace, "namespace", "", "leave out decisions about other namespaces, and facts that name one")
	f.BoolVar(&o.WithoutInputs, "without-inputs", false, "leave out what was judged, and the facts around it: nobody can judge it again")
	f.Var(&seqs{&o.Records}, "record", "sign the decision with this number on its own, too, and prove that it is in the log; leaves out nothing; may be repeated")
	f.StringVar(&key, "key", "", "the key that signs: a cosign.key, or one in a KMS; without it one of your own, as for scan --evidence")
	return c
}

// seqs are numbers of records in a flag.
type seqs struct{ to *[]uint64 }

func (n *seqs) String() string { return "" }
func (n *seqs) Type() string   { return "SEQ" }
func (n *seqs) Set(text string) error {
	var seq uint64
	if _, err := fmt.Sscanf(text, "%d", &seq); err != nil || fmt.Sprint(seq) != text {
		return errors.New("want the number of a record, as proviso evidence show lists them")
	}
	*n.to = append(*n.to, seq)
	return nil
}

// bundleTo checks that an auditor bundle can take a name. What is no file it would put itself in the place of.
func bundleTo(output string) error {
	there, err := os.Stat(output)
	switch {
	case err == nil && there.IsDir():
		return errors.New("it names a folder: want a file")
	case err == nil && !there.Mode().IsRegular():
		return errors.New("it names no plain file: want one")
	}
	return toFile(output)
}

// export writes an auditor bundle, whole or not at all.
func export(ctx context.Context, s streams, folder, output, ref string, o *evidence.ExportOptions) (err error) {
	fsys, closer, err := evidence.OpenPath(folder)
	if err != nil {
		return err
	}
	defer closer.Close()
	dir := filepath.Dir(output)
	if o.Scratch, err = os.MkdirTemp(dir, ".proviso-export-*"); err != nil {
		return fmt.Errorf("-o %s: write into the folder %s: %w", output, dir, errors.Unwrap(err))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Scratch)) }()
	v, err := stoppable(ctx, func() (*evidence.Verified, error) { return evidence.Verify(fsys, evidence.Options{Now: time.Now()}) })
	if err != nil {
		return err
	}
	if v.ExitCode() == exitUnverified {
		return errors.Join(v.Text(s.err), exitCode(exitUnverified))
	}
	key, err := openKey(ctx, s, ref)
	if err != nil {
		return err
	}
	o.Sign = key.Statement
	if o.Key, err = evidence.NewKey(key.Public()); err != nil {
		return err
	}
	o.OSCAL = assessment
	whole := filepath.Join(o.Scratch, "bundle.tar")
	f, err := os.OpenFile(whole, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	m, err := evidence.Export(ctx, fsys, f, o)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(whole, output); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	fmt.Fprintf(s.err, "proviso: note: %s has %d of %s, and is signed by sha256:%s\n", output, m.Records, countOf(m.Head.Size, "record", "records"), o.Key.Fingerprint())
	if m.Unsigned > 0 {
		fmt.Fprintf(s.err, "proviso: note: %s came after the head: not signed yet, and not in it\n", countOf(m.Unsigned, "record", "records"))
	}
	if o.Key.Fingerprint() != m.Signer {
		fmt.Fprintf(s.err, "proviso: note: the log is signed by another key, sha256:%s; auditors need both, by a way of its own\n", m.Signer)
		fmt.Fprintf(s.err, "proviso: note: who signed %s is not established: proviso evidence verify --trust holds it against a key you trust\n", folder)
	}
	if m.WithoutOSCAL != "" {
		fmt.Fprintf(s.err, "proviso: note: there are no OSCAL assessment results in it: %s\n", m.WithoutOSCAL)
	}
	return nil
}
