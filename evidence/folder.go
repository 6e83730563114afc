package evidence

import (
	"fmt"
	"time"

	"proviso.dev/proviso/engine"
)

// The files of an evidence folder; FORMAT.md says what they hold.
const (
	ProducerFile    = "producer.json"
	KeyFile         = "cosign.pub"
	TrustedRootFile = "trusted_root.json"
	SaltFile        = "salt"
	LockFile        = "lock"
	LogDir          = "log"
	CheckpointFile  = "log/checkpoint"
	ObjectsDir      = "objects"
	SealsDir        = "seals"

	SealFiles      = "files.json"
	SealCheckpoint = "checkpoint"
	SealPopulation = "population.checkpoint"
	SealStatement  = "statement.sigstore.json"
)

// SegmentRecords is how many records a file of records/ holds, and a file of inputs/ belongs to.
const SegmentRecords = 4096

// TrustedRoot is an empty Sigstore trusted root.
const TrustedRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}` + "\n"

// RecordsFile and InputsFile are the files of the record at seq, and of what was kept for it.
func RecordsFile(seq uint64) string { return fmt.Sprintf("records/%010d.jsonl", seq/SegmentRecords) }

// InputsFile is the file that what was judged by the record at seq is kept in.
func InputsFile(seq uint64) string { return fmt.Sprintf("inputs/%010d.jsonl", seq/SegmentRecords) }

// ObjectFile is the file of the object with a digest.
func ObjectFile(d engine.Digest) string { return ObjectsDir + "/" + string(d)[len("sha256:"):] }

// SealDir is the folder of the n-th seal, counted from 1.
func SealDir(n int) string { return fmt.Sprintf("%s/%06d", SealsDir, n) }

// Producer is the content of producer.json.
type Producer struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	// Origin names the log in its checkpoints, for ever.
	Origin string `json:"origin"`
	// Key is the verifier key of the checkpoints: origin+id+base64 (c2sp.org/signed-note).
	Key  string    `json:"key"`
	Made time.Time `json:"made"`
}

// KeptValue is a line of an inputs file. Erased says why Value is gone.
type KeptValue struct {
	Digest engine.Digest `json:"digest"`
	Value  any           `json:"value,omitempty"`
	Erased string        `json:"erased,omitempty"`
}

// FileList is the content of a seal's files.json: every file but those of the seal itself.
type FileList struct {
	Files []File `json:"files"`
}

// File is one file of a list.
type File struct {
	Path   string        `json:"path"`
	Size   int64         `json:"size"`
	Digest engine.Digest `json:"digest"`
}

// Statement is an in-toto Statement v1.
type Statement struct {
	Type          string             `json:"_type"`
	Subject       []StatementSubject `json:"subject"`
	PredicateType string             `json:"predicateType"`
	Predicate     any                `json:"predicate"`
}

// StatementSubject names what a statement is about: the SHA-256 in hexadecimal under "sha256".
type StatementSubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Seal is the predicate of a seal's statement.
type Seal struct {
	Producer string   `json:"producer"`
	Origin   string   `json:"origin"`
	Number   int      `json:"number"`
	Run      string   `json:"run"`
	Kind     string   `json:"kind"`
	Cluster  *Cluster `json:"cluster,omitempty"`
	Engine   Engine   `json:"engine"`
	// Started and Finished are of the producer's clock.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Scope    []string  `json:"scope,omitempty"`
	// Size and Root are the log's head: the number of records and the RFC 6962 root in base64, as in the checkpoint.
	Size uint64 `json:"size"`
	Root string `json:"root"`
	// First is the seq of the run's Open.
	First uint64 `json:"first"`
	// PolicySet and Pack are what was in force last.
	PolicySet  engine.Digest `json:"policySet"`
	Pack       engine.Digest `json:"pack"`
	Population *Population   `json:"population,omitempty"`
	Counts     Counts        `json:"counts"`
	// Complete is whether everything was read, judged and known; Simulated whether it was judged by another clock.
	Complete  bool `json:"complete"`
	Simulated bool `json:"simulated,omitempty"`
}
