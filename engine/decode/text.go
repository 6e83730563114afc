package decode

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"unicode/utf8"
)

// Text is one document of a stream, cut out but not yet parsed.
type Text struct {
	// File is the name the stream was given.
	File string
	// Raw is the document's own bytes: without the --- lines around it and without a byte order mark.
	Raw string
	// Line and Column are where Raw starts in the file, both from 1.
	Line, Column int
	// Before are the lines of the comments that stand before the --- line above Raw, where nothing but comments does.
	Before []string

	// ended is Raw with a line end, where Raw has none.
	ended  string
	isJSON bool
	limits Limits
}

// Comments are the comment lines above the document's first value, without the leading "#" and spaces, including those
// before its --- line.
func (t Text) Comments() []string {
	lines := t.Before
	for line := range strings.Lines(t.Raw) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line[0] != '#' {
			break
		}
		lines = append(lines[:len(lines):len(lines)], strings.TrimSpace(strings.TrimLeft(line, "#")))
	}
	return lines
}

// Texts cuts a stream into its documents, reading no further than the one it yields. Like kubectl it ends a YAML document
// at a line that starts with --- and takes JSON objects that follow each other without one. Its errors are of type
// *[Error]; after one it goes on with the next document, unless the stream itself fails or is not UTF-8.
func Texts(r io.Reader, name string, limits Limits) iter.Seq2[Text, error] {
	return func(yield func(Text, error) bool) {
		in := readers.Get().(*bufio.Reader)
		in.Reset(r)
		defer func() {
			in.Reset(nil)
			readers.Put(in)
		}()
		s := &splitter{in: in, file: name, limits: limits.orDefault(), line: 1, yield: yield}
		s.run()
	}
}

// readers are used again, because a folder is many small files.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// splitter holds what was read since the last cut.
type splitter struct {
	in     *bufio.Reader
	file   string
	limits Limits
	yield  func(Text, error) bool

	// line is the number of the line being read; start and column are where buf starts.
	line, start, column int
	buf                 []byte
	// over is set while the rest of a document that is too long is passed by.
	over   bool
	before []string
	// directives is set while buf holds nothing but directives and comments: then --- starts the document.
	directives bool
	json       braces
	// afterJSON is set once a JSON object was cut off the current text: nothing but another may follow.
	afterJSON bool
}

var errStop = errors.New("the reader of the documents wants no more")

func (s *splitter) run() {
	if err := s.encoding(); err != nil {
		s.yield(Text{}, err)
		return
	}
	s.reset()
	for {
		line, err := s.in.ReadSlice('\n')
		whole := err == nil
		if len(line) > 0 {
			if stop := s.add(line); stop != nil {
				return
			}
			// A line longer than the buffer arrives in pieces. Only its first piece can be a separator.
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = s.in.ReadSlice('\n')
				if stop := s.more(line); stop != nil {
					return
				}
			}
		}
		if whole || err == nil {
			s.line++
			continue
		}
		if errors.Is(err, io.EOF) {
			s.cut()
			return
		}
		s.yield(Text{}, &Error{File: s.file, Line: s.line, Err: err})
		return
	}
}

// encoding refuses what is not UTF-8 by its first bytes, and skips a byte order mark.
func (s *splitter) encoding() error {
	head, _ := s.in.Peek(4)
	at := func(b ...byte) bool { return bytes.HasPrefix(head, b) }
	other := ""
	switch {
	case at(0xEF, 0xBB, 0xBF):
		_, _ = s.in.Discard(3)
	case at(0xFF, 0xFE, 0, 0), at(0, 0, 0xFE, 0xFF):
		other = "UTF-32"
	case at(0xFF, 0xFE), at(0xFE, 0xFF), len(head) == 4 && (head[0] == 0 && head[2] == 0 || head[1] == 0 && head[3] == 0) && head[0]|head[1] != 0:
		other = "UTF-16"
	}
	if other != "" {
		return failf(s.file, Position{1, 1}, "read text in %s, want UTF-8 (convert it, for example with iconv -f %s -t UTF-8)", other, other)
	}
	return nil
}

func (s *splitter) reset() {
	s.buf, s.start, s.column = s.buf[:0], s.line, 1
	s.over, s.directives, s.afterJSON = false, false, false
	s.json = braces{}
}

// add takes a line, or the first piece of a long one.
func (s *splitter) add(line []byte) error {
	if bytes.HasPrefix(line, []byte("---")) && !s.directives {
		return s.separator(line)
	}
	if line[0] == '%' && s.onlyComments() {
		s.directives = true
	} else if trimmed := bytes.TrimSpace(line); s.directives && len(trimmed) > 0 && trimmed[0] != '#' && trimmed[0] != '%' {
		s.directives = false
	}
	return s.more(line)
}

func (s *splitter) onlyComments() bool { return len(s.buf) < 4096 && commentsOnly(string(s.buf)) }

func commentsOnly(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

func hasDirective(text string) bool {
	return strings.HasPrefix(text, "%") || strings.Contains(text, "\n%")
}

// separator ends a document at a line that starts with ---.
func (s *splitter) separator(line []byte) error {
	rest := bytes.TrimSpace(line[3:])
	if err := s.cut(); err != nil {
		return err
	}
	s.line++
	s.reset()
	s.line--
	if len(rest) > 0 && rest[0] != '#' {
		if !s.yield(Text{}, failf(s.file, Position{s.line, 1}, "read text behind --- (put it on the next line: kubectl takes only a comment there)")) {
			return errStop
		}
	}
	return nil
}

// more takes a piece of text that is no separator.
func (s *splitter) more(piece []byte) error {
	if s.over {
		return nil
	}
	from, base := len(s.buf), 0
	s.buf = append(s.buf, piece...)
	for {
		rest := s.buf[base:]
		end, closed := s.json.scan(rest, from-base)
		if !closed || end > s.limits.Bytes {
			break
		}
		if !isJSON(rest[:end]) {
			s.json.not = true
			break
		}
		if err := s.emit(rest[:end], true); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(rest[:end], '\n'); i >= 0 {
			s.column = utf8.RuneCount(rest[i+1:end]) + 1
		} else {
			s.column += utf8.RuneCount(rest[:end])
		}
		s.start, s.before = s.line, nil
		base += end
		from = base
		s.json, s.afterJSON = braces{}, true
	}
	if base > 0 {
		s.buf = append(s.buf[:0], s.buf[base:]...)
	}
	if len(s.buf) > s.limits.Bytes {
		s.over = true
		s.buf = s.buf[:0]
		if !s.yield(Text{}, failf(s.file, Position{s.start, s.column}, "read a document longer than %d bytes, which is the limit (split it into several with ---)", s.limits.Bytes)) {
			return errStop
		}
	}
	return nil
}

// cut ends the document that was read so far.
func (s *splitter) cut() error {
	if s.over || len(s.buf) == 0 {
		return nil
	}
	comments := commentsOnly(string(s.buf[:min(len(s.buf), 4096)])) && (len(s.buf) <= 4096 || commentsOnly(string(s.buf)))
	switch {
	case comments && !hasDirective(string(s.buf)) && bytes.IndexByte(s.buf, 0) < 0:
		s.before = nil
		if !s.afterJSON {
			s.before = Text{Raw: string(s.buf)}.Comments()
		}
		return nil
	case s.afterJSON:
		blank := s.buf[:len(s.buf)-len(bytes.TrimLeft(s.buf, " \t\r\n"))]
		at := Position{s.start + bytes.Count(blank, []byte("\n")), s.column + len(blank)}
		if i := bytes.LastIndexByte(blank, '\n'); i >= 0 {
			at.Column = len(blank) - i
		}
		if !s.yield(Text{}, failf(s.file, at, "read text behind a JSON object (remove it, or put --- on a line of its own before it)")) {
			return errStop
		}
		return nil
	}
	err := s.emit(s.buf, false)
	s.before = nil
	return err
}

func (s *splitter) emit(raw []byte, isJSON bool) error {
	text := Text{File: s.file, Line: s.start, Column: s.column, Before: s.before, isJSON: isJSON, limits: s.limits}
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		text.Raw = string(raw)
		if !s.yield(Text{}, text.failf(i, "read NUL bytes: not YAML or JSON (name text files only)")) {
			return errStop
		}
		return nil
	}
	if n := len(raw); raw[n-1] == '\n' {
		text.Raw = string(raw)
	} else {
		// The parsers want a line end, as kubectl adds it; it lies behind Raw in memory, so that it is not copied again.
		var b strings.Builder
		b.Grow(n + 1)
		b.Write(raw)
		b.WriteByte('\n')
		text.Raw, text.ended = b.String()[:n], b.String()
	}
	if !s.yield(text, nil) {
		return errStop
	}
	return nil
}

// position is where the byte at offset of Raw stands in the file.
func (t Text) position(offset int) Position {
	before := t.Raw[:min(offset, len(t.Raw))]
	if i := strings.LastIndexByte(before, '\n'); i >= 0 {
		return Position{t.Line + strings.Count(before, "\n"), utf8.RuneCountInString(before[i+1:]) + 1}
	}
	return Position{t.Line, t.Column + utf8.RuneCountInString(before)}
}

// cursor tells where bytes of a text stand in the file, one after the other, so that all of them cost one pass.
type cursor struct {
	text   string
	offset int
	at     Position
}

func (t Text) cursor(text string) cursor {
	return cursor{text: text, at: Position{t.Line, t.Column}}
}

// position is where the byte at offset stands. Offsets must not fall.
func (c *cursor) position(offset int) Position {
	passed := c.text[c.offset:offset]
	if i := strings.LastIndexByte(passed, '\n'); i >= 0 {
		c.at = Position{c.at.Line + strings.Count(passed, "\n"), utf8.RuneCountInString(passed[i+1:]) + 1}
	} else {
		c.at.Column += utf8.RuneCountInString(passed)
	}
	c.offset = offset
	return c.at
}

func (t Text) failf(offset int, format string, args ...any) *Error {
	return failf(t.File, t.position(offset), format, args...)
}

// braces finds the end of a text that starts with {, if it is JSON.
type braces struct {
	depth           int
	quoted, escaped bool
	started, not    bool
}

// scan goes on at text[from:] and reports whether the brace that text starts with was closed, and where it ends.
func (b *braces) scan(text []byte, from int) (end int, closed bool) {
	if b.not {
		return 0, false
	}
	for i := from; i < len(text); i++ {
		c := text[i]
		switch {
		case !b.started:
			switch c {
			case ' ', '\t', '\r', '\n':
			case '{':
				b.started, b.depth = true, 1
			default:
				b.not = true
				return 0, false
			}
		case b.escaped:
			b.escaped = false
		case b.quoted:
			b.escaped, b.quoted = c == '\\', c != '"'
		case c == '"':
			b.quoted = true
		case c == '{', c == '[':
			b.depth++
		case c == '}', c == ']':
			if b.depth--; b.depth == 0 {
				return i + 1, true
			}
		}
	}
	return 0, false
}
