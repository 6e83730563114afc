package engine_test

import (
	"context"
	"fmt"
	"testing"

	"proviso.dev/proviso/engine"
)

// An archive is one file, and a ! in a name makes none.
func TestFilesWithoutPolicyAreCountedByArchive(t *testing.T) {
	in := inspectFunc(func(yield func(*engine.Subject, error) bool) {
		for _, file := range []string{"m!x/a.yaml", "m!x/b.yaml", "m!x/b.tar.gz!pods/a!b.json", "m!x/b.tar.gz!pods/c.json"} {
			yield(&engine.Subject{APIVersion: "v1", Kind: "Pod", Origin: engine.Origin{Position: engine.Position{File: file}}}, nil)
		}
	})
	r := newSet(t, engine.Policy{}).Run(context.Background(), in, nil, engine.Header{})
	for range r.Results {
	}
	if got := fmt.Sprint(r.Trailer().Coverage.FirstFiles); got != "[m!x/a.yaml m!x/b.yaml m!x/b.tar.gz]" {
		t.Errorf("files without a policy: %s", got)
	}
}
