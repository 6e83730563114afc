package producer

import (
	"fmt"
	"time"

	"proviso.dev/proviso/evidence"
)

// loss is what no Gap declares yet.
type loss struct {
	n           uint64
	from, until time.Time
	reason      string
	events      []string
	// at is the first record that says what nobody was told.
	at uint64
}

// maxEvents is how many requests a Gap names.
const maxEvents = 1024

// add counts a request.
func (l *loss) add(now time.Time, event string) {
	l.until = now
	if l.n == 0 {
		l.from = now
	}
	l.n++
	if len(l.events) < maxEvents {
		l.events = append(l.events, event)
	}
}

// lose counts a request that is answered without a record.
func (w *Writer) lose(e *entry) {
	// Not a scan's: nobody is answered by it.
	if !e.decides() || w.o.Kind == "scan" {
		return
	}
	if w.lost.n == 0 {
		w.lost.reason = "too slow"
	}
	if w.fault != nil {
		w.lost.reason = "cannot write"
		if full(w.fault) {
			w.lost.reason = "disk full"
		}
	}
	w.lost.add(w.now(), e.rec.Decision.Event)
	w.lostAll++
}

// differ counts a request whose caller gave up while its record was written: the record says one thing, and who asked was told
// another. A Gap says so at once, though nothing else may come.
func (w *Writer) differ(e *entry) {
	if !e.decides() || w.o.Kind == "scan" {
		return
	}
	l := &w.differs
	if l.n == 0 {
		l.at = e.rec.Seq
		w.queue = append(w.queue, &entry{done: make(chan error, 1)})
	}
	l.add(w.now(), e.rec.Decision.Event)
	l.reason = fmt.Sprintf("answered without its record: the answer given is not the one that record %d says", l.at)
	if l.n > 1 {
		l.reason = fmt.Sprintf("answered without its record: the answers given are not those that record %d and %d after it say", l.at, l.n-1)
	}
	w.lostAll++
}

// declared takes what a Gap says from what is lost.
func (l *loss) declared(g *evidence.Gap) {
	if l.n -= g.Lost; l.n == 0 {
		*l = loss{}
		return
	}
	l.from, l.events = g.Until, l.events[min(len(g.Events), len(l.events)):]
}

// undeclared puts back what a Gap says that was never written.
func (l *loss) undeclared(g *evidence.Gap) {
	if l.n == 0 {
		l.reason, l.until = g.Reason, g.Until
	}
	l.n, l.from, l.events = l.n+g.Lost, g.From, append(g.Events, l.events...)
}

// gaps declare what was lost, and what was answered otherwise than is on record.
func (w *Writer) gaps() (all []*entry) {
	for _, l := range []*loss{&w.lost, &w.differs} {
		if l.n > 0 {
			all = append(all, &entry{declares: l, done: make(chan error, 1), rec: &evidence.Record{Type: evidence.RecordType, Producer: w.producer.ID, Run: w.o.Run, Cluster: w.o.Cluster, Engine: w.o.Engine,
				Gap: &evidence.Gap{Lost: l.n, From: l.from, Until: l.until, Reason: l.reason, Events: l.events}}})
		}
	}
	return all
}
