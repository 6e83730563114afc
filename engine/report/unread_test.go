package report_test

import (
	"errors"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// What was named as a provider's export and is not understood is told in words of its own, without being asked for; a
// document among manifests is only counted.
func TestWhatIsNoExport(t *testing.T) {
	other := func(source, file string) error {
		return &engine.Unread{Source: source, Position: engine.Position{File: file, Line: 1, Column: 1}, Kind: engine.NotManifest, Err: errors.New("it is no such thing")}
	}
	in := steps{other("cloud:exports", "exports/a.json"), other("deploy", "deploy/values.yaml"), other("bucket:b", "b/c.json")}
	for name, want := range map[string]string{
		"text": "not understood: exports/a.json:1:1: it is no such thing\nnot understood: b/c.json:1:1: it is no such thing\n1 document is no Kubernetes object (--all names them)\n",
		"github": "::warning file=exports/a.json,line=1,col=1,title=not understood::exports/a.json:1:1: it is no such thing\n" +
			"::warning file=b/c.json,line=1,col=1,title=not understood::b/c.json:1:1: it is no such thing\n",
	} {
		f, _ := report.Lookup(name)
		if got := written(t, f, run(t, policies(), nil, in), report.Options{}); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
