//go:build unix

package test

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"proviso.dev/proviso/engine"
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
	if err := json.Unmarshal([]byte(out), &r); err != nil {
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

// Who holds the key can sign another verdict: it verifies, and judging again tells.
func TestReplayTellsOfAnInsider(t *testing.T) {
	dir, ref := recorded(t, 4)
	key, err := cosign.Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code, out := proviso(t, "evidence", "replay", dir); code != 0 {
		t.Fatalf("to begin with: %d %s", code, out)
	}
	var previous engine.Digest
	var records, entries, hashes bytes.Buffer
	var tree evidence.Tree
	forged := 0
	for _, line := range recordLines(t, dir) {
		var r evidence.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if d := r.Decision; d != nil {
			for i := range d.Results {
				if d.Results[i].Verdict == "fail" {
					d.Results[i].Verdict, d.Results[i].Violations, d.Results[i].Effect = "pass", nil, "record"
					forged++
				}
			}
		}
		if r.Close != nil {
			r.Close.Counts.Fail -= uint64(forged)
			r.Close.Counts.Pass += uint64(forged)
		}
		r.Previous = previous
		if line, err = evidence.Encode(r); err != nil {
			t.Fatal(err)
		}
		previous = evidence.DigestOf(line)
		leaf := sha256.Sum256(line)
		tree.Add(leaf[:])
		h := tlog.RecordHash(leaf[:])
		records.Write(append(line, '\n'))
		entries.Write(append([]byte{0, 32}, leaf[:]...))
		hashes.Write(h[:])
	}
	if forged == 0 {
		t.Fatal("nothing failed")
	}
	raw, err := os.ReadFile(filepath.Join(dir, evidence.ProducerFile))
	if err != nil {
		t.Fatal(err)
	}
	var p evidence.Producer
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	public, err := evidence.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	head, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", p.Origin, tree.Size(), tree.Root())}, noteSigner{public.Checkpoints(p.Origin), key})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, evidence.SealsDir)); err != nil {
		t.Fatal(err)
	}
	width := fmt.Sprint(tree.Size())
	for name, text := range map[string][]byte{evidence.RecordsFile(0): records.Bytes(), "log/tile/entries/000.p/" + width: entries.Bytes(), "log/tile/0/000.p/" + width: hashes.Bytes(), evidence.CheckpointFile: head} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What was there of the shorter log is what the records were.
	for _, level := range []string{"entries", "0"} {
		all, err := filepath.Glob(filepath.Join(dir, "log/tile", level, "000.p/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			if filepath.Base(name) != width {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if code, out := proviso(t, "evidence", "verify", dir); code != 2 || !strings.Contains(out, "the folder has no seal") {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	code, out := proviso(t, "evidence", "replay", dir)
	words := strings.Join(strings.Fields(out), " ")
	if code != 4 || !strings.Contains(words, fmt.Sprintf("%d differ", forged)) || !strings.Contains(words, "recorded pass, record replayed fail, ") {
		t.Errorf("replay: exit code %d\n%s", code, out)
	}
}

type noteSigner struct {
	note.Verifier
	key *cosign.Key
}

func (s noteSigner) Sign(message []byte) ([]byte, error) {
	return s.key.Sign(context.Background(), message)
}
