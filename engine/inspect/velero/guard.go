package velero

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const block = 512

// guard stands in front of archive/tar: it looks at every header before archive/tar does, and stops at what could make
// that allocate without bound, or at an archive that ends without saying so.
type guard struct {
	in      *bufio.Reader
	tar     *tar.Reader
	limits  Limits
	pad     int // bytes to the next header
	entries int
	open    bool // the present entry may hold bytes that nobody read
}

func newGuard(r io.Reader, limits Limits) *guard {
	in := bufio.NewReaderSize(r, limits.Header+8*block)
	return &guard{in: in, tar: tar.NewReader(in), limits: limits}
}

// next is the header of the next entry, or io.EOF at the end that the archive itself declares, once everything up to the
// end of the stream was read.
func (g *guard) next() (*tar.Header, error) {
	if g.open {
		// Skipped bytes count like read ones; archive/tar would skip them all the same.
		if _, err := io.Copy(io.Discard, g.tar); err != nil {
			return nil, fmt.Errorf("read tar: %w", err)
		}
		g.open = false
	}
	global, err := g.inspect()
	if err != nil {
		return nil, err
	}
	if g.entries++; g.entries > g.limits.Entries {
		return nil, refuse("%d entries", g.limits.Entries)
	}
	h, err := g.tar.Next()
	if err != nil {
		return nil, fmt.Errorf("read tar: entry %d: %w", g.entries, unexpected(err))
	}
	g.pad = 0
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		g.pad = padding(global)
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
	default:
		g.pad, g.open = padding(h.Size), true
	}
	return h, nil
}

func padding(size int64) int { return int(-size & (block - 1)) }

// inspect looks ahead at the headers of one entry. It gives the size of a global header, which archive/tar does not.
func (g *guard) inspect() (global int64, err error) {
	for at := g.pad; ; {
		head, err := g.in.Peek(at + block)
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return 0, fmt.Errorf("read tar: %w", err)
		case len(head) == at && at == g.pad:
			return 0, fmt.Errorf("read tar: it ends without its end mark: %w", io.ErrUnexpectedEOF)
		default:
			return 0, fmt.Errorf("read tar: it ends within a header: %w", io.ErrUnexpectedEOF)
		}
		head = head[at:]
		if zero(head) {
			if at != g.pad {
				return 0, errors.New("read tar: an extended header belongs to no entry")
			}
			return 0, g.end()
		}
		flag := head[156]
		switch flag {
		case tar.TypeGNUSparse:
			return 0, refuse("0 sparse entries")
		case tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
		default:
			return 0, nil
		}
		size, ok := number(head[124:136])
		if !ok || size > int64(g.limits.Header) || at-g.pad+int(size)+2*block > g.limits.Header+2*block {
			return 0, refuse("%d bytes of extended header", g.limits.Header)
		}
		from := at + block
		at = from + int(size) + padding(size)
		all, err := g.in.Peek(at)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("it ends within a header: %w", io.ErrUnexpectedEOF)
			}
			return 0, fmt.Errorf("read tar: %w", err)
		}
		if bytes.Contains(all[from:], []byte("GNU.sparse.")) {
			return 0, refuse("0 sparse entries")
		}
		if flag == tar.TypeXGlobalHeader {
			return size, nil
		}
	}
}

// end reads what follows a block of zeros: another, and then nothing but zeros.
func (g *guard) end() error {
	_, _ = g.in.Discard(g.pad + block) // both were peeked
	buf := make([]byte, 32<<10)
	seen := 0
	for {
		n, err := g.in.Read(buf)
		if !zero(buf[:n]) {
			return errors.New("read tar: bytes follow the end mark, which no restore reads")
		}
		seen += min(n, block)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
	}
	if seen < block {
		return fmt.Errorf("read tar: it ends within its end mark: %w", io.ErrUnexpectedEOF)
	}
	return io.EOF
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// number reads a size field: octal digits, or base 256 where the highest bit is set.
func number(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		n := int64(field[0] & 0x7f)
		for _, c := range field[1:] {
			if n > 1<<47 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, true
	}
	n := int64(0)
	for _, c := range bytes.Trim(field, " \x00") {
		if c < '0' || c > '7' {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// cleanName is the name Velero's restore would give an entry, and what is odd about the one it has. A name that no
// restore would write, or that must not be used, is an error.
func cleanName(name string, limits Limits) (clean, odd string, err error) {
	switch {
	case len(name) > limits.Name:
		return "", "", refuse("%d bytes of name", limits.Name)
	case !utf8.ValidString(name):
		return "", "", errors.New("refused: its name is not UTF-8")
	case strings.ContainsRune(name, 0):
		return "", "", errors.New("refused: its name holds a zero byte")
	case name == "":
		return "", "", errors.New("refused: it has no name")
	}
	clean = path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) {
		return "", "", errors.New("refused: its path leads out of the archive")
	}
	if clean != strings.TrimSuffix(name, "/") {
		odd = "its path is not clean; Velero's restore reads it as " + clean
	}
	return clean, odd, nil
}

// shown is a stranger's name, fit for a message.
func shown(name string) string {
	const most = 256
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, name)
}
