package velero

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// source reads a stored file and digests what it reads. A file that ends before its listed size is an error.
type source struct {
	r      io.Reader
	size   int64 // as listed
	n      int64
	whole  bool // its end was reached, and is where the listing says
	digest hash.Hash
}

func newSource(r io.Reader, size int64) *source {
	return &source{r: r, size: size, digest: sha256.New()}
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.digest.Write(p[:n])
	s.whole = errors.Is(err, io.EOF) && s.n == s.size
	if errors.Is(err, io.EOF) && !s.whole {
		err = fmt.Errorf("it ends after %d bytes of the %d it is listed with: %w", s.n, s.size, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (s *source) sum() string { return hex.EncodeToString(s.digest.Sum(nil)) }

// ratioWindow is what [Limits.Ratio] is measured over, in steps of ratioStep.
const (
	ratioWindow = 16 << 20
	ratioStep   = 1 << 20
)

// inflater decompresses a gzip file, within the limits. Members are counted here, one by one, so that a million of them
// cost neither stack nor time.
type inflater struct {
	src     *counter
	in      *bufio.Reader
	z       *gzip.Reader
	limits  Limits
	total   int64 // at most this many bytes
	members int
	out     int64
	// marks are how many compressed bytes were taken at each of the last steps.
	marks [ratioWindow/ratioStep + 1]int64
	steps int
}

// counter counts the bytes read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func newInflater(r io.Reader, total int64, limits Limits) *inflater {
	src := &counter{r: r}
	return &inflater{src: src, in: bufio.NewReaderSize(src, 64<<10), limits: limits, total: total}
}

func (f *inflater) Read(p []byte) (int, error) {
	if f.z == nil {
		z, err := gzip.NewReader(f.in)
		if err != nil {
			return 0, fmt.Errorf("decompress: %w", unexpected(err))
		}
		z.Multistream(false)
		f.z, f.members = z, 1
	}
	p = p[:min(len(p), ratioStep)]
	for {
		n, err := f.z.Read(p)
		if n > 0 {
			if bad := f.account(int64(n)); bad != nil {
				return 0, bad
			}
			if errors.Is(err, io.EOF) {
				err = nil // the member's end is met again by the next read
			}
		}
		if n > 0 || err == nil {
			if err != nil {
				err = fmt.Errorf("decompress: %w", err)
			}
			return n, err
		}
		if !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("decompress: %w", err)
		}
		switch err := f.z.Reset(f.in); {
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("decompress: bytes that are no gzip follow: %w", unexpected(err))
		}
		f.z.Multistream(false)
		if f.members++; f.members > f.limits.Members {
			return 0, refuse("%d gzip members", f.limits.Members)
		}
	}
}

func (f *inflater) account(n int64) error {
	f.out += n
	if f.out > f.total {
		return refuse("%d bytes decompressed", f.total)
	}
	for int64(f.steps+1)*ratioStep <= f.out {
		f.steps++
		f.marks[f.steps%len(f.marks)] = f.src.n - int64(f.in.Buffered())
		if f.steps < len(f.marks)-1 {
			continue
		}
		taken := f.marks[f.steps%len(f.marks)] - f.marks[(f.steps+1)%len(f.marks)]
		if taken*f.limits.Ratio < ratioWindow {
			return refuse("ratio %d:1 over %d MiB decompressed", f.limits.Ratio, ratioWindow>>20)
		}
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ahead reads r in a goroutine of its own, so that decompressing and digesting use two processors.
type ahead struct {
	full, free chan *chunk
	stop       chan struct{}
	now        *chunk
	done       sync.WaitGroup
}

type chunk struct {
	buf  []byte
	n, i int
	err  error
}

func readAhead(r io.Reader) *ahead {
	const buffers, size = 4, 256 << 10
	a := &ahead{full: make(chan *chunk, buffers), free: make(chan *chunk, buffers), stop: make(chan struct{})}
	for range buffers {
		a.free <- &chunk{buf: make([]byte, size)}
	}
	a.done.Go(func() {
		for {
			var c *chunk
			select {
			case c = <-a.free:
			case <-a.stop:
				return
			}
			c.i, c.n, c.err = 0, 0, nil
			for c.n < len(c.buf) && c.err == nil {
				var n int
				n, c.err = r.Read(c.buf[c.n:])
				c.n += n
			}
			failed := c.err != nil // c is the reader's once it is sent
			a.full <- c            // never blocks: there are no more chunks than room
			if failed {
				return
			}
		}
	})
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for a.now == nil || a.now.i == a.now.n {
		if a.now != nil {
			if a.now.err != nil {
				return 0, a.now.err
			}
			a.free <- a.now
		}
		a.now = <-a.full
	}
	n := copy(p, a.now.buf[a.now.i:a.now.n])
	a.now.i += n
	return n, nil
}

// close ends the goroutine, once its present read returns.
func (a *ahead) close() {
	close(a.stop)
	a.done.Wait()
}
