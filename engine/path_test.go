package engine_test

import (
	"fmt"
	"testing"

	"proviso.dev/proviso/engine"
)

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{
		"spec.ttl":                 "spec.ttl",
		".spec.ttl":                "spec.ttl",
		"spec.rules[*].name":       "spec.rules[*].name",
		"spec.rules[12]":           "spec.rules[12]",
		`metadata.labels["a.b/c"]`: `metadata.labels["a.b/c"]`,
		`["a b"]["c"].d`:           `["a b"].c.d`,
		`a["]"]`:                   `a["]"]`,
		`a["\""].b`:                `a["\""].b`,
		"":                         "error",
		".":                        "error",
		"a.":                       "error",
		"a..b":                     "error",
		"a[b]":                     "error",
		"a[-1]":                    "error",
		"a[1":                      "error",
		`a["x`:                     "error",
		`a["x"]b`:                  "error",
		"a[1]b":                    "error",
	} {
		p, err := engine.ParsePath(in)
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"a.b", `a["b.c"][*][1]`, `["\u00e9"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := engine.ParsePath(text)
		if err != nil {
			return
		}
		again, err := engine.ParsePath(p.String())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Errorf("%q is written as %q, which reads as %v, %v", text, p, again, err)
		}
	})
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"spec", "spec.ttl", true},
		{"spec.ttl", "spec", false},
		{"spec.a", "spec.b", false},
		{"spec.l[*]", "spec.l[0].x", true},
		{"spec.l[*].x", "spec.l.x", false},
	} {
		p, _ := engine.ParsePath(c.p)
		q, _ := engine.ParsePath(c.q)
		if got := p.Covers(q); got != c.want {
			t.Errorf("%s covers %s: got %v", c.p, c.q, got)
		}
	}
}
