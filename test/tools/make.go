//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// make builds one tool in a folder beside its place and moves it there when it is whole.
func (b *builder) make(ctx context.Context, t tool, what string) error {
	begin := time.Now()
	temp, err := os.MkdirTemp(b.dir, unfinished)
	if err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	defer os.RemoveAll(temp)
	out := filepath.Join(temp, filepath.Base(t.name))
	args, from := t.arguments(), filepath.Join(b.source, t.module)
	switch {
	case t.npm != "":
		from = out
		if err := os.CopyFS(out, os.DirFS(filepath.Join(b.source, t.npm))); err != nil {
			return fmt.Errorf("build %s: %w", t.name, err)
		}
	case t.version != "":
		out = filepath.Join(temp, filepath.Base(t.pkg))
	default:
		args = slices.Insert(args, len(args)-1, "-o", out)
	}
	fmt.Fprintf(b.log, "%s: building\n", what)
	cmd := command(ctx, from, args...)
	cmd.Env = append(cmd.Env, "GOBIN="+temp)
	cmd.Stdout = b.log
	var said tail
	cmd.Stderr = io.MultiWriter(b.log, &said)
	if err := b.wait(cmd, what, begin); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("build %s: interrupted: run it again, what is built stays", t.name)
		}
		return fmt.Errorf("build %s: %w: %s: when a download failed, see that the registry (GOPROXY, npm's registry) is reachable; run it again, what is built stays", t.name, err, said.last())
	}
	if err := b.place(t, out); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	fmt.Fprintf(b.log, "%s: %.0f s\n", what, time.Since(begin).Seconds())
	return nil
}

// place moves a tool that is whole to where it is looked for, and then says what it was made from.
func (b *builder) place(t tool, whole string) error {
	place := filepath.Join(b.dir, t.name)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	if err := os.Rename(whole, place); err != nil {
		return err
	}
	return os.WriteFile(t.keyFile(b.dir), []byte(t.key), 0o644)
}

// link takes a tool from a folder of another selection of tools where it was made from the same, and reports whether there was one.
func (b *builder) link(t tool) bool {
	if b.others == "" || t.npm != "" {
		return false
	}
	keys, _ := filepath.Glob(t.keyFile(filepath.Join(b.others, "*")))
	for _, key := range keys {
		dir := filepath.Dir(key)
		if have, err := t.isIn(dir); err != nil || !have {
			continue
		}
		linked := filepath.Join(b.dir, unfinished+filepath.Base(t.name))
		if os.Link(filepath.Join(dir, t.name), linked) == nil && b.place(t, linked) == nil {
			return true
		}
	}
	return false
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

// goList is the version of a module in the build list of a module here.
func (b *builder) goList(ctx context.Context, module, path string) (string, error) {
	cmd := command(ctx, filepath.Join(b.source, module), "go", "list", "-m", "-f", "{{.Version}}", path)
	var said tail
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("list version of %s: %w: %s", path, err, said.last())
	}
	return strings.TrimSpace(string(out)), nil
}

// command is a call of a program that is told to stop, and given time for it, when ctx ends.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment()...)
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
