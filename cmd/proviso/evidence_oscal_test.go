//go:build unix

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// aLog is a folder of evidence that a test writes, at times it chooses.
type aLog struct {
	*testing.T
	dir    string
	now    time.Time
	w      *producer.Writer
	active uint64
	pack   engine.Digest
	inputs []engine.Digest
	// hole is the kind of those it lists; empty is broken.
	hole string
}

func (l *aLog) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// add records something so many minutes after what is there.
func (l *aLog) add(minutes int, rec evidence.Record, keep ...any) uint64 {
	l.Helper()
	l.now = l.now.Add(time.Duration(minutes) * time.Minute)
	at, err := l.w.Append(l.Context(), rec, keep...)
	l.must(err)
	return at.Seq
}

func (l *aLog) open(kind, mode string) {
	l.Helper()
	key, err := testKey()
	l.must(err)
	l.now = l.now.Add(time.Minute)
	l.w, err = producer.Open(l.Context(), l.dir, producer.Options{Signer: key, Kind: kind, Mode: mode, Run: fmt.Sprint("run-", l.now.Unix()), Engine: evidence.Engine{Version: "test"}, Now: func() time.Time { return l.now }})
	l.must(err)
	l.pack, err = l.w.Object(strings.NewReader("the policies"))
	l.must(err)
	l.active = l.add(0, evidence.Record{Activation: &evidence.Activation{PolicySet: l.pack, Pack: l.pack, Policies: 1, Mode: "deny", Unknown: "deny"}})
}

// lists opens a scan of so many items, of which the first are holes.
func (l *aLog) lists(items, holes int) {
	l.Helper()
	l.open("scan", "")
	var list bytes.Buffer
	var tree evidence.Tree
	l.inputs = nil
	for n := range items {
		item := evidence.Item{N: n}
		in := inputOf(n)
		raw, err := evidence.Encode(in)
		l.must(err)
		if l.inputs = append(l.inputs, evidence.DigestOf(raw)); n < holes {
			item.Hole = &evidence.Hole{Source: "s", Kind: cmp.Or(l.hole, "broken"), Reason: "r"}
		} else {
			item.Subject, item.Input = &evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, l.inputs[n]
			l.must(l.w.Keep(l.Context(), in))
		}
		line, err := evidence.Encode(item)
		l.must(err)
		tree.Add(line)
		list.Write(append(line, '\n'))
	}
	object, err := l.w.Object(&list)
	l.must(err)
	l.add(1, evidence.Record{Population: &evidence.Population{Items: items, Holes: holes, Root: tree.Root(), List: object}})
}

func inputOf(n int) evidence.Input {
	return evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: fmt.Sprint("c", n)}
}

// judges records that an item passes or, where there are problems, that it was not judged.
func (l *aLog) judges(n int, problems ...string) { l.decides(n, nil, problems...) }

func (l *aLog) decides(n int, answer *evidence.Answer, problems ...string) {
	l.Helper()
	in := inputOf(n)
	raw, err := evidence.Encode(in)
	l.must(err)
	d := &evidence.Decision{Event: fmt.Sprint(n), Source: "scan", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, Now: l.now, Input: evidence.DigestOf(raw),
		Activation: l.active, PolicySet: l.pack, Problems: problems, Answer: answer, Results: []evidence.Result{}}
	if len(problems) == 0 {
		d.Results = []evidence.Result{{Policy: "p", Verdict: "pass", Effect: "record"}}
	}
	l.add(1, evidence.Record{Decision: d}, in)
}

func (l *aLog) close(reason string) {
	l.Helper()
	l.now = l.now.Add(time.Minute)
	l.must(l.w.Close(l.Context(), reason))
}

// kill leaves the run on disk as it is.
func (l *aLog) kill() {
	l.Helper()
	_, err := l.w.Checkpoint(l.Context())
	l.must(err)
	left := l.TempDir()
	l.must(os.CopyFS(left, os.DirFS(l.dir)))
	l.must(l.w.Close(l.Context(), "killed"))
	l.dir = left
}

// TestOSCALIsToldWhatIsMissing: what keeps evidence from being complete keeps it from satisfying a control.
func TestOSCALIsToldWhatIsMissing(t *testing.T) {
	begin := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	whole := func(l *aLog) {
		l.lists(2, 0)
		l.judges(0)
		l.judges(1)
		l.close("done")
	}
	cutOff := func(l *aLog) {
		l.lists(5, 1)
		l.judges(1)
		l.judges(2)
		l.kill()
	}
	serves := func(minutes ...int) func(*aLog) {
		return func(l *aLog) {
			l.open("admission", producer.Strict)
			for n, m := range minutes {
				l.now = l.now.Add(time.Duration(m-1) * time.Minute)
				l.judges(n)
			}
		}
	}
	both := func(one, other func(*aLog)) func(*aLog) { return func(l *aLog) { one(l); other(l) } }
	stopped := func(l *aLog) { l.close("stopped") }
	type counts = map[string]uint64
	for name, c := range map[string]struct {
		write       func(*aLog)
		from, until int // minutes after the begin; 0 is no bound
		want        counts
	}{
		"nothing":                          {whole, 0, 0, counts{}},
		"a scan that was cut off":          {cutOff, 0, 0, counts{"unjudged": 2, "unclosed": 1, "hole": 1}},
		"one that was, and another":        {both(cutOff, whole), 0, 0, counts{"unjudged": 2, "unclosed": 1, "hole": 1}},
		"one that was before":              {both(cutOff, whole), 5, 0, counts{"unclosed": 1}},
		"one that was long before":         {both(both(cutOff, whole), whole), 11, 0, counts{}},
		"one that was after":               {both(whole, cutOff), 0, 6, counts{}},
		"one that the head does not cover": {func(l *aLog) { whole(l); l.unsigned(cutOff) }, 0, 0, counts{}},
		"a scan that failed":               {func(l *aLog) { l.lists(3, 0); l.judges(0); l.close("failed: disk full") }, 0, 0, counts{"unjudged": 2, "unclosed": 1}},
		"a scan that failed later":         {func(l *aLog) { l.lists(3, 0); l.judges(0); l.close("failed: disk full") }, 0, 4, counts{"unjudged": 2, "unclosed": 1}},
		"holes, listed before the period":  {func(l *aLog) { l.lists(3, 2); l.judges(2); l.close("done") }, 3, 0, counts{"hole": 2}},
		"an item that went away":           {func(l *aLog) { l.lists(2, 0); l.judges(0); l.wentAway(1); l.close("done") }, 0, 0, counts{"hole": 1}},
		"what was refused unjudged":        {func(l *aLog) { l.lists(1, 0); l.decides(0, &evidence.Answer{Code: 403}, "no waiver"); l.close("done") }, 0, 0, counts{}},
		"judging that panicked":            {func(l *aLog) { l.lists(2, 0); l.judges(0); l.judges(1, "judging panicked"); l.close("done") }, 0, 0, counts{"unjudged": 1}},
		"one that panicked before":         {func(l *aLog) { l.lists(2, 0); l.judges(0, "judging panicked"); l.judges(1); l.close("done") }, 4, 0, counts{}},
		"silence":                          {both(serves(1, 6, 1, 7), stopped), 0, 0, counts{"silence": 2}},
		"silence into the period":          {both(serves(1, 6, 1), stopped), 5, 0, counts{"silence": 1}},
		"silence out of the period":        {both(serves(1, 6, 1), stopped), 0, 5, counts{"silence": 1}},
		"silence before the period":        {both(serves(1, 6, 1), stopped), 9, 0, counts{}},
		"silence after the period":         {both(serves(1, 1, 6), stopped), 0, 3, counts{}},
		"a scan that takes its time":       {func(l *aLog) { l.lists(1, 0); l.now = l.now.Add(time.Hour); l.judges(0); l.close("done") }, 0, 0, counts{}},
		"what is no manifest":              {func(l *aLog) { l.hole = evidence.NotManifest; l.lists(2, 1); l.judges(1); l.close("done") }, 0, 0, counts{}},
		"almost silence":                   {both(serves(1, 5, 1), stopped), 0, 0, counts{}},
		"admission that has no end":        {both(serves(1, 1, 1), (*aLog).kill), 0, 0, counts{"unclosed": 1}},
		"admission that ends in trouble":   {both(serves(1, 1, 1), func(l *aLog) { l.close("failed: disk full") }), 0, 0, counts{"unclosed": 1}},
		"admission that goes on":           {both(serves(1, 1, 1), (*aLog).kill), 0, 4, counts{}},
		"a gap":                            {func(l *aLog) { serves(1)(l); l.gap(3, 1); l.close("stopped") }, 0, 0, counts{"gap": 3}},
		"a gap beside the period":          {func(l *aLog) { serves(1, 1)(l); l.gap(3, 0); l.close("stopped") }, 0, 4, counts{}},
		"a gap that reaches into it":       {func(l *aLog) { serves(1, 1)(l); l.gap(3, 1); l.close("stopped") }, 0, 4, counts{"gap": 3}},
		"an erasure":                       {both(whole, erases(0, 1)), 0, 0, counts{"erasure": 2}},
		"an erasure after the period":      {both(whole, erases(0, 1)), 0, 6, counts{"erasure": 2}},
		"an erasure of what was not in it": {both(whole, erases(0)), 4, 6, counts{}},
		"an erasure in the period":         {both(whole, erases(0)), 6, 0, counts{"erasure": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &aLog{T: t, dir: t.TempDir(), now: begin}
			c.write(l)
			v, err := evidence.Verify(os.DirFS(l.dir), evidence.Options{Now: l.now})
			l.must(err)
			if len(v.Problems) > 0 && !strings.Contains(name, "erasure") { // what was erased is still there
				t.Fatalf("it does not verify: %v", v.Problems)
			}
			var f evidence.Filter
			if c.from != 0 {
				f.From = begin.Add(time.Duration(c.from) * time.Minute)
			}
			if c.until != 0 {
				f.Until = begin.Add(time.Duration(c.until) * time.Minute)
			}
			if got := l.missing(f); !maps.Equal(got, c.want) {
				t.Errorf("missing is %v, want %v", got, c.want)
			}
		})
	}
}

// unsigned writes more, and leaves the head as it was.
func (l *aLog) unsigned(more func(*aLog)) {
	head, err := os.ReadFile(filepath.Join(l.dir, evidence.CheckpointFile))
	l.must(err)
	more(l)
	l.must(os.WriteFile(filepath.Join(l.dir, evidence.CheckpointFile), head, 0o600))
}

func (l *aLog) wentAway(n int) {
	l.add(1, evidence.Record{Hole: &evidence.Hole{Item: &n, Kind: "broken", Reason: "it went away"}})
}

// gap declares after a minute a gap of that minute, or of its end.
func (l *aLog) gap(lost uint64, minutes int) {
	until := l.now.Add(time.Minute)
	l.add(1, evidence.Record{Gap: &evidence.Gap{Lost: lost, From: until.Add(-time.Duration(minutes) * time.Minute), Until: until, Reason: "too slow"}})
}

// erases declares in a run of its own that inputs of the scan before were erased.
func erases(items ...int) func(*aLog) {
	return func(l *aLog) {
		e := &evidence.Erasure{Reason: "asked to"}
		for _, n := range items {
			e.Inputs = append(e.Inputs, l.inputs[n])
		}
		l.open("scan", "")
		l.add(1, evidence.Record{Erasure: e})
		l.close("stopped")
	}
}

// missing is what OSCAL is told of a part of the log, by kind.
func (l *aLog) missing(f evidence.Filter) map[string]uint64 {
	l.Helper()
	key, err := testKey()
	l.must(err)
	public, err := evidence.NewKey(key.Public())
	l.must(err)
	missing := map[string]uint64{}
	seen := map[string]bool{}
	_, err = evidence.Export(l.Context(), os.DirFS(l.dir), io.Discard, &evidence.ExportOptions{Filter: f, Key: public, Sign: key.Statement, Scratch: l.TempDir(),
		OSCAL: func(_ io.Writer, x *evidence.Exporting) error {
			for e, err := range entriesOf(x) {
				if err != nil {
					return err
				}
				if m := e.Missing; m != nil {
					missing[m.Kind] += m.Count
					if once := fmt.Sprint(e.Seq, m.Kind); seen[once] {
						l.Errorf("record %d tells of a %s twice", e.Seq, m.Kind)
					} else {
						seen[once] = true
					}
				}
			}
			return nil
		}})
	l.must(err)
	return missing
}

// TestLostBesideGaps: what a run counts as lost and no gap tells of is missing, once, in the period that hears of it first.
func TestLostBesideGaps(t *testing.T) {
	r := &runRead{}
	r.lost(2, true)
	r.lost(2, true)
	r.told = 2
	r.lost(2, true)
	r.lost(3, false)
	r.lost(4, true)
	if r.unheard != 3 {
		t.Errorf("%d are missing, want 2 and then 1", r.unheard)
	}
}
