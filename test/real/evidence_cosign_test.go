//go:build unix

package real

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
)

// offline is an environment in which cosign reaches nobody: it has no cache of roots, and its proxy is a port nobody listens on.
func offline(t *testing.T) []string {
	t.Helper()
	return []string{"HOME=" + t.TempDir(), "TUF_ROOT=" + t.TempDir(), "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=", "COSIGN_PASSWORD=real"}
}

// attested are the files that a stranger has: what is vouched for, and what says so.
type attested struct{ public, bundle, root, subject, kind string }

func attest(t *testing.T, k *cosign.Key) attested {
	t.Helper()
	dir := t.TempDir()
	a := attested{public: filepath.Join(dir, evidence.KeyFile), bundle: filepath.Join(dir, evidence.SealStatement), root: filepath.Join(dir, evidence.TrustedRootFile),
		subject: filepath.Join(dir, evidence.SealFiles), kind: evidence.SealType}
	subject := []byte(`{"files":[]}` + "\n")
	statement, err := evidence.Encode(evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.SealType, Predicate: map[string]any{"text": "<&>"},
		Subject: []evidence.StatementSubject{{Name: evidence.SealFiles, Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(subject))}}}})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := k.Statement(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	put(t, a.public, k.PEM())
	put(t, a.bundle, bundle)
	put(t, a.root, []byte(evidence.TrustedRoot))
	put(t, a.subject, subject)
	return a
}

func put(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// verify is what the stock cosign says, on one command line for both of its versions, and whether it said so with exit code 0.
func (a attested) verify(t *testing.T, bin string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, "verify-blob-attestation", "--key", a.public, "--bundle", a.bundle, "--new-bundle-format",
		"--insecure-ignore-tlog", "--trusted-root", a.root, "--type", a.kind, a.subject)
	cmd.Env = append(os.Environ(), offline(t)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// altered is the bundle with a change to it.
func (a attested) altered(t *testing.T, change func(envelope map[string]any)) attested {
	t.Helper()
	text, err := os.ReadFile(a.bundle)
	if err != nil {
		t.Fatal(err)
	}
	var bundle map[string]any
	if err := json.Unmarshal(text, &bundle); err != nil {
		t.Fatal(err)
	}
	change(bundle["dsseEnvelope"].(map[string]any))
	if text, err = json.Marshal(bundle); err != nil {
		t.Fatal(err)
	}
	a.bundle = filepath.Join(t.TempDir(), "altered.sigstore.json")
	put(t, a.bundle, text)
	return a
}

// keys are the paths of keys that sign evidence, by who made them.
func keys(t *testing.T) map[string]string {
	t.Helper()
	t.Setenv("COSIGN_PASSWORD", "real")
	dir := t.TempDir()
	ours, err := cosign.Generate(filepath.Join(dir, "ours"))
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{"ours": ours}
	for _, name := range []string{"cosign2", "cosign3"} {
		prefix := filepath.Join(dir, name)
		run(t, offline(t), "", tool(t, name), "generate-key-pair", "--output-key-prefix", prefix)
		made[name] = prefix + ".key"
	}
	// cosign makes no Ed25519 key, and imports one.
	pkcs8, prefix := filepath.Join(dir, "pkcs8.pem"), filepath.Join(dir, "imported")
	run(t, nil, "", "openssl", "genpkey", "-algorithm", "ed25519", "-out", pkcs8)
	run(t, offline(t), "", tool(t, "cosign2"), "import-key-pair", "--key", pkcs8, "--output-key-prefix", prefix, "--yes")
	made["Ed25519"] = prefix + ".key"
	return made
}

// A statement signed by our room is taken by the stock cosign, old and new, offline, and its twins with one thing wrong are not.
func TestRealCosignVerifies(t *testing.T) {
	bins := map[string]string{"cosign2": tool(t, "cosign2"), "cosign3": tool(t, "cosign3")}
	all := keys(t)
	const threshold = "accepted signatures do not match threshold"
	for from, ref := range all {
		k, err := cosign.Open(t.Context(), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		published, err := os.ReadFile(strings.TrimSuffix(ref, ".key") + ".pub")
		if err != nil || !bytes.Equal(published, k.PEM()) {
			t.Errorf("key of %s: public key is\n%s, its maker says\n%s, %v", from, k.PEM(), published, err)
		}
		a := attest(t, k)
		otherSubject, otherKind, otherKey := a, a, a
		otherSubject.subject = filepath.Join(t.TempDir(), evidence.SealFiles)
		put(t, otherSubject.subject, []byte(`{"files":[{}]}`+"\n"))
		otherKind.kind = evidence.ExportType
		otherKey.public = filepath.Join(t.TempDir(), evidence.KeyFile)
		stranger, err := cosign.Generate(filepath.Join(t.TempDir(), "stranger"))
		if err != nil {
			t.Fatal(err)
		}
		otherKey.public = strings.TrimSuffix(stranger, ".key") + ".pub"
		cases := map[string]struct {
			a    attested
			want string // empty: verified
		}{
			"as it is":        {a: a},
			"another subject": {otherSubject, "provided artifact digest"},
			"another type":    {otherKind, "invalid predicate type"},
			"another key":     {otherKey, threshold},
			"altered payload": {a.altered(t, func(e map[string]any) {
				text, err := base64.StdEncoding.DecodeString(e["payload"].(string))
				if err != nil {
					t.Fatal(err)
				}
				e["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(text, []byte("text"), []byte("test"), 1))
			}), threshold},
			"altered payload type": {a.altered(t, func(e map[string]any) { e["payloadType"] = "application/json" }), threshold},
			"altered signature": {a.altered(t, func(e map[string]any) {
				s := e["signatures"].([]any)[0].(map[string]any)
				sig, err := base64.StdEncoding.DecodeString(s["sig"].(string))
				if err != nil {
					t.Fatal(err)
				}
				sig[len(sig)-1] ^= 1
				s["sig"] = base64.StdEncoding.EncodeToString(sig)
			}), threshold},
			"empty signature": {a.altered(t, func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": ""}} }), threshold},
			"no signature":    {a.altered(t, func(e map[string]any) { e["signatures"] = []any{} }), "exactly one signature is required"},
		}
		for by, bin := range bins {
			for name, c := range cases {
				t.Run(fmt.Sprintf("%s/%s/%s", from, by, name), func(t *testing.T) {
					out, err := c.a.verify(t, bin)
					switch {
					case c.want == "" && (err != nil || !strings.Contains(out, "Verified OK")):
						t.Errorf("refused: %v\n%s", err, out)
					case c.want != "" && (err == nil || !strings.Contains(out, c.want) || strings.Contains(out, "Verified OK")):
						t.Errorf("want refused with %q: %v\n%s", c.want, err, out)
					}
				})
			}
		}
	}
}

// Who has openssl needs neither us nor Sigstore: the signature is over the DSSE encoding of the payload.
func TestRealCosignOpenSSL(t *testing.T) {
	for from, ref := range keys(t) {
		t.Run(from, func(t *testing.T) {
			k, err := cosign.Open(t.Context(), ref, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := attest(t, k)
			text, err := os.ReadFile(a.bundle)
			if err != nil {
				t.Fatal(err)
			}
			var bundle struct {
				DSSEEnvelope struct {
					Payload     []byte
					PayloadType string
					Signatures  []struct{ Sig []byte }
				}
			}
			if err := json.Unmarshal(text, &bundle); err != nil {
				t.Fatal(err)
			}
			e := bundle.DSSEEnvelope
			signed, sig := filepath.Join(t.TempDir(), "signed"), filepath.Join(t.TempDir(), "sig")
			put(t, sig, e.Signatures[0].Sig)
			check := func(payload []byte) error {
				put(t, signed, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(payload), payload))
				args := []string{"dgst", "-sha256", "-verify", a.public, "-signature", sig, signed}
				if _, ok := k.Public().(ed25519.PublicKey); ok {
					args = []string{"pkeyutl", "-verify", "-pubin", "-inkey", a.public, "-rawin", "-sigfile", sig, "-in", signed}
				}
				return exec.CommandContext(t.Context(), "openssl", args...).Run()
			}
			if err := check(e.Payload); err != nil {
				t.Errorf("openssl refuses the signature: %v", err)
			}
			e.Payload[len(e.Payload)-2] ^= 1
			if check(e.Payload) == nil {
				t.Error("openssl takes the signature over an altered payload")
			}
		})
	}
}

// A key that Proviso made without asking is cosign's, too, with the password that lies beside it.
func TestRealCosignSigns(t *testing.T) {
	two, three := tool(t, "cosign2"), tool(t, "cosign3")
	t.Setenv("COSIGN_PASSWORD", "")
	ref, err := cosign.Generate(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(filepath.Join(filepath.Dir(ref), cosign.PasswordFile))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	subject, bundle, root := filepath.Join(dir, "subject"), filepath.Join(dir, "bundle"), filepath.Join(dir, "root")
	put(t, subject, []byte("signed by cosign"))
	put(t, root, []byte(evidence.TrustedRoot))
	run(t, append(offline(t), "COSIGN_PASSWORD="+string(password)), "", two, "sign-blob", "--key", ref, "--new-bundle-format", "--bundle", bundle, "--tlog-upload=false", "--yes", subject)
	run(t, offline(t), "", three, "verify-blob", "--key", strings.TrimSuffix(ref, ".key")+".pub", "--bundle", bundle, "--insecure-ignore-tlog", "--trusted-root", root, subject)
}

// A key that cosign keeps in a Secret of a real API server.
func TestRealCosignSecret(t *testing.T) {
	c := liveCluster(t)
	c.kubectl(t, "", "create", "namespace", "evidence-key")
	const ref = "k8s://evidence-key/proviso"
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), tool(t, "cosign2"), "generate-key-pair", ref)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "COSIGN_PASSWORD=real", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cosign generate-key-pair %s: %v\n%s", ref, err, out)
	}
	t.Setenv("KUBECONFIG", c.kubeconfig)
	k, err := cosign.Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if public, err := os.ReadFile(filepath.Join(dir, cosign.PublicFile)); err != nil || !bytes.Equal(public, k.PEM()) {
		t.Errorf("public key is\n%s, cosign says\n%s, %v", k.PEM(), public, err)
	}
	if out, err := attest(t, k).verify(t, tool(t, "cosign3")); err != nil {
		t.Errorf("refused: %v\n%s", err, out)
	}
	if _, err := cosign.Open(t.Context(), "k8s://evidence-key/none", nil); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("open a Secret that is not there: %v", err)
	}
	// The three files of a key that Proviso made are the entries of such a Secret.
	t.Setenv("COSIGN_PASSWORD", "")
	ours, err := cosign.Generate(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "", "create", "secret", "generic", "ours", "-n", "evidence-key", "--from-file="+filepath.Dir(ours))
	k, err = cosign.Open(t.Context(), "k8s://evidence-key/ours", nil)
	if err != nil {
		t.Fatal(err)
	}
	if public, err := os.ReadFile(filepath.Join(filepath.Dir(ours), cosign.PublicFile)); err != nil || !bytes.Equal(public, k.PEM()) {
		t.Errorf("public key is\n%s, we made\n%s, %v", k.PEM(), public, err)
	}
}
