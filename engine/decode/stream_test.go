package decode_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"proviso.dev/proviso/engine/decode"
)

// read is what a stream holds: values, and errors as text.
func read(raw string, limits decode.Limits) []any {
	var all []any
	for d, err := range decode.Documents(strings.NewReader(raw), "x.yaml", limits) {
		if err != nil {
			all = append(all, err.Error())
		} else {
			all = append(all, d.Value)
		}
	}
	return all
}

type m = map[string]any

func TestStreamsAreCutWhereKubectlCutsThem(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want []any
	}{
		"nothing":               {"", nil},
		"one":                   {"a: 1\n", []any{m{"a": int64(1)}}},
		"two":                   {"a: 1\n---\na: 2\n", []any{m{"a": int64(1)}, m{"a": int64(2)}}},
		"comment behind ---":    {"--- # x\na: 1\n---   \na: 2", []any{m{"a": int64(1)}, m{"a": int64(2)}}},
		"empty and comments":    {"---\n---\n# c\n---\n\n---\na: 1\n---\nnull\n---\n~\n", []any{m{"a": int64(1)}}},
		"CRLF":                  {"a: 1\r\n---\r\nb: |\r\n  x\r\n  y\r\n", []any{m{"a": int64(1)}, m{"b": "x\ny\n"}}},
		"byte order mark":       {"\ufeffa: 1\n", []any{m{"a": int64(1)}}},
		"indented ---":          {"a: |\n  x\n  ---\n  y\n", []any{m{"a": "x\n---\ny\n"}}},
		"no line end":           {"a: |\n  x", []any{m{"a": "x\n"}}},
		"end mark":              {"a: 1\n...\n---\na: 2\n...\n# c\n", []any{m{"a": int64(1)}, m{"a": int64(2)}}},
		"text behind end mark":  {"a: 1\n...\nb: 2\n", []any{`x.yaml:3:1: read YAML: a second document follows after "..." (put --- on a line of its own between documents)`}},
		"directive":             {"%YAML 1.1\n---\na: 1\n---\na: 2\n", []any{m{"a": int64(1)}, m{"a": int64(2)}}},
		"YAML 1.2":              {"%YAML 1.2\n---\na: yes\n", []any{`x.yaml:1:1: read YAML: the directive names a version of YAML other than 1.1, which Kubernetes reads (remove the directive)`}},
		"broken hides no other": {"a: [\n---\nb: 1\n---\nc: {\n---\nd: 1\n", []any{"x.yaml:2:1: read YAML: a value is missing (the file is cut short, or a comma is too many)", m{"b": int64(1)}, "x.yaml:6:1: read YAML: a value is missing (the file is cut short, or a comma is too many)", m{"d": int64(1)}}},
		"text behind ---":       {"--- {a: 1}\nb: 1\n", []any{`x.yaml:1:1: read text behind --- (put it on the next line: kubectl takes only a comment there)`, m{"b": int64(1)}}},
		"JSON stream":           {"{\"a\": 1}{\"a\": 2}\n {\"a\":\n3}\n", []any{m{"a": int64(1)}, m{"a": int64(2)}, m{"a": int64(3)}}},
		"JSON and YAML":         {"{\"a\": 1}\n---\nb: 2\n---\n[1, 2.0]\n", []any{m{"a": int64(1)}, m{"b": int64(2)}, []any{int64(1), 2.0}}},
		"JSON, then text":       {"{\"a\": 1}\n  x: 1\n---\nb: 2\n", []any{m{"a": int64(1)}, "x.yaml:2:3: read text behind a JSON object (remove it, or put --- on a line of its own before it)", m{"b": int64(2)}}},
		"JSON, then a comment":  {"{\"a\": 1} # c\n", []any{m{"a": int64(1)}}},
		"YAML in braces":        {"{a: 1, 'b': yes}\n", []any{m{"a": int64(1), "b": true}}},
		"NaN in braces":         {`{"a": NaN}`, []any{m{"a": "NaN"}}}, // kubectl takes it for YAML
		"brace in single quote": {"{a: '\"}'}\n---\nb: 1\n", []any{m{"a": `"}`}, m{"b": int64(1)}}},
		"truncated JSON":        {"{\"a\": {\"b\": 1}\n", []any{`x.yaml:2:1: read JSON: the text ends here, want ',' or '}' after a value (the file is cut short)`}},
		"NUL":                   {"a: 1\n---\nPK\x03\x04\x00\n---\nb: 1\n", []any{m{"a": int64(1)}, "x.yaml:3:5: read NUL bytes: not YAML or JSON (name text files only)", m{"b": int64(1)}}},
		"UTF-16 with a mark":    {"\xff\xfea\x00:\x00", []any{"x.yaml:1:1: read text in UTF-16, want UTF-8 (convert it, for example with iconv -f UTF-16 -t UTF-8)"}},
		"UTF-16 without a mark": {"\x00a\x00:\x00 \x001", []any{"x.yaml:1:1: read text in UTF-16, want UTF-8 (convert it, for example with iconv -f UTF-16 -t UTF-8)"}},
		"UTF-32":                {"\xff\xfe\x00\x00a\x00\x00\x00", []any{"x.yaml:1:1: read text in UTF-32, want UTF-8 (convert it, for example with iconv -f UTF-32 -t UTF-8)"}},
	} {
		if got := read(c.raw, decode.Limits{}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: read\n%q, want\n%q", name, got, c.want)
		}
		var slow []any
		for d, err := range decode.Documents(iotest.OneByteReader(strings.NewReader(c.raw)), "x.yaml", decode.Limits{}) {
			if err != nil {
				slow = append(slow, err.Error())
			} else {
				slow = append(slow, d.Value)
			}
		}
		if !reflect.DeepEqual(slow, c.want) {
			t.Errorf("%s, byte by byte: read\n%q, want\n%q", name, slow, c.want)
		}
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	for raw, want := range map[string]string{
		"a:\n\tb: 1\n":             "x.yaml:2:1: read YAML: a tab stands where YAML indents with spaces (replace it with spaces)",
		"a: b: c\n":                `x.yaml:1:5: read YAML: a second ": " stands on the line, or the line is indented too far (quote a value that holds ": ")`,
		"a: @x\n":                  `x.yaml:1:4: read YAML: "@" cannot start a value (quote the value)`,
		"a: \"x\nb: 1\n":           "x.yaml:3:1: read YAML: the text ends inside a quoted value (the file is cut short, or a quote is not closed)",
		"a: 1\nb:\n  a: 1\na: 2\n": `x.yaml:4:1: read YAML: key "a" is there twice, first at 1:1 (remove one)`,
		"a: *b\n":                  "x.yaml:1:4: read YAML: an alias names no anchor that stands before it (write &name at the value meant)",
		"a: &b [*b]\n":             `x.yaml:1:8: read YAML: the value that the alias names contains itself`,
		"a: .inf\n":                `x.yaml:1:4: read YAML: neither infinity nor "not a number" can be sent to Kubernetes (quote it if text is meant)`,
		"a: \xff\n":                "x.yaml:1:4: read YAML: the bytes are not UTF-8 (save the file as UTF-8)",
		"{\"a\": 1, \"b\": {\"a\": 2},\n \"a\": 3}": `x.yaml:2:2: read JSON: key "a" is there twice, first at 1:2 (remove one)`,
		"{\"a\": 1e999}":       `x.yaml:1:7: read JSON: the number is too large (quote it if text is meant)`,
		"{\"a\": \"\xff\"}":    `x.yaml:1:8: read JSON: a byte is not UTF-8 (save the file as UTF-8)`,
		"{\"a\": \"\\ud800\"}": `x.yaml:1:8: read JSON: half a surrogate pair stands in a string (write both halves)`,
	} {
		got := read(raw, decode.Limits{})
		if len(got) != 1 || got[0] != any(want) {
			t.Errorf("%q: read\n%q, want\n%q", raw, got, want)
		}
	}
}

// The rows of the parser table in the reliability notes: what other readers take one way or the other is refused, or kept
// apart.
func TestInputsThatReadersDifferOn(t *testing.T) {
	for raw, want := range map[string]any{
		`{"encrypted":false,"Encrypted":true}`:                   m{"encrypted": false, "Encrypted": true},
		`{"encrypted":true,"ENCRYPTED":false}`:                   m{"encrypted": true, "ENCRYPTED": false},
		`{"ENCRYPTED":true}`:                                     m{"ENCRYPTED": true},
		`{"encrypted":true,"encrypted":false}`:                   nil,
		"encrypted: true\nencrypted: false\n":                    nil,
		`{"a":1} trailing`:                                       nil,
		strings.Repeat("[", 200_000):                             nil,
		"a: " + strings.Repeat("[", 200_000):                     nil,
		strings.Repeat("- ", 200_000) + "x":                      nil,
		`{"a":` + strings.Repeat("[", 200_000):                   nil,
		`{"n":-0,"i":1,"f":1.0,"e":1e2,"b":9223372036854775808}`: m{"n": int64(0), "i": int64(1), "f": 1.0, "e": 100.0, "b": 9223372036854775808.0},
	} {
		began := time.Now()
		var value any
		failed := false
		for d, err := range decode.Documents(strings.NewReader(raw), "x", decode.Limits{}) {
			if err != nil {
				failed = true
			} else {
				value = d.Value
			}
		}
		if failed != (want == nil) || want != nil && !reflect.DeepEqual(value, want) {
			t.Errorf("%.60q: read %v (failed %v), want %v", raw, value, failed, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.60q: took %v", raw, took)
		}
	}
}

func TestLimitsHoldAtTheirEdge(t *testing.T) {
	for name, c := range map[string]struct {
		limits    decode.Limits
		at, above string
	}{
		"bytes":      {decode.Limits{Bytes: 10}, "a: 1234567", "a: 12345678"},
		"bytes JSON": {decode.Limits{Bytes: 10}, `{"a":1234}`, `{"a":12345}`},
		"depth":      {decode.Limits{Depth: 3}, "a:\n  b:\n    c: 1\n", "a:\n  b:\n    c:\n      d: 1\n"},
		"depth flow": {decode.Limits{Depth: 3}, "a: [[x y]]\n", "a: [[[x y]]]\n"},
		"depth JSON": {decode.Limits{Depth: 3}, `{"a":[[1]]}`, `{"a":[[[1]]]}`},
		"nodes":      {decode.Limits{Nodes: 4}, "a: 1\nb: 2\nc: 3\n", "a: 1\nb: 2\nc: 3\nd: 4\n"},
		"nodes flow": {decode.Limits{Nodes: 4}, "a: ['b c', !!str d]\n", "a: ['b c', !!str d, e]\n"},
		"nodes JSON": {decode.Limits{Nodes: 4}, `{"a":[1,2]}`, `{"a":[1,2,3]}`},
		"aliases":    {decode.Limits{Nodes: 6}, "a: &a [1]\nb: *a\nc: 1\n", "a: &a [1]\nb: *a\nc: *a\n"},
	} {
		if got := read(c.at, c.limits); len(got) != 1 || reflect.TypeOf(got[0]) != reflect.TypeFor[m]() {
			t.Errorf("%s: at the limit: %v", name, got)
		}
		got := read(c.above+"\n---\nz: 1\n", c.limits)
		if len(got) != 2 || !strings.Contains(fmt.Sprint(got[0]), "limit") || !reflect.DeepEqual(got[1], m{"z": int64(1)}) {
			t.Errorf("%s: above the limit: %v", name, got)
		}
	}
}

func TestAnAliasBombIsRefusedAtOnce(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	began := time.Now()
	got := read(bomb, decode.Limits{})
	if took := time.Since(began); len(got) != 1 || !strings.Contains(fmt.Sprint(got[0]), "aliases expand to too many values") || took > time.Second {
		t.Errorf("after %v: %v", took, got)
	}
}

func TestPositionsPointAtWords(t *testing.T) {
	for name, raw := range map[string]string{
		"block":   "---\n# c\nkind: Pod\nspec:\n  list:\n  - name: \"é\" # x\n    a.b/c:   5\n  - {x: y, z: [1, 2]}\n  - |\n    text\n  empty:\n",
		"library": "---\n# c\nkind: Pod\nspec:\n  list:\n  - name: \"é\" # x\n    a.b/c:   5\n  - {x: y, z: [1, 2]}\n  - >\n    text\n  empty:\n",
	} {
		for d, err := range decode.Documents(strings.NewReader(raw), "x", decode.Limits{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				path         []any
				line, column int
			}{
				{nil, 3, 1}, {[]any{"kind"}, 3, 7}, {[]any{"spec"}, 4, 1}, {[]any{"spec", "list"}, 5, 3}, {[]any{"spec", "list", 0}, 6, 5},
				{[]any{"spec", "list", 0, "name"}, 6, 11}, {[]any{"spec", "list", 0, "a.b/c"}, 7, 14}, {[]any{"spec", "list", 1, "z", 1}, 8, 19}, {[]any{"spec", "list", 1, "z"}, 8, 12},
				{[]any{"spec", "list", 2}, 9, 5}, {[]any{"spec", "empty"}, 11, 3}, {[]any{"spec", "missing", "x"}, 4, 1}, {[]any{"spec", "list", 7}, 5, 3}, {[]any{"spec", 1}, 4, 1},
			} {
				if got := d.Position(c.path...); got != (decode.Position{Line: c.line, Column: c.column}) {
					t.Errorf("%s: %v is at %v, want %d:%d", name, c.path, got, c.line, c.column)
				}
			}
			if got := d.Key("spec", "list", 0, "a.b/c"); got != (decode.Position{Line: 7, Column: 5}) {
				t.Errorf("%s: the key is at %v", name, got)
			}
			if d.Start != (decode.Position{Line: 3, Column: 1}) || !reflect.DeepEqual(d.Lines(3, 4), []string{"kind: Pod", "spec:"}) || len(d.Lines(0, 99)) != 10 {
				t.Errorf("%s: starts at %v, lines %q", name, d.Start, d.Lines(0, 99))
			}
		}
	}
	for d := range decode.Documents(strings.NewReader("{\"z\":1}{\n \"a\": {\"é\": [1, {}]}}"), "x", decode.Limits{}) {
		if d.Value.(m)["a"] == nil {
			continue
		}
		for path, want := range map[any]decode.Position{0: {Line: 2, Column: 14}, 1: {Line: 2, Column: 17}} {
			if got := d.Position("a", "é", path); got != want {
				t.Errorf("JSON: %v is at %v, want %v", path, got, want)
			}
		}
		if d.Start != (decode.Position{Line: 1, Column: 8}) {
			t.Errorf("the second object starts at %v", d.Start)
		}
	}
}

func TestCommentsAboveADocument(t *testing.T) {
	raw := "# lone\n---\n# Source: chart/templates/x.yaml\n\n#two\na: 1 # no\n# no\n---\nb: 1\n"
	want := [][]string{{"lone", "Source: chart/templates/x.yaml", "two"}, nil}
	for d, err := range decode.Documents(strings.NewReader(raw), "x", decode.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Comments(); !reflect.DeepEqual(got, want[0]) {
			t.Errorf("comments %q, want %q", got, want[0])
		}
		want = want[1:]
	}
}

func TestAReadErrorEndsTheStream(t *testing.T) {
	cause := errors.New("the disk is gone")
	var last error
	for _, err := range decode.Documents(io.MultiReader(strings.NewReader("a: 1\n---\nb"), iotest.ErrReader(cause)), "x", decode.Limits{}) {
		last = err
	}
	var at *decode.Error
	if !errors.Is(last, cause) || !errors.As(last, &at) || at.File != "x" {
		t.Errorf("got %v", last)
	}
}

func TestOne(t *testing.T) {
	for raw, want := range map[string]string{"a: 1\n": "", "# c\n": "x:1:1: read no document", "a: 1\n---\nb: 1\n": "x:3:1: read a second document", "a: [": "x:2:1:"} {
		_, err := decode.One(strings.NewReader(raw), "x", decode.Limits{})
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
	}
}

func TestMemoryDoesNotGrowWithTheStream(t *testing.T) {
	pod, err := os.ReadFile("testdata/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range decode.Documents(&repeated{text: append([]byte("---\n"), pod...), times: 2000}, "x", decode.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2000 {
		t.Errorf("read %d documents", n)
	}
}

// repeated reads as text, so many times.
type repeated struct {
	text  []byte
	at    int
	times int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.times == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.text[r.at:])
	if r.at += n; r.at == len(r.text) {
		r.at, r.times = 0, r.times-1
	}
	return n, nil
}

// What may be a Secret's, a key as well as a value, is in no error, in whatever way the document is wrong.
func TestErrorsDoNotRepeatSecrets(t *testing.T) {
	for _, raw := range []string{
		"stringData:\n  CANARY: 1\n  CANARY: 2\n",
		"data: {CANARY: 1, CANARY: 2}\n",
		"items:\n- stringdata:\n    a:\n      CANARY: 1\n      CANARY: 2\n",
		"a: &a {CANARY: 1}\ndata:\n  CANARY: 2\n  <<: *a\n",
		`{"stringData": {"CANARY": 1, "CANARY": 2}}`,
		`{"items": [{"data": [{"a": {"CANARY": 1, "CANARY": 2}}]}]}`,
		"stringData: {\"CANARY\": 1,\n \"CANARY\": 2}",
		"a: !!int CANARY\n",
		"a: [!CANARY, b]\n",
		"a: !CANARY\n",
		"a: &CANARY$ b\n",
		"a: *CANARY\n",
		"a: &CANARY [*CANARY]\n",
		"a: CANARY: CANARY\n",
		"a: \"CANARY\\q\"\n",
		"a: 'CANARY\n",
		"a: %CANARY\n",
		"%CANARY\n---\na: 1\n",
		"--- {stringData: {p: CANARY}}\n",
		`{"a": CANARY]`,
		`{"a": "CANARY`,
		`{"a": 123454321e999}`,
		"a: !!binary CANARY!\n",
	} {
		failed := false
		for _, got := range read(raw, decode.Limits{}) {
			if text, ok := got.(string); ok {
				failed = failed || strings.Contains(text, "x.yaml:")
				if strings.Contains(text, "CANARY") || strings.Contains(text, "12345") {
					t.Errorf("%q: read %q", raw, text)
				}
			}
		}
		if !failed {
			t.Errorf("%q is read without an error", raw)
		}
	}
	// Outside of what may be a Secret's a key is named, also behind one.
	for _, raw := range []string{"data: {a: 1}\nb: 1\nb: 2\n", `{"data": {"a": 1}, "b": 1, "b": 2}`, "data: 1\nb: 1\ndata: 2\n"} {
		if got := read(raw, decode.Limits{}); len(got) != 1 || !strings.Contains(got[0].(string), `key "`) {
			t.Errorf("%q: read %q, want the key named", raw, got)
		}
	}
}
