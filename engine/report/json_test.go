package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

func validate(t *testing.T, text string) map[string]any {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat = true
	if err := c.AddResource("report.json", bytes.NewReader(report.Schema())); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if err := s.Validate(doc); err != nil {
		t.Fatalf("%#v in:\n%s", err, text)
	}
	return doc
}

// everyState has a policy for each verdict and mode, and waivers in each state.
func everyState() ([]engine.Policy, []engine.Waiver) {
	var ps []engine.Policy
	var ws []engine.Waiver
	waive := func(policy string, end time.Time) {
		ws = append(ws, engine.Waiver{ID: "W-" + policy, Policy: policy, Subjects: engine.Selector{Kind: "Thing"}, Owner: "o", Reason: "r", Approver: "a", Expires: end})
	}
	match := engine.Match{{Kinds: []string{"Thing"}}}
	for _, mode := range []engine.Mode{engine.ModeDeny, engine.ModeWarn, engine.ModeRecord} {
		for _, state := range []string{"none", "active", "expiring", "expired"} {
			for verdict, rule := range map[string]ruleFunc{"fail": always(engine.Violation{Message: "bad", Path: "a"}), "unknown": nil} {
				p := engine.Policy{ID: fmt.Sprint(verdict, "-", engine.Effect(mode), "-", state), Match: match, Mode: mode, Unknown: mode, Rule: rule}
				if rule == nil {
					p.Rule, p.Requires = always(), map[string]engine.Type{"missing": engine.String}
				}
				ps = append(ps, p)
				switch state {
				case "active":
					waive(p.ID, now.AddDate(1, 0, 0))
				case "expiring":
					waive(p.ID, now.AddDate(0, 0, 3))
				case "expired":
					waive(p.ID, now)
				}
			}
		}
	}
	ps = append(ps, engine.Policy{ID: "pass", Match: match, Severity: engine.Low, Rule: always()},
		engine.Policy{ID: "not", Match: engine.Match{{Kinds: []string{"Thing"}, Versions: []string{"v9"}}}, Rule: always()})
	waive("pass", now.AddDate(1, 0, 0))
	return ps, ws
}

func TestJSONObeysItsSchema(t *testing.T) {
	ps, ws := everyState()
	for _, all := range []bool{false, true} {
		doc := validate(t, written(t, report.JSON, run(t, ps, ws, steps{object("v1", "Thing", "", "x", nil)}), report.Options{All: all}))
		got := map[string]int{}
		for _, d := range doc["decisions"].([]any) {
			d := d.(map[string]any)
			state := "none"
			if w, ok := d["waiver"].(map[string]any); ok {
				state = w["state"].(string)
			}
			got[fmt.Sprint(d["verdict"], " ", d["effect"], " ", state)]++
		}
		want := map[string]int{}
		for _, v := range []string{"fail", "unknown"} {
			for _, e := range []string{"deny", "warn", "record"} {
				want[v+" "+e+" none"]++
				want[v+" "+e+" expired"]++
			}
			want[v+" record active"] = 3
			want[v+" record expiring"] = 3
		}
		if all {
			want["pass record none"], want["notApplicable record none"] = 1, 1
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("all=%v: decisions\n%v, want\n%v", all, got, want)
		}
	}
	validate(t, written(t, report.JSON, sample(t), report.Options{All: true}))
}

func TestJSONOfNothing(t *testing.T) {
	text := written(t, report.JSON, run(t, nil, nil, steps{}), report.Options{})
	doc := validate(t, text)
	if doc["complete"] != false || strings.Contains(text, "null") {
		t.Errorf("an empty run reads:\n%s", text)
	}
	r := run(t, nil, nil, steps{})
	r.Scope, r.Simulated = nil, true
	r.At = time.Date(2026, 3, 1, 13, 0, 0, 5, time.FixedZone("CET", 3600))
	doc = validate(t, written(t, report.JSON, r, report.Options{}))
	if doc["simulated"] != true || doc["at"] != "2026-03-01T12:00:00.000000005Z" {
		t.Errorf("simulated, at = %v, %v", doc["simulated"], doc["at"])
	}
}

func TestJSONKeepsTheOrderOfKeys(t *testing.T) {
	dec := json.NewDecoder(strings.NewReader(written(t, report.JSON, sample(t), report.Options{})))
	dec.Token()
	var keys []string
	for dec.More() {
		k, _ := dec.Token()
		keys = append(keys, k.(string))
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"apiVersion", "kind", "at", "scope", "policySet", "profile", "decisions", "unread", "unreadOmitted", "waivers", "plans", "plansOmitted", "coverage", "complete", "summary"}
	if !slices.Equal(keys, want) {
		t.Errorf("keys are %v, want %v", keys, want)
	}
}

func TestJSONTellsWhatItLeavesOut(t *testing.T) {
	var in steps
	for range 1200 {
		in = append(in, &engine.Unread{Source: "s", Err: errors.New("broken")},
			&engine.Unread{Source: "s", Err: errors.New("no manifest"), Kind: engine.NotManifest})
	}
	in = append(in, &engine.Unread{Source: "s", Err: errors.New("hole"), Kind: engine.Hole})
	doc := validate(t, written(t, report.JSON, run(t, policies(), nil, in), report.Options{}))
	if n := len(doc["unread"].([]any)); n != 1101 {
		t.Errorf("%d unread are listed, want 1000 broken, 100 notManifest and 1 hole", n)
	}
	if got, want := fmt.Sprint(doc["unreadOmitted"]), "map[broken:200 hole:0 notManifest:1100]"; got != want {
		t.Errorf("unreadOmitted = %s, want %s", got, want)
	}
}

func TestJSONHidesNothingAndShowsNoControls(t *testing.T) {
	name := "a\x1b[2Jb\u202ec\u200bd\u009be\U000e0041f\xffg"
	text := written(t, report.JSON, run(t, policies(), nil, steps{object("velero.io/v1", "Schedule", "", name, nil)}), report.Options{})
	for _, r := range text {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Errorf("the report holds %U", r)
		}
	}
	doc := validate(t, text)
	got := doc["decisions"].([]any)[0].(map[string]any)["subject"].(map[string]any)["name"]
	if want := strings.ToValidUTF8(name, "\ufffd"); got != want {
		t.Errorf("name = %q, want %q", got, want)
	}
}

func TestSchemaIsClosed(t *testing.T) {
	var doc any
	if err := json.Unmarshal(report.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			props, ok := v["properties"].(map[string]any)
			if ok && v["type"] == "object" {
				if v["additionalProperties"] != false {
					t.Errorf("%s is open", at)
				}
				optional := 0
				for _, p := range props {
					if d, _ := p.(map[string]any)["description"].(string); strings.HasPrefix(d, "There only where") {
						optional++
					}
				}
				if n := len(v["required"].([]any)); n != len(props)-optional {
					t.Errorf("%s requires %d of %d keys", at, n, len(props))
				}
			}
			for k, e := range v {
				walk(at+"/"+k, e)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprint(at, "/", i), e)
			}
		}
	}
	walk("", doc)
}
