package cosign

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigstore/cosign/v2/pkg/cosign"
)

// Generate makes a folder with a new key, ECDSA on P-256, and returns the path of its cosign.key, which [Open] and cosign take.
// The folder is made whole or not at all; one that is there is never touched and the error is [fs.ErrExist].
//
// The key is encrypted under the password in COSIGN_PASSWORD, where that is set and not empty: who reads the folder and does
// not know the password cannot sign. Otherwise nobody was asked for a password, so a random one lies in cosign.password
// beside the key: then the permissions of the folder alone protect it (0700, the key and the password 0600), and whoever
// may read it, root and backups of the disk included, can sign.
func Generate(dir string) (ref string, err error) {
	if ref, err = generate(dir); err != nil {
		return "", fmt.Errorf("make key in %s: %w", dir, err)
	}
	return ref, nil
}

func generate(dir string) (string, error) {
	files := map[string][]byte{}
	secret := []byte(os.Getenv(passwordVariable))
	if len(secret) == 0 {
		secret = []byte(rand.Text())
		files[PasswordFile] = secret
	}
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return secret, nil })
	if err != nil {
		return "", err
	}
	files[KeyFile], files[PublicFile] = pair.PrivateBytes, pair.PublicBytes
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(parent, ".cosign-") // 0700
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	for name, text := range files {
		mode := fs.FileMode(0o600)
		if name == PublicFile {
			mode = 0o644
		}
		if err := write(filepath.Join(temp, name), text, mode); err != nil {
			return "", err
		}
	}
	// It replaces nothing. Of two at once, one finds the other's folder there.
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Lstat(dir); there == nil {
			return "", fs.ErrExist
		}
		return "", err
	}
	return filepath.Join(dir, KeyFile), nil
}

func write(name string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
