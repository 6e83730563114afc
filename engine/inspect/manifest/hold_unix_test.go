//go:build unix

package manifest_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

// What can be read only once answers facts and is inspected all the same.
func TestHeldPaths(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	go os.WriteFile(pipe, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"), 0o600)
	held, err := manifest.Hold(pipe, "-", filepath.Join(t.TempDir(), "none"), t.TempDir())
	if err != nil || len(held) != 1 {
		t.Fatalf("held %v, %v", held, err)
	}
	facts := manifest.NewFacts(nil, []string{pipe}, nil, map[[2]string]bool{{"", "Namespace"}: true})
	facts.Held = held
	for _, err := range facts.Trouble(context.Background()) {
		t.Error(err)
	}
	if _, state, err := facts.Fact(context.Background(), engine.FactQuery{Kind: "Namespace", Name: "a"}, nil); state != engine.FactFound {
		t.Errorf("got %v, %v", state, err)
	}
}
