//go:build unix

package producer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// key signs as cosign's keys do.
type key struct{ crypto.Signer }

func (k key) Public() crypto.PublicKey { return k.Signer.Public() }

func (k key) Sign(_ context.Context, message []byte) ([]byte, error) {
	if _, ok := k.Signer.(ed25519.PrivateKey); ok {
		return k.Signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return k.Signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func newKey(t testing.TB) key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k}
}

func scan(k producer.Signer) producer.Options {
	return producer.Options{Signer: k, Kind: "scan", Run: "run-1", Engine: evidence.Engine{Version: "test"}}
}

func open(t testing.TB, dir string, o producer.Options) *producer.Writer {
	t.Helper()
	if o.OnTrouble == nil {
		o.OnTrouble = func(err error) { t.Errorf("trouble: %v", err) }
	}
	w, err := producer.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background(), "test ended") })
	return w
}

func input(n int) evidence.Input {
	return evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: fmt.Sprint("c", n), Object: map[string]any{"n": fmt.Sprint(n)}}
}

func decision(t testing.TB, n int) (evidence.Record, evidence.Input) {
	t.Helper()
	in := input(n)
	raw, err := evidence.Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	return evidence.Record{Decision: &evidence.Decision{Event: fmt.Sprint(n), Source: "scan", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, Input: evidence.DigestOf(raw),
		Results: []evidence.Result{{Policy: "a/b", Verdict: "fail"}}}}, in
}

func appended(t testing.TB, w *producer.Writer, rec evidence.Record, keep ...any) producer.Appended {
	t.Helper()
	a, err := w.Append(t.Context(), rec, keep...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// activate puts policies into force, as every run does before it judges.
func activate(t testing.TB, w *producer.Writer) uint64 {
	t.Helper()
	pack, err := w.Object(strings.NewReader("the policies"))
	if err != nil {
		t.Fatal(err)
	}
	return appended(t, w, evidence.Record{Activation: &evidence.Activation{PolicySet: pack, Pack: pack, Mode: "warn", Unknown: "warn"}}).Seq
}

// verified is what a reader says of the folder; there must be no problem.
func verified(t testing.TB, dir string) *evidence.Verified {
	t.Helper()
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Errorf("verify: %s: %s", p.Code, p)
	}
	return v
}

// wrapped makes of a statement the bundle the stock cosign reads.
func wrapped(k key) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, statement []byte) ([]byte, error) {
		return bundleOf(ctx, k, statement)
	}
}

func TestScan(t *testing.T) {
	ed, err := ed25519Key()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]key{"ecdsa": newKey(t), "ed25519": ed} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := open(t, dir, scan(k))
			seq := activate(t, w)
			var list bytes.Buffer
			var tree evidence.Tree
			for n := range 300 {
				rec, in := decision(t, n)
				if err := w.Keep(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				line, err := evidence.Encode(evidence.Item{N: n, Subject: &rec.Decision.Subject, Input: rec.Decision.Input})
				if err != nil {
					t.Fatal(err)
				}
				tree.Add(line)
				list.Write(append(line, '\n'))
			}
			object, err := w.Object(&list)
			if err != nil {
				t.Fatal(err)
			}
			population := &evidence.Population{Items: 300, Root: tree.Root(), List: object}
			appended(t, w, evidence.Record{Population: population})
			before, err := w.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(dir + "/objects/" + string(object)[len("sha256:"):])
			if err != nil || evidence.DigestOf(raw) != object {
				t.Fatalf("object: %v", err)
			}
			pack := evidence.DigestOf([]byte("the policies"))
			for n := range 300 {
				rec, _ := decision(t, n)
				rec.Decision.Activation, rec.Decision.PolicySet = seq, pack
				if a := appended(t, w, rec); a.Seq != uint64(n)+3 {
					t.Fatalf("item %d is record %d", n, a.Seq)
				}
			}
			appended(t, w, evidence.Record{Close: &evidence.Close{Reason: "done"}})
			if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "late"}}); err != producer.ErrClosed {
				t.Errorf("append after Close: %v", err)
			}
			if err := w.Seal(t.Context(), evidence.Seal{Population: population, Complete: true}, before, wrapped(k)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(t.Context(), "done"); err != nil {
				t.Fatal(err)
			}
			v := verified(t, dir)
			if len(v.Holes) > 0 {
				t.Errorf("holes: %v", v.Holes)
			}
			if v.Records != 304 || v.Head.Size != 304 || v.Seals != 1 || v.Counts.Fail != 300 || v.Unsigned != 0 {
				t.Errorf("verified: %+v", v)
			}
		})
	}
}

// A value is kept once, however many records rest on it, and however it came.
func TestKeptOnce(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, serving(newKey(t), producer.Strict))
	seq := activate(t, w)
	rec, in := decision(t, 1)
	rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
	if err := w.Keep(t.Context(), in, in); err != nil {
		t.Fatal(err)
	}
	appended(t, w, rec, in, in)
	appended(t, w, rec, "another")
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	raw, err := os.ReadFile(dir + "/inputs/0000000000.jsonl")
	if err != nil || bytes.Count(raw, []byte("\n")) != 2 {
		t.Errorf("%v: %s", err, raw)
	}
}

// Records go on in the next file, and what they rest on beside them.
func TestSegments(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	judge(t, w, evidence.SegmentRecords+100)
	dead := killed(t, dir)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, dead} {
		w := open(t, dir, serving(k, producer.Strict))
		judge(t, w, evidence.SegmentRecords)
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
		verified(t, dir)
		for _, kind := range []string{"records", "inputs"} {
			if names, err := filepath.Glob(dir + "/" + kind + "/*"); err != nil || len(names) != 3 {
				t.Errorf("%v %v", names, err)
			}
		}
	}
}

// The files of a folder at rest are always the same: a seal lists them all, and none comes after it.
func TestAtRest(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	w := open(t, dir, serving(k, producer.Strict))
	if _, err := os.Stat(dir + "/log/.state/publish.lock"); err != nil {
		t.Errorf("Tessera will make it at some time: %v", err)
	}
	judge(t, w, 10)
	appended(t, w, evidence.Record{Close: &evidence.Close{Reason: "stopped"}})
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	if v := verified(t, dir); len(v.Holes) > 0 {
		t.Errorf("%v", v.Holes)
	}
	for _, name := range []string{"log/.state/publish.lock", "log/.state/treeState.lock", "lock", "salt"} {
		if !strings.Contains(before, name+" ") {
			t.Errorf("no %s among\n%s", name, before)
		}
	}
	if info, err := os.Stat(dir + "/lock"); err != nil || info.Size() > 0 {
		t.Errorf("lock: %v %v", info, err)
	}
	if info, err := os.Stat(dir + "/salt"); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("salt: %v %v", info, err)
	}
	if len(w.Salt()) != 32 {
		t.Errorf("%d bytes of salt", len(w.Salt()))
	}
}

// A folder may be named as half made files are.
func TestFolderNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence.tmp")
	k := newKey(t)
	for range 2 {
		w := open(t, dir, serving(k, producer.Strict))
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
	}
	if v := verified(t, dir); len(v.Runs) != 2 {
		t.Errorf("%d runs", len(v.Runs))
	}
}

// Many at once, in their order, and each is waited for on its own.
func TestEnqueue(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, serving(newKey(t), producer.Strict))
	var waits []func() error
	for n := range 500 {
		durable, err := w.Enqueue(t.Context(), evidence.Record{Change: &evidence.Change{What: fmt.Sprint(n)}}, n)
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, durable)
	}
	for _, durable := range waits {
		if err := durable(); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := records(t, dir)
	for n, r := range all[1:] {
		if r.Change.What != fmt.Sprint(n) {
			t.Fatalf("record %d is %s", n+1, r.Change.What)
		}
	}
	if _, err := w.Enqueue(t.Context(), evidence.Record{}); err == nil {
		t.Error("a record without a part was taken")
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Enqueue(t.Context(), evidence.Record{Change: &evidence.Change{}}); err != producer.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	verified(t, dir)
}
