package manifest

import (
	"context"
	"errors"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"proviso.dev/proviso/engine"
)

// Facts answers facts from manifests and from snapshots of a cluster. It implements [engine.FactSource]; many goroutines
// may ask. Files are read once, when the first fact is asked for, and only objects of the kinds that may be asked for are
// kept.
//
// Files never prove that something is absent. A snapshot does for the kind it lists if it is a typed list of a
// cluster-scoped kind, complete by its own account, as kubectl get --raw /api/v1/namespaces prints it: with a
// resourceVersion, without continue and remainingItemCount, and not empty. The group of a kind counts, its version does
// not.
type Facts struct {
	// Namespace is as in [Files]; it counts for the files and not for the snapshots.
	Namespace string
	// Held is as in [Files].
	Held map[string][]byte

	paths, snapshots []string
	stdin            []byte
	kinds            map[[2]string]bool

	once sync.Once
	// objects are those of the files, then those of the snapshots: what is about to be deployed counts before what is.
	objects [2]map[groupKind]map[objectName][]found
	listed  map[groupKind]*listing
	// trouble is what keeps facts of a kind from being told.
	trouble map[groupKind]error
}

type groupKind struct{ group, kind string }

type objectName struct{ namespace, name string }

type found struct {
	object map[string]any
	place  engine.Position
}

// listing is a complete list of a cluster-scoped kind.
type listing struct {
	objects []any
	place   engine.Position
	raw     map[string]any
}

// NewFacts answers facts from the files that paths name, as in [Files], and from the snapshots. Stdin is what "-" stands
// for in either; kinds are the groups and kinds that may be asked for, as (*engine.Set).FactKinds gives them.
func NewFacts(paths, snapshots []string, stdin []byte, kinds map[[2]string]bool) *Facts {
	return &Facts{paths: paths, snapshots: snapshots, stdin: stdin, kinds: kinds}
}

func (f *Facts) read() {
	f.listed, f.trouble = map[groupKind]*listing{}, map[groupKind]error{}
	for tier, paths := range [][]string{f.paths, f.snapshots} {
		f.objects[tier] = map[groupKind]map[objectName][]found{}
		files := &Files{Paths: paths, Stdin: f.stdin, Held: f.Held}
		if tier == 0 {
			files.Namespace = f.Namespace
		}
		for p := range files.texts() {
			f.take(files, p, tier)
		}
	}
}

// take keeps what is wanted of one document.
func (f *Facts) take(files *Files, p piece, snapshot int) {
	wanted := f.mentioned(p)
	switch {
	case p.err != nil && snapshot == 1:
		// Nobody else looks at snapshots, so what is wrong with one must be told here.
		wanted = f.mentioned(piece{})
	case len(wanted) == 0, p.template:
		return
	}
	for _, o := range files.subjects(p) {
		var unread *engine.Unread
		if !errors.As(o.err, &unread) {
			f.keep(o.subject, snapshot)
			continue
		}
		if unread.Kind == engine.Broken || snapshot == 1 && unread.Kind == engine.Hole {
			for _, gk := range wanted {
				if f.trouble[gk] == nil {
					f.trouble[gk] = doubt("a document that may hold one cannot be read: %v", unread)
				}
			}
		}
	}
	if snapshot == 1 && p.err == nil {
		f.list(p)
	}
}

// mentioned are the kinds whose names occur in the text; all where the text is not known.
func (f *Facts) mentioned(p piece) []groupKind {
	var kinds []groupKind
	for gk := range f.kinds {
		// A backslash may spell any name in escapes.
		if p.text.Raw == "" && p.err == nil || strings.Contains(p.text.Raw, gk[1]) || strings.Contains(p.text.Raw, "\\") {
			kinds = append(kinds, groupKind{gk[0], gk[1]})
		}
	}
	return kinds
}

func (f *Facts) keep(s *engine.Subject, tier int) {
	gk := groupKind{s.Group(), s.Kind}
	if !f.kinds[[2]string{gk.group, gk.kind}] || s.Name == "" {
		return
	}
	if f.objects[tier][gk] == nil {
		f.objects[tier][gk] = map[objectName][]found{}
	}
	name := objectName{s.Namespace, s.Name}
	if clusterScoped[gk] {
		name.namespace = ""
	}
	for _, other := range f.objects[tier][gk][name] {
		if reflect.DeepEqual(other.object, s.Object) {
			return
		}
	}
	f.objects[tier][gk][name] = append(f.objects[tier][gk][name], found{s.Object, s.Origin.Position})
}

// list keeps a snapshot that lists a cluster-scoped kind completely.
func (f *Facts) list(p piece) {
	doc, err := p.text.Decode()
	if err != nil {
		return
	}
	object, _ := doc.Value.(map[string]any)
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	kind, isList := strings.CutSuffix(kind, "List")
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = ""
	}
	gk := groupKind{group, kind}
	if !isList || kind == "" || !f.kinds[[2]string{group, kind}] || !complete(object, kind) {
		return
	}
	at := engine.Position{File: doc.File, Line: doc.Start.Line, Column: doc.Start.Column}
	if before := f.listed[gk]; before != nil {
		if reflect.DeepEqual(before.raw, object) {
			return // the same snapshot, named twice
		}
		f.trouble[gk] = doubt("two snapshots list it: %s and %s (give one)", place(before.place), place(at))
		return
	}
	items := slices.Clone(object["items"].([]any))
	for i := range items {
		item := maps.Clone(items[i].(map[string]any))
		items[i] = item
		if item["kind"] == nil {
			item["kind"] = kind
		}
		if item["apiVersion"] == nil {
			item["apiVersion"] = apiVersion
		}
	}
	f.listed[gk] = &listing{items, at, object}
}

// complete reports whether a list says of itself that it is complete, and holds only cluster-scoped objects of the kind.
// An empty list does not tell whether its kind is cluster-scoped, so it proves nothing.
func complete(list map[string]any, kind string) bool {
	meta, _ := list["metadata"].(map[string]any)
	items, _ := list["items"].([]any)
	if version, _ := meta["resourceVersion"].(string); version == "" || len(items) == 0 {
		return false
	}
	if next, ok := meta["continue"]; ok && next != nil && next != "" {
		return false
	}
	if remaining, ok := meta["remainingItemCount"]; ok && remaining != nil && remaining != int64(0) {
		return false
	}
	seen := map[string]bool{}
	for _, item := range items {
		object, _ := item.(map[string]any)
		fields, _ := object["metadata"].(map[string]any)
		name, _ := fields["name"].(string)
		if name == "" || seen[name] || fields["namespace"] != nil || object["kind"] != nil && object["kind"] != kind {
			return false
		}
		seen[name] = true
	}
	return true
}

// Trouble yields what is wrong with the snapshots, an *[engine.Unread] each, and no subject: a snapshot is named on the
// command line like a manifest, and one that cannot be read or holds nothing must be told whether a fact is asked for or
// not.
func (f *Facts) Trouble(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for _, path := range f.snapshots {
			files := &Files{Paths: []string{path}, Stdin: f.stdin, Held: f.Held}
			objects, told := 0, false
			for sub, err := range files.Inspect(ctx) {
				var unread *engine.Unread
				switch {
				case sub != nil:
					objects++
				case errors.Is(err, errEmptyList):
					objects++ // a cluster that has none of a kind
				case errors.As(err, &unread) && unread.Kind == engine.NotManifest:
				default:
					told = true
					if !yield(nil, err) {
						return
					}
				}
			}
			if objects == 0 && !told && !yield(nil, broken(path, path, errors.New("read facts: it holds no Kubernetes object"))) {
				return
			}
		}
	}
}
