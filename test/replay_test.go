//go:build unix

package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
)

// Who holds the key can sign another verdict: it verifies, and judging again tells, or says that it cannot.
func TestReplayTellsOfAnInsider(t *testing.T) {
	whole, ref := recorded(t, 4)
	key, err := cosign.Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code, out := proviso(t, "evidence", "replay", whole); code != 0 || strings.Contains(out, "not ") && !strings.Contains(out, "not established") {
		t.Fatalf("to begin with: %d %s", code, out)
	}
	decisions := func(say func(*evidence.Decision)) func(*evidence.Record) {
		return func(r *evidence.Record) {
			if r.Decision != nil {
				say(r.Decision)
			}
		}
	}
	fails := func(say func(*evidence.Result)) func(*evidence.Record) {
		return decisions(func(d *evidence.Decision) {
			for i := range d.Results {
				if r := &d.Results[i]; r.Verdict == "fail" {
					r.Violations, r.Effect = nil, "record"
					say(r)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		lie        func(*evidence.Record)
		verified   int
		code       int
		says, hush string
	}{
		"nothing":                       {func(*evidence.Record) {}, 2, 0, "4 records judged again, ", "not judged again"},
		"a pass":                        {fails(func(r *evidence.Result) { r.Verdict = "pass" }), 2, 4, "recorded pass, record replayed fail, ", ""},
		"a pass by a limit":             {fails(func(r *evidence.Result) { r.Verdict, r.Cause = "pass", "limit" }), 2, 4, "recorded pass, record replayed fail, ", ""},
		"a limit":                       {fails(func(r *evidence.Result) { r.Verdict, r.Cause = "unknown", "limit" }), 2, 2, " not compared: ended by a limit", "recorded"},
		"a problem beside what is said": {decisions(func(d *evidence.Decision) { d.Problems = []string{"odd"} }), 4, 4, "NOT VERIFIED", "differ"},
		"a problem": {decisions(func(d *evidence.Decision) { d.Problems, d.Results = []string{"odd"}, []evidence.Result{} }), 2, 2,
			"0 records judged again, 0 results: 0 differ 4 records not judged again: what was asked is recorded as not judged", ""},
		"policies that were not in force": {func(r *evidence.Record) {
			if r.Activation != nil {
				r.Activation.PolicySet = evidence.DigestOf(nil)
			} else if r.Decision != nil {
				r.Decision.PolicySet = evidence.DigestOf(nil)
			}
		}, 2, 4, "record 1 the policies put into force recorded " + string(evidence.DigestOf(nil)) + " replayed sha256:", ""},
		"a name that speaks to the terminal": {decisions(func(d *evidence.Decision) { d.Results[0].Policy = "a\x1b[1A\x1b[2K\r\nb\u202e\tc" }), 2, 4, "a\uFFFD[1A\uFFFD[2K b\uFFFD c recorded", "\x1b"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "evidence")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			resign(t, dir, key, c.lie)
			if code, out := proviso(t, "evidence", "verify", dir); code != c.verified || c.verified == 2 && !strings.Contains(out, "the folder has no seal") {
				t.Fatalf("verify: exit code %d, want %d\n%s", code, c.verified, out)
			}
			code, out := proviso(t, "evidence", "replay", dir)
			words := strings.Join(strings.Fields(out), " ")
			if code != c.code || !strings.Contains(words, c.says) || c.hush != "" && strings.Contains(words, c.hush) {
				t.Errorf("replay: exit code %d, want %d and %q\n%q", code, c.code, c.says, out)
			}
		})
	}
}

// resign writes the records of a folder anew, each as it is changed, under a head that the key signs, and takes its seals away.
func resign(t *testing.T, dir string, key *cosign.Key, change func(*evidence.Record)) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var previous engine.Digest
	var records, entries, hashes bytes.Buffer
	var tree evidence.Tree
	var counts evidence.Counts
	for _, line := range recordLines(t, dir) {
		var r evidence.Record
		must(json.Unmarshal(line, &r))
		change(&r)
		if r.Decision != nil {
			counts.Add(r.Decision)
		}
		if r.Close != nil {
			r.Close.Counts = counts
		}
		r.Previous = previous
		line, err := evidence.Encode(r)
		must(err)
		previous = evidence.DigestOf(line)
		leaf := sha256.Sum256(line)
		tree.Add(leaf[:])
		h := tlog.RecordHash(leaf[:])
		records.Write(append(line, '\n'))
		entries.Write(append([]byte{0, 32}, leaf[:]...))
		hashes.Write(h[:])
	}
	raw, err := os.ReadFile(filepath.Join(dir, evidence.ProducerFile))
	must(err)
	var p evidence.Producer
	must(json.Unmarshal(raw, &p))
	public, err := evidence.NewKey(key.Public())
	must(err)
	head, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", p.Origin, tree.Size(), tree.Root())}, noteSigner{public.Checkpoints(p.Origin), key})
	must(err)
	must(os.RemoveAll(filepath.Join(dir, evidence.SealsDir)))
	width := fmt.Sprint(tree.Size())
	for name, text := range map[string][]byte{evidence.RecordsFile(0): records.Bytes(), "log/tile/entries/000.p/" + width: entries.Bytes(), "log/tile/0/000.p/" + width: hashes.Bytes(), evidence.CheckpointFile: head,
		"log/.state/treeState": fmt.Appendf(nil, `{"size":%d,"root":%q}`, tree.Size(), tree.Root())} {
		must(os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	// What was there of the shorter log is what the records were.
	for _, level := range []string{"entries", "0"} {
		all, err := filepath.Glob(filepath.Join(dir, "log/tile", level, "000.p/*"))
		must(err)
		for _, name := range all {
			if filepath.Base(name) != width {
				must(os.Remove(name))
			}
		}
	}
}

type noteSigner struct {
	note.Verifier
	key *cosign.Key
}

func (s noteSigner) Sign(message []byte) ([]byte, error) {
	return s.key.Sign(context.Background(), message)
}

// TestReplayCompares: all that a record says of a subject and of a result is held against judging again.
func TestReplayCompares(t *testing.T) {
	dir, _ := recorded(t, 2)
	folder, err := evidence.OpenFolder(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var set *engine.Set
	var fails *evidence.Record // the second schedule fails
	for rec, err := range folder.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if a := rec.Activation; a != nil {
			raw, err := folder.Object(a.Pack)
			if err != nil {
				t.Fatal(err)
			}
			pack, err := bundles.ReadPack(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if set, err = pack.Set(); err != nil {
				t.Fatal(err)
			}
		}
		if rec.Decision != nil {
			fails = &rec.Record
		}
	}
	n := slices.IndexFunc(fails.Decision.Results, func(r evidence.Result) bool { return r.Verdict == "fail" && len(r.Controls) > 0 })
	if n < 0 {
		t.Fatalf("no policy with controls fails: %+v", fails.Decision.Results)
	}
	result := func(say func(*evidence.Result)) func(*evidence.Decision) {
		return func(d *evidence.Decision) { say(&d.Results[n]) }
	}
	all := len(fails.Decision.Results)
	for name, c := range map[string]struct {
		say                             func(*evidence.Decision)
		differ, notJudged, unrepeatable int
	}{
		"nothing":        {func(*evidence.Decision) {}, 0, 0, 0},
		"version":        {func(d *evidence.Decision) { d.Subject.APIVersion = "velero.io/v2" }, 1, 0, 0},
		"kind":           {func(d *evidence.Decision) { d.Subject.Kind = "Backup" }, 1, 0, 0},
		"namespace":      {func(d *evidence.Decision) { d.Subject.Namespace = "other" }, 1, 0, 0},
		"name":           {func(d *evidence.Decision) { d.Subject.Name = "other" }, 1, 0, 0},
		"operation":      {func(d *evidence.Decision) { d.Operation = "DELETE" }, 1, 0, 0},
		"problems":       {func(d *evidence.Decision) { d.Problems = []string{"odd"} }, all, 1, 0},
		"refused":        {func(d *evidence.Decision) { d.Problems, d.Results, d.Answer = []string{"odd"}, nil, &evidence.Answer{} }, 0, 1, 0},
		"problems alone": {func(d *evidence.Decision) { d.Problems, d.Results = []string{"odd"}, nil }, 0, 1, 0},
		"a result less":  {func(d *evidence.Decision) { d.Results = slices.Delete(d.Results, n, n+1) }, 1, 0, 0},
		"a result more": {func(d *evidence.Decision) {
			d.Results = append(d.Results, evidence.Result{Policy: "other", Verdict: "pass"})
		}, 1, 0, 0},
		"a result twice":     {func(d *evidence.Decision) { d.Results = append(d.Results, d.Results[n]) }, 1, 0, 0},
		"digest":             {result(func(r *evidence.Result) { r.Digest = "sha256:0" }), 1, 0, 0},
		"severity":           {result(func(r *evidence.Result) { r.Severity = "low" }), 1, 0, 0},
		"verdict":            {result(func(r *evidence.Result) { r.Verdict = "notApplicable" }), 1, 0, 0},
		"effect":             {result(func(r *evidence.Result) { r.Effect = "record" }), 1, 0, 0},
		"cause":              {result(func(r *evidence.Result) { r.Cause = "field" }), 1, 0, 0},
		"waiver":             {result(func(r *evidence.Result) { r.Waiver = "W-1" }), 1, 0, 0},
		"waived":             {result(func(r *evidence.Result) { r.Waived = true }), 1, 0, 0},
		"standing":           {result(func(r *evidence.Result) { r.Standing = true }), 1, 0, 0},
		"violations":         {result(func(r *evidence.Result) { r.Violations = nil }), 1, 0, 0},
		"controls":           {result(func(r *evidence.Result) { r.Controls = r.Controls[1:] }), 1, 0, 0},
		"a limit":            {result(func(r *evidence.Result) { r.Verdict, r.Cause = "unknown", "limit" }), 0, 0, 1},
		"a limit and a pass": {result(func(r *evidence.Result) { r.Verdict, r.Cause = "pass", "limit" }), 1, 0, 0},
		"a limit of nobody":  {result(func(r *evidence.Result) { r.Policy, r.Verdict, r.Cause = "other", "unknown", "limit" }), 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rec, d := *fails, *fails.Decision
			d.Results = slices.Clone(d.Results)
			rec.Decision = &d
			c.say(&d)
			var r evidence.Replayed
			if err := folder.Replay(t.Context(), &rec, set, &r); err != nil {
				t.Fatal(err)
			}
			if refused := name == "refused"; refused != (r.Refused > 0) {
				t.Errorf("%d refused", r.Refused)
			}
			if len(r.Differences) != c.differ || r.NotJudged != c.notJudged || r.Unrepeatable != c.unrepeatable || r.Records != 1 || r.Results != len(d.Results) {
				t.Errorf("%d differ, %d not judged, %d unrepeatable, want %d, %d, %d: %+v", len(r.Differences), r.NotJudged, r.Unrepeatable, c.differ, c.notJudged, c.unrepeatable, r)
			}
		})
	}
}
