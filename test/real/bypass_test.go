//go:build unix

package real

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// bypasses is one file of testdata/bypass: ways around the webhook, as requests to the API server.
type bypasses struct {
	// Setup are objects made before anything is denied, and Deleted the paths then deleted.
	Setup    []map[string]any
	Deleted  []string
	Attempts []attempt
}

// attempt is one request, and what must become of it.
type attempt struct {
	Name string
	// Guard is the rule of reference/reliability.md that it tries, and what of ours stands there.
	Guard string
	request
	// First are requests that must succeed right before it.
	First []request
	Want  outcome
	// Left are paths whose objects must be there afterwards.
	Left []string
	// Without is the guard that, taken away, lets the request in: a policy's id, or one of weaknesses. It is empty where the
	// guard is code that no setting turns off, and where the request is let in.
	Without string
}

// request is what is sent, byte by byte.
type request struct {
	// As is the user, a person where empty. Nobody here lacks a right: what is denied, admission denies.
	As           string
	Method, Path string
	Type         string
	Query        map[string]string
	// Body is sent as JSON, or as it is where it is text. PAD1000 stands for a thousand letters in it, and PAD1000< for as many
	// signs that JSON may write as six.
	Body any
}

// outcome is one of three; Denied and Warned hold what must be said. Refused is a denial that is the API server's own.
type outcome struct {
	Denied, Warned, Refused string
	Admitted                bool
}

// answered is what the API server said.
type answered struct {
	code     int
	body     string
	warnings []string
}

// check is what is wrong with an answer.
func (o outcome) check(a answered) error {
	const ours = `proviso.dev" denied the request`
	said := strings.Join(a.warnings, "\n")
	let := a.code < 300
	ok := false
	switch {
	case o.Denied != "":
		ok = !let && strings.Contains(a.body, ours) && strings.Contains(a.body, o.Denied)
	case o.Refused != "":
		ok = !let && !strings.Contains(a.body, ours) && strings.Contains(a.body, o.Refused)
	case o.Warned != "":
		ok = let && strings.Contains(said, o.Warned)
	case o.Admitted:
		ok = let && !strings.Contains(said, "proviso")
	}
	if ok {
		return nil
	}
	return fmt.Errorf("want %+v, got %d: %.2000s\nwarnings: %s", o, a.code, a.body, said)
}

var padding = regexp.MustCompile(`PAD([0-9]+)(<?)`)

func (g *guarded) send(ctx context.Context, r request, dry bool) (answered, error) {
	config, err := clientcmd.BuildConfigFromFlags("", g.kubeconfig)
	if err != nil {
		return answered{}, err
	}
	user := r.As
	if user == "" {
		user = "ann"
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return answered{}, err
	}
	query := url.Values{}
	for k, v := range r.Query {
		query.Set(k, v)
	}
	if dry {
		query.Set("dryRun", "All")
	}
	body, isText := r.Body.(string)
	if !isText && r.Body != nil {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(r.Body); err != nil {
			return answered{}, err
		}
		body = b.String()
	}
	body = padding.ReplaceAllStringFunc(body, func(text string) string {
		var n int
		_, _ = fmt.Sscanf(text, "PAD%d", &n)
		if strings.HasSuffix(text, "<") {
			return strings.Repeat("<", n)
		}
		return strings.Repeat("x", n)
	})
	req, err := http.NewRequestWithContext(ctx, r.Method, config.Host+r.Path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	if r.Type == "" {
		r.Type = "application/json"
	}
	req.Header.Set("Content-Type", r.Type)
	req.Header.Set("Accept", "application/json")
	got, err := client.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return answered{}, err
	}
	var status struct{ Kind, Message string }
	if json.Unmarshal(text, &status) == nil && status.Kind == "Status" && status.Message != "" {
		text = []byte(status.Message) // unescaped
	}
	return answered{got.StatusCode, string(text), got.Header.Values("Warning")}, nil
}

// weaknesses are guards taken out of the webhook configuration.
var weaknesses = map[string]func(webhook map[string]any){
	"matchPolicy Equivalent": func(w map[string]any) { w["matchPolicy"] = "Exact" },
	"rules of subresources":  withoutResources(func(name string) bool { return strings.Contains(name, "/") }),
	"rules of DELETE":        withoutOperation("DELETE"),
	"rules of UPDATE":        withoutOperation("UPDATE"),
	"rules of CREATE":        withoutOperation("CREATE"),
	"a selector by a name that the API server keeps": func(w map[string]any) {
		w["namespaceSelector"] = map[string]any{"matchExpressions": []any{map[string]any{"key": "proviso.dev/ignore", "operator": "DoesNotExist"}}}
	},
	"no objectSelector": func(w map[string]any) {
		w["objectSelector"] = map[string]any{"matchExpressions": []any{map[string]any{"key": "proviso.dev/ignore", "operator": "DoesNotExist"}}}
	},
}

func withoutResources(out func(name string) bool) func(map[string]any) {
	return func(w map[string]any) {
		for _, r := range w["rules"].([]any) {
			rule := r.(map[string]any)
			rule["resources"] = slices.DeleteFunc(rule["resources"].([]any), func(name any) bool { return out(name.(string)) })
		}
	}
}

func withoutOperation(name string) func(map[string]any) {
	return func(w map[string]any) {
		w["rules"] = slices.DeleteFunc(w["rules"].([]any), func(r any) bool {
			rule := r.(map[string]any)
			left := slices.DeleteFunc(rule["operations"].([]any), func(o any) bool { return o == name })
			rule["operations"] = left
			return len(left) == 0
		})
	}
}

// TestRealBypass tries the corpus of testdata/bypass on the API server, and then, one guard after the other taken away, that
// it was this guard that kept the request out.
func TestRealBypass(t *testing.T) {
	g := admission(t)
	corpus := readBypasses(t)
	defer g.kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-f", "testdata/admission") // the versions as they were
	g.prepare(t, corpus)
	for _, file := range slices.Sorted(maps.Keys(corpus)) {
		for _, a := range corpus[file].Attempts {
			t.Run(file+"/"+a.Name, func(t *testing.T) { g.attempt(t, a) })
		}
	}
	if t.Failed() {
		return // what was let in is not there to be tried again
	}
	byGuard := map[string][]attempt{}
	for _, file := range slices.Sorted(maps.Keys(corpus)) {
		for _, a := range corpus[file].Attempts {
			if a.Without != "" {
				byGuard[a.Without] = append(byGuard[a.Without], a)
			}
		}
	}
	for _, guard := range slices.Sorted(maps.Keys(byGuard)) {
		t.Run("without "+guard, func(t *testing.T) { g.without(t, guard, byGuard[guard]) })
	}
}

// without demands that attempts get past all other guards once theirs is taken away, and not when it stands again.
func (g *guarded) without(t *testing.T, guard string, attempts []attempt) {
	try := func(a attempt, what string, check func(answered) error) {
		t.Helper()
		until(t, 10*time.Second, a.Name+what, func(context.Context) error {
			got, err := g.send(t.Context(), a.request, true)
			if err != nil {
				return err
			}
			return check(got)
		})
	}
	restore := g.weaken(t, guard)
	defer func() {
		restore()
		try(attempts[0], " to be stopped again", attempts[0].Want.check)
	}()
	for _, a := range attempts {
		try(a, " to get past the other guards", func(got answered) error {
			if a.Want.check(got) == nil || got.code >= 300 {
				return fmt.Errorf("%d: %s", got.code, got.body)
			}
			return nil
		})
	}
}

func readBypasses(t testing.TB) map[string]bypasses {
	t.Helper()
	files, err := filepath.Glob("testdata/bypass/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("read the corpus: %d files, %v", len(files), err)
	}
	all := map[string]bypasses{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c bypasses
		if err := yaml.UnmarshalStrict(text, &c); err != nil {
			t.Fatalf("parse %s: %v", file, err)
		}
		for _, a := range c.Attempts {
			_, isWeakness := weaknesses[a.Without]
			_, err := os.Stat(filepath.Join("../../policies", a.Without, "policy.yaml"))
			if a.Name == "" || !strings.HasPrefix(a.Guard, "ADM-") || a.Without != "" && !isWeakness && err != nil {
				t.Fatalf("parse %s: attempt %q: want a name, a guard ADM-…, and without naming a policy or one of weaknesses", file, a.Name)
			}
		}
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = c
	}
	return all
}

// prepare makes the objects of the corpus while nothing is denied.
func (g *guarded) prepare(t *testing.T, corpus map[string]bypasses) {
	t.Helper()
	abroad := bsl("bypass-abroad", "us-east-1", "")
	g.writeProfile(t, strings.Replace(guardProfile, "mode: deny", "mode: warn\nunknown: warn", 1))
	defer func() {
		g.writeProfile(t, guardProfile)
		until(t, 30*time.Second, "denials", func(context.Context) error {
			if out, ok := g.try(t, abroad, "apply", "--dry-run=server", "-f", "-"); ok {
				return fmt.Errorf("admitted: %s", out)
			}
			return nil
		})
	}()
	until(t, 30*time.Second, "nothing to be denied", func(context.Context) error {
		if out, ok := g.try(t, abroad, "apply", "--dry-run=server", "-f", "-"); !ok {
			return fmt.Errorf("denied: %s", out)
		}
		return nil
	})
	for _, file := range slices.Sorted(maps.Keys(corpus)) {
		c := corpus[file]
		if len(c.Setup) == 0 {
			continue
		}
		list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": c.Setup})
		if err != nil {
			t.Fatal(err)
		}
		g.kubectl(t, string(list), "apply", "--server-side", "--force-conflicts", "-f", "-")
		for _, path := range c.Deleted {
			if got, err := g.send(t.Context(), request{Method: http.MethodDelete, Path: path}, false); err != nil || got.code >= 300 {
				t.Fatalf("delete %s: %v: %+v", path, err, got)
			}
		}
	}
	g.kubectl(t, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
}

var decisionID = regexp.MustCompile(`decision ([0-9a-f-]{36})`)

func (g *guarded) attempt(t *testing.T, a attempt) {
	for _, r := range a.First {
		if got, err := g.send(t.Context(), r, false); err != nil || got.code >= 300 {
			t.Fatalf("%s %s: %v: %+v", r.Method, r.Path, err, got)
		}
	}
	got, err := g.send(t.Context(), a.request, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Want.check(got); err != nil {
		t.Errorf("%s\n%s %s: %v", a.Guard, a.Method, a.Path, err)
	}
	for _, path := range a.Left {
		if there, err := g.send(t.Context(), request{Method: http.MethodGet, Path: path}, false); err != nil || there.code != http.StatusOK {
			t.Errorf("%s is gone: %v: %+v", path, err, there)
		}
	}
	if found := decisionID.FindStringSubmatch(got.body); found != nil && a.Want.Denied != "" {
		log, err := os.ReadFile(g.first.log)
		if err != nil {
			t.Fatal(err)
		}
		recorded, dry := bytes.Contains(log, []byte(found[1])), a.Query["dryRun"] != ""
		if own := strings.Contains(a.Path, "/apis/proviso.dev/"); recorded == dry && !own {
			t.Errorf("decision %s: recorded %v, dry run %v", found[1], recorded, dry)
		}
	}
}

// weaken takes one guard away, and returns what puts it back.
func (g *guarded) weaken(t *testing.T, guard string) (restore func()) {
	t.Helper()
	change, ofConfiguration := weaknesses[guard]
	if !ofConfiguration {
		g.writeProfile(t, guardProfile+"policies: {"+guard+": {disabled: true}}\n")
		return func() { g.writeProfile(t, guardProfile) }
	}
	text := g.kubectl(t, "", "get", "validatingwebhookconfiguration", "proviso", "-o", "json")
	var before, weak struct{ Webhooks []map[string]any }
	if err := errors.Join(json.Unmarshal([]byte(text), &before), json.Unmarshal([]byte(text), &weak)); err != nil {
		t.Fatal(err)
	}
	put := func(webhooks []map[string]any) {
		t.Helper()
		patch, err := json.Marshal([]any{map[string]any{"op": "replace", "path": "/webhooks", "value": webhooks}})
		if err != nil {
			t.Fatal(err)
		}
		g.kubectl(t, "", "patch", "validatingwebhookconfiguration", "proviso", "--type=json", "-p", string(patch))
	}
	for _, w := range weak.Webhooks {
		change(w)
	}
	put(weak.Webhooks)
	return func() { put(before.Webhooks) }
}
