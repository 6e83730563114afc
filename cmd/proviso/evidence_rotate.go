package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
)

func evidenceRotateCommand(s streams) *cobra.Command {
	var key, next string
	c := &cobra.Command{
		Use:   "rotate FOLDER NEWFOLDER",
		Short: "End a log, and begin the one that goes on under another key",
		Long: `End a log, and begin the one that goes on under another key. A log has one key for life: the old folder says, signed by
the old key, which log goes on, and takes no record after that; the new one says, signed by the new key, which log went
before, and its head. Both are sealed. Nothing else may write to them meanwhile. What is cut off goes on when it is called
again with the same folders.

Neither key makes a reader trust the other, for who stole one could say what he likes: give auditors NEWFOLDER/cosign.pub by
a way of its own, and say in their trust until when the old key counts ({"keys": [{"publicKey", "notAfter"}, …]}).`,
		Example: `  cosign generate-key-pair --output-key-prefix next
  proviso evidence rotate evidence evidence-2 --key cosign.key --new-key next.key
  proviso scan velero:backups --evidence evidence-2 --key next.key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("got %d arguments, want two: the folder of the log that ends, and one for the log that goes on", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" || next == "" {
				return errors.New("name the key of the log that ends with --key, and that of the one that goes on with --new-key")
			}
			was, err := openKey(c.Context(), s, key)
			if err != nil {
				return err
			}
			is, err := openKey(c.Context(), s, next)
			if err != nil {
				return fmt.Errorf("--new-key: %w", err)
			}
			return rotate(c.Context(), s, handing{args[0], was}, handing{args[1], is})
		},
	}
	c.Flags().StringVar(&key, "key", "", "key of the log that ends")
	c.Flags().StringVar(&next, "new-key", "", "key of the log that goes on")
	return c
}

// handing is a folder and its key.
type handing struct {
	dir string
	key *cosign.Key
}

func rotate(ctx context.Context, s streams, from, to handing) (err error) {
	old, err := evidence.NewKey(from.key.Public())
	if err != nil {
		return err
	}
	goesOn, err := to.open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, goesOn.Close(ctx, "failed")) }()
	if old.Fingerprint() == goesOn.Key().Fingerprint() {
		return errors.New("both are one key: a log is handed over to another")
	}
	next := goesOn.Key().VerifierKey(goesOn.Origin())
	ends, err := from.open(ctx, next)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ends.Close(ctx, "failed")) }()
	head, err := from.end(ctx, ends, evidence.KeyChange{Next: next})
	if err != nil {
		return err
	}
	if _, err := to.end(ctx, goesOn, evidence.KeyChange{Before: ends.Key().VerifierKey(ends.Origin()), Head: string(head)}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s ends with %d records: log %s\n%s goes on: log %s, signed by sha256:%s\n", from.dir, ends.Stats().Records, ends.Origin(), to.dir, goesOn.Origin(), goesOn.Key().Fingerprint())
	return err
}

func (h handing) open(ctx context.Context, next string) (*producer.Writer, error) {
	return producer.Open(ctx, h.dir, producer.Options{Signer: h.key, Kind: "admission", Mode: producer.Strict, Run: rand.Text(), Scope: []string{"rotate"}, Next: next,
		Engine: evidence.Engine{Version: versionText(), Program: programDigest()}})
}

// end records what binds the log to the other, seals, and returns the log's head.
func (h handing) end(ctx context.Context, w *producer.Writer, bound evidence.KeyChange) ([]byte, error) {
	for _, rec := range []evidence.Record{{Key: &bound}, {Close: &evidence.Close{Reason: "done"}}} {
		if _, err := w.Append(ctx, rec); err != nil {
			return nil, err
		}
	}
	if err := w.Seal(ctx, evidence.Seal{}, nil, h.key.Statement); err != nil {
		return nil, err
	}
	return w.Checkpoint(ctx)
}
