//go:build unix

package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The first signal ends a verb that only reads, though what it reads has no end, and a second one any other.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	if err := os.WriteFile(name("claim.yaml"), []byte("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, "proviso"), args...)
		c.Dir, c.Env = dir, append(os.Environ(), "XDG_CONFIG_HOME="+dir)
		return c
	}
	if said, err := command("scan", "claim.yaml", "-q", "--evidence", "ev", "--allow-unknown").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, c := range []struct {
		args  []string
		kills bool
	}{
		{[]string{"evidence", "verify", "ev", "--trust", "fifo"}, false},
		{[]string{"evidence", "replay", "ev", "--trust", "fifo"}, false},
		{[]string{"evidence", "reconcile", "ev", "--audit", "fifo"}, false},
		{[]string{"scan", "fifo", "-o", "json=out.json"}, false},
		{[]string{"scan", "claim.yaml", "--since", "ev", "--trust", "fifo", "-o", "json=out.json"}, false},
		{[]string{"policy", "list", "--profile", "fifo"}, true},
	} {
		var errs bytes.Buffer
		verb := command(c.args...)
		verb.Stderr = &errs
		if err := verb.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- verb.Wait() }()
		fifo, err := os.OpenFile(name("fifo"), os.O_WRONLY, 0) // waits until it is read
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.After(time.Minute)
		for signals, over := 0, false; !over; {
			if signals == 0 || c.kills {
				if err := verb.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				signals++
			}
			select {
			case err = <-ended:
				over = true
			case <-deadline:
				t.Errorf("%q goes on after %d signals", c.args, signals)
				_ = verb.Process.Kill()
				err, over = <-ended, true
			case <-time.After(100 * time.Millisecond):
			}
		}
		fifo.Close()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Errorf("%q ended with %v", c.args, err)
			continue
		}
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() != c.kills || !c.kills && (exit.ExitCode() != 1 || errs.String() != "proviso: interrupted\n") {
			t.Errorf("%q ended with %v: %s", c.args, err, &errs)
		}
		if left, err := filepath.Glob(name(".*")); err != nil || len(left) > 0 {
			t.Errorf("%q leaves %q, %v", c.args, left, err)
		}
	}
}
