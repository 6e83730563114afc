package report

import (
	"iter"
	"time"

	"proviso.dev/proviso/engine"
)

// Period is what a stretch of evidence says, for [OSCAL]. It is of one log.
type Period struct {
	// From and Until are of the producer's clock.
	From, Until time.Time
	// Version is Proviso's own; empty is not told.
	Version string
	// Origin names the log, Key is the fingerprint of the key that signs it.
	Origin, Key string
	Cluster     PeriodCluster
	// Policies are all that were in force. One that is there more than once, with the same digest, counts once.
	Policies []*engine.Policy
	// Entries are what the records tell. They are taken once, and the first error ends them.
	Entries iter.Seq2[Entry, error]
}

// PeriodCluster says where it was judged; the zero value is not told.
type PeriodCluster struct{ UID, Name, Region, Jurisdiction string }

// Entry is what the policies said of one subject by a record or, where Missing is set, that something is not there.
type Entry struct {
	Seq    uint64
	Digest engine.Digest
	At     time.Time
	// File is where the record lies, relative to the document; empty is not told.
	File string
	// Event is the uid of an AdmissionReview, or the number of an item.
	Event string
	// Simulated is set where it was judged by another clock than the real one.
	Simulated bool
	// Refused is set where the API server was told not to take the subject.
	Refused bool
	Subject PeriodSubject
	Results []PeriodResult
	Missing *Missing
}

// PeriodSubject names what was judged, and in which source.
type PeriodSubject struct{ APIVersion, Kind, Namespace, Name, Source string }

// PeriodResult is what one policy said, in the words of a record. A verdict that is none of pass, fail and notApplicable is
// unknown.
type PeriodResult struct {
	Policy          string
	Digest          engine.Digest
	Verdict, Effect string
	Violations      []engine.Violation
	Reason          string
	// Waiver is the waiver that covers the subject; Waived whether it holds.
	Waiver string
	Waived bool
}

// Missing is something that the period does not hold: a hole, which was not read or not judged; a gap, requests of which there
// is no record; a run without its end, a silence, an erasure. Count is how many, at least one. Of one record there is at most
// one of a Kind.
type Missing struct {
	Kind, Source, Reason string
	Count                uint64
}
