package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// figures is what the child answers: one line of JSON, numbers and names of providers only.
type figures struct {
	// Problem is why the database could not be read; then nothing else counts but Consistent.
	Problem    string   `json:"problem,omitempty"`
	Consistent *bool    `json:"consistent,omitempty"`
	Unchecked  string   `json:"unchecked,omitempty"`
	Revision   int64    `json:"revision"`
	Keys       int64    `json:"keys"`
	Secrets    *secrets `json:"secrets,omitempty"`
}

type secrets struct {
	Total     int64            `json:"total"`
	Encrypted int64            `json:"encrypted"`
	Providers map[string]int64 `json:"providers"`
}

const (
	// maxAnswer is far more than an honest child says.
	maxAnswer = 16 << 10
	// grace is how long a child that was killed may keep its output open.
	grace = 2 * time.Second
)

var provider = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// ask runs the child. What it says is believed only if it ended well and said exactly one thing that can be true.
func (f *File) ask(ctx context.Context) (*figures, error) {
	self := f.Self
	if self == nil {
		program, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("start child: %w", err)
		}
		self = []string{program, Verb}
	}
	memory, timeout := f.Memory, f.Timeout
	if memory <= 0 {
		memory = defaultMemory
	}
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	argv := append(self[:len(self):len(self)], f.Path, strconv.FormatInt(memory, 10), (timeout / 2).String())
	cmd := exec.CommandContext(timed, argv[0], argv[1:]...)
	cmd.Env = []string{"GOTRACEBACK=none"}
	cmd.WaitDelay = grace
	// What a crash prints may hold what the database holds, so nobody reads the child's standard error. Its standard input
	// is never written to: that it ends tells the child that we have.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	// A grandchild may hold the output open after the child was killed.
	stop := context.AfterFunc(timed, func() { time.AfterFunc(grace, func() { out.Close() }) }) //nolint:errcheck // it only ends the read
	answer, readErr := io.ReadAll(io.LimitReader(out, maxAnswer+1))
	stop()
	if len(answer) > maxAnswer {
		cancel()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(answer) > maxAnswer:
		return nil, errors.New("the child that reads it says more than it should (the file may be damaged)")
	case timed.Err() != nil:
		return nil, fmt.Errorf("it takes longer than %v (the file may be damaged; else give it more time)", timeout)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("the child that reads it ended with %s (the file is damaged, or needs more memory than %d MiB)", exit.ProcessState, memory>>20)
	case err != nil:
		return nil, fmt.Errorf("run child: %w", err)
	case readErr != nil:
		return nil, fmt.Errorf("run child: %w", readErr)
	}
	return parse(answer)
}

func parse(answer []byte) (*figures, error) {
	var told figures
	if err := json.Unmarshal(answer, &told); err != nil {
		return nil, errors.New("the child that reads it gave no answer that can be read (the file may be damaged)")
	}
	sane := told.Revision >= 0 && told.Keys >= 0
	if s := told.Secrets; s != nil {
		var sum int64
		for name, n := range s.Providers {
			sane = sane && n > 0 && n <= s.Encrypted && provider.MatchString(name)
			sum += n
		}
		sane = sane && s.Total >= 0 && s.Total <= told.Keys && sum == s.Encrypted && s.Encrypted <= s.Total
	}
	if !sane {
		return nil, errors.New("the child that reads it gave an answer that cannot be true (the file may be damaged)")
	}
	return &told, nil
}

// into writes what was told into the artifact; what was not told is left out, and is the error.
func (t *figures) into(object map[string]any) error {
	if t.Consistent != nil {
		object["consistent"] = *t.Consistent
	}
	if t.Problem != "" {
		return errors.New(t.Problem)
	}
	object["revision"], object["keys"] = t.Revision, t.Keys
	if s := t.Secrets; s != nil {
		providers := map[string]any{}
		for name, n := range s.Providers {
			providers[name] = n
		}
		object["secrets"] = map[string]any{"total": s.Total, "encrypted": s.Encrypted, "providers": providers}
		if s.Total > 0 {
			object["encryptedRatio"] = float64(s.Encrypted) / float64(s.Total)
		}
	}
	switch {
	case t.Unchecked != "":
		return errors.New(t.Unchecked)
	case t.Secrets == nil:
		return errors.New("it holds no keys where Kubernetes keeps its own (/registry/…), so nothing can be said of Secrets")
	}
	return nil
}
