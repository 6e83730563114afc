//go:build unix

package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Who stops reading the report ends no recording: it is sealed to the end, and the exit code says that the report is not whole.
func TestNobodyReadsTheReport(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	if err := os.WriteFile(name("claim.yaml"), []byte("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, deaf := range map[string]bool{"stdout": false, "stdout and stderr": true} {
		t.Run(what, func(t *testing.T) {
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			in.Close()
			defer out.Close()
			folder := name(what)
			var errs bytes.Buffer
			scan := exec.Command(filepath.Join(bin, "proviso"), "scan", name("claim.yaml"), "-q", "--evidence", folder)
			scan.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir)
			scan.Stdout, scan.Stderr = out, &errs
			if deaf {
				scan.Stderr = out
			}
			err = scan.Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
				t.Errorf("it ended with %v: %s", err, &errs)
			}
			if !deaf && !strings.Contains(errs.String(), "write report: ") {
				t.Errorf("it says %s", &errs)
			}
			if said, err := exec.Command(filepath.Join(bin, "proviso"), "evidence", "verify", folder).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}
