package evidence

import (
	"time"

	"proviso.dev/proviso/engine"
)

// Record is one entry of a log: exactly one of its parts is there, the one Kind names. Its line is [Encode]d, the digest of
// that line is the leaf of the log at Seq.
type Record struct {
	Type string `json:"type"`
	// Producer is the id of the one writer of the log; Seq counts its records from 0 without a gap.
	Producer string `json:"producer"`
	Seq      uint64 `json:"seq"`
	// Previous is the digest of the line of the record before; empty for the first.
	Previous engine.Digest `json:"previous,omitempty"`
	// Run is the scan or the life of a process the record belongs to.
	Run string `json:"run"`
	// At is the producer's real clock, UTC. Backwards is set where the clock stood before that of an earlier record.
	At        time.Time `json:"at"`
	Backwards bool      `json:"backwards,omitempty"`
	Cluster   *Cluster  `json:"cluster,omitempty"`
	Engine    Engine    `json:"engine"`

	Open       *Open       `json:"open,omitempty"`
	Heartbeat  *Counts     `json:"heartbeat,omitempty"`
	Close      *Close      `json:"close,omitempty"`
	Activation *Activation `json:"activation,omitempty"`
	Population *Population `json:"population,omitempty"`
	Decision   *Decision   `json:"decision,omitempty"`
	Hole       *Hole       `json:"hole,omitempty"`
	Gap        *Gap        `json:"gap,omitempty"`
	Key        *KeyChange  `json:"key,omitempty"`
	Change     *Change     `json:"change,omitempty"`
	Erasure    *Erasure    `json:"erasure,omitempty"`
}

// Cluster says where it was judged. UID is that of the kube-system namespace, which a cluster has for life.
type Cluster struct {
	UID          string `json:"uid,omitempty"`
	Name         string `json:"name,omitempty"`
	Region       string `json:"region,omitempty"`
	Jurisdiction string `json:"jurisdiction,omitempty"`
}

// Engine is what judged: the version of Proviso and the digest of its program file.
type Engine struct {
	Version string        `json:"version"`
	Program engine.Digest `json:"program,omitempty"`
}

// Open starts a run. One that follows no Close says that the run before ended without saying so.
type Open struct {
	// Kind is scan or admission.
	Kind string `json:"kind"`
	// Mode is strict, blocking or batch; empty for a scan, which waits for every record.
	Mode string `json:"mode,omitempty"`
	// Scope is what was to be judged, as the user named it.
	Scope []string `json:"scope,omitempty"`
	// Recovered counts the records after the last checkpoint that were taken up again, Dropped the bytes of a torn end.
	Recovered uint64 `json:"recovered,omitempty"`
	Dropped   int64  `json:"dropped,omitempty"`
	// Unclosed is set where the run before has no Close.
	Unclosed bool `json:"unclosed,omitempty"`
}

// Counts are what a run has seen so far.
type Counts struct {
	Requests      uint64 `json:"requests"`
	Decisions     uint64 `json:"decisions"`
	Pass          uint64 `json:"pass"`
	Fail          uint64 `json:"fail"`
	Unknown       uint64 `json:"unknown"`
	NotApplicable uint64 `json:"notApplicable"`
	Waived        uint64 `json:"waived"`
	Holes         uint64 `json:"holes"`
	// DryRuns counts admission requests that leave no record, for nothing durable may come of them.
	DryRuns uint64 `json:"dryRuns"`
	// Lost counts requests answered without a record; each is in a Gap, too.
	Lost uint64 `json:"lost"`
}

// Close ends a run. Reason is done, stopped or what went wrong.
type Close struct {
	Reason string `json:"reason"`
	Counts Counts `json:"counts"`
}

// Activation puts policies into force: every Decision of its webhook after it is by them until the next.
type Activation struct {
	PolicySet engine.Digest `json:"policySet"`
	// Webhook is the one of two it is for, which leave different things open; empty in a scan.
	Webhook string `json:"webhook,omitempty"`
	// Pack is the object that holds the policies, the profile with its parameters, and the waivers: all that replay needs.
	Pack     engine.Digest `json:"pack"`
	Policies int           `json:"policies"`
	// Waivers are the ids of the waivers in force.
	Waivers []string `json:"waivers,omitempty"`
	// Defaults are what the profile leaves open: mode and unknown.
	Mode    string `json:"mode"`
	Unknown string `json:"unknown"`
}

// Population is what a scan listed, signed before any of it is judged. List is an object with a line for each [Item]; Root is
// the Merkle root (RFC 6962) over its lines.
type Population struct {
	Items int           `json:"items"`
	Holes int           `json:"holes"`
	Root  string        `json:"root"`
	List  engine.Digest `json:"list"`
}

// Item is a line of a population's list: something to be judged, or something that is known to be there and was not read.
type Item struct {
	N       int           `json:"n"`
	Subject *Subject      `json:"subject,omitempty"`
	Input   engine.Digest `json:"input,omitempty"`
	Hole    *Hole         `json:"hole,omitempty"`
}

// Subject names what was judged.
type Subject struct {
	APIVersion      string `json:"apiVersion"`
	Kind            string `json:"kind"`
	Namespace       string `json:"namespace,omitempty"`
	Name            string `json:"name,omitempty"`
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Source is what was inspected; File, Line and Column are the place in it, Bytes the digest of what was read.
	Source string        `json:"source,omitempty"`
	File   string        `json:"file,omitempty"`
	Line   int           `json:"line,omitempty"`
	Column int           `json:"column,omitempty"`
	Bytes  engine.Digest `json:"bytes,omitempty"`
}

// Decision is one subject or AdmissionReview with all that the policies in force said of it.
type Decision struct {
	// Event is the AdmissionReview's uid, or the item's number in the population.
	Event string `json:"event"`
	// Source is admission, artifact, ci or scan.
	Source    string  `json:"source"`
	Webhook   string  `json:"webhook,omitempty"`
	Subject   Subject `json:"subject"`
	Operation string  `json:"operation,omitempty"`
	// Now is the instant judged by. Simulated is set where it is not the clock's.
	Now       time.Time `json:"now"`
	Simulated bool      `json:"simulated,omitempty"`
	// Input is the digest of the [Input] as it is kept, Secrets' values replaced by commitments.
	Input engine.Digest `json:"input"`
	Facts []Fact        `json:"facts,omitempty"`
	// Activation is the Seq of the Activation that was in force, PolicySet what it put there.
	Activation uint64        `json:"activation"`
	PolicySet  engine.Digest `json:"policySet"`
	// Problems are what is wrong with an object of our own kinds, or why it could not be judged. Where there are any, no
	// policy was asked.
	Problems []string `json:"problems,omitempty"`
	Results  []Result `json:"results"`
	// Answer is what the API server was told; nil outside admission.
	Answer *Answer `json:"answer,omitempty"`
}

// Input is a judged subject whole, as it is kept apart from the record and may be erased.
type Input struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Namespace  string         `json:"namespace,omitempty"`
	Name       string         `json:"name,omitempty"`
	Operation  string         `json:"operation,omitempty"`
	Object     map[string]any `json:"object,omitempty"`
	Old        map[string]any `json:"old,omitempty"`
	User       map[string]any `json:"user,omitempty"`
	Source     string         `json:"source,omitempty"`
}

// Fact is what was known around the subject. Value is the digest of a value kept like an Input; empty where there is none.
type Fact struct {
	Query  Query         `json:"query"`
	State  string        `json:"state"`
	Value  engine.Digest `json:"value,omitempty"`
	Reason string        `json:"reason,omitempty"`
	// Doubtful is set where the source contradicted itself.
	Doubtful bool `json:"doubtful,omitempty"`
}

// Query is engine.FactQuery as it was asked.
type Query struct {
	Group     string            `json:"group,omitempty"`
	Kind      string            `json:"kind"`
	Namespace string            `json:"namespace,omitempty"`
	Name      string            `json:"name,omitempty"`
	Names     []string          `json:"names,omitempty"`
	Listed    bool              `json:"listed,omitempty"`
	Wildcard  bool              `json:"wildcard,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	All       bool              `json:"all,omitempty"`
}

// Result is what one policy said.
type Result struct {
	Policy     string             `json:"policy"`
	Digest     engine.Digest      `json:"digest"`
	Severity   string             `json:"severity"`
	Verdict    string             `json:"verdict"`
	Effect     string             `json:"effect"`
	Violations []engine.Violation `json:"violations,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	Cause      string             `json:"cause,omitempty"`
	Waiver     string             `json:"waiver,omitempty"`
	Waived     bool               `json:"waived,omitempty"`
	Standing   bool               `json:"standing,omitempty"`
	Controls   []engine.Control   `json:"controls,omitempty"`
}

// Answer is what the API server was told.
type Answer struct {
	Allowed bool `json:"allowed"`
	// Enforced is whether anything the policies said kept the object out.
	Enforced bool   `json:"enforced"`
	Code     int32  `json:"code,omitempty"`
	Warnings int    `json:"warnings,omitempty"`
	Caller   string `json:"caller,omitempty"`
	// Repeated is set on an answer to a request whose uid was answered before.
	Repeated bool `json:"repeated,omitempty"`
}

// NotManifest is the Kind of a Hole that is a document in which there is nothing to judge; it makes nothing incomplete.
const NotManifest = "notManifest"

// Hole is something known to be there that was not read, or not judged.
type Hole struct {
	// Item is its number in the population, where it has one.
	Item   *int   `json:"item,omitempty"`
	Source string `json:"source,omitempty"`
	File   string `json:"file,omitempty"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
}

// Gap says that requests were answered of which there is no record.
type Gap struct {
	Lost  uint64    `json:"lost"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Reason is why: disk full, too slow, failed open, or what reconciling with the API server's audit log found.
	Reason string `json:"reason"`
	// Events are the uids of the requests, where they are known.
	Events []string `json:"events,omitempty"`
}

// KeyChange binds two logs where a key is replaced, for a log has one key for life: the old one says which goes on, and judges
// nothing after that; the new one says which went before, and its head. Each says it under its own key alone, so that who
// steals one makes nobody believe the other.
type KeyChange struct {
	// Next and Before are the verifier keys of the logs, ORIGIN+ID+BASE64. One of them is there.
	Next   string `json:"next,omitempty"`
	Before string `json:"before,omitempty"`
	// Head is the signed checkpoint of the log Before, over all of it.
	Head string `json:"head,omitempty"`
}

// Change is an event that tells a reader what should have been judged: the webhook configuration, a reload refused.
type Change struct {
	What   string        `json:"what"`
	Detail string        `json:"detail,omitempty"`
	Digest engine.Digest `json:"digest,omitempty"`
}

// Erasure declares that the values of inputs and facts were erased: what is missing after it is not lost.
type Erasure struct {
	Inputs []engine.Digest `json:"inputs"`
	Reason string          `json:"reason"`
}
