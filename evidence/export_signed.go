package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxSigned is how many records may have a bundle of their own: the log proves the rest.
const maxSigned = 10_000

// The files about one record that was asked for.
func bundleFile(seq uint64) string  { return fmt.Sprintf("bundles/%010d.sigstore.json", seq) }
func bundleInput(seq uint64) string { return fmt.Sprintf("bundles/%010d.input.json", seq) }
func proofFile(seq uint64) string   { return fmt.Sprintf("proofs/%010d.tlog-proof", seq) }

// putSigned signs the records that were asked for one by one, and proves that they are in the log.
func (e *exporting) putSigned() error {
	if n := len(e.m.Signed); n > maxSigned {
		return fmt.Errorf("%d records are to be signed: at most %d are (the log's head signs all of them)", n, maxSigned)
	}
	for _, seq := range e.m.Signed {
		if seq >= e.m.Head.Size || !e.records[seq] {
			return fmt.Errorf("record %d is to be signed, and is not among those that are exported", seq)
		}
		k, err := e.record(seq)
		if err != nil {
			return err
		}
		if err := e.putBundle(k); err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		proof, err := e.proof(seq)
		if err != nil {
			return fmt.Errorf("record %d: %w", seq, err)
		}
		if err := e.writtenBytes(proofFile(seq), proof); err != nil {
			return err
		}
	}
	return nil
}

// record reads one record.
func (e *exporting) record(seq uint64) (k *Kept, err error) {
	found := errors.New("found")
	err = eachLine(e.fsys, RecordsFile(seq), func(raw []byte, _ int64, number int) error {
		if uint64(number)-1 != seq%SegmentRecords {
			return nil
		}
		k = &Kept{Digest: DigestOf(raw)}
		return errors.Join(found, Decode(raw, &k.Record))
	})
	if !errors.Is(err, found) || k.Seq != seq {
		return nil, fmt.Errorf("record %d: read: %w", seq, err)
	}
	return k, nil
}

// putBundle signs a statement whose subject is what was judged, and whose predicate is the record.
func (e *exporting) putBundle(k *Kept) error {
	d := k.Decision
	if d == nil {
		return errors.New("it is to be signed, and is no decision: there is nothing that it could be about (the log's head signs it)")
	}
	statement, err := Encode(Statement{Type: StatementType, PredicateType: RecordType, Subject: []StatementSubject{recordSubject(d)}, Predicate: &k.Record})
	if err != nil {
		return err
	}
	bundle, err := e.o.Sign(e.ctx, statement)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if len(bundle) > maxBundle {
		return fmt.Errorf("sign: the bundle is larger than %d bytes, which verifiers do not read (the log's head signs the record)", maxBundle)
	}
	if err := e.writtenBytes(bundleFile(k.Seq), bundle); err != nil {
		return err
	}
	if e.o.WithoutInputs {
		return nil
	}
	raw, err := e.folder.raw(d.Input)
	if errors.Is(err, ErrErased) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.writtenBytes(bundleInput(k.Seq), raw)
}

func recordSubject(d *Decision) StatementSubject {
	return StatementSubject{Name: strings.Join(nonEmpty(d.Subject.APIVersion, d.Subject.Kind, d.Subject.Namespace, d.Subject.Name), "/"),
		Digest: map[string]string{"sha256": strings.TrimPrefix(string(d.Input), "sha256:")}}
}

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// proof is that a record is in the log (c2sp.org/tlog-proof).
func (e *exporting) proof(seq uint64) ([]byte, error) {
	proof, err := tlog.ProveRecord(int64(e.m.Head.Size), int64(seq), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			var err error
			if hashes[i], err = storedHash(e.fsys, index, e.m.Head.Size); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	}))
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	b := bytes.NewBufferString(proofHeader + "index " + strconv.FormatUint(seq, 10) + "\n")
	for _, h := range proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(e.checkpoint)
	return b.Bytes(), nil
}

// storedHash is the root of a full subtree, made of the hashes of its tile.
func storedHash(fsys fs.FS, index int64, size uint64) (tlog.Hash, error) {
	level, n := tlog.SplitStoredHashIndex(index)
	each := 1 << (level % 8)
	first := uint64(n) * uint64(each)
	at := tile{level / 8, first / tileWidth}
	name, err := widest(fsys, at, int(min(tileWidth, size>>(level/8*8)-at.index*tileWidth)))
	if err != nil {
		return tlog.Hash{}, err
	}
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return tlog.Hash{}, err
	}
	from := int(first%tileWidth) * tlog.HashSize
	if len(raw) < from+each*tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("%s is too short", name)
	}
	var t Tree
	for i := range each {
		t.addHash(tlog.Hash(raw[from+i*tlog.HashSize:][:tlog.HashSize]))
	}
	return t.edge[0], nil
}

// openProof checks that a proof is of a leaf at a seq under the head, which it carries as it was signed.
func openProof(raw []byte, seq uint64, leaf []byte, head Checkpoint, checkpoint []byte) error {
	text, ok := strings.CutPrefix(string(raw), proofHeader+"index "+strconv.FormatUint(seq, 10)+"\n")
	hashes, carried, split := strings.Cut(text, "\n\n")
	if strings.HasPrefix(text, "\n") {
		hashes, carried, split = "", text[1:], true // the only leaf needs no proof
	}
	if !ok || !split {
		return errors.New("open proof: it is no proof of this record")
	}
	if carried != string(checkpoint) {
		return errors.New("open proof: the head in it is not the head of the log")
	}
	var proof tlog.RecordProof
	for line := range strings.SplitSeq(hashes, "\n") {
		if hashes == "" {
			break
		}
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			return errors.New("open proof: a line of it is no hash")
		}
		proof = append(proof, tlog.Hash(h))
	}
	root, err := base64.StdEncoding.DecodeString(head.Root)
	if err != nil || len(root) != tlog.HashSize {
		return errors.New("open proof: the root is no hash")
	}
	if err := tlog.CheckRecord(proof, int64(head.Size), tlog.Hash(root), int64(seq), tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("open proof: the record is not in the log: %w", err)
	}
	return nil
}

// checkSigned checks the bundle and the proof of one record.
func (v *verification) checkSigned(seq uint64) {
	e := v.exported
	read := func(name string, limit int64) []byte {
		raw, err := fs.ReadFile(e.root, name)
		if err != nil || int64(len(raw)) > limit {
			v.problem(FileMissing, name, "the manifest says that it is there: %d bytes, %v", len(raw), err)
			return nil
		}
		return raw
	}
	bundle, proof, checkpoint := read(bundleFile(seq), maxBundle), read(proofFile(seq), maxCheckpoint), read(path.Join(ExportDir, CheckpointFile), maxCheckpoint)
	if bundle == nil || proof == nil || checkpoint == nil {
		return
	}
	var rec Record
	subject, err := openStatement(bundle, e.key, RecordType, &rec)
	if err != nil {
		v.problem(statementCode(err), bundleFile(seq), "%v", err)
		return
	}
	line, err := Encode(&rec)
	if err != nil || rec.Decision == nil || rec.Seq != seq {
		v.problem(WrongStatement, bundleFile(seq), "it is not about a decision at %d", seq)
		return
	}
	if want := recordSubject(rec.Decision); subject.Name != want.Name || len(subject.Digest) != 1 || subject.Digest["sha256"] != want.Digest["sha256"] {
		v.problem(WrongStatement, bundleFile(seq), "its subject is not what the record judges")
	}
	leaf, err := hex.DecodeString(strings.TrimPrefix(string(DigestOf(line)), "sha256:"))
	if err == nil {
		err = openProof(proof, seq, leaf, v.Head, checkpoint)
	}
	if err != nil {
		v.problem(RecordAltered, proofFile(seq), "%v", err)
	}
	if info, err := fs.Stat(e.root, bundleInput(seq)); err == nil {
		if d, err := digestFile(e.root, bundleInput(seq), info.Size()); err != nil || d != rec.Decision.Input {
			v.problem(InputAltered, bundleInput(seq), "it is not what the record judges")
		}
	}
}
