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
