package report

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"proviso.dev/proviso/engine"
)

// junitCases is how many test cases one suite holds; the next ones of the same file go to a suite that continues it.
const junitCases = 1000

// JUnit writes one test suite for each file, or for each source that has no files, and one test case for each decision:
// a failure for a fail that is denied, an error for an unknown and for what was not read, skipped for what is waived. A
// fail that is not denied is a case that passes and says the warning in its output, for JUnit has no word for it. What
// passes is counted in its suite's tests, and is a case of its own with All. A last suite says whether the run is
// complete, so that a run that checked nothing is not green.
//
// One suite at a time is kept, of at most a thousand cases.
func JUnit(w io.Writer, r engine.Report, o Options) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, xml.Header, `<testsuites name="proviso">`, "\n")
	j := &suites{out: out, at: r.Header}
	for result := range r.Results {
		if u := result.Unread; u != nil {
			j.unread(u, o)
		} else {
			j.subject(result.Subject, result.Decisions, o)
		}
		if j.err != nil {
			return j.err
		}
	}
	j.end()
	j.begin("proviso")
	t := r.Trailer()
	test := junit.Testcase{Name: "the run is complete", Classname: "proviso", SystemOut: &junit.Output{Data: safe(summary(t, j.files.n))}}
	if why := incomplete(t); len(why) > 0 {
		test.Error = &junit.Result{Message: safe(strings.Join(why, "; ")), Type: "incomplete"}
	}
	if j.notManifests > 0 {
		j.suite.AddProperty("notManifest", fmt.Sprint(j.notManifests))
	}
	var notes []string
	for _, use := range t.Waivers {
		if note := ledger(use); note != "" {
			notes = append(notes, safe(note))
		}
	}
	if len(notes) > 0 {
		j.suite.SystemErr = &junit.Output{Data: strings.Join(notes, "\n")}
	}
	j.suite.AddTestcase(test)
	j.end()
	if j.err != nil {
		return j.err
	}
	out.WriteString("</testsuites>\n")
	return out.Flush()
}

// suites writes suite after suite. Its first error stays.
type suites struct {
	out   *bufio.Writer
	at    engine.Header
	suite *junit.Testsuite // the open one, or nil
	of    string           // what it is of
	id    int
	files fileCount
	// passed and notApplicable count for the open suite, notManifests for the run.
	passed, notApplicable, notManifests int
	err                                 error
}

func (j *suites) begin(of string) {
	if j.suite != nil && j.of == of && len(j.suite.Testcases) < junitCases {
		return
	}
	name := safe(of)
	if j.of == of && j.id > 0 {
		name += " (continued)"
	}
	j.end()
	j.of = of
	j.suite = &junit.Testsuite{Name: name, ID: j.id, Time: "0"}
	j.suite.SetTimestamp(j.at.At.UTC())
	j.id++
}

func (j *suites) end() {
	s := j.suite
	if s == nil || j.err != nil {
		return
	}
	j.suite = nil
	if j.passed > 0 {
		s.AddProperty("pass", fmt.Sprint(j.passed))
	}
	if j.notApplicable > 0 {
		s.AddProperty("notApplicable", fmt.Sprint(j.notApplicable))
	}
	j.passed, j.notApplicable = 0, 0
	enc := xml.NewEncoder(j.out)
	enc.Indent("  ", "  ")
	if j.err = enc.EncodeElement(s, xml.StartElement{Name: xml.Name{Local: "testsuite"}}); j.err != nil {
		return
	}
	_, j.err = j.out.WriteString("\n")
}

func (j *suites) unread(u *engine.Unread, o Options) {
	if u.Kind == engine.NotManifest && !o.All {
		j.notManifests++
		return
	}
	j.begin(cmp.Or(u.File, u.Source, "-"))
	kind := unreadKinds[u.Kind].name
	test := junit.Testcase{Name: "read " + safe(where(u.Position, u.Source)), Classname: "proviso"}
	result := &junit.Result{Message: safe(fmt.Sprint(u.Err)), Type: kind, Data: safe(unreadText(u))}
	if u.Kind == engine.NotManifest {
		test.Skipped = result
	} else {
		test.Error = result
	}
	j.suite.AddTestcase(test)
}

func (j *suites) subject(s *engine.Subject, decisions []engine.Decision, o Options) {
	j.files.see(s)
	for i := range decisions {
		j.begin(cmp.Or(s.Origin.File, s.Origin.Source, "-"))
		d := &decisions[i]
		switch {
		case d.Verdict == engine.Pass:
			j.passed++
		case d.Verdict == engine.NotApplicable:
			j.notApplicable++
		}
		switch {
		case listed(d, o):
			j.suite.AddTestcase(testcase(s, d))
		case d.Verdict == engine.Pass:
			j.suite.Tests++
		}
	}
}

func testcase(s *engine.Subject, d *engine.Decision) junit.Testcase {
	test := junit.Testcase{Name: safe(s.String()), Classname: safe(d.Policy.ID)}
	if d.Verdict == engine.Pass {
		return test
	}
	list := points(s, d)
	lines := []string{label(d) + "  " + safe(name(d.Policy)), safe(d.Policy.Title)}
	for _, p := range list {
		lines = append(lines, safe(strings.TrimSpace(where(p.at, s.Origin.Source)+" "+p.path))+": "+safe(p.message))
	}
	lines = append(lines, details(s, d)...)
	message := list[0].message
	if n := len(list) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	result := &junit.Result{Message: safe(message), Type: d.Policy.Severity.String(), Data: strings.Join(lines, "\n")}
	switch {
	case d.Waived:
		result.Message = safe(waiver(d))
		test.Skipped = result
	case d.Verdict == engine.NotApplicable:
		test.Skipped = &junit.Result{Message: safe(d.Reason), Type: "notApplicable"}
	case d.Verdict == engine.Unknown:
		result.Type = "unknown"
		test.Error = result
	case d.Effect == engine.EffectDeny:
		test.Failure = result
	default:
		test.SystemOut = &junit.Output{Data: result.Data}
	}
	return test
}
