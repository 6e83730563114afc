//go:build unix

package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/engine/report"
)

// A scan that did not end is not compared with, which is told.
func TestSinceTellsOfAScanThatDidNotEnd(t *testing.T) {
	proviso := scanning(t)
	told := func() string {
		t.Helper()
		var errs bytes.Buffer
		run(t.Context(), []string{"scan", "velero:d/velero", "-q", "--since", "evidence"}, streams{strings.NewReader(""), io.Discard, &errs})
		return errs.String()
	}
	const note = "the last scan that ended is that of "
	proviso("scan", "velero:d/velero", "-q", "--evidence", "evidence")
	if text := told(); strings.Contains(text, note) {
		t.Errorf("every scan ended, and it says %s", text)
	}
	interruptedScan(t)
	if text := told(); !strings.Contains(text, note) || !strings.Contains(text, "is not compared with: it failed: interrupted") {
		t.Errorf("a scan did not end, and it says %s", text)
	}
	proviso("scan", "velero:d/velero", "-q", "--evidence", "evidence")
	if text := told(); strings.Contains(text, note) {
		t.Errorf("the last scan ended, and it says %s", text)
	}
}

// Every format shows what changed, or is known not to.
func TestFormatsShowWhatChanged(t *testing.T) {
	proviso := scanning(t)
	proviso("scan", "velero:d/velero", "-q", "--evidence", "evidence")
	for _, format := range report.Formats() {
		var out bytes.Buffer
		run(t.Context(), []string{"scan", "velero:d/velero", "-q", "--since", "evidence", "-o", format}, streams{strings.NewReader(""), &out, io.Discard})
		if shown := slices.ContainsFunc([]string{"since the scan of ", `"since": {`}, func(words string) bool { return strings.Contains(out.String(), words) }); shown != showsSince(format) {
			t.Errorf("%s: what changed is shown: %v", format, shown)
		}
	}
}
