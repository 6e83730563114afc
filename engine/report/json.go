package report

import (
	"bufio"
	"bytes"
	_ "embed" // for the schema
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"proviso.dev/proviso/engine"
)

//go:embed schema/report.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of what [JSON] writes.
func Schema() []byte { return bytes.Clone(schema) }

// JSON writes the canonical form: one object, each decision on a line of its own, written as the run streams. All keys
// are always there but "simulated" and "since"; a list is never null. [Schema] describes it.
//
// What was not read comes after the decisions and is kept until then, a bounded number of each kind; unreadOmitted
// counts the rest. So do restore plans and plansOmitted.
func JSON(w io.Writer, r engine.Report, o Options) error {
	d := newDocument(w)
	d.field("apiVersion", "proviso.dev/v1alpha1")
	d.field("kind", "Report")
	d.field("at", r.At.UTC().Format(time.RFC3339Nano))
	if r.Simulated {
		d.field("simulated", true)
	}
	d.field("scope", list(r.Scope))
	d.field("policySet", jsonPolicySet{r.SetDigest, r.Policies})
	d.field("profile", o.Profile)
	d.open("decisions")
	var missed unreads
	var found plans
	for result := range r.Results {
		if result.Unread != nil {
			missed.add(result.Unread)
			continue
		}
		found.add(result.Subject)
		for i := range result.Decisions {
			if listed(&result.Decisions[i], o) {
				d.element(jsonDecisionOf(result.Subject, &result.Decisions[i], r.At))
			}
		}
		if d.err != nil {
			return d.err
		}
	}
	d.close()
	t := r.Trailer()
	d.open("unread")
	for _, u := range missed.kept {
		d.element(jsonUnread{u.Source, u.File, u.Line, u.Column, fmt.Sprint(u.Err), unreadKinds[u.Kind].name})
	}
	d.close()
	d.field("unreadOmitted", jsonOmitted{missed.omitted(engine.Broken), missed.omitted(engine.Hole), missed.omitted(engine.NotManifest)})
	d.open("waivers")
	for _, u := range t.Waivers {
		d.element(jsonWaiverUse{u.ID, u.State, u.Hides})
	}
	d.close()
	d.open("plans")
	for i := range found.kept {
		d.element(&found.kept[i])
	}
	d.close()
	d.field("plansOmitted", found.seen-len(found.kept))
	d.field("coverage", jsonCoverage{t.Coverage.Expected, t.Coverage.Covered, jsonFiles{t.Coverage.FilesWithoutPolicy, list(t.Coverage.FirstFiles)}, list(t.Coverage.KindsWithoutPolicy)})
	if t.Since != nil {
		d.field("since", jsonSinceOf(t.Since))
	}
	d.field("complete", t.Complete)
	d.field("summary", t.Summary)
	return d.end()
}

type jsonPolicySet struct {
	Digest   engine.Digest `json:"digest"`
	Policies int           `json:"policies"`
}

type jsonDecision struct {
	Policy     jsonPolicy       `json:"policy"`
	Subject    jsonSubject      `json:"subject"`
	Verdict    engine.Verdict   `json:"verdict"`
	Effect     engine.Effect    `json:"effect"`
	Violations []jsonViolation  `json:"violations"`
	Reason     string           `json:"reason"`
	Waiver     *jsonWaiver      `json:"waiver"`
	Controls   []engine.Control `json:"controls"`
	Fix        string           `json:"fix"`
}

type jsonPolicy struct {
	ID       string        `json:"id"`
	Title    string        `json:"title"`
	Severity string        `json:"severity"`
	Digest   engine.Digest `json:"digest"`
}

type jsonSubject struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Namespace  string     `json:"namespace"`
	Name       string     `json:"name"`
	Origin     jsonOrigin `json:"origin"`
}

type jsonOrigin struct {
	Source string        `json:"source"`
	File   string        `json:"file"`
	Line   int           `json:"line"`
	Column int           `json:"column"`
	Digest engine.Digest `json:"digest"`
}

type jsonViolation struct {
	Message string `json:"message"`
	Path    string `json:"path"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
}

type jsonWaiver struct {
	ID       string             `json:"id"`
	State    engine.WaiverState `json:"state"`
	Owner    string             `json:"owner"`
	Reason   string             `json:"reason"`
	Approver string             `json:"approver"`
	Expires  string             `json:"expires"`
	Ticket   string             `json:"ticket"`
}

type jsonUnread struct {
	Source string `json:"source"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Error  string `json:"error"`
	Kind   string `json:"kind"`
}

type jsonOmitted struct {
	Broken      int `json:"broken"`
	Hole        int `json:"hole"`
	NotManifest int `json:"notManifest"`
}

type jsonWaiverUse struct {
	ID    string             `json:"id"`
	State engine.WaiverState `json:"state"`
	Hides int                `json:"hides"`
}

type jsonCoverage struct {
	Expected           int                `json:"expected"`
	Covered            int                `json:"covered"`
	FilesWithoutPolicy jsonFiles          `json:"filesWithoutPolicy"`
	KindsWithoutPolicy []engine.KindCount `json:"kindsWithoutPolicy"`
}

type jsonFiles struct {
	Count int      `json:"count"`
	First []string `json:"first"`
}

func jsonSubjectOf(s *engine.Subject) jsonSubject {
	o := s.Origin
	return jsonSubject{s.APIVersion, s.Kind, s.Namespace, s.Name, jsonOrigin{o.Source, o.File, o.Line, o.Column, o.Digest}}
}

func jsonDecisionOf(s *engine.Subject, d *engine.Decision, now time.Time) *jsonDecision {
	j := &jsonDecision{
		Policy:     jsonPolicy{d.Policy.ID, d.Policy.Title, d.Policy.Severity.String(), d.Policy.Digest},
		Subject:    jsonSubjectOf(s),
		Verdict:    d.Verdict,
		Effect:     d.Effect,
		Violations: make([]jsonViolation, len(d.Violations)),
		Reason:     d.Reason,
		Controls:   list(d.Policy.Controls),
		Fix:        d.Policy.Fix,
	}
	for i, v := range d.Violations {
		at := s.Origin.Place(v.Path)
		j.Violations[i] = jsonViolation{v.Message, v.Path, at.Line, at.Column}
	}
	if w := d.Waiver; w != nil {
		j.Waiver = &jsonWaiver{w.ID, w.State(now), w.Owner, w.Reason, w.Approver, w.Expires.UTC().Format(time.RFC3339Nano), w.Ticket}
	}
	return j
}

// list is never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// document writes one JSON object field by field. The first error stays, and nothing is written after it.
type document struct {
	w       *bufio.Writer
	enc     *json.Encoder
	buf     bytes.Buffer
	between string // stands before the next field
	inside  string // stands before the next element
	err     error
}

func newDocument(w io.Writer) *document {
	d := &document{w: bufio.NewWriter(w), between: "{\n  "}
	d.enc = json.NewEncoder(&d.buf)
	d.enc.SetEscapeHTML(false)
	return d
}

func (d *document) text(s string) {
	if d.err == nil {
		_, d.err = d.w.WriteString(s)
	}
}

func (d *document) value(v any) {
	if d.err != nil {
		return
	}
	d.buf.Reset()
	if d.err = d.enc.Encode(v); d.err == nil {
		_, d.err = d.w.Write(visibleJSON(bytes.TrimSuffix(d.buf.Bytes(), []byte("\n"))))
	}
}

func (d *document) key(name string) {
	d.text(d.between + `"` + name + `": `)
	d.between = ",\n  "
}

func (d *document) field(name string, v any) {
	d.key(name)
	d.value(v)
}

func (d *document) open(name string) {
	d.key(name)
	d.text("[")
	d.inside = "\n    "
}

func (d *document) element(v any) {
	d.text(d.inside)
	d.value(v)
	d.inside = ",\n    "
}

func (d *document) close() {
	if d.inside[0] == ',' {
		d.text("\n  ")
	}
	d.text("]")
}

func (d *document) end() error {
	d.text("\n}\n")
	if d.err != nil {
		return d.err
	}
	return d.w.Flush()
}

// visibleJSON is the same JSON with every character escaped that could disturb or deceive who reads it on a terminal.
func visibleJSON(text []byte) []byte {
	i := slices.IndexFunc(text, func(c byte) bool { return c > '~' })
	if i < 0 {
		return text
	}
	odd := func(r rune) bool { return r > '~' && !visible(r) }
	out := bytes.Clone(text[:i])
	for text = text[i:]; len(text) > 0; {
		r, size := utf8.DecodeRune(text)
		if odd(r) {
			out = appendEscaped(out, r)
		} else {
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	return out
}

func appendEscaped(out []byte, r rune) []byte {
	for _, u := range utf16.AppendRune(nil, r) {
		out = fmt.Appendf(out, `\u%04x`, u)
	}
	return out
}
