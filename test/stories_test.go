package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// bin is the folder of the command under test, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "proviso-bin-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../cmd/proviso")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
		bin = dir
		return m.Run()
	}())
}

// The stories: each is a user's session with the command, with its files.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "stories",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_STORIES") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// proviso CODE ARGS... runs the command and demands that exit code.
			"proviso": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 1 {
					ts.Fatalf("usage: proviso CODE ARGS...")
				}
				err := ts.Exec("proviso", args[1:]...)
				code := 0
				if exit, ok := err.(*exec.ExitError); ok {
					code = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("run proviso: %v", err)
				}
				if want, err := strconv.Atoi(args[0]); err != nil || code != want {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			// oneproblem demands that standard error holds exactly one line, which starts with "proviso: ".
			"oneproblem": func(ts *testscript.TestScript, _ bool, _ []string) {
				text := strings.TrimSuffix(ts.ReadFile("stderr"), "\n")
				if strings.Contains(text, "\n") || !strings.HasPrefix(text, "proviso: ") {
					ts.Fatalf("standard error is not one line that starts with proviso: %q", text)
				}
			},
		},
	})
}
