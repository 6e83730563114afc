//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// tool is one binary, or a folder of scripts. It is a package of the module in a folder below this one, a command at a version of its own,
// or what a lock file of npm names.
type tool struct {
	name    string
	module  string // folder of the module, relative to this one
	pkg     string
	version string // of a command that is no part of a module here
	stamp   string // variables the linker sets
	npm     string // folder of the lock file, relative to this one
	key     string // names everything it is made from
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
	tools := []tool{
		{name: "etcd", module: ".", pkg: "go.etcd.io/etcd/server/v3"},
		{name: "kube-apiserver", module: ".", pkg: "k8s.io/kubernetes/cmd/kube-apiserver", stamp: k8s},
		{name: "kubectl", module: ".", pkg: "k8s.io/kubernetes/cmd/kubectl", stamp: k8s},
		{name: "kube-controller-manager", module: ".", pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", stamp: k8s},
		{name: "velero", module: "velero", pkg: "github.com/vmware-tanzu/velero/cmd/velero", stamp: " -X github.com/vmware-tanzu/velero/pkg/buildinfo.Version=" + velero},
		{name: "plugins/velero-plugin-for-aws", module: "velero", pkg: "github.com/vmware-tanzu/velero-plugin-for-aws/velero-plugin-for-aws"},
		{name: "velero-selects", module: "velero", pkg: "./selects"},
		{name: "versitygw", pkg: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0"},
		{name: "minio", pkg: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c"},
		// The judges of evidence.
		{name: "fsck", pkg: "github.com/transparency-dev/tessera/cmd/fsck", version: "v1.0.4"},
		{name: "cosign2", pkg: "github.com/sigstore/cosign/v2/cmd/cosign", version: "v2.6.5"},
		{name: "cosign3", pkg: "github.com/sigstore/cosign/v3/cmd/cosign", version: "v3.1.3"},
		{name: "ajv", npm: "ajv"},
	}
	for i := range tools {
		if tools[i].key, err = b.keyOf(tools[i]); err != nil {
			return nil, err
		}
	}
	return tools, nil
}

// keyOf names everything a tool is made from.
func (b *builder) keyOf(t tool) (string, error) {
	var patterns []string
	switch {
	case t.npm != "":
		patterns = []string{t.npm + "/*.json", t.npm + "/*.mjs"}
	case t.version == "":
		patterns = []string{t.module + "/go.mod", t.module + "/go.sum"}
		if strings.HasPrefix(t.pkg, "./") {
			patterns = append(patterns, filepath.Join(t.module, t.pkg, "*.go"))
		}
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", append(t.arguments(), environment()...))
	if t.npm == "" {
		fmt.Fprintln(sum, runtime.Version())
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(b.source, pattern))
		if err != nil {
			return "", err
		}
		if len(found) == 0 {
			return "", fmt.Errorf("read what %s is made from: no file %s: run it as `go run -C test/tools .`", t.name, pattern)
		}
		for _, file := range found {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("read what %s is made from: %w", t.name, err)
			}
			fmt.Fprintf(sum, "%s %d\n%s\n", filepath.Base(file), len(data), data)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// arguments are those of the command that makes the tool, but where it goes.
func (t tool) arguments() []string {
	switch {
	case t.npm != "":
		return []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}
	case t.version != "":
		return []string{"go", "install", "-trimpath", "-ldflags", "-s -w" + t.stamp, t.pkg + "@" + t.version}
	}
	return []string{"go", "build", "-trimpath", "-ldflags", "-s -w" + t.stamp, t.pkg}
}

// environment makes the go command build for this machine, without cgo, whatever the user's says.
func environment() []string {
	return []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH}
}

// missing is a program that the tool needs and this machine has not.
func (t tool) missing() string {
	if t.npm == "" {
		return ""
	}
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}

func (t tool) keyFile(dir string) string {
	return filepath.Join(dir, keyPrefix+strings.ReplaceAll(t.name, "/", "-"))
}

// isIn reports whether the tool is in a folder, made from the same.
func (t tool) isIn(dir string) (bool, error) {
	key, err := os.ReadFile(t.keyFile(dir))
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, t.name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("find tool: %w", err)
	}
	return string(key) == t.key, nil
}
