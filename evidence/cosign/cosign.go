// Package cosign owns the keys that evidence is signed with: those of cosign, in an encrypted file, in a KMS or in a Secret of
// a cluster. It signs messages and in-toto statements so that the stock cosign and openssl can check them, and never verifies
// for anybody: whoever reads evidence does that without this package.
//
// Start at [Open].
package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/cosign/kubernetes"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"proviso.dev/proviso/engine"
)

// The files of a key's folder, named as the entries of the Secret that cosign keeps a key in, so that such a folder can be
// made into one.
const (
	KeyFile      = "cosign.key"
	PublicFile   = "cosign.pub"
	PasswordFile = "cosign.password"
)

// passwordVariable is where cosign looks for the password of a key.
const passwordVariable = "COSIGN_PASSWORD"

// Key is a key that signs. It is unlocked, or its KMS was found, and may be used by many at once.
type Key struct {
	ref    string
	signer signature.Signer
	public crypto.PublicKey
	spki   []byte
}

var _ engine.Signer = (*Key)(nil)

// schemes are those of references that are no files. Others that cosign follows are refused: a private key does not come from
// an environment variable or over HTTP, and no program is started because of how a reference begins.
var schemes = []string{"awskms", "azurekms", "gcpkms", "hashivault", "k8s"}

// Open finds and unlocks the key that ref names: the path of an encrypted cosign.key, a key of a KMS (awskms://, azurekms://,
// gcpkms://, hashivault://), or a Secret as cosign makes it (k8s://NAMESPACE/NAME, in the cluster of the current kubeconfig or
// else the one this runs in). The password of a file is the content of cosign.password beside it, else that of COSIGN_PASSWORD,
// which may be set and empty, else what ask returns, unless ask is nil. Keys are ECDSA on P-256 or Ed25519: the checkpoints
// of a log know no others.
func Open(ctx context.Context, ref string, ask func() ([]byte, error)) (*Key, error) {
	k, err := open(ctx, ref, ask)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", ref, err)
	}
	return k, nil
}

func open(ctx context.Context, ref string, ask func() ([]byte, error)) (*Key, error) {
	signer, err := within(ctx, func() (signature.SignerVerifier, error) { return find(ctx, ref, ask) })
	if err != nil {
		return nil, err
	}
	public, err := within(ctx, func() (crypto.PublicKey, error) { return signer.PublicKey(options.WithContext(ctx)) })
	if err != nil {
		return nil, fmt.Errorf("read its public key: %w", err)
	}
	const want = "evidence is signed by ECDSA on P-256, as `cosign generate-key-pair` makes it, or by Ed25519"
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return nil, fmt.Errorf("it is ECDSA on %s: %s", p.Params().Name, want)
		}
	case ed25519.PublicKey:
		if _, ok := signer.(kms.SignerVerifier); !ok {
			break
		}
		// Asked for SHA-256, a KMS would sign the digest as if it were the message.
		signer, err = within(ctx, func() (signature.SignerVerifier, error) { return kms.Get(ctx, ref, crypto.Hash(0)) })
		if err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("its kind is %T: %s", public, want)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode its public key: %w", err)
	}
	return &Key{ref: ref, signer: signer, public: public, spki: spki}, nil
}

func find(ctx context.Context, ref string, ask func() ([]byte, error)) (signature.SignerVerifier, error) {
	scheme, _, ok := strings.Cut(ref, "://")
	if !ok {
		text, err := os.ReadFile(ref)
		if err != nil {
			return nil, err
		}
		secret, err := password(ref, ask)
		if err != nil {
			return nil, err
		}
		return unlock(text, secret)
	}
	if !slices.Contains(schemes, scheme) {
		return nil, fmt.Errorf("unknown scheme %q: want the path of a file or one of %s", scheme, strings.Join(schemes, ", "))
	}
	if scheme == "k8s" {
		secret, err := kubernetes.GetKeyPairSecret(ctx, ref)
		if err != nil {
			return nil, err
		}
		if len(secret.Data[KeyFile]) == 0 {
			return nil, fmt.Errorf("the Secret has no %s: make one with `cosign generate-key-pair %s`", KeyFile, ref)
		}
		return unlock(secret.Data[KeyFile], secret.Data[PasswordFile])
	}
	return kms.Get(ctx, ref, crypto.SHA256)
}

// password is that of the key in a file.
func password(file string, ask func() ([]byte, error)) ([]byte, error) {
	beside := filepath.Join(filepath.Dir(file), PasswordFile)
	if text, err := os.ReadFile(beside); err == nil {
		return bytes.TrimRight(text, "\r\n"), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read its password: %w", err)
	}
	if text, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(text), nil
	}
	if ask == nil {
		return nil, fmt.Errorf("it is locked: give its password in %s or in the file %s", passwordVariable, beside)
	}
	text, err := ask()
	if err != nil {
		return nil, fmt.Errorf("ask for its password: %w", err)
	}
	return text, nil
}

func unlock(key, password []byte) (signature.SignerVerifier, error) {
	// No options, lest an Ed25519 key sign digests, which neither checkpoints nor DSSE envelopes take.
	signer, err := cosign.LoadPrivateKey(key, password, &[]signature.LoadOption{})
	if err != nil {
		return nil, fmt.Errorf("unlock: %w: it is not a key of cosign (`cosign import-key-pair` makes one of others), was altered, or has another password", err)
	}
	return signer, nil
}

// within is what f returns, unless ctx ends before: the clients of some KMS do not heed it, and some panic at answers they did
// not expect.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a.err = fmt.Errorf("panic: %v", r)
			}
			answers <- a
		}()
		a.value, a.err = f()
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
