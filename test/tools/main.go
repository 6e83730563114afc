//go:build unix

// Command tools builds the real servers that the suites in test/real start, once, into a folder of the user's cache, and prints that
// folder as the last line of standard output. Progress goes to standard error.
//
//	PROVISO_TOOLS=$(go run -C test/tools .) go test ./test/real
//
// What is built is pinned: by this module, by the module in velero, by the lock file in ajv, and by the versions in tool.go. A change of any
// of them, or of the Go version, is another folder, into which the tools that are the same are linked. A build that was cut short goes on
// where it was; nothing half is ever left under a tool's name. Ajv needs node and npm, and is left out, with a word, where they are not.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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
	others string    // a folder of such folders, whose tools may be used; empty where dir was given
	log    io.Writer // progress
}

// build makes what is not there yet.
func (b *builder) build(ctx context.Context) error {
	tools, err := b.tools(ctx)
	if err != nil {
		return err
	}
	if b.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find cache folder: %w: set HOME or XDG_CACHE_HOME, or give -dir", err)
		}
		all := sha256.New()
		for _, t := range tools {
			fmt.Fprintln(all, t.name, t.key)
		}
		b.others = filepath.Join(cache, "proviso-tools")
		b.dir = filepath.Join(b.others, hex.EncodeToString(all.Sum(nil))[:16])
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
	if err := b.clear(tools); err != nil {
		return err
	}
	begin, made := time.Now(), 0
	for i, t := range tools {
		what := fmt.Sprintf("tools: %d of %d: %s", i+1, len(tools), t.name)
		if have, err := t.isIn(b.dir); err != nil {
			return err
		} else if have || b.link(t) {
			continue
		}
		if missing := t.missing(); missing != "" {
			fmt.Fprintf(b.log, "%s: left out, for %s is not here: suites that need it are skipped\n", what, missing)
			continue
		}
		if made++; made == 1 {
			fmt.Fprintf(b.log, "tools: building into %s; on a machine that never built them this takes about twenty minutes\n", b.dir)
		}
		if err := b.make(ctx, t, what); err != nil {
			return err
		}
	}
	if made > 0 {
		fmt.Fprintf(b.log, "tools: %d built in %.0f s\n", made, time.Since(begin).Seconds())
	}
	return nil
}

// Names of the builder's own in the folder of the tools.
const (
	unfinished = ".unfinished-"
	keyPrefix  = ".key-" // and the tool's name: what the tool there was made from
	lockName   = ".lock"
)

// clear takes away what an interrupted build left, and tools that were made from something else.
func (b *builder) clear(tools []tool) error {
	left, err := filepath.Glob(filepath.Join(b.dir, unfinished+"*"))
	if err != nil {
		return err
	}
	for _, t := range tools {
		if have, err := t.isIn(b.dir); err != nil {
			return err
		} else if !have {
			left = append(left, t.keyFile(b.dir), filepath.Join(b.dir, t.name))
		}
	}
	for _, name := range left {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("clear folder of the tools: %w", err)
		}
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
