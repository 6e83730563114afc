package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"

	bundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	payloadType = "application/vnd.in-toto+json"
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Public is the public key: an *ecdsa.PublicKey on P-256 or an ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// PEM is the public key as cosign.pub holds it: a SubjectPublicKeyInfo.
func (k *Key) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

// Sign signs a message: ECDSA over its SHA-256, in ASN.1, or Ed25519. A signature that the public key does not verify, as when
// a KMS has rotated the key since it was opened, is an error.
func (k *Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	sig, err := within(ctx, func() ([]byte, error) {
		return k.signer.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.ref, err)
	}
	if !k.verifies(message, sig) {
		return nil, fmt.Errorf("sign with %s: the signature is not by the public key it named when it was opened: was it rotated? Start again, so that the change of keys is recorded", k.ref)
	}
	return sig, nil
}

func (k *Key) verifies(message, sig []byte) bool {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(p, sum[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, sig)
	}
	return false
}

// Statement signs the bytes of an in-toto statement as they are and returns them in a DSSE envelope in a Sigstore bundle v0.3: one line
// of JSON without a line end, members sorted by name. Its hint names the key as cosign does, by the SHA-256 of its SubjectPublicKeyInfo;
// who verifies must not choose the key by it.
func (k *Key) Statement(ctx context.Context, statement []byte) ([]byte, error) {
	sig, err := k.Sign(ctx, preAuthEncoding(statement))
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(k.spki)
	text, err := protojson.Marshal(&bundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &bundle.VerificationMaterial{Content: &bundle.VerificationMaterial_PublicKey{
			PublicKey: &common.PublicKeyIdentifier{Hint: base64.StdEncoding.EncodeToString(id[:])}}},
		Content: &bundle.Bundle_DsseEnvelope{DsseEnvelope: &dsse.Envelope{Payload: statement, PayloadType: payloadType,
			Signatures: []*dsse.Signature{{Sig: sig}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	// protojson varies its spaces on purpose.
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return json.Marshal(members)
}

// preAuthEncoding is what a DSSE envelope's signature is over.
func preAuthEncoding(payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), payload...)
}
