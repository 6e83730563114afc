//go:build unix

package producer_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"

	"proviso.dev/proviso/evidence"
)

func ed25519Key() (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return key{private}, err
}

// bundleOf is a Sigstore bundle over a statement, as evidence/cosign makes it.
func bundleOf(ctx context.Context, k key, statement []byte) ([]byte, error) {
	sig, err := k.Sign(ctx, evidence.PAE(evidence.PayloadType, statement))
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	text := base64.StdEncoding.EncodeToString
	type m = map[string]any
	return evidence.Encode(m{
		"dsseEnvelope":         m{"payload": text(statement), "payloadType": evidence.PayloadType, "signatures": []m{{"sig": text(sig)}}},
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": m{"publicKey": m{"hint": text(sum[:])}},
	})
}
