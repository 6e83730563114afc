//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
	"proviso.dev/proviso/webhook"
)

// auditLine is an event as kube-apiserver writes it at level Metadata; more alters it.
func auditLine(id, verb, namespace, name string, code int, annotations map[string]string, more map[string]any) string {
	e := map[string]any{"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": "ResponseComplete", "requestURI": "/apis/velero.io/v1/namespaces/" + namespace + "/schedules?fieldManager=x",
		"verb": verb, "user": map[string]any{"username": "ann"}, "objectRef": map[string]any{"resource": "schedules", "namespace": namespace, "name": name, "apiGroup": "velero.io", "apiVersion": "v1"},
		"responseStatus": map[string]any{"code": code}, "requestReceivedTimestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), "annotations": annotations}
	for k, v := range more {
		e[k] = v
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(line) + "\n"
}

func marksOf(hook string, annotations map[string]string) map[string]string {
	all := map[string]string{"authorization.k8s.io/decision": "allow"}
	for k, v := range annotations {
		all[hook+"/"+k] = v
	}
	return all
}

// reconciled runs the command on a folder and the text of an audit log.
func reconciled(t *testing.T, dir, log string, flags ...string) (code int, out string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"evidence", "reconcile", dir, "--audit", file}, flags...), streams{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return code, stdout.String() + stderr.String()
}

// recordedRun is a run of four decisions: u-1 and u-2 let in, u-3 denied, u-4 let in by the fail-open webhook.
func recordedRun(t *testing.T, mode string) (w *recordingWebhooks, marks map[string]map[string]string) {
	t.Helper()
	w = recordedBy(t, mode, denyProfile, 0)
	fail, ignore, _, err := webhook.Rules(w.loader.sets().Closed.Rows(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := webhook.Install{Name: "proviso", Namespace: "proviso-system", TimeoutSeconds: 5, StatusWriters: []string{defaultVeleroUser}}.Configuration(fail, ignore)
	w.seen(wantedChange, c)
	w.tend(t.Context())
	marks = map[string]map[string]string{}
	for _, ask := range []struct {
		uid, name string
		side      webhook.Side
	}{{"u-1", "one", webhook.FailClosed}, {"u-2", "two", webhook.FailClosed}, {"u-3", "bad", webhook.FailClosed}, {"u-4", "four", webhook.FailOpen}} {
		got := w.handler(ask.side).Handle(t.Context(), asks(ask.uid, string(admissionv1.Create), aSchedule(ask.name, ""), ""))
		marks[ask.uid] = marksOf(ask.side.String()+".proviso.dev", got.AuditAnnotations)
	}
	return w, marks
}

func TestReconcile(t *testing.T) {
	w, marks := recordedRun(t, producer.Strict)
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	fine := auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], nil) + auditLine("a-2", "patch", "velero", "two", 201, marks["u-2"], nil) + auditLine("a-3", "create", "velero", "bad", 403, marks["u-3"], nil) + auditLine("a-4", "create", "velero", "four", 201, marks["u-4"], nil)
	lines := strings.SplitAfter(fine, "\n")[:4]
	lost := func(uid string) map[string]string {
		return marksOf("fail.proviso.dev", map[string]string{"decision": uid, "record": markUnrecorded})
	}
	otherwise := func(uid, from, to string) map[string]string {
		changed := marksOf("", nil)
		for k, v := range marks[uid] {
			changed[k] = strings.Replace(v, from, to, 1)
		}
		return changed
	}
	var rotated bytes.Buffer
	z := gzip.NewWriter(&rotated)
	if _, err := z.Write([]byte(fine)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	with := func(annotations map[string]string, key, value string) map[string]string {
		more := maps.Clone(annotations)
		more[key] = value
		return more
	}
	unmarked := marksOf("fail.proviso.dev", map[string]string{"decision": "u-9"})
	for name, c := range map[string]struct {
		log  string
		code int
		want string
	}{
		"all have their record":               {fine, 0, "4 name their record"},
		"rotated and compressed":              {rotated.String(), 0, "4 name their record"},
		"half an event at the end":            {fine + `{"kind":"Event","auditID":"a`, 2, "1 file ends in half an event, which was left out: the log may not be whole"},
		"half an event in the middle":         {`{"kind":"Event","auditID":"a` + "\n" + fine, 1, "audit.log:1: it is no event"},
		"what is no audit log":                {`{"kind":"Pod"}` + "\n", 1, "no auditID, stage or verb"},
		"no event":                            {"", 2, "nothing was compared"},
		"nobody was asked":                    {fine + auditLine("a-5", "create", "velero", "five", 201, nil, nil), 2, "and nobody was asked\n  audit:a-5: create schedules.velero.io velero/five by ann at 20"},
		"nobody answered":                     {fine + auditLine("a-5", "create", "velero", "five", 201, map[string]string{failedOpen + "round_0_index_1": "ignore.proviso.dev"}, nil), 2, "failed open: nobody answered, and the API server let it in\n  audit:a-5: create schedules.velero.io velero/five by ann at 20"},
		"another webhook failed open":         {fine + auditLine("a-5", "get", "velero", "five", 200, map[string]string{failedOpen + "round_0_index_1": "other.example.org"}, nil), 0, ""},
		"an answer without a record":          {fine + auditLine("a-5", "create", "velero", "five", 201, unmarked, nil), 2, "names no record\n  u-9: create schedules.velero.io velero/five by ann at 20"},
		"an answer that could not be kept":    {fine + auditLine("a-5", "create", "velero", "five", 201, lost("u-9"), nil), 2, "answered without a record\n  u-9: create"},
		"denied, and that could not be kept":  {fine + auditLine("a-5", "create", "velero", "five", 403, lost("u-9"), nil), 0, ""},
		"denied by somebody else":             {fine + auditLine("a-5", "create", "velero", "five", 403, nil, nil), 0, "1 was not let in, and names no record"},
		"one answered, another failed open":   {strings.Join(lines[1:], "") + auditLine("a-1", "create", "velero", "one", 201, with(marks["u-1"], failedOpen+"round_0_index_1", "ignore.proviso.dev"), nil), 2, "1 of them counts twice"},
		"a user who writes on terminals":      {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"user": map[string]any{"username": "ann\x1b[2J\nbob"}}), 2, "velero/five by ann\uFFFD[2J bob at"},
		"a subresource":                       {fine + auditLine("a-5", "create", "velero", "five", 201, lost("u-9"), map[string]any{"objectRef": map[string]any{"resource": "pods", "subresource": "exec", "namespace": "velero", "name": "five"}}), 2, "create pods/exec velero/five by ann"},
		"a dry run":                           {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"requestURI": "/x?dryRun=All"}), 0, ""},
		"a deletion that was only tried":      {fine + auditLine("a-5", "delete", "velero", "five", 200, marksOf("fail.proviso.dev", map[string]string{"decision": "u-9", "record": markDryRun}), nil), 0, ""},
		"the first stage of a request":        {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"stage": "RequestReceived"}), 0, ""},
		"an update of nothing":                {fine + auditLine("a-5", "update", "velero", "one", 200, marksOf("fail.proviso.dev", map[string]string{"decision": "u-9", "record": markUnchanged}), nil), 0, "1 changed nothing"},
		"a kind that nobody watches":          {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"objectRef": map[string]any{"resource": "leases", "namespace": "velero", "apiGroup": "velero.io"}}), 0, "1 is of nothing that was to be judged"},
		"a subresource that nobody watches":   {fine + auditLine("a-5", "update", "velero", "five", 200, nil, map[string]any{"objectRef": map[string]any{"resource": "schedules", "subresource": "status", "namespace": "velero", "apiGroup": "velero.io"}}), 0, ""},
		"another version of a watched kind":   {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"objectRef": map[string]any{"resource": "schedules", "apiVersion": "v2", "namespace": "velero", "apiGroup": "velero.io"}}), 2, "nobody was asked"},
		"an operation that nobody watches":    {fine + auditLine("a-5", "delete", "velero", "five", 200, nil, nil), 0, ""},
		"a namespace that is left out":        {fine + auditLine("a-5", "create", "kube-system", "five", 201, nil, nil), 0, ""},
		"status written by Velero":            {fine + auditLine("a-5", "patch", "velero", "five", 200, nil, map[string]any{"user": map[string]any{"username": defaultVeleroUser}}), 0, "1 is an update by Velero's server that names no record"},
		"created by Velero":                   {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"user": map[string]any{"username": defaultVeleroUser}}), 2, "nobody was asked"},
		"before anything was to be judged":    {fine + auditLine("a-5", "create", "velero", "five", 201, nil, map[string]any{"requestReceivedTimestamp": "2020-01-01T00:00:00.000000Z"}), 0, "1 was let in before"},
		"another digest":                      {fine + auditLine("a-5", "create", "velero", "one", 201, otherwise("u-1", "sha256:", "sha256:0"), nil), 4, "is another, sha256:"},
		"another decision":                    {fine + auditLine("a-5", "create", "velero", "one", 201, otherwise("u-1", "u-1", "u-2"), nil), 4, "is not of the decision u-2"},
		"another log":                         {fine + auditLine("a-5", "create", "velero", "one", 201, otherwise("u-1", "proviso", "oviso"), nil), 4, "whose folder was not named"},
		"a mark that is none":                 {fine + auditLine("a-5", "create", "velero", "one", 201, otherwise("u-1", "sha256", "sha1 sha256"), nil), 4, "it names no record, but says"},
		"another object":                      {fine + auditLine("a-5", "create", "velero", "five", 201, marks["u-1"], nil), 4, "is of something else"},
		"another operation":                   {fine + auditLine("a-5", "delete", "velero", "one", 200, marks["u-1"], nil), 4, "is of something else"},
		"an update of what was created":       {fine + auditLine("a-5", "update", "velero", "one", 200, marks["u-1"], nil), 4, "is of something else: CREATE"},
		"an update that was denied":           {strings.ReplaceAll(fine, `"verb":"create"`, `"verb":"update"`), 0, "4 name their record"},
		"a record that two requests name":     {fine + auditLine("a-5", "create", "velero", "one", 201, marks["u-1"], nil), 4, "another request names record"},
		"two requests by one audit id":        {fine + auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], map[string]any{"requestURI": "/again"}), 4, "another request names record"},
		"denied unrecorded, on record let in": {strings.Join(lines[1:], "") + auditLine("a-1", "create", "velero", "one", 403, lost("u-1"), nil), 4, "says that it was let in, and it was denied because no record could be kept"},
		"let in unrecorded, on record denied": {lines[0] + lines[1] + lines[3] + auditLine("a-3", "create", "velero", "bad", 201, lost("u-3"), nil), 4, "says that it was denied, and the log that it was let in without a record"},
		"let in unrecorded, and on record":    {strings.Join(lines[1:], "") + auditLine("a-1", "create", "velero", "one", 201, lost("u-1"), nil), 2, "answered without a record\n  u-1: create"},
		"files that overlap":                  {fine + fine, 0, "8 name their record"},
		"let in, and the record says denied":  {fine + auditLine("a-5", "create", "velero", "bad", 201, marks["u-3"], nil), 4, "says that it was denied"},
		"records that no event names":         {auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], map[string]any{"requestReceivedTimestamp": "2020-01-01T00:00:00.000000Z"}) + auditLine("a-2", "patch", "velero", "two", 201, marks["u-2"], nil), 2, "2 records named by no event: the log may not be whole"},
		"a part of the log":                   {lines[0], 0, "3 records are from before or after the time of the log"},
		"the same event twice, and no record": {fine + auditLine("a-5", "create", "velero", "five", 201, nil, nil) + auditLine("a-5", "create", "velero", "five", 201, nil, nil), 2, "1 without a record is told again"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out := reconciled(t, w.dir, c.log); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want %d with %q:\n%s", code, c.code, c.want, out)
			}
			if c.code == 1 {
				return
			}
			var is Reconciled
			_, out := reconciled(t, w.dir, c.log, "-o", "json")
			if err := json.NewDecoder(strings.NewReader(out)).Decode(&is); err != nil {
				t.Fatal(err)
			}
			if all := is.Recorded + is.Unchanged + is.Unjudged + is.StatusWrites + is.Before + is.Refused + is.Repeated + is.Missing + is.Declared + is.Different - is.Twofold; all != is.Writes {
				t.Errorf("of %d writes it accounts for %d:\n%s", is.Writes, all, out)
			}
		})
	}
	if code, out := reconciled(t, w.dir, fine, w.dir); code != 1 || !strings.Contains(out, "named twice") {
		t.Errorf("a folder that is named twice: exit code %d: %s", code, out)
	}
}

// What has no record becomes a signed gap, once.
func TestReconcileSignsGaps(t *testing.T) {
	w, marks := recordedRun(t, producer.Strict)
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	log := auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], nil)
	for i := range mostLost + 5 {
		log += auditLine(fmt.Sprint("b-", i), "create", "velero", fmt.Sprint("n-", i), 201, nil, nil)
	}
	if code, out := reconciled(t, w.dir, log); code != 2 || !strings.Contains(out, "the gaps are not signed") || !strings.Contains(out, "  audit:b-9: create schedules.velero.io velero/n-9 by ann at ") || strings.Contains(out, "audit:b-10:") || !strings.Contains(out, fmt.Sprintf("  and %d more\n", mostLost-mostNamed)) {
		t.Errorf("without a key: exit code %d: %s", code, out)
	}
	verified(t, w.dir)
	dir := filepath.Join(t.TempDir(), "key")
	ref, err := cosign.Generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, out := reconciled(t, w.dir, log, "--key", ref); code != 1 || !strings.Contains(out, "open evidence") {
		t.Errorf("with another key: exit code %d: %s", code, out)
	}
	r := newReconciling()
	r.key = w.key
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.open(w.dir); err != nil {
		t.Fatal(err)
	}
	err = r.run(t.Context(), []string{file})
	if err := r.end(t.Context(), err); err != nil {
		t.Fatal(err)
	}
	if r.Signed != mostLost+5 || len(r.Gaps) != 2 || r.exitCode() != 2 {
		t.Errorf("%d signed in %d gaps, exit code %d", r.Signed, len(r.Gaps), r.exitCode())
	}
	if records, err := os.ReadFile(filepath.Join(w.dir, evidence.RecordsFile(0))); err != nil || bytes.Contains(records, []byte("velero/n-0")) || !bytes.Contains(records, []byte("audit:b-0")) {
		t.Errorf("the record of a gap names users and objects, or no event: %v", err)
	}
	holes := verified(t, w.dir)
	if len(holes) != 2 || holes[0].Code != evidence.DeclaredGap || !strings.Contains(holes[0].Text, "nobody was asked") {
		t.Errorf("verify tells %v", holes)
	}
	if code, out := reconciled(t, w.dir, log); code != 2 || !strings.Contains(out, fmt.Sprint(mostLost+5)+" writes without a record declared already") || strings.Contains(out, "gap:") {
		t.Errorf("again: exit code %d: %s", code, out)
	}
}

// In mode batch an answer goes out before its record is durable: what a kill took is a gap, and nothing that was altered.
func TestReconcileAfterABatchRunThatWasKilled(t *testing.T) {
	for mode, want := range map[string]int{producer.Batch: 2, producer.Strict: 4} {
		w, marks := recordedRun(t, mode)
		lost := marksOf("fail.proviso.dev", map[string]string{"decision": "u-5", "record": markOf(evidence.DigestOf([]byte("gone")), 4000, w.w.Origin())})
		if _, err := w.w.Checkpoint(t.Context()); err != nil { // all of it is on the disk; there is no Close yet
			t.Fatal(err)
		}
		log := auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], nil) + auditLine("a-5", "create", "velero", "five", 201, lost, nil)
		if code, out := reconciled(t, w.dir, log); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", mode, code, want, out)
		}
		if err := w.close("stopped"); err != nil {
			t.Fatal(err)
		}
		if code, out := reconciled(t, w.dir, log); code != 4 {
			t.Errorf("%s, after the run has ended as it should: exit code %d: %s", mode, code, out)
		}
	}
}

// What a gap declares is not told as a record that is not there: in mode batch a full disk takes records that were numbered.
func TestReconcileOfWhatAGapDeclares(t *testing.T) {
	w, marks := recordedRun(t, producer.Strict)
	if err := w.append(t.Context(), evidence.Record{Gap: &evidence.Gap{Lost: 1, Reason: "disk full", Events: []string{"u-5"}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	for event, want := range map[string]int{"u-5": 2, "u-6": 4} {
		lost := marksOf("fail.proviso.dev", map[string]string{"decision": event, "record": markOf(evidence.DigestOf([]byte("gone")), 4000, w.w.Origin())})
		log := auditLine("a-1", "create", "velero", "one", 201, marks["u-1"], nil) + auditLine("a-5", "create", "velero", "five", 201, lost, nil)
		if code, out := reconciled(t, w.dir, log); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", event, code, want, out)
		}
	}
}

// A record that came to be after its request was answered without one: in mode strict that was denied, in another it may have
// been denied by somebody else, and a gap may say so.
func TestReconcileOfARecordThatCameTooLate(t *testing.T) {
	for name, c := range map[string]struct {
		mode string
		gap  []string
		code int
	}{
		"strict":           {producer.Strict, nil, 4},
		"batch":            {producer.Batch, nil, 0},
		"strict, and told": {producer.Strict, []string{"u-1"}, 2},
	} {
		w, marks := recordedRun(t, c.mode)
		if c.gap != nil {
			if err := w.append(t.Context(), evidence.Record{Gap: &evidence.Gap{Lost: 1, Reason: "too slow", Events: c.gap}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.close("stopped"); err != nil {
			t.Fatal(err)
		}
		log := auditLine("a-1", "create", "velero", "one", 403, marksOf("fail.proviso.dev", map[string]string{"decision": "u-1", "record": markUnrecorded}), nil) +
			auditLine("a-2", "patch", "velero", "two", 201, marks["u-2"], nil) + auditLine("a-3", "create", "velero", "bad", 403, marks["u-3"], nil) + auditLine("a-4", "create", "velero", "four", 201, marks["u-4"], nil)
		if code, out := reconciled(t, w.dir, log); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, out)
		}
	}
}
