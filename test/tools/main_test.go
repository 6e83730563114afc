//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pretendGo puts a go command first in PATH that writes what it was asked to build, after a look at two files:
// it fails to build the package named in fail, and waits as long as a file named wait is there.
func pretendGo(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/sh
here=` + dir + `
echo "$@" >>$here/calls
if [ "$1" = list ]; then echo v1.2.3; exit; fi
for last; do :; done
if [ "$1" = install ]; then out=$GOBIN/$(basename "${last%@*}"); else
  while [ "$1" != -o ]; do shift; done; out=$2
fi
echo half >"$out"
while [ -e $here/wait ]; do sleep 0.05; done
if [ -e $here/fail ] && [ "$(cat $here/fail)" = "$last" ]; then echo "dial tcp: no route to host" >&2; exit 1; fi
echo "$last" >"$out"
`
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return dir
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

const all = "etcd kube-apiserver kube-controller-manager kubectl minio plugins/velero-plugin-for-aws velero velero-selects versitygw"

func TestBuildOnce(t *testing.T) {
	pretend := pretendGo(t)
	dir := filepath.Join(t.TempDir(), "tools")
	for round, want := range []int{9, 0} {
		if err := os.RemoveAll(filepath.Join(pretend, "calls")); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if err := (&builder{source: ".", dir: dir, log: &log}).build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(files(t, dir), " "); got != all {
			t.Errorf("round %d: built %s, want %s", round, got, all)
		}
		calls, err := os.ReadFile(filepath.Join(pretend, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(calls), "build ") + strings.Count(string(calls), "install "); got != want {
			t.Errorf("round %d: %d calls to build, want %d", round, got, want)
		}
		if want > 0 && !strings.Contains(log.String(), "tools: 9 of 9: minio") {
			t.Errorf("no progress in %q", log.String())
		}
	}
}

func TestOtherSources(t *testing.T) {
	pretendGo(t)
	dir := t.TempDir()
	for _, name := range []string{keyFile, "etcd"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&builder{source: ".", dir: dir, log: &bytes.Buffer{}}).build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "etcd")); err != nil || string(text) == "old" {
		t.Errorf("etcd of other sources is still there: %q, %v", text, err)
	}
}

func TestFailedBuild(t *testing.T) {
	pretend := pretendGo(t)
	if err := os.WriteFile(filepath.Join(pretend, "fail"), []byte("k8s.io/kubernetes/cmd/kubectl"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err := (&builder{source: ".", dir: dir, log: &bytes.Buffer{}}).build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "build kubectl: exit status 1: dial tcp: no route to host: ") {
		t.Errorf("error %v does not say what failed", err)
	}
	if got := strings.Join(files(t, dir), " "); got != "etcd kube-apiserver" {
		t.Errorf("folder holds %s, want what was built before the failure", got)
	}
}

func TestInterrupted(t *testing.T) {
	pretend := pretendGo(t)
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
	pretend := pretendGo(t)
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
