//go:build unix

package real

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writePolicy writes a policy into a folder of one's own.
func writePolicy(t testing.TB, dir, name, match, more, rego string) {
	t.Helper()
	at := filepath.Join(dir, "governance", name)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"policy.yaml": "title: Made\nseverity: high\nmatch:\n  - " + match + "\nrequires: {spec.provider: string}\n" + more + "controls: []\nfix: Mend it.\n",
		"policy.rego": "package governance." + strings.ReplaceAll(name, "-", "_") + "\n\nimport rego.v1\n\n" + rego,
	} {
		if err := os.WriteFile(filepath.Join(at, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const harmless = "violations contains {\"message\": \"want another\", \"path\": \"spec.provider\"} if input.object.spec.provider == \"none\"\n"

// number is the value of a metric; 0 where there is none yet.
func (r *replica) number(t testing.TB, name string) float64 {
	t.Helper()
	text := r.metric(t, name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What cannot be loaded whole is not loaded: the last good policies stay in force, and a metric rises.
func TestRealServeRefusesHalfAProfile(t *testing.T) {
	g := faulted(t)
	dir := t.TempDir()
	h := &guarded{cluster: g.cluster, profile: filepath.Join(dir, "proviso.yaml")}
	good := guardProfile + "bundles: [builtin]\n"
	h.writeProfile(t, good)
	r, c := h.single(t, "reloading", h)
	set := func() string { return r.metric(t, "proviso_policy_set_info{digest=") }
	const loads, refusals = `proviso_reloads_total{outcome="loaded"}`, `proviso_reloads_total{outcome="refused"}`
	force, refused := set(), 0
	stays := func(what string) {
		t.Helper()
		// Two: the first may be of what stood there before.
		at := r.number(t, refusals)
		until(t, 20*time.Second, what+" to be refused", func(context.Context) error {
			if n := r.number(t, refusals); n < at+2 {
				return fmt.Errorf("%s is %v", refusals, n)
			}
			return nil
		})
		if now := set(); now != force {
			t.Errorf("%s: the policies in force are %s, want %s", what, now, force)
		}
		if allowed, words := c.says(t, someLocation(0, true)); allowed || !strings.Contains(words, "location-region-allowed") {
			t.Errorf("%s: a wrong allow: %s", what, words)
		}
		refused++
	}
	whole := 0
	for k := 0; k < len(good); k += 3 {
		part := good[:k]
		file := filepath.Join(t.TempDir(), "part.yaml")
		if err := os.WriteFile(file, []byte(part), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, _ := proviso(t, nil, "policy", "list", "--profile", file); code == 0 {
			whole++ // a profile by itself, as after the end of a line: nobody can tell
			continue
		}
		h.writeProfile(t, part)
		stays(fmt.Sprintf("the profile cut at byte %d", k))
	}
	for what, text := range map[string]string{
		"YAML that is none":  good + "\t- [",
		"an unknown policy":  good + "policies: {no/such: {mode: deny}}\n",
		"an unknown key":     good + "modes: deny\n",
		"a folder not there": strings.Replace(good, "[builtin]", "[builtin, ./none]", 1),
	} {
		h.writeProfile(t, text)
		stays(what)
	}
	more := strings.Replace(good, "[builtin]", "[builtin, ./more]", 1)
	for what, policy := range map[string]struct{ match, more string }{
		"a kind that is not watched":         {`{group: example.com, kinds: [Thing]}`, ""},
		"a fact of a kind that is not":       {`{group: velero.io, kinds: [BackupStorageLocation]}`, "facts: {nodes: {kind: Node, all: true}}\n"},
		"an operation that is not asked for": {`{group: velero.io, kinds: [VolumeSnapshotLocation], operations: [DELETE]}`, ""},
	} {
		if err := os.RemoveAll(filepath.Join(dir, "more")); err != nil {
			t.Fatal(err)
		}
		rule := harmless
		if policy.more != "" {
			rule = strings.Replace(harmless, "== \"none\"", "== input.facts.nodes[0].metadata.name", 1)
		}
		writePolicy(t, filepath.Join(dir, "more"), "extra", policy.match, policy.more, rule)
		h.writeProfile(t, more)
		stays(what)
		text, err := os.ReadFile(r.log)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if !slices.ContainsFunc(lines[max(0, len(lines)-5):], func(line string) bool { return strings.Contains(line, "is not watched: ") }) {
			t.Errorf("%s: the log does not say what is missing:\n%s", what, lines[len(lines)-1])
		}
		h.writeProfile(t, good)
	}
	// And what is good counts again.
	if err := os.RemoveAll(filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	writePolicy(t, filepath.Join(dir, "more"), "extra", `{group: velero.io, kinds: [BackupStorageLocation]}`, "", harmless)
	before := r.number(t, loads)
	h.writeProfile(t, more)
	until(t, 10*time.Second, "a good profile to be loaded", func(context.Context) error {
		if n := r.number(t, loads); n <= before || set() == force {
			return fmt.Errorf("%s is %v", loads, n)
		}
		return nil
	})
	t.Logf("%d texts refused; %d parts of the profile are profiles by themselves", refused, whole)
}

// p99 is the latency that one of a hundred calls exceeds.
func p99(calls []call) time.Duration {
	all := make([]time.Duration, 0, len(calls))
	for _, c := range calls {
		all = append(all, c.end.Sub(c.begin))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// Policies that run for ever are answered for within the budget, do no harm to requests about other kinds, and leave nothing
// behind.
func TestRealServeLoopingPolicies(t *testing.T) {
	g := faulted(t)
	dir := t.TempDir()
	h := &guarded{cluster: g.cluster, profile: filepath.Join(dir, "proviso.yaml")}
	const rule = `ns := numbers.range(1, 3000)

violations contains {"message": "never", "path": "spec.provider"} if {
	some a in ns
	some b in ns
	some c in ns
	a * b * c == -1
}
`
	for i := range 3 {
		writePolicy(t, filepath.Join(dir, "loops"), fmt.Sprint("loop-", i), `{group: velero.io, kinds: [VolumeSnapshotLocation]}`, "", rule)
	}
	h.writeProfile(t, guardProfile+"bundles: [builtin, "+filepath.Join(dir, "loops")+"]\n")
	r, c := h.single(t, "looping", h)
	l := under(t, 40, c.locations)
	quiet := time.Now().Add(time.Second)
	calls := func(since time.Time, n int) []call {
		t.Helper()
		until(t, time.Minute, "calls about another kind", func(context.Context) error {
			if have := len(l.since(since)); have < n {
				return fmt.Errorf("%d", have)
			}
			return nil
		})
		return l.since(since)
	}
	without := p99(calls(quiet, 400))
	before := r.number(t, "go_goroutines")
	const snapshots = `{"apiVersion":"velero.io/v1","kind":"VolumeSnapshotLocation","metadata":{"namespace":"velero","name":"x"},"spec":{"provider":"aws","config":{"region":"eu-central-1"}}}`
	begin := time.Now()
	loops := under(t, 2, func(i int, _ bool) (bool, error) {
		answer, err := c.review(fmt.Sprint("loop-", i), snapshots)
		if err == nil && answer.Allowed {
			err = errors.New("a wrong allow of what was not judged")
		}
		return err == nil, err
	})
	var most float64
	until(t, 30*time.Second, "the rules to be no longer asked", func(context.Context) error {
		most = max(most, r.number(t, "go_goroutines"))
		asked := time.Now()
		if allowed, words := c.says(t, snapshots); allowed || time.Since(asked) > 500*time.Millisecond || !strings.Contains(words, "is no longer asked") {
			return fmt.Errorf("allowed is %v after %v: %s", allowed, time.Since(asked), words)
		}
		return nil
	})
	quarantined := time.Now()
	beside, after := p99(l.since(begin)), p99(calls(quarantined.Add(time.Second), 400))
	loops.stop()
	var slowest time.Duration
	denied := loops.since(begin)
	for _, one := range denied {
		slowest = max(slowest, one.end.Sub(one.begin))
		if one.err != nil {
			t.Error(one.err)
		}
	}
	if slowest < time.Second || slowest > 4900*time.Millisecond {
		t.Errorf("the slowest looping request took %v, want one that ran into its limit and was answered before the timeout of 5s", slowest)
	}
	if beside > 250*time.Millisecond {
		t.Errorf("p99 of the others is %v beside rules that loop", beside)
	}
	if after > max(3*without, 30*time.Millisecond) {
		t.Errorf("p99 of the others is %v once the rules are no longer asked and %v without, want at most three times that", after, without)
	}
	until(t, 10*time.Second, "what looped to be gone", func(context.Context) error {
		if now := r.number(t, "go_goroutines"); now > before+20 {
			return fmt.Errorf("%v goroutines, %v before", now, before)
		}
		return nil
	})
	t.Logf("%d looping requests, all denied, the slowest after %v; the rules were asked for %v", len(denied), slowest.Round(time.Millisecond), quarantined.Sub(begin).Round(time.Millisecond))
	t.Logf("p99 of the others: %v without, %v while rules loop, %v once they are no longer asked; %v goroutines before, %v at most", without, beside, after, before, most)
	l.check(t, nil)
}

// The API server may ask twice: the same request gets the same answer.
func TestRealServeRepeatedRequest(t *testing.T) {
	g := faulted(t)
	_, c := g.single(t, "repeated", g)
	for _, object := range []string{someLocation(1, true), someLocation(1, false), schedule("daily", "abroad")} {
		var first string
		for i := range 20 {
			answer, err := c.review("the-same", object)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(text)
			}
			if string(text) != first {
				t.Errorf("answer %d is\n%s\nthe first was\n%s", i, text, first)
			}
		}
	}
}
