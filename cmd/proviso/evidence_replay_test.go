//go:build unix

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// What was not judged is told as it is, not as much of it as verify lists; a run that is merely open is no hole.
func TestReplayUnjudged(t *testing.T) {
	for _, c := range []struct {
		holes int
		close bool
		want  []string
	}{
		{0, false, []string{"a run is still running, or ended before it was done"}},
		{120, true, []string{"tells of 120 holes or gaps, where nothing was judged"}},
		{120, false, []string{"tells of 120 holes or gaps, where nothing was judged", "a run is still running, or ended before it was done"}},
	} {
		t.Run(fmt.Sprint(c.holes, c.close), func(t *testing.T) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			key, err := testKey()
			must(err)
			dir := filepath.Join(t.TempDir(), "evidence")
			w, err := producer.Open(t.Context(), dir, producer.Options{Signer: key, Kind: "admission", Mode: producer.Strict, Run: "one", Engine: evidence.Engine{Version: "test"}})
			must(err)
			for n := range c.holes {
				_, err := w.Append(t.Context(), evidence.Record{Hole: &evidence.Hole{Kind: "broken", Reason: fmt.Sprint(n)}})
				must(err)
			}
			if c.close {
				must(w.Close(t.Context(), "done"))
			} else {
				defer w.Close(t.Context(), "done")
			}
			var errs strings.Builder
			if code := run(t.Context(), []string{"evidence", "replay", dir}, streams{strings.NewReader(""), io.Discard, &errs}); code != exitIncomplete {
				t.Errorf("exit code %d: %s", code, &errs)
			}
			for _, note := range []string{"a run is still running", "holes or gaps", "hole or gap"} {
				if want := strings.Contains(strings.Join(c.want, "\n"), note); strings.Contains(errs.String(), note) != want {
					t.Errorf("%q is said: %v, in:\n%s", note, !want, &errs)
				}
			}
			for _, note := range c.want {
				if !strings.Contains(errs.String(), note) {
					t.Errorf("no %q in:\n%s", note, &errs)
				}
			}
		})
	}
}
