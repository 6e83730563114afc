//go:build unix

package evidence_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// fixed is a key that is the same in every process, and signs the same twice.
func fixed() key { return key{ed25519.NewKeyFromSeed([]byte(strings.Repeat("seed", 8)))} }

// SIG-02: a folder verifies as it was signed and in no other way.
func FuzzVerify(f *testing.F) {
	whole := folderOf(f, fixed(), "cluster-a", 2)
	names := whole.names()
	for i := range names {
		f.Add(uint8(i), uint16(7), uint16(1), []byte("x"))
		f.Add(uint8(i), uint16(0), uint16(65535), []byte(nil))
		f.Add(uint8(i), uint16(0), uint16(65535), []byte("null"))
		f.Add(uint8(i), uint16(60), uint16(0), []byte("\n"))
	}
	f.Fuzz(func(t *testing.T, file uint8, at, cut uint16, put []byte) {
		name := names[int(file)%len(names)]
		was := whole[name].Data
		from := min(int(at), len(was))
		is := bytes.Join([][]byte{was[:from], put, was[min(from+int(cut), len(was)):]}, nil)
		g := whole.clone()
		g.put(name, is)
		v, err := evidence.Verify(fstest.MapFS(g), evidence.Options{Now: readAt})
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(is, was); same != (v.ExitCode() == evidence.ExitVerified) || !same && v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("%s, %d bytes at %d replaced by %q: exit code %d: %v %v", name, cut, at, put, v.ExitCode(), v.Problems, v.Holes)
		}
	})
}

func FuzzOpenBundle(f *testing.F) {
	k := fixed()
	public := k.public(f)
	statement := statementOf(f, []byte("files"), evidence.Seal{})
	good := bundleOf(f, k, statement)
	f.Add(good)
	f.Add(wrap(f, k, evidence.PayloadType, statement, 0))
	f.Add(wrap(f, k, evidence.PayloadType, statement, 2))
	f.Add(wrap(f, k, "text/plain", statement, 1))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if payload, err := evidence.OpenBundle(raw, public); (err == nil) != bytes.Equal(raw, good) || err == nil && !bytes.Equal(payload, statement) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

func FuzzOpenCheckpoint(f *testing.F) {
	k := fixed()
	public := k.public(f)
	const root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	good := signedNote(f, k, "origin", "origin\n0\n"+root+"\n")
	f.Add(good)
	for _, text := range []string{"origin\n00\n" + root + "\n", "origin\n-1\n" + root + "\n", "origin\n1\n" + root + "\nmore\n", "other\n0\n" + root + "\n", "origin\n0\nAAAA\n", "origin\n18446744073709551615\n" + root + "\n", "origin\n0\n"} {
		f.Add(signedNote(f, k, "origin", text))
	}
	// What the note reader takes: a signature that is there twice, and bits that base64 leaves unused.
	f.Add(append(bytes.Clone(good), good[bytes.Index(good, []byte("\u2014")):]...))
	padded := bytes.Clone(good)
	padded[len(padded)-len("A=\n")]++
	f.Add(padded)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := evidence.OpenCheckpoint(raw, public, "origin"); (err == nil) != bytes.Equal(raw, good) {
			t.Errorf("%q: %+v, %v", raw, c, err)
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	text := string(fixed().public(f).PEM())
	f.Add([]byte(text))
	f.Add(encoded(f, map[string]any{"keys": []any{map[string]any{"name": "n", "publicKey": text, "notBefore": "2026-01-01T00:00:00Z", "origins": []string{"o"}}}}))
	f.Add([]byte(`{"keys":[null]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		trust, err := evidence.ParseTrust(raw)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, k := range trust.Keys {
			if seen[k.Fingerprint()] || !k.NotAfter.IsZero() && k.NotAfter.Before(k.NotBefore) {
				t.Errorf("%q is taken", raw)
			}
			seen[k.Fingerprint()] = true
		}
		if len(seen) == 0 {
			t.Errorf("%q trusts nobody and is taken", raw)
		}
	})
}

// A record is read in one spelling: the one it is written in.
func FuzzDecodeRecord(f *testing.F) {
	for _, line := range folderOf(f, fixed(), "cluster-a", 2).lines(evidence.RecordsFile(0)) {
		f.Add(bytes.TrimSpace(line))
	}
	f.Add([]byte("null"))
	f.Add([]byte(`{"type":"a","type":"b"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r evidence.Record
		if evidence.Decode(raw, &r) != nil {
			return
		}
		if again := encoded(t, r); !bytes.Equal(again, raw) {
			t.Errorf("%q is read as %q", raw, again)
		}
	})
}

// What an archive holds is read within its bounds, and never outside of it.
func FuzzOpenArchive(f *testing.F) {
	for _, headers := range [][]tar.Header{
		{{Name: "producer.json", Size: 3}}, {{Name: "a/b", Size: 1}, {Name: "a", Size: 1}}, {{Name: "../a", Size: 1}}, {{Name: "a", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}},
		{{Name: "a", Size: 1}, {Name: "a", Size: 1}}, {{Name: strings.Repeat("a/", 120) + "a", Size: 1}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Mode = 0o644
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			fmt.Fprint(w, strings.Repeat("x", int(h.Size)))
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fsys, err := evidence.OpenArchive(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			file, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			if n, err := io.Copy(io.Discard, file); err != nil || n > int64(len(raw)) {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("walk: %v", err)
		}
	})
}

// A verifier key is read as it is written, or not at all.
func FuzzParseVerifierKey(f *testing.F) {
	f.Add(fixed().public(f).VerifierKey("proviso.dev/evidence/1"))
	f.Add("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
	f.Add("a+00000000+")
	f.Add("+00000000+AQ==")
	f.Fuzz(func(t *testing.T, text string) {
		if key, origin, err := evidence.ParseVerifierKey(text); err == nil && (origin == "" || key.VerifierKey(origin) != text) {
			t.Errorf("%q is read as %q", text, key.VerifierKey(origin))
		}
	})
}
