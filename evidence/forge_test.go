//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// readAt is the reader's clock.
var readAt = time.Now().Add(time.Hour)

// key signs as cosign's keys do.
type key struct{ crypto.Signer }

func (k key) Sign(_ context.Context, message []byte) ([]byte, error) {
	if _, ok := k.Signer.(ed25519.PrivateKey); ok {
		return k.Signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return k.Signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k key) public(t testing.TB) *evidence.Key {
	t.Helper()
	public, err := evidence.NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func newKey(t testing.TB) key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{private}
}

// folder is an evidence folder in memory.
type folder fstest.MapFS

func (f folder) clone() folder { return maps.Clone(f) }

func (f folder) put(name string, text []byte) {
	f[name] = &fstest.MapFile{Data: text, Mode: 0o644}
}

// edit changes the bytes of a file.
func (f folder) edit(name string, change func([]byte) []byte) {
	f.put(name, change(bytes.Clone(f[name].Data)))
}

func (f folder) lines(name string) [][]byte {
	all := bytes.SplitAfter(f[name].Data, []byte("\n"))
	return all[:len(all)-1]
}

func (f folder) names() []string { return slices.Sorted(maps.Keys(f)) }

func (f folder) verify(t testing.TB, o evidence.Options) *evidence.Verified {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = readAt
	}
	v, err := evidence.Verify(fstest.MapFS(f), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sealed demands a folder in which nothing is wrong and nothing missing.
func (f folder) sealed(t testing.TB) folder {
	t.Helper()
	if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitVerified {
		t.Fatalf("the folder to begin with: problems %v, holes %v", v.Problems, v.Holes)
	}
	return f
}

// read takes a folder from disk.
func read(t testing.TB, dir string) folder {
	t.Helper()
	f := folder{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, name)
		f.put(name, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// folderOf is the folder of a scan of items, as the producer writes it.
func folderOf(t testing.TB, k key, cluster string, items int) folder {
	t.Helper()
	dir := t.TempDir()
	scanInto(t, dir, k, cluster, items)
	return read(t, dir)
}

var verdicts = []string{"pass", "fail", "unknown", "notApplicable"}

func scanInto(t testing.TB, dir string, k key, cluster string, items int) {
	t.Helper()
	ctx := t.Context()
	w, err := producer.Open(ctx, dir, producer.Options{Signer: k, Kind: "scan", Run: "scan of " + cluster, Cluster: &evidence.Cluster{UID: cluster}, Engine: evidence.Engine{Version: "test"}, Scope: []string{"manifests"}})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(rec evidence.Record, keep ...any) producer.Appended {
		t.Helper()
		a, err := w.Append(ctx, rec, keep...)
		must(err)
		return a
	}
	pack, err := w.Object(strings.NewReader("the policies of " + cluster))
	must(err)
	policies := evidence.DigestOf([]byte("the set of " + cluster))
	active := add(evidence.Record{Activation: &evidence.Activation{PolicySet: policies, Pack: pack, Policies: 1, Mode: "warn", Unknown: "warn"}})
	var list bytes.Buffer
	var tree evidence.Tree
	var decisions []evidence.Record
	for n := range items {
		in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: fmt.Sprint("c", n), Object: map[string]any{"of": cluster, "n": fmt.Sprint(n)}}
		raw, err := evidence.Encode(in)
		must(err)
		must(w.Keep(ctx, in))
		item := evidence.Item{N: n, Subject: &evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, Input: evidence.DigestOf(raw)}
		line, err := evidence.Encode(item)
		must(err)
		tree.Add(line)
		list.Write(append(line, '\n'))
		decisions = append(decisions, evidence.Record{Decision: &evidence.Decision{Event: fmt.Sprint(n), Source: "scan", Subject: *item.Subject, Now: readAt.UTC(), Input: item.Input, Activation: active.Seq, PolicySet: policies,
			Results: []evidence.Result{{Policy: "a/b", Digest: policies, Severity: "high", Verdict: verdicts[n%len(verdicts)], Effect: "warn"}}}})
	}
	object, err := w.Object(&list)
	must(err)
	population := &evidence.Population{Items: items, Root: tree.Root(), List: object}
	add(evidence.Record{Population: population})
	before, err := w.Checkpoint(ctx)
	must(err)
	for n, rec := range decisions {
		fact := map[string]any{"fact of": cluster, "n": fmt.Sprint(n)}
		raw, err := evidence.Encode(fact)
		must(err)
		rec.Decision.Facts = []evidence.Fact{{Query: evidence.Query{Kind: "Namespace"}, State: "found", Value: evidence.DigestOf(raw)}}
		add(rec, fact)
	}
	add(evidence.Record{Close: &evidence.Close{Reason: "done"}})
	must(w.Seal(ctx, evidence.Seal{Population: population, PolicySet: policies, Pack: pack, Complete: true}, before, func(_ context.Context, statement []byte) ([]byte, error) {
		return bundleOf(t, k, statement), nil
	}))
	must(w.Close(ctx, "done"))
}

// bundleOf is a Sigstore bundle over a statement, as evidence/cosign makes it.
func bundleOf(t testing.TB, k key, statement []byte) []byte {
	t.Helper()
	return wrap(t, k, evidence.PayloadType, statement, 1)
}

func wrap(t testing.TB, k key, payloadType string, statement []byte, signatures int) []byte {
	t.Helper()
	type m = map[string]any
	text := base64.StdEncoding.EncodeToString
	sigs := []m{}
	for range signatures {
		sig, err := k.Sign(t.Context(), evidence.PAE(payloadType, statement))
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, m{"sig": text(sig)})
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return encoded(t, m{
		"dsseEnvelope":         m{"payload": text(statement), "payloadType": payloadType, "signatures": sigs},
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": m{"publicKey": m{"hint": text(sum[:])}},
	})
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := evidence.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// one is a scan of four items, and its key; tests that alter it clone it.
var one = struct {
	sync.Once
	folder
	key
}{}

func scan(t testing.TB) (folder, key) {
	t.Helper()
	one.Do(func() {
		one.key = newKey(t)
		one.folder = folderOf(t, one.key, "cluster-a", 4)
	})
	return one.folder.clone().sealed(t), one.key
}

// records are the records of a folder's first file.
func (f folder) records(t testing.TB) (all []evidence.Record) {
	t.Helper()
	for _, line := range f.lines(evidence.RecordsFile(0)) {
		var r evidence.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (f folder) producer(t testing.TB) (p evidence.Producer) {
	t.Helper()
	if err := json.Unmarshal(f[evidence.ProducerFile].Data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

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

// relog writes the records and the tiles of the log over them, with nothing signed.
func (f folder) relog(lines [][]byte) {
	for name := range f {
		if strings.HasPrefix(name, "log/tile/") || strings.HasPrefix(name, "records/") {
			delete(f, name)
		}
	}
	for first := 0; first < len(lines); first += evidence.SegmentRecords {
		f.put(evidence.RecordsFile(uint64(first)), bytes.Join(lines[first:min(first+evidence.SegmentRecords, len(lines))], nil))
	}
	var entries, hashes [][]byte
	for _, line := range lines {
		entries = append(entries, append([]byte{0, 32}, leafOf(line)...))
		h := tlog.RecordHash(leafOf(line))
		hashes = append(hashes, h[:])
	}
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
	// seal changes what the seal says, files what is in the folder before it is listed; population is where the head of the
	// population is signed, if not right after it.
	seal       func(*evidence.Seal)
	files      func(folder)
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
