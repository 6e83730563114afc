//go:build unix

// Command tools builds the real servers that the suites in test/real start, once, into a folder of the user's cache, and prints that
// folder as the last line of standard output. Progress goes to standard error.
//
//	PROVISO_TOOLS=$(go run -C test/tools .) go test ./test/real
//
// What is built is pinned: by this module, by the module in velero, and by the versions below. A change of any of them, of this
// source or of the Go version is another folder. A build that was cut short goes on where it was; nothing half is ever left under a tool's name.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", "", "folder to build into, an absolute `path` (default: one named by its contents in the user's cache folder)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &builder{source: ".", dir: *dir, log: os.Stderr}
	err := b.build(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
	fmt.Println(b.dir)
}

// builder makes the tools.
type builder struct {
	source string    // the folder of this module
	dir    string    // where the tools go; empty until build has chosen it
	log    io.Writer // progress
}

// tool is one binary. Either it is a package of the module in a folder below this one, or it is a command at a version of its own.
type tool struct {
	name    string
	module  string // folder of the module, relative to this one
	pkg     string
	version string // of a command that is no part of a module here
	stamp   string // variables the linker sets
}

// tools are the binaries by their names below the folder, the ones that take longest not first: who waits sees progress early.
func (b *builder) tools(ctx context.Context) ([]tool, error) {
	kubernetes, err := b.goList(ctx, ".", "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	velero, err := b.goList(ctx, "velero", "github.com/vmware-tanzu/velero")
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(strings.TrimPrefix(kubernetes, "v"), ".", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("read version of k8s.io/kubernetes: %q is not vX.Y.Z: mend go.mod", kubernetes)
	}
	// Without these the servers call themselves v0.0.0-master, and compatibility code reads it.
	const p = " -X k8s.io/component-base/version."
	k8s := p + "gitVersion=" + kubernetes + p + "gitMajor=" + parts[0] + p + "gitMinor=" + parts[1] +
		p + "gitTreeState=clean" + p + "buildDate=1970-01-01T00:00:00Z"
	return []tool{
		{name: "etcd", module: ".", pkg: "go.etcd.io/etcd/server/v3"},
		{name: "kube-apiserver", module: ".", pkg: "k8s.io/kubernetes/cmd/kube-apiserver", stamp: k8s},
		{name: "kubectl", module: ".", pkg: "k8s.io/kubernetes/cmd/kubectl", stamp: k8s},
		{name: "kube-controller-manager", module: ".", pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", stamp: k8s},
		{name: "velero", module: "velero", pkg: "github.com/vmware-tanzu/velero/cmd/velero", stamp: " -X github.com/vmware-tanzu/velero/pkg/buildinfo.Version=" + velero},
		{name: "plugins/velero-plugin-for-aws", module: "velero", pkg: "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws"},
		{name: "velero-selects", module: "velero", pkg: "./selects"},
		{name: "versitygw", pkg: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0"},
		{name: "minio", pkg: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c"},
	}, nil
}

// build makes what is not there yet.
func (b *builder) build(ctx context.Context) error {
	key, err := b.key()
	if err != nil {
		return err
	}
	if b.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find cache folder: %w: set HOME or XDG_CACHE_HOME, or give -dir", err)
		}
		b.dir = filepath.Join(cache, "proviso-tools", key[:16])
	} else if !filepath.IsAbs(b.dir) {
		return fmt.Errorf("open folder %s: not absolute: give -dir a whole path, since go run -C changes the folder", b.dir)
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("make folder of the tools: %w", err)
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	tools, err := b.tools(ctx)
	if err != nil {
		return err
	}
	if err := b.clear(tools, key); err != nil {
		return err
	}
	begin, made := time.Now(), 0
	for i, t := range tools {
		if _, err := os.Stat(filepath.Join(b.dir, t.name)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("find tool: %w", err)
		}
		if made++; made == 1 {
			fmt.Fprintf(b.log, "tools: building into %s; on a machine that never built them this takes about a quarter of an hour\n", b.dir)
		}
		if err := b.make(ctx, t, fmt.Sprintf("tools: %d of %d: %s", i+1, len(tools), t.name)); err != nil {
			return err
		}
	}
	if made > 0 {
		fmt.Fprintf(b.log, "tools: %d built in %.0f s\n", made, time.Since(begin).Seconds())
	}
	return nil
}

// make builds one tool in a folder beside its place and moves it there when it is whole.
func (b *builder) make(ctx context.Context, t tool, what string) error {
	begin := time.Now()
	temp, err := os.MkdirTemp(b.dir, unfinished)
	if err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	defer os.RemoveAll(temp)
	out := filepath.Join(temp, filepath.Base(t.name))
	args := []string{"build", "-trimpath", "-ldflags", "-s -w" + t.stamp, "-o", out, t.pkg}
	if t.version != "" {
		args = []string{"install", "-trimpath", "-ldflags", "-s -w" + t.stamp, t.pkg + "@" + t.version}
	}
	fmt.Fprintf(b.log, "%s: building\n", what)
	cmd := b.goCommand(ctx, t.module, args...)
	cmd.Env = append(cmd.Env, "GOBIN="+temp)
	cmd.Stdout = b.log
	var said tail
	cmd.Stderr = io.MultiWriter(b.log, &said)
	if err := b.wait(cmd, what, begin); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build %s: interrupted: run it again, what is built stays", t.name)
		}
		return fmt.Errorf("build %s: %w: %s: when a download failed, see that GOPROXY is reachable; run it again, what is built stays", t.name, err, said.last())
	}
	place := filepath.Join(b.dir, t.name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	if err := os.Rename(out, place); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	fmt.Fprintf(b.log, "%s: %.0f s\n", what, time.Since(begin).Seconds())
	return nil
}

// wait runs a command and says every half minute that it still runs.
func (b *builder) wait(cmd *exec.Cmd, what string, begin time.Time) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			fmt.Fprintf(b.log, "%s: building, %.0f s\n", what, time.Since(begin).Seconds())
		}
	}
}

// Names of the builder's own in the folder of the tools.
const (
	unfinished = ".unfinished-"
	keyFile    = ".key"
	lockName   = ".lock"
)

// clear takes away what an interrupted build left, and tools that were built from other sources.
func (b *builder) clear(tools []tool, key string) error {
	left, err := filepath.Glob(filepath.Join(b.dir, unfinished+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clear folder of the tools: %w", err)
		}
	}
	have, err := os.ReadFile(filepath.Join(b.dir, keyFile))
	if err == nil && string(have) == key {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear folder of the tools: %w", err)
	}
	for _, t := range tools {
		if err := os.Remove(filepath.Join(b.dir, t.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear folder of the tools: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(b.dir, keyFile), []byte(key), 0o644); err != nil {
		return fmt.Errorf("clear folder of the tools: %w", err)
	}
	return nil
}

// lock keeps other builds out of the folder until the returned function is called.
func (b *builder) lock(ctx context.Context) (func(), error) {
	name := filepath.Join(b.dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock folder of the tools: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if !said {
			fmt.Fprintf(b.log, "tools: another build holds %s: waiting for it\n", name)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: interrupted while another build held it", name)
		case <-tick.C:
		}
	}
}

// key names everything the tools are made from.
func (b *builder) key() (string, error) {
	names := []string{"go.mod", "go.sum", "velero/go.mod", "velero/go.sum"}
	for _, pattern := range []string{"*.go", "velero/*/*.go"} {
		found, err := filepath.Glob(filepath.Join(b.source, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range found {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			rel, err := filepath.Rel(b.source, file)
			if err != nil {
				return "", err
			}
			names = append(names, rel)
		}
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(b.source, name))
		if err != nil {
			return "", fmt.Errorf("read what the tools are made from: %w: run it as `go run -C test/tools .`", err)
		}
		fmt.Fprintf(sum, "%s %d\n%s\n", filepath.ToSlash(name), len(data), data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// goList is the version of a module in the build list of a module here.
func (b *builder) goList(ctx context.Context, module, path string) (string, error) {
	cmd := b.goCommand(ctx, module, "list", "-m", "-f", "{{.Version}}", path)
	var said tail
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("list version of %s: %w: %s", path, err, said.last())
	}
	return strings.TrimSpace(string(out)), nil
}

// goCommand is a call of the go command for this machine, without cgo, whatever the environment says.
func (b *builder) goCommand(ctx context.Context, module string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.source, module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its own temporary files then
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// tail keeps the end of what a command said.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return lines[len(lines)-1]
}
