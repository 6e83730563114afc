package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// maxLists is how deep lists may lie in lists.
const maxLists = 4

// errEmptyList is what a list of nothing is.
var errEmptyList = errors.New("it is an empty")

// errTemplate is what a file that Helm must render first is.
var errTemplate = errors.New("chart template: render it first (helm template . | proviso lint -)")

// subjects is what one document holds: one object, the objects of a list, or something that is none.
func (f *Files) subjects(p piece) []outcome {
	if p.err != nil {
		return []outcome{{err: f.unread(p, p.err)}}
	}
	if p.template {
		return []outcome{{err: f.hole(p)}}
	}
	doc, err := p.text.Decode()
	switch {
	case err != nil:
		return []outcome{{err: f.unread(p, err)}}
	case doc.Value == nil:
		return nil
	}
	d := &document{Document: doc, files: f, piece: p}
	d.walk(doc.Value, nil, "", "", 0)
	return d.outcomes
}

// unread is err as the engine wants it. A text that holds {{ and cannot be parsed is a template, not a mistake.
func (f *Files) unread(p piece, err error) *engine.Unread {
	var unread *engine.Unread
	if errors.As(err, &unread) {
		return unread
	}
	if p.template || templated(p.text, err) {
		return f.hole(p)
	}
	u := &engine.Unread{Source: p.source, Err: err}
	var at *decode.Error
	if errors.As(err, &at) {
		u.Position, u.Err = engine.Position{File: at.File, Line: at.Line, Column: at.Column}, at.Err
	}
	return u
}

// templated reports whether what keeps a text from being parsed is a template's mark on the very line.
func templated(t decode.Text, err error) bool {
	var at *decode.Error
	if !errors.As(err, &at) || strings.Contains(err.Error(), "is there twice") { // no template makes a key twice
		return false
	}
	for _, line := range t.Lines(at.Line-1, at.Line) { // an error often shows on the line after its cause
		if strings.Contains(line, "{{") {
			return true
		}
	}
	return false
}

func (f *Files) hole(p piece) *engine.Unread {
	return &engine.Unread{Source: p.source, Position: engine.Position{File: p.text.File, Line: p.text.Line}, Kind: engine.Hole, Err: errTemplate}
}

func notManifest(p piece, at decode.Position, err error) *engine.Unread {
	return &engine.Unread{Source: p.source, Position: engine.Position{File: p.text.File, Line: at.Line, Column: at.Column}, Kind: engine.NotManifest, Err: err}
}

// document gathers what one document holds.
type document struct {
	*decode.Document
	files    *Files
	piece    piece
	digest   engine.Digest
	outcomes []outcome
}

func (d *document) add(s *engine.Subject, err error) {
	d.outcomes = append(d.outcomes, outcome{s, err})
}

func (d *document) broken(path []any, format string, args ...any) {
	at := d.Position(path...)
	d.add(nil, &engine.Unread{Source: d.piece.source, Position: engine.Position{File: d.File, Line: at.Line, Column: at.Column}, Err: fmt.Errorf(format, args...)})
}

// walk adds what lies at path: an object, or the objects of a list. Elements of a typed list that name neither
// apiVersion nor kind are of the kind the list names.
func (d *document) walk(v any, path []any, apiVersion, kind string, lists int) {
	object, ok := v.(map[string]any)
	if !ok {
		if len(path) > 0 {
			d.broken(path, "read list: an element is no object")
			return
		}
		if list, isList := v.([]any); isList && slices.ContainsFunc(list, isManifest) {
			d.broken(nil, "read document: it is a bare list of objects, which Kubernetes does not read (write them one by one, or as kind: List)")
			return
		}
		d.add(nil, notManifest(d.piece, d.Start, errors.New("it is no object")))
		return
	}
	given := func(key, fallback string) (string, bool) {
		v, there := object[key]
		if !there {
			return fallback, fallback != ""
		}
		text, isText := v.(string)
		if !isText || text == "" {
			d.broken(append(path[:len(path):len(path)], key), "read object: %s is no text (quote it)", key)
			return "", true
		}
		return text, true
	}
	_, hasVersion := object["apiVersion"]
	_, hasKind := object["kind"]
	if (!hasVersion || !hasKind) && (hasVersion || hasKind || apiVersion == "") {
		misspelt := engine.Misspellings(object, []engine.Path{{{Key: "apiVersion"}}, {{Key: "kind"}}})
		switch {
		case len(misspelt) > 0:
			where := d.Key(append(path[:len(path):len(path)], misspelt[0].Path)...)
			d.add(nil, &engine.Unread{Source: d.piece.source, Position: engine.Position{File: d.File, Line: where.Line, Column: where.Column}, Err: fmt.Errorf("read object: %w", misspelt[0])})
		case len(path) > 0:
			d.broken(path, "read list: an element has no apiVersion or kind (add both)")
		case (hasVersion || hasKind) && (object["metadata"] != nil || object["spec"] != nil):
			d.broken(nil, "read object: it has only one of apiVersion and kind (add the other)")
		case d.piece.other != "":
			d.add(nil, notManifest(d.piece, d.Start, fmt.Errorf("it is %s", d.piece.other)))
		default:
			d.add(nil, notManifest(d.piece, d.Start, errors.New("it has no apiVersion and kind")))
		}
		return
	}
	apiVersion, _ = given("apiVersion", apiVersion)
	kind, _ = given("kind", kind)
	switch group, _, _ := strings.Cut(apiVersion, "/"); {
	case apiVersion == "" || kind == "":
		return // reported
	case group == "kustomize.config.k8s.io":
		d.add(nil, notManifest(d.piece, d.Position(path...), errors.New("it is a kustomization")))
		return
	}
	if problem := oddList(object, kind); problem != "" {
		d.broken(path, "read list: %s", problem)
		return
	}
	if items, isList := listOf(object, kind); isList {
		d.list(items, path, apiVersion, kind, lists)
		return
	}
	d.object(object, path, apiVersion, kind)
}

// isManifest reports whether v says of itself that it is a Kubernetes object.
func isManifest(v any) bool {
	m, _ := v.(map[string]any)
	return m["apiVersion"] != nil && m["kind"] != nil
}

// oddList says why something that calls itself a list is none that can be read, or "". What it holds must not be lost.
func oddList(object map[string]any, kind string) string {
	if !strings.EqualFold(kind[max(0, len(kind)-len("List")):], "List") {
		return ""
	}
	if suffix := kind[len(kind)-len("List"):]; suffix != "List" && (len(kind) == len("List") || object["items"] != nil) {
		return fmt.Sprintf("kind %s differs only in case from %sList: write %[2]sList", kind, kind[:len(kind)-len("List")])
	}
	if m := engine.Misspellings(object, []engine.Path{{{Key: "items"}}}); len(m) > 0 {
		return m[0].Error()
	}
	items, there := object["items"]
	if _, isList := items.([]any); there && items != nil && !isList {
		return "items is no list"
	}
	if kind == "List" && !there {
		return "it has no items"
	}
	return ""
}

// listOf is the elements of an object that is a list: its kind ends in List, and it has items, all of them objects.
func listOf(object map[string]any, kind string) ([]any, bool) {
	items, there := object["items"]
	if !strings.HasSuffix(kind, "List") || !there {
		return nil, false
	}
	if items == nil {
		return nil, true // as Go programs print an empty list
	}
	list, ok := items.([]any)
	return list, ok
}

func (d *document) list(items, path []any, apiVersion, kind string, lists int) {
	if len(items) == 0 {
		d.add(nil, notManifest(d.piece, d.Position(path...), fmt.Errorf("%w %s", errEmptyList, kind)))
		return
	}
	if lists == maxLists {
		d.broken(path, "read list: lists lie in lists more than %d deep (write the objects one by one)", maxLists)
		return
	}
	if kind == "List" {
		apiVersion, kind = "", ""
	}
	for i, item := range items {
		d.walk(item, append(path[:len(path):len(path)], "items", i), apiVersion, strings.TrimSuffix(kind, "List"), lists+1)
	}
}

func (d *document) object(object map[string]any, path []any, apiVersion, kind string) {
	sub := &engine.Subject{APIVersion: apiVersion, Kind: kind, Operation: d.files.Operation, Object: object}
	// An element of a typed list says what it is only by its list. Nothing else reads the object yet.
	for key, text := range map[string]string{"apiVersion": apiVersion, "kind": kind} {
		if _, there := object[key]; !there {
			object[key] = text
		}
	}
	at := func(steps ...any) []any { return append(path[:len(path):len(path)], steps...) }
	meta, there := object["metadata"]
	fields, isObject := meta.(map[string]any)
	if there && meta != nil && !isObject {
		d.broken(at("metadata"), "read object: metadata is no object")
		return
	}
	for _, key := range []string{"labels", "annotations"} {
		if !textMap(fields[key]) {
			d.broken(at("metadata", key), "read object: metadata.%s is no map of texts (quote its values)", key)
			return
		}
	}
	for key, into := range map[string]*string{"name": &sub.Name, "namespace": &sub.Namespace} {
		if v := fields[key]; v != nil {
			text, isText := v.(string)
			if !isText {
				d.broken(at("metadata", key), "read object: metadata.%s is no text (quote it)", key)
				return
			}
			*into = text
		}
	}
	if ns := d.files.Namespace; ns != "" && sub.Namespace == "" && !clusterScoped[groupKind{sub.Group(), kind}] {
		if fields == nil {
			fields = map[string]any{}
			object["metadata"] = fields
		}
		sub.Namespace, fields["namespace"] = ns, ns
	}
	if clusterScoped[groupKind{sub.Group(), kind}] {
		sub.Namespace = "" // the API server drops one that is written
	}
	if misspelt := d.misspelt(sub); len(misspelt) > 0 {
		m := misspelt[0]
		where := d.Key(at(steps(m.Path)...)...)
		d.add(nil, &engine.Unread{Source: d.piece.source, Position: engine.Position{File: d.File, Line: where.Line, Column: where.Column}, Err: fmt.Errorf("read object: %w", m)})
		return
	}
	sub.Origin = d.origin(path)
	d.add(sub, nil)
}

// textMap reports whether v is nothing, or holds nothing but texts; the API server takes no other labels.
func textMap(v any) bool {
	m, ok := v.(map[string]any)
	if v == nil {
		return true
	}
	for _, text := range m {
		if _, isText := text.(string); !isText {
			return false
		}
	}
	return ok
}

func (d *document) misspelt(sub *engine.Subject) []engine.Misspelling {
	// The words every object has are judged by no policy, and read by all.
	words := []engine.Path{{{Key: "apiVersion"}}, {{Key: "kind"}}, {{Key: "metadata"}, {Key: "name"}}, {{Key: "metadata"}, {Key: "namespace"}},
		{{Key: "metadata"}, {Key: "labels"}}, {{Key: "metadata"}, {Key: "annotations"}}}
	if found := engine.Misspellings(sub.Object, words); len(found) > 0 || d.files.Misspelt == nil {
		return found
	}
	return d.files.Misspelt(sub)
}

func (d *document) origin(path []any) engine.Origin {
	start := d.Start
	if len(path) > 0 {
		start = d.Position(path...)
	}
	if d.digest == "" {
		sum := sha256.Sum256([]byte(d.Raw))
		d.digest = engine.Digest("sha256:" + hex.EncodeToString(sum[:]))
	}
	doc := d.Document
	return engine.Origin{
		Source:   d.piece.source,
		Position: engine.Position{File: d.File, Line: start.Line, Column: start.Column},
		Template: template(doc),
		Digest:   d.digest,
		Locate: func(text string) engine.Position {
			at := doc.Position(append(path[:len(path):len(path)], steps(text)...)...)
			return engine.Position{File: doc.File, Line: at.Line, Column: at.Column}
		},
		Lines: doc.Lines,
	}
}

// template is the file that Helm says it rendered the document from.
func template(doc *decode.Document) string {
	name := ""
	for _, c := range doc.Comments() {
		if source, ok := strings.CutPrefix(c, "Source: "); ok {
			name = strings.TrimSpace(source)
		}
	}
	return name
}

// steps is a path as decode takes it; nil for a text that is no path.
func steps(text string) []any {
	path, err := engine.ParsePath(text)
	if err != nil {
		return nil
	}
	steps := make([]any, 0, len(path))
	for _, s := range path {
		switch s.Kind {
		case engine.KeyStep:
			steps = append(steps, s.Key)
		case engine.IndexStep:
			steps = append(steps, s.Index)
		default:
			return steps // every element: the list is where they stand
		}
	}
	return steps
}
