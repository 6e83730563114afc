//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
)

// Who stops a verb is told that and nothing else, however much there still is to read, and finds nothing half made.
func TestInterrupted(t *testing.T) {
	w, _ := recordedRun(t, producer.Strict)
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	key, err := cosign.Generate(name("key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name("work"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(name("altered"), os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name("altered/"+evidence.RecordsFile(0)), 100); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"audit.log", "claim.yaml"} {
		if err := os.WriteFile(name(file), []byte("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"evidence", "verify", w.dir},
		{"evidence", "show", w.dir},
		{"evidence", "show", w.dir, "1"},
		{"evidence", "replay", w.dir},
		{"evidence", "reconcile", w.dir, "--audit", name("audit.log")},
		{"evidence", "reconcile", w.dir, "--audit", name("audit.log"), "--key", key},
		{"evidence", "export", w.dir, "-o", name("work/bundle.tar"), "--key", key},
		{"evidence", "export", name("altered"), "-o", name("work/bundle.tar"), "--key", key},
		{"evidence", "rotate", w.dir, name("work/next"), "--key", key, "--new-key", key},
		{"scan", name("claim.yaml"), "--since", w.dir, "-o", "json=" + name("work/report.json")},
		{"scan", name("claim.yaml"), "--evidence", name("new"), "--key", key, "-o", "json=" + name("work/report.json")},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signalled{}) // as a signal does
		var stdout, stderr bytes.Buffer
		if code := run(ctx, args, streams{in: strings.NewReader(""), out: &stdout, err: &stderr}); code != exitTrouble || stderr.String() != "proviso: interrupted\n" {
			t.Errorf("%q: exit code %d: %s", args, code, &stderr)
		}
		if left, err := os.ReadDir(name("work")); err != nil || len(left) > 0 {
			t.Errorf("%q leaves %v, %v", args, left, err)
		}
	}
}

type signalled struct{}

func (signalled) Error() string        { return "interrupt signal received" }
func (signalled) Is(target error) bool { return target == context.Canceled }

// What goes wrong on its own is told, though a signal came meanwhile.
func TestInterruptedHidesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	full := errors.New("disk full")
	for _, err := range []error{nil, full, exitCode(exitUnverified), context.Canceled} {
		if got := interrupted(ctx, err); !errors.Is(got, err) {
			t.Errorf("%v became %v without a signal", err, got)
		}
	}
	cancel()
	for _, err := range []error{nil, full, exitCode(exitUnverified)} {
		if got := interrupted(ctx, err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := interrupted(ctx, fmt.Errorf("open key: %w", context.Canceled)); !errors.Is(got, errInterrupted) {
		t.Errorf("it says %v", got)
	}
}

// A scan that is stopped ends its recording in a line, whatever it was at.
func TestScanInterrupted(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	key, err := cosign.Generate(name("key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name("claims.yaml"), []byte(strings.Repeat("---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\n", 20000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if kept, err := os.Stat(name("evidence/" + evidence.InputsFile(0))); err == nil && kept.Size() > 0 { // it lists what there is
				cancel(signalled{})
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var stdout, stderr bytes.Buffer
	args := []string{"scan", name("claims.yaml"), "-q", "--evidence", name("evidence"), "--key", key, "-o", "json=" + name("report.json")}
	if code := run(ctx, args, streams{in: strings.NewReader(""), out: &stdout, err: &stderr}); code != exitTrouble || stderr.String() != "proviso: interrupted\n" {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	_, all := kept(t, name("evidence"))
	if end := all[len(all)-1].Close; end == nil || end.Reason != "failed: interrupted" {
		t.Errorf("the run ends with %+v", all[len(all)-1].Record)
	}
	if left, err := filepath.Glob(name("*report.json*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %q, %v", left, err)
	}
}

// The run that gaps are signed in has an end, too, where a log that has none is no longer read.
func TestReconcileInterrupted(t *testing.T) {
	w, _ := recordedRun(t, producer.Strict)
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "audit.log")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(fifo, os.O_RDWR, 0) // it has no end as long as this is open
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r := newReconciling()
	r.key = w.key
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- r.toTheEnd(ctx, func() error {
			if err := r.open(w.dir); err != nil {
				return err
			}
			return r.run(ctx, []string{fifo})
		})
	}()
	for i := range mostLost {
		if _, err := log.WriteString(auditLine(fmt.Sprint("b-", i), "create", "velero", fmt.Sprint("n-", i), 201, nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	for writes := false; !writes; time.Sleep(time.Millisecond) {
		r.writing.Lock()
		writes = r.w != nil
		r.writing.Unlock()
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, errInterrupted) || err.Error() != "interrupted" {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	_, all := kept(t, w.dir)
	if end := all[len(all)-1].Close; end == nil || end.Reason != "failed: interrupted" {
		t.Errorf("the run ends with %+v", all[len(all)-1].Record)
	}
}

// Why a run ended is one line.
func TestFailed(t *testing.T) {
	if got := failed(errors.Join(errors.New("a"), errors.New("b"))); got != "failed: a; b" {
		t.Errorf("it says %q", got)
	}
	if got := failed(errors.New(strings.Repeat("é", mostReason))); len(got) > mostReason+len(" …") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("it says %d bytes: %q", len(got), got)
	}
}

// A panic is an error of the program: the exit code it would end with is the word for what is incomplete.
func TestPanicIsAnError(t *testing.T) {
	_, err := stoppable(t.Context(), func() (int, error) { panic("at the disco") })
	if err == nil || !strings.Contains(err.Error(), "an error of the program") || !strings.Contains(err.Error(), "at the disco") {
		t.Errorf("got %v", err)
	}
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"version"}, streams{nil, nil, &errs}); code != exitTrouble || !strings.Contains(errs.String(), "an error of the program") {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
