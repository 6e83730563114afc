package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/locked"
	"proviso.dev/proviso/evidence/producer"
)

// run records what waits, until the context ends.
func (j *journal) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			j.tend(ctx)
		}
	}
}

// seals seals the folder from time to time and copies what is sealed, until the context ends. A bucket that does not answer
// keeps nobody from being answered: that is told, and tried again.
func (j *journal) seals(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	failed := func(err error) {
		if ctx.Err() == nil {
			j.log.Error("evidence", "error", err.Error())
		}
	}
	owed, again := false, time.Time{}
	if j.to != nil {
		before, err := os.ReadDir(filepath.Join(j.dir, evidence.SealsDir))
		if owed = len(before) > 0; !owed && err == nil {
			err = j.to.Lockable(ctx)
		}
		if err != nil {
			failed(fmt.Errorf("copy evidence: %w", err))
		}
	}
	for {
		if owed && !time.Now().Before(again) {
			if err := j.copy(ctx); err != nil {
				failed(err)
				again = time.Now().Add(copyAgain)
			} else {
				owed = false
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if j.due(time.Now()) {
			if err := j.seal(ctx); err != nil {
				failed(err)
			} else {
				owed = j.to != nil
			}
		}
	}
}

// due reports whether it is time for a seal.
func (j *journal) due(now time.Time) bool {
	age := now.Sub(j.sealed)
	return age >= sealAtLeast || age >= sealEvery && j.w.Stats().Bytes-j.sealedTo >= sealShare*j.took
}

// copy puts what is sealed into the bucket.
func (j *journal) copy(ctx context.Context) error {
	done, err := j.to.Copy(ctx, os.DirFS(j.dir), locked.CopyOptions{Until: j.to.until, Now: time.Now()})
	if err = j.compared(err); err != nil {
		return err
	}
	j.copied.Store(time.Now().Unix())
	j.log.Info("evidence is copied", "to", j.to.String(), "seal", done.Seal, "put", done.Put, "lockedUntil", done.Until)
	return nil
}

// compared sounds the alarm where a copy found another history in the bucket than the folder's, and ends it once one succeeds.
// Nobody is denied for it: what is recorded now is worth no less.
func (j *journal) compared(err error) error {
	refused, ok := errors.AsType[*locked.Refused](err)
	switch {
	case ok:
		j.copyRefused.Store(true)
		return fmt.Errorf("ALARM: folder and bucket do not tell of the same log (%s): the folder was rolled back or replaced, or somebody else writes to the bucket: copy evidence: %w", refused.Code, err)
	case err != nil:
		return fmt.Errorf("copy evidence: %w", err)
	}
	j.copyRefused.Store(false)
	return nil
}

// tend records what waits, and finds out whether what could not be recorded can be again.
func (j *journal) tend(ctx context.Context) {
	j.announceAgain(ctx)
	j.mu.Lock()
	waiting, lost := j.notes, j.lost
	j.notes, j.lost = nil, evidence.Gap{}
	j.mu.Unlock()
	if lost.Lost > 0 && j.append(ctx, evidence.Record{Gap: &lost}) != nil {
		j.mu.Lock()
		lost.Lost, lost.Until, lost.Events = lost.Lost+j.lost.Lost, later(lost.Until, j.lost.Until), append(lost.Events, j.lost.Events...)
		j.lost = lost
		j.mu.Unlock()
	}
	for n, rec := range waiting {
		if j.append(ctx, rec) != nil {
			j.mu.Lock()
			j.notes = append(waiting[n:], j.notes...)
			j.mu.Unlock()
			break
		}
	}
	trouble := ""
	if err := j.w.Stats().Trouble; err != nil {
		trouble = err.Error()
	}
	j.mu.Lock()
	try := trouble != "" && trouble != j.doubted || j.broken != nil
	j.doubted = trouble
	j.mu.Unlock()
	if try {
		// A sign of life tells trouble with the disk from trouble with the key, which keeps no record from its place.
		j.settle(j.append(ctx, evidence.Record{Heartbeat: &evidence.Counts{}}))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (j *journal) append(ctx context.Context, rec evidence.Record) error {
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	_, err := j.w.Append(ctx, rec)
	return err
}

// announceAgain puts the policies that stayed in force on record anew, where what came between may be there.
func (j *journal) announceAgain(ctx context.Context) {
	j.mu.Lock()
	again := j.again
	j.mu.Unlock()
	if again == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	if j.order.Acquire(ctx, everyOrder) != nil {
		return
	}
	defer j.order.Release(everyOrder)
	if err := j.activate(ctx, again); err != nil {
		j.log.Error("evidence: the policies in force cannot be put on record", "error", err.Error())
	}
}

// settle notes whether records can be kept.
func (j *journal) settle(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = err
}

// ready is why nothing may be asked of a replica that answers by no record but a denial; nil in the other modes.
func (j *journal) ready() error {
	if j == nil || j.mode != producer.Strict {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		return nil
	}
	return fmt.Errorf("no record can be kept: %w", j.broken)
}

// seal has every file of the folder signed. It names no policies, for there are two sets of them, nor speaks of a complete
// run: that every request came here it cannot know.
func (j *journal) seal(ctx context.Context) error {
	before := j.w.Stats().Bytes
	if err := j.w.Seal(ctx, evidence.Seal{}, nil, j.key.Statement); err != nil {
		return err
	}
	j.sealed, j.sealedTo = time.Now(), j.w.Stats().Bytes
	j.took = j.sealedTo - before
	return nil
}

// close ends the run: what waits is recorded, the end too, and the folder sealed. Where something cannot be written the
// end alone is: there is room held back for that.
func (j *journal) close(reason string) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	j.tend(ctx)
	err := j.w.Stats().Trouble
	if err == nil {
		_, err = j.w.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: reason}})
	}
	if err == nil {
		err = j.seal(ctx)
	}
	if err != nil {
		err = fmt.Errorf("seal evidence at the end: %w", err)
	}
	if err = errors.Join(err, j.w.Close(ctx, reason)); err == nil && j.to != nil {
		err = j.copy(ctx)
	}
	return err
}
