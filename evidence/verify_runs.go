package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// silence is how long an admission run may write nothing: five heartbeats.
const silence = 5 * time.Minute

// running is what the records so far say: the run they are in, and what must still come of it.
type running struct {
	*verification
	this     *Run
	previous engine.Digest
	// at is the time of the record before, latest the latest of all.
	at, latest time.Time
	// partial is set where records of the run were left out: then nothing is counted.
	partial bool
	// inForce are the records of the policies in force, by webhook.
	inForce map[string]*Record
	items   []item
	// unlisted is how many items have no result yet of a population whose list an export leaves out.
	unlisted int
	// lost counts the requests that gaps of the run declare.
	lost uint64
	// courses are what seals speak of, of each run.
	courses []course
}

// course is what a run did: what it would judge and by which policies, and where it said so and began to judge.
type course struct {
	*Population
	*Activation
	listed, judged uint64
}

// item is something a population lists, and whether there is a result of it.
type item struct {
	subject Subject
	input   engine.Digest
	done    bool
}

func (r *running) place(seq uint64) string { return fmt.Sprintf("record %d", seq) }

// leftOut notes a record of which an export has the digest alone.
func (r *running) leftOut(seq uint64, digest engine.Digest) {
	if r.exported != nil {
		r.exported.leftOut(r.verification, seq)
	}
	r.LeftOut++
	r.previous = digest
	r.partial = true
}

// record checks a record against those before it.
func (r *running) record(l *line) {
	rec, place := l.record, r.place(l.record.Seq)
	switch {
	case rec.Type != RecordType:
		r.problem(WrongStatement, place, "it is of type %q: want %s", rec.Type, RecordType)
	case rec.Producer != r.Producer.ID:
		r.problem(OtherLog, place, "it was written by %s, not by %s", rec.Producer, r.Producer.ID)
	case rec.Previous != r.previous:
		r.problem(ChainBroken, place, "it does not follow the record before it")
	}
	if r.exported != nil {
		r.exported.there(r.verification, rec, l.digest)
	}
	r.previous = l.digest
	if r.Next != nil && (rec.Decision != nil || rec.Activation != nil || rec.Population != nil) {
		r.problem(OrderBroken, place, "the log was handed over to %s, and judges all the same", r.Next.Origin)
	}
	if back := rec.At.Before(r.latest); back != rec.Backwards && (back || r.LeftOut == 0) {
		r.problem(OrderBroken, place, "its time, %s, and what it says of the clock do not agree: there is a record of %s before it", rec.At.Format(time.RFC3339Nano), r.latest.Format(time.RFC3339Nano))
	}
	r.dated(rec, place)
	if quiet := rec.At.Sub(r.at); r.this != nil && !r.partial && r.this.Kind == "admission" && quiet > silence && rec.Open == nil {
		r.hole(Silent, place, "nothing was written for %v before it", quiet.Round(time.Second))
	}
	r.at = rec.At
	if rec.At.After(r.latest) {
		r.latest = rec.At
	}
	if c := rec.Cluster; c != nil && !slices.Contains(r.Clusters, *c) {
		r.Clusters = append(r.Clusters, *c)
	}
	if rec.Open == nil && !r.partial && (r.this == nil || r.this.Closed || r.this.ID != rec.Run) {
		r.problem(OrderBroken, place, "it belongs to no run that is open")
	}
	if r.this != nil && rec.Open == nil {
		r.this.Last, r.this.End = rec.Seq, rec.At
	}
	if parts := r.part(rec, place); parts != 1 {
		r.problem(WrongStatement, place, "it has %d parts: want one", parts)
	}
}

// dated checks that a signed record does not itself say that it was made when the key was not trusted.
func (r *running) dated(rec *Record, place string) {
	t := r.trusted
	switch {
	case t == nil || rec.Seq >= r.Head.Size:
	case rec.At.Before(t.NotBefore):
		r.problem(KeyNotYetValid, place, "it says it was made at %s, and the key is trusted from %s on", rec.At.Format(time.RFC3339), t.NotBefore.Format(time.RFC3339))
	case !t.NotAfter.IsZero() && rec.At.After(t.NotAfter):
		r.problem(KeyExpired, place, "it says it was made at %s, and the key is trusted until %s", rec.At.Format(time.RFC3339), t.NotAfter.Format(time.RFC3339))
	}
}

// part checks what a record says, and counts how much it says.
func (r *running) part(rec *Record, place string) (parts int) {
	if rec.Open != nil {
		parts++
		r.opened(rec, place)
	}
	if rec.Close != nil {
		parts++
		r.closed(rec, place)
	}
	if a := rec.Activation; a != nil {
		parts++
		if r.this != nil {
			r.inForce[a.Webhook] = rec
			r.course().Activation = a
		}
		if !r.objects[a.Pack] {
			r.problem(ObjectMissing, place, "the policies it puts into force, %s, are not there", a.Pack)
		}
	}
	if rec.Population != nil {
		parts++
		r.listed(rec, place)
	}
	if rec.Decision != nil {
		parts++
		r.decided(rec, place)
	}
	if h := rec.Hole; h != nil {
		parts++
		r.hole(DeclaredHole, place, "%s %s: %s", h.Source, h.File, h.Reason)
		if h.Item != nil {
			r.result(place, *h.Item, nil)
		}
		if r.this != nil {
			r.this.Counts.Holes++
		}
	}
	if g := rec.Gap; g != nil {
		parts++
		r.lost += g.Lost
		r.hole(DeclaredGap, place, "%s no record, between %s and %s: %s", plural(g.Lost, "request has", "requests have"), g.From.Format(time.RFC3339), g.Until.Format(time.RFC3339), g.Reason)
	}
	if rec.Erasure != nil {
		parts++
		// Anybody can add what nobody signed, and nobody hides anything by it.
		for _, d := range rec.Erasure.Inputs {
			r.erased[d] = r.erased[d] || rec.Seq < r.Head.Size
		}
		r.hole(Erased, place, "%s erased: %s", plural(uint64(len(rec.Erasure.Inputs)), "input was", "inputs were"), rec.Erasure.Reason)
	}
	if rec.Heartbeat != nil {
		parts++
		r.counted(*rec.Heartbeat, place)
	}
	if rec.Key != nil {
		parts++
		r.bound(rec.Key, place)
	}
	if rec.Change != nil {
		parts++
	}
	return parts
}

func (r *running) opened(rec *Record, place string) {
	switch open := r.this != nil && !r.this.Closed; {
	case r.partial:
	case open != rec.Open.Unclosed:
		r.problem(OrderBroken, place, "it opens a run, and what it says of the end of the one before is not so")
	case open:
		r.unclosed()
	}
	r.Unjudged += r.finish()
	r.Runs = append(r.Runs, Run{ID: rec.Run, Kind: rec.Open.Kind, First: rec.Seq, Last: rec.Seq, Start: rec.At, End: rec.At})
	r.this, r.inForce, r.items, r.unlisted, r.lost, r.partial = &r.Runs[len(r.Runs)-1], map[string]*Record{}, nil, 0, 0, false
	r.courses = append(r.courses, course{})
}

// bound reads which log goes on where this one ends, or went before it.
func (r *running) bound(k *KeyChange, place string) {
	key, origin, err := ParseVerifierKey(k.Next + k.Before)
	to := &BoundLog{Origin: origin}
	if err == nil {
		to.Signer = key.Fingerprint()
	}
	switch {
	case err != nil:
	case (k.Next == "") == (k.Before == ""), k.Next != "" && k.Head != "":
		err = errors.New("want one of next, and before with its head")
	case origin == r.Producer.Origin:
		err = errors.New("it names the log it is in")
	case k.Before != "":
		var head Checkpoint
		head, err = OpenCheckpoint([]byte(k.Head), key, origin)
		to.Size, to.Root = head.Size, head.Root
	}
	is := &r.Next
	if k.Before != "" {
		is = &r.Before
	}
	if err == nil && *is != nil && ((*is).Origin != to.Origin || (*is).Signer != to.Signer) {
		err = fmt.Errorf("an earlier record names %s", (*is).Origin)
	}
	if err != nil {
		r.problem(WrongStatement, place, "it binds this log to another: %v", err)
		return
	}
	*is = to
}

// course is that of the run.
func (r *running) course() *course { return &r.courses[len(r.courses)-1] }

// counted holds what a record counts against the run's records so far.
func (r *running) counted(said Counts, place string) {
	if r.this == nil || r.partial {
		return
	}
	if said.Lost > r.lost {
		r.hole(DeclaredGap, place, "%s no record, and gaps tell of %d", plural(said.Lost, "request has", "requests have"), r.lost)
	}
	said.Requests, said.DryRuns, said.Lost = 0, 0, 0
	if said != r.this.Counts {
		counts, are := said.apart(&r.this.Counts)
		r.problem(CountsDiffer, place, "it counts %s, and of the records there are %s", counts, are)
	}
}

func (r *running) closed(rec *Record, place string) {
	if r.this == nil {
		return
	}
	r.this.Closed, r.this.Reason = true, rec.Close.Reason
	r.counted(rec.Close.Counts, place)
	if reason := rec.Close.Reason; reason != "done" && reason != "stopped" {
		r.hole(Unclosed, place, "the run ended before it was done: %s", reason)
	}
}

func (r *running) decided(rec *Record, place string) {
	d := rec.Decision
	switch by := r.inForce[d.Webhook]; {
	case r.partial:
	case by == nil:
		r.problem(OrderBroken, place, "it judges before any policies are in force")
	case d.Activation != by.Seq || d.PolicySet != by.Activation.PolicySet:
		r.problem(OrderBroken, place, "it was judged by %s of record %d, and %s of record %d are in force", d.PolicySet, d.Activation, by.Activation.PolicySet, by.Seq)
	}
	if r.this != nil {
		if r.course().judged == 0 {
			r.course().judged = rec.Seq
		}
		r.this.Simulated = r.this.Simulated || d.Simulated
		r.this.Unidentified = r.this.Unidentified || strings.HasPrefix(d.Subject.Source, "cluster:") && (rec.Cluster == nil || rec.Cluster.UID == "")
	}
	if len(d.Problems) > 0 && len(d.Results) > 0 {
		r.problem(WrongStatement, place, "it says that no policy was asked, and what policies said")
	}
	r.kept(place, "what was judged", d.Input)
	for i := range d.Facts {
		if value := d.Facts[i].Value; value != "" {
			r.kept(place, "a fact", value)
		}
	}
	if r.this != nil && r.this.Kind == "scan" && !r.partial {
		if n, err := strconv.Atoi(d.Event); err != nil {
			r.problem(ItemWithout, place, "the event %q is no item of a population", d.Event)
		} else {
			r.result(place, n, d)
		}
	}
	for _, c := range []*Counts{&r.Counts, r.counts()} {
		c.Add(d)
	}
}

// counts are those of the run.
func (r *running) counts() *Counts {
	if r.this == nil {
		return &Counts{}
	}
	return &r.this.Counts
}

// kept checks that a value a record rests on is there, or was erased as a record says.
func (r *running) kept(place, what string, d engine.Digest) {
	switch there, seen := r.known[d]; {
	case there:
	case seen:
		if !r.erased[d] {
			r.erased[d] = false // a record must still say so
		}
	default:
		r.problem(InputMissing, place, "%s, %s, is not there", what, d)
	}
}

// markSimulated marks the runs of which a seal says that they were judged by another clock: where one judged nothing no record
// says it.
func (v *verification) markSimulated() error {
	for _, s := range v.seals {
		if at := slices.IndexFunc(v.Runs, func(r Run) bool { return r.ID == s.seal.Run && r.First == s.seal.First }); s.seal.Simulated && at >= 0 {
			v.Runs[at].Simulated = true
		}
	}
	return nil
}

func (r *running) unclosed() {
	r.hole(Unclosed, r.place(r.this.Last), "the run %s has no end: it is still running, or was cut off", r.this.ID)
}

func (r *running) end() {
	if without := r.finish(); r.this != nil && (r.this.Closed || r.exported != nil) {
		r.Unjudged += without
	}
	if r.this != nil && !r.this.Closed && !r.partial {
		r.unclosed()
	}
	if r.Unsigned > 0 {
		r.hole(Unsealed, CheckpointFile, "%s after it, not signed yet", plural(r.Unsigned, "record came", "records came"))
	}
	if len(r.Runs) == 0 && r.LeftOut == 0 {
		r.hole(Unclosed, "", "the log has no record")
	}
	for d, declared := range r.erased {
		if !declared {
			r.problem(InputMissing, "", "%s was erased, and no record says so", d)
		}
	}
}
