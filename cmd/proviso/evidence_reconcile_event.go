package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

const (
	failedOpen     = "failed-open.validating.webhook.admission.k8s.io/"
	reasonOpen     = "failed open: nobody answered, and the API server let it in"
	reasonLost     = "answered without a record"
	reasonTorn     = "the replica ended, in mode batch, before the record was durable"
	reasonUnmarked = "let in, and the API server's audit log names no record"
	reasonUnasked  = "of a kind that was to be judged, and nobody was asked"
)

// event compares one event with what was recorded.
func (r *reconciling) event(ctx context.Context, e *auditEvent) error {
	if e.Stage != "ResponseComplete" && e.Stage != "Panic" || e.operation() == "" || e.Object.Resource == "" || e.dry() {
		return nil
	}
	event, mark, reason := "", "", ""
	for _, key := range slices.Sorted(maps.Keys(e.Annotations)) {
		host, name, _ := strings.Cut(key, "/")
		switch value := e.Annotations[key]; {
		case r.marks[host] && name == "record":
			mark = value
		case r.marks[host] && name == "decision":
			event = value
		case strings.HasPrefix(key, failedOpen) && r.marks[value] && e.admitted():
			reason = reasonOpen
		}
	}
	if mark == markDryRun && reason == "" {
		return nil // a deletion says so in its body
	}
	r.Writes++
	if r.From.IsZero() || e.Received.Before(r.From) {
		r.From = e.Received
	}
	if e.Received.After(r.Until) {
		r.Until = e.Received
	}
	switch {
	case mark == markUnchanged:
		r.Unchanged++
	case mark == markUnrecorded && r.declaredRefusal(e, event):
		r.Declared++
	case mark == markUnrecorded && e.admitted():
		reason = reasonLost
	case mark != "" && mark != markUnrecorded && mark != markDryRun:
		if err := r.named(ctx, e, event, mark); err != nil {
			return err
		}
	case !e.admitted():
		r.Refused++
	case mark == "" && reason == "":
		switch watching, known := r.watches(e); {
		case !known:
			r.Before++
		case watching == perhaps:
			r.StatusWrites++
		case watching == watched && event != "":
			reason = reasonUnmarked
		case watching == watched:
			reason = reasonUnasked
		default:
			r.Unjudged++
		}
	}
	if mark == markUnrecorded && event != "" {
		r.unrecorded[event] = e
	}
	if reason == "" {
		return nil
	}
	if reason == reasonOpen && mark != "" && mark != markDryRun {
		r.Twofold++
	}
	if event == "" {
		event = "audit:" + e.AuditID
	}
	return r.gap(ctx, e, event, reason)
}

// watches reports whether the policies of that time wanted to be asked, and whether that is known.
func (r *reconciling) watches(e *auditEvent) (is watching, known bool) {
	n, found := slices.BinarySearchFunc(r.wanted, e.Received, func(w watchedFrom, at time.Time) int { return w.at.Compare(at) })
	if !found {
		n--
	}
	if n < 0 {
		return notWatched, false
	}
	return r.wanted[n].watches(e, r.writers), true
}

// named looks up the record that an event names.
func (r *reconciling) named(ctx context.Context, e *auditEvent, event, mark string) error {
	var digest, origin string
	var seq uint64
	if n, err := fmt.Sscanf(mark, "%s %d %s", &digest, &seq, &origin); n != 3 || err != nil || markOf(engine.Digest(digest), seq, origin) != mark {
		r.differs(e, "it names no record, but says %q", mark)
		return nil
	}
	n := slices.IndexFunc(r.folders, func(f *recordedFolder) bool { return f.origin == origin })
	if n < 0 {
		r.differs(e, "it names record %d of the log %s, whose folder was not named", seq, origin)
		return nil
	}
	f := r.folders[n]
	lines, err := f.lines(seq / evidence.SegmentRecords)
	if err != nil {
		return err
	}
	i := seq % evidence.SegmentRecords
	if there := i < uint64(len(lines)) && string(lines[i].digest) == digest; !there && f.declared[event] {
		r.Declared++
		return nil
	} else if !there && slices.ContainsFunc(f.torn, func(s span) bool { return !e.Received.Before(s.from) && !e.Received.After(s.until) }) {
		if e.admitted() {
			return r.gap(ctx, e, event, reasonTorn)
		}
		r.Refused++
		return nil
	}
	if i >= uint64(len(lines)) {
		r.differs(e, "record %d is not in %s", seq, f.dir)
		return nil
	}
	another := f.see(seq, e.request())
	l := &lines[i]
	switch {
	case string(l.digest) != digest:
		r.differs(e, "record %d of %s is another, %s", seq, f.dir, l.digest)
	case !l.decides || l.event != event:
		r.differs(e, "record %d of %s is not of the decision %s", seq, f.dir, event)
	case l.group != e.Object.Group || l.namespace != "" && e.Object.Namespace != "" && l.namespace != e.Object.Namespace || l.name != "" && e.Object.Name != "" && l.name != e.Object.Name || !e.fits(l.operation):
		r.differs(e, "record %d of %s is of something else: %s of %s/%s", seq, f.dir, l.operation, l.namespace, l.name)
	case e.admitted() && !l.allowed && e.Verb != "deletecollection":
		r.differs(e, "record %d of %s says that it was denied", seq, f.dir)
	case another:
		r.differs(e, "another request names record %d of %s, too", seq, f.dir)
	default:
		r.Recorded++
	}
	return nil
}

// declaredRefusal reports whether a gap declares a request that was denied because no record could be kept.
func (r *reconciling) declaredRefusal(e *auditEvent, event string) bool {
	return !e.admitted() && slices.ContainsFunc(r.folders, func(f *recordedFolder) bool { return f.declared[event] })
}

// unnamed takes a record that no event names: one that came to be after its request was answered as unrecorded, or another.
// Strict is whether the replica let nothing in of which it kept no record.
func (r *reconciling) unnamed(f *recordedFolder, rec *evidence.Record, strict bool) {
	d := rec.Decision
	if e := r.unrecorded[d.Event]; e != nil {
		switch {
		case r.declaredRefusal(e, d.Event):
		case e.admitted() && !d.Answer.Allowed && e.Verb != "deletecollection":
			r.Twofold++ // it is a gap, too
			r.differs(e, "record %d of %s says that it was denied, and the log that it was let in without a record", rec.Seq, f.dir)
		case !e.admitted() && d.Answer.Allowed && strict:
			r.Refused--
			r.differs(e, "record %d of %s says that it was let in, and it was denied because no record could be kept", rec.Seq, f.dir)
		}
		return
	}
	if rec.At.Before(r.From) || rec.At.After(r.Until) {
		r.Outside++
		return
	}
	if r.Unseen++; r.Unseen <= mostTold {
		what, about := describeRecord(rec, "")
		r.UnseenRecords = append(r.UnseenRecords, fmt.Sprintf("%s, record %d of %s: %s %s", f.dir, rec.Seq, rec.At.Format(time.RFC3339), what, about))
	}
}

func (r *reconciling) differs(e *auditEvent, format string, args ...any) {
	if r.Different++; r.Different <= mostTold {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%s: %s", e, fmt.Sprintf(format, args...)))
	}
}
