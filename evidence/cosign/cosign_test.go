package cosign

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
)

func TestMain(m *testing.M) {
	os.Unsetenv(passwordVariable)
	os.Exit(m.Run())
}

const (
	p256   = common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
	p384   = common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384
	rsa    = common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256
	pureEd = common.PublicKeyDetails_PKIX_ED25519
)

// made is the path of a key of a kind, as cosign makes it, with the password "right".
func made(t *testing.T, kind common.PublicKeyDetails) string {
	t.Helper()
	details, err := signature.GetAlgorithmDetails(kind)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := cosign.GenerateKeyPairWithAlgorithm(&details, func(bool) ([]byte, error) { return []byte("right"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return file(t, pair.PrivateBytes)
}

func file(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), KeyFile)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func says(secret string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(secret), nil }
}

// good is whether a signature is by a key, as the standard library sees it.
func good(t *testing.T, k *Key, message, sig []byte) bool {
	t.Helper()
	switch p := k.Public().(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(p, sum[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, sig)
	}
	t.Fatalf("public key is a %T", k.Public())
	return false
}

func TestSign(t *testing.T) {
	for name, kind := range map[string]common.PublicKeyDetails{"P-256": p256, "Ed25519": pureEd} {
		t.Run(name, func(t *testing.T) {
			k, err := Open(t.Context(), made(t, kind), says("right"))
			if err != nil {
				t.Fatal(err)
			}
			for _, message := range []string{"", "a checkpoint\n", strings.Repeat("long ", 100_000)} {
				sig, err := k.Sign(t.Context(), []byte(message))
				if err != nil {
					t.Fatal(err)
				}
				if !good(t, k, []byte(message), sig) {
					t.Errorf("signature of %d bytes does not verify", len(message))
				}
			}
		})
	}
}

// Once the context has ended nobody is asked to sign, neither the key nor, later, a KMS that nobody waits for.
func TestSignEnded(t *testing.T) {
	k, err := Open(t.Context(), made(t, p256), says("right"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		k := *k
		counts := &counting{Signer: k.signer}
		k.signer = counts
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := k.Sign(ctx, []byte("in time")); err != nil || counts.calls != 1 {
			t.Errorf("signed %d times, %v", counts.calls, err)
		}
		cancel()
		if sig, err := k.Sign(ctx, []byte("late")); !errors.Is(err, context.Canceled) || sig != nil {
			t.Errorf("signed after the context ended: %x, %v", sig, err)
		}
		synctest.Wait()
		if counts.calls != 1 {
			t.Error("the key was asked to sign after the context ended")
		}
	})
}

// counting counts how often its key is asked.
type counting struct {
	signature.Signer
	calls int
}

func (c *counting) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	c.calls++
	return c.Signer.SignMessage(message, opts...)
}

func TestOpenRefuses(t *testing.T) {
	right := made(t, p256)
	text, err := os.ReadFile(right)
	if err != nil {
		t.Fatal(err)
	}
	altered := func(at int) string {
		b := bytes.Clone(text)
		b[at] ^= 1
		return file(t, b)
	}
	header := bytes.IndexByte(text, '\n') + 1
	ran := programOfAPlugin(t)
	for _, c := range []struct {
		name, ref string
		ask       func() ([]byte, error)
		want      string
	}{
		{"wrong password", right, says("wrong"), "another password"},
		{"empty password", right, says(""), "another password"},
		{"nobody to ask", right, nil, "give its password in COSIGN_PASSWORD or in the file " + filepath.Join(filepath.Dir(right), PasswordFile)},
		{"no answer", right, func() ([]byte, error) { return nil, errors.New("no terminal") }, "ask for its password: no terminal"},
		{"no such file", right + "x", says("right"), "no such file"},
		{"a folder", filepath.Dir(right), says("right"), "is a directory"},
		{"empty file", file(t, nil), says("right"), "invalid pem block"},
		{"altered head", altered(8), says("right"), "not a key of cosign"},
		{"altered parameters", altered(header + 40), says("right"), "was altered"},
		{"altered key", altered(len(text) - 100), says("right"), "was altered"},
		{"cut short", file(t, text[:len(text)-60]), says("right"), "invalid pem block"},
		{"not encrypted", file(t, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")), says("right"), "cosign import-key-pair"},
		{"RSA", made(t, rsa), says("right"), "its kind is *rsa.PublicKey: evidence is signed by ECDSA on P-256"},
		{"P-384", made(t, p384), says("right"), "it is ECDSA on P-384: evidence is signed by ECDSA on P-256"},
		{"a variable", "env://KEY", says("right"), `unknown scheme "env"`},
		{"over the network", "https://127.0.0.1:1/cosign.key", says("right"), `unknown scheme "https"`},
		{"another repository", "gitlab://group/project", says("right"), `unknown scheme "gitlab"`},
		{"a program", "evil://key", says("right"), `unknown scheme "evil": want the path of a file or one of awskms, azurekms, gcpkms, hashivault, k8s`},
		{"no scheme", "://key", says("right"), `unknown scheme ""`},
		{"end of a scheme", "kms://key", says("right"), `unknown scheme "kms"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Open(t.Context(), c.ref, c.ask)
			if err == nil || k != nil {
				t.Fatalf("opened %s", c.ref)
			}
			if runtime.GOOS == "windows" && (c.name == "no such file" || c.name == "a folder") {
				return // its own words
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "open key "+c.ref+": ") {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
	if _, err := Open(t.Context(), right+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v of a missing file is not fs.ErrNotExist", err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program was started because of how a reference begins")
	}
}

// programOfAPlugin puts a program where sigstore's library looks for plugins of a KMS; it leaves the returned file.
func programOfAPlugin(t *testing.T) (ran string) {
	t.Helper()
	dir := t.TempDir()
	ran = filepath.Join(dir, "ran")
	if err := os.WriteFile(filepath.Join(dir, "sigstore-kms-evil"), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return ran
}

// The password beside a key is that key's; the variable may be another's. Somebody is asked only where neither is there.
func TestPassword(t *testing.T) {
	asked := func() ([]byte, error) { return []byte("right"), errors.New("asked") }
	for _, c := range []struct {
		name     string
		beside   string
		variable *string
		ask      func() ([]byte, error)
		want     string
	}{
		{name: "beside", beside: "right\n", ask: asked},
		{name: "beside wins", beside: "right", variable: new("wrong"), ask: asked},
		{name: "beside is wrong", beside: "wrong", variable: new("right"), want: "another password"},
		{name: "variable", variable: new("right"), ask: asked},
		{name: "variable set and empty", variable: new(""), ask: asked, want: "another password"},
		{name: "asked", ask: asked, want: "ask for its password: asked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := made(t, p256)
			if c.beside != "" {
				if err := os.WriteFile(filepath.Join(filepath.Dir(ref), PasswordFile), []byte(c.beside), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.variable != nil {
				t.Setenv(passwordVariable, *c.variable)
			}
			_, err := Open(t.Context(), ref, c.ask)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// Unlocking takes a fifth of a second, on purpose: it is done once, however much is signed.
func TestUnlockedOnce(t *testing.T) {
	ref := made(t, p256)
	asked := 0
	k, err := Open(t.Context(), ref, func() ([]byte, error) { asked++; return []byte("right"), nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ref); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := range 250 {
				message := []byte{byte(worker), byte(n)}
				if sig, err := k.Sign(t.Context(), message); err != nil || !good(t, k, message, sig) {
					t.Errorf("signature %d of worker %d: %v", n, worker, err)
				}
			}
		})
	}
	group.Wait()
	if asked != 1 {
		t.Errorf("asked for the password %d times, want once", asked)
	}
}

func TestTwoOpenOneKey(t *testing.T) {
	ref := made(t, p256)
	var keys [2]*Key
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			var err error
			if keys[i], err = Open(t.Context(), ref, says("right")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	sig, err := keys[0].Sign(t.Context(), []byte("one"))
	if err != nil || !good(t, keys[1], []byte("one"), sig) {
		t.Errorf("one does not verify what the other signed: %v", err)
	}
	if !bytes.Equal(keys[0].PEM(), keys[1].PEM()) {
		t.Error("the two have different public keys")
	}
}
