//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/evidence"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat = true
	if err := c.AddResource("record.json", bytes.NewReader(evidence.Schema())); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// object is what a schema says of an object.
type object struct {
	Ref        string `json:"$ref"`
	Items      *object
	Additional *bool `json:"additionalProperties"`
	Required   []string
	Properties map[string]json.RawMessage
}

// The schema has every member of every part of a record, in no other spelling, and wants those that are always there.
func TestSchemaIsTheTypes(t *testing.T) {
	var doc struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(evidence.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{"digest": true, "time": true}
	var compare func(at string, typ reflect.Type, o object)
	compare = func(at string, typ reflect.Type, o object) {
		if o.Additional == nil || *o.Additional {
			t.Errorf("%s: other members are let in", at)
		}
		var names, always []string
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
			if !strings.Contains(options, "omitempty") {
				always = append(always, name)
			}
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() != reflect.Struct || inner == reflect.TypeFor[time.Time]() {
				continue
			}
			var p object
			if err := json.Unmarshal(o.Properties[name], &p); err != nil {
				t.Fatalf("%s.%s: %v", at, name, err)
			}
			if p.Items != nil {
				p = *p.Items
			}
			def := strings.TrimPrefix(p.Ref, "#/$defs/")
			if !reached[def] {
				reached[def] = true
				compare(at+"."+name, inner, doc.Defs[def])
			}
		}
		slices.Sort(names)
		if got := slices.Sorted(maps.Keys(o.Properties)); !slices.Equal(got, names) {
			t.Errorf("%s: the schema has %v, the type %v", at, got, names)
		}
		slices.Sort(always)
		slices.Sort(o.Required)
		if !slices.Equal(o.Required, always) {
			t.Errorf("%s: the schema wants %v, always there are %v", at, o.Required, always)
		}
	}
	compare("record", reflect.TypeFor[evidence.Record](), doc.object)
	for def := range doc.Defs {
		if !reached[def] {
			t.Errorf("nothing is a %s", def)
		}
	}
}

// Records of every kind are valid, and what is no record is not.
func TestSchema(t *testing.T) {
	s := compiled(t)
	whole, _ := scan(t)
	check := func(line []byte) error {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		return s.Validate(v)
	}
	lines := whole.lines(evidence.RecordsFile(0))
	for _, line := range lines {
		if err := check(line); err != nil {
			t.Errorf("%#v in %s", err, line)
		}
	}
	for what, change := range map[string][2]string{
		"another type":        {"record/v1", "record/v2"},
		"an unknown member":   {`"run"`, `"x":1,"run"`},
		"no run":              {`"run":"scan of cluster-a",`, ``},
		"two parts":           {`"decision":{`, `"change":{"what":"w"},"decision":{`},
		"no previous":         {`"previous"`, `"previously"`},
		"no digest":           {`"input":"sha256:`, `"input":"sha1:`},
		"a verdict of no law": {`"verdict":"pass"`, `"verdict":"passed"`},
		"a time of elsewhere": {`Z","cluster"`, `+01:00","cluster"`},
		"a time of no day":    {`"at":"2`, `"at":"x2`},
	} {
		line := lines[3]
		if !bytes.Contains(line, []byte(change[0])) {
			t.Fatalf("%s: no %s in %s", what, change[0], line)
		}
		if check(bytes.Replace(line, []byte(change[0]), []byte(change[1]), 1)) == nil {
			t.Errorf("%s is valid", what)
		}
	}
}
