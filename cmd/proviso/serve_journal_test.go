//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
	"proviso.dev/proviso/webhook"
)

var testKey = sync.OnceValues(func() (*cosign.Key, error) {
	dir, err := os.MkdirTemp("", "proviso-key-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ref, err := cosign.Generate(filepath.Join(dir, "key"))
	if err != nil {
		return nil, err
	}
	return cosign.Open(context.Background(), ref, nil)
})

// recording webhooks judge Schedules by one policy, which fails what is called bad, and keep evidence.
type recordingWebhooks struct {
	*journal
	loader *loader
	dir    string
	log    bytes.Buffer
}

func recordedBy(t *testing.T, mode, profile string, maxBytes int64) *recordingWebhooks {
	t.Helper()
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writePolicy(t, filepath.Join(dir, "one"), "{group: velero.io, kinds: [Schedule]}")
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w := &recordingWebhooks{dir: filepath.Join(dir, "evidence")}
	w.journal = &journal{key: key, mode: mode, log: slog.New(slog.NewTextHandler(&w.log, nil)), order: semaphore.NewWeighted(everyOrder), configurations: map[string]engine.Digest{}}
	wait := time.Minute // for a slow disk; none helps a full one
	if maxBytes > 0 {
		wait = 100 * time.Millisecond
	}
	if w.w, err = producer.Open(t.Context(), w.dir, producer.Options{Signer: key, Kind: "admission", Mode: mode, Wait: wait, Run: "one", Scope: []string{"webhook proviso"}, MaxBytes: maxBytes,
		Cluster: &evidence.Cluster{UID: "c-1"}, Engine: evidence.Engine{Version: "test"},
		Counts: func() evidence.Counts {
			return evidence.Counts{Requests: w.asked.Load(), DryRuns: w.tried.Load()}
		}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "proviso.yaml")
	write(t, file, profile)
	w.loader = &loader{file: file, journal: w.journal, install: webhook.Install{Name: "proviso", Namespace: "proviso-system", TimeoutSeconds: 5}, metrics: metrics, log: slog.New(slog.DiscardHandler), bell: make(chan struct{})}
	if err := w.loader.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *recordingWebhooks) handler(side webhook.Side) *webhook.Handler {
	return &webhook.Handler{Side: side, Sets: w.loader.sets, Own: map[string]func(engine.Subject) []string{"Waiver": func(engine.Subject) []string { return []string{"no policy"} }}, Recorder: w.journal,
		Budget: 2 * time.Second, WaiverNamespace: "proviso-system", Now: time.Now}
}

func asks(uid, operation, object, old string) admission.Request {
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: types.UID(uid), Operation: admissionv1.Operation(operation), Namespace: "velero", UserInfo: authenticationv1.UserInfo{Username: "ann"},
		Kind: metav1.GroupVersionKind{Group: "velero.io", Version: "v1", Kind: "Schedule"}}}
	if object != "" {
		r.Object = runtime.RawExtension{Raw: []byte(object)}
	}
	if old != "" {
		r.OldObject = runtime.RawExtension{Raw: []byte(old)}
	}
	return r
}

func aSchedule(name, more string) string {
	return fmt.Sprintf(`{"apiVersion":"velero.io/v1","kind":"Schedule","metadata":{"namespace":"velero","name":%q},"spec":{}%s}`, name, more)
}

// kept are the records of a folder by the mark they have in the audit log.
func kept(t *testing.T, dir string) (byMark map[string]*evidence.Kept, all []*evidence.Kept) {
	t.Helper()
	folder, err := evidence.OpenFolder(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	byMark = map[string]*evidence.Kept{}
	for rec, err := range folder.Records() {
		if err != nil {
			t.Fatal(err)
		}
		byMark[markOf(rec.Digest, rec.Seq, folder.Producer.Origin)] = rec
		all = append(all, rec)
	}
	return byMark, all
}

// verified demands that a folder verifies, and returns what is declared to be missing.
func verified(t *testing.T, dir string) []evidence.Problem {
	t.Helper()
	v, err := evidence.Verify(os.DirFS(dir), evidence.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Errorf("%s does not verify: %s: %s", dir, p.Code, p)
	}
	return v.Holes
}

const denyProfile = "bundles: [./one]\nmode: deny\n"

func TestEachAnswerHasItsRecord(t *testing.T) {
	const waiver = `waivers: [{id: w-1, policy: governance/made, subjects: {kind: Schedule, name: bad}, owner: a, approver: b, reason: c, expires: 2099-01-01}]` + "\n"
	unjudged := aSchedule("good", "")
	dry := asks("u-1", "CREATE", aSchedule("bad", ""), "")
	dry.DryRun = new(true)
	own := asks("u-1", "CREATE", `{"apiVersion":"proviso.dev/v1alpha1","kind":"Waiver","metadata":{"namespace":"proviso-system","name":"w"}}`, "")
	for name, c := range map[string]struct {
		profile string
		side    webhook.Side
		request admission.Request
		mark    string // of what has no record
		want    evidence.Answer
		verdict string
		effect  string
		problem string
	}{
		"admitted":                          {denyProfile, webhook.FailClosed, asks("u-1", "CREATE", aSchedule("good", ""), ""), "", evidence.Answer{Allowed: true, Code: 200}, "pass", "record", ""},
		"denied":                            {denyProfile, webhook.FailClosed, asks("u-1", "CREATE", aSchedule("bad", ""), ""), "", evidence.Answer{Enforced: true, Code: 403}, "fail", "deny", ""},
		"denied by the fail-open webhook":   {denyProfile, webhook.FailOpen, asks("u-1", "CREATE", aSchedule("bad", ""), ""), "", evidence.Answer{Enforced: true, Code: 403}, "fail", "deny", ""},
		"warned":                            {"bundles: [./one]\n", webhook.FailOpen, asks("u-1", "CREATE", aSchedule("bad", ""), ""), "", evidence.Answer{Allowed: true, Code: 200, Warnings: 1}, "fail", "warn", ""},
		"waived":                            {denyProfile + waiver, webhook.FailClosed, asks("u-1", "CREATE", aSchedule("bad", ""), ""), "", evidence.Answer{Allowed: true, Code: 200, Warnings: 1}, "fail", "", ""},
		"an object of our own that is none": {denyProfile, webhook.FailClosed, own, "", evidence.Answer{Code: 403}, "", "", "no policy"},
		"what nobody can read":              {denyProfile, webhook.FailOpen, asks("u-1", "CREATE", `{"a":`, ""), "", evidence.Answer{Code: 403}, "", "", "parse"},
		"a dry run":                         {denyProfile, webhook.FailClosed, dry, markDryRun, evidence.Answer{}, "", "", ""},
		"an update of nothing":              {denyProfile, webhook.FailClosed, asks("u-1", "UPDATE", unjudged, unjudged), markUnchanged, evidence.Answer{}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := recordedBy(t, producer.Strict, c.profile, 0)
			got := w.handler(c.side).Handle(t.Context(), c.request)
			mark := got.AuditAnnotations["record"]
			if err := w.close("stopped"); err != nil {
				t.Fatal(err)
			}
			if holes := verified(t, w.dir); len(holes) > 0 {
				t.Errorf("declared to be missing: %v", holes)
			}
			byMark, all := kept(t, w.dir)
			end := all[len(all)-1].Close
			if c.mark != "" {
				if mark != c.mark || end.Counts.Decisions != 0 || end.Counts.Requests != 1 {
					t.Errorf("mark %q, want %q; counts %+v", mark, c.mark, end.Counts)
				}
				return
			}
			rec := byMark[mark]
			if rec == nil || rec.Decision == nil {
				t.Fatalf("the audit log is told %q, and no decision has that mark", mark)
			}
			d := rec.Decision
			if c.want.Caller = "unauthenticated"; *d.Answer != c.want || got.Allowed != c.want.Allowed {
				t.Errorf("the record says %+v and the answer %v, want %+v", *d.Answer, got.Allowed, c.want)
			}
			if d.Event != "u-1" || d.Webhook != c.side.String() || d.Operation != string(c.request.Operation) || rec.Cluster.UID != "c-1" || all[d.Activation].Activation.Webhook != d.Webhook {
				t.Errorf("the record is %+v", d)
			}
			if problems := strings.Join(d.Problems, ""); !strings.Contains(problems, c.problem) || (problems == "") != (c.problem == "") {
				t.Errorf("problems %q, want %q", problems, c.problem)
			}
			if c.verdict != "" && (len(d.Results) != 1 || d.Results[0].Verdict != c.verdict || c.effect != "" && d.Results[0].Effect != c.effect) {
				t.Errorf("results %+v, want %s and %s", d.Results, c.verdict, c.effect)
			}
			if c.verdict == "fail" && d.Results[0].Waived != strings.Contains(c.profile, "waivers") {
				t.Errorf("results %+v, waived where no waiver is, or not where one is", d.Results)
			}
			folder, err := evidence.OpenFolder(os.DirFS(w.dir))
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			if again, err := replay(t.Context(), folder); err != nil || len(again.Differences) > 0 || again.Records != 1 {
				t.Errorf("replayed: %+v, %v", again, err)
			}
			input, err := folder.Input(d.Input)
			if err != nil || input.User["username"] != "ann" || c.problem == "" && input.Object == nil {
				t.Errorf("kept %+v, %v", input, err)
			}
		})
	}
}

// fill leaves no room for a record within the bound.
func (w *recordingWebhooks) fill(t *testing.T) {
	t.Helper()
	for size := 1 << 20; size > 16; size /= 2 {
		for {
			if _, err := w.w.Object(strings.NewReader(strings.Repeat(fmt.Sprint(w.w.Stats().Bytes), size)[:size])); err != nil {
				break
			}
		}
	}
}

// What cannot be recorded is denied in strict mode by either webhook, and a gap says in the others that it was let in.
func TestWithoutARecord(t *testing.T) {
	for _, mode := range []string{producer.Strict, producer.Blocking, producer.Batch} {
		t.Run(mode, func(t *testing.T) {
			w := recordedBy(t, mode, denyProfile, 2<<20)
			if err := w.ready(); err != nil {
				t.Fatal(err)
			}
			w.fill(t)
			for n, side := range []webhook.Side{webhook.FailClosed, webhook.FailOpen} {
				got := w.handler(side).Handle(t.Context(), asks(fmt.Sprint("u-", n), "CREATE", aSchedule("good", strings.Repeat(" ", 10)), ""))
				if mode != producer.Strict {
					if !got.Allowed {
						t.Errorf("%s: denied: %s", side, got.Result.Message)
					}
					continue
				}
				if got.Allowed || got.AuditAnnotations["record"] != markUnrecorded || !strings.Contains(got.Result.Message, "lets nothing in of which it keeps no record") || strings.Count(got.Result.Message, "\n") > 4 {
					t.Errorf("%s: allowed %v, %q, %v", side, got.Allowed, got.Result, got.AuditAnnotations)
				}
			}
			if err := w.ready(); (err != nil) != (mode == producer.Strict) {
				t.Errorf("ready: %v", err)
			}
			// A denial is one without a record too.
			got := w.handler(webhook.FailClosed).Handle(t.Context(), asks("u-3", "CREATE", aSchedule("bad", ""), ""))
			if got.Allowed || !strings.Contains(got.Result.Message, "governance/made") {
				t.Errorf("what a policy denies: %+v", got)
			}
			w.tend(t.Context())
			if err := w.ready(); (err != nil) != (mode == producer.Strict) {
				t.Errorf("after trying again, ready: %v", err)
			}
			_ = w.close("stopped") // there is no room for the seal
			declared := uint64(0)
			_, all := kept(t, w.dir)
			for _, rec := range all {
				if rec.Gap != nil {
					declared += rec.Gap.Lost
				}
			}
			if declared != 3 {
				t.Errorf("gaps declare %d requests, want 3", declared)
			}
		})
	}
}

// What never reaches the writer is declared all the same.
func TestWithoutPoliciesOnRecord(t *testing.T) {
	for mode, let := range map[string]bool{producer.Strict: false, producer.Blocking: true, producer.Batch: true} {
		w := recordedBy(t, mode, denyProfile, 0)
		now := w.inForce
		w.inForce = nil
		for _, uid := range []string{"u-1", "u-2"} {
			got := w.handler(webhook.FailOpen).Handle(t.Context(), asks(uid, "CREATE", aSchedule("good", ""), ""))
			if got.Allowed != let || got.AuditAnnotations["record"] != markUnrecorded {
				t.Errorf("%s: allowed %v, %v", mode, got.Allowed, got.AuditAnnotations)
			}
		}
		w.inForce = now
		w.tend(t.Context())
		if err := w.close("stopped"); err != nil {
			t.Fatal(err)
		}
		_, all := kept(t, w.dir)
		var gaps []string
		for _, rec := range all {
			if rec.Gap != nil {
				gaps = append(gaps, rec.Gap.Events...)
			}
		}
		if !reflect.DeepEqual(gaps, []string{"u-1", "u-2"}) {
			t.Errorf("%s: gaps name %q", mode, gaps)
		}
		if holes := verified(t, w.dir); len(holes) != 1 || holes[0].Code != evidence.DeclaredGap {
			t.Errorf("%s: verify tells %v", mode, holes)
		}
	}
}
