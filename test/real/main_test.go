//go:build unix

// Package real holds the suites that run against real servers: kube-apiserver with etcd, Velero with its object-store plugin,
// versitygw and MinIO. The servers are built by test/tools and found through PROVISO_TOOLS; without it every suite here is
// skipped by name, with it a server that is not there fails the suite.
package real

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "make the fixture cmd/proviso/samples/velero anew from a backup that Velero makes")

// scratch holds everything the servers write, and their logs. It stays when a suite fails.
var scratch string

// built is the folder of the command under test.
var built = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "proviso")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/proviso").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build proviso: %w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "proviso-real-"); err != nil {
			fmt.Fprintln(os.Stderr, "make scratch folder:", err)
			return 1
		}
		code := m.Run()
		stopAll()
		if code != 0 {
			fmt.Fprintln(os.Stderr, "logs of the servers are kept in", scratch)
			return code
		}
		if err := os.RemoveAll(scratch); err != nil {
			fmt.Fprintln(os.Stderr, "remove scratch folder:", err)
			return 1
		}
		return code
	}())
}

// tool is the path of a binary that test/tools has built. It skips the suite when no real server was asked for, and fails it when one was
// and the binary is not there.
func tool(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("PROVISO_TOOLS")
	if dir == "" {
		t.Skip("needs real servers: run `make test`, or PROVISO_TOOLS=$(go run -C test/tools .) go test ./test/real")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if info, err := os.Stat(path); err != nil {
		t.Fatalf("find tool: %v: build it with `go run -C test/tools .` and set PROVISO_TOOLS to the folder it prints", err)
	} else if info.Mode()&0o111 == 0 {
		t.Fatalf("find tool: %s: not executable: delete the folder and build it again with `go run -C test/tools .`", path)
	}
	return path
}

// run is what a command wrote, once it has ended with exit code 0.
func run(t testing.TB, env []string, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String()
}

// until asks again, ten times a second, until ask returns nil, and fails the test with the last error once the time is over.
func until(t testing.TB, limit time.Duration, what string, ask func(ctx context.Context) error) {
	t.Helper()
	if err := await(t.Context(), limit, ask); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

func await(ctx context.Context, limit time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-tick.C:
		}
	}
}
