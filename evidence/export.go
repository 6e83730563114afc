package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// The files of an auditor bundle; FORMAT.md says what they hold. All of the evidence folder lies in ExportDir.
const (
	ManifestFile      = "manifest.json"
	ManifestStatement = "manifest.sigstore.json"
	ManifestKey       = "manifest.pub"
	ExportDir         = "evidence"
	GapsFile          = "gaps.json"
	SummaryHTML       = "summary.html"
	SummaryCSV        = "summary.csv"
	OSCALFile         = "oscal/assessment-results.json"
	InstructionsFile  = "VERIFY.md"
)

// exportFormat is that of all an export derives from its records: another text of the same records is another format.
const exportFormat = 1

// Manifest is the content of an export's manifest.json: what it holds and what it leaves out. It is signed, and it covers
// every other file.
type Manifest struct {
	Format   int      `json:"format"`
	Producer Producer `json:"producer"`
	// Signer is the fingerprint of the key that signs the log.
	Signer string     `json:"signer"`
	Head   Checkpoint `json:"head"`
	Filter Filter     `json:"filter"`
	// Included are the seqs of the records that are there, Records and LeftOut how many are and are not.
	Included []Range `json:"included"`
	Records  uint64  `json:"records"`
	LeftOut  uint64  `json:"leftOut"`
	// InputsLeftOut counts the lines of inputs/ that have a digest alone.
	InputsLeftOut uint64 `json:"inputsLeftOut"`
	// First and Last are when the first and the last of the records were written.
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Clusters []Cluster `json:"clusters"`
	// Counts are of what was decided in the period.
	Counts Counts `json:"counts"`
	// Simulated counts the decisions among them that were made by another clock than the real one.
	Simulated uint64 `json:"simulated"`
	// Seals counts the producer's seals, Unsigned the records after the head, and lines that were not written whole: they are in
	// the folder, and not here.
	Seals    int    `json:"seals"`
	Unsigned uint64 `json:"unsigned"`
	// Signed are the records that have a bundle and a proof of their own.
	Signed []uint64 `json:"signed"`
	// Seed is what to draw a sample by: the root of the head, which neither side can choose.
	Seed string `json:"seed"`
	// WithoutOSCAL says why there is no oscal/.
	WithoutOSCAL string `json:"withoutOSCAL,omitempty"`
	// Files are all files but the manifest, its key and its statement, sorted.
	Files []File `json:"files"`
}

// Range is from First to Last, both included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Exported is the predicate of the statement about an export, whose subject is its manifest.
type Exported struct {
	Producer string     `json:"producer"`
	Head     Checkpoint `json:"head"`
	Records  uint64     `json:"records"`
	LeftOut  uint64     `json:"leftOut"`
}

// ExportOptions say what an auditor bundle is to hold, and who signs it.
type ExportOptions struct {
	Filter
	// Records are those to sign one by one.
	Records []uint64
	// Key is that of Sign, which makes a Sigstore bundle of an in-toto statement. It need not be the producer's.
	Key  *Key
	Sign func(ctx context.Context, statement []byte) ([]byte, error)
	// OSCAL writes assessment results of what is exported. What a [LeftOutError] says stands in the manifest in their place.
	OSCAL func(w io.Writer, x *Exporting) error
	// Scratch is a folder for what is written on the way, as large as what is exported.
	Scratch string
}

// LeftOutError says why a part of an export is not there.
type LeftOutError struct{ Why string }

func (e *LeftOutError) Error() string { return e.Why }

// Exporting is what is exported, for those who write parts of an export.
type Exporting struct {
	*Manifest
	// Folder is the one that is exported from.
	Folder *Folder
	// Activations are those in force in the period, in their order.
	Activations []Activation
	Records     iter.Seq2[*Kept, error]
}

// part is a file of an export, and where its bytes lie.
type part struct {
	File
	open func() (io.ReadCloser, error)
}

// copyTo writes the part and checks that it still is what it was when it was listed.
func (p *part) copyTo(ctx context.Context, w io.Writer) error {
	f, err := p.open()
	if err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), contextReader{ctx, io.LimitReader(f, p.Size)})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.Path, err)
	case n != p.Size || digestSum(h.Sum(nil)) != p.Digest:
		return fmt.Errorf("%s: it changed while it was exported (export again)", p.Path)
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(b)
}

func digestSum(sum []byte) engine.Digest { return engine.Digest("sha256:" + hex.EncodeToString(sum)) }

// exporting is one export on its way.
type exporting struct {
	ctx    context.Context
	fsys   fs.FS
	folder *Folder
	o      *ExportOptions
	m      *Manifest
	// checkpoint is the signed head, as it is written.
	checkpoint []byte
	key        *Key
	// simulations name the runs that were judged by another clock.
	simulations []string
	selection
	parts []part
}

// Export writes an auditor bundle of a folder that was verified: a tar that is the same, but for its signatures, whenever the
// same records are exported. What comes after the folder's signed head is not in it.
func Export(ctx context.Context, fsys fs.FS, w io.Writer, o *ExportOptions) (m *Manifest, err error) {
	e := &exporting{ctx: ctx, fsys: fsys, o: o}
	defer func() {
		if e.folder != nil {
			err = errors.Join(err, e.folder.Close())
		}
	}()
	for _, step := range []func() error{e.start, e.choose, e.putEvidence, e.putDerived, e.putSigned, e.putOSCAL, e.putManifest} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return nil, fmt.Errorf("export: %w", err)
		}
	}
	e.sort()
	if err := writeArchive(ctx, w, e.parts); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return e.m, nil
}

// start reads the head that the export is of.
func (e *exporting) start() (err error) {
	if isExport(e.fsys) {
		return errors.New("it is an auditor bundle already: export from the folder that was written by the producer")
	}
	if e.folder, err = OpenFolder(e.fsys); err != nil {
		return err
	}
	raw, err := fs.ReadFile(e.fsys, KeyFile)
	if err != nil {
		return err
	}
	if e.key, err = ParseKey(raw); err != nil {
		return err
	}
	if e.checkpoint, err = fs.ReadFile(e.fsys, CheckpointFile); err != nil {
		return err
	}
	head, err := OpenCheckpoint(e.checkpoint, e.key, e.folder.Producer.Origin)
	if err != nil {
		return err
	}
	e.m = &Manifest{Format: exportFormat, Producer: e.folder.Producer, Signer: e.key.Fingerprint(), Head: head, Filter: e.o.Filter, Seed: head.Root,
		Included: []Range{}, Clusters: []Cluster{}, Signed: slices.Compact(slices.Sorted(slices.Values(e.o.Records))), Files: []File{}}
	if e.m.Signed == nil {
		e.m.Signed = []uint64{}
	}
	if !e.o.From.IsZero() && !e.o.Until.IsZero() && !e.o.From.Before(e.o.Until) {
		return fmt.Errorf("the period from %s until %s is empty", e.o.From.Format(time.RFC3339), e.o.Until.Format(time.RFC3339))
	}
	return nil
}

func (e *exporting) sort() {
	slices.SortFunc(e.parts, func(a, b part) int { return strings.Compare(a.Path, b.Path) })
}

// from adds the first bytes of a file of the folder to the export; all of them where size is negative.
func (e *exporting) from(to, name string, size int64) error {
	f, err := e.fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if size < 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		size = info.Size()
	}
	h := sha256.New()
	if n, err := io.Copy(h, contextReader{e.ctx, io.LimitReader(f, size)}); err != nil || n != size {
		return fmt.Errorf("%s: read %d bytes of %d: %w", name, n, size, errors.Join(err, e.ctx.Err()))
	}
	e.parts = append(e.parts, part{File{to, size, digestSum(h.Sum(nil))}, func() (io.ReadCloser, error) { return e.fsys.Open(name) }})
	return nil
}

// written adds a file that is written on the way.
func (e *exporting) written(to string, write func(w io.Writer) error) error {
	name := filepath.Join(e.o.Scratch, filepath.FromSlash(to))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	b := newCounted(io.MultiWriter(f, h))
	err = write(b)
	if err = errors.Join(err, b.Flush(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	e.parts = append(e.parts, part{File{to, b.n, digestSum(h.Sum(nil))}, func() (io.ReadCloser, error) { return os.Open(name) }})
	return nil
}

func (e *exporting) writtenBytes(to string, raw []byte) error {
	return e.written(to, func(w io.Writer) error { _, err := w.Write(raw); return err })
}

// putManifest writes what the export holds, and signs it.
func (e *exporting) putManifest() error {
	if err := e.writtenBytes(TrustedRootFile, []byte(TrustedRoot)); err != nil {
		return err
	}
	if err := e.writtenBytes(InstructionsFile, e.instructions()); err != nil {
		return err
	}
	e.sort()
	for i := range e.parts {
		e.m.Files = append(e.m.Files, e.parts[i].File)
	}
	if n := len(e.m.Files); n > maxFiles-3 {
		return fmt.Errorf("it would have %d files, more than verifiers read: %d (name a shorter period with --from and --until)", n, maxFiles-3)
	}
	raw, err := Encode(e.m)
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	statement, err := Encode(Statement{Type: StatementType, PredicateType: ExportType,
		Subject:   []StatementSubject{{Name: ManifestFile, Digest: map[string]string{"sha256": strings.TrimPrefix(string(DigestOf(raw)), "sha256:")}}},
		Predicate: Exported{e.m.Producer.ID, e.m.Head, e.m.Records, e.m.LeftOut}})
	if err != nil {
		return err
	}
	bundle, err := e.o.Sign(e.ctx, statement)
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	return errors.Join(e.writtenBytes(ManifestFile, raw), e.writtenBytes(ManifestStatement, bundle), e.writtenBytes(ManifestKey, e.o.Key.PEM()))
}
