package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"proviso.dev/proviso/engine"
)

// terminal is the file behind w where that is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colors decides on color as --color, NO_COLOR and CLICOLOR_FORCE say (no-color.org), and on the width.
func colors(choice string, w io.Writer) (color bool, width int) {
	f, isTerminal := terminal(w)
	if isTerminal {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = columns
		}
	}
	switch {
	case choice == "always":
		return true, width
	case choice == "never", os.Getenv("NO_COLOR") != "":
		return false, width
	}
	return isTerminal || os.Getenv("CLICOLOR_FORCE") != "", width
}

// progress counts the results of a long run on w: on a terminal in place, elsewhere one line every ten seconds. The
// function it returns ends it.
func progress(w io.Writer, r *engine.Report) (stop func()) {
	_, isTerminal := terminal(w)
	every := 10 * time.Second
	if isTerminal {
		every = 200 * time.Millisecond
	}
	var count atomic.Int64
	results := r.Results
	r.Results = func(yield func(engine.Result) bool) {
		results(func(res engine.Result) bool {
			count.Add(1)
			return yield(res)
		})
	}
	done, ended := make(chan struct{}), make(chan struct{})
	started := time.Now()
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		shown := false
		for {
			select {
			case <-done:
				if shown && isTerminal {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				n := count.Load()
				line := fmt.Sprintf("judged %d objects, %.0f a second", n, float64(n)/time.Since(started).Seconds())
				if isTerminal {
					line = "\r" + line + "\x1b[K"
				} else {
					line += "\n"
				}
				fmt.Fprint(w, line)
				shown = true
			}
		}
	}()
	return func() { close(done); <-ended }
}
