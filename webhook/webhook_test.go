package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

// rule is a policy's rule in Go.
type rule func(ctx context.Context, in engine.Input) ([]engine.Violation, error)

func (r rule) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	return r(ctx, in)
}

// weak fails what has spec.weak.
func weak(_ context.Context, in engine.Input) ([]engine.Violation, error) {
	spec, _ := in.Subject.Object["spec"].(map[string]any)
	if spec["weak"] != nil {
		return []engine.Violation{{Message: fmt.Sprintf("%v is weak, want strong", spec["weak"]), Path: "spec.weak"}}, nil
	}
	return nil, nil
}

func aPolicy(id string, r rule) engine.Policy {
	return engine.Policy{ID: id, Ref: "RES-99", Title: "t", Severity: engine.High, Rule: r, Fix: "Make it strong.",
		Match:    engine.Match{{Group: "velero.io", Kinds: []string{"Schedule"}, Operations: []string{engine.Create, engine.Update, engine.Delete}}},
		Controls: []engine.Control{{Framework: "gdpr", ID: "art-44", Relation: "supports"}}}
}

// handler answers with one policy, compiled for a side as serve does it.
func handler(t *testing.T, side webhook.Side, policies ...engine.Policy) *webhook.Handler {
	t.Helper()
	unknown := engine.ModeWarn
	if side == webhook.FailClosed {
		unknown = engine.ModeDeny
	}
	for i := range policies {
		policies[i].Unknown = unknown
	}
	set, err := engine.NewSet(policies)
	if err != nil {
		t.Fatal(err)
	}
	return &webhook.Handler{Side: side, Sets: func() *webhook.Sets { return &webhook.Sets{Closed: set, Open: set} }, Budget: 2 * time.Second, WaiverNamespace: "proviso-system", Now: time.Now}
}

const schedule = `{"apiVersion":"velero.io/v1","kind":"Schedule","metadata":{"namespace":"velero","name":"daily"%s},"spec":{%s}}`

func object(meta, spec string) string { return fmt.Sprintf(schedule, meta, spec) }

func request(operation admissionv1.Operation, object, old string) admission.Request {
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: "u-1", Operation: operation, Name: "daily", Namespace: "velero", UserInfo: authenticationv1.UserInfo{Username: "ann"}}}
	if object != "" {
		r.Object = runtime.RawExtension{Raw: []byte(object)}
	}
	if old != "" {
		r.OldObject = runtime.RawExtension{Raw: []byte(old)}
	}
	return r
}

func TestAnswers(t *testing.T) {
	fine, bad := object("", `"schedule":"@daily"`), object("", `"weak":"yes"`)
	for name, c := range map[string]struct {
		request admission.Request
		allowed bool
		want    string // in the denial or the warnings
	}{
		"compliant":    {request("CREATE", fine, ""), true, ""},
		"a violation":  {request("CREATE", bad, ""), false, "HIGH residency/x (RES-99): Schedule velero/daily: spec.weak: yes is weak, want strong"},
		"there before": {request("UPDATE", object(`,"labels":{"a":"b"}`, `"weak":"yes"`), bad), true, "there before"},
		"made worse":   {request("UPDATE", bad, fine), false, "is weak"},
		"status only, which Velero's kinds have none of": {request("UPDATE", strings.Replace(bad, `"spec"`, `"status":{"phase":"x"},"spec"`, 1), bad), true, "there before"},
		"managed fields only":                            {request("UPDATE", object(`,"managedFields":[],"resourceVersion":"2","generation":3`, `"weak":"yes"`), bad), true, ""},
		"a finalizer gone":                               {request("UPDATE", bad, object(`,"finalizers":["a/b"]`, `"weak":"yes"`)), true, ""},
		"a finalizer added":                              {request("UPDATE", object(`,"finalizers":["a/b"]`, `"weak":"yes"`), bad), true, "there before"},
		"changed while deleted":                          {request("UPDATE", object(`,"deletionTimestamp":"2026-01-01T00:00:00Z"`, `"weak":"more"`), object(`,"deletionTimestamp":"2026-01-01T00:00:00Z"`, `"weak":"yes"`)), false, "is weak"},
		"deleted":                                        {request("DELETE", "", bad), false, "is weak"},
		"another kind":                                   {request("CREATE", strings.Replace(bad, "Schedule", "Other", 1), ""), true, ""},
		"no object":                                      {request("CREATE", "", ""), false, "no object"},
		"no old object":                                  {request("DELETE", "", ""), false, "no old object"},
		"connecting":                                     {request("CONNECT", bad, ""), false, "is none of"},
		"what is no JSON":                                {request("CREATE", `{"a":`, ""), false, "cannot judge"},
		"a key twice":                                    {request("CREATE", strings.Replace(bad, `"spec":{`, `"spec":{},"spec":{`, 1), ""), false, "twice"},
		"a list":                                         {request("CREATE", `[]`, ""), false, "is not a JSON object"},
		"no kind":                                        {request("CREATE", `{"metadata":{"name":"x"}}`, ""), false, "no apiVersion or kind"},
		"created with no name yet":                       {request("CREATE", strings.Replace(bad, `"name":"daily"`, `"generateName":"daily-"`, 1), ""), false, "is weak"},
	} {
		got := handler(t, webhook.FailClosed, aPolicy("residency/x", weak)).Handle(context.Background(), c.request)
		said := strings.Join(got.Warnings, "\n")
		if !got.Allowed {
			said = got.Result.Message
		}
		if got.Allowed != c.allowed || !strings.Contains(said, c.want) {
			t.Errorf("%s: allowed %v, %q; want %v with %q", name, got.Allowed, said, c.allowed, c.want)
		}
		if c.want == "" && said != "" {
			t.Errorf("%s: says %q", name, said)
		}
		if got.AuditAnnotations["decision"] != "u-1" {
			t.Errorf("%s: no decision id in the audit log", name)
		}
	}
}

func TestTheFailOpenWebhookNeverDeniesWhatItCannotJudge(t *testing.T) {
	failing := aPolicy("residency/x", func(context.Context, engine.Input) ([]engine.Violation, error) {
		return nil, errors.New("no region is known")
	})
	panicking := aPolicy("residency/x", func(context.Context, engine.Input) ([]engine.Violation, error) { panic("at the disco") })
	for name, c := range map[string]struct {
		handler *webhook.Handler
		request admission.Request
		want    string
	}{
		"a rule that fails":  {handler(t, webhook.FailOpen, failing), request("CREATE", object("", ""), ""), "no region is known"},
		"a rule that panics": {handler(t, webhook.FailOpen, panicking), request("CREATE", object("", ""), ""), "panicked"},
		"no policies":        {&webhook.Handler{Side: webhook.FailOpen, Sets: func() *webhook.Sets { return nil }, Budget: time.Second, Now: time.Now}, request("CREATE", object("", ""), ""), "no policies"},
	} {
		open := c.handler.Handle(context.Background(), c.request)
		if !open.Allowed || len(open.Warnings) != 1 || !strings.Contains(open.Warnings[0], c.want) {
			t.Errorf("%s: allowed %v, warnings %q, want %q", name, open.Allowed, open.Warnings, c.want)
		}
	}
	// But who makes an object that cannot be read must not get it in by that.
	deep := object("", `"x":`+strings.Repeat("[", 300)+strings.Repeat("]", 300))
	if got := handler(t, webhook.FailOpen, failing).Handle(context.Background(), request("CREATE", deep, "")); got.Allowed || !strings.Contains(got.Result.Message, "cannot judge") {
		t.Errorf("an object nested too deep to be read: %+v", got)
	}
	closed := handler(t, webhook.FailClosed, failing)
	if got := closed.Handle(context.Background(), request("CREATE", object("", ""), "")); got.Allowed || !strings.Contains(got.Result.Message, "it cannot be told whether this is compliant: no region is known") {
		t.Errorf("fail closed: %+v", got)
	}
	none := &webhook.Handler{Side: webhook.FailClosed, Sets: func() *webhook.Sets { return nil }, Budget: time.Second, Now: time.Now}
	if got := none.Handle(context.Background(), request("CREATE", object("", ""), "")); got.Allowed {
		t.Error("admitted before any policy was loaded")
	}
}

// Whatever a policy does, there is an answer before the budget is over, and the other policies are heard.
func TestThereIsAlwaysAnAnswerInTime(t *testing.T) {
	forever := aPolicy("access/loops", func(context.Context, engine.Input) ([]engine.Violation, error) { select {} })
	h := handler(t, webhook.FailClosed, forever, aPolicy("residency/x", weak))
	h.Budget = 300 * time.Millisecond
	start := time.Now()
	got := h.Handle(context.Background(), request("CREATE", object("", ""), ""))
	if took := time.Since(start); took > 2*h.Budget {
		t.Errorf("the answer took %v of %v", took, h.Budget)
	}
	if got.Allowed {
		t.Error("what was not judged in time was admitted")
	}
}

func TestWhatADenialSays(t *testing.T) {
	long := strings.Repeat("ä", 4000) + "\nforged: line\u202e"
	many := aPolicy("access/many", func(context.Context, engine.Input) ([]engine.Violation, error) {
		return []engine.Violation{{Message: long, Path: "spec.a"}, {Message: "b", Path: "spec.b"}}, nil
	})
	many.Severity = engine.Critical
	got := handler(t, webhook.FailClosed, aPolicy("residency/x", weak), many).Handle(context.Background(), request("CREATE", object("", `"weak":"yes"`), ""))
	lines := strings.Split(got.Result.Message, "\n")
	if len(lines) != 5 {
		t.Errorf("%d lines, want 5:\n%s", len(lines), got.Result.Message)
	}
	for i, want := range []string{"CRITICAL access/many (RES-99): Schedule velero/daily: spec.a: ", "fix: Make it strong.", "control: gdpr art-44", "approved Waivers (proviso.dev) in namespace proviso-system, one for each of the 2 policies,", "decision u-1, policies sha256:"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %.200q, want %q", i+1, lines[i], want)
		}
		if utf8.RuneCountInString(lines[i]) > 700 || strings.ContainsRune(lines[i], '\u202e') {
			t.Errorf("line %d is too long, or carries what turns text round", i+1)
		}
	}
	if !strings.Contains(lines[0], "; denied too by residency/x") {
		t.Errorf("the other policy is not named: %.1000q", lines[0])
	}
}

// What cannot be told is said after what is wrong, and told how it would be known, not how it would be mended.
func TestWhatADenialSaysOfAnUnknown(t *testing.T) {
	gone := aPolicy("access/gone", func(context.Context, engine.Input) ([]engine.Violation, error) {
		return nil, errors.New("no answer")
	})
	gone.Severity = engine.Critical
	stated := aPolicy("access/stated", weak)
	stated.Requires = map[string]engine.Type{"spec.class": engine.String}
	says := func(spec string, policies ...engine.Policy) []string {
		return strings.Split(handler(t, webhook.FailClosed, policies...).Handle(context.Background(), request("CREATE", object("", spec), "")).Result.Message, "\n")
	}
	both := says(`"weak":"yes"`, gone, aPolicy("residency/x", weak))
	if !strings.HasPrefix(both[0], "HIGH residency/x") || !strings.HasSuffix(both[0], "; denied too by access/gone") || both[1] != "fix: Make it strong." {
		t.Errorf("%q", both)
	}
	if one := says("", gone); one[1] != "fix: Tell whoever runs Proviso: the rule gave no answer." || !strings.Contains(one[3], "an approved Waiver (proviso.dev) for policy access/gone in namespace") {
		t.Errorf("%q", one)
	}
	if one := says("", stated); !strings.Contains(one[0], "spec.class is missing") || one[1] != "fix: Write what is asked for: nobody can tell without." {
		t.Errorf("%q", one)
	}
}

func TestWarningsAreShort(t *testing.T) {
	var all []engine.Policy
	for i := range 30 {
		p := aPolicy(fmt.Sprintf("access/p%02d", i), func(context.Context, engine.Input) ([]engine.Violation, error) {
			return []engine.Violation{{Message: strings.Repeat("long ", 100)}}, nil
		})
		p.Mode = engine.ModeWarn
		all = append(all, p)
	}
	got := handler(t, webhook.FailClosed, all...).Handle(context.Background(), request("CREATE", object("", ""), ""))
	if !got.Allowed || len(got.Warnings) != 10 || !strings.Contains(got.Warnings[9], "21 more") {
		t.Errorf("allowed %v, %d warnings, last %q", got.Allowed, len(got.Warnings), got.Warnings[len(got.Warnings)-1])
	}
	for _, w := range got.Warnings {
		if utf8.RuneCountInString(w) >= 120 {
			t.Errorf("a warning has %d characters", utf8.RuneCountInString(w))
		}
	}
}

func TestWaivers(t *testing.T) {
	for name, c := range map[string]struct {
		expires time.Time
		allowed bool
		want    string
	}{
		"that holds":       {time.Now().Add(time.Hour), true, "waived by w1"},
		"that has expired": {time.Now().Add(-time.Hour), false, "waiver w1 ended after"},
	} {
		h := handler(t, webhook.FailClosed, aPolicy("residency/x", weak))
		set, err := h.Sets().Closed.WithWaivers([]engine.Waiver{{ID: "w1", Policy: "residency/x", Subjects: engine.Selector{Kind: "Schedule"}, Owner: "a", Reason: "b", Approver: "c", Expires: c.expires}})
		if err != nil {
			t.Fatal(err)
		}
		h.Sets = func() *webhook.Sets { return &webhook.Sets{Closed: set, Open: set} }
		got := h.Handle(context.Background(), request("CREATE", object("", `"weak":"yes"`), ""))
		if got.Allowed != c.allowed || !strings.Contains(strings.Join(got.Warnings, "\n"), c.want) {
			t.Errorf("a waiver %s: allowed %v, %q", name, got.Allowed, got.Warnings)
		}
	}
}

func TestADryRunIsNotRecorded(t *testing.T) {
	h := handler(t, webhook.FailClosed, aPolicy("residency/x", weak))
	var recorded []webhook.Decided
	h.Log = func(d webhook.Decided) { recorded = append(recorded, d) }
	r := request("CREATE", object("", `"weak":"yes"`), "")
	dry := true
	r.DryRun = &dry
	if got := h.Handle(context.Background(), r); got.Allowed || len(recorded) > 0 {
		t.Errorf("allowed %v, recorded %v", got.Allowed, recorded)
	}
	r.DryRun = nil
	h.Handle(context.Background(), r)
	if len(recorded) != 1 || recorded[0].ID != "u-1" || recorded[0].Allowed {
		t.Errorf("recorded %+v", recorded)
	}
}

func TestTheUserIsWhoAsked(t *testing.T) {
	var seen map[string]any
	h := handler(t, webhook.FailClosed, aPolicy("residency/x", func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
		seen = in.Subject.User
		return nil, nil
	}))
	r := request("CREATE", object("", ""), "")
	r.UserInfo.Groups, r.UserInfo.Extra = []string{"dev"}, map[string]authenticationv1.ExtraValue{"k": {"v"}}
	h.Handle(context.Background(), r)
	if text, _ := json.Marshal(seen); string(text) != `{"extra":{"k":["v"]},"groups":["dev"],"uid":"","username":"ann"}` {
		t.Errorf("user is %s", text)
	}
}

// A Backup's status is no resource of its own: whoever may update the object may set the expiration back by which Velero
// deletes it.
func TestStatusOfABackup(t *testing.T) {
	p := aPolicy("retention/x", func(_ context.Context, in engine.Input) ([]engine.Violation, error) {
		return []engine.Violation{{Message: fmt.Sprint(in.Subject.Object["status"])}}, nil
	})
	p.Match = engine.Match{{Group: "velero.io", Kinds: []string{"Backup"}}, {Group: "example.org", Kinds: []string{"Backup"}}}
	for name, c := range map[string]struct {
		group, user string
		allowed     bool
	}{
		"anybody":              {"velero.io", "ann", false},
		"Velero":               {"velero.io", "velero", true},
		"a kind with a status": {"example.org", "ann", true},
	} {
		h := handler(t, webhook.FailClosed, p)
		h.StatusWriters = []string{"velero"}
		of := func(phase string) string {
			return fmt.Sprintf(`{"apiVersion":"%s/v1","kind":"Backup","metadata":{"name":"daily"},"spec":{},"status":{"phase":%q}}`, c.group, phase)
		}
		r := request("UPDATE", of("new"), of("old"))
		r.UserInfo.Username = c.user
		if got := h.Handle(context.Background(), r); got.Allowed != c.allowed {
			t.Errorf("%s: allowed %v, want %v", name, got.Allowed, c.allowed)
		}
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("CREATE", object("", `"weak":"yes"`), "")
	f.Add("UPDATE", `{"metadata":[]}`, `null`)
	f.Add("DELETE", "", `{"apiVersion":1,"kind":{},"metadata":{"labels":[]}}`)
	set, err := engine.NewSet([]engine.Policy{aPolicy("residency/x", weak)})
	if err != nil {
		f.Fatal(err)
	}
	h := &webhook.Handler{Side: webhook.FailClosed, Sets: func() *webhook.Sets { return &webhook.Sets{Closed: set, Open: set} }, Budget: time.Second, Now: time.Now}
	f.Fuzz(func(t *testing.T, operation, object, old string) {
		got := h.Handle(context.Background(), request(admissionv1.Operation(operation), object, old))
		var o struct {
			Kind, APIVersion string
			Spec             map[string]any
		}
		if operation == "CREATE" && json.Unmarshal([]byte(object), &o) == nil && o.Kind == "Schedule" && o.APIVersion == "velero.io/v1" && o.Spec["weak"] != nil && got.Allowed {
			t.Errorf("admitted: %s", object)
		}
		if !got.Allowed && strings.Count(got.Result.Message, "\n") > 4 {
			t.Errorf("a denial of more than five lines: %q", got.Result.Message)
		}
	})
}
