package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// at is a one-policy run over one object in a file, with a violation at a line and column.
func at(t *testing.T, kind, text string, start, line, column int, o report.Options) string {
	t.Helper()
	p := engine.Policy{ID: "p", Severity: engine.High, Match: engine.Match{{Kinds: []string{kind}}}, Rule: always(engine.Violation{Message: "wrong", Path: "x"})}
	s := object("v1", kind, "", "n", nil)
	s.Object["data"] = map[string]any{"password": "aHVudGVyMg==", "config": "hunter2: yes\n"}
	inFile(s, "f.yaml", text, start, map[string][2]int{"x": {line, column}})
	return written(t, report.Text, run(t, []engine.Policy{p}, nil, steps{s}), o)
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	for _, c := range []struct {
		name, kind, text    string
		start, line, column int
		o                   report.Options
		want                string
	}{
		{"no neighbour's lines", "Thing", "apiVersion: v1\nkind: Secret\nstringData: {a: hunter2}\n---\nkind: Thing", 5, 5, 7, report.Options{}, `
  > 5 | kind: Thing
      |       ^ wrong
`},
		{"no neighbour's lines where a subject starts at its own line", "Thing", "a: hunter2\nb: 1", 2, 2, 1, report.Options{}, `
  > 2 | b: 1
      | ^ wrong
`},
		{"a separator within reach", "Thing", "a: hunter2\n--- # next\nb: 1", 0, 3, 4, report.Options{}, `
  > 3 | b: 1
      |    ^ wrong
`},
		{"a line with a tab, a wide and an escaped character", "Thing", "\tk: \"日本\u202e\" # v", 1, 1, 11, report.Options{}, `
  > 1 |     k: "日本\u202e" # v
      |                     ^ wrong
`},
		{"nothing but ASCII", "Thing", "k: é日", 1, 1, 5, report.Options{ASCII: true}, `
  > 1 | k: \xe9\u65e5
      |        ^ wrong
`},
		{"a long line is cut at its end", "Thing", long, 1, 1, 3, report.Options{Width: 48}, `
  > 1 | 012345678901234567890123456789012345678…
      |   ^ wrong
`},
		{"a long line is cut around the mark", "Thing", "short\n" + long, 1, 2, 201, report.Options{Width: 48}, `
    1 | …
  > 2 | …12345678901234567890123456789012345678…
      |                     ^ wrong
`},
		{"a cut in ASCII", "Thing", long, 1, 1, 300, report.Options{Width: 48, ASCII: true}, `
  > 1 | ...234567890123456789
      |                     ^ wrong
`},
		{"a column past the end", "Thing", "a: 1", 1, 1, 99, report.Options{}, `
  > 1 | a: 1
      |     ^ wrong
`},
		{"no column", "Thing", "  a: 1", 1, 1, 0, report.Options{}, `
  > 1 |   a: 1
      |   ^ wrong
`},
		{"a Secret", "Secret", "data:\n  password: aHVudGVyMg==\n  config: |", 1, 3, 11, report.Options{}, `
    1 | data:
    2 |   password: <redacted>
  > 3 |   config: <redacted>
      |           ^ wrong
`},
		{"a Secret's block of text", "Secret", "  config: |\n    hunter2: yes\n    hunter2", 1, 3, 5, report.Options{}, `
    1 |   config: <redacted>
    2 |     <redacted>
  > 3 |     <redacted>
      |     ^ wrong
`},
		{"a Secret on one line", "Secret", `{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}`, 1, 1, 36, report.Options{}, `
  > 1 | <redacted>
      |           ^ wrong
`},
		{"a line the source does not have", "Thing", "a: 1", 1, 7, 1, report.Options{}, `
  - wrong (at x)
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := at(t, c.kind, c.text, c.start, c.line, c.column, c.o)
			if !strings.Contains(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "aHVudGVyMg") {
				t.Errorf("a secret is shown:\n%s", got)
			}
		})
	}
}

func TestViolationsOfOneLineShareItsFrame(t *testing.T) {
	p := engine.Policy{ID: "p", Match: engine.Match{{Kinds: []string{"Thing"}}}, Rule: always(
		engine.Violation{Message: "second", Path: "b"}, engine.Violation{Message: "first", Path: "a"}, engine.Violation{Message: "far away", Path: "far"},
		engine.Violation{Message: "elsewhere", Path: "other"})}
	s := inFile(object("v1", "Thing", "", "n", nil), "f.yaml", "{a: 1, b: 2}\n2\n3\n4\n5\n6\n7", 1, map[string][2]int{"a": {1, 5}, "b": {1, 11}, "far": {7, 1}})
	locate := s.Origin.Locate
	s.Origin.Locate = func(path string) engine.Position {
		if path == "other" {
			return engine.Position{File: "g.yaml", Line: 3}
		}
		return locate(path)
	}
	got := written(t, report.Text, run(t, []engine.Policy{p}, nil, steps{s}), report.Options{})
	want := `f.yaml:1:5  FAIL  p
  Thing n
  > 1 | {a: 1, b: 2}
      |     ^ first
      |           ^ second
  ...
    5 | 5
    6 | 6
  > 7 | 7
      | ^ far away
  - elsewhere (at g.yaml:3 other)
  more: proviso policy explain p
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestFramesLeaveTheSourceAlone(t *testing.T) {
	lines := []string{"data:\r", "  password: x\r"}
	s := object("v1", "Secret", "", "n", nil)
	s.Origin = engine.Origin{Position: engine.Position{File: "f", Line: 2}, Lines: func(first, last int) []string { return lines[first-1 : last] }}
	p := engine.Policy{ID: "p", Match: engine.Match{{Kinds: []string{"Secret"}}}, Rule: always(engine.Violation{Message: "m"})}
	written(t, report.Text, run(t, []engine.Policy{p}, nil, steps{s}), report.Options{})
	if lines[1] != "  password: x\r" {
		t.Errorf("the source now reads %q", lines)
	}
}

func TestSummaries(t *testing.T) {
	thing := engine.Policy{ID: "p", Severity: engine.Critical, Match: engine.Match{{Kinds: []string{"Thing"}}}, Rule: always()}
	failing := thing
	failing.Rule = always(engine.Violation{Message: "m"})
	one := inFile(object("v1", "Thing", "", "n", nil), "f.yaml", "", 1, nil)
	other := inFile(object("v1", "Other", "", "n", nil), "g.yaml", "", 1, nil)
	var named steps
	for _, file := range []string{"m!x/a.yaml", "m!x/b.yaml", "m!x/b.tar.gz!a.json", "m!x/b.tar.gz!b!.json"} {
		named = append(named, inFile(object("v1", "Thing", "", "n", nil), file, "", 1, nil))
	}
	stopped := run(t, []engine.Policy{thing}, nil, steps{one, other})
	whole := stopped.Results
	stopped.Results = func(yield func(engine.Result) bool) {
		whole(func(r engine.Result) bool { yield(r); return false })
	}
	for _, c := range []struct {
		name string
		r    engine.Report
		want string
	}{
		{"all is well", run(t, []engine.Policy{thing}, nil, steps{one}),
			"1 policy x 1 subject in 1 file: 1 judged, 1 pass, 0 fail, 0 unknown\n"},
		{"an archive, and a ! in names", run(t, []engine.Policy{thing}, nil, named),
			"1 policy x 4 subjects in 3 files: 4 judged, 4 pass, 0 fail, 0 unknown\n"},
		{"one fails", run(t, []engine.Policy{failing}, nil, steps{one, one}),
			"\n1 policy x 2 subjects in 1 file: 2 judged, 0 pass, 2 fail (2 critical), 0 unknown\n"},
		{"no subject", run(t, []engine.Policy{thing}, nil, steps{}),
			"1 policy x 0 subjects: 0 judged, 0 pass, 0 fail, 0 unknown\nincomplete: nothing was checked: no subject was found\n"},
		{"no policy", run(t, nil, nil, steps{one}),
			"0 policies x 1 subject in 1 file: 0 judged, 0 pass, 0 fail, 0 unknown\nno policy speaks of 1 subject: Thing\nno policy speaks of anything in 1 file: f.yaml\nincomplete: nothing was checked: no policy was selected\n"},
		{"no match", run(t, []engine.Policy{thing}, nil, steps{other}),
			"no policy speaks of 1 subject: Other\nno policy speaks of anything in 1 file: g.yaml\nincomplete: nothing was checked: no policy speaks of any of the 1 subject\n"},
		{"stopped", stopped, "incomplete: the run was stopped before its end\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := written(t, report.Text, c.r, report.Options{}); !strings.HasSuffix(got, c.want) {
				t.Errorf("got:\n%s\nwant at its end:\n%s", got, c.want)
			}
		})
	}
}

func TestTextTellsWhatItLeavesOut(t *testing.T) {
	var in steps
	for i := range 1200 {
		in = append(in, &engine.Unread{Err: errors.New("broken")}, &engine.Unread{Err: errors.New("odd"), Kind: engine.NotManifest},
			inFile(object("v1", "Other", "", "n", nil), fmt.Sprintf("f%d.yaml", i), "", 1, nil))
	}
	got := written(t, report.Text, run(t, policies(), nil, in), report.Options{})
	for _, want := range []string{"cannot read: 200 more\n", "1200 documents are no Kubernetes objects (--all names them)\n",
		"no policy speaks of anything in 1200 files: f0.yaml, f1.yaml", "f4.yaml and 1195 more\n", "1200 inputs cannot be read"} {
		if !strings.Contains(got, want) {
			t.Errorf("the text does not say %q", want)
		}
	}
	all := written(t, report.Text, run(t, policies(), nil, in), report.Options{All: true})
	if want := "no Kubernetes object: 1100 more\n"; !strings.Contains(all, want) {
		t.Errorf("the text does not say %q", want)
	}
}

func TestTextTellsAFindingAsSoonAsItIsKnown(t *testing.T) {
	var out bytes.Buffer
	r := sample(t)
	results, told := r.Results, 0
	r.Results = func(yield func(engine.Result) bool) {
		for x := range results {
			before := out.Len()
			if !yield(x) {
				return
			}
			if x.Subject != nil && x.Subject.Kind != "ConfigMap" && out.Len() > before {
				told++
			}
		}
	}
	if err := report.Text(&out, r, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if told != 3 {
		t.Errorf("%d of 3 subjects with findings were told at once", told)
	}
}
