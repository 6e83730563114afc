package bucket

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"proviso.dev/proviso/engine/exported"
)

// headCall is the one call that is no aspect of its own.
const headCall = "HeadBucket"

// isAWS reports whether an object is keyed by calls.
func isAWS(m map[string]any) bool {
	if _, ok := m["Bucket"].(string); !ok {
		return false
	}
	return slices.ContainsFunc(aspects, func(a aspect) bool { _, there := m[a.call]; return there })
}

// namedFor is the bucket and the call that a file is named for; no call where it is named otherwise.
func namedFor(path string) (bucket, call string) {
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	bucket, command := "", base
	if i := strings.LastIndexByte(base, '.'); i >= 0 {
		bucket, command = base[:i], base[i+1:]
	}
	for _, name := range append(calls(), headCall) {
		if command != name && command != kebab(name) {
			continue
		}
		if bucket == "" {
			folder, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				folder = filepath.Dir(path)
			}
			bucket = filepath.Base(folder)
		}
		return bucket, name
	}
	return "", ""
}

func calls() []string {
	names := make([]string, len(aspects))
	for i, a := range aspects {
		names[i] = a.call
	}
	return names
}

// kebab is a call as the AWS command line spells it.
func kebab(call string) string {
	var b strings.Builder
	for i, r := range call {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// awsExport is what the files say of one bucket.
type awsExport struct {
	name    string
	account string
	region  string
	answers map[string]answer
	from    map[string]*exported.Document
	// first is where the bucket was met first.
	first *exported.Document
	at    []any
}

func (g *gathering) awsBucket(name string) *awsExport {
	e := g.aws[name]
	if e == nil {
		e = &awsExport{name: name, answers: map[string]answer{}, from: map[string]*exported.Document{}}
		g.aws[name] = e
		g.pending = append(g.pending, func() { g.awsFinish(e) })
	}
	return e
}

func (g *gathering) awsDocument(d *exported.Document, o exported.Object) {
	name, _ := o.Text("Bucket")
	e := g.awsBucket(name)
	if account, ok := o.Text("Account"); ok {
		e.account = account
	}
	for _, call := range append(calls(), headCall) {
		if slices.Contains(o.Keys(), call) {
			g.awsAnswer(e, call, d, o.Raw(call), o.At(call))
		}
	}
	for _, p := range o.Problems() {
		g.fail(d.Broken(p))
	}
	e.at = o.At()
}

func (g *gathering) awsCall(bucket, call string, d *exported.Document) {
	g.awsAnswer(g.awsBucket(bucket), call, d, d.Value, nil)
}

// awsAnswer notes the answer to a call, which may be an error.
func (g *gathering) awsAnswer(e *awsExport, call string, d *exported.Document, v any, path []any) {
	if e.first == nil {
		e.first = d
	}
	fail := func(format string, args ...any) {
		g.fail(d.Broken(exported.Problem{Path: path, Err: fmt.Errorf(format, args...)}))
	}
	if e.from[call] != nil {
		fail("read export: %s of bucket %s is there twice (remove one)", call, e.name)
		e.answers[call] = answer{state: Failed, message: "the export has two answers"}
		return
	}
	e.from[call] = d
	m, ok := v.(map[string]any)
	if silent := call == "GetBucketVersioning" || call == "GetBucketLogging"; v == nil && !silent || v != nil && !ok {
		fail("read export: the answer to %s is no object (write what aws s3api printed, or {\"Error\": {\"Code\": …}})", call)
		e.answers[call] = answer{state: Failed, message: "the export has no answer"}
		return
	}
	o := exported.Read(m, path...)
	if o.Has("Error") {
		code, _ := o.In("Error").Text("Code")
		message, _ := o.In("Error").Text("Message")
		state := stateOfCode(code, call)
		if state == NotConfigured {
			message = ""
		} else {
			message = strings.TrimSuffix(code+": "+message, ": ")
		}
		e.answers[call] = answer{state: state, message: message, object: exported.Read(nil, path...)}
		return
	}
	if call == headCall {
		e.region, _ = o.Text("BucketRegion")
	}
	e.answers[call] = answer{state: Answered, object: o}
}

// stateOfCode says what an error code alone means.
func stateOfCode(code, call string) string {
	i := slices.IndexFunc(aspects, func(a aspect) bool { return a.call == call })
	switch {
	case i >= 0 && code != "" && code == aspects[i].unset:
		return NotConfigured
	case slices.Contains(refusals, code), code == "403", code == "401", code == "Forbidden":
		return Refused
	case code == "NotImplemented", code == "MethodNotAllowed", code == "501", code == "405":
		return Unsupported
	}
	return Failed
}

func (g *gathering) awsFinish(e *awsExport) {
	if e.first == nil {
		return // all that there is of it was reported
	}
	a := newArtifact("s3")
	if e.account != "" {
		a.fields["account"] = e.account
	}
	for _, of := range aspects {
		got, ok := e.answers[of.call]
		if !ok {
			got = answer{state: Failed, message: "the export has no " + of.call}
		}
		if of.name == "location" {
			got = place(got, e.region)
		}
		a.document = e.from[of.call]
		if a.document == nil {
			a.document = e.first
		}
		for _, p := range a.take(of, got) {
			g.fail(a.document.Broken(p))
		}
	}
	a.settle()
	if e.name == "" {
		g.fail(e.first.Broken(exported.Problem{Path: e.at, Err: errors.New("read export: it names no bucket (put the name under Bucket)")}))
		return
	}
	g.outcomes = append(g.outcomes, outcome{subject: a.subject(e.name, a.marks.Origin(e.first, e.at))})
}
