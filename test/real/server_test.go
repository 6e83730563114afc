//go:build unix

package real

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stops ends what was started, the last first.
var stops struct {
	sync.Mutex
	list []func()
}

func atEnd(stop func()) {
	stops.Lock()
	defer stops.Unlock()
	stops.list = append(stops.list, stop)
}

func stopAll() {
	stops.Lock()
	defer stops.Unlock()
	for i := len(stops.list) - 1; i >= 0; i-- {
		stops.list[i]()
	}
	stops.list = nil
}

// server is a process that runs until the suites have ended.
type server struct {
	name    string
	log     string
	process *os.Process
	done    chan struct{}
	err     error // why it ended, once done is closed
}

// start runs a server with no environment but env; what it writes goes to a log of its own.
func start(name string, env []string, bin string, args ...string) (*server, error) {
	s := &server{name: name, log: filepath.Join(scratch, name+".log"), done: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	home := filepath.Join(scratch, name+".home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, log, log
	cmd.Args[0] = filepath.Base(bin) // Velero writes how it was called into every log: no path of this machine belongs into a fixture
	path := filepath.Dir(bin) + string(filepath.ListSeparator) + os.Getenv("PATH")
	cmd.Env = append([]string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + path, "AWS_EC2_METADATA_DISABLED=true"}, env...)
	cmd.SysProcAttr = withParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.process = cmd.Process
	go func() {
		s.err = cmd.Wait()
		log.Close()
		close(s.done)
	}()
	atEnd(func() {
		if cmd.Process.Signal(syscall.SIGTERM) != nil {
			return
		}
		select {
		case <-s.done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-s.done
		}
	})
	return s, nil
}

// ready waits until ask returns nil; a server that has ended is not waited for.
func (s *server) ready(limit time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-s.done:
			cancel(errors.New("it has ended"))
		case <-ctx.Done():
		}
	}()
	err := await(ctx, limit, ask)
	if err == nil {
		return nil
	}
	text, _ := os.ReadFile(s.log)
	return fmt.Errorf("start %s: %w: %s", s.name, errors.Join(err, context.Cause(ctx)), text[max(0, len(text)-2000):])
}

// freeAddress is a loopback address nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
