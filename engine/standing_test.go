package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
)

// weakElements fails every element of spec.list that says "weak", and cannot tell where one is unclear.
type weakElements struct{}

func (weakElements) Eval(_ context.Context, in engine.Input) ([]engine.Violation, error) {
	var all []engine.Violation
	spec, _ := in.Subject.Object["spec"].(map[string]any)
	list, _ := spec["list"].([]any)
	for i, e := range list {
		if e == "unclear" {
			return nil, errors.New("it is not written down")
		}
		if text, _ := e.(string); strings.HasPrefix(text, "weak") {
			all = append(all, engine.Violation{Message: "it is weak", Path: fmt.Sprintf("spec.list[%d]", i)})
		}
	}
	return all, nil
}

func TestWhatAnUpdateLeavesAsItWas(t *testing.T) {
	object := func(elements ...any) map[string]any {
		return map[string]any{"spec": map[string]any{"list": elements}}
	}
	sized := func(element any, size string) map[string]any {
		spec := map[string]any{"size": size}
		if element != nil {
			spec["list"] = []any{element}
		}
		return map[string]any{"spec": spec}
	}
	with := func(o map[string]any, key string) map[string]any {
		o[key] = key
		return o
	}
	for name, c := range map[string]struct {
		operation string
		old, now  map[string]any
		strict    bool
		mode      engine.Mode
		want      engine.Effect
	}{
		"the same":                    {engine.Update, object("weak"), object("weak"), false, engine.ModeDeny, engine.EffectWarn},
		"the same, strict":            {engine.Update, object("weak"), object("weak"), true, engine.ModeDeny, engine.EffectDeny},
		"the same, recorded only":     {engine.Update, object("weak"), object("weak"), false, engine.ModeRecord, engine.EffectRecord},
		"another value at the path":   {engine.Update, object("weak"), object("weaker"), false, engine.ModeDeny, engine.EffectDeny},
		"moved within its list":       {engine.Update, object("fine", "weak"), object("weak"), false, engine.ModeDeny, engine.EffectWarn},
		"one more like it":            {engine.Update, object("weak"), object("weak", "weak"), false, engine.ModeDeny, engine.EffectDeny},
		"one fewer":                   {engine.Update, object("weak", "weak"), object("weak"), false, engine.ModeDeny, engine.EffectWarn},
		"new":                         {engine.Update, object("fine"), object("weak"), false, engine.ModeDeny, engine.EffectDeny},
		"no old object":               {engine.Update, nil, object("weak"), false, engine.ModeDeny, engine.EffectDeny},
		"created with an old object":  {engine.Create, object("weak"), object("weak"), false, engine.ModeDeny, engine.EffectDeny},
		"as little known as before":   {engine.Update, map[string]any{"a": "b"}, map[string]any{"a": "c"}, false, engine.ModeDeny, engine.EffectWarn},
		"known before":                {engine.Update, object("fine"), map[string]any{"a": "c"}, false, engine.ModeDeny, engine.EffectDeny},
		"mistyped before, weak now":   {engine.Update, map[string]any{"spec": map[string]any{"list": "weak"}}, object("weak"), false, engine.ModeDeny, engine.EffectDeny},
		"as unclear as before":        {engine.Update, sized("unclear", "s"), with(sized("unclear", "s"), "a"), false, engine.ModeDeny, engine.EffectWarn},
		"as unclear, and changed":     {engine.Update, sized("unclear", "s"), sized("unclear", "m"), false, engine.ModeDeny, engine.EffectDeny},
		"as little known, changed":    {engine.Update, sized(nil, "s"), sized(nil, "m"), false, engine.ModeDeny, engine.EffectDeny},
		"unclear now":                 {engine.Update, object("fine"), object("unclear"), false, engine.ModeDeny, engine.EffectDeny},
		"as little known, but strict": {engine.Update, map[string]any{"a": "b"}, map[string]any{"a": "c"}, true, engine.ModeDeny, engine.EffectDeny},
	} {
		p := engine.Policy{ID: "residency/x", Severity: engine.High, Match: engine.Match{{Group: "", Kinds: []string{"Thing"}, Operations: []string{engine.Create, engine.Update}}},
			Requires: map[string]engine.Type{"spec.list": engine.Array}, Optional: map[string]engine.Type{"spec.size": engine.String}, Rule: weakElements{}, StrictUpdate: c.strict, Mode: c.mode}
		set, err := engine.NewSet([]engine.Policy{p})
		if err != nil {
			t.Fatal(err)
		}
		d := set.Judge(context.Background(), engine.Subject{APIVersion: "v1", Kind: "Thing", Name: "a", Operation: c.operation, Object: c.now, Old: c.old}, nil, time.Now())[0]
		if d.Effect != c.want {
			t.Errorf("%s: %v, want %v (%s, %s)", name, d.Effect, c.want, d.Verdict, d.Reason)
		}
	}
}

// slowFacts answers after a while: a webhook waits for what is on its way.
type slowFacts struct{ after time.Duration }

func (s slowFacts) Fact(context.Context, engine.FactQuery, *engine.Subject) (any, engine.FactState, error) {
	time.Sleep(s.after)
	return nil, engine.FactUnknown, nil
}

// A rule is not held to account for what its facts take: three requests that wait for something must not switch it off.
func TestWaitingForAFactIsNoOverrun(t *testing.T) {
	p := engine.Policy{ID: "residency/x", Severity: engine.High, Match: engine.Match{{Group: "", Kinds: []string{"Thing"}}}, Rule: weakElements{},
		Facts: map[string]engine.FactQuery{"class": {Kind: "Class", Name: ".spec.class"}}, Requires: map[string]engine.Type{"spec.list": engine.Array}}
	set, err := engine.NewSet([]engine.Policy{p})
	if err != nil {
		t.Fatal(err)
	}
	set = set.WithLimit(20 * time.Millisecond)
	sub := engine.Subject{APIVersion: "v1", Kind: "Thing", Name: "a", Operation: engine.Create, Object: map[string]any{"spec": map[string]any{"class": "c", "list": []any{"weak"}}}}
	for range 5 {
		if d := set.Judge(context.Background(), sub, slowFacts{100 * time.Millisecond}, time.Now())[0]; d.Cause != engine.CauseFact {
			t.Fatalf("%v: %s", d.Verdict, d.Reason)
		}
	}
}
