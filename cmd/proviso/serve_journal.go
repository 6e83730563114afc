package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	admissionregistration "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
	"proviso.dev/proviso/webhook"
)

// journal is the evidence of one replica: a record of each request that was judged, and of what it was judged by.
type journal struct {
	w    *producer.Writer
	key  *cosign.Key
	mode string
	log  *slog.Logger
	// asked and tried count requests, and dry runs among them.
	asked, tried atomic.Uint64
	// order is held by one for each decision on its way to its place, and whole while other policies get theirs: a decision
	// names the policies that are in force where it stands. It guards inForce, which is nil where that is not known.
	order   *semaphore.Weighted
	inForce *announced

	mu sync.Mutex
	// again is what must be announced before anything is judged, notes what is to be recorded as soon as it can be, and lost
	// what was answered without a record and is unknown to the writer.
	again *announced
	notes []evidence.Record
	lost  evidence.Gap
	// refused is the reload that was refused last, configurations those of the webhook that were seen last.
	refused        string
	configurations map[string]engine.Digest
	// broken is why no record can be kept; doubted is what made us try.
	broken  error
	doubted string
	// dir is copied to a bucket, where there is one; copied is when that was done last, in Unix seconds.
	dir    string
	to     *copyTo
	copied atomic.Int64
	// copyRefused is set while the bucket holds another history of the log than the folder.
	copyRefused atomic.Bool
	// sealed is when the last seal was made; the folder had sealedTo bytes after it, and took is how many it has itself.
	sealed         time.Time
	sealedTo, took int64
}

// announced are the policies of both webhooks and the records that put them into force, by side.
type announced struct {
	sets        *webhook.Sets
	activations [2]evidence.Activation
	seqs        [2]uint64
}

// set is that of a side.
func (a *announced) set(side webhook.Side) *engine.Set {
	if side == webhook.FailClosed {
		return a.sets.Closed
	}
	return a.sets.Open
}

const (
	// everyOrder is all of a journal's order.
	everyOrder = 1 << 40
	// announceWithin is how long policies may take to be on record, noteWithin any other single record, closeWithin the end.
	announceWithin, noteWithin, closeWithin = 5 * time.Second, 2 * time.Second, 30 * time.Second
	// A seal is made sealEvery where sealShare times its size came since the last, for it lists every file, those of earlier
	// seals too; and sealAtLeast in any case. A copy that failed is tried again after copyAgain.
	sealEvery, sealAtLeast, sealShare = time.Hour, 24 * time.Hour, 10
	copyAgain                         = 5 * time.Minute
	// mostNotes and mostLost bound what waits, and how many requests are named.
	mostNotes, mostLost = 1024, 1024
)

// The marks in the API server's audit log of requests that have no record; that of a record is made by markOf.
const (
	markDryRun     = "none: dry run"
	markUnchanged  = "none: unchanged"
	markUnrecorded = "none: unrecorded"
)

// markOf is what the API server's audit log says of a record: its digest, its place, and in whose log.
func markOf(digest engine.Digest, seq uint64, producer string) string {
	return fmt.Sprintf("%s %d %s", digest, seq, producer)
}

var errNotAnnounced = errors.New("it is not on record which policies are in force")

// Record keeps a decision. In mode strict what cannot be kept is an error; else it is lost, and a Gap says so.
func (j *journal) Record(ctx context.Context, d *webhook.Decided) (string, error) {
	mark, appended, err := j.record(ctx, d)
	if errors.Is(err, webhook.ErrSuperseded) && ctx.Err() == nil {
		return "", err // it comes again
	}
	j.asked.Add(1)
	if d.DryRun {
		j.tried.Add(1)
	}
	if err == nil {
		return mark, nil
	}
	if !appended || !errors.Is(err, producer.ErrUnrecorded) && ctx.Err() == nil && j.mode != producer.Strict {
		j.lose(d, err) // the writer has not counted it
	}
	if j.mode == producer.Strict {
		if !errors.Is(ctx.Err(), context.Canceled) { // a caller that went away says nothing of the disk
			j.settle(err)
		}
		return markUnrecorded, err
	}
	return markUnrecorded, nil
}

// record appends a decision; appended is whether the writer was asked to.
func (j *journal) record(ctx context.Context, d *webhook.Decided) (mark string, appended bool, err error) {
	switch {
	case d.DryRun:
		return markDryRun, false, nil
	case d.Unchanged:
		return markUnchanged, false, nil
	}
	salt := j.w.Salt()
	facts, keep, err := evidence.FactsOf(d.Answers, salt)
	if err != nil {
		return "", false, err
	}
	asked := evidence.InputOf(&d.Subject, salt)
	input, err := evidence.Encode(asked)
	if err != nil {
		return "", false, err
	}
	caller := "unauthenticated"
	if d.Authenticated {
		caller = "authenticated"
	}
	decision := &evidence.Decision{Event: d.ID, Source: "admission", Webhook: d.Side.String(), Subject: evidence.SubjectOf(&d.Subject), Operation: d.Subject.Operation, Now: d.At.Round(0).UTC(),
		Input: evidence.DigestOf(input), Facts: facts, Problems: d.Problems, Results: evidence.ResultsOf(d.Decisions),
		Answer: &evidence.Answer{Allowed: d.Allowed, Enforced: d.Enforced, Code: d.Code, Warnings: d.Warnings, Caller: caller, Repeated: d.Repeated}}
	if err := j.order.Acquire(ctx, 1); err != nil {
		return "", false, fmt.Errorf("policies were being put on record: %w", err)
	}
	defer j.order.Release(1)
	switch {
	case j.inForce == nil || d.Set == nil:
		return "", false, errNotAnnounced
	case j.inForce.set(d.Side) != d.Set:
		return "", false, webhook.ErrSuperseded
	}
	decision.Activation, decision.PolicySet = j.inForce.seqs[d.Side], d.Set.Digest()
	at, err := j.w.Append(ctx, evidence.Record{Decision: decision}, append(keep, json.RawMessage(input))...)
	if err != nil {
		return "", true, err
	}
	j.settle(nil)
	return markOf(at.Digest, at.Seq, j.w.Origin()), true, nil
}

// lose counts a request that was answered without a record, and that the writer does not know of.
func (j *journal) lose(d *webhook.Decided, why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now().UTC()
	if j.lost.Lost == 0 {
		j.lost.From = now
	}
	j.lost.Lost, j.lost.Until, j.lost.Reason = j.lost.Lost+1, now, why.Error()
	if len(j.lost.Events) < mostLost {
		j.lost.Events = append(j.lost.Events, d.ID)
	}
}

// announce puts policies on record and then into force, by calling into. Where that fails those before stay in force.
func (j *journal) announce(ctx context.Context, chosen selection, sets *webhook.Sets, into func()) error {
	next := &announced{sets: sets}
	for side, s := range chosen.bySide() {
		pack, err := s.Pack()
		if err != nil {
			return err
		}
		set := next.set(side)
		a := evidence.Activation{PolicySet: set.Digest(), Webhook: side.String(), Policies: len(set.Policies()), Mode: s.Defaults.Mode.String(), Unknown: s.Defaults.Unknown.String()}
		if a.Pack, err = j.w.Object(bytes.NewReader(pack)); err != nil {
			return err
		}
		for _, w := range set.Waivers() {
			a.Waivers = append(a.Waivers, w.ID)
		}
		next.activations[side] = a
	}
	ctx, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	if err := j.order.Acquire(ctx, everyOrder); err != nil {
		return err
	}
	defer j.order.Release(everyOrder)
	if err := j.activate(ctx, next); err != nil {
		return err
	}
	into()
	return nil
}

// activate appends the records that put policies into force. It is called with all of the order. Where it fails some of them
// may be on record all the same, and those before must be put there again.
func (j *journal) activate(ctx context.Context, next *announced) (err error) {
	if before := j.inForce; before != nil {
		defer func() {
			if err != nil {
				j.mu.Lock()
				j.again = before
				j.mu.Unlock()
			}
		}()
	}
	j.inForce = nil
	for side := range next.activations {
		a := next.activations[side]
		at, err := j.w.Append(ctx, evidence.Record{Activation: &a})
		if err != nil {
			return err
		}
		next.seqs[side] = at.Seq
	}
	j.inForce = next
	j.mu.Lock()
	j.again = nil
	j.mu.Unlock()
	return nil
}

// note has something recorded soon that tells a reader what should have been judged.
func (j *journal) note(c evidence.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.notes) == mostNotes {
		j.log.Error("evidence: too much waits to be recorded", "left out", c.What, "detail", c.Detail)
		return
	}
	j.notes = append(j.notes, evidence.Record{Change: &c})
}

// reloaded notes why other policies came into force, or why they did not: that once, for it is tried again and again.
func (j *journal) reloaded(what string, err error) {
	if j == nil {
		return
	}
	if err == nil {
		j.mu.Lock()
		j.refused = ""
		j.mu.Unlock()
		j.note(evidence.Change{What: "reload", Detail: what})
		return
	}
	text := what + ": " + err.Error()
	j.mu.Lock()
	told := j.refused == text
	j.refused = text
	j.mu.Unlock()
	if !told {
		j.note(evidence.Change{What: "reload refused", Detail: text})
	}
}

// configurationChange and wantedChange are what a Change of the webhook configuration that is live is called, and one of
// that the policies in force want.
const configurationChange, wantedChange = "webhook configuration", "wanted webhook configuration"

// seen notes a webhook configuration where it is another than before; its webhooks are kept whole.
func (j *journal) seen(what string, c *admissionregistration.ValidatingWebhookConfiguration) {
	if j == nil {
		return
	}
	change := evidence.Change{What: what, Detail: "there is none"}
	var text []byte
	if c != nil {
		change.Detail = c.Name
		var err error
		if text, err = json.Marshal(c.Webhooks); err != nil {
			j.log.Error("evidence", "error", err.Error())
			return
		}
	}
	digest := evidence.DigestOf(text)
	j.mu.Lock()
	known := j.configurations[what] == digest
	j.mu.Unlock()
	if known {
		return
	}
	if c != nil {
		var err error
		if change.Digest, err = j.w.Object(bytes.NewReader(text)); err != nil {
			j.log.Error("evidence: the "+what+" cannot be kept", "error", err.Error())
			return // it is looked at again
		}
	}
	j.mu.Lock()
	j.configurations[what] = digest
	j.mu.Unlock()
	j.note(change)
}
