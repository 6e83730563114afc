//go:build unix

package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence/producer"
)

// A record is acknowledged once its file was synced, after what it rests on was (F11). No kill shows that: a killed process
// leaves its pages to the kernel.
func TestRealEvidenceSyncedBeforeAcknowledged(t *testing.T) {
	needsStrace(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := child(t, dir, producer.Strict, 20, 1, "-y", "-o", trace, "-e", "trace=pwrite64,fsync,write")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// dirty are the files written and not synced since, unnamed the folders of which no name was synced.
	dirty, unnamed := map[string]bool{}, map[string]bool{"records": true, "inputs": true}
	begun := map[string]string{}
	acknowledged := 0
	for line := range strings.Lines(string(raw)) {
		thread, _, _ := strings.Cut(line, " ")
		if strings.Contains(line, "fsync resumed>") {
			line = begun[thread] // it is done now
		} else if strings.Contains(line, "fsync(") && strings.Contains(line, "<unfinished") {
			begun[thread] = line
			continue
		}
		path := ""
		if _, rest, ok := strings.Cut(line, "<"+dir+"/"); ok {
			path, _, _ = strings.Cut(rest, ">")
		}
		kind, _, _ := strings.Cut(path, "/")
		switch {
		case strings.Contains(line, "pwrite64("):
			if kind == "records" && dirty["inputs"] {
				t.Errorf("records were written before inputs were synced: %s", line)
			}
			dirty[kind] = true
		case strings.Contains(line, "fsync(") && path == kind:
			delete(unnamed, kind)
		case strings.Contains(line, "fsync("):
			delete(dirty, kind)
		case strings.Contains(line, `"ack `):
			acknowledged++
			if len(dirty) > 0 || len(unnamed) > 0 {
				t.Errorf("acknowledged while %v is not synced, and names in %v are not: %s", dirty, unnamed, line)
			}
		}
	}
	if acknowledged != 20 {
		t.Errorf("%d acknowledged", acknowledged)
	}
}

// What an earlier run left is synced before it is built on: a process that was killed leaves to the kernel what it had not
// synced, and it is read all the same.
func TestRealEvidenceTakenUpIsSynced(t *testing.T) {
	needsStrace(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	trace := filepath.Join(t.TempDir(), "trace")
	for _, options := range [][]string{nil, {"-y", "-o", trace, "-e", "trace=pwrite64,fsync"}} {
		if out, err := child(t, dir, producer.Strict, 3, 1, options...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	before, _, written := strings.Cut(string(raw), "<"+dir+"/records/0000000000.jsonl>, ")
	if !written {
		t.Fatalf("nothing was written:\n%s", raw)
	}
	for _, name := range []string{"/records/0000000000.jsonl", "/records", "/inputs", ""} {
		synced := false
		for line := range strings.Lines(before) {
			synced = synced || strings.Contains(line, "fsync(") && strings.Contains(line, "<"+dir+name+">")
		}
		if !synced {
			t.Errorf("records were written, and %q was not synced before", name)
		}
	}
}
