package cosign

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// The bytes of a bundle are a contract: whoever verifies a folder encodes it again and wants the same.
func TestStatementBytes(t *testing.T) {
	k, err := Open(t.Context(), made(t, p256), says("right"))
	if err != nil {
		t.Fatal(err)
	}
	statement := []byte("{ \"b\":1,\"a\":\"<&>\\u003c\",\n\"a\":2 } \n")
	got, err := k.Statement(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		DSSEEnvelope struct{ Signatures []struct{ Sig []byte } }
	}
	if err := json.Unmarshal(got, &read); err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(k.PEM())
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		t.Fatalf("public key is %s", k.PEM())
	}
	if public, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil || !public.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
		t.Errorf("PEM holds %v, %v, not the public key", public, err)
	}
	sum := sha256.Sum256(block.Bytes)
	base64 := base64.StdEncoding.EncodeToString
	want := fmt.Sprintf(`{"dsseEnvelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q}]},`+
		`"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":%q}}}`,
		base64(statement), base64(read.DSSEEnvelope.Signatures[0].Sig), base64(sum[:]))
	if string(got) != want {
		t.Errorf("bundle is\n%s, want\n%s", got, want)
	}
	signed := fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(statement), statement)
	if !good(t, k, []byte(signed), read.DSSEEnvelope.Signatures[0].Sig) {
		t.Error("the signature is not over the DSSE encoding of the payload as it was given")
	}
}

// Sigstore's own library, offline and without a log, takes what was signed and nothing else.
func TestStatementVerifies(t *testing.T) {
	for name, kind := range map[string]common.PublicKeyDetails{"P-256": p256, "Ed25519": pureEd} {
		t.Run(name, func(t *testing.T) {
			k, err := Open(t.Context(), made(t, kind), says("right"))
			if err != nil {
				t.Fatal(err)
			}
			subject := []byte("what was sealed")
			sum := sha256.Sum256(subject)
			text, err := k.Statement(t.Context(), fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"files.json","digest":{"sha256":"%x"}}],`+
				`"predicateType":"https://proviso.dev/evidence/seal/v1","predicate":{"number":1}}`, sum))
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := signature.LoadVerifierWithOpts(k.Public())
			if err != nil {
				t.Fatal(err)
			}
			trust := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
				return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
			})
			v, err := verify.NewVerifier(trust, verify.WithNoObserverTimestamps())
			if err != nil {
				t.Fatal(err)
			}
			check := func(text, subject []byte) error {
				b := new(bundle.Bundle)
				if err := b.UnmarshalJSON(text); err != nil {
					return err
				}
				_, err := v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(subject)), verify.WithKey()))
				return err
			}
			if err := check(text, subject); err != nil {
				t.Errorf("refused: %v", err)
			}
			if check(text, subject[1:]) == nil {
				t.Error("another subject was accepted")
			}
			if check([]byte(strings.Replace(string(text), "vnd.in-toto+json", "vnd.in-todo+json", 1)), subject) == nil {
				t.Error("another payload type was accepted")
			}
		})
	}
}
