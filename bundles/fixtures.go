package bundles

import (
	"context"
	"iter"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/manifest"
)

// fixtureSubjects reads an example as lint reads a file. An AdmissionReview stands for the request it holds.
func fixtureSubjects(name string, raw []byte, set *engine.Set) iter.Seq2[*engine.Subject, error] {
	files := &manifest.Files{Paths: []string{"-"}, Stdin: raw, StdinName: name, Operation: engine.Create, Misspelt: set.Misspelt}
	return func(yield func(*engine.Subject, error) bool) {
		for sub, err := range files.Inspect(context.Background()) {
			if sub != nil && sub.Kind == "AdmissionReview" && sub.Group() == "admission.k8s.io" {
				sub = requested(sub)
			}
			if !yield(sub, err) {
				return
			}
		}
	}
}

// requested is the subject of an admission request, as the API server sends it.
func requested(review *engine.Subject) *engine.Subject {
	part := func(of map[string]any, key string) map[string]any {
		m, _ := of[key].(map[string]any)
		return m
	}
	request := part(review.Object, "request")
	sub := &engine.Subject{Object: part(request, "object"), Old: part(request, "oldObject"), User: part(request, "userInfo"), Origin: review.Origin}
	sub.Operation, _ = request["operation"].(string)
	root := "request.object."
	if len(sub.Object) == 0 {
		root, sub.Object = "request.oldObject.", sub.Old
	}
	sub.APIVersion, _ = sub.Object["apiVersion"].(string)
	sub.Kind, _ = sub.Object["kind"].(string)
	meta := part(sub.Object, "metadata")
	sub.Namespace, _ = meta["namespace"].(string)
	sub.Name, _ = meta["name"].(string)
	if locate := review.Origin.Locate; locate != nil {
		sub.Origin.Locate = func(path string) engine.Position { return locate(root + path) }
	}
	return sub
}

// newFixtureFacts answers facts from the example itself, which is its own snapshot too: a typed list in it is complete.
func newFixtureFacts(raw []byte, set *engine.Set) engine.FactSource {
	return manifest.NewFacts([]string{"-"}, []string{"-"}, raw, set.FactKinds())
}
