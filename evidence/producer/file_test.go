//go:build unix

package producer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
)

// After a handle failed, the file is made anew from what is on disk, once that is what was written, and from what was not
// acknowledged.
func TestFileRestored(t *testing.T) {
	var told []error
	begun := func(t *testing.T) *file {
		t.Helper()
		told = nil
		var lines []string
		f, err := openFile(filepath.Join(t.TempDir(), "f"), func(line []byte, n int) error {
			if n >= len(lines) || string(line) != lines[n] {
				return errDamaged
			}
			return nil
		}, func(err error) { told = append(told, err) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.close() })
		lines = []string{"one", "two"}
		if err := f.append([]byte("one\ntwo\n")); err != nil {
			t.Fatal(err)
		}
		return f
	}
	content := func(t *testing.T, f *file) string {
		t.Helper()
		raw, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	t.Run("a handle that fails", func(t *testing.T) {
		f := begun(t)
		failed := f.f
		failed.Close()
		if err := f.append([]byte("three\n")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "one\ntwo\nthree\n" || f.f == failed {
			t.Errorf("%q", got)
		}
		if len(told) != 1 || !strings.Contains(told[0].Error(), "made anew") {
			t.Errorf("told %v", told)
		}
		if err := f.append([]byte("four\n")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "one\ntwo\nthree\nfour\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("a handle that takes what it never syncs", func(t *testing.T) {
		f := begun(t)
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if null.Sync() == nil {
			t.Skip("it syncs")
		}
		f.f.Close()
		f.f = null
		if err := os.Mkdir(f.path+unfinished, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.append([]byte("three\n")); err == nil || f.f != nil {
			t.Errorf("%v; the handle is kept: %t", err, f.f != nil)
		}
		if err := os.Remove(f.path + unfinished); err != nil {
			t.Fatal(err)
		}
		if err := f.append([]byte("three\n")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "one\ntwo\nthree\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("what was not acknowledged is replaced", func(t *testing.T) {
		f := begun(t)
		f.f.Close()
		if err := os.WriteFile(f.path, []byte("one\ntwo\nthrxx"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := f.append([]byte("three\n")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "one\ntwo\nthree\n" {
			t.Errorf("%q", got)
		}
	})
	for name, damage := range map[string]string{"altered": "one\ntwx\n", "shorter": "one\n", "joined": "one two\n"} {
		t.Run("what was acknowledged is "+name, func(t *testing.T) {
			f := begun(t)
			f.f.Close()
			if err := os.WriteFile(f.path, []byte(damage), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := f.append([]byte("three\n")); err == nil {
				t.Fatal("it was written on")
			} else if name == "altered" && !errors.Is(err, errDamaged) {
				t.Errorf("%v", err)
			}
			if got := content(t, f); got != damage {
				t.Errorf("the evidence of the damage was altered: %q", got)
			}
		})
	}
	t.Run("it cannot be made anew", func(t *testing.T) {
		f := begun(t)
		f.f.Close()
		if err := os.Mkdir(f.path+unfinished, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.append([]byte("three\n")); err == nil || !strings.Contains(err.Error(), "restore") {
			t.Errorf("%v", err)
		}
		if err := os.Remove(f.path + unfinished); err != nil {
			t.Fatal(err)
		}
		if err := f.append([]byte("four\n")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "one\ntwo\nfour\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestValueChecked(t *testing.T) {
	values, err := encodeValues([]any{map[string]any{"a": "}"}})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(string(values[0].line), "\n")
	if err := checkValue([]byte(line), 0); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	if err := checkValue([]byte(line[:strings.Index(line, `,"value"`)]+`,"erased":"because"}`), 0); err != nil {
		t.Errorf("an erased value: %v", err)
	}
	for _, bad := range []string{"", "{}", strings.Replace(line, `"a"`, `"b"`, 1), line[:20], strings.Replace(line, "sha256:", "sha257:", 1)} {
		if checkValue([]byte(bad), 0) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// Who gives up before there is room is counted.
func TestNoRoom(t *testing.T) {
	w := &Writer{o: Options{Kind: "admission", Mode: Strict, Now: time.Now}, room: make(chan struct{}), wake: make(chan struct{}, 1), queued: maxQueued}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	e := &entry{rec: &evidence.Record{Decision: &evidence.Decision{Event: "u-1"}}, done: make(chan error, 1)}
	if err := w.enqueue(gone, e, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if w.lostAll != 1 || w.lost.n != 1 || len(w.lost.events) != 1 || w.lost.events[0] != "u-1" {
		t.Errorf("%d lost, %+v", w.lostAll, w.lost)
	}
	w.o.Kind = "scan"
	if err := w.enqueue(gone, e, nil); err == nil || w.lostAll != 1 {
		t.Errorf("a scan's: %v, %d lost", err, w.lostAll)
	}
}
