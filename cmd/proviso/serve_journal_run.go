package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// run records what waits and seals, until the context ends.
func (j *journal) run(ctx context.Context) error {
	tick, seal := time.NewTicker(time.Second), time.NewTicker(sealEvery)
	defer tick.Stop()
	defer seal.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			j.tend(ctx)
		case <-seal.C:
			if j.sealsWithin(sealWithin) {
				if err := j.seal(ctx); err != nil && ctx.Err() == nil {
					j.log.Error("evidence", "error", err.Error())
				}
			}
		}
	}
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

// sealsWithin reports whether a seal will not take longer, by what the last one took.
func (j *journal) sealsWithin(limit time.Duration) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	bytes := j.w.Stats().Bytes
	if j.sealed == 0 {
		return bytes < 64<<20
	}
	will := time.Duration(float64(j.took) * float64(bytes) / float64(j.sealed))
	if will > limit {
		j.log.Warn("evidence: a seal would keep requests waiting too long; it is made at the end", "seconds", will.Seconds(), "bytes", bytes)
	}
	return will <= limit
}

// seal has every file of the folder signed. It names no policies, for there are two sets of them, nor speaks of a complete
// run: that every request came here it cannot know.
func (j *journal) seal(ctx context.Context) error {
	start := time.Now()
	if err := j.w.Seal(ctx, evidence.Seal{}, nil, j.key.Statement); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.took, j.sealed = time.Since(start), max(j.w.Stats().Bytes, 1)
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
	return errors.Join(err, j.w.Close(ctx, reason))
}
