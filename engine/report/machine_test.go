package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jstemmer/go-junit-report/v2/junit"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

func sarifLog(t *testing.T, r engine.Report) *sarif.Run {
	t.Helper()
	log, err := sarif.FromString(written(t, report.SARIF, r, report.Options{All: true}))
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Validate(); err != nil {
		t.Fatal(err)
	}
	return log.Runs[0]
}

func TestSARIFIsValid(t *testing.T) {
	ps, ws := everyState()
	run1 := sarifLog(t, run(t, ps, ws, steps{object("v1", "Thing", "", "x", nil)}))
	kinds := map[string]int{}
	for _, r := range run1.Results {
		kinds[fmt.Sprint(r.Kind, " ", r.Level, " ", len(r.Suppressions))]++
		if got := *run1.Tool.Driver.Rules[r.RuleIndex].ID; got != *r.RuleID {
			t.Errorf("a result of %s points to rule %s", *r.RuleID, got)
		}
	}
	want := map[string]int{"fail warning 0": 4, "fail note 0": 2, "fail warning 1": 6, "open none 0": 6, "open none 1": 6}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("results are %v, want %v", kinds, want)
	}
	empty := sarifLog(t, run(t, nil, nil, steps{}))
	if *empty.Invocations[0].ExecutionSuccessful || len(empty.Invocations[0].ToolExecutionNotifications) != 1 {
		t.Error("a run that checked nothing is successful")
	}
	sarifLog(t, sample(t))
}

func TestSARIFFingerprintsOutliveMoves(t *testing.T) {
	prints := func(moved int) (list []string) {
		p := policies()[0]
		s := inFile(object("velero.io/v1", "BackupStorageLocation", "velero", "eu", map[string]any{"region": "us-east-1"}), "f.yaml", "", 1+moved,
			map[string][2]int{"spec.config.region": {3 + moved, 1}, "spec.config.s3Url": {4 + moved, 1}, "spec.objectStorage.bucket": {5 + moved, 1}})
		for _, r := range sarifLog(t, run(t, []engine.Policy{p}, nil, steps{s})).Results {
			list = append(list, r.PartialFingerprints["provisoFinding/v1"])
		}
		return list
	}
	before, after := prints(0), prints(10)
	if len(before) != 3 || before[0] == before[1] || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("fingerprints %v became %v", before, after)
	}
}

func TestSARIFLocations(t *testing.T) {
	for file, want := range map[string]string{
		"./a b/é.yaml":         "a%20b/%C3%A9.yaml %SRCROOT%",
		"/abs/f.yaml":          "file:///abs/f.yaml ",
		"c:x.yaml":             "./c:x.yaml %SRCROOT%",
		"a%2f?#.yaml":          "a%252f%3F%23.yaml %SRCROOT%",
		"s3://bucket/a b.json": "s3://bucket/a%20b.json ",
		"../up.yaml":           "../up.yaml %SRCROOT%",
	} {
		s := inFile(object("velero.io/v1", "Schedule", "", "x", nil), file, "", 1, nil)
		at := sarifLog(t, run(t, policies(), nil, steps{s})).Results[0].Locations[0].PhysicalLocation.ArtifactLocation
		base := ""
		if at.URIBaseID != nil {
			base = *at.URIBaseID
		}
		if got := *at.URI + " " + base; got != want {
			t.Errorf("%s is at %q, want %q", file, got, want)
		}
	}
}

func TestSARIFKeepsTheGravest(t *testing.T) {
	in := steps{}
	for i := range 26000 {
		in = append(in, object("v1", "Thing", "", fmt.Sprint(i), nil))
	}
	in = append(in, object("v1", "Grave", "", "last", nil))
	ps := []engine.Policy{
		{ID: "low", Severity: engine.Low, Match: engine.Match{{Kinds: []string{"Thing"}}}, Rule: always(engine.Violation{Message: "m"})},
		{ID: "critical", Severity: engine.Critical, Match: engine.Match{{Kinds: []string{"Grave"}}}, Rule: always(engine.Violation{Message: "m"})},
	}
	var log struct {
		Runs []struct {
			Results     []struct{ RuleID string }
			Invocations []struct {
				ToolExecutionNotifications []struct{ Message struct{ Text string } }
			}
		}
	}
	if err := json.Unmarshal([]byte(written(t, report.SARIF, run(t, ps, nil, in), report.Options{})), &log); err != nil {
		t.Fatal(err)
	}
	if r := log.Runs[0]; len(r.Results) != 25000 || r.Results[0].RuleID != "critical" {
		t.Errorf("%d results, the first of %s", len(r.Results), r.Results[0].RuleID)
	}
	want := "only the 25000 gravest results are listed; left out: 1001 low"
	if got := log.Runs[0].Invocations[0].ToolExecutionNotifications[0].Message.Text; got != want {
		t.Errorf("the notification says %q, want %q", got, want)
	}
}

func suitesOf(t *testing.T, r engine.Report, o report.Options) junit.Testsuites {
	t.Helper()
	text := written(t, report.JUnit, r, o)
	var all junit.Testsuites
	dec := xml.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&all); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return all
		}
		if text, ok := token.(xml.CharData); err != nil || !ok || strings.TrimSpace(string(text)) != "" {
			t.Fatalf("after the report: %v, %v", token, err)
		}
	}
}

func TestJUnitIsValidWhateverTheBytes(t *testing.T) {
	p := policies()[1]
	p.Title, p.Fix, p.Mode = hostile, hostile, engine.ModeDeny
	p.Rule = always(engine.Violation{Message: hostile, Path: "x"})
	s := inFile(object("velero.io/v1", "Schedule", hostile, hostile, nil), hostile, "", 1, nil)
	all := suitesOf(t, run(t, []engine.Policy{p}, nil, steps{s, &engine.Unread{Err: errors.New(hostile)}}), report.Options{})
	if len(all.Suites) != 3 || all.Suites[0].Failures != 1 || all.Suites[1].Errors != 1 || all.Suites[2].Errors != 1 {
		t.Errorf("suites are %+v", all.Suites)
	}
	if got := all.Suites[0].Testcases[0].Failure.Data; !strings.Contains(got, `|]]>|<a>&"'|\xff\xfe|`) {
		t.Errorf("the failure reads %q", got)
	}
}

func TestJUnitOfNothingIsNotGreen(t *testing.T) {
	all := suitesOf(t, run(t, policies(), nil, steps{}), report.Options{})
	if len(all.Suites) != 1 || all.Suites[0].Errors != 1 || !strings.Contains(all.Suites[0].Testcases[0].Error.Message, "nothing was checked") {
		t.Errorf("suites are %+v", all.Suites)
	}
}

func TestJUnitContinuesLongSuites(t *testing.T) {
	in := steps{}
	for i := range 1500 {
		s := object("velero.io/v1", "Schedule", "", fmt.Sprint(i), nil)
		s.Origin.Source = "cluster:prod"
		in = append(in, s)
	}
	all := suitesOf(t, run(t, policies()[1:2], nil, in), report.Options{})
	var names []string
	for _, s := range all.Suites {
		names = append(names, fmt.Sprint(s.Name, " ", s.Tests, " ", len(s.Testcases)))
	}
	if got, want := fmt.Sprint(names), "[cluster:prod 1000 1000 cluster:prod (continued) 500 500 proviso 1 1]"; got != want {
		t.Errorf("suites are %s, want %s", got, want)
	}
}

func TestGitHubEscapes(t *testing.T) {
	p := engine.Policy{ID: "p", Ref: "A,B:C%", Severity: engine.High, Match: engine.Match{{Kinds: []string{"Thing"}}}, Fix: "do\r\n::error::this",
		Rule: always(engine.Violation{Message: "50% of a: b, c\n::add-mask::x"})}
	s := inFile(object("v1", "Thing", "", "n", nil), "./a,b:c%.yaml", "", 3, nil)
	got := written(t, report.GitHub, run(t, []engine.Policy{p}, nil, steps{s}), report.Options{})
	want := `::error file=a%2Cb%3Ac%25.yaml,line=3,col=1,title=HIGH p (A%2CB%3AC%25)::50%25 of a: b, c\n::add-mask::x%0Aat: Thing n%0Afix: do%0A     ::error::this%0Amore: proviso policy explain p
1 policy x 1 subject in 1 file: 1 judged, 0 pass, 1 fail (1 high), 0 unknown
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestGitHubSaysThatNothingWasChecked(t *testing.T) {
	got := written(t, report.GitHub, run(t, policies(), nil, steps{}), report.Options{})
	if !strings.HasPrefix(got, "::error title=incomplete::nothing was checked") {
		t.Errorf("got:\n%s", got)
	}
}
