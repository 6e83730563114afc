package cosign

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

func listed(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		modes[e.Name()] = info.Mode().Perm()
	}
	return modes
}

func TestGenerate(t *testing.T) {
	for _, c := range []struct {
		name, variable string
		want           []string
	}{
		{"nobody gave a password", "", []string{KeyFile, PasswordFile, PublicFile}},
		{"a password in the environment", "long and secret", []string{KeyFile, PublicFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(passwordVariable, c.variable)
			parent := filepath.Join(t.TempDir(), "not", "there")
			dir := filepath.Join(parent, "key")
			ref, err := Generate(dir)
			if err != nil {
				t.Fatal(err)
			}
			if ref != filepath.Join(dir, KeyFile) {
				t.Errorf("the key is %s", ref)
			}
			modes := listed(t, dir)
			var names []string
			for name, mode := range modes {
				names = append(names, name)
				if want := map[bool]fs.FileMode{true: 0o644, false: 0o600}[name == PublicFile]; runtime.GOOS != "windows" && mode != want {
					t.Errorf("%s has mode %o, want %o", name, mode, want)
				}
			}
			if slices.Sort(names); !slices.Equal(names, c.want) {
				t.Errorf("made %v, want %v", names, c.want)
			}
			if left := listed(t, parent); len(left) != 1 || runtime.GOOS != "windows" && left["key"] != 0o700 {
				t.Errorf("beside the folder lies %v", left)
			}
			k, err := Open(t.Context(), ref, nil)
			if err != nil {
				t.Fatal(err)
			}
			if public, err := os.ReadFile(filepath.Join(dir, PublicFile)); err != nil || string(public) != string(k.PEM()) {
				t.Errorf("%s holds %s, %v, the key is %s", PublicFile, public, err, k.PEM())
			}
			if c.variable != "" {
				t.Setenv(passwordVariable, "other")
				if _, err := Open(t.Context(), ref, nil); err == nil {
					t.Error("the key opens with another password")
				}
			}
		})
	}
}

func TestGenerateOverwritesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		lay  func(t *testing.T, dir string) error
	}{
		{"a key", func(t *testing.T, dir string) error { _, err := Generate(dir); return err }},
		{"an empty folder", func(t *testing.T, dir string) error { return os.Mkdir(dir, 0o700) }},
		{"a file", func(t *testing.T, dir string) error { return os.WriteFile(dir, nil, 0o600) }},
		{"a link to nowhere", func(t *testing.T, dir string) error {
			if runtime.GOOS == "windows" {
				t.Skip("links need a right there")
			}
			return os.Symlink("nowhere", dir)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "key")
			if err := c.lay(t, dir); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(filepath.Join(dir, KeyFile))
			if ref, err := Generate(dir); !errors.Is(err, fs.ErrExist) || ref != "" {
				t.Errorf("made %q, error %v, want fs.ErrExist", ref, err)
			}
			if after, _ := os.ReadFile(filepath.Join(dir, KeyFile)); string(after) != string(before) {
				t.Error("the key was replaced")
			}
			if left := listed(t, parent); len(left) != 1 {
				t.Errorf("left behind %v", left)
			}
		})
	}
}

// Of several scans that start at once and find no key, one makes it and the others are told that it is there.
func TestGenerateAtOnce(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "key")
	var won sync.Map
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			ref, err := Generate(dir)
			switch {
			case err == nil:
				won.Store(i, true)
			case !errors.Is(err, fs.ErrExist) || ref != "":
				t.Errorf("made %q, error %v", ref, err)
			}
			if _, err := Open(t.Context(), filepath.Join(dir, KeyFile), nil); err != nil {
				t.Errorf("open what one of them made: %v", err)
			}
		})
	}
	group.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	if left := listed(t, parent); winners != 1 || len(left) != 1 {
		t.Errorf("%d made the key, and there is %v", winners, left)
	}
}
