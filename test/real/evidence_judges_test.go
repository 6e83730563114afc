//go:build unix

package real

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
)

const judgedManifests = `apiVersion: velero.io/v1
kind: Schedule
metadata: {name: orders-%d, namespace: velero}
spec:
  schedule: "0 2 * * *"
  template: {includedNamespaces: [orders], storageLocation: primary, ttl: 1080h0m0s}
---
`

// recorded is a folder of evidence that the command wrote: two scans of some hundred objects, so that the log has tiles of two levels.
func recorded(t *testing.T) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	var text strings.Builder
	for n := range 300 {
		fmt.Fprintf(&text, judgedManifests, n)
	}
	manifests := filepath.Join(work, "schedules.yaml")
	put(t, manifests, []byte(text.String()))
	dir := filepath.Join(work, "evidence")
	for range 2 {
		cmd := exec.CommandContext(t.Context(), bin, "scan", manifests, "--evidence", dir, "--now", "2026-11-22T12:00:00Z")
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(work, "config"), "HOME="+work)
		// Facts are missing, and that is the scan's exit code.
		exit, out := (*exec.ExitError)(nil), []byte(nil)
		if out, err = cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Fatalf("scan: %v\n%s", err, out)
		}
	}
	run(t, nil, "", bin, "evidence", "verify", dir, "--trust", filepath.Join(dir, evidence.KeyFile))
	return dir
}

// twin is a copy of a folder with a bit of a file flipped.
func twin(t *testing.T, dir, name string, at int) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "twin")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(copied, name))
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(text)
	}
	text[at] ^= 1
	if err := os.Chmod(filepath.Join(copied, name), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(copied, name), text)
	return copied
}

// The seal of a scan is an attestation that the stock cosign takes, old and new, offline; a twin with one bit flipped it does not.
func TestRealEvidenceCosign(t *testing.T) {
	bins := []string{tool(t, "cosign2"), tool(t, "cosign3")}
	dir := recorded(t)
	for n := 1; n <= 2; n++ {
		sealed := func(dir string) attested {
			seal := filepath.Join(dir, filepath.FromSlash(evidence.SealDir(n)))
			return attested{public: filepath.Join(dir, evidence.KeyFile), bundle: filepath.Join(seal, evidence.SealStatement), root: filepath.Join(dir, evidence.TrustedRootFile),
				subject: filepath.Join(seal, evidence.SealFiles), kind: evidence.SealType}
		}
		for _, bin := range bins {
			if out, err := sealed(dir).verify(t, bin); err != nil || !strings.Contains(out, "Verified OK") {
				t.Errorf("seal %d: %s refuses it: %v\n%s", n, filepath.Base(bin), err, out)
			}
			for _, file := range []string{evidence.SealFiles, evidence.SealStatement} {
				name := evidence.SealDir(n) + "/" + file
				if out, err := sealed(twin(t, dir, name, 200)).verify(t, bin); err == nil || strings.Contains(out, "Verified OK") {
					t.Errorf("%s with a bit flipped: %s takes it\n%s", name, filepath.Base(bin), out)
				}
			}
		}
	}
}

// Tessera's fsck reads the log as any tlog-tiles, by the key that producer.json names.
func TestRealEvidenceFsck(t *testing.T) {
	bin := tool(t, "fsck")
	dir := recorded(t)
	// Its exit code is 0 whatever it finds: what it prints tells.
	check := func(dir string, within time.Duration) (out string, taken bool) {
		raw, err := os.ReadFile(filepath.Join(dir, evidence.ProducerFile))
		if err != nil {
			t.Fatal(err)
		}
		var p evidence.Producer
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		public := filepath.Join(t.TempDir(), "log.pub")
		put(t, public, []byte(p.Key+"\n"))
		// Of some logs that are damaged it says nothing, and waits for ever.
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		said, err := exec.CommandContext(ctx, bin, "--storage_url=file://"+filepath.Join(dir, evidence.LogDir)+"/", "--public_key="+public, "--ui=false").CombinedOutput()
		switch {
		case ctx.Err() != nil:
			return "it does not end", false
		case err != nil:
			t.Fatalf("run fsck: %v\n%s", err, said)
		}
		taken = bytes.Contains(said, []byte("Successfully fsck'd log"))
		if taken == bytes.Contains(said, []byte("fsck failed")) {
			t.Fatalf("fsck does not say what it found:\n%s", said)
		}
		return string(said), taken
	}
	if out, taken := check(dir, time.Minute); !taken {
		t.Errorf("fsck refuses the log\n%s", out)
	}
	for name, at := range map[string]int{evidence.CheckpointFile: -3, "log/tile/entries/000": 50, "log/tile/entries/001": 5000, "log/tile/0/000": 100, "log/tile/1/000.p/2": 3} {
		if out, taken := check(twin(t, dir, name, at), 5*time.Second); taken {
			t.Errorf("fsck takes %s with a bit flipped\n%s", name, out)
		}
	}
	shorter := twin(t, dir, evidence.SaltFile, 0) // which is none of the log
	if err := os.Remove(filepath.Join(shorter, "log/tile/entries/000")); err != nil {
		t.Fatal(err)
	}
	if out, taken := check(shorter, 5*time.Second); taken {
		t.Errorf("fsck takes a log without its first entries\n%s", out)
	}
}

// openssl takes the signature of the seal over the DSSE encoding, and that of the checkpoint over its text.
func TestRealEvidenceOpenSSL(t *testing.T) {
	tool(t, "fsck") // the suite runs where real tools were asked for
	dir := recorded(t)
	check := func(message, signature []byte) error {
		scratch := t.TempDir()
		put(t, filepath.Join(scratch, "message"), message)
		put(t, filepath.Join(scratch, "signature"), signature)
		return exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-verify", filepath.Join(dir, evidence.KeyFile), "-signature", filepath.Join(scratch, "signature"), filepath.Join(scratch, "message")).Run()
	}
	raw, err := os.ReadFile(filepath.Join(dir, evidence.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	text, sigs, _ := bytes.Cut(raw, []byte("\n\n"))
	words := strings.Fields(string(sigs))
	sig, err := base64.StdEncoding.DecodeString(words[len(words)-1])
	if err != nil {
		t.Fatal(err)
	}
	signed := map[string][2][]byte{"the checkpoint": {append(text, '\n'), sig[4:]}}
	var bundle struct {
		DSSEEnvelope struct {
			Payload     []byte
			PayloadType string
			Signatures  []struct{ Sig []byte }
		}
	}
	if raw, err = os.ReadFile(filepath.Join(dir, evidence.SealDir(2), evidence.SealStatement)); err == nil {
		err = json.Unmarshal(raw, &bundle)
	}
	if err != nil {
		t.Fatal(err)
	}
	e := bundle.DSSEEnvelope
	signed["the seal"] = [2][]byte{fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(e.Payload), e.Payload), e.Signatures[0].Sig}
	for what, s := range signed {
		if err := check(s[0], s[1]); err != nil {
			t.Errorf("openssl refuses %s: %v", what, err)
		}
		for at := 0; at < len(s[0]); at += 97 {
			other := bytes.Clone(s[0])
			other[at] ^= 1
			if check(other, s[1]) == nil {
				t.Errorf("openssl takes %s with byte %d altered", what, at)
			}
		}
	}
}

// EVD-03: a verifier in another language, which shares no code with ours, agrees with it on what holds, what does not, and on the root.
func TestRealEvidenceSecondVerifier(t *testing.T) {
	tool(t, "fsck") // the suite runs where real tools were asked for
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3: a second verifier is written in it")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := recorded(t)
	check := func(dir string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "python3", "testdata/evidence/verify.py", dir).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	var ours struct{ Head evidence.Checkpoint }
	if err := json.Unmarshal([]byte(run(t, nil, "", bin, "evidence", "verify", dir, "-o", "json")), &ours); err != nil {
		t.Fatal(err)
	}
	if out, err := check(dir); err != nil || out != fmt.Sprintf("%d %s", ours.Head.Size, ours.Head.Root) {
		t.Errorf("it says %q, %v; we say %d %s", out, err, ours.Head.Size, ours.Head.Root)
	}
	seal := evidence.SealDir(2) + "/"
	for name, at := range map[string]int{evidence.RecordsFile(0): 5000, evidence.InputsFile(0): 3000, evidence.CheckpointFile: 40, evidence.SaltFile: 7, evidence.ProducerFile: 100, "log/tile/0/000": 77, "log/tile/entries/001": 78,
		seal + evidence.SealFiles: 300, seal + evidence.SealStatement: 500, seal + evidence.SealCheckpoint: 60, evidence.SealDir(1) + "/" + evidence.SealCheckpoint: 60} {
		altered := twin(t, dir, name, at)
		if out, err := check(altered); err == nil {
			t.Errorf("it takes %s with a bit flipped: %s", name, out)
		}
		exit := (*exec.ExitError)(nil)
		if err := exec.CommandContext(t.Context(), bin, "evidence", "verify", altered).Run(); !errors.As(err, &exit) || exit.ExitCode() != evidence.ExitUnverified {
			t.Errorf("we end with %v on %s with a bit flipped", err, name)
		}
	}
}
