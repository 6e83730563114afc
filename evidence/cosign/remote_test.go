package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	gorsa "crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigstore/cosign/v2/pkg/cosign"
)

// vault answers as HashiCorp Vault's transit engine does, by one key.
type vault struct {
	named, signs crypto.Signer // the key it tells of, and the one it signs with
	ill          atomic.Pointer[http.HandlerFunc]
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ill := v.ill.Load(); ill != nil {
		(*ill)(w, r)
		return
	}
	data := map[string]any{}
	kind, public := "ecdsa-p256", ""
	if p, ok := v.named.Public().(ed25519.PublicKey); ok {
		kind, public = "ed25519", base64.StdEncoding.EncodeToString(p)
	} else {
		der, err := x509.MarshalPKIXPublicKey(v.named.Public())
		if err != nil {
			panic(err)
		}
		public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	switch r.URL.Path {
	case "/v1/transit/keys/evidence":
		data["latest_version"] = 1
		data["keys"] = map[string]any{"1": map[string]any{"name": kind, "public_key": public}}
	case "/v1/transit/sign/evidence/sha2-256", "/v1/transit/sign/evidence":
		var asked struct {
			Input     []byte
			Prehashed bool
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		hash := crypto.Hash(0)
		if asked.Prehashed {
			hash = crypto.SHA256
		}
		sig, err := v.signs.Sign(rand.Reader, asked.Input, hash)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		data["signature"] = "vault:v1:" + base64.StdEncoding.EncodeToString(sig)
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (v *vault) open(t *testing.T) (*Key, error) {
	t.Helper()
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "token")
	t.Setenv("VAULT_MAX_RETRIES", "0")
	return Open(t.Context(), "hashivault://evidence", nil)
}

func pair(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKMS(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"P-256": pair(t, elliptic.P256()), "Ed25519": ed} {
		t.Run(name, func(t *testing.T) {
			k, err := (&vault{named: key, signs: key}).open(t)
			if err != nil {
				t.Fatal(err)
			}
			if sig, err := k.Sign(t.Context(), []byte("message")); err != nil || !good(t, k, []byte("message"), sig) {
				t.Errorf("sign: %x, %v", sig, err)
			}
		})
	}
}

func TestKMSRefused(t *testing.T) {
	key, err := gorsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[string]crypto.Signer{"its kind is *rsa.PublicKey": key, "it is ECDSA on P-384": pair(t, elliptic.P384())} {
		if k, err := (&vault{named: key, signs: key}).open(t); err == nil || k != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// What a KMS answers is not believed: the signature must be by the key it named, and no answer may end the process.
func TestKMSIll(t *testing.T) {
	key := pair(t, elliptic.P256())
	v := &vault{named: key, signs: key}
	k, err := v.open(t)
	if err != nil {
		t.Fatal(err)
	}
	v.signs = pair(t, elliptic.P256())
	if sig, err := k.Sign(t.Context(), []byte("m")); err == nil || sig != nil || !strings.Contains(err.Error(), "was it rotated?") {
		t.Errorf("signature of another key: %x, %v", sig, err)
	}
	v.signs = key
	for _, c := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{"forbidden", "permission denied", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
		}},
		{"nothing", "panic", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		{"no signature", "corrupted", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":{}}`) }},
		{"empty signature", "was it rotated?", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":{"signature":"vault:v1:"}}`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			v.ill.Store(&c.answer)
			defer v.ill.Store(nil)
			sig, err := k.Sign(t.Context(), []byte("m"))
			if err == nil || sig != nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "sign with hashivault://evidence: ") {
				t.Errorf("%x, %v, want %s", sig, err, c.want)
			}
		})
	}
	if _, err := k.Sign(t.Context(), []byte("m")); err != nil {
		t.Errorf("a KMS that is well again: %v", err)
	}
}

// The client of this KMS does not heed the context; who signs must not wait for it longer than they want to.
func TestKMSSilent(t *testing.T) {
	key := pair(t, elliptic.P256())
	v := &vault{named: key, signs: key}
	k, err := v.open(t)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	silent := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-over
	})
	v.ill.Store(&silent)
	defer close(over)
	if sig, err := k.Sign(ctx, []byte("m")); !errors.Is(err, context.Canceled) || sig != nil {
		t.Errorf("%x, %v, want %v", sig, err, context.Canceled)
	}
}

// cluster is the path of a kubeconfig of an API server with these entries in its one Secret.
func cluster(t *testing.T, data map[string][]byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/proviso/secrets/evidence" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"secrets \"other\" not found","code":404}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Secret", "data": data})
	}))
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":%q}}],`+
		`"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestSecret(t *testing.T) {
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return []byte("right"), nil })
	if err != nil {
		t.Fatal(err)
	}
	const ref = "k8s://proviso/evidence"
	for _, c := range []struct {
		name, ref string
		data      map[string][]byte
		want      string
	}{
		{"whole", ref, map[string][]byte{KeyFile: pair.PrivateBytes, PasswordFile: []byte("right")}, ""},
		{"without password", ref, map[string][]byte{KeyFile: pair.PrivateBytes}, "another password"},
		{"without key", ref, map[string][]byte{PasswordFile: []byte("right")}, "the Secret has no cosign.key: make one with `cosign generate-key-pair k8s://proviso/evidence`"},
		{"no such Secret", "k8s://proviso/other", nil, "not found"},
		{"no name", "k8s://evidence", nil, "k8s://<namespace>/<secret>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", cluster(t, c.data))
			t.Setenv(passwordVariable, "wrong") // it is of files
			k, err := Open(t.Context(), c.ref, nil)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(k.PEM(), pair.PublicBytes) {
				t.Error("another key was opened")
			}
		})
	}
}
