//go:build unix

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
)

// recorded is the folder of evidence that a scan of n generated objects leaves, and the key that signed it.
func recorded(t *testing.T, n int) (dir, key string) {
	t.Helper()
	work := t.TempDir()
	var text strings.Builder
	for i := range n {
		ttl := []string{"1080h0m0s", "48h0m0s", "a month", "0s"}[i%4]
		fmt.Fprintf(&text, "---\napiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: s-%d, namespace: velero}\nspec:\n  schedule: \"%d 2 * * *\"\n  template: {includedNamespaces: [team-%d], storageLocation: primary, ttl: %s}\n", i, i%60, i%50, ttl)
	}
	manifests := filepath.Join(work, "schedules.yaml")
	if err := os.WriteFile(manifests, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(work, "config"))
	dir = filepath.Join(work, "evidence")
	if code, out := proviso(t, "scan", manifests, "--evidence", dir, "--now", "2026-11-22T12:00:00Z", "-o", "json="+filepath.Join(work, "report.json")); code != 3 {
		t.Fatalf("scan: exit code %d\n%s", code, out[max(0, len(out)-2000):])
	}
	return dir, filepath.Join(work, "config", "proviso", "key", cosign.KeyFile)
}

// proviso runs the command, and returns its exit code and what it wrote.
func proviso(t *testing.T, args ...string) (int, string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "proviso"), args...).CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

func recordLines(t *testing.T, dir string) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "records", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))...)
	}
	return all
}

// EVD-14: ten thousand records judged again give what was recorded, every one; and each of them is what the schema says.
func TestReplayMany(t *testing.T) {
	if testing.Short() {
		t.Skip("judges ten thousand subjects twice")
	}
	const n = 10_000
	begun := time.Now()
	dir, _ := recorded(t, n)
	scanned := time.Since(begun)
	begun = time.Now()
	code, out := proviso(t, "evidence", "replay", dir, "-o", "json")
	replayed := time.Since(begun)
	var r evidence.Replayed
	_, report, _ := strings.Cut(out, "{") // a note on who signed stands before it
	if err := json.Unmarshal([]byte("{"+report), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if code != 0 || r.Records != n || r.Results < n || len(r.Differences) > 0 || r.Unrepeatable > 0 || r.Erased > 0 {
		t.Errorf("exit code %d: %d records, %d results, %d differ, %d unrepeatable, %d erased", code, r.Records, r.Results, len(r.Differences), r.Unrepeatable, r.Erased)
	}
	begun = time.Now()
	if code, out := proviso(t, "evidence", "verify", dir); code != 0 {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	t.Logf("%d records, %d results: scanned in %v, verified in %v, verified and judged again in %v", r.Records, r.Results, scanned, time.Since(begun), replayed)
	c := jsonschema.NewCompiler()
	c.AssertFormat = true
	if err := c.AddResource("record.json", bytes.NewReader(evidence.Schema())); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range recordLines(t, dir) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Fatalf("%#v in %s", err, line)
		}
	}
}
