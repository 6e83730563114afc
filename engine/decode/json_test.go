package decode

import (
	"bytes"
	"encoding/json"
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
