package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	sigsyaml "sigs.k8s.io/yaml"
)

// apiValue is what the API server makes of JSON: whole numbers that fit are int64, all others float64.
func apiValue(t testing.TB, text []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("the reference wrote no JSON: %v", err)
	}
	return apiNumbers(v)
}

func apiNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !strings.Contains(string(v), ".") {
			if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
				return n
			}
		}
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return err
		}
		return f
	case []any:
		for i := range v {
			v[i] = apiNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = apiNumbers(v[k])
		}
	}
	return v
}

// text is one document with default limits, without a stream around it.
func text(raw string) Text {
	t := Text{File: "x.yaml", Raw: raw, Line: 1, Column: 1, limits: Limits{}.orDefault()}
	if !strings.HasSuffix(raw, "\n") {
		t.ended = raw + "\n"
	}
	return t
}

// agree fails where raw is accepted with a value other than the one Kubernetes' clients send, or where the two ways of
// reading YAML differ, or a place is missing.
func agree(t *testing.T, raw string) {
	t.Helper()
	doc := text(raw)
	whole := raw
	if doc.ended != "" {
		whole = doc.ended
	}
	got, err := doc.Decode()
	if fast, _, start, ok := doc.block(whole, false); ok {
		slow, _, slowStart, slowErr := doc.yaml(whole, false)
		if slowErr != nil || !reflect.DeepEqual(fast, slow) || fast != nil && start != slowStart {
			t.Fatalf("%q is read as\n%#v at %v by the fast reader, as\n%#v at %v (%v) by the library", raw, fast, start, slow, slowStart, slowErr)
		}
		_, fastRoot, _, _ := doc.block(whole, true)
		_, slowRoot, _, _ := doc.yaml(whole, true)
		if !reflect.DeepEqual(fastRoot, slowRoot) && fast != nil {
			t.Fatalf("%q: places differ:\n%s\n%s", raw, dump(fastRoot), dump(slowRoot))
		}
	}
	if err != nil {
		var place *Error
		if !errors.As(err, &place) || place.Line < 1 {
			t.Fatalf("%q: error without a place: %v", raw, err)
		}
		return
	}
	trimmed := strings.TrimLeft(raw, " \t\r\n")
	if strings.HasPrefix(trimmed, "[") && json.Valid([]byte(raw)) {
		return // JSON, compared with encoding/json elsewhere
	}
	sent, err := sigsyaml.YAMLToJSON([]byte(whole))
	if err != nil {
		t.Fatalf("%q is read as %#v, but refused by sigs.k8s.io/yaml: %v", raw, got.Value, err)
	}
	if want := apiValue(t, sent); !reflect.DeepEqual(got.Value, want) {
		t.Fatalf("%q is read as\n%#v, want\n%#v", raw, got.Value, want)
	}
}

func dump(p *place) string {
	if p == nil {
		return "-"
	}
	s := fmt.Sprintf("%v/%v", p.key, p.value)
	for k, f := range p.fields {
		s += fmt.Sprintf(" %s:{%s}", k, dump(f))
	}
	for _, e := range p.items {
		s += " [" + dump(e) + "]"
	}
	return s
}

// scalars are the forms of values that YAML readers disagree about.
var scalars = strings.Split(`yes|Yes|YES|yEs|no|No|NO|on|On|ON|off|OFF|y|Y|n|N|true|True|TRUE|tRue|false|~|null|Null|NULL|nil|""|''|
0|-0|+5|007|0644|0o644|0O17|08|0b11|0B11|0b-1|-0b11|0x1F|-0x1f|0xG|1_000|1__0|_1|1_|0_7|12345678901234567890|9223372036854775807|9223372036854775808|-9223372036854775808|-9223372036854775809|0xFFFFFFFFFFFFFFFF|
1.0|1.|.5|+.5|-.5|1e3|1E3|1e+3|1e-3|1.5e3|1e21|1e20|1e400|-1e400|1e-400|.inf|-.inf|+.inf|.nan|.NaN|.Inf|1_0.5|1.2.3|10.0.0.1|0.1|100000000000000000000|1152921504606846976.0|9007199254740993.0|
2001-01-01|2001-1-1|2001-12-14t21:59:43.10-05:00|2001-12-14T21:59:43Z|2001-01-01 10:10:10|12:30|12:30:45|1:20|190:20:30|
!!str 5|!!int 5|!!int "5"|!!int 5.5|!!float 5|!!float 5.5|!!float 18446744073709551615|!!int 18446744073709551615|!!bool yes|!!bool 5|!!null ~|!!null x|!!binary aGk=|!!binary "***"|!!binary gIA=|!!timestamp 2001-01-01|!!timestamp x|!!str|!!int|!custom x|!custom 5|!<tag:yaml.org,2002:int> 5|! 5|! "5"|! x|&a 5|&a ! "5"|!!set {a, b}|!!map {a: b}|!!str {a: b}|!!seq [a]|
=|<<|a: b|a:b|a :b|#x|a#b|a #b|- x|-x|-|--|---x|?x|? x|:x|: x|@x|%x|*x|&x|"a|'a|'it''s'|"a\"b"|"a\/b"|"\x41"|"\u0041"|"\ud83d\ude00"|"\U0001F600"|"a\
  b"|[a, b]|[a,b]|[a, ]|[a b, c]|[ a , b ]|[]|[ ]|{}|{ }|{a: b}|{a: b, c: [d, {e: f}]}|{a:b}|{a}|{a: }|{"a":1}|{"a": 1}|[a: b]|[-1, - 1]|["x", 'y']|[[a], [b]]|{a: b}x|"a" "b"|"a"b|"a" #c|"a"#c|
|`+"|\n  a\n  b|\n    a\n   b|-\n  a|+\n  a\n\n|>\n  a\n  b|>-\n  a|2\n   a|\n\n  a|\n \n  a|\n  a\n\n\n|\n  a\n   \n|\n  a\n # c\n|\n  \ta\n|\n\ta\n|x\n  y|x\n\n  y|x\n  # c\n  y|é|日本|a\u00a0b|a\u0085b|a\u2028b|\ufeffx|a\tb|\tx|x\t|\"a\tb\"|'a\tb'|x\t# c|"+`{ a: b }|a\b|C:\dir|http://x/y|1.14.2|v1|500m|1Gi|*|<a>|a,b|a{b}|(x)|$x|~x|.x|.|..|+|+x|0.|0x|0b|0o|1e|e1|+1e3|1e3.5|infinity|NaN|Infinity|.5e|0x1p3|0x1.8p1`, "|")

func TestValuesAreThoseKubernetesReceives(t *testing.T) {
	for _, s := range scalars {
		for _, form := range []string{"a: %s\n", "a: %s", "- %s\n", "- %s\n- x\n", "a: [%s]\n", "a: {b: %s}\n", "%s: x\n", "a:\n  b: %s\n  c: d\n", "- a: %s\n  b: c\n", "%s\n", "a: &x %s\nb: *x\n", "# c\na:   %s   # d\n"} {
			agree(t, fmt.Sprintf(form, s))
		}
	}
}

var documents = []string{
	"", "\n", "# c\n", "a:\nb:\n", "a:\n- b\n- c\nd: e\n", "a:\n  - b\n  -\n  - c: d\n    e: f\n", "-\n  a: b\n-\n  - c\n", "- - a\n  - b\n",
	"a:\n    b: c\n  d: e\n", "a:\n  b: c\n d: e\n", "  a: b\n  c: d\n", "  a: b\nc: d\n", "a: b\n  c: d\n", "a: b\n  c\n", "a:\n  b\n", "a:\n  b\n  c\n",
	"a: {b: c,\n  d: e}\n", "a: [b,\n !!str ?c]\n", "{a?: 1}", "a: {b> c \n  : de}\n", "{\"a\"\n  : 1,}", "a: [!,b]\n", "&!", "...", "\n...\na: 1\n", "|\nb: c\n", "a: {b::, c}\n", "a: !!float 184467473709551615\n", "{a\u2028  :}", "#a: %b\n", "a: [b,\n c]\n", "a: \"b\n  c\"\n", "? a\n: b\n", "? [a]\n: b\n", "{a: b}: c\n", "a: b: c\n",
	"base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\n", "base: &b {x: 1, y: 2}\nc:\n  y: 3\n  <<: *b\n", "base: &b {x: 1}\nc:\n  y: 3\n  <<: *b\n",
	"a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\n  z: 4\n", "a: &a [1]\nb:\n  <<: *a\n", "a:\n  <<: {x: 1}\n  <<: {y: 2}\n", "a:\n  \"<<\": {x: 1}\n", "a:\n  <<:\n", "a:\n  !!merge <<: {x: 1}\n",
	"a: &x [*x]\n", "a: *nope\n", "a: &x 1\nb: &x 2\nc: *x\n", "&a a: &b b\n*a : *b\n", "&a a: x\nb: *a\n",
	"1: a\n\"1\": b\n", "true: a\nyes: b\n", "1: a\n0x1: b\n", "1.5: a\n", "~: a\n", ": a\n", "\"\": a\n", "2001-01-01: a\n", "18446744073709551615: a\n", ".inf: a\n", "1e3: x\n", "0.1: a\n", "16777217.5: x\n",
	"a: 1\na: 2\n", "a: 1\n\"a\": 2\n", "a: {b: 1, b: 2}\n",
	"a: b\n...\n", "a: b\n...\n# c\n", "a: b\n...\nc: d\n", "%YAML 1.1\n---\na: b\n", "%YAML 1.2\n---\na: yes\n", "%TAG ! tag:x,2000:\n---\na: !y z\n", "--- a\n",
	"a: |\n  x\n y\n", "a: |\n\n\n", "a: |\nb: c\n", "- |\n x\n- y\n", "- a: |\n    x\n  b: y\n", "- a: |\n   x\n  b: y\n", "a: |\n  x\n\n  y\n\nb: c\n", "a: |+\n  x\n\nb: c\n", "a: |-\n  x\n\nb: c\n", "a: |  # c\n  x\n", "a: |#c\n  x\n", "a: |\n  x\n   \n", "a: |\n  x\n  \n  ",
	"a: b\r\nc: d\r\n", "a: |\r\n  x\r\n  y\r\n", "a: b\rc: d\r", "a: \"x\\\n  y\"\n", "\ta: b\n", "a:\n\tb: c\n", "a:\t b\n", "a: b\n\t\nc: d\n", "a: b\n \t# x\nc: d\n",
	"a: 'b\nc'\n", "a: \"b\\", "a: [1, 2", "a: {b: 1", "a: 'x", "a: |", "a: >", "a: &", "a: *", "a: !", "a: !!", "a: @x", "a: `x`",
	"a: \u009bx\n", "a: \uffffx\n", " 01e70:", "\x00", "a: \x01\n", "a: \x7f\n", "a: \xff\n", "a: \xc3(\n", "\xff\xfea\x00", "a: \ufffe\n", "a: \ufffd\n", "a: \U0001F600\n",
	"key with space: b\n", "a.b/c: d\n", "-a: b\n", "a-: b\n", "a : b\n", "a:  b\n", "a: b  \n", "a: b #\n", "a:#b\n", "a: # b\n  c: d\n", "a: #b\n",
	"- a\n-b\n", "- a\nb: c\n", "a: b\n- c\n", "a:\n- b\n c: d\n", "a:\n  - b\n - c\n", "- a:\n  - b\n  c: d\n", "- a:\n   - b\n  c: d\n", "-   a: b\n    c: d\n", "- # c\n  a: b\n", "- \"a\": b\n  'c': d\n", "- \"a\":b\n",
	"- \"" + strings.Repeat("x", 300) + "\"\n", strings.Repeat("k", 300) + ": v\n", strings.Repeat("k", 1100) + ": v\n",
	"{\"a\": 1}", "{\"a\": 1,}", "{'a': 1}", "{a: 1}", "{\"a\":1.0}", "{\"a\": \"\\ud83d\\ude00\"}", "{\n\t\"a\": 1\n}", "{\"a\": 1} # c\n",
}

func TestDocumentsAreThoseKubernetesReceives(t *testing.T) {
	for _, d := range documents {
		agree(t, d)
	}
	pod, err := os.ReadFile("testdata/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	agree(t, string(pod))
	if _, _, _, ok := text(string(pod)).block(string(pod), false); !ok {
		t.Error("an ordinary manifest is not read by the fast reader")
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range scalars {
		f.Add("a: " + s + "\n")
		f.Add("- " + s + "\n- b: c\n")
	}
	for _, d := range documents {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.Contains(raw, "\n---") || strings.HasPrefix(raw, "---") || strings.IndexByte(raw, 0) >= 0 || !utf8.ValidString(raw) && len(raw) > 1000 {
			return // cut before it comes here
		}
		agree(t, raw)
	})
}
