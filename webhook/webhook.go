// Package webhook answers the API server's admission requests: an AdmissionReview in, one Subject, one call of the judge,
// an answer before the deadline. It also serves them: TLS, readiness, draining, metrics. Policies, facts, waivers and
// whoever records decisions are handed in; it reads no policy language and no profile.
//
// Start at [Handler] and [Serve].
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// Sets are the policies of one load: the same ones for both webhooks, which differ in what is done about an unknown.
type Sets struct{ Closed, Open *engine.Set }

// Decided is one request and what was said of it, for whoever keeps records.
type Decided struct {
	// ID is the request's uid, which a repeated request bears too.
	ID      string
	At      time.Time
	Side    Side
	Subject engine.Subject
	// Set is what it was judged by; nil where no policies were loaded.
	Set       *engine.Set
	Decisions []engine.Decision
	// Answers are the facts it was judged on, where a Recorder is told.
	Answers []engine.Answered
	// Problems are what is wrong with an object of our own kinds, or why a request could not be judged.
	Problems []string
	// Allowed is what the API server is told, with Code and so many Warnings; Enforced is whether a policy made it a denial.
	Allowed, Enforced bool
	Code              int32
	Warnings          int
	// DryRun and Unchanged are requests nothing durable comes of: only tried, and about what nobody judges.
	DryRun, Unchanged bool
	// Authenticated is whether the caller showed a certificate that an authority of [Server.ClientCAs] signed. Without those
	// nobody did, and whoever reaches the port can have made the request up.
	Authenticated bool
	// Repeated is whether a request of this ID was decided a few minutes ago at most: the API server may ask twice, and who
	// overheard a request can send it again.
	Repeated bool
	// Unrecorded is why the request was denied for want of a record.
	Unrecorded error
}

// Recorder keeps what was decided before the API server is told.
type Recorder interface {
	// Record keeps it, or does not where nothing durable comes of the request, and returns the mark that the API server's audit
	// log is given. An error denies the request, whichever webhook it came to; [ErrSuperseded] has it judged again.
	Record(ctx context.Context, d *Decided) (mark string, err error)
}

// ErrSuperseded says that other policies came into force since a request was judged.
var ErrSuperseded = errors.New("other policies came into force")

// Handler answers admission requests of one side. Its fields are set before its first use.
type Handler struct {
	Side Side
	// Sets are the policies in force; nil while none are loaded, which denies.
	Sets  func() *Sets
	Facts engine.FactSource
	// Own are the checks of Proviso's own kinds, by kind; each answers what is wrong with the object.
	Own map[string]func(engine.Subject) []string
	// Recorder is told everything that is answered but what our own canary asks, within the Budget; nil keeps no evidence.
	Recorder Recorder
	// Log is told every decision but those about a dry run; it may be nil.
	Log func(Decided)
	// Budget is how long one answer may take: the webhook's timeout less half a second.
	Budget time.Duration
	// StatusWriters are the users whose changes of status are not judged where a kind has no status of its own; see
	// [untouched].
	StatusWriters []string
	// WaiverNamespace is where waivers are asked for.
	WaiverNamespace string
	Now             func() time.Time
	Metrics         *Metrics

	recent recent
}

// Group is that of Proviso's own kinds.
const Group = "proviso.dev"

type patienceKey struct{}

// authenticatedKey is for whether the caller is known to be an API server.
type authenticatedKey struct{}

// Patience is until when a fact that is not there yet may be waited for, in an admission request.
func Patience(ctx context.Context) time.Time {
	t, _ := ctx.Value(patienceKey{}).(time.Time)
	return t
}

// Handle is part of admission.Handler.
func (h *Handler) Handle(ctx context.Context, req admission.Request) (answer admission.Response) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			// Not even by the fail-open webhook: nobody can say whether there is a record of it.
			answer = h.answer(req, unjudged(req, fmt.Sprintf("answering panicked: %v", p)), nil, "", "")
		}
		h.Metrics.answered(h.Side, string(req.Operation), answer.Allowed, time.Since(start))
	}()
	until := start.Add(h.Budget)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(until) {
		until = sooner
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, errOver)
	defer cancel()
	ctx = context.WithValue(ctx, patienceKey{}, start.Add(h.Budget/3))
	judgeUntil := until
	if h.Recorder != nil {
		judgeUntil = until.Add(-h.Budget / recordShare)
	}
	for first, repeated := true, false; ; first = false {
		judging, cancel := context.WithDeadlineCause(ctx, judgeUntil, errOver)
		d, denial, warnings := h.judge(judging, req)
		cancel()
		if first && !d.Unchanged {
			repeated = h.recent.seen(d.ID, d.At)
		}
		d.Repeated = repeated
		mark, err := h.record(ctx, &d)
		if errors.Is(err, ErrSuperseded) && ctx.Err() == nil {
			continue
		}
		if err != nil && denial == "" {
			denial, warnings = fmt.Sprintf("proviso lets nothing in of which it keeps no record: %s\ndecision %s", cut(oneLine(err.Error()), longestLine), req.UID), nil
		}
		var set engine.Digest
		if d.Set != nil {
			set = d.Set.Digest()
		}
		return h.answer(req, denial, warnings, set, mark)
	}
}

// recordShare is which part of the budget is left for the record.
const recordShare = 8

// judge says what is to be told to the API server, and why. What cannot be judged is a denial where the API server is to
// fail closed, else a warning.
func (h *Handler) judge(ctx context.Context, req admission.Request) (d Decided, denial string, warnings []string) {
	d = Decided{ID: string(req.UID), At: h.Now(), Side: h.Side, DryRun: req.DryRun != nil && *req.DryRun}
	d.Authenticated, _ = ctx.Value(authenticatedKey{}).(bool)
	refuse := func(why string) {
		d.Decisions, d.Problems = nil, []string{why}
		if h.Side == FailClosed {
			denial, warnings = unjudged(req, why), nil
		} else {
			denial, warnings = "", []string{shorten("proviso cannot judge this: " + why)}
		}
	}
	defer func() {
		if p := recover(); p != nil {
			refuse(fmt.Sprintf("judging panicked: %v", p))
		}
		d.Allowed, d.Enforced, d.Code, d.Warnings = denial == "", denial != "" && len(d.Problems) == 0, http.StatusOK, len(warnings)
		if !d.Allowed {
			d.Code = http.StatusForbidden
		}
	}()
	var err error
	d.Subject, err = subjectOf(&req.AdmissionRequest)
	sub := d.Subject
	if sets := h.Sets(); sets != nil {
		if d.Set = sets.Open; h.Side == FailClosed {
			d.Set = sets.Closed
		}
	}
	if err != nil {
		// Who makes an object that nobody can read must not get it in by that.
		d.Problems = []string{err.Error()}
		return d, unjudged(req, err.Error()), nil
	}
	if d.Set == nil {
		refuse("no policies are loaded yet (try again in a moment)")
		return d, denial, warnings
	}
	if isCanary(&sub) {
		d.Set = canarySet()
	}
	if d.Unchanged = sub.Operation == engine.Update && untouched(sub.Old, sub.Object, h.judgesStatus(&req.AdmissionRequest, &sub)); d.Unchanged {
		return d, "", nil
	}
	if sub.Group() == Group {
		if check := h.Own[sub.Kind]; check != nil && sub.Operation != engine.Delete {
			if d.Problems = check(sub); len(d.Problems) > 0 {
				return d, own(sub, d.Problems, d.ID), nil
			}
		}
	}
	facts := h.Facts
	if h.Recorder != nil {
		answers := &engine.Answers{From: h.Facts}
		defer func() { d.Answers = answers.Kept() }()
		facts = answers
	}
	d.Decisions = d.Set.Judge(ctx, sub, facts, d.At)
	denial, warnings = words{subject: &sub, id: d.ID, set: d.Set.Digest(), namespace: h.WaiverNamespace}.say(d.Decisions)
	return d, denial, warnings
}

// record has it kept, counts what was decided, a repeated request not again, and logs it unless it was only tried.
func (h *Handler) record(ctx context.Context, d *Decided) (mark string, err error) {
	if h.Recorder != nil && !isCanary(&d.Subject) {
		if mark, err = h.Recorder.Record(ctx, d); errors.Is(err, ErrSuperseded) && ctx.Err() == nil {
			return "", err
		}
		if err != nil {
			d.Unrecorded = err
			d.Allowed, d.Code = false, http.StatusForbidden
		}
	}
	if d.Unchanged {
		return mark, err
	}
	if !d.Repeated {
		h.Metrics.decided(h.Side, d.Decisions)
	}
	if h.Log != nil && !d.DryRun {
		h.Log(*d)
	}
	return mark, err
}

func unjudged(req admission.Request, why string) string {
	return fmt.Sprintf("proviso cannot judge this %s of %s: %s\ndecision %s", req.Operation, req.Kind.Kind, cut(oneLine(why), longestLine), req.UID)
}

// answer is what the API server is told; its audit log gets the request's uid, the policies' digest and the record's mark.
func (h *Handler) answer(req admission.Request, denial string, warnings []string, set engine.Digest, mark string) admission.Response {
	r := admission.Allowed("")
	if denial != "" {
		r = admission.Denied(denial)
	}
	r.Warnings = warnings
	r.AuditAnnotations = map[string]string{"decision": string(req.UID)}
	if set != "" {
		r.AuditAnnotations["policy-set"] = string(set)
	}
	if mark != "" {
		r.AuditAnnotations["record"] = mark
	}
	return r
}

// subjectOf is what a request is about. The object is as the API server converted it for the rule that matched, so its own
// apiVersion counts, not the one the user wrote.
func subjectOf(req *admissionv1.AdmissionRequest) (engine.Subject, error) {
	sub := engine.Subject{APIVersion: schema.GroupVersion{Group: req.Kind.Group, Version: req.Kind.Version}.String(), Kind: req.Kind.Kind, Namespace: req.Namespace, Name: req.Name,
		Operation: string(req.Operation), User: user(req), Origin: engine.Origin{Source: "admission"}}
	var err error
	if sub.Object, err = object(req.Object.Raw, "object"); err == nil {
		sub.Old, err = object(req.OldObject.Raw, "oldObject")
	}
	if err != nil {
		return sub, err
	}
	switch sub.Operation {
	case engine.Create, engine.Update:
		if len(sub.Object) == 0 {
			return sub, fmt.Errorf("the request has no object")
		}
	case engine.Delete:
		if len(sub.Old) == 0 {
			return sub, fmt.Errorf("the request has no old object")
		}
		sub.Object = sub.Old
	default:
		return sub, fmt.Errorf("operation %q is none of CREATE, UPDATE and DELETE", sub.Operation)
	}
	sub.APIVersion, _ = sub.Object["apiVersion"].(string)
	sub.Kind, _ = sub.Object["kind"].(string)
	if sub.APIVersion == "" || sub.Kind == "" {
		return sub, fmt.Errorf("the object has no apiVersion or kind")
	}
	meta, _ := sub.Object["metadata"].(map[string]any)
	// Of a Namespace, the request says that it lies in itself.
	sub.Namespace, _ = meta["namespace"].(string)
	if sub.Name == "" {
		sub.Name, _ = meta["name"].(string)
	}
	return sub, nil
}

// maxNodes is how many values an object may hold: several times what the largest that etcd takes holds, short of what two at
// once could cost a replica its memory.
const maxNodes = 300_000

func object(raw []byte, name string) (map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	doc, err := decode.JSON(string(raw), name, decode.Limits{Bytes: maxBody, Nodes: maxNodes})
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	o, ok := doc.Value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("parse: %s is not a JSON object", name)
	}
	return o, nil
}

func user(req *admissionv1.AdmissionRequest) map[string]any {
	u := req.UserInfo
	groups := []any{}
	for _, g := range u.Groups {
		groups = append(groups, g)
	}
	extra := map[string]any{}
	for k, list := range u.Extra {
		values := []any{}
		for _, v := range list {
			values = append(values, v)
		}
		extra[k] = values
	}
	return map[string]any{"username": u.Username, "uid": u.UID, "groups": groups, "extra": extra}
}

// judgesStatus reports whether a change of nothing but status is judged. Velero's kinds have no status of their own: whoever
// may update the object may write it, and Velero acts by it. A backup whose status.expiration somebody sets back is gone at
// the next garbage collection.
func (h *Handler) judgesStatus(req *admissionv1.AdmissionRequest, sub *engine.Subject) bool {
	return sub.Group() == "velero.io" && !slices.Contains(h.StatusWriters, req.UserInfo.Username)
}

// untouched reports whether an update changes nothing but status, where that does not count, what the API server keeps
// itself, and finalizers that it takes away: nobody is stopped from mending, or an object from being deleted. An object that
// is being deleted and changed otherwise is judged like any other: a foreign finalizer can keep it for ever.
func untouched(old, now map[string]any, status bool) bool {
	before, after := bare(old), bare(now)
	if status {
		before["status"], after["status"] = old["status"], now["status"]
	}
	was, is := finalizers(old), finalizers(now)
	if slices.ContainsFunc(is, func(f any) bool { return !slices.Contains(was, f) }) {
		return false
	}
	return reflect.DeepEqual(before, after)
}

// bare is the object without what nobody decides about.
func bare(o map[string]any) map[string]any {
	out := make(map[string]any, len(o))
	for k, v := range o {
		if k != "status" && k != "metadata" {
			out[k] = v
		}
	}
	from, _ := o["metadata"].(map[string]any)
	meta := make(map[string]any, len(from))
	for k, v := range from {
		switch k {
		case "managedFields", "resourceVersion", "generation", "finalizers":
		default:
			meta[k] = v
		}
	}
	out["metadata"] = meta
	return out
}

func finalizers(o map[string]any) []any {
	meta, _ := o["metadata"].(map[string]any)
	list, _ := meta["finalizers"].([]any)
	return list
}
