// Package test holds what belongs to no one room: the arrows between the rooms, command stories, twins of policies in
// both languages, and whole-path benchmarks. Nobody imports it.
package test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "proviso.dev/proviso/"

// room is one row of the table of rooms: what a room may import of ours, directly, and what it may never reach.
type room struct {
	may   []string
	never []string
}

var (
	languages  = []string{"github.com/open-policy-agent/opa", "github.com/google/cel-go"}
	cluster    = []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	network    = []string{"net/http"}
	everything = []string{"..."}
)

// rooms is the table of rooms. A new room needs a row with a reason.
var rooms = map[string]room{
	"engine":        {never: []string{"net", "os", "log", "log/slog", "github.com/", "k8s.io/", "sigs.k8s.io/", "go.yaml.in/"}},
	"engine/decode": {never: network},
	// Talks to S3; reads only, and never writes to disk.
	"engine/store":     {never: append(cluster, languages...)},
	"engine/region":    {never: network},
	"engine/retention": {may: []string{"engine/schedule"}, never: network},
	"engine/schedule":  {never: network},
	// The functions both languages offer, defined once so that they cannot differ.
	"engine/host":             {may: []string{"engine/region", "engine/retention", "engine/schedule"}, never: append([]string{"net/http"}, languages...)},
	"engine/rego":             {may: []string{"engine", "engine/host"}, never: append([]string{"github.com/google/cel-go"}, cluster...)},
	"engine/cel":              {may: []string{"engine", "engine/host"}, never: append([]string{"github.com/open-policy-agent/opa"}, cluster...)},
	"engine/inspect/manifest": {may: []string{"engine", "engine/decode"}, never: append(network, languages...)},
	// What needs what, and what a Velero schedule selects: questions of more than one inspector, which may not import each other.
	"engine/dependency":     {may: []string{"engine"}, never: append(network, append(cluster, languages...)...)},
	"engine/selection":      {may: []string{"engine"}, never: append(network, append(cluster, languages...)...)},
	"engine/inspect/velero": {may: []string{"engine", "engine/decode", "engine/store"}, never: append(cluster, languages...)},
	"engine/inspect/bucket": {may: []string{"engine", "engine/decode", "engine/store", "engine/exported"}, never: append(cluster, languages...)},
	"engine/inspect/cloud":  {may: []string{"engine", "engine/decode", "engine/store", "engine/exported"}, never: append(cluster, languages...)},
	// What the clouds' own commands print, and the access policies in it, read alike for buckets and for the rest.
	"engine/exported":        {may: []string{"engine", "engine/decode"}, never: append(network, append(cluster, languages...)...)},
	"engine/inspect/etcd":    {may: []string{"engine", "engine/decode"}, never: append(cluster, languages...)},
	"engine/inspect/cluster": {may: []string{"engine", "engine/decode"}, never: languages},
	"engine/inspect/fleet":   {may: []string{"engine", "engine/schedule", "engine/retention", "engine/region", "engine/selection"}, never: append(network, append(cluster, languages...)...)},
	// go-sarif brings a schema validator that can fetch; nothing here calls it.
	"engine/report": {may: []string{"engine"}, never: append(cluster, languages...)},
	"policies":      {never: []string{"net", "os/exec"}},
	"bundles": {may: []string{"engine", "engine/decode", "engine/rego", "engine/cel", "engine/host", "engine/region", "engine/inspect/manifest"},
		never: cluster},
	// Which policies, and in which language, is handed in.
	"webhook": {may: []string{"engine", "engine/decode"}, never: languages},
	// What an auditor reads: the standard library and golang.org/x/mod.
	"evidence": {may: []string{"engine", "engine/decode", "evidence/listing"}, never: append(append(cluster, languages...), "net/http", "github.com/sigstore", "github.com/transparency-dev")},
	// A folder, a tar and a bucket are listed alike, and read each where it lies.
	"evidence/listing": {never: append(network, append(cluster, languages...)...)},
	// The one place for KMS schemes, and the only one that is asked to sign.
	"evidence/cosign": {may: []string{"engine"}, never: languages},
	// Copies what is sealed to S3, and reads it there.
	"evidence/locked": {may: []string{"engine", "engine/store", "evidence", "evidence/listing"}, never: append(cluster, languages...)},
	// Writes what evidence describes; the log is Tessera's.
	"evidence/producer":  {may: []string{"engine", "evidence"}, never: append(cluster, languages...)},
	"cmd/proviso-verify": {may: []string{"evidence"}, never: append(append(cluster, languages...), "net/http", "github.com/sigstore", "github.com/transparency-dev")},
	"cmd/proviso":        {may: everything},
	// Suites on real servers, which `make test` builds.
	"test/real": {may: everything},
	"test":      {may: everything},
}

type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Imports,Deps", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// under reports whether path is prefix or lies below it; a prefix that ends in a slash is any path below.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

func TestArrows(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		row, ok := rooms[name]
		if !ok {
			t.Errorf("%s has no row in the table of rooms: give it one, with a reason", name)
			continue
		}
		seen[name] = true
		for _, imported := range p.Imports {
			own, ours := strings.CutPrefix(imported, module)
			if ours && !slices.Contains(row.may, own) && !slices.Equal(row.may, everything) {
				t.Errorf("%s imports %s, which its row does not allow", name, own)
			}
			if ours && (strings.HasPrefix(own, "cmd/") || own == "test") {
				t.Errorf("%s imports %s, which nobody may", name, own)
			}
		}
		for _, dep := range p.Deps {
			for _, never := range row.never {
				standard := !strings.Contains(strings.SplitN(never, "/", 2)[0], ".")
				if standard && slices.Contains(p.Imports, dep) && dep == never || !standard && under(dep, never) {
					t.Errorf("%s reaches %s, which its row forbids", name, dep)
				}
			}
		}
	}
	for name := range rooms {
		if !seen[name] {
			t.Errorf("the table of rooms has %s, which is not there", name)
		}
	}
}

// The engine is standard library only.
func TestEngineStandsAlone(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != strings.TrimSuffix(module, "/")+"/engine" {
			continue
		}
		for _, dep := range p.Deps {
			if strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") {
				t.Errorf("engine depends on %s", dep)
			}
		}
	}
}
