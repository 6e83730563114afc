package bucket

import (
	"context"
	"errors"
	"iter"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/exported"
)

// Exported inspects files in which the tools of a cloud have printed what a bucket is. It implements [engine.Inspector].
// It knows:
//
//   - AWS, one document for a bucket, keyed by call, each with what `aws s3api` printed for it, or its error:
//     {"Bucket": "b", "HeadBucket": {…}, "GetBucketLocation": {…}, "GetBucketPolicy": {"Error": {"Code": "NoSuchBucketPolicy"}}, …}.
//     GetBucketVersioning and GetBucketLogging print nothing where nothing is set: {} or null stands for that.
//   - AWS, one file for a call: BUCKET/get-bucket-versioning.json, or BUCKET.get-bucket-versioning.json.
//   - Google Cloud: storage.buckets.get, and what `gcloud storage buckets describe` prints of it; one or a list.
//   - Azure: storage accounts, containers (az storage container-rm show), immutability policies, blob service
//     properties and management policies, as az prints them or as the API answers; one or a list. They are joined by
//     the names in their ids, across all files.
//
// A call of which no file tells is failed in the artifact's calls.
type Exported struct{ Files []string }

// Inspect yields a Bucket for each bucket of the files, and an *[engine.Unread] for what is none of the above, or is not
// whole.
func (e *Exported) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		g := &gathering{aws: map[string]*awsExport{}, azure: map[string]*azureAccount{}, said: map[string]bool{}}
		for file, err := range (exported.Files{Paths: e.Files}).All(ctx) {
			if err != nil {
				g.fail(err)
				continue
			}
			g.file(file)
		}
		g.finish()
		for _, o := range g.outcomes {
			if !yield(o.subject, o.err) {
				return
			}
		}
	}
}

// outcome is a subject, or why there is none.
type outcome struct {
	subject *engine.Subject
	err     error
}

// gathering joins what the files say; what it finds is in the order of the files.
type gathering struct {
	outcomes []outcome
	// pending are the buckets whose parts may lie in more than one file, in the order they were first met.
	pending []func()
	aws     map[string]*awsExport
	azure   map[string]*azureAccount
	// said are the problems that were reported.
	said map[string]bool
}

func (g *gathering) fail(err error) { g.outcomes = append(g.outcomes, outcome{err: err}) }

func (g *gathering) file(f *exported.File) {
	bucket, call := namedFor(f.Path)
	if call != "" && len(strings.TrimSpace(string(f.Data))) == 0 {
		g.fail(&engine.Unread{Source: f.Source, Position: engine.Position{File: f.Path}, Kind: engine.Hole,
			Err: errors.New("read export: it is empty, as after a call that failed and after one that says that nothing is set (write {} for the latter)")})
		g.awsBucket(bucket)
		return
	}
	found := false
	for d, err := range f.Documents() {
		found = true
		switch {
		case err != nil:
			g.fail(err)
		case call != "":
			g.awsCall(bucket, call, d)
		default:
			g.value(d, d.Value)
		}
	}
	if !found {
		g.fail(&engine.Unread{Source: f.Source, Position: engine.Position{File: f.Path}, Err: errors.New("read export: it is empty")})
	}
}

// value finds the buckets in a value: an object that is one, a list, or the page of a list.
func (g *gathering) value(d *exported.Document, v any, path ...any) {
	if list, ok := v.([]any); ok && len(path) < 4 {
		for i, item := range list {
			g.value(d, item, append(path[:len(path):len(path)], i)...)
		}
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		g.fail(d.Other(path, errUnknown))
		return
	}
	o := exported.Read(m, path...)
	kind, _ := m["kind"].(string)
	kindOfAzure, _ := m["type"].(string)
	url, _ := m["storage_url"].(string)
	switch {
	case isAWS(m):
		g.awsDocument(d, o)
	case kind == "storage#buckets":
		g.page(d, m, "items", path)
	case kind == "storage#bucket", strings.HasPrefix(url, "gs://"):
		g.gcs(d, o)
	case strings.HasPrefix(strings.ToLower(kindOfAzure), "microsoft.storage/"):
		g.azurePart(d, o, strings.ToLower(kindOfAzure))
	case m["value"] != nil && len(path) == 0:
		g.page(d, m, "value", path)
	default:
		g.fail(d.Other(path, errUnknown))
	}
}

var errUnknown = errors.New("it is no bucket: want aws s3api outputs keyed by call with the name under Bucket, or in a file named by bucket and call; " +
	"GCS storage.buckets.get; or Azure storage accounts, containers and immutability policies")

func (g *gathering) page(d *exported.Document, m map[string]any, key string, path []any) {
	for _, token := range []string{"nextPageToken", "nextLink"} {
		if m[token] != nil && m[token] != "" {
			u := d.Other(path, errors.New("read export: it is one page of more (export the rest as well)"))
			u.Kind = engine.Hole
			g.fail(u)
		}
	}
	g.value(d, m[key], append(path[:len(path):len(path)], key)...)
}

// finish makes the buckets that were gathered from parts.
func (g *gathering) finish() {
	for _, make := range g.pending {
		make()
	}
}

// yield adds a bucket; an object in which anything is mistyped is reported at its place, and not judged.
func (g *gathering) yield(d *exported.Document, o exported.Object, a *artifact, name string) {
	for _, p := range o.Problems() {
		g.fail(d.Broken(p))
	}
	if len(o.Problems()) == 0 {
		g.outcomes = append(g.outcomes, outcome{subject: a.subject(name, a.marks.Origin(d, o.At()))})
	}
}
