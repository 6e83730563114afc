//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pretend puts a go command and an npm command first in PATH that write what they were asked to build, after a look at two files:
// they fail to build the package named in fail, and wait as long as a file named wait is there.
func pretend(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
here=` + dir + `
echo "$@" >>$here/calls
if [ "$1" = list ]; then echo v1.2.3; exit; fi
for last; do :; done
case $1 in
install) out=$GOBIN/$(basename "${last%@*}");;
build) while [ "$1" != -o ]; do shift; done; out=$2;;
ci) out=node_modules;;
esac
echo half >"$out"
while [ -e $here/wait ]; do sleep 0.05; done
if [ -e $here/fail ] && [ "$(cat $here/fail)" = "$last" ]; then echo "dial tcp: no route to host" >&2; exit 1; fi
echo "$last" >"$out"
`
	for _, name := range []string{"go", "npm", "node"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"basename", "cat", "sleep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

// calls is how often something was built, and forgets it.
func calls(t *testing.T, pretend string) int {
	t.Helper()
	name := filepath.Join(pretend, "calls")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	lines := "\n" + string(text)
	return strings.Count(lines, "\nbuild ") + strings.Count(lines, "\ninstall ") + strings.Count(lines, "\nci ")
}

// files lists what a user finds in the folder of the tools.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), unfinished) {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

const (
	all = "ajv/node_modules ajv/package-lock.json ajv/package.json ajv/validate.mjs cosign2 cosign3 etcd fsck " +
		"kube-apiserver kube-controller-manager kubectl minio plugins/velero-plugin-for-aws velero velero-selects versitygw"
	count = 13
)

func TestBuildOnce(t *testing.T) {
	pretend := pretend(t)
	dir := filepath.Join(t.TempDir(), "tools")
	for round, want := range []int{count, 0} {
		if err := os.MkdirAll(filepath.Join(dir, unfinished+"killed"), 0o755); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if err := (&builder{source: ".", dir: dir, log: &log}).build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(files(t, dir), " "); got != all {
			t.Errorf("round %d: built %s, want %s", round, got, all)
		}
		if got := calls(t, pretend); got != want {
			t.Errorf("round %d: %d calls to build, want %d", round, got, want)
		}
		if want > 0 && !strings.Contains(log.String(), "tools: 13 of 13: ajv") {
			t.Errorf("no progress in %q", log.String())
		}
	}
}

// Two commands of one name are two tools.
func TestNames(t *testing.T) {
	pretend(t)
	dir := t.TempDir()
	if err := (&builder{source: ".", dir: dir, log: &bytes.Buffer{}}).build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etcd":    "go.etcd.io/etcd/server/v3",
		"cosign2": "github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5",
		"cosign3": "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3",
	} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s is %q, %v, want %s", name, text, err, want)
		}
	}
}

// What a tool is made from names it; the others stay.
func TestOtherSources(t *testing.T) {
	pretend := pretend(t)
	dir := t.TempDir()
	for round, want := range []int{count, 3} {
		if err := (&builder{source: ".", dir: dir, log: &bytes.Buffer{}}).build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := calls(t, pretend); got != want {
			t.Errorf("round %d: %d calls to build, want %d", round, got, want)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "etcd")); err != nil || string(text) == "old" {
			t.Errorf("etcd of other sources is still there: %q, %v", text, err)
		}
		for _, name := range []string{".key-etcd", "etcd", ".key-plugins-velero-plugin-for-aws", ".key-ajv"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A change of one module is another folder; only what comes from that module is built again, and the folder there was stays as it is.
func TestOtherFolder(t *testing.T) {
	pretend := pretend(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	source := t.TempDir()
	if err := os.CopyFS(source, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for round, want := range []int{count, 3 + 1, 1 + 1, 0} { // and Ajv, which is a folder and is made in a second
		b := &builder{source: source, log: &bytes.Buffer{}}
		if err := b.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := calls(t, pretend); got != want {
			t.Errorf("round %d: %d calls to build, want %d", round, got, want)
		}
		if got := strings.Join(files(t, b.dir), " "); got != all {
			t.Errorf("round %d: %s holds %s, want %s", round, b.dir, got, all)
		}
		dirs = append(dirs, b.dir)
		change := map[int]string{0: "velero/go.sum", 1: "velero/selects/main.go"}[round]
		if change == "" {
			continue
		}
		f, err := os.OpenFile(filepath.Join(source, change), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("\n"); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	if dirs[0] == dirs[1] || dirs[1] == dirs[2] || dirs[2] != dirs[3] {
		t.Errorf("folders are %v, want another after each change", dirs)
	}
	if got := strings.Join(files(t, dirs[0]), " "); got != all {
		t.Errorf("the first folder now holds %s", got)
	}
}

func TestWithoutNode(t *testing.T) {
	pretend := pretend(t)
	if err := os.Remove(filepath.Join(pretend, "node")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var log bytes.Buffer
	if err := (&builder{source: ".", dir: dir, log: &log}).build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "tools: 13 of 13: ajv: left out, for node is not here: suites that need it are skipped"; !strings.Contains(log.String(), want) {
		t.Errorf("log %q does not say %q", log.String(), want)
	}
	if _, err := os.Stat(filepath.Join(dir, "ajv")); err == nil {
		t.Error("Ajv is there")
	}
	if got := calls(t, pretend); got != count-1 {
		t.Errorf("%d calls to build, want %d", got, count-1)
	}
}

func TestFailedBuild(t *testing.T) {
	pretend := pretend(t)
	if err := os.WriteFile(filepath.Join(pretend, "fail"), []byte("k8s.io/kubernetes/cmd/kubectl"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "velero"), []byte("of other sources"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := (&builder{source: ".", dir: dir, log: &bytes.Buffer{}}).build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "build kubectl: exit status 1: dial tcp: no route to host: ") {
		t.Errorf("error %v does not say what failed", err)
	}
	if got := strings.Join(files(t, dir), " "); got != "etcd kube-apiserver" {
		t.Errorf("folder holds %s, want what was built before the failure", got)
	}
}

func TestInterrupted(t *testing.T) {
	pretend := pretend(t)
	if err := os.WriteFile(filepath.Join(pretend, "wait"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	log := &signalling{text: "etcd: building", seen: cancel}
	err := (&builder{source: ".", dir: dir, log: log}).build(ctx)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v, want interrupted", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("an interrupted build left %v", got)
	}
}

func TestTwoAtOnce(t *testing.T) {
	pretend := pretend(t)
	wait := filepath.Join(pretend, "wait")
	if err := os.WriteFile(wait, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	started := make(chan struct{})
	first := &signalling{text: "etcd: building", seen: func() { close(started) }}
	second := &signalling{text: "another build holds", seen: func() { os.Remove(wait) }}
	var group sync.WaitGroup
	group.Go(func() {
		if err := (&builder{source: ".", dir: dir, log: first}).build(t.Context()); err != nil {
			t.Error(err)
		}
	})
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := (&builder{source: ".", dir: dir, log: second}).build(ctx); err != nil {
		t.Error(err)
	}
	group.Wait()
	if strings.Contains(second.all.String(), "building") {
		t.Errorf("the second built too: %s", second.all.String())
	}
}

// signalling is a log that calls seen when text is first written to it.
type signalling struct {
	sync.Mutex
	all  bytes.Buffer
	text string
	seen func()
	once sync.Once
}

func (s *signalling) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	s.all.Write(p)
	if strings.Contains(s.all.String(), s.text) {
		s.once.Do(s.seen)
	}
	return len(p), nil
}
