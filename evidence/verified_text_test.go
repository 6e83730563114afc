package evidence

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Counts that differ in anything are told apart in words.
func TestCountsApart(t *testing.T) {
	for i := range reflect.TypeFor[Counts]().NumField() {
		var c, o Counts
		reflect.ValueOf(&c).Elem().Field(i).SetUint(1)
		reflect.ValueOf(&o).Elem().Field(i).SetUint(2)
		if this, other := c.apart(&o); !strings.HasPrefix(this, "1 ") || !strings.HasPrefix(other, "2 ") || strings.ContainsAny(this+other, "{:,") {
			t.Errorf("%s: %q and %q", reflect.TypeFor[Counts]().Field(i).Name, this, other)
		}
	}
	if this, other := (&Counts{Decisions: 15, Pass: 9, Fail: 3}).apart(&Counts{Decisions: 1, Pass: 8, Fail: 3}); this != "15 decisions, 9 pass" || other != "1 decision, 8 pass" {
		t.Errorf("it says %q and %q", this, other)
	}
}

// Where something does not verify, nothing is listed as if it held.
func TestNothingHoldsBesideProblems(t *testing.T) {
	v := &Verified{Checked: []string{"<all>"}, Unchecked: []string{"who signed"}}
	said := func() (text, asJSON string) {
		t.Helper()
		var b bytes.Buffer
		raw, err := json.Marshal(v)
		if err != nil || v.Text(&b) != nil {
			t.Fatal(err)
		}
		return b.String(), string(raw)
	}
	if text, asJSON := said(); !strings.Contains(text, "\nchecked      <all>\n") || !strings.Contains(asJSON, `"checked":["\u003call\u003e"]`) {
		t.Errorf("what holds is not there:\n%s%s", text, asJSON)
	}
	v.Problems = []Problem{{Code: RootDiffers}}
	if text, asJSON := said(); strings.Contains(text, "\nchecked ") || !strings.Contains(asJSON, `"checked":[]`) || !strings.Contains(text, "not checked  who signed") {
		t.Errorf("it lists what was checked:\n%s%s", text, asJSON)
	}
}

// A cluster is told by its UID; by what a profile calls it, nothing is established.
func TestTextOfClusters(t *testing.T) {
	v := &Verified{Clusters: []Cluster{{UID: "c-1", Name: "prod"}, {Name: "edge"}}, Runs: []Run{{}, {Unidentified: true}, {}}}
	var b bytes.Buffer
	if err := v.Text(&b); err != nil || !strings.Contains(b.String(), "\ncluster   prod, c-1\ncluster   edge, not established which: its records give no UID\ncluster   not established for 1 run of 3\n") {
		t.Errorf("%v: it says\n%s", err, &b)
	}
}
