// Package bucket turns buckets into subjects: a Bucket artifact for what is configured, and a StoredObject for each
// version in it. [Live] asks an S3 server, reading only; [Exported] reads what the tools of AWS, Google Cloud and Azure
// print. Both give the same shape.
//
// What a server answers, has not configured, refuses, does not have or fails to answer is told apart for each call in
// the artifact's calls. Only an answer and "not configured" become a field; all else leaves the field out, so that a
// policy that needs it is unknown. A field that is left out is never a field that is empty.
package bucket

import (
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/exported"
)

// APIVersion is that of the artifacts.
const APIVersion = "artifact.proviso.dev/v1alpha1"

// The states of a call.
const (
	Answered      = "answered"
	NotConfigured = "notConfigured"
	Refused       = "refused"
	Unsupported   = "unsupported"
	Failed        = "failed"
)

// artifact is a Bucket on its way to becoming a subject.
type artifact struct {
	fields map[string]any
	calls  map[string]any
	labels map[string]any
	marks  exported.Marks
	// document and path are what is being read; none where a server is asked.
	document *exported.Document
}

func newArtifact(provider string) *artifact {
	calls := map[string]any{}
	return &artifact{fields: map[string]any{"provider": provider, "calls": calls}, calls: calls, marks: exported.Marks{}}
}

// set gives the artifact a field that was read from path.
func (a *artifact) set(field string, v any, path []any) {
	a.fields[field] = v
	a.mark(field, path)
}

// mark notes where a field was read from.
func (a *artifact) mark(field string, path []any) {
	if a.document != nil {
		a.marks.Set(field, a.document, path)
	}
}

func (a *artifact) call(aspect, state, message string) { a.calls[aspect] = call(state, message) }

func call(state, message string) map[string]any {
	c := map[string]any{"state": state}
	if message != "" {
		c["message"] = message
	}
	return c
}

func (a *artifact) subject(name string, origin engine.Origin) *engine.Subject {
	return subject("Bucket", name, a.labels, a.fields, origin)
}

// subject makes the object of an artifact out of its fields, which become its own.
func subject(kind, name string, labels, fields map[string]any, origin engine.Origin) *engine.Subject {
	meta := map[string]any{"name": name}
	if labels != nil {
		meta["labels"] = labels
	}
	fields["apiVersion"], fields["kind"], fields["metadata"] = APIVersion, kind, meta
	return &engine.Subject{APIVersion: APIVersion, Kind: kind, Name: name, Object: fields, Origin: origin}
}

// regionOf is the region a location constraint names.
func regionOf(constraint string) string {
	switch constraint {
	case "":
		return "us-east-1"
	case "EU":
		return "eu-west-1"
	}
	return strings.ToLower(constraint)
}
