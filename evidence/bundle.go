package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// maxBundle is how many bytes of a Sigstore bundle are read.
const maxBundle = 4 << 20

// bundle is the part of a Sigstore bundle v0.3 that evidence uses: a DSSE envelope signed by a key.
type bundle struct {
	Envelope  envelope `json:"dsseEnvelope"`
	MediaType string   `json:"mediaType"`
	Material  struct {
		PublicKey struct {
			Hint string `json:"hint"`
		} `json:"publicKey"`
	} `json:"verificationMaterial"`
}

type envelope struct {
	Payload     string `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig string `json:"sig"`
	} `json:"signatures"`
}

const bundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// PAE is what a DSSE signature covers (github.com/secure-systems-lab/dsse, protocol.md).
func PAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// OpenBundle checks a Sigstore bundle against a key and returns the statement it carries, as it was signed. Only what
// [Encode] would write is read.
func OpenBundle(raw []byte, key *Key) ([]byte, error) {
	if len(raw) > maxBundle {
		return nil, fmt.Errorf("open bundle: it is larger than %d bytes", maxBundle)
	}
	var b bundle
	if err := Decode(raw, &b); err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	switch {
	case b.MediaType != bundleMediaType:
		return nil, fmt.Errorf("open bundle: it is of type %q: want %s", b.MediaType, bundleMediaType)
	case b.Envelope.PayloadType != PayloadType:
		return nil, fmt.Errorf("open bundle: the payload is of type %q: want %s", b.Envelope.PayloadType, PayloadType)
	case len(b.Envelope.Signatures) != 1:
		return nil, fmt.Errorf("open bundle: %d signatures: want one", len(b.Envelope.Signatures))
	case b.Material.PublicKey.Hint != key.hint():
		return nil, errors.New("open bundle: it names another key")
	}
	strict := base64.StdEncoding.Strict()
	payload, err := strict.DecodeString(b.Envelope.Payload)
	if err != nil {
		return nil, fmt.Errorf("open bundle: payload: %w", err)
	}
	signature, err := strict.DecodeString(b.Envelope.Signatures[0].Sig)
	if err != nil {
		return nil, fmt.Errorf("open bundle: signature: %w", err)
	}
	if err := key.Verify(PAE(PayloadType, payload), signature); err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	return payload, nil
}

// openStatement checks a bundle and reads the statement in it: of predicateType, about one file with that digest.
func openStatement(raw []byte, key *Key, predicateType string, predicate any) (*StatementSubject, error) {
	payload, err := OpenBundle(raw, key)
	if err != nil {
		return nil, err
	}
	st := Statement{Predicate: predicate}
	if err := Decode(payload, &st); err != nil {
		return nil, fmt.Errorf("open statement: %w", err)
	}
	switch {
	case st.Predicate == nil:
		return nil, errors.New("open statement: it has no predicate")
	case st.Type != StatementType:
		return nil, fmt.Errorf("open statement: it is of type %q: want %s", st.Type, StatementType)
	case st.PredicateType != predicateType:
		return nil, fmt.Errorf("open statement: its predicate is of type %q: want %s", st.PredicateType, predicateType)
	case len(st.Subject) != 1:
		return nil, fmt.Errorf("open statement: it has %d subjects: want one", len(st.Subject))
	}
	return &st.Subject[0], nil
}
