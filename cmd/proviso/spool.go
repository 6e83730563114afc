package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// spool keeps what was listed until it is judged: a scan signs what it will judge before it judges any of it. What can be
// many lies in a file that has no name; what can say where its lines are, and Secrets, which have no business in a file, stay
// in memory.
type spool struct {
	file *os.File
	out  *bufio.Writer
	// held are the subjects and errors that stay in memory, by their number.
	held  map[int]outcome
	count int
}

// spooledOrigin is what a line of the file says after the subject.
type spooledOrigin struct {
	engine.Position
	Template string
	Digest   engine.Digest
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "proviso-*")
	if err != nil {
		return nil, fmt.Errorf("keep what is listed: %w", err)
	}
	_ = os.Remove(f.Name()) // where an open file cannot be removed, Close does it
	return &spool{file: f, out: bufio.NewWriterSize(f, 1<<20), held: map[int]outcome{}}, nil
}

// add takes the next. Items of an archive are many: they are told by where they are in it, not by their lines.
func (s *spool) add(sub *engine.Subject, err error) error {
	n := s.count
	s.count++
	if err == nil && sub.Kind != "Secret" {
		if _, within := sub.Origin.Archive(); within || sub.Origin.Locate == nil {
			return s.write(sub)
		}
	}
	s.held[n] = outcome{sub, err}
	return nil
}

func (s *spool) write(sub *engine.Subject) error {
	for _, v := range []any{evidence.InputOf(sub, nil), spooledOrigin{sub.Origin.Position, sub.Origin.Template, sub.Origin.Digest}} {
		line, err := evidence.Encode(v)
		if err != nil {
			return fmt.Errorf("keep what is listed: %w", err)
		}
		if _, err := s.out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("keep what is listed: %w", err)
		}
	}
	return nil
}

func readSpooled(in *bufio.Reader) (*engine.Subject, error) {
	var lines [2][]byte
	for i := range lines {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		lines[i] = bytes.TrimSuffix(line, []byte("\n"))
	}
	input, err := evidence.ParseInput(lines[0])
	if err != nil {
		return nil, err
	}
	var o spooledOrigin
	if err := json.Unmarshal(lines[1], &o); err != nil {
		return nil, err
	}
	sub := input.Subject()
	sub.Origin.Position, sub.Origin.Template, sub.Origin.Digest = o.Position, o.Template, o.Digest
	return &sub, nil
}

// Close gives the file's room back.
func (s *spool) Close() error {
	err := s.file.Close()
	if gone := os.Remove(s.file.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// Inspect is part of engine.Inspector: what was listed, in its order.
func (s *spool) Inspect(context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read what was listed: %w", err)) }
		if err := s.out.Flush(); err != nil {
			fail(err)
			return
		}
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			fail(err)
			return
		}
		in := bufio.NewReaderSize(s.file, 1<<20)
		for n := range s.count {
			if o, held := s.held[n]; held {
				if !yield(o.sub, o.err) {
					return
				}
				continue
			}
			sub, err := readSpooled(in)
			if err != nil {
				fail(err)
				return
			}
			if !yield(sub, nil) {
				return
			}
		}
	}
}
