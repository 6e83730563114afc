package report_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// full is a writer whose disk is full after some bytes.
type full int

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > int(*f) {
		n := int(*f)
		*f = 0
		return n, errFull
	}
	*f -= full(len(p))
	return len(p), nil
}

// slow is a writer that takes its time.
type slow struct{ w io.Writer }

func (s slow) Write(p []byte) (int, error) {
	time.Sleep(50 * time.Microsecond)
	return s.w.Write(p)
}

func to(w io.Writer, f report.Format) func(engine.Report) error {
	return func(r engine.Report) error { return f(w, r, report.Options{}) }
}

// within fails the test where do takes too long.
func within(t *testing.T, d time.Duration, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatal("it hangs")
	}
}

func TestTeeWritesWhatEachFormatWritesAlone(t *testing.T) {
	outs := map[string]*bytes.Buffer{}
	var funcs []func(engine.Report) error
	for _, name := range report.Formats() {
		f, _ := report.Lookup(name)
		outs[name] = new(bytes.Buffer)
		funcs = append(funcs, to(outs[name], f))
	}
	trailer, err := report.Tee(sample(t), funcs...)
	if err != nil || trailer.Summary.Subjects != 5 {
		t.Fatalf("Tee = %v, %v", trailer, err)
	}
	for name, got := range outs {
		f, _ := report.Lookup(name)
		if want := written(t, f, sample(t), report.Options{}); got.String() != want {
			t.Errorf("%s differs within Tee:\n%s", name, got)
		}
	}
}

func TestTeeGoesOnWithoutThoseThatLeave(t *testing.T) {
	const n = 5000
	errCancelled := errors.New("cancelled")
	var good, late bytes.Buffer
	var trailer engine.Trailer
	var err error
	within(t, 30*time.Second, func() {
		small, none := full(2000), full(0)
		trailer, err = report.Tee(run(t, policies(), nil, many(n)),
			to(&small, report.Text),
			to(&good, report.JSON),
			to(slow{&late}, report.JSON),
			to(&none, report.SARIF),
			func(r engine.Report) error { // sees one result and leaves
				for range r.Results {
					return errCancelled
				}
				return nil
			},
			func(engine.Report) error { return nil }, // sees nothing
			func(r engine.Report) error { // wants the trailer only
				if got := r.Trailer().Summary.Subjects; got != n {
					t.Errorf("the trailer counts %d subjects, want %d", got, n)
				}
				for range r.Results {
				}
				return nil
			})
	})
	if trailer.Summary.Subjects != n || trailer.Summary.Fail != n+n/10 {
		t.Errorf("trailer = %+v", trailer.Summary)
	}
	if want := errors.Join(errFull, errFull, errCancelled); err == nil || err.Error() != want.Error() {
		t.Errorf("err = %v, want %v", err, want)
	}
	if want := written(t, report.JSON, run(t, policies(), nil, many(n)), report.Options{}); good.String() != want || late.String() != want {
		t.Error("the outputs that stayed differ from one that was alone")
	}
}

func TestTeeWithoutOutputsTakesTheRunToItsEnd(t *testing.T) {
	trailer, err := report.Tee(sample(t))
	if err != nil || trailer.Summary.Subjects != 5 {
		t.Errorf("Tee = %v, %v", trailer.Summary, err)
	}
}

// TestWriteErrorsComeBack cuts every format short at every length.
func TestWriteErrorsComeBack(t *testing.T) {
	for _, name := range report.Formats() {
		f, _ := report.Lookup(name)
		whole := len(written(t, f, sample(t), report.Options{All: true}))
		for n := 0; n < whole; n += 97 {
			w := full(n)
			if err := f(&w, sample(t), report.Options{All: true}); !errors.Is(err, errFull) {
				t.Errorf("%s after %d bytes of %d: error %v", name, n, whole, err)
			}
		}
		w := full(whole - 1)
		if err := f(&w, sample(t), report.Options{All: true}); !errors.Is(err, errFull) {
			t.Errorf("%s without its last byte: error %v", name, err)
		}
	}
}

func TestAFailingWriterEndsTheRun(t *testing.T) {
	for _, name := range []string{"text", "json", "junit", "github"} {
		f, _ := report.Lookup(name)
		r := run(t, policies(), nil, many(100000))
		w := full(10)
		if err := f(&w, r, report.Options{}); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v", name, err)
		}
		if n := r.Trailer().Summary.Subjects; n > 50000 {
			t.Errorf("%s went on for %d subjects after its writer failed", name, n)
		}
	}
}

var hostile = strings.Join([]string{"\x1b[31mred", "\x00", "\x9b2J", "\u202egnp", "\u200b", "\ufeff", "]]>", "<a>&\"'", "\xff\xfe", "a\nb\rc\td", "%0A::error::x", "##[error]x"}, "|")

// TestStrangersBytesStayVisible puts hostile names in every place a stranger can write to.
func TestStrangersBytesStayVisible(t *testing.T) {
	p := policies()[1]
	p.Rule = always(engine.Violation{Message: hostile, Path: `metadata["` + "\x1b\u202e" + `"]`})
	drill := policies()[7]
	bad := object("velero.io/v1", "Schedule", hostile, hostile, nil)
	inFile(bad, hostile, hostile, 1, nil)
	bad.Origin.Template, bad.Origin.Source = hostile, hostile
	contents := object("artifact.proviso.dev/v1alpha1", "BackupContents", hostile, hostile, nil)
	in := steps{bad, contents, restorePlan(hostile, hostile), inFile(object("v1", hostile, "", "", nil), hostile+"2", "", 1, nil),
		&engine.Unread{Source: hostile, Position: engine.Position{File: hostile}, Err: errors.New(hostile)},
		&engine.Unread{Source: hostile, Err: errors.New(hostile), Kind: engine.Hole}, &engine.Unread{Err: errors.New(hostile), Kind: engine.NotManifest}}
	for _, name := range report.Formats() {
		f, _ := report.Lookup(name)
		text := written(t, f, run(t, []engine.Policy{p, drill}, nil, in), report.Options{All: true})
		for _, r := range text {
			if r != '\n' && r < ' ' || r > '~' && r != '…' && r != '\ufffd' {
				t.Errorf("%s lets %U through:\n%s", name, r, text)
				break
			}
		}
		for _, want := range []string{"gnp", "red"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s hides %q", name, want)
			}
		}
	}
}
