package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The console blocks of the README are sessions: each "$ proviso ..." prints just what stands below it, and "$ echo $?"
// the exit code. They run in a folder that holds the demo's samples.
func TestReadmeTellsTheTruth(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	demo := exec.Command(filepath.Join(bin, "proviso"), "demo")
	demo.Dir = dir
	if out, err := demo.CombinedOutput(); err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	commands := 0
	for _, block := range strings.Split(string(readme), "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		code := 0
		for _, session := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, want, _ := strings.Cut(session, "\n")
			want = strings.TrimRight(want, "\n")
			var got string
			switch fields := strings.Fields(command); {
			case command == "echo $?":
				got = fmt.Sprint(code)
			case fields[0] == "proviso":
				var out bytes.Buffer
				cmd := exec.Command(filepath.Join(bin, "proviso"), fields[1:]...)
				cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
				err := cmd.Run()
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else if code = 0; err != nil {
					t.Fatal(err)
				}
				got = strings.TrimRight(out.String(), "\n")
			default:
				t.Fatalf("the README runs %q, which is not proviso", command)
			}
			commands++
			if got != want {
				t.Errorf("$ %s prints\n%s\n\nand the README says\n%s", command, got, want)
			}
		}
	}
	if commands == 0 {
		t.Error("the README shows no session")
	}
}

// What the README names is there.
func TestReadmeNamesWhatIsThere(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go run ./cmd/proviso demo", "make test"} {
		if !bytes.Contains(readme, []byte(want)) {
			t.Errorf("the README does not name %q", want)
		}
	}
	for name := range rooms {
		if !bytes.Contains(readme, []byte("`"+name+"`")) {
			t.Errorf("the README's layout does not name the room %s", name)
		}
	}
}
