//go:build unix

package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"proviso.dev/proviso/evidence"
)

// What a user names and is none of what is wanted is an error that names it, and is not read for ever.
func TestNamedFiles(t *testing.T) {
	f, k := scan(t)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	head, other := f[evidence.CheckpointFile].Data, signedNote(t, newKey(t), "elsewhere", "elsewhere\n0\nAAAA\n")
	for _, text := range [][]byte{head, other} {
		if raw, err := evidence.ReadCheckpoint(file("head", text)); err != nil || !bytes.Equal(raw, text) {
			t.Errorf("%q: %q, %v", text, raw, err)
		}
	}
	if trust, err := evidence.ReadTrust(file("key", k.public(t).PEM())); err != nil || len(trust.Keys) != 1 {
		t.Errorf("%v, %v", trust, err)
	}
	trust := func(name string) error { _, err := evidence.ReadTrust(name); return err }
	checkpoint := func(name string) error { _, err := evidence.ReadCheckpoint(name); return err }
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil { // waits until it is read
			_, _ = w.Write(k.public(t).PEM())
			w.Close()
		}
	}()
	if trust, err := evidence.ReadTrust(pipe); err != nil || len(trust.Keys) != 1 {
		t.Errorf("a pipe: %v, %v", trust, err)
	}
	large := file("large", make([]byte, 1<<20+1))
	for _, c := range []struct {
		read func(string) error
		name string
		want string
	}{
		{checkpoint, file("text", []byte("x\n")), "it is no checkpoint of a log: want a copy of the file log/checkpoint"},
		{checkpoint, file("cut", head[:len(head)-1]), "it is no checkpoint of a log"},
		{checkpoint, file("empty", nil), "it is no checkpoint of a log"},
		{trust, file("text", []byte("x\n")), "neither a public key in PEM nor JSON"},
		{checkpoint, "/dev/zero", "it is larger than 1048576 bytes"}, {trust, "/dev/zero", "it is larger than 1048576 bytes"},
		{checkpoint, dir, "it is a folder: name a file"}, {trust, dir, "it is a folder: name a file"},
		{checkpoint, large, "it is larger than 1048576 bytes"}, {trust, large, "it is larger than 1048576 bytes"},
		{checkpoint, dir + "/none", "no such file"}, {trust, dir + "/none", "no such file"},
	} {
		if err := c.read(c.name); err == nil || !strings.HasPrefix(err.Error(), c.name+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
