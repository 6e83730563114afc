package producer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"proviso.dev/proviso/evidence"
)

// Found makes dir an evidence folder in which no run is yet, unless it is one, and returns the verifier key of its log. Of the
// options it takes those of the folder: the Signer, and the clock.
func Found(ctx context.Context, dir string, o Options) (string, error) {
	w, err := take(ctx, dir, o)
	if err == nil {
		err = w.release()
	}
	if err != nil {
		return "", fmt.Errorf("found evidence %s: %w", dir, err)
	}
	return w.producer.Key, nil
}

// take locks the folder, and makes it one of evidence where it is none.
func take(ctx context.Context, dir string, o Options) (_ *Writer, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	key, err := evidence.NewKey(o.Signer.Public())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, o: o, key: key, room: make(chan struct{}), wake: make(chan struct{}, 1), committed: make(chan struct{}), still: func() {}, listing: func() {}}
	if err := own(dir); err != nil {
		return nil, err // before anything of ours is put there
	}
	if w.folder, w.lock, err = lock(dir, w.path(evidence.LockFile)); err != nil {
		return nil, err
	}
	if err := w.found(ctx); err != nil {
		return nil, errors.Join(err, w.release())
	}
	return w, nil
}

// Recordable checks that a folder is not there yet, is empty, or was made to record into. Nothing is put there.
func Recordable(dir string) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.IsDir():
		return errors.New("it is no folder: name one that is new or empty")
	}
	return own(dir)
}

// own checks that the folder is new, or was made to record into: before that nothing is put there.
func own(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, evidence.ProducerFile)); errors.Is(err, fs.ErrNotExist) {
		return unused(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, evidence.SaltFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no %s, which never leaves the folder that is recorded into: it is part of an auditor bundle, or another copy: name a folder that is new or empty, or the one recorded into", evidence.SaltFile)
	}
	return nil
}

// within checks that what is judged is in the cluster that the log is of; empty is none.
func (o *Options) within(cluster string) error {
	all := slices.Clone(o.Clusters)
	if o.Cluster != nil {
		all = append(all, *o.Cluster)
	}
	for _, here := range all {
		switch {
		case cluster == "" || here.UID == cluster:
		case here.UID == "":
			return fmt.Errorf("it is evidence of the cluster with UID %s, and it cannot be established that this one is: let it read the namespace kube-system, whose UID says so, or name a folder of its own", cluster)
		default:
			return fmt.Errorf("it is evidence of the cluster with UID %s, and this is the one with UID %s: name a folder of its own", cluster, here.UID)
		}
	}
	return nil
}

// handsOver has the log made that this one is handed over to, which is the one it was handed over to before, if any.
func (o *Options) handsOver(before string) (err error) {
	next := ""
	if o.Next != nil {
		if next, err = o.Next(); err != nil {
			return err
		}
	}
	if before != "" && next != before {
		origin, _, _ := strings.Cut(before, "+")
		return fmt.Errorf("the log was handed over to %s: name the folder of that one", origin)
	}
	return nil
}
