package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

// recorder keeps what it is told, and answers by a function.
type recorder struct {
	told   []webhook.Decided
	answer func(ctx context.Context, d *webhook.Decided) (string, error)
}

func (r *recorder) Record(ctx context.Context, d *webhook.Decided) (string, error) {
	r.told = append(r.told, *d)
	if r.answer == nil {
		return "mark", nil
	}
	return r.answer(ctx, d)
}

func TestTheRecorderIsToldBeforeTheAnswer(t *testing.T) {
	fine, bad := object("", `"schedule":"@daily"`), object("", `"weak":"yes"`)
	dry := request("CREATE", bad, "")
	dry.DryRun = new(true)
	panicking := aPolicy("residency/x", func(context.Context, engine.Input) ([]engine.Violation, error) { panic("at the disco") })
	for name, c := range map[string]struct {
		side    webhook.Side
		policy  engine.Policy
		request admission.Request
		want    webhook.Decided // what of it is compared below
		problem string
	}{
		"let in":           {webhook.FailClosed, aPolicy("residency/x", weak), request("CREATE", fine, ""), webhook.Decided{Allowed: true, Code: 200}, ""},
		"denied":           {webhook.FailOpen, aPolicy("residency/x", weak), request("CREATE", bad, ""), webhook.Decided{Enforced: true, Code: 403}, ""},
		"warned":           {webhook.FailOpen, panicking, request("CREATE", fine, ""), webhook.Decided{Allowed: true, Code: 200, Warnings: 1}, ""},
		"a dry run":        {webhook.FailClosed, aPolicy("residency/x", weak), dry, webhook.Decided{Enforced: true, Code: 403, DryRun: true}, ""},
		"nothing changed":  {webhook.FailClosed, aPolicy("residency/x", weak), request("UPDATE", fine, fine), webhook.Decided{Allowed: true, Code: 200, Unchanged: true}, ""},
		"nobody can read":  {webhook.FailOpen, aPolicy("residency/x", weak), request("CREATE", `{"a":`, ""), webhook.Decided{Code: 403}, "parse"},
		"of another group": {webhook.FailClosed, aPolicy("residency/x", weak), request("CREATE", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}`, ""), webhook.Decided{Allowed: true, Code: 200}, ""},
	} {
		h, r := handler(t, c.side, c.policy), &recorder{}
		h.Recorder = r
		got := h.Handle(t.Context(), c.request)
		if len(r.told) != 1 {
			t.Errorf("%s: told %d times", name, len(r.told))
			continue
		}
		d := r.told[0]
		is := webhook.Decided{Allowed: d.Allowed, Enforced: d.Enforced, Code: d.Code, Warnings: d.Warnings, DryRun: d.DryRun, Unchanged: d.Unchanged}
		if fmt.Sprint(is) != fmt.Sprint(c.want) || d.Set == nil || d.Side != c.side || d.ID != "u-1" || d.Subject.User["username"] != "ann" || d.Subject.Operation != string(c.request.Operation) {
			t.Errorf("%s: told %+v, want %+v", name, d, c.want)
		}
		if got.Allowed != d.Allowed || got.AuditAnnotations["record"] != "mark" || got.AuditAnnotations["decision"] != "u-1" {
			t.Errorf("%s: answered %v with %v", name, got.Allowed, got.AuditAnnotations)
		}
		if problems := strings.Join(d.Problems, ""); !strings.Contains(problems, c.problem) || (problems == "") != (c.problem == "") {
			t.Errorf("%s: problems %q, want %q", name, problems, c.problem)
		}
	}
}

func TestWithoutARecordNothingIsLetIn(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(ctx context.Context, d *webhook.Decided) (string, error)
		want   string
	}{
		"an error": {func(context.Context, *webhook.Decided) (string, error) { return "none: x", errors.New("disk\nfull") }, "keeps no record: disk full"},
		"a panic":  {func(context.Context, *webhook.Decided) (string, error) { panic("at the disco") }, "at the disco"},
		"too late": {func(ctx context.Context, _ *webhook.Decided) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}, "the time for an answer was over"},
		"other policies, endlessly": {func(context.Context, *webhook.Decided) (string, error) { return "", webhook.ErrSuperseded }, ""},
	} {
		for _, side := range []webhook.Side{webhook.FailClosed, webhook.FailOpen} {
			h := handler(t, side, aPolicy("residency/x", weak))
			h.Recorder, h.Budget = &recorder{answer: c.answer}, time.Minute
			if name == "too late" || name == "other policies, endlessly" {
				h.Budget = 50 * time.Millisecond
			}
			var logged []webhook.Decided
			h.Log = func(d webhook.Decided) { logged = append(logged, d) }
			got := h.Handle(t.Context(), request("CREATE", object("", ""), ""))
			if got.Allowed || !strings.Contains(got.Result.Message, c.want) || !strings.Contains(got.Result.Message, "decision u-1") || strings.Count(got.Result.Message, "\n") > 4 {
				t.Errorf("%s, %s: allowed %v, %+v", name, side, got.Allowed, got.Result)
			}
			if name != "a panic" && (len(logged) != 1 || logged[0].Allowed || logged[0].Unrecorded == nil) {
				t.Errorf("%s, %s: logged %+v", name, side, logged)
			}
			// What a policy says of it is worth more than why there is no record.
			if name != "an error" {
				continue
			}
			if got := h.Handle(t.Context(), request("CREATE", object("", `"weak":"yes"`), "")); !strings.Contains(got.Result.Message, "residency/x") {
				t.Errorf("%s, %s: a denial says %q", name, side, got.Result.Message)
			}
		}
	}
}

// deadline is a FactSource that notes until when it may take.
type deadline struct{ at time.Time }

func (d *deadline) Fact(ctx context.Context, _ engine.FactQuery, _ *engine.Subject) (any, engine.FactState, error) {
	d.at, _ = ctx.Deadline()
	return nil, engine.FactAbsent, nil
}

// Judging leaves time for the record.
func TestJudgingLeavesTimeForTheRecord(t *testing.T) {
	p := aPolicy("residency/x", weak)
	p.Facts = map[string]engine.FactQuery{"ns": {Kind: "Namespace", Name: "velero"}}
	h, d := handler(t, webhook.FailClosed, p), &deadline{}
	h.Budget, h.Facts = 8*time.Second, d
	var until time.Time
	h.Recorder = &recorder{answer: func(ctx context.Context, _ *webhook.Decided) (string, error) {
		until, _ = ctx.Deadline()
		return "mark", nil
	}}
	start := time.Now()
	h.Handle(t.Context(), request("CREATE", object("", ""), ""))
	end := time.Now()
	if d.at.IsZero() || until.Before(start.Add(8*time.Second)) || until.After(end.Add(8*time.Second)) || until.Sub(d.at) < 500*time.Millisecond {
		t.Errorf("of 8s, judging may take %v and all of it %v", d.at.Sub(start), until.Sub(start))
	}
}

// A request that was judged by policies that are not in force any more is judged again, and is no repeated one.
func TestASupersededDecisionIsMadeAgain(t *testing.T) {
	h := handler(t, webhook.FailClosed, aPolicy("residency/x", weak))
	old, next := h.Sets(), handler(t, webhook.FailClosed).Sets()
	now := old
	h.Sets = func() *webhook.Sets { return now }
	r := &recorder{}
	r.answer = func(_ context.Context, d *webhook.Decided) (string, error) {
		if d.Set == old.Closed {
			now = next
			return "", webhook.ErrSuperseded
		}
		return "mark", nil
	}
	h.Recorder = r
	var logged int
	h.Log = func(webhook.Decided) { logged++ }
	got := h.Handle(t.Context(), request("CREATE", object("", `"weak":"yes"`), ""))
	if !got.Allowed || len(r.told) != 2 || r.told[1].Repeated || r.told[1].Set != next.Closed || logged != 1 || got.AuditAnnotations["policy-set"] != string(next.Closed.Digest()) {
		t.Errorf("allowed %v, told %d times, logged %d times, %v", got.Allowed, len(r.told), logged, got.AuditAnnotations)
	}
}

// Our own canary comes every few seconds, and nothing comes of it.
func TestTheCanaryIsNotRecorded(t *testing.T) {
	h, r := handler(t, webhook.FailClosed, aPolicy("residency/x", weak)), &recorder{}
	h.Recorder = r
	got := h.Handle(t.Context(), request("CREATE", `{"apiVersion":"proviso.dev/v1alpha1","kind":"Canary","metadata":{"name":"proviso-canary"}}`, ""))
	if got.Allowed || len(r.told) > 0 {
		t.Errorf("allowed %v, told %+v", got.Allowed, r.told)
	}
}

// oneFact answers every query alike.
type oneFact struct{}

func (oneFact) Fact(context.Context, engine.FactQuery, *engine.Subject) (any, engine.FactState, error) {
	return map[string]any{"kind": "Namespace"}, engine.FactFound, nil
}

func TestTheRecorderIsToldTheFacts(t *testing.T) {
	p := aPolicy("residency/x", weak)
	p.Facts = map[string]engine.FactQuery{"ns": {Kind: "Namespace", Name: "velero"}}
	h, r := handler(t, webhook.FailClosed, p), &recorder{}
	h.Recorder, h.Facts = r, oneFact{}
	h.Handle(t.Context(), request("CREATE", object("", ""), ""))
	if len(r.told) != 1 || len(r.told[0].Answers) != 1 || r.told[0].Answers[0].State != engine.FactFound {
		t.Errorf("told %+v", r.told)
	}
}
