//go:build unix

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// A line says what was asked, by whom and what was answered; of a scan, which nobody asked, what was found.
func TestDescribeRecord(t *testing.T) {
	results := []evidence.Result{{Verdict: "pass"}, {Verdict: "fail", Waived: true}, {Verdict: "notApplicable"}}
	schedule := evidence.Subject{Kind: "Schedule", Namespace: "velero", Name: "orders"}
	for want, c := range map[string]struct {
		d    evidence.Decision
		user string
	}{
		"Schedule velero/orders: 1 pass, 0 fail, 0 unknown, 0 not applicable": {evidence.Decision{Subject: schedule, Results: results[:1]}, ""},
		"Namespace x: 1 pass, 1 fail, 0 unknown, 1 not applicable, 1 waived":  {evidence.Decision{Subject: evidence.Subject{Kind: "Namespace", Name: "x"}, Results: results}, ""},
		"Schedule velero/orders: CREATE by alice: admitted: 1 pass, 1 fail, 0 unknown, 1 not applicable, 1 waived": {
			evidence.Decision{Subject: schedule, Operation: "CREATE", Results: results, Answer: &evidence.Answer{Allowed: true}}, "alice"},
		"Schedule velero/orders: DELETE: denied: 1 pass, 0 fail, 0 unknown, 0 not applicable": {evidence.Decision{Subject: schedule, Operation: "DELETE", Results: results[:1], Answer: &evidence.Answer{}}, ""},
		"Waiver w: CREATE by a\uFFFD[2Jb c: denied: spec: no such field (and 1 more)": {
			evidence.Decision{Subject: evidence.Subject{Kind: "Waiver", Name: "w"}, Operation: "CREATE", Problems: []string{"spec:\nno such field", "another"}, Answer: &evidence.Answer{}}, "a\x1b[2Jb\nc"},
	} {
		if what, about := describeRecord(&evidence.Record{Decision: &c.d}, c.user); what != "decision" || about != want {
			t.Errorf("it says %q, want %q", about, want)
		}
	}
	for want, r := range map[string]evidence.Record{
		"1 request: disk full":          {Gap: &evidence.Gap{Lost: 1, Reason: "disk full"}},
		"2 requests":                    {Heartbeat: &evidence.Counts{Requests: 2}},
		"1 input: asked to":             {Erasure: &evidence.Erasure{Inputs: make([]engine.Digest, 1), Reason: "asked to"}},
		"1 item, 0 of them holes":       {Population: &evidence.Population{Items: 1}},
		"sha256:0, 1 policy":            {Activation: &evidence.Activation{PolicySet: "sha256:0", Policies: 1}},
		"s3 location.yaml: unreadable.": {Hole: &evidence.Hole{Source: "s3", File: "location.yaml", Reason: "unreadable."}},
	} {
		if _, about := describeRecord(&r, ""); about != want {
			t.Errorf("it says %q, want %q", about, want)
		}
	}
}

// Who asked is read from what was judged, and left out where that is gone.
func TestShowOfWebhooks(t *testing.T) {
	w, _ := recordedRun(t, producer.Strict)
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	show := func() string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"evidence", "show", w.dir}, streams{in: strings.NewReader(""), out: &stdout, err: &stderr}); code != 0 {
			t.Fatalf("exit code %d: %s", code, &stderr)
		}
		return stdout.String()
	}
	for _, want := range []string{`decision +Schedule velero/one: CREATE by ann: admitted: \d`, `decision +Schedule velero/bad: CREATE by ann: denied: \d+ pass, [1-9]`} {
		if out := show(); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("nothing is like %s:\n%s", want, out)
		}
	}
	inputs, err := os.ReadFile(w.dir + "/" + evidence.InputsFile(0))
	if err != nil {
		t.Fatal(err)
	}
	gone := regexp.MustCompile(`"value":.*`).ReplaceAll(inputs, []byte(`"erased":"asked to"}`))
	if err := os.WriteFile(w.dir+"/"+evidence.InputsFile(0), gone, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := show(); strings.Contains(out, "ann") || !strings.Contains(out, "Schedule velero/bad: CREATE: denied: ") {
		t.Errorf("what was judged is erased:\n%s", out)
	}
}
