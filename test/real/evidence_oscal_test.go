//go:build unix

package real

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// oscalDir holds NIST's schema and the document that the tests of engine/report keep.
const oscalDir = "../../engine/report/testdata/"

// ajv is what Ajv says of documents by NIST's schema, and the code it exits with: 0 where all are valid, 1 where one is not.
func ajv(t *testing.T, documents ...string) (string, int) {
	t.Helper()
	args := append([]string{tool(t, "ajv/validate.mjs"), oscalDir + "oscal_complete_schema-1-2-2.json"}, documents...)
	out, err := exec.CommandContext(t.Context(), "node", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// strangersPeriod has in every text of a record, and of a policy, what Go and JavaScript read differently, and what breaks documents.
func strangersPeriod(text string, records int) report.Period {
	at := time.Date(2026, 3, 1, 12, 0, 0, 999, time.FixedZone("", 20700))
	policy := engine.Policy{ID: text, Ref: text, Title: text, Digest: engine.Digest(text), Controls: []engine.Control{{Framework: text, ID: text, Relation: text}}}
	return report.Period{From: at, Until: at.AddDate(0, 1, 0), Version: text, Origin: text, Key: text, Policies: []*engine.Policy{&policy},
		Cluster: report.PeriodCluster{UID: text, Name: text, Region: text, Jurisdiction: text},
		Entries: func(yield func(report.Entry, error) bool) {
			for i := range records {
				e := report.Entry{Seq: uint64(i), Digest: engine.Digest(text), At: at, File: text, Event: text,
					Subject: report.PeriodSubject{APIVersion: text, Kind: text, Namespace: text, Name: text + fmt.Sprint(i), Source: text},
					Results: []report.PeriodResult{{Policy: text, Digest: policy.Digest, Verdict: []string{"pass", "fail", "unknown", text}[i%4], Effect: text, Reason: text,
						Waiver: text, Waived: i%3 == 0, Violations: []engine.Violation{{Message: text, Path: text}}}}}
				if i%7 == 6 {
					e.Missing = &report.Missing{Kind: text, Source: text, Reason: text}
				}
				if !yield(e, nil) {
					return
				}
			}
		}}
}

// TestRealOSCALIsValidForAjv: what Go's validator takes, one that shares no code with it takes, too; and it refuses each twin.
func TestRealOSCALIsValidForAjv(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("needs node, which runs ajv: install Node.js 20 or later")
	}
	tool(t, "ajv/validate.mjs")
	golden, err := os.ReadFile(oscalDir + "oscal.golden")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		put(t, file, text)
		return file
	}
	documents := []string{write("golden.json", golden)}
	for i, text := range []string{"", " ", "\r", "\u2028", "\u00a0x\u00a0", "\ufeff", "a\r\nb\u2029c\vd\fe", "<script>alert(1)</script>", "\x00\x1b[31m\x9b", "\xff\xfe", "\ud7ff\ue000😀\u0301",
		"164.312(a)(2)(iv)", "a:b/c?d#e%zz\\f[g]{h}|i^j`k\"l<m>", "//x:y@z", strings.Repeat("é", 5000)} {
		var out bytes.Buffer
		if err := report.OSCAL(&out, strangersPeriod(text, 30)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		documents = append(documents, write(fmt.Sprintf("strangers-%d.json", i), out.Bytes()))
	}
	var large bytes.Buffer
	if err := report.OSCAL(&large, strangersPeriod("x", 5000)); err != nil {
		t.Fatal(err)
	}
	documents = append(documents, write("large.json", large.Bytes()))
	if out, code := ajv(t, documents...); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for name, twist := range map[string][2]string{
		"an empty list":    {`"methods":["TEST"]`, `"methods":[]`},
		"a state of ours":  {`"state":"not-satisfied"`, `"state":"unknown"`},
		"a name's colon":   {`"name":"policy"`, `"name":"our:policy"`},
		"a line end":       {`"value":"kept"`, `"value":"kept\n"`},
		"a UUID":           {`"uuid": "`, `"uuid": "x`},
		"a time":           {`"collected":"2026-03-01T13:00:00Z"`, `"collected":"2026-03-01T13:00:00"`},
		"a reference":      {`"href":"../records`, `"href":"..\\records`},
		"an unknown field": {`"methods":["TEST"]`, `"methods":["TEST"],"verdict":"fail"`},
	} {
		t.Run(name, func(t *testing.T) {
			twin := bytes.Replace(golden, []byte(twist[0]), []byte(twist[1]), 1)
			if bytes.Equal(twin, golden) {
				t.Fatalf("the document has no %s", twist[0])
			}
			if out, code := ajv(t, write("twin.json", twin)); code != 1 {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
}
