package evidence

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
)

// VerifiedExport is what was found of an auditor bundle beside the evidence in it.
type VerifiedExport struct {
	// Signer is the fingerprint of the key the manifest is signed by, SignerName what the trust calls it, Established whether the
	// reader trusts it.
	Signer      string `json:"signer"`
	SignerName  string `json:"signerName,omitempty"`
	Established bool   `json:"established"`
	Filter      Filter `json:"filter"`
	// LeftOut says in words what the filter leaves out.
	LeftOut       string   `json:"leftOut"`
	InputsLeftOut uint64   `json:"inputsLeftOut"`
	Signed        []uint64 `json:"signed"`
	Seed          string   `json:"seed"`
}

// exportCheck is the checking of an auditor bundle.
type exportCheck struct {
	root fs.FS
	m    Manifest
	key  *Key
	// derived are what the records give for people, and rows and gaps the digests of that.
	*derived
	rows, gaps hash.Hash
	// inputs counts the values that are left out, lists the lists of populations, next is the first of the manifest's ranges that is not behind.
	inputs, lists uint64
	next          int
	stretches
	// unkept are what was judged that is not there, by who judged it first.
	unkept map[engine.Digest]uint64
}

// isExport reports whether a file system is an auditor bundle.
func isExport(fsys fs.FS) bool {
	return !there(fsys, ProducerFile) && (there(fsys, ManifestFile) || there(fsys, ManifestStatement) || there(fsys, ManifestKey))
}

// evidenceIn is the folder of evidence that a file system is, or that it holds.
func evidenceIn(fsys fs.FS) (fs.FS, error) {
	if !isExport(fsys) {
		return fsys, nil
	}
	return fs.Sub(fsys, ExportDir)
}

// openExport checks the manifest of an auditor bundle and every file against it; what is left is the folder in it.
func (v *verification) openExport() error {
	if !isExport(v.fsys) {
		return nil
	}
	e := &exportCheck{root: v.fsys, rows: sha256.New(), gaps: sha256.New(), stretches: stretches{side: beforePeriod}, unkept: map[engine.Digest]uint64{}}
	v.exported, v.Export = e, &VerifiedExport{}
	if err := v.walk(e.root, func(name string) bool { return strings.HasPrefix(name, ExportDir+"/") || exportPlaced(name) }); err != nil {
		return err
	}
	if !v.openManifest(e) {
		e.m = Manifest{}
	}
	folder, err := evidenceIn(e.root)
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	e.derived = newDerived(folder, e.rows, e.gaps, &e.m)
	listed := map[string]bool{ManifestFile: true, ManifestStatement: true, ManifestKey: true}
	for _, f := range e.m.Files {
		listed[f.Path] = true
		v.listedFile(&f)
	}
	for name := range v.files {
		if !listed[name] && e.key != nil {
			v.problem(FileUnlisted, name, "the manifest does not list it")
		}
	}
	if e.key != nil {
		v.beside(e)
	}
	v.fsys = folder
	return nil
}

// exportPlaced reports whether an auditor bundle has files of that name beside the evidence in it.
func exportPlaced(name string) bool {
	if slices.Contains([]string{ManifestFile, ManifestStatement, ManifestKey, GapsFile, SummaryCSV, SummaryHTML, OSCALFile, InstructionsFile, TrustedRootFile}, name) {
		return true
	}
	_, number, _ := strings.Cut(name, "/")
	seq, err := strconv.ParseUint(number[:min(10, len(number))], 10, 64)
	return err == nil && slices.Contains([]string{bundleFile(seq), bundleInput(seq), proofFile(seq)}, name)
}

// openManifest reads the manifest by its key.
func (v *verification) openManifest(e *exportCheck) bool {
	raw, ok := v.read(ManifestKey, maxTrust)
	if !ok {
		return false
	}
	key, err := ParseKey(raw)
	if err != nil || string(raw) != string(key.PEM()) {
		v.problem(KeyUnreadable, ManifestKey, "it is not one public key as it is written: %v", err)
		return false
	}
	text, ok := v.read(ManifestFile, maxList)
	if !ok {
		return false
	}
	raw, ok = v.read(ManifestStatement, maxBundle)
	if !ok {
		return false
	}
	var said Exported
	subject, err := openStatement(raw, key, ExportType, &said)
	if err != nil {
		v.problem(statementCode(err), ManifestStatement, "%v", err)
		return false
	}
	if want := "sha256:" + subject.Digest["sha256"]; subject.Name != ManifestFile || len(subject.Digest) != 1 || string(DigestOf(text)) != want {
		v.problem(FileAltered, ManifestFile, "it is not the manifest that was signed")
		return false
	}
	if err := Decode([]byte(strings.TrimSuffix(string(text), "\n")), &e.m); err != nil || !strings.HasSuffix(string(text), "\n") {
		v.problem(FileAltered, ManifestFile, "%v", err)
		return false
	}
	if e.m.Format != exportFormat {
		v.problem(WrongStatement, ManifestFile, "it is of format %d: want %d (a newer proviso-verify may know it)", e.m.Format, exportFormat)
		return false
	}
	if said != (Exported{e.m.Producer.ID, e.m.Head, e.m.Records, e.m.LeftOut}) {
		v.problem(WrongStatement, ManifestStatement, "it says something else than the manifest")
	}
	if n := len(e.m.Signed); n > maxSigned || !slices.IsSorted(e.m.Signed) || len(slices.Compact(slices.Clone(e.m.Signed))) < n {
		v.problem(WrongStatement, ManifestFile, "what is signed on its own is not in its order, or more than %d", maxSigned)
		return false
	}
	e.key = key
	x := v.Export
	x.Signer, x.Filter, x.LeftOut, x.InputsLeftOut, x.Signed, x.Seed = key.Fingerprint(), e.m.Filter, e.m.Filter.words(), e.m.InputsLeftOut, e.m.Signed, e.m.Seed
	return true
}

// listedFile holds a file against what a list says of it.
func (v *verification) listedFile(f *File) {
	info := v.files[f.Path]
	switch {
	case info == nil:
		v.problem(FileMissing, f.Path, "the manifest lists it, and it is not there")
	case info.Size() != f.Size:
		v.problem(FileAltered, f.Path, "it has %d bytes, and the manifest says %d", info.Size(), f.Size)
	default:
		if d, err := digestFile(v.exported.root, f.Path, f.Size); err != nil {
			v.problem(FileAltered, f.Path, "read: %v", err)
		} else if d != f.Digest {
			v.problem(FileAltered, f.Path, "it is not what the manifest says")
		}
	}
}

// there takes a record that the export holds.
func (e *exportCheck) there(v *verification, r *Record, digest engine.Digest) {
	if e.key == nil {
		return // the manifest cannot be read, and that was told
	}
	if !e.declares(r.Seq) {
		v.problem(CountsDiffer, v.run.place(r.Seq), "it is there, and the manifest does not say so")
	}
	e.crossed(v, r.Seq, e.m.Filter.side(r.At))
	if d := r.Decision; d != nil && !v.known[d.Input] {
		if _, told := e.unkept[d.Input]; !told {
			e.unkept[d.Input] = r.Seq
		}
	}
	e.add(r, digest)
}

// leftOut takes a record of which the log alone speaks.
func (e *exportCheck) leftOut(v *verification, seq uint64) {
	if e.key == nil {
		return
	}
	if e.declares(seq) {
		v.problem(RecordMissing, v.run.place(seq), "the manifest says that it is there, and it is not")
	}
	e.leave(seq)
}

// declares reports whether the manifest says that a record is there. It is asked in order.
func (e *exportCheck) declares(seq uint64) bool {
	for e.next < len(e.m.Included) && e.m.Included[e.next].Last < seq {
		e.next++
	}
	return e.next < len(e.m.Included) && e.m.Included[e.next].First <= seq
}

// checkExport holds what the manifest says against the evidence.
func (v *verification) checkExport() error {
	e := v.exported
	if e == nil || e.key == nil {
		return nil
	}
	e.crossed(v, v.Head.Size, afterPeriod)
	v.fault(e.end())
	v.trustExporter(e)
	differ := func(what string, said, found any) {
		if fmt.Sprint(said) != fmt.Sprint(found) {
			v.problem(CountsDiffer, ManifestFile, "it says %s %v, and there is %v", what, said, found)
		}
	}
	if e.m.Producer != v.Producer || e.m.Signer != v.Signer {
		v.problem(OtherLog, ManifestFile, "it is about the log %s of the key sha256:%s", e.m.Producer.Origin, e.m.Signer)
	}
	differ("the head's origin", e.m.Head.Origin, v.Head.Origin)
	differ("the head's size", e.m.Head.Size, v.Head.Size)
	differ("the head's root", e.m.Head.Root, v.Head.Root)
	differ("records", e.m.Records, v.Records)
	differ("left out", e.m.LeftOut, v.LeftOut)
	differ("inputs left out", e.m.InputsLeftOut, e.inputs)
	if said, found := e.m.Counts.apart(&e.counts); said != found {
		v.problem(CountsDiffer, ManifestFile, "it counts %s, and there are %s", said, found)
	}
	said, err := Encode(e.m.Clusters)
	v.fault(err)
	found, err := Encode(e.clusters)
	v.fault(err)
	differ("clusters", string(said), string(found))
	differ("first", e.m.First.Format(time.RFC3339Nano), e.first.Format(time.RFC3339Nano))
	differ("last", e.m.Last.Format(time.RFC3339Nano), e.derived.last.Format(time.RFC3339Nano))
	differ("the seed", e.m.Seed, v.Head.Root)
	differ("seals", e.m.Seals, v.Seals)
	differ("simulated", e.m.Simulated, e.simulated)
	page := sha256.New()
	v.fault(e.page(page, &e.m))
	for name, sum := range map[string]hash.Hash{SummaryCSV: e.rows, GapsFile: e.gaps, SummaryHTML: page} {
		if at, there := slices.BinarySearchFunc(e.m.Files, name, func(f File, name string) int { return strings.Compare(f.Path, name) }); !there || e.m.Files[at].Digest != digestSum(sum.Sum(nil)) {
			v.problem(FileAltered, name, "it is not what the records give")
		}
	}
	for _, seq := range e.m.Signed {
		v.checkSigned(seq)
	}
	if e.inputs > 0 && !e.m.Filter.WithoutInputs {
		if e.m.Filter.Namespace == "" {
			v.problem(InputMissing, ManifestFile, "%d values are left out, and the filter does not say so", e.inputs)
		}
		v.judgedLeftOut(e)
	}
	for _, m := range e.torn {
		v.hole(Unclosed, fmt.Sprintf("record %d", m.Seq), "%s", m.Reason)
	}
	v.Unjudged += e.tornItems
	if e.m.Unsigned > 0 {
		v.hole(Unsealed, CheckpointFile, "%s came after it, not signed yet, and not exported", plural(e.m.Unsigned, "record", "records"))
	}
	if v.LeftOut > 0 || e.inputs > 0 || e.lists > 0 {
		v.hole(LeftOut, ManifestFile, "the export leaves out %s, %s and %s; what it leaves out is %s", plural(v.LeftOut, "record", "records"), plural(e.inputs, "value", "values"),
			plural(e.lists, "list of what scans would judge", "lists of what scans would judge"), e.m.Filter.words())
	}
	return nil
}

// tell says what was checked of the export, and what was not.
func (e *exportCheck) tell(v *verification) {
	if e.key == nil {
		v.Unchecked = append(v.Unchecked, "what was exported and what was left out: the manifest cannot be read")
		return
	}
	v.Checked = append(v.Checked, fmt.Sprintf("the manifest: its signature, that it lists all %d files, and that it counts what is there", len(e.m.Files)),
		"the summary and the gaps: they are what the records give")
	if v.Seals > 0 {
		v.Checked = append(v.Checked, plural(uint64(v.Seals), "seal", "seals")+" of the producer, against the log")
	}
	if n := len(e.m.Signed); n > 0 {
		v.Checked = append(v.Checked, plural(uint64(n), "record, signed by itself, and its proof", "records that are signed one by one, and their proofs"))
	}
	if !v.Export.Established {
		v.Unchecked = append(v.Unchecked, "who exported: the key is the bundle's own (name one you trust with --trust)")
	}
	if e.m.Filter.Namespace != "" {
		v.Unchecked = append(v.Unchecked, "that the records left out are outside of the namespace or the period, and that the facts left out name another: the exporter says so", "that every item of the populations has a result: their lists name other namespaces")
	}
	if v.LeftOut > 0 && e.m.Filter.Namespace == "" {
		v.Unchecked = append(v.Unchecked, "that no gap, erasure or key of the period was recorded outside of it and left out: the exporter says so",
			"that the producer's clock did not go back in what is left out: records of the period could be among it")
	}
	v.Unchecked = append(v.Unchecked, InstructionsFile+" and "+path.Dir(OSCALFile)+"/: they are what the exporter wrote of the records")
}

func (v *verification) fault(err error) {
	if err != nil {
		v.problem(RecordAltered, ManifestFile, "make the summary of the records: %v", err)
	}
}
