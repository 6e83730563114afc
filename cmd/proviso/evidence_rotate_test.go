//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
)

// What was cut off is taken up where it was: a log that has its end gets no other.
func TestRotateIsTakenUp(t *testing.T) {
	for state, sealed := range map[string]bool{"its end is not sealed": false, "the one that goes on does not say so": true} {
		t.Run(state, func(t *testing.T) {
			s := streams{nil, io.Discard, io.Discard}
			from, to := handing{dir: filepath.Join(t.TempDir(), "old"), key: newKey(t)}, handing{dir: filepath.Join(t.TempDir(), "new"), key: newKey(t)}
			next := ""
			for _, h := range []handing{from, to} {
				w, err := h.open(t.Context(), s, nil)
				if err != nil {
					t.Fatal(err)
				}
				next = w.Key().VerifierKey(w.Origin())
				if err := w.Close(t.Context(), "done"); err != nil {
					t.Fatal(err)
				}
			}
			if sealed {
				if _, err := from.handOver(t.Context(), s, to); err != nil {
					t.Fatal(err)
				}
			} else {
				w, err := from.open(t.Context(), s, func() (string, error) { return next, nil })
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Append(t.Context(), evidence.Record{Key: &evidence.KeyChange{Next: next}}); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(t.Context(), "done"); err != nil {
					t.Fatal(err)
				}
			}
			_, before := kept(t, from.dir)
			for n, want := range []string{"goes on: log", "nothing is recorded", "nothing is recorded"} {
				var out, errs bytes.Buffer
				if err := rotate(t.Context(), streams{nil, &out, &errs}, from, to); err != nil || !strings.Contains(out.String(), want) {
					t.Fatalf("call %d: %v: %s%s", n+1, err, &out, &errs)
				}
			}
			_, after := kept(t, from.dir)
			if grown := len(after) - len(before); grown != 0 == sealed || grown > 3 {
				t.Errorf("%d records more in the log that ends", grown)
			}
			old, err := from.verified(streams{})
			if err != nil {
				t.Fatal(err)
			}
			goesOn, err := to.verified(streams{})
			if err != nil {
				t.Fatal(err)
			}
			if b := goesOn.Before; b == nil || b.Root != old.Head.Root || old.ExitCode() != 0 || goesOn.ExitCode() != 0 {
				t.Errorf("before is %+v, and the head %+v; %v %v", b, old.Head, old.Holes, goesOn.Holes)
			}
		})
	}
}

// A log that another writes to is not ended, and the folder of one that would go on is not made; what was cut off when that was
// made leaves nothing that does not verify.
func TestRotateLeavesNothing(t *testing.T) {
	from, to := handing{dir: filepath.Join(t.TempDir(), "old"), key: newKey(t)}, handing{dir: filepath.Join(t.TempDir(), "new"), key: newKey(t)}
	var out, errs bytes.Buffer
	s := streams{nil, &out, &errs}
	w, err := from.open(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := rotate(t.Context(), s, from, to); err == nil || !strings.Contains(err.Error(), "is writing to it") {
		t.Errorf("while another writes: %v", err)
	}
	if _, err := os.Stat(to.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was made: %v", to.dir, err)
	}
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	if _, err := to.found(t.Context(), s); err != nil { // and then it was killed
		t.Fatal(err)
	}
	if err := rotate(t.Context(), s, from, to); err != nil {
		t.Fatal(err)
	}
	for _, h := range []handing{from, to} {
		if v, err := h.verified(s); err != nil || v.ExitCode() != exitOK {
			t.Errorf("%s: %v: %+v", h.dir, err, v)
		}
	}
	if errs.Len() > 0 {
		t.Errorf("it says %s", &errs)
	}
}

// A run that was killed has no end, and who goes on after it says so.
func TestRotateAfterAKill(t *testing.T) {
	from, to := handing{dir: filepath.Join(t.TempDir(), "old"), key: newKey(t)}, handing{dir: filepath.Join(t.TempDir(), "new"), key: newKey(t)}
	var out, errs bytes.Buffer
	w, err := from.open(t.Context(), streams{nil, &out, &errs}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	killed := from
	killed.dir = filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(killed.dir, os.DirFS(from.dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	if err := rotate(t.Context(), streams{nil, &out, &errs}, killed, to); err != nil || !strings.Contains(errs.String(), "the run before was cut off and has no end") {
		t.Errorf("%v: %s", err, &errs)
	}
}

// What went wrong stands in the end of a run, though the caller was interrupted.
func TestRotateSaysWhy(t *testing.T) {
	h := handing{dir: filepath.Join(t.TempDir(), "log"), key: newKey(t)}
	w, err := h.open(t.Context(), streams{nil, io.Discard, io.Discard}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	why := errors.New("the disk is gone")
	if err := ends(ctx, w, why); !errors.Is(err, why) {
		t.Errorf("it ended with %v", err)
	}
	_, all := kept(t, h.dir)
	if end := all[len(all)-1].Close; end == nil || end.Reason != "failed: the disk is gone" {
		t.Errorf("the run ends with %+v", end)
	}
}

// The log that goes on is of the cluster that the one before was of.
func TestRotateKeepsTheCluster(t *testing.T) {
	s := streams{nil, io.Discard, io.Discard}
	one := &evidence.Cluster{UID: "c-1", Name: "prod"}
	from, to := handing{dir: filepath.Join(t.TempDir(), "old"), key: newKey(t), cluster: one}, handing{dir: filepath.Join(t.TempDir(), "new"), key: newKey(t)}
	other := handing{dir: filepath.Join(t.TempDir(), "other"), key: to.key, cluster: &evidence.Cluster{UID: "c-2"}}
	for _, h := range []handing{from, other} {
		w, err := h.open(t.Context(), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
	}
	from.cluster = nil
	_, before := kept(t, from.dir)
	if err := rotate(t.Context(), s, from, handing{dir: other.dir, key: other.key}); err == nil || !strings.Contains(err.Error(), "is evidence of the cluster with UID c-2") {
		t.Errorf("a folder of another cluster: %v", err)
	}
	if _, after := kept(t, from.dir); len(after) != len(before) {
		t.Errorf("%d records more in the log that did not end", len(after)-len(before))
	}
	if err := rotate(t.Context(), s, from, to); err != nil {
		t.Fatal(err)
	}
	if is, err := to.of(); err != nil || is == nil || *is != *one {
		t.Errorf("it goes on of %+v: %v", is, err)
	}
	to.cluster = other.cluster
	if _, err := to.open(t.Context(), s, nil); err == nil || !strings.Contains(err.Error(), "with UID c-1, and this is the one with UID c-2") {
		t.Errorf("another cluster goes on in it: %v", err)
	}
}

// newKey is a key of its own.
func newKey(t *testing.T) *cosign.Key {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "key")
	if _, err := cosign.Generate(dir); err != nil {
		t.Fatal(err)
	}
	key, err := cosign.Open(t.Context(), filepath.Join(dir, cosign.KeyFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
