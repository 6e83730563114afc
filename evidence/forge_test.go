//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// chained numbers records and writes them as lines, each with the digest of the one before.
func chained(t testing.TB, records []evidence.Record) (lines [][]byte) {
	t.Helper()
	var previous engine.Digest
	for n := range records {
		r := records[n]
		r.Seq, r.Previous = uint64(n), previous
		line := encoded(t, r)
		previous = evidence.DigestOf(line)
		lines = append(lines, append(line, '\n'))
	}
	return lines
}

func leafOf(line []byte) []byte {
	sum := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
	return sum[:]
}

// relog writes the records, and the tiles and the state of the log over them, with nothing signed.
func (f folder) relog(lines [][]byte) {
	for name := range f {
		if strings.HasPrefix(name, "log/tile/") || strings.HasPrefix(name, "records/") {
			delete(f, name)
		}
	}
	for first := 0; first < len(lines); first += evidence.SegmentRecords {
		f.put(evidence.RecordsFile(uint64(first)), bytes.Join(lines[first:min(first+evidence.SegmentRecords, len(lines))], nil))
	}
	var tree evidence.Tree
	var entries, hashes [][]byte
	for _, line := range lines {
		tree.Add(leafOf(line))
		entries = append(entries, append([]byte{0, 32}, leafOf(line)...))
		h := tlog.RecordHash(leafOf(line))
		hashes = append(hashes, h[:])
	}
	f.put("log/.state/treeState", fmt.Appendf(nil, `{"size":%d,"root":%q}`, tree.Size(), tree.Root()))
	f.tiles("entries", entries)
	for level := 0; len(hashes) > 0; level++ {
		f.tiles(fmt.Sprint(level), hashes)
		var above [][]byte
		for n := 0; n+256 <= len(hashes); n += 256 {
			part := slices.Clone(hashes[n : n+256])
			for ; len(part) > 1; part = part[:len(part)/2] {
				for i := range len(part) / 2 {
					h := tlog.NodeHash(tlog.Hash(part[2*i]), tlog.Hash(part[2*i+1]))
					part[i] = h[:]
				}
			}
			above = append(above, part[0])
		}
		hashes = above
	}
}

func (f folder) tiles(level string, all [][]byte) {
	for n := 0; n < len(all); n += 256 {
		part := all[n:min(n+256, len(all))]
		name := fmt.Sprintf("log/tile/%s/%03d", level, n/256)
		if len(part) < 256 {
			name += fmt.Sprintf(".p/%d", len(part))
		}
		f.put(name, bytes.Join(part, nil))
	}
}

// headOf is the signed head of the first n lines.
func headOf(t testing.TB, k key, origin string, lines [][]byte, n int) []byte {
	t.Helper()
	var tree evidence.Tree
	for _, line := range lines[:n] {
		tree.Add(leafOf(line))
	}
	return signedNote(t, k, origin, fmt.Sprintf("%s\n%d\n%s\n", origin, n, tree.Root()))
}

func signedNote(t testing.TB, k key, origin, text string) []byte {
	t.Helper()
	raw, err := note.Sign(&note.Note{Text: text}, noteSigner{k.public(t).Checkpoints(origin), k})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type noteSigner struct {
	note.Verifier
	key key
}

func (s noteSigner) Sign(message []byte) ([]byte, error) {
	return s.key.Sign(context.Background(), message)
}

// insider is somebody who holds the key: everything is written and signed anew over other records, as if they were true.
type insider struct {
	key
	// seal changes what the seal says, files what is in the folder before it is listed, list how it is listed; population is
	// where the head of the population is signed, if not right after it.
	seal       func(*evidence.Seal)
	files      func(folder)
	list       func([]byte) []byte
	population int
}

func (in insider) resign(t testing.TB, f folder, records []evidence.Record) folder {
	t.Helper()
	f = f.clone()
	lines := chained(t, records)
	f.relog(lines)
	origin := f.producer(t).Origin
	f.put(evidence.CheckpointFile, headOf(t, in.key, origin, lines, len(lines)))
	if in.files != nil {
		in.files(f)
	}
	if f[evidence.SealDir(1)+"/"+evidence.SealStatement] == nil {
		return f
	}
	seal := f.seal(t)
	head, err := evidence.OpenCheckpoint(f[evidence.CheckpointFile].Data, in.public(t), origin)
	if err != nil {
		t.Fatal(err)
	}
	seal.Size, seal.Root = head.Size, head.Root
	at := in.population
	for n := range records {
		if p := records[n].Population; p != nil {
			seal.Population = p
			if at == 0 {
				at = n + 1
			}
		}
	}
	if in.seal != nil {
		in.seal(&seal)
	}
	dir := evidence.SealDir(1) + "/"
	f.put(dir+evidence.SealCheckpoint, f[evidence.CheckpointFile].Data)
	f.put(dir+evidence.SealPopulation, headOf(t, in.key, origin, lines, at))
	f.put(dir+evidence.SealFiles, f.listed(t))
	if in.list != nil {
		f.edit(dir+evidence.SealFiles, in.list)
	}
	f.put(dir+evidence.SealStatement, bundleOf(t, in.key, statementOf(t, f[dir+evidence.SealFiles].Data, seal)))
	return f
}

// seal is what the first seal says.
func (f folder) seal(t testing.TB) (s evidence.Seal) {
	t.Helper()
	if err := json.Unmarshal(f.statement(t), &evidence.Statement{Predicate: &s}); err != nil {
		t.Fatal(err)
	}
	return s
}

// statement is what the first seal signs.
func (f folder) statement(t testing.TB) []byte {
	t.Helper()
	var b struct{ DSSEEnvelope struct{ Payload []byte } }
	if err := json.Unmarshal(f[evidence.SealDir(1)+"/"+evidence.SealStatement].Data, &b); err != nil {
		t.Fatal(err)
	}
	return b.DSSEEnvelope.Payload
}

func statementOf(t testing.TB, files []byte, predicate any) []byte {
	t.Helper()
	sum := sha256.Sum256(files)
	return encoded(t, evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.SealType, Predicate: predicate,
		Subject: []evidence.StatementSubject{{Name: evidence.SealFiles, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}}})
}

// listed is the list of files for the folder's first seal.
func (f folder) listed(t testing.TB) []byte {
	t.Helper()
	l := evidence.FileList{}
	for _, name := range f.names() {
		if !strings.HasPrefix(name, evidence.SealDir(1)+"/") {
			l.Files = append(l.Files, evidence.File{Path: name, Size: int64(len(f[name].Data)), Digest: evidence.DigestOf(f[name].Data)})
		}
	}
	return append(encoded(t, l), '\n')
}

// unsealed is the folder as it lies before anything was sealed.
func (f folder) unsealed() folder {
	f = f.clone()
	for name := range f {
		if strings.HasPrefix(name, evidence.SealsDir+"/") {
			delete(f, name)
		}
	}
	return f
}

// refused demands exit code 4 with a problem of the code, whose text says what.
func refused(t *testing.T, v *evidence.Verified, code, what string) {
	t.Helper()
	if v.ExitCode() != evidence.ExitUnverified {
		t.Fatalf("exit code %d, want %d; holes %v", v.ExitCode(), evidence.ExitUnverified, v.Holes)
	}
	tells(t, v.Problems, code, what)
}

func tells(t *testing.T, all []evidence.Problem, code, what string) {
	t.Helper()
	if !slices.ContainsFunc(all, func(p evidence.Problem) bool { return p.Code == code && strings.Contains(p.String(), what) }) {
		t.Errorf("no %q that says %q among:", code, what)
		for _, p := range all {
			t.Errorf("  %s: %s", p.Code, p)
		}
	}
}
