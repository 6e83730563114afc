package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
before, and its head. Both are sealed. Nothing else may write to them meanwhile. What does not verify is not ended (exit code
4). What is cut off goes on when it is called again with the same folders; what is done is not done twice. A log in which the
process was killed while it recorded has a run without an end, and does not get one: verify says so for good (exit code 2).

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
			from, to := handing{dir: args[0]}, handing{dir: args[1]}
			if _, err := os.Stat(filepath.Join(from.dir, evidence.ProducerFile)); err != nil {
				return fmt.Errorf("%s is no folder of evidence, and there is no log to end: %w", from.dir, err)
			}
			if err := toFolder(to.dir); err != nil {
				return err
			}
			if isURL(to.dir) {
				return fmt.Errorf("%s: a log is recorded into a folder; proviso evidence copy copies that", to.dir)
			}
			if key == "" || next == "" {
				return errors.New("name the key of the log that ends with --key, and that of the one that goes on with --new-key")
			}
			var err error
			if from.key, err = openKey(c.Context(), s, key); err != nil {
				return err
			}
			if to.key, err = openKey(c.Context(), s, next); err != nil {
				return fmt.Errorf("--new-key: %w", err)
			}
			return rotate(c.Context(), s, from, to)
		},
	}
	c.Flags().StringVar(&key, "key", "", "key of the log that ends")
	c.Flags().StringVar(&next, "new-key", "", "key of the log that goes on")
	return c
}

// handing is a folder, its key, the cluster it is of, nil for none, and the origin of the log that its log is to go on from.
type handing struct {
	dir     string
	key     *cosign.Key
	cluster *evidence.Cluster
	before  string
}

// rotate hands a log over. All that can be wrong is found before anything is written; what an earlier call did is not done
// again.
func rotate(ctx context.Context, s streams, from, to handing) (err error) {
	oldKey, err := from.signs("--key")
	if err != nil {
		return err
	}
	if newKey, err := evidence.NewKey(to.key.Public()); err != nil {
		return err
	} else if newKey.Fingerprint() == oldKey.Fingerprint() {
		return errors.New("both are one key: a log is handed over to another")
	}
	old, err := from.verified(s)
	if err != nil {
		return err
	}
	to.before = old.Producer.Origin
	var head []byte
	if old.Next != nil {
		next, err := to.goesOn(s, old)
		if err != nil {
			return fmt.Errorf("%s: %w", from.dir, err)
		}
		if head, err = from.ended(oldKey, old); err != nil {
			return err
		}
		if b := next.Before; head != nil && b != nil && b.Origin == old.Producer.Origin && b.Root == old.Head.Root && next.Seals > 0 {
			_, err := fmt.Fprintf(s.out, "%s was handed over to %s before, and both say so: nothing is recorded\n", from.dir, to.dir)
			return err
		}
	}
	if from.cluster, err = from.of(); err != nil {
		return err
	}
	to.cluster = from.cluster
	if head == nil {
		if head, err = from.handOver(ctx, s, to); err != nil {
			return err
		}
	}
	goesOn, err := to.open(ctx, s, nil)
	if err != nil {
		return err
	}
	defer func() { err = ends(ctx, goesOn, err) }()
	before, err := evidence.OpenCheckpoint(head, oldKey, old.Producer.Origin)
	if err != nil {
		return err
	}
	if _, err := to.end(ctx, goesOn, evidence.KeyChange{Before: oldKey.VerifierKey(old.Producer.Origin), Head: string(head)}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s ends with %d records: log %s\n%s goes on: log %s, signed by sha256:%s\n", from.dir, before.Size, old.Producer.Origin, to.dir, goesOn.Origin(), goesOn.Key().Fingerprint())
	return err
}

// signs checks that the folder is signed by the key, which a flag named.
func (h handing) signs(flag string) (*evidence.Key, error) {
	mine, err := evidence.NewKey(h.key.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	raw, err := os.ReadFile(filepath.Join(h.dir, evidence.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("whose %s is: %w", h.dir, err)
	}
	key, err := evidence.ParseKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", h.dir, evidence.KeyFile, err)
	}
	if key.Fingerprint() != mine.Fingerprint() {
		return nil, fmt.Errorf("%s: %s is signed by the key sha256:%s, and this one is sha256:%s: name the key that signs it", flag, h.dir, key.Fingerprint(), mine.Fingerprint())
	}
	return key, nil
}

// verified checks the folder.
func (h handing) verified(s streams) (*evidence.Verified, error) {
	fsys, closer, err := evidence.OpenPath(h.dir)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	v, err := evidence.Verify(fsys, evidence.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.dir, err)
	}
	if v.ExitCode() == exitUnverified {
		return nil, errors.Join(v.Text(s.err), exitCode(exitUnverified))
	}
	return v, nil
}

// goesOn checks that the folder is of the log that another says goes on.
func (h handing) goesOn(s streams, old *evidence.Verified) (*evidence.Verified, error) {
	if _, err := os.Stat(filepath.Join(h.dir, evidence.ProducerFile)); err == nil {
		if _, err := h.signs("--new-key"); err != nil {
			return nil, err
		}
		v, err := h.verified(s)
		if err != nil {
			return nil, err
		}
		if v.Producer.Origin == old.Next.Origin {
			if v.Before != nil && v.Before.Origin == h.before {
				return v, nil
			}
			return v, h.mayGoOn(v)
		}
	}
	return nil, fmt.Errorf("the log was handed over to %s: name the folder of that one", old.Next.Origin)
}

// ended is the head of a log that was handed over; nil where the seal over its end is missing.
func (h handing) ended(key *evidence.Key, v *evidence.Verified) ([]byte, error) {
	head, err := os.ReadFile(filepath.Join(h.dir, filepath.FromSlash(evidence.CheckpointFile)))
	if err != nil || v.Seals == 0 || v.Unsigned > 0 {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(h.dir, filepath.FromSlash(evidence.SealDir(v.Seals)), evidence.SealCheckpoint))
	if err != nil {
		return nil, err
	}
	sealed, err := evidence.OpenCheckpoint(raw, key, v.Producer.Origin)
	if err != nil || sealed.Size != v.Head.Size {
		return nil, err
	}
	return head, nil
}

// of is the cluster that the log is of, which the one that goes on is of too.
func (h handing) of() (cluster *evidence.Cluster, err error) {
	fsys, closer, err := evidence.OpenPath(h.dir)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	folder, err := evidence.OpenFolder(fsys)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	for rec, err := range folder.Records() {
		if err != nil {
			return nil, err
		}
		if c := rec.Cluster; rec.Open != nil && c != nil && c.UID != "" {
			cluster = c
		}
	}
	return cluster, nil
}

// handOver ends the log, and returns its head. The folder of the one that goes on is made when nobody else can write to this
// one, and has no record before this one has its end: what is cut off until then leaves nothing in it that does not verify.
func (h handing) handOver(ctx context.Context, s streams, to handing) (_ []byte, err error) {
	next := ""
	w, err := h.open(ctx, s, func() (_ string, err error) {
		next, err = to.found(ctx, s)
		return next, err
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = ends(ctx, w, err) }()
	return h.end(ctx, w, evidence.KeyChange{Next: next})
}

// mayGoOn checks that the log of the folder can go on from the other: a log goes on from one, and ends once.
func (h handing) mayGoOn(v *evidence.Verified) error {
	if v.Next != nil {
		return fmt.Errorf("%s was handed over itself, to %s: name a folder of its own", h.dir, v.Next.Origin)
	}
	if v.Before != nil && v.Before.Origin != h.before {
		return fmt.Errorf("%s goes on from %s already: name a folder of its own", h.dir, v.Before.Origin)
	}
	return nil
}

// found makes the folder, or checks the one that is there, and returns the verifier key of its log, which goes on from another.
func (h handing) found(ctx context.Context, s streams) (string, error) {
	if _, err := os.Stat(filepath.Join(h.dir, evidence.ProducerFile)); err == nil {
		if _, err := h.signs("--new-key"); err != nil {
			return "", err
		}
		v, err := h.verified(s)
		if err == nil {
			err = h.mayGoOn(v)
		}
		if err != nil {
			return "", err
		}
		there, err := h.of()
		if err != nil {
			return "", err
		}
		if there != nil && (h.cluster == nil || there.UID != h.cluster.UID) {
			return "", fmt.Errorf("%s is evidence of the cluster with UID %s, and the log that ends is not: name a folder of its own", h.dir, there.UID)
		}
	}
	return producer.Found(ctx, h.dir, h.options())
}

func (h handing) open(ctx context.Context, s streams, next func() (string, error)) (*producer.Writer, error) {
	o := h.options()
	o.Next = next
	w, err := producer.Open(ctx, h.dir, o)
	if err == nil && w.Unclosed() {
		fmt.Fprintf(s.err, "proviso: note: %s: the run before was cut off and has no end: evidence verify says so for good (exit code 2)\n", h.dir)
	}
	return w, err
}

func (h handing) options() producer.Options {
	return producer.Options{Signer: h.key, Kind: "admission", Mode: producer.Strict, Run: rand.Text(), Scope: []string{"rotate"}, Cluster: h.cluster,
		Engine: evidence.Engine{Version: versionText(), Program: programDigest()}}
}

// ends closes a log though the context may be over, and says in it what went wrong.
func ends(ctx context.Context, w *producer.Writer, err error) error {
	reason := "done"
	if err != nil {
		reason = failed(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	return errors.Join(err, w.Close(ctx, reason))
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
