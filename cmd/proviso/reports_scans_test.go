//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// scanOf is a scan of some day, a line for each thing it says: SOURCE KIND POLICY=VERDICT… of a backup named b, or of another
// where the kind says KIND/NAME; SOURCE hole FILE; SOURCE problem KIND; SOURCE scope; cut off, of a scan that did not end.
func scanOf(day int, lines ...string) *runReports {
	r := &runReports{run: &evidence.Run{ID: fmt.Sprint("run-", day), Start: time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)},
		found: map[backupName]map[string]*scanned{}, sources: map[string]bool{}, policies: map[string]bool{}}
	for _, line := range lines {
		words := strings.Fields(line)
		source, kind := words[0], words[1]
		if kind == "hole" {
			r.hole(&evidence.Hole{Source: strings.Trim(source, "-"), File: words[2], Kind: unreadKinds[engine.Hole], Reason: "cut short"})
			continue
		}
		if line == "cut off" {
			r.cutOff = true
			continue
		}
		if kind == "scope" {
			_ = r.take(nil, &evidence.Record{Open: &evidence.Open{Scope: []string{source}}})
			continue
		}
		d := &evidence.Decision{}
		if kind == "problem" {
			kind, d.Problems, words = words[2], []string{"of no use"}, words[:2]
		}
		kind, name, named := strings.Cut(kind, "/")
		if !named {
			name = "b"
		}
		version := artifacts + "/v1alpha1"
		if kind == "Backup" {
			version = "velero.io/v1"
		}
		d.Subject = evidence.Subject{APIVersion: version, Kind: kind, Name: name, Source: source, File: "backups/" + name + "/x"}
		for _, word := range words[2:] {
			policy, verdict, _ := strings.Cut(word, "=")
			verdict, isWaived := strings.CutPrefix(verdict, "waived-")
			d.Results = append(d.Results, evidence.Result{Policy: policy, Severity: "high", Verdict: verdict, Waived: isWaived})
		}
		r.decision(d)
	}
	return r
}

// What a scan says stands until one of the same source that can know says otherwise, and all backups of one name must be good.
func TestWhatWasSaidOfABackupStands(t *testing.T) {
	const sound = "s3 BackupContents p=pass q=pass"
	for name, c := range map[string]struct {
		scans [][]string
		want  string
	}{
		"nothing":                                 {nil, "absent"},
		"sound":                                   {[][]string{{sound}}, "complete 1"},
		"fails":                                   {[][]string{{"s3 BackupContents p=fail q=unknown r=waived-fail"}}, "complete 1 fails p unknowns q waived r"},
		"mended":                                  {[][]string{{"s3 BackupContents p=fail q=unknown"}, {sound}}, "complete 2"},
		"does not apply any more":                 {[][]string{{"s3 BackupContents p=fail q=pass"}, {"s3 BackupContents p=notApplicable q=pass"}}, "complete 2"},
		"waived":                                  {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents p=waived-fail"}}, "complete 2 waived p"},
		"by other policies that judge nothing":    {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents"}}, "complete 1 fails p"},
		"by other policies":                       {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents q=pass"}}, "complete 2 fails p"},
		"unknown by other policies":               {[][]string{{"s3 BackupContents p=unknown"}, {"s3 BackupContents q=pass"}}, "complete 2 unknowns p"},
		"is not known any more":                   {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents p=unknown"}}, "complete 2 fails p"},
		"judged by nobody":                        {[][]string{{"s3 BackupContents", "s3 Backup p=pass"}}, "incomplete 1"},
		"nothing applies":                         {[][]string{{"s3 BackupContents p=notApplicable"}}, "incomplete 1"},
		"another bucket is sound":                 {[][]string{{"s3 BackupContents p=fail"}, {strings.Replace(sound, "s3", "dev", 1)}}, "complete 1 fails p"},
		"another bucket fails":                    {[][]string{{sound}, {"dev BackupContents p=fail"}}, "complete 1 fails p"},
		"another bucket was cut short":            {[][]string{{sound}, {"dev BackupContents p=pass", "dev hole backups/b/x"}}, "incomplete 1"},
		"a Backup in another bucket, unread":      {[][]string{{sound}, {"dev Backup p=pass", "dev hole backups/b/x"}}, "incomplete 1"},
		"the Backup fails later":                  {[][]string{{sound}, {"cluster Backup p=fail"}}, "complete 1 fails p"},
		"the Backup fails later, in its bucket":   {[][]string{{sound}, {"s3 Backup p=fail"}}, "complete 1 fails p"},
		"the Backup is sound later":               {[][]string{{"s3 BackupContents p=fail"}, {"s3 Backup p=pass"}}, "complete 1 fails p"},
		"another right is missing in the cluster": {[][]string{{sound}, {"cluster Backup p=pass", "cluster hole nodes"}}, "complete 1"},
		"two of one name in one bucket":           {[][]string{{"s3 BackupContents p=fail", "s3 BackupContents p=pass"}}, "complete 1 fails p"},
		"cut short later":                         {[][]string{{sound}, {"s3 Backup p=pass", "s3 hole backups/b/x"}}, "incomplete 1"},
		"cut short, and read again":               {[][]string{{sound}, {"s3 hole backups/b/x"}, {sound}}, "complete 3"},
		"another one was cut short":               {[][]string{{sound, "s3 Backup/c p=pass", "s3 hole backups/c/x"}}, "complete 1"},
		"something was not read":                  {[][]string{{sound, "s3 hole elsewhere"}}, "incomplete 1"},
		"something was not read, nobody knows of": {[][]string{{sound, "- hole elsewhere"}}, "incomplete 1"},
		"something was not read in a bucket":      {[][]string{{sound, "dev hole elsewhere"}}, "complete 1"},
		"it cannot be judged":                     {[][]string{{"s3 BackupContents p=pass", "s3 problem RestorePlan"}}, "incomplete 1"},
		"never found, and something was not read": {[][]string{{"s3 hole elsewhere"}}, "unknown"},
		"never found, and all was read since":     {[][]string{{"s3 hole elsewhere"}, {"s3 BackupContents/c p=pass"}}, "absent"},
		"never found, and another bucket is read": {[][]string{{"s3 hole elsewhere"}, {"dev BackupContents/c p=pass"}}, "unknown"},
		"never found, and nothing is there now":   {[][]string{{"s3 hole elsewhere"}, {"velero:s3 scope"}}, "absent"},
		"it is there no more":                     {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents/c p=pass"}}, "absent"},
		"it is in another bucket alone":           {[][]string{{"s3 BackupContents p=fail", "dev BackupContents p=pass"}, {"s3 BackupContents/c p=pass"}}, "complete 1"},
		"others are there, by other policies":     {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents/c q=pass"}}, "complete 1 fails p"},
		"others are there, not looked into":       {[][]string{{"s3 BackupContents p=fail"}, {"s3 Backup/c p=pass"}}, "complete 1 fails p"},
		"cut off, and fails":                      {[][]string{{sound}, {"cut off", "s3 BackupContents p=fail"}}, "incomplete 1 fails p"},
		"cut off, and unknown":                    {[][]string{{sound}, {"cut off", "s3 BackupContents p=unknown"}}, "incomplete 1 unknowns p"},
		"cut off, and was waived":                 {[][]string{{"s3 BackupContents p=waived-fail"}, {"cut off", "s3 BackupContents p=fail"}}, "incomplete 1 fails p"},
		"cut off, and is waived":                  {[][]string{{"s3 BackupContents p=fail"}, {"cut off", "s3 BackupContents p=waived-fail"}}, "complete 1 fails p"},
		"cut off, and sound":                      {[][]string{{"s3 BackupContents p=fail"}, {"cut off", sound}}, "complete 1 fails p"},
		"cut off, and as before":                  {[][]string{{sound}, {"cut off", sound}}, "complete 1"},
		"cut off, and cannot be judged":           {[][]string{{sound}, {"cut off", "s3 problem RestorePlan"}}, "incomplete 1"},
		"cut off, and others are there":           {[][]string{{"s3 BackupContents p=fail"}, {"cut off", "s3 BackupContents/c p=pass"}}, "complete 1 fails p"},
		"cut off, and scanned again":              {[][]string{{sound}, {"cut off", "s3 BackupContents p=fail"}, {sound}}, "complete 3"},
		"cut off, and never scanned before":       {[][]string{{"cut off", sound}}, "incomplete 1"},
		"cut off, and something was not read":     {[][]string{{sound}, {"cut off", "s3 hole backups/b/x"}}, "incomplete 1"},
		"cut off, and all may be there":           {[][]string{{"s3 hole elsewhere"}, {"cut off", "s3 BackupContents/c p=pass"}}, "unknown"},
		"others are there, not all was read":      {[][]string{{"s3 BackupContents p=fail"}, {"s3 BackupContents/c p=pass", "s3 hole elsewhere"}}, "incomplete 1 fails p"},
	} {
		state := &readReports{backups: map[backupName]map[string]*scanned{}, doubts: map[string]string{}}
		for i, lines := range c.scans {
			state.add(scanOf(i+1, lines...))
		}
		r := &reports{}
		r.state.Store(state)
		last, is, _ := r.Fact(t.Context(), engine.FactQuery{Name: "b"}, nil)
		got := map[engine.FactState]string{engine.FactAbsent: "absent", engine.FactUnknown: "unknown"}[is]
		if last, found := last.(map[string]any); found {
			if got = "incomplete"; last["complete"] == true {
				got = "complete"
			}
			at, err := time.Parse(time.RFC3339, last["at"].(string))
			if err != nil || last["run"] != fmt.Sprint("run-", at.Day()) {
				t.Errorf("%s: at %v in run %v", name, last["at"], last["run"])
			}
			got += fmt.Sprint(" ", at.Day())
			for _, list := range []string{"fails", "unknowns", "waived"} {
				if ids := policiesOf(last[list]); ids != "" {
					got += " " + list + " " + ids
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A scan by other policies into the same folder leaves a failing backup failing.
func TestAScanByOtherPoliciesMendsNothing(t *testing.T) {
	policies, err := filepath.Abs("../../policies")
	if err != nil {
		t.Fatal(err)
	}
	proviso := scanning(t)
	r := &reports{dir: "evidence", now: time.Now}
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "-q")
	if err := os.CopyFS("few/immutability/lock-not-drifted", os.DirFS(filepath.Join(policies, "immutability/lock-not-drifted"))); err != nil {
		t.Fatal(err)
	}
	write(t, "few.yaml", "bundles: [./few]\n")
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "--profile", "few.yaml", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	last, _, _ := r.ask(t, demoBackup)
	fails, _ := last["fails"].([]any)
	for _, f := range fails {
		if f := f.(map[string]any); f["policy"] == "completeness/no-volume-skipped" && f["source"] == "d/velero" && f["at"] == last["at"] {
			return
		}
	}
	t.Errorf("the failure is gone: %v", last)
}

// interruptedScan is a second scan, interrupted once it has recorded that a policy fails.
func interruptedScan(t *testing.T) {
	t.Helper()
	failing := regexp.MustCompile(`"policy":"completeness/no-volume-skipped","digest":"[^"]*","severity":"[^"]*","verdict":"fail"`)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &endingLog{words: "no-volume-skipped", end: func() {
		defer interrupt()
		for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(time.Millisecond) {
			if raw, err := os.ReadFile(filepath.Join("evidence", evidence.RecordsFile(0))); err == nil && len(failing.FindAll(raw, -1)) >= 2 {
				return
			}
		}
		t.Error("the failure is not recorded")
	}}
	var errs bytes.Buffer
	if code := run(ctx, []string{"scan", "velero:d/velero", "--evidence", "evidence", "-q", "-o", "json"}, streams{strings.NewReader(""), out, &errs}); code != exitTrouble || !strings.Contains(errs.String(), "interrupted") {
		t.Fatalf("exit code %d, %s", code, errs.String())
	}
}

// A failure that a scan recorded stands though the scan was interrupted, and whoever serves is told of such scans.
func TestAScanThatDidNotEndMendsNothing(t *testing.T) {
	proviso := scanning(t)
	write(t, "waived.yaml", `waivers: [{id: W, policy: completeness/no-volume-skipped, owner: o, reason: r, approver: a, expires: "2099-01-01", subjects: {name: `+demoBackup+`}}]`)
	put(t, "another.yaml", "{apiVersion: velero.io/v1, kind: Backup, metadata: {name: another, namespace: velero}, spec: {ttl: 720h}}")
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "--profile", "waived.yaml", "-q")
	interruptedScan(t)
	proviso("scan", "another.yaml", "--evidence", "evidence", "-q")
	ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	log := &endingLog{words: "did not end", end: end}
	r := &reports{dir: "evidence", now: time.Now}
	if err := r.keep(ctx, time.Hour, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "scans=1") {
		t.Errorf("it does not say that a scan did not end: %s", log.String())
	}
	if last, _, err := r.ask(t, demoBackup); last["complete"] != false || policiesOf(last["fails"]) == "" || policiesOf(last["waived"]) != "" {
		t.Errorf("what an interrupted scan found is gone: %v %v", last, err)
	}
	proviso("scan", "velero:d/velero", "--evidence", "evidence", "--profile", "waived.yaml", "-q")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if last, _, _ := r.ask(t, demoBackup); last["complete"] != true || !strings.Contains(policiesOf(last["waived"]), "no-volume-skipped") {
		t.Errorf("a scan that ended says otherwise: %v", last)
	}
}

// An older copy of the folder, or one of another signer, is not believed once the folder was read.
func TestReportsFollowOneLog(t *testing.T) {
	proviso := scanning(t)
	put(t, "backup.yaml", "{apiVersion: velero.io/v1, kind: Backup, metadata: {name: b, namespace: velero}, spec: {ttl: 720h}}")
	scan := func(dir string) { proviso("scan", "backup.yaml", "--evidence", dir, "-q") }
	scan("evidence")
	if out, err := exec.Command("cp", "-a", "evidence", "old").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	scan("evidence")
	r := &reports{dir: "evidence", now: time.Now}
	swap := func(away, in string) {
		t.Helper()
		if err := errors.Join(os.Rename("evidence", away), os.Rename(in, "evidence")); err != nil {
			t.Fatal(err)
		}
	}
	unknown := func(want string) {
		t.Helper()
		for range 2 {
			if err := r.read(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if _, state, err := r.ask(t, "b"); state != engine.FactUnknown || !errors.Is(err, engine.ErrDoubtful) {
			t.Errorf("it says %v, %v", state, err)
		}
	}
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	swap("new", "old")
	unknown("it does not continue what was read before: the log had ")
	scan("evidence") // another history, as long as the first
	unknown("it does not continue what was read before: the records give another root")
	swap("old", "new")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	scan("evidence")
	if err := r.read(); err != nil {
		t.Errorf("the log that goes on: %v", err)
	}
	scan("another")
	swap("new", "another")
	unknown("and what was read before is the log")
	swap("another", "new")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	scan("others")
	swap("new", "others")
	unknown("signed by")
	swap("others", "new")
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if _, state, _ := r.ask(t, "b"); state != engine.FactFound {
		t.Errorf("put right, it says %v", state)
	}
}

// endingLog ends what writes it at some words.
type endingLog struct {
	bytes.Buffer
	words string
	end   func()
}

func (l *endingLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(l.words)) {
		l.end()
	}
	return l.Buffer.Write(line)
}

// Whoever serves without naming a key is told.
func TestReportsSayThatNobodyIsTrusted(t *testing.T) {
	for _, trust := range []*evidence.Trust{nil, {}} {
		ctx, end := context.WithCancel(t.Context())
		log := &endingLog{words: "are not known", end: end}
		r := &reports{dir: t.TempDir(), now: time.Now, trust: trust}
		if err := r.keep(ctx, time.Hour, slog.New(slog.NewTextHandler(log, nil))); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(log.String(), "level=WARN"); told != (trust == nil) {
			t.Errorf("trust %v: %s", trust, log.String())
		}
	}
}

// A scan by another clock says nothing of backups, and whoever serves is told that it was passed over.
func TestReportsSayWhatTheyPassOver(t *testing.T) {
	scanning(t)("scan", "velero:d/velero", "--evidence", "evidence", "-q", "--now", "2026-11-21T00:00:00Z")
	ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	log := &endingLog{words: "passed over", end: end}
	r := &reports{dir: "evidence", now: time.Now}
	if err := r.keep(ctx, time.Hour, slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "backups=0") || !strings.Contains(text, "prove no age") || !strings.Contains(text, "scans=1") {
		t.Errorf("it does not say that a scan was passed over: %s", text)
	}
}
