package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/engine/retention"
	"proviso.dev/proviso/engine/store"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/locked"
)

func evidenceCopyCommand(s streams) *cobra.Command {
	var keep, until string
	c := &cobra.Command{
		Use:   "copy FOLDER s3://BUCKET/PREFIX",
		Short: "Copy what is sealed into a bucket under object lock",
		Long: `Copy what the newest seal of a folder covers, and the seals, into a bucket under object lock: the anchor outside that an
old copy put back, and a second history, are told by. The folder is verified first; one that does not verify is not copied,
nor one that the bucket has a newer seal of (rollback), or another seal of the same number (split view).

Each object is locked in COMPLIANCE mode: nobody, not even the owner of the account, can delete it before its time, or lock
it for less. So for how long is yours to say: --keep counts from when the folder was sealed. Personal data in what was
judged stays as long. A copy that was cut off is taken up where it was when it is called again, and objects that an earlier
copy locked for less are locked for longer, those that only earlier seals list too, but not what was erased since. The salt
behind the commitments for Secrets is never copied.

The bucket must have been made with object lock:
  aws s3api create-bucket --object-lock-enabled-for-bucket --bucket NAME
Who copies needs s3:PutObject, s3:PutObjectRetention, s3:GetObject, s3:GetObjectVersion, s3:GetObjectRetention,
s3:ListBucketVersions, s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration; and should have no more.

Exit codes: 0 copied, 1 not copied, or not wholly, 4 refused: the folder does not verify, or is not the log the bucket has.`,
		Example: `  proviso evidence copy evidence 's3://audit/prod?region=eu-central-1' --keep 6y
  proviso evidence verify 's3://audit/prod?region=eu-central-1' --trust cosign.pub
  proviso evidence verify evidence --against s3://audit/prod`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("got %d arguments, want two: a folder of evidence, and s3://BUCKET/PREFIX", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := copyable(args[0]); err != nil {
				return err
			}
			to, err := openCopy(c.Context(), args[1], keep, until)
			if err != nil {
				return err
			}
			return to.copy(c.Context(), s, args[0])
		},
	}
	c.Flags().StringVar(&keep, "keep", "", "how long objects are locked, from when the folder was sealed: 2190d, 6y")
	c.Flags().StringVar(&until, "until", "", "until when objects are locked: 2032-11-21, or an RFC 3339 time")
	return c
}

// copyable checks that a folder is one that a producer wrote, before a bucket is asked anything.
func copyable(dir string) error {
	fsys, closer, err := evidence.OpenPath(dir)
	if err != nil {
		return err
	}
	defer closer.Close()
	has := func(name string) bool {
		_, err := fs.Stat(fsys, name)
		return err == nil
	}
	switch {
	case has(evidence.ProducerFile):
		return nil
	case has(evidence.ManifestFile):
		return fmt.Errorf("%s is an auditor bundle: copy the folder that was written by the producer", dir)
	}
	return noEvidence(dir)
}

// copyTo is a bucket that evidence is copied to, and for how long.
type copyTo struct {
	*locked.Bucket
	until func(sealed time.Time) time.Time
}

func openCopy(ctx context.Context, to, keep, until string) (*copyTo, error) {
	c, err := newCopy(ctx, to, keep, until)
	if err != nil {
		return nil, err
	}
	return c, c.Lockable(ctx)
}

// newCopy asks the bucket nothing yet.
func newCopy(ctx context.Context, to, keep, until string) (*copyTo, error) {
	c := &copyTo{}
	switch {
	case keep != "" && until != "":
		return nil, errors.New("--keep and --until both say for how long the copy is locked: give one of them")
	case keep == "" && until == "":
		return nil, errors.New("say for how long the copy is locked, by --keep 6y or by --until 2032-11-21: nobody can undo it")
	case keep != "":
		h, err := retention.ParseText(keep)
		if err != nil {
			return nil, fmt.Errorf("--keep: %w", err)
		}
		c.until = h.Until
	default:
		t, err := time.Parse(time.DateOnly, until)
		if err != nil {
			t, err = time.Parse(time.RFC3339, until)
		}
		if err != nil {
			return nil, fmt.Errorf("--until %q is no time: want for example 2032-11-21 or 2032-11-21T12:00:00Z", until)
		}
		c.until = func(time.Time) time.Time { return t }
	}
	var err error
	c.Bucket, err = openBucket(ctx, to)
	return c, err
}

func openBucket(ctx context.Context, text string) (*locked.Bucket, error) {
	source, err := store.ParseSource(text)
	if err != nil {
		return nil, err
	}
	return locked.Open(ctx, source)
}

// copy verifies a folder and copies it.
func (to *copyTo) copy(ctx context.Context, s streams, dir string) error {
	refuse := func(text string) error {
		fmt.Fprintf(s.err, "proviso: %s\n", printable(text))
		return exitCode(exitUnverified)
	}
	fsys, closer, err := evidence.OpenPath(dir)
	if err != nil {
		return err
	}
	defer closer.Close()
	v, err := evidence.Verify(fsys, evidence.Options{})
	if err != nil {
		return err
	}
	if n := len(v.Problems); n > 0 {
		return refuse(fmt.Sprintf("%s does not verify, and nothing was copied: %s [%s] (%d problems: proviso evidence verify shows them)", dir, v.Problems[0], v.Problems[0].Code, n))
	}
	done, err := to.Copy(ctx, fsys, locked.CopyOptions{Until: to.until, Now: time.Now(), Progress: counting(s.err, "copied")})
	if _, refused := errors.AsType[*locked.Refused](err); refused {
		return refuse(err.Error())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "copied seal %d of %s to %s\n%d objects put, %d locked for longer, %d there already; locked in COMPLIANCE mode until %s at least\n",
		done.Seal, done.Producer, to, done.Put, done.Extended, done.Kept, done.Until.Format(time.RFC3339))
	return err
}

// copying is where a scan's evidence is copied to; nil is nowhere.
func (j *judging) copying(ctx context.Context, to, keep string) (*copyTo, error) {
	switch {
	case to == "" && keep == "":
		return nil, nil
	case to == "":
		return nil, errors.New("--keep says how long a copy is locked: name where to with --copy s3://BUCKET/PREFIX")
	case j.evidence == "":
		return nil, errors.New("--copy copies evidence: record it with --evidence DIR")
	case keep == "":
		return nil, errors.New("say for how long the copy is locked, by --keep 6y: nobody can undo it")
	}
	return openCopy(ctx, to, keep, "")
}

// after copies what a scan sealed. What the scan ends with stands, unless copying it fails.
func (to *copyTo) after(ctx context.Context, s streams, dir string, scanned error) error {
	if _, sealed := errors.AsType[exitCode](scanned); to == nil || scanned != nil && !sealed {
		return scanned
	}
	s.out = s.err // results are the scan's
	if err := to.copy(ctx, s, dir); err != nil {
		return err
	}
	return scanned
}

// counting tells on w how much of something is done: in place on a terminal, elsewhere one line every ten seconds.
func counting(w io.Writer, what string) func(done, of int) {
	_, isTerminal := terminal(w)
	every, last := 10*time.Second, time.Now()
	if isTerminal {
		every = 200 * time.Millisecond
	}
	return func(done, of int) {
		switch now := time.Now(); {
		case isTerminal && done == of:
			fmt.Fprint(w, "\r\x1b[K")
		case now.Sub(last) < every:
		case isTerminal:
			last = now
			fmt.Fprintf(w, "\r%s %d of %d\x1b[K", what, done, of)
		default:
			last = now
			fmt.Fprintf(w, "%s %d of %d\n", what, done, of)
		}
	}
}

// verifying is what places of evidence are verified by.
type verifying struct {
	evidence.Options
	// anchors are buckets that hold checkpoints to hold folders against.
	anchors []*locked.Bucket
	write   func(*evidence.Verified) error
	// place is the one that is looked at, where there are several.
	place string
	// worst is the worst that any place came to.
	worst int
}

// verifyPlaces verifies folders, bundles and buckets, tells of each, and ends with the worst: 4, then 1, then 2.
func verifyPlaces(ctx context.Context, s streams, places []string, trust string, against []string, write func(io.Writer, *evidence.Verified) error) error {
	v := &verifying{}
	var files []string
	for _, name := range against {
		if !strings.HasPrefix(name, "s3://") {
			files = append(files, name)
			continue
		}
		b, err := openBucket(ctx, name)
		if err != nil {
			return fmt.Errorf("--against: %w", err)
		}
		v.anchors = append(v.anchors, b)
	}
	var err error
	if v.Options, err = verifyOptions(trust, files); err != nil {
		return err
	}
	told := false
	v.write = func(found *evidence.Verified) error {
		if told {
			fmt.Fprintln(s.out)
		}
		told, found.Place = true, v.place
		v.came(found.ExitCode())
		return write(s.out, found)
	}
	for _, name := range places {
		bucket := strings.HasPrefix(name, "s3://")
		switch {
		case len(files) > 0 && (bucket || len(places) > 1):
			return errors.New("--against FILE is the checkpoint of one log: verify one folder with it, or give s3://BUCKET/PREFIX")
		case bucket && len(v.anchors) > 0:
			return errors.New("--against s3:// is what a folder is held against: name a folder")
		}
	}
	for _, name := range places {
		verify := v.path
		if len(places) > 1 {
			v.place = name
		}
		if strings.HasPrefix(name, "s3://") {
			verify = func(ctx context.Context, name string) error { return v.bucket(ctx, s, name) }
		}
		if err := verify(ctx, name); err != nil && len(places) == 1 && !told {
			return err
		} else if err != nil {
			fmt.Fprintf(s.err, "proviso: %s: %s\n", name, printable(err.Error()))
			v.came(exitTrouble)
		}
	}
	if v.worst != exitOK {
		return exitCode(v.worst)
	}
	return nil
}

// came notes what a place came to.
func (v *verifying) came(code int) {
	rank := map[int]int{exitOK: 0, exitIncomplete: 1, exitTrouble: 2, exitUnverified: 3}
	if rank[code] > rank[v.worst] {
		v.worst = code
	}
}

func (v *verifying) bucket(ctx context.Context, s streams, name string) error {
	b, err := openBucket(ctx, name)
	if err != nil {
		return err
	}
	tell := counting(s.err, "looked at")
	for found, err := range b.Verify(ctx, v.Options, func(_ string, done, of int) { tell(done, of) }) {
		if err != nil {
			return err
		}
		if err := v.write(found); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifying) path(ctx context.Context, name string) error {
	fsys, closer, err := evidence.OpenPath(name)
	if altered, was := errors.AsType[*evidence.BundleAltered](err); was {
		return v.write(altered.Verified())
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	o := v.Options
	var strange []evidence.Problem
	if len(v.anchors) > 0 {
		id := ""
		if folder, err := evidence.OpenFolder(fsys); err == nil {
			id = folder.Producer.ID
			if err := folder.Close(); err != nil {
				return err
			}
		} // what is wrong with it Verify says
		for _, b := range v.anchors {
			kept, err := b.Checkpoints(ctx, id)
			if err != nil {
				return err
			}
			if o.Against = append(o.Against, kept...); len(kept) == 0 {
				strange = append(strange, evidence.Problem{Code: evidence.OtherLog, Place: "--against " + b.String(), Text: "the bucket has no checkpoint of this log: it was never copied there, or another log was put in its place"})
			}
		}
	}
	found, err := evidence.Verify(fsys, o)
	if err != nil {
		return err
	}
	found.Problems = append(found.Problems, strange...)
	return v.write(found)
}
