//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// scanning is a folder with Velero's backups in which proviso is run.
func scanning(t *testing.T) (proviso func(args ...string) int) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	proviso = func(args ...string) int {
		var errs bytes.Buffer
		code := run(t.Context(), args, streams{strings.NewReader(""), io.Discard, &errs})
		if code == exitTrouble {
			t.Fatalf("proviso %v: %s", args, errs.String())
		}
		return code
	}
	proviso("demo", "--dir", "d")
	return proviso
}

const demoBackup = "shop-20261101"

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask is what the reports say of a backup.
func (r *reports) ask(t *testing.T, name string) (map[string]any, engine.FactState, error) {
	t.Helper()
	v, state, err := beside{r, engine.NoFacts{}}.Fact(t.Context(), engine.FactQuery{Group: artifacts, Kind: "LastScan", Namespace: "velero", Name: name}, &engine.Subject{})
	found, _ := v.(map[string]any)
	return found, state, err
}

// policiesOf are the policies that a list of the fact names.
func policiesOf(list any) string {
	var ids []string
	entries, _ := list.([]any)
	for _, e := range entries {
		ids = append(ids, e.(map[string]any)["policy"].(string))
	}
	return strings.Join(ids, " ")
}

func TestReportsTellTheLastScanOfABackup(t *testing.T) {
	proviso := scanning(t)
	r := &reports{dir: "evidence", now: time.Now}
	if _, state, err := r.ask(t, demoBackup); state != engine.FactUnknown || err == nil {
		t.Errorf("reports that were not read: %v", state)
	}
	if err := r.read(); err == nil {
		t.Error("a folder that is not there is read")
	}
	start := time.Now().Truncate(time.Second)
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	last, state, err := r.ask(t, demoBackup)
	if state != engine.FactFound {
		t.Fatalf("%v %v", state, err)
	}
	at, err := time.Parse(time.RFC3339, last["at"].(string))
	if err != nil || at.Before(start) || at.After(time.Now()) {
		t.Errorf("at %v, want the time of the scan", last["at"])
	}
	if fails := policiesOf(last["fails"]); last["complete"] != true || !strings.Contains(fails, "completeness/no-volume-skipped") {
		t.Errorf("complete %v, fails %s", last["complete"], fails)
	}
	if _, state, err := r.ask(t, "another"); state != engine.FactAbsent || err != nil {
		t.Errorf("a backup that is not there: %v %v", state, err)
	}
	if _, state, _ := (beside{r, engine.NoFacts{}}).Fact(t.Context(), engine.FactQuery{Kind: "Namespace", Name: "n"}, &engine.Subject{}); state != engine.FactUnknown {
		t.Errorf("another kind: %v, want what the other source says", state)
	}

	// The next scan is read when it is sealed, and only then anything is.
	before := r.state.Load()
	if err := r.read(); err != nil || r.state.Load() != before {
		t.Errorf("reports without a newer seal are read again: %v", err)
	}
	write(t, "waived.yaml", `waivers: [{id: W, policy: completeness/no-volume-skipped, owner: o, reason: r, approver: a, expires: "2099-01-01", subjects: {name: `+demoBackup+`}}]`)
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "--profile", "waived.yaml", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if last, _, _ = r.ask(t, demoBackup); strings.Contains(policiesOf(last["fails"]), "no-volume-skipped") || !strings.Contains(policiesOf(last["waived"]), "no-volume-skipped") {
		t.Errorf("a waived failure: %v", last)
	}

	// A scan that sees the Backup alone does not take the place of one that looked into it; one by another clock proves no age.
	run := last["run"]
	put(t, "backup.yaml", "{apiVersion: velero.io/v1, kind: Backup, metadata: {name: "+demoBackup+", namespace: velero}, spec: {ttl: 720h}}")
	put(t, "seen.yaml", "{apiVersion: velero.io/v1, kind: Backup, metadata: {name: seen, namespace: velero}, spec: {ttl: 720h}}")
	proviso("scan", "backup.yaml", "seen.yaml", "--evidence", "evidence", "-q")
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "--now", "2026-11-22T12:00:00Z", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if last, _, err = r.ask(t, demoBackup); last["run"] != run {
		t.Errorf("another scan took the place of %v: %v %v", run, last, err)
	}
	if last, _, _ = r.ask(t, "seen"); last["complete"] != false {
		t.Errorf("a backup that no scan looked into: %v", last)
	}

	// What is cut short was not read whole, and hides what else there may be.
	whole := filepath.Join("d/velero/backups", demoBackup, demoBackup+".tar.gz")
	raw, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	put(t, whole, string(raw[:2000]))
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if last, _, _ = r.ask(t, demoBackup); last["complete"] != false {
		t.Errorf("a backup that was cut short: %v", last)
	}
	if _, state, _ := r.ask(t, "another"); state != engine.FactAbsent {
		t.Errorf("another backup than the one that was cut short: %v", state)
	}

	// Where nobody knows what there is, nothing is absent.
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	proviso("scan", "velero:empty", "--evidence", "evidence", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if _, state, err := r.ask(t, "another"); state != engine.FactUnknown || err == nil {
		t.Errorf("a backup that may lie where nothing was found: %v", state)
	}
}

// What does not verify, or was signed by somebody else, says nothing.
func TestReportsAreVerified(t *testing.T) {
	proviso := scanning(t)
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "-q")
	public, err := os.ReadFile(filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "proviso", "key", "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := evidence.ParseTrust(public)
	if err != nil {
		t.Fatal(err)
	}
	r := &reports{dir: "evidence", now: time.Now, trust: own}
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	proviso("scan", "velero:d/velero", "--evidence", "others", "-q")
	others := &reports{dir: "others", now: time.Now, trust: own}
	if err := others.read(); err == nil {
		t.Error("what another signed is believed")
	}
	proviso("evidence", "export", "evidence", "-o", "part.tar", "--namespace", "velero")
	part := &reports{dir: "part.tar", now: time.Now}
	if err := part.read(); err == nil {
		t.Error("a part of the reports, which no scan adds to, is read")
	}
	name := filepath.Join("evidence", evidence.RecordsFile(0))
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(raw, []byte(`"verdict":"fail"`), []byte(`"verdict":"pass"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	altered := &reports{dir: "evidence", now: time.Now, trust: own}
	var bad *evidence.NotVerified
	if err := altered.read(); !errors.As(err, &bad) {
		t.Errorf("altered reports: %v", err)
	}
	for _, r := range []*reports{others, altered, part} {
		if _, state, err := r.ask(t, demoBackup); state != engine.FactUnknown || !errors.Is(err, engine.ErrDoubtful) {
			t.Errorf("reports in %s that are not believed say %v, %v", r.dir, state, err)
		}
	}
	// Put right, they are read again without a newer seal.
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := altered.read(); err != nil {
		t.Error(err)
	}
	if _, state, _ := altered.ask(t, demoBackup); state != engine.FactFound {
		t.Errorf("reports that were put right say %v", state)
	}
}

// A restore is judged by what the last scan said.
func TestRestoresOfFailingBackupsAreDenied(t *testing.T) {
	proviso := scanning(t)
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "-q")
	r := &reports{dir: "evidence", now: time.Now}
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	selection, err := profileText{}.selection()
	if err != nil {
		t.Fatal(err)
	}
	selection.With = map[string][]string{reportsParameter: {"evidence"}}
	set, err := selection.Set()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]engine.Verdict{demoBackup: engine.Fail, "never-scanned": engine.Fail} {
		restore := engine.Subject{APIVersion: "velero.io/v1", Kind: "Restore", Namespace: "velero", Name: "r", Operation: engine.Create,
			Object: map[string]any{"apiVersion": "velero.io/v1", "kind": "Restore", "metadata": map[string]any{"name": "r", "namespace": "velero"}, "spec": map[string]any{"backupName": name}}}
		for _, d := range set.Judge(context.Background(), restore, beside{r, engine.NoFacts{}}, time.Now()) {
			if d.Policy.ID == "recoverability/restore-of-proved-backup" && d.Verdict != want {
				t.Errorf("a restore of %s: %v %s %v, want %v", name, d.Verdict, d.Reason, d.Violations, want)
			}
		}
	}
}
