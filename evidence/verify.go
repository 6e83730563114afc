package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"proviso.dev/proviso/engine"
)

// Options are what evidence is held against.
type Options struct {
	// Trust is whom to believe. Nil takes the key in the folder, which proves that nothing was altered since it was signed and
	// not who signed.
	Trust *Trust
	// Against are checkpoints of the log that somebody else kept.
	Against [][]byte
	// Now is the reader's clock, by which keys expire.
	Now time.Time
}

// Verified is what checking found.
type Verified struct {
	// Place is where it was read, said where several places are checked.
	Place    string   `json:"place,omitempty"`
	Producer Producer `json:"producer"`
	// Signer is the fingerprint of the key all was checked by, SignerName what the trust calls it; Established is whether the
	// key is one the reader trusts.
	Signer      string     `json:"signer"`
	SignerName  string     `json:"signerName,omitempty"`
	Established bool       `json:"established"`
	Head        Checkpoint `json:"head"`
	// Records counts those read, Unsigned those of them after the last checkpoint, LeftOut those an export declares to have
	// left out.
	Records  uint64    `json:"records"`
	Unsigned uint64    `json:"unsigned"`
	LeftOut  uint64    `json:"leftOut"`
	Clusters []Cluster `json:"clusters"`
	Runs     []Run     `json:"runs"`
	Seals    int       `json:"seals"`
	Counts   Counts    `json:"counts"`
	// Unjudged counts the holes, the gaps and the items without a result, told or not; what a run of a folder that has no end yet may
	// still judge is not among them.
	Unjudged uint64 `json:"unjudged"`
	// Next is the log that goes on where this one ends, under another key; Before the one that went before it.
	Next   *BoundLog `json:"next,omitempty"`
	Before *BoundLog `json:"before,omitempty"`
	// Problems are what does not verify, Holes what is declared or plainly missing; of each code the first hundred, and in one
	// more how many there are besides.
	Problems []Problem `json:"problems"`
	Holes    []Problem `json:"holes"`
	// Export is there for an auditor bundle.
	Export *VerifiedExport `json:"export,omitempty"`
	// Checked and Unchecked say in words what was and what was not.
	Checked   []string `json:"checked"`
	Unchecked []string `json:"unchecked"`
}

// BoundLog is another log that this one names, its signer by fingerprint, and the head of one that went before. Whether its
// signer is to be trusted this log does not decide.
type BoundLog struct {
	Origin string `json:"origin"`
	Signer string `json:"signer"`
	Size   uint64 `json:"size,omitempty"`
	Root   string `json:"root,omitempty"`
}

// Problem is one thing wrong. Code is a word for it that does not change.
type Problem struct {
	Code  string `json:"code"`
	Place string `json:"place,omitempty"`
	Text  string `json:"text"`
}

func (p Problem) String() string {
	if p.Place == "" {
		return p.Text
	}
	return p.Place + ": " + p.Text
}

// The codes of problems.
const (
	KeyUntrusted     = "key-untrusted"
	KeyExpired       = "key-expired"
	KeyNotYetValid   = "key-not-yet-valid"
	KeyUnreadable    = "key-unreadable"
	SignatureInvalid = "signature-invalid"
	WrongStatement   = "wrong-statement"
	RecordAltered    = "record-altered"
	RecordMissing    = "record-missing"
	ChainBroken      = "chain-broken"
	RootDiffers      = "root-differs"
	LogAltered       = "log-altered"
	FileAltered      = "file-altered"
	FileUnlisted     = "file-unlisted"
	FileMissing      = "file-missing"
	InputAltered     = "input-altered"
	InputMissing     = "input-missing"
	ObjectAltered    = "object-altered"
	ObjectMissing    = "object-missing"
	OrderBroken      = "order-broken"
	ItemWithout      = "item-without-result"
	CountsDiffer     = "counts-differ"
	PopulationWrong  = "population-wrong"
	Rollback         = "rollback"
	SplitView        = "split-view"
	OtherLog         = "other-log"

	Unsealed     = "unsealed"
	Unclosed     = "unclosed"
	DeclaredHole = "hole"
	DeclaredGap  = "gap"
	Erased       = "erased"
	LeftOut      = "left-out"
	Silent       = "silent"
	Unfinished   = "unfinished"
)

// Run is one run of the log.
type Run struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	First  uint64    `json:"first"`
	Last   uint64    `json:"last"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Closed bool      `json:"closed"`
	Reason string    `json:"reason,omitempty"`
	// Simulated is whether it judged by another clock.
	Simulated bool `json:"simulated,omitempty"`
	// Unidentified is whether it judged what is in a cluster, and a record of it does not say in which.
	Unidentified bool   `json:"unidentified,omitempty"`
	Counts       Counts `json:"counts"`
}

// format is the version of evidence folders that is read.
const format = 1

// verification is one checking of a folder.
type verification struct {
	fsys fs.FS
	o    Options
	key  *Key
	*Verified
	// saltKept is set where the reader may not read the salt.
	saltKept bool
	// large is held while a large line is decoded.
	large sync.Mutex

	files map[string]fs.FileInfo
	seals []*sealed
	// roots are the heads the log's root must be known at, by size.
	roots map[uint64]string
	// trusted is the reader's word on the key; nil without one.
	trusted *TrustedKey
	// known are the inputs and facts that are kept; erased those gone, by whether a record declares it.
	known, erased map[engine.Digest]bool
	objects       map[engine.Digest]bool
	tiles         *tiles
	run           *running
	// exported is there for an auditor bundle; fsys is the folder in it then.
	exported *exportCheck
	// torn is the file of records whose last line has no end.
	torn            string
	problems, holes tally
	// continued are those of the checkpoints somebody kept that the log continues.
	continued []continued
}

// Verify checks a folder of evidence, or an auditor bundle seen as one, offline. Its error is that the folder could not be
// read; what does not verify is told in Problems.
func Verify(fsys fs.FS, o Options) (*Verified, error) {
	from := &watched{FS: fsys}
	v := &verification{fsys: from, o: o, Verified: &Verified{}, files: map[string]fs.FileInfo{}, roots: map[uint64]string{},
		known: map[engine.Digest]bool{}, erased: map[engine.Digest]bool{}, objects: map[engine.Digest]bool{}, problems: tally{}, holes: tally{}}
	if o.Trust != nil && o.Now.IsZero() {
		return nil, errors.New("verify evidence: no time is given to hold trust against")
	}
	if err := from.each(v.openExport, v.list, v.writer); err != nil {
		return nil, err
	}
	if v.key != nil {
		if err := from.each(v.head, v.readSeals, v.readObjects, v.readLog, v.compareHeads, v.checkSeals, v.markSimulated, v.checkExport); err != nil {
			return nil, err
		}
	}
	v.tell()
	return v.Verified, nil
}

func (v *verification) problem(code, place, format string, args ...any) {
	if v.problems.tells(code) {
		v.Problems = append(v.Problems, Problem{code, place, fmt.Sprintf(format, args...)})
	}
}

func (v *verification) hole(code, place, format string, args ...any) {
	if v.holes.tells(code) {
		v.Holes = append(v.Holes, Problem{code, place, fmt.Sprintf(format, args...)})
	}
}

// writer reads who wrote the folder, and settles by which key all else is checked.
func (v *verification) writer() error {
	raw, ok := v.read(KeyFile, maxTrust)
	if !ok {
		return nil
	}
	key, err := ParseKey(raw)
	if err != nil {
		v.problem(KeyUnreadable, KeyFile, "%v", err)
		return nil
	}
	if string(raw) != string(key.PEM()) {
		v.problem(FileAltered, KeyFile, "it is not as it is written")
	}
	if raw, ok := v.read(TrustedRootFile, maxTrust); ok && string(raw) != TrustedRoot {
		v.problem(FileAltered, TrustedRootFile, "it is not the empty root")
	}
	raw, ok = v.read(ProducerFile, maxTrust)
	if !ok {
		return nil
	}
	text, ended := bytes.CutSuffix(raw, []byte("\n"))
	if err := Decode(text, &v.Producer); err != nil {
		v.problem(FileAltered, ProducerFile, "%v", err)
		return nil
	}
	if !ended {
		v.problem(FileAltered, ProducerFile, "its line has no end")
	}
	if v.Producer.Format != format {
		v.problem(WrongStatement, ProducerFile, "it is of format %d: this version reads format %d", v.Producer.Format, format)
	}
	v.key = key
	v.Signer = key.Fingerprint()
	if v.o.Trust != nil {
		v.trust()
	}
	if want := key.VerifierKey(v.Producer.Origin); v.Producer.Key != want {
		v.problem(FileAltered, ProducerFile, "the verifier key is not that of %s", KeyFile)
	}
	return nil
}

// trust finds the folder's key among those the reader trusts. Whether its time is over is settled when the log is held against
// the checkpoints somebody kept.
func (v *verification) trust() {
	var holds bool
	if v.trusted, holds = v.trusts(v.key, KeyFile); v.trusted != nil {
		v.SignerName, v.Established = v.trusted.Name, holds && !v.expired()
	}
}

// trusts finds a key among those the reader trusts, and says whether it holds for this log and already.
func (v *verification) trusts(key *Key, place string) (t *TrustedKey, holds bool) {
	at := slices.IndexFunc(v.o.Trust.Keys, func(t TrustedKey) bool { return t.Fingerprint() == key.Fingerprint() })
	if at < 0 {
		v.problem(KeyUntrusted, place, "the key sha256:%s is none of those you trust", key.Fingerprint())
		return nil, false
	}
	t = &v.o.Trust.Keys[at]
	switch {
	case len(t.Origins) > 0 && !slices.Contains(t.Origins, v.Producer.Origin):
		v.problem(KeyUntrusted, place, "the key is trusted for %s, not for %s", strings.Join(t.Origins, ", "), v.Producer.Origin)
	case v.o.Now.Before(t.NotBefore):
		v.problem(KeyNotYetValid, place, "the key is trusted from %s on", t.NotBefore.Format(time.RFC3339))
	default:
		return t, true
	}
	return t, false
}

// expired reports whether the reader's time for the key is over.
func (v *verification) expired() bool {
	return v.trusted != nil && !v.trusted.NotAfter.IsZero() && v.o.Now.After(v.trusted.NotAfter)
}

// head reads the log's signed head.
func (v *verification) head() error {
	raw, ok := v.read(CheckpointFile, maxCheckpoint)
	if !ok {
		return nil
	}
	head, err := OpenCheckpoint(raw, v.key, v.Producer.Origin)
	if err != nil {
		v.problem(SignatureInvalid, CheckpointFile, "%v", err)
		return nil
	}
	v.Head = head
	v.roots[head.Size] = ""
	for _, raw := range v.o.Against {
		if c, err := OpenCheckpoint(raw, v.key, v.Producer.Origin); err == nil {
			v.roots[c.Size] = ""
		}
	}
	return nil
}

// compareHeads holds the log against every head that is known of it.
func (v *verification) compareHeads() error {
	if v.Head.Origin != "" {
		v.compare(CheckpointFile, v.Head, RootDiffers)
	}
	kept := uint64(0)
	for i, raw := range v.o.Against {
		place := fmt.Sprintf("--against %d", i+1)
		c, err := OpenCheckpoint(raw, v.key, v.Producer.Origin)
		if err != nil {
			v.problem(OtherLog, place, "%v", err)
			continue
		}
		if total := v.Head.Size; c.Size > total {
			v.problem(Rollback, place, "the log had %d records then and has %d now: an old copy was put in its place, or its end was cut off", c.Size, total)
			continue
		}
		if v.compare(place, c, SplitView) {
			v.continued = append(v.continued, continued{place, c.Size})
			kept = max(kept, c.Size)
		}
	}
	if v.expired() {
		// What the signer says of its clock proves nothing about an expired key.
		if v.Established = kept > 0 && kept == v.Head.Size; !v.Established {
			v.problem(KeyExpired, KeyFile, "the key is trusted until %s, and nobody else says that it signed the %d records after record %d before: give the checkpoint you kept then with --against",
				v.trusted.NotAfter.Format(time.RFC3339), v.Head.Size-kept, kept)
		}
	}
	return nil
}

// compare holds the log's root against a signed one, and says whether they are the same.
func (v *verification) compare(place string, c Checkpoint, code string) bool {
	switch root := v.roots[c.Size]; {
	case root == "":
		v.problem(RecordMissing, place, "it speaks of %d records, and there are %d", c.Size, v.Records+v.LeftOut)
	case root != c.Root:
		v.problem(code, place, "the records give another root at %d: they are not those that were signed", c.Size)
	default:
		return true
	}
	return false
}

// tell says in words what was checked and what was not.
func (v *verification) tell() {
	v.Checked = append(v.Checked, fmt.Sprintf("%s: their order, their chain, and the Merkle root of the log of %d", plural(v.Records, "record", "records"), v.Head.Size))
	switch {
	case v.exported != nil:
		v.exported.tell(v)
	case v.Seals > 0:
		v.Checked = append(v.Checked, plural(uint64(v.Seals), "seal", "seals")+"; the newest covers every file")
	}
	v.tellContinued()
	if !v.Established {
		v.Unchecked = append(v.Unchecked, "who signed: the key is the folder's own (name one you trust with --trust)")
	}
	if len(v.o.Against) == 0 {
		v.Unchecked = append(v.Unchecked, "that this is the newest and only copy: keep the checkpoint, and give it with --against next time")
	}
	if v.saltKept {
		v.Unchecked = append(v.Unchecked, "the bytes of "+SaltFile+", which you may not read: it is there and has the size that was sealed")
	}
	v.Unchecked = append(v.Unchecked, "the clock: times are what the producer says", "the verdicts: `proviso evidence replay` judges again")
	v.Unjudged += v.holes[DeclaredHole] + v.holes[DeclaredGap]
	v.Problems, v.Holes = append(v.Problems, v.problems.rest()...), append(v.Holes, v.holes.rest()...)
}
