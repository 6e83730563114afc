package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Key is a public key that evidence is signed by: ECDSA on P-256 with SHA-256, or Ed25519. What kind it is the key says,
// never what was signed.
type Key struct {
	public crypto.PublicKey
	der    []byte
}

// NewKey takes a public key.
func NewKey(public crypto.PublicKey) (*Key, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("key: ECDSA on %s: want P-256", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("key: %T: want ECDSA on P-256 or Ed25519", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return &Key{public, der}, nil
}

// ParseKey reads one PEM block, PUBLIC KEY, and nothing else.
func ParseKey(text []byte) (*Key, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("key: want one PEM block PUBLIC KEY")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return NewKey(public)
}

// PEM is the key as ParseKey reads it.
func (k *Key) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// Fingerprint is the SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
func (k *Key) Fingerprint() string {
	sum := sha256.Sum256(k.der)
	return hex.EncodeToString(sum[:])
}

// hint is what a Sigstore bundle names the key by. It is no proof of anything.
func (k *Key) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Verify checks a signature over a message.
func (k *Key) Verify(message, signature []byte) error {
	ok := false
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		ok = ecdsa.VerifyASN1(public, sum[:], signature)
	case ed25519.PublicKey:
		ok = ed25519.Verify(public, message, signature)
	}
	if !ok {
		return errors.New("the signature is not of this key and these bytes")
	}
	return nil
}

// Signature types of signed notes (c2sp.org/signed-note).
const (
	noteEd25519 = 1
	noteECDSA   = 2
)

// Checkpoints verifies the checkpoints of the log with an origin.
func (k *Key) Checkpoints(origin string) note.Verifier { return &noteVerifier{k, origin} }

// VerifierKey is the key as readers of tlog-tiles take it: ORIGIN+ID+BASE64.
func (k *Key) VerifierKey(origin string) string {
	v := noteVerifier{k, origin}
	return fmt.Sprintf("%s+%08x+%s", origin, v.KeyHash(), base64.StdEncoding.EncodeToString(v.encoded()))
}

// ParseVerifierKey reads what VerifierKey gives.
func ParseVerifierKey(text string) (key *Key, origin string, err error) {
	origin, rest, _ := strings.Cut(text, "+")
	_, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
	case len(raw) == 1+ed25519.PublicKeySize && raw[0] == noteEd25519:
		key, err = NewKey(ed25519.PublicKey(raw[1:]))
	case len(raw) > 1 && raw[0] == noteECDSA:
		var public any
		if public, err = x509.ParsePKIXPublicKey(raw[1:]); err == nil {
			key, err = NewKey(public)
		}
	default:
		err = errors.New("want type 1 (Ed25519) or 2 (ECDSA)")
	}
	if err != nil {
		return nil, "", fmt.Errorf("verifier key: %w", err)
	}
	if origin == "" || key.VerifierKey(origin) != text {
		return nil, "", errors.New("verifier key: it is not as it is written: ORIGIN+ID+BASE64")
	}
	return key, origin, nil
}

type noteVerifier struct {
	key    *Key
	origin string
}

func (v *noteVerifier) encoded() []byte {
	if public, ok := v.key.public.(ed25519.PublicKey); ok {
		return append([]byte{noteEd25519}, public...)
	}
	return append([]byte{noteECDSA}, v.key.der...)
}

// Name is part of note.Verifier.
func (v *noteVerifier) Name() string { return v.origin }

// KeyHash is part of note.Verifier.
func (v *noteVerifier) KeyHash() uint32 {
	h := sha256.New()
	if _, ok := v.key.public.(ed25519.PublicKey); ok {
		h.Write([]byte(v.origin + "\n"))
		h.Write(v.encoded())
	} else {
		h.Write(v.key.der)
	}
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Verify is part of note.Verifier.
func (v *noteVerifier) Verify(message, signature []byte) bool {
	return v.key.Verify(message, signature) == nil
}

// Trust is whom an auditor believes.
type Trust struct{ Keys []TrustedKey }

// TrustedKey is a key with the time it signs in; zero times are no bound. Origins are the logs it signs, none is any.
type TrustedKey struct {
	*Key
	Name                string
	NotBefore, NotAfter time.Time
	Origins             []string
}

// maxTrust is how many bytes of trust are read.
const maxTrust = 1 << 20

// ParseTrust reads whom to believe: a public key in PEM, or JSON {"keys": [{"name", "publicKey", "notBefore", "notAfter",
// "origins"}]}.
func ParseTrust(raw []byte) (*Trust, error) {
	if len(raw) > maxTrust {
		return nil, fmt.Errorf("trust: it is larger than %d bytes", maxTrust)
	}
	if key, err := ParseKey(raw); err == nil {
		return &Trust{Keys: []TrustedKey{{Key: key}}}, nil
	} else if bytes.Contains(raw, []byte("-----BEGIN")) && !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return nil, fmt.Errorf("trust: %w", err)
	}
	var file struct {
		Keys []struct {
			Name      string    `json:"name"`
			PublicKey string    `json:"publicKey"`
			NotBefore time.Time `json:"notBefore"`
			NotAfter  time.Time `json:"notAfter"`
			Origins   []string  `json:"origins"`
		} `json:"keys"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("trust: it is neither a public key in PEM nor JSON with keys: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("trust: there is more after it")
	}
	if len(file.Keys) == 0 {
		return nil, errors.New("trust: it names no key")
	}
	t := &Trust{}
	seen := map[string]bool{}
	for i, entry := range file.Keys {
		key, err := ParseKey([]byte(entry.PublicKey))
		if err != nil {
			return nil, fmt.Errorf("trust: keys[%d]: %w", i, err)
		}
		if !entry.NotAfter.IsZero() && entry.NotAfter.Before(entry.NotBefore) {
			return nil, fmt.Errorf("trust: keys[%d]: notAfter is before notBefore", i)
		}
		if seen[key.Fingerprint()] {
			return nil, fmt.Errorf("trust: keys[%d]: the key is there twice", i)
		}
		seen[key.Fingerprint()] = true
		t.Keys = append(t.Keys, TrustedKey{key, entry.Name, entry.NotBefore, entry.NotAfter, entry.Origins})
	}
	return t, nil
}
