//go:build unix

package main

import (
	"bytes"
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
			from, to := handing{filepath.Join(t.TempDir(), "old"), newKey(t)}, handing{filepath.Join(t.TempDir(), "new"), newKey(t)}
			next := ""
			for _, h := range []handing{from, to} {
				w, err := h.open(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				next = w.Key().VerifierKey(w.Origin())
				if err := w.Close(t.Context(), "done"); err != nil {
					t.Fatal(err)
				}
			}
			if sealed {
				if _, err := from.handOver(t.Context(), next); err != nil {
					t.Fatal(err)
				}
			} else {
				w, err := from.open(t.Context(), next)
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
