//go:build unix

package real

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// What the child of these suites is told: the folder, its mode, how many records, and by how many at once.
const (
	childFolder = "PROVISO_TEST_EVIDENCE"
	childMode   = "PROVISO_TEST_EVIDENCE_MODE"
	childCount  = "PROVISO_TEST_EVIDENCE_COUNT"
	childAtOnce = "PROVISO_TEST_EVIDENCE_AT_ONCE"
)

// cleanEnd is the exit code of a child that could not write and said so.
const cleanEnd = 3

// evidenceKey is the key of a folder, kept beside it for the children.
type evidenceKey struct{ *ecdsa.PrivateKey }

func (k evidenceKey) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return k.PrivateKey.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k evidenceKey) Public() crypto.PublicKey { return k.PrivateKey.Public() }

func evidenceKeyOf(dir string) (evidenceKey, error) {
	name := filepath.Clean(dir) + ".key"
	der, err := os.ReadFile(name)
	if err == nil {
		k, err := x509.ParseECPrivateKey(der)
		return evidenceKey{k}, err
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		der, err = x509.MarshalECPrivateKey(k)
	}
	if err == nil {
		err = os.WriteFile(name, der, 0o600)
	}
	return evidenceKey{k}, err
}

func openEvidence(dir, mode string, trouble func(error)) (*producer.Writer, error) {
	k, err := evidenceKeyOf(dir)
	if err != nil {
		return nil, err
	}
	return producer.Open(context.Background(), dir, producer.Options{Signer: k, Kind: "admission", Mode: mode, Wait: 300 * time.Millisecond, Run: fmt.Sprint("run of ", os.Getpid()),
		Engine: evidence.Engine{Version: "test"}, OnTrouble: trouble})
}

// judged is a decision and its input.
func judged(n string, activation uint64, pack evidence.Activation) (evidence.Record, evidence.Input) {
	in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: n, Object: map[string]any{"n": n, "text": strings.Repeat("text ", 30)}}
	raw, err := evidence.Encode(in)
	if err != nil {
		panic(err) // strings have an encoding
	}
	return evidence.Record{Decision: &evidence.Decision{Event: n, Source: "admission", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: n}, Input: evidence.DigestOf(raw),
		Activation: activation, PolicySet: pack.PolicySet, Results: []evidence.Result{{Policy: "a/b", Verdict: "pass"}}}}, in
}

// enforce puts policies into force.
func enforce(w *producer.Writer) (uint64, evidence.Activation, error) {
	pack, err := w.Object(strings.NewReader("the policies"))
	if err != nil {
		return 0, evidence.Activation{}, err
	}
	a := evidence.Activation{PolicySet: pack, Pack: pack, Mode: "deny", Unknown: "deny"}
	at, err := w.Append(context.Background(), evidence.Record{Activation: &a})
	return at.Seq, a, err
}

// TestEvidenceChild is the process that the suites below kill and hinder: it appends, and says what was acknowledged.
func TestEvidenceChild(t *testing.T) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		t.Skip("it is a child of the other suites")
	}
	if err := appendAndSay(dir); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(cleanEnd)
	}
}

func appendAndSay(dir string) error {
	w, err := openEvidence(dir, os.Getenv(childMode), func(err error) { fmt.Fprintln(os.Stderr, "child: trouble:", err) })
	if err != nil {
		return err
	}
	fmt.Println("open")
	seq, pack, err := enforce(w)
	if err != nil {
		return errors.Join(err, w.Close(context.Background(), "cannot write"))
	}
	count, _ := strconv.Atoi(os.Getenv(childCount))
	many, _ := strconv.Atoi(os.Getenv(childAtOnce))
	if count < unending {
		if err := sealChild(w, dir, pack); err != nil {
			return errors.Join(err, w.Close(context.Background(), "cannot seal"))
		}
	}
	var all sync.WaitGroup
	for worker := range many {
		all.Go(func() {
			for n := range count {
				rec, in := judged(fmt.Sprint(os.Getpid(), "-", worker, "-", n), seq, pack)
				if a, err := w.Append(context.Background(), rec, in); err == nil {
					fmt.Printf("ack %d %s\n", a.Seq, a.Digest)
				}
			}
		})
	}
	all.Wait()
	return w.Close(context.Background(), "stopped")
}

// unending is a count of a child that is not to end by itself.
const unending = 1 << 20

// sealChild seals what is there so far.
func sealChild(w *producer.Writer, dir string, pack evidence.Activation) error {
	k, err := evidenceKeyOf(dir)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return err
	}
	return w.Seal(context.Background(), evidence.Seal{PolicySet: pack.PolicySet, Pack: pack.Pack}, nil, func(ctx context.Context, statement []byte) ([]byte, error) {
		sig, err := k.Sign(ctx, evidence.PAE(evidence.PayloadType, statement))
		if err != nil {
			return nil, err
		}
		type m = map[string]any
		text, sum := base64.StdEncoding.EncodeToString, sha256.Sum256(der)
		return evidence.Encode(m{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": m{"publicKey": m{"hint": text(sum[:])}},
			"dsseEnvelope": m{"payload": text(statement), "payloadType": evidence.PayloadType, "signatures": []m{{"sig": text(sig)}}}})
	})
}

// child is such a process, under strace where injections are given.
func child(t testing.TB, dir, mode string, count, atOnce int, inject ...string) *exec.Cmd {
	t.Helper()
	args := []string{os.Args[0], "-test.run=^TestEvidenceChild$"}
	if len(inject) > 0 {
		args = append(append([]string{"strace", "-f", "-qqq", "-o", os.DevNull}, inject...), args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childFolder+"="+dir, childMode+"="+mode, childCount+"="+strconv.Itoa(count), childAtOnce+"="+strconv.Itoa(atOnce), "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = withParent()
	return cmd
}

// acks are what a child said was acknowledged, by seq.
func acks(out []byte) map[uint64]string {
	said := map[uint64]string{}
	for line := range strings.Lines(string(out)) {
		var seq uint64
		var digest string
		// What it was cut off in was not said.
		if n, _ := fmt.Sscanf(line, "ack %d %s", &seq, &digest); n == 2 && strings.HasSuffix(line, "\n") {
			said[seq] = digest
		}
	}
	return said
}

// taken opens the folder after a child, closes it, has it verified, and looks for what was acknowledged.
func taken(t testing.TB, dir string, acknowledged map[uint64]string) {
	t.Helper()
	asLeft(t, dir)
	w, err := openEvidence(dir, producer.Strict, func(err error) { t.Errorf("trouble: %v", err) })
	if err != nil {
		t.Fatalf("open after it: %v", err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	found := linesOf(t, dir)
	for seq, digest := range acknowledged {
		if seq >= uint64(len(found)) || found[seq] != digest {
			t.Errorf("record %d was acknowledged as %s and is not there", seq, digest)
		}
	}
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Errorf("verify: %s: %s", p.Code, p)
	}
	if v.Unsigned > 0 || v.Records != uint64(len(found)) {
		t.Errorf("%d of %d records are not signed", v.Unsigned, v.Records)
	}
}

// asLeft verifies a folder as a child left it, before its producer opens it again, or leaves it while it goes on, and counts
// the records: nobody altered anything.
func asLeft(t testing.TB, dir string) (records uint64) {
	t.Helper()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	fsys, closer, err := evidence.OpenPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	v, err := evidence.Verify(fsys, evidence.Options{Now: time.Now()})
	if err != nil && !strings.Contains(err.Error(), "cut off before anything was recorded") {
		t.Errorf("verify as it was left: %v", err)
	}
	if err != nil {
		return 0
	}
	for _, p := range v.Problems {
		t.Errorf("verify as it was left: %s: %s", p.Code, p)
	}
	return v.Records
}

// linesOf are the digests of the records of a folder.
func linesOf(t testing.TB, dir string) (digests []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "records", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			digests = append(digests, string(evidence.DigestOf([]byte(strings.TrimSuffix(line, "\n")))))
		}
	}
	return digests
}
