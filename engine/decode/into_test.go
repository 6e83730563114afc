package decode_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine/decode"
)

type profile struct {
	Title    string            `json:"title"`
	Severity string            `json:"severity"`
	Count    int8              `json:"count"`
	Share    float64           `json:"share"`
	On       *bool             `json:"enabled"`
	Until    time.Time         `json:"until"`
	Params   map[string]any    `json:"params"`
	Labels   map[string]string `json:"labels"`
	Match    []struct {
		Group string   `json:"group"`
		Kinds []string `json:"kinds"`
	} `json:"match"`
	embedded
}

type embedded struct {
	Fix string `json:"fix"`
}

func TestIntoFillsOurOwnKinds(t *testing.T) {
	d, err := decode.One(strings.NewReader("title: x\ncount: 5\nshare: 1\nenabled: yes\nuntil: 2026-01-02T03:04:05Z\nparams: {a: [1, {b: null}]}\nlabels:\n  a: b\nmatch:\n- {group: g, kinds: [A, B]}\nseverity:\nfix: it\n"), "x", decode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got profile
	if err := d.Into(&got); err != nil {
		t.Fatal(err)
	}
	want := profile{Title: "x", Count: 5, Share: 1, Until: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Labels: map[string]string{"a": "b"}, embedded: embedded{"it"}}
	on := true
	want.On, want.Params = &on, map[string]any{"a": []any{int64(1), map[string]any{"b": nil}}}
	want.Match = append(want.Match, struct {
		Group string   `json:"group"`
		Kinds []string `json:"kinds"`
	}{"g", []string{"A", "B"}})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("filled %+v, want %+v", got, want)
	}
}

func TestIntoReportsEveryMistakeAtItsPlace(t *testing.T) {
	raw := "title: 5\nseverty: high\nSeverity: low\ncount: 300\nshare: \"1\"\nuntil: tomorrow\nlabels:\n  a.b/c: yes\nmatch:\n- group: g\n  kinds: X\n  wholly: unlike\n- 3\nparams: []\n"
	d, err := decode.One(strings.NewReader(raw), "x.yaml", decode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got profile
	err = d.Into(&got)
	want := []string{
		`x.yaml:3:1: Severity differs only in case from severity (write severity)`,
		`x.yaml:4:8: count holds the number 300, want a whole number`,
		`x.yaml:8:10: labels["a.b/c"] holds the boolean true, want text (quote it)`,
		`x.yaml:11:10: match[0].kinds holds the text "X", want a list`,
		`x.yaml:12:3: match[0].wholly is no known key (want one of group, kinds)`,
		`x.yaml:13:3: match[1] holds the number 3, want an object`,
		`x.yaml:14:1: params holds a list, want an object`,
		`x.yaml:2:1: severty is no known key (did you mean severity?)`,
		`x.yaml:5:8: share holds the text "1", want a number`,
		`x.yaml:1:8: title holds the number 5, want text (quote it)`,
		`x.yaml:6:8: until cannot be read: parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00": cannot parse "tomorrow" as "2006"`,
	}
	lines := strings.Split(err.Error(), "\n")
	for _, w := range want {
		found := false
		for _, l := range lines {
			found = found || l == w
		}
		if !found {
			t.Errorf("not reported: %s", w)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("reported:\n%v", err)
	}
	var at *decode.Error
	if !errors.As(err, &at) || at.File != "x.yaml" {
		t.Errorf("no *decode.Error in %v", err)
	}
	if err := d.Into(got); err == nil {
		t.Error("a value was filled that is no pointer")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"severity", "title", "fix", "match"}
	for word, want := range map[string]string{"severty": "severity", "tilte": "title", "mach": "match", "fxi": "fix", "fi": "fix", "f": "", "spec": "", "": ""} {
		if got := decode.Nearest(word, words); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
