package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	sigsyaml "sigs.k8s.io/yaml"
)

// likeEncodingJSON fails where raw is taken for JSON with another value than encoding/json gives it, or refused although
// nothing in it is ambiguous.
func likeEncodingJSON(t *testing.T, raw string) {
	t.Helper()
	if got, want := isJSON([]byte(raw)), json.Valid([]byte(raw)); got != want {
		t.Fatalf("%q: is JSON: %v, want %v", raw, got, want)
	}
	got, _, _, err := text(raw).json(raw, false)
	_, root, _, again := text(raw).json(raw, true)
	if (err == nil) != (again == nil) || (root == nil) != (again != nil) {
		t.Fatalf("%q: with places %v, without %v", raw, again, err)
	}
	if err != nil {
		return
	}
	if d, err := JSON(raw, "x", Limits{}); err != nil || !reflect.DeepEqual(d.Value, got) {
		t.Fatalf("%q is read as %#v, %v, by JSON alone; want %#v", raw, d, err, got)
	}
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.UseNumber()
	var want any
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("%q is read as %#v, but refused by encoding/json: %v", raw, got, err)
	}
	if want = apiNumbers(want); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is read as %#v, want %#v", raw, got, want)
	}
	if !utf8.ValidString(raw) {
		t.Fatalf("%q is no UTF-8, but read", raw)
	}
}

var jsonSeeds = []string{
	`{}`, `[]`, `null`, `true`, `"a"`, `1`, `-1.5e+10`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `0x1`, `[1,]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{'a':1}`, "{\"a\":\t1}\n", `{"a":1}}`, `{"a":1} x`,
	`"\u00e9\n\t\"\\\/\b\f\r"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\x"`, `"\u12"`, "\"\x01\"", "\"\xff\"", "\"\\n\xff\"", `"é"`, "\"\u2028\"",
	`{"a":{"b":[1,{"c":null}]},"d":1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"":1}`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-0`, `-0.0`, `1e400`, `1e-400`, `nul`, `tru`, ` `, ``,
}

func TestJSONIsReadAsEncodingJSONReadsIt(t *testing.T) {
	for _, s := range jsonSeeds {
		likeEncodingJSON(t, s)
	}
	for _, s := range []string{`{"a":{"b":[1,{"c":null}]},"d":-1.5e3}`, `"\ud83d\ude00 \u00e9"`, ` [ 1 , "x" ] `} {
		if _, _, _, err := text(s).json(s, false); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestJSONAloneReadsNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1": "'a' stands here", "": "the text ends here", "{}{}": "text follows", "\ufeff{}": "stands here", "{} # c": "text follows", "---\n{}": "a digit", "{\"a\":1,\"b\":2,\"a\":3}": `x:1:14: read JSON: key "a" is there twice, first at 1:2`,
		`{"a":{"k":1,"\u006b":2}}`: "twice", "[\"\xff\"]": "UTF-8", "[[[[[]]]]]": "nested deeper", "[1,2,3,4,5,6,7,8,9]": "more than 8 values", strings.Repeat(" ", 100): "longer than 64 bytes",
		"[\"12345678\x01\"]": "control character", "[\"12345678": "not closed", "\"a\nb\"": "control character", "{\"a\":1,}": "a key in double quotes",
	} {
		_, err := JSON(text, "x", Limits{Bytes: 64, Depth: 4, Nodes: 8})
		var ours *Error
		if !errors.As(err, &ours) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	// Quotes, escapes and bytes past ASCII are met at every place of the eight bytes that are looked at together.
	for n := range 20 {
		pad := strings.Repeat("a", n)
		for written, want := range map[string]string{``: "", `\n`: "\n", `\"`: `"`, `é`: "é", `\\`: `\`, `~!`: "~!"} {
			d, err := JSON(`["`+pad+written+pad+`",1]`, "x", Limits{})
			if err != nil || !reflect.DeepEqual(d.Value, []any{pad + want + pad, int64(1)}) {
				t.Errorf("%d, %q: %v %v", n, written, d, err)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add(s)
	}
	f.Fuzz(likeEncodingJSON)
}

func FuzzDocuments(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d+"\n---\n"+d), 0)
	}
	f.Add([]byte(`{"a":1}{"b":2} # c`), 3)
	f.Fuzz(func(t *testing.T, raw []byte, at int) {
		for d, err := range Documents(bytes.NewReader(raw), "x", Limits{Bytes: 4096, Depth: 20, Nodes: 500}) {
			if err != nil {
				_ = err.Error()
				continue
			}
			p := d.Position("a", at, "b")
			if last := 1 + bytes.Count(raw, []byte("\n")); p.Line < 1 || p.Line > last || p.Column < 1 || d.Start.Line > last {
				t.Fatalf("%q: a place outside of the file: %v, %v", raw, p, d.Start)
			}
			if !bytes.Contains(raw, []byte(d.Raw)) {
				t.Fatalf("%q: the document's bytes %q are not the file's", raw, d.Raw)
			}
			_ = d.Lines(p.Line, p.Line)
			var out struct {
				A string         `json:"a"`
				B map[string]int `json:"b"`
			}
			_ = d.Into(&out)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	pod, err := os.ReadFile("testdata/pod.yaml")
	if err != nil {
		b.Fatal(err)
	}
	asJSON, err := sigsyaml.YAMLToJSON(pod)
	if err != nil {
		b.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, asJSON, "", "  "); err != nil {
		b.Fatal(err)
	}
	run := func(name string, raw []byte, places bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				for d, err := range Documents(bytes.NewReader(raw), "x", Limits{}) {
					if err != nil {
						b.Fatal(err)
					}
					if places {
						d.Position("spec")
					}
				}
			}
		})
	}
	run("YAML", pod, false)
	run("YAML with places", pod, true)
	run("YAML by the library", bytes.Replace(pod, []byte("kind: Pod"), []byte("kind: &k Pod"), 1), false)
	run("JSON", indented.Bytes(), false)
	b.Run("JSON alone", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(asJSON)))
		for b.Loop() {
			if _, err := JSON(string(asJSON), "x", Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sigs.k8s.io/yaml", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := sigsyaml.Unmarshal(pod, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(indented.Bytes(), &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
