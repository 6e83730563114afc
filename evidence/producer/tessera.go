//go:build unix

package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// extend appends leaves to the log in dir. Each call has a Tessera of its own that takes all of them as one batch: so a batch
// that fails is never followed by one that does not, which would put its leaves in the wrong places; and none of Tessera
// runs while there is nothing to append. It signs and publishes nothing, and collects no garbage: the log does.
//
// It cannot be cut short: Tessera whose context ends with leaves in its queue never answers for them.
func extend(dir, origin string, leaves [][]byte) error {
	// Its goroutines end with the context; by then they hold and write nothing.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := handles(dir); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	o := tessera.NewAppendOptions().WithCheckpointSigner(unsigned(origin)).WithBatching(uint(len(leaves)), time.Hour).
		WithCheckpointInterval(math.MaxInt64).WithCheckpointRepublishInterval(0).WithGarbageCollectionInterval(0)
	appender, _, _, err := tessera.NewAppender(ctx, driver, o)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	last := func() (tessera.Index, error) { return tessera.Index{}, nil }
	for _, leaf := range leaves {
		last = appender.Add(ctx, tessera.NewEntry(leaf))
	}
	if _, err := last(); err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	return nil
}

// handles checks that files can be opened: where Tessera cannot open its lock, it panics.
func handles(dir string) error {
	for range 8 {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
	}
	return nil
}

// unsigned is the signer that Tessera wants and is never to use.
type unsigned string

var _ note.Signer = unsigned("")

// Name is part of note.Signer.
func (u unsigned) Name() string { return string(u) }

// KeyHash is part of note.Signer.
func (u unsigned) KeyHash() uint32 { return 0 }

// Sign is part of note.Signer.
func (u unsigned) Sign([]byte) ([]byte, error) {
	return nil, errors.New("the log signs its own checkpoints")
}
