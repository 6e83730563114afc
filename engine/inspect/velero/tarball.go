package velero

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// item is one entry of a tarball on its way from the reader, through a decoder, to whoever asked.
type item struct {
	entry string // as shown to people
	place place
	// problem is what is odd about it; refused is set where its contents were not looked at because of that.
	problem string
	refused bool
	// first is set where no copy of the object was met before, twin where the other copy has other bytes, changed where the
	// entry is not what it was when the tarball was read first.
	first, twin, changed bool
	digest               [sha256.Size]byte
	kept                 *record // where it is first
	wanted               bool    // it is to be decoded
	text                 string  // empty where it is not
	object               map[string]any
	err                  error
	ready                chan struct{}
}

// outcome is what reading a tarball to its end told.
type outcome struct {
	sha256       string // of the file; empty where it was not read to its end
	size         int64
	uncompressed int64
	entries      int
	// sequence digests every entry's name, size and contents, in their order.
	sequence [sha256.Size]byte
	err      error
}

// tarball reads a backup's tarball, more than once.
type tarball struct {
	open   func(context.Context) (io.ReadCloser, int64, error)
	limits Limits
	index  *index

	buf  []byte // the present entry's bytes
	line []byte // what is digested of its header
}

// inFlight is how many bytes of entries may wait to be decoded and taken.
const inFlight = 2 << 20

// read streams the entries in order to take, the objects among them decoded; it stops where take says so. The first time
// fills the index, any other time compares with it. Every goroutine it starts has ended when it returns.
func (t *tarball) read(ctx context.Context, again bool, take func(*item) bool) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	todo, order := make(chan *item, 8*workers), make(chan *item, 16*workers)
	room := newRoom(inFlight)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range todo {
				i.decode(t.limits)
			}
		})
	}
	var out outcome
	wg.Go(func() {
		defer close(order)
		defer close(todo)
		out = t.produce(ctx, again, func(i *item) bool {
			i.ready = make(chan struct{})
			if !i.wanted {
				close(i.ready)
			} else {
				room.enter(len(i.text))
				todo <- i
			}
			select {
			case order <- i:
				return true
			case <-ctx.Done():
				return false
			}
		})
	})
	taking := true
	for i := range order {
		<-i.ready
		if taking && !take(i) {
			taking = false
			cancel()
		}
		room.leave(len(i.text))
	}
	wg.Wait()
	return out
}

func (i *item) decode(limits Limits) {
	defer close(i.ready)
	defer func() {
		if p := recover(); p != nil {
			i.object, i.err = nil, errors.New("it cannot be parsed: the parser panicked")
		}
	}()
	i.object, i.err = parse(i.text, limits)
}

func (t *tarball) produce(ctx context.Context, again bool, emit func(*item) bool) (out outcome) {
	file, size, err := t.open(ctx)
	if err != nil {
		out.err = err
		return out
	}
	src := newSource(file, size)
	z := newInflater(src, t.limits.Total, t.limits)
	stream := readAhead(z)
	g := newGuard(stream, t.limits)
	sequence := sha256.New()
	out.err = t.entries(ctx, g, again, sequence, emit)
	if out.err == nil {
		// What an archive says it ends with was reached, and so was the end of the file, or its reader would have said so.
		out.err = ctx.Err()
	}
	stream.close()
	if out.err != nil && !again && ctx.Err() == nil {
		// The file's own digest is worth having even where what is in it is refused.
		_, _ = io.Copy(io.Discard, src)
	}
	_ = file.Close() // nothing was written
	out.size, out.uncompressed, out.entries = src.n, z.out, g.entries
	if src.whole {
		out.sha256 = src.sum()
	}
	sequence.Sum(out.sequence[:0])
	return out
}

func (t *tarball) entries(ctx context.Context, g *guard, again bool, sequence hash.Hash, emit func(*item) bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := g.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t.line = append(strconv.AppendInt(append(t.line[:0], h.Typeflag, ' '), h.Size, 10), ' ')
		t.line = append(strconv.AppendInt(t.line, int64(len(h.Name)), 10), ' ')
		t.line = append(t.line, h.Name...)
		_, _ = sequence.Write(t.line)
		i, err := t.entry(g, h, sequence, again)
		if err != nil {
			return err
		}
		if i != nil && !emit(i) {
			return context.Canceled
		}
	}
}

// entry reads one entry; nil where nothing is to be said of it.
func (t *tarball) entry(g *guard, h *tar.Header, sequence io.Writer, again bool) (*item, error) {
	i := &item{entry: shown(h.Name)}
	name, odd, err := cleanName(h.Name, t.limits)
	switch {
	case err != nil:
		i.problem, i.refused = err.Error(), true
		return i, nil
	case h.Typeflag == tar.TypeDir:
		i.problem = odd
		return i.orNil(), nil
	case h.Typeflag != tar.TypeReg:
		i.problem, i.refused = "refused: it is "+typeName(h.Typeflag)+", which Velero never writes", true
		return i, nil
	case h.Size > t.limits.Entry:
		i.problem, i.refused = refuse("%d bytes of an entry", t.limits.Entry).Error(), true
		return i, nil
	}
	i.entry, i.problem = shown(name), odd
	raw := slices.Grow(t.buf[:0], int(h.Size))[:h.Size]
	t.buf = raw[:0]
	if _, err := io.ReadFull(g.tar, raw); err != nil {
		return nil, fmt.Errorf("read tar: %s: %w", i.entry, unexpected(err))
	}
	i.digest = sha256.Sum256(raw)
	_, _ = sequence.Write(i.digest[:])
	p, ok := parsePlace(name)
	switch {
	case name == "metadata/version":
		return i.orNil(), nil
	case !ok:
		i.problem = "it is no file that Velero writes"
		return i, nil
	}
	i.place = p
	if again {
		t.compare(i, raw)
		return i.orNil(), nil
	}
	return i.orNil(), t.enter(i, raw)
}

// orNil is nil where the item says nothing.
func (i *item) orNil() *item {
	if !i.wanted && i.problem == "" && !i.changed && i.place.key == "" {
		return nil
	}
	return i
}

// enter puts the object into the index.
func (t *tarball) enter(i *item, raw []byte) error {
	r := t.index.find(i.place.key)
	if r == nil {
		r, err := t.index.add(i.place.key, fingerprint(i.digest[:]))
		if err != nil {
			return err
		}
		r.marks = i.place.kind
		i.first, i.kept, i.wanted, i.text = true, r, true, string(raw)
		return nil
	}
	same := r.digest == fingerprint(i.digest[:])
	if r.marks&i.place.kind != 0 {
		if i.problem = "it is there twice"; !same {
			i.problem = "it is there twice, with different contents; Velero's restore takes the last"
		}
	} else if !same {
		i.twin = true
	}
	r.marks |= i.place.kind
	if !same {
		i.wanted, i.text = true, string(raw)
		r.marks |= differs
		if i.place.kind != preferred {
			r.digest = fingerprint(i.digest[:])
		}
	}
	return nil
}

// compare finds whether the entry is what it was, and whether its object is still to be yielded.
func (t *tarball) compare(i *item, raw []byte) {
	r := t.index.find(i.place.key)
	if r == nil || r.marks&differs == 0 && r.digest != fingerprint(i.digest[:]) {
		i.changed = true
		return
	}
	if r.marks&(yielded|differs) != yielded {
		r.marks |= yielded
		i.wanted, i.text = true, string(raw)
	}
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeLink, tar.TypeSymlink:
		return "a link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a pipe"
	case tar.TypeXGlobalHeader:
		return "a global header"
	}
	return fmt.Sprintf("of type %q", flag)
}

// room bounds how many bytes are on their way. One thing that is larger than the room may be there alone.
type room struct {
	mu         sync.Mutex
	free       *sync.Cond
	used, size int
}

func newRoom(size int) *room {
	r := &room{size: size}
	r.free = sync.NewCond(&r.mu)
	return r
}

func (r *room) enter(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.used > 0 && r.used+n > r.size {
		r.free.Wait()
	}
	r.used += n
}

func (r *room) leave(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	r.free.Signal()
}
