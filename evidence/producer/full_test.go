//go:build unix

package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// big is a decision with a long reason: few of them fill a folder.
func big(t testing.TB, n int) (evidence.Record, evidence.Input) {
	rec, in := decision(t, n)
	rec.Decision.Results[0].Reason = strings.Repeat("long ", 20<<10)
	return rec, in
}

// Where no more can be written, each mode does as it promises, and the run ends with a Gap, a Close and a checkpoint all
// the same.
func TestFull(t *testing.T) {
	for mode, c := range map[string]struct {
		want error
		// within is how long the answer may take.
		least, most time.Duration
	}{
		producer.Strict:   {syscall.ENOSPC, 0, 5 * time.Second},
		producer.Blocking: {producer.ErrUnrecorded, 300 * time.Millisecond, 10 * time.Second},
		producer.Batch:    {producer.ErrUnrecorded, 0, 5 * time.Second},
	} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			o := serving(newKey(t), mode)
			o.MaxBytes, o.Wait = 4<<20, 300*time.Millisecond
			var troubles atomic.Int32
			o.OnTrouble = func(err error) {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("trouble: %v", err)
				}
				troubles.Add(1)
			}
			w := open(t, dir, o)
			seq := activate(t, w)
			add := func(n int) (producer.Appended, error) {
				rec, in := big(t, n)
				rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
				return w.Append(t.Context(), rec, in)
			}
			var acknowledged []producer.Appended
			n, lost := 0, 0
			// On a slow machine something may be lost before the disk is full.
			isFull := func() bool { return errors.Is(w.Stats().Trouble, syscall.ENOSPC) }
			for ; (lost == 0 || !isFull()) && n < 10000; n++ {
				a, err := add(n)
				if err == nil {
					acknowledged = append(acknowledged, a)
					continue
				}
				if !errors.Is(err, c.want) {
					t.Fatalf("append %d: %v: want %v", n, err, c.want)
				}
				lost++
			}
			// What is smaller may fit still; what is held back for the end must not be touched.
			for small := 0; mode != producer.Batch && small < 2000; small++ {
				rec, in := decision(t, n)
				rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
				n++
				if _, err := w.Append(t.Context(), rec, in); err != nil {
					lost++
					if isFull() {
						break
					}
				}
			}
			for range 3 {
				begun := time.Now()
				if _, err := add(n); !errors.Is(err, c.want) {
					t.Fatalf("append %d: %v: want %v", n, err, c.want)
				}
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("the answer took %v", took)
				}
				n++
				lost++
			}
			if mode != producer.Batch && len(acknowledged) < 10 {
				t.Errorf("only %d fitted", len(acknowledged))
			}
			if s := w.Stats(); s.Lost+1 < uint64(lost) || !errors.Is(s.Trouble, syscall.ENOSPC) {
				t.Errorf("stats: %+v: want %d lost", s, lost)
			}
			if err := w.Close(t.Context(), "stopped"); err != nil {
				t.Fatal(err)
			}
			// Once for what is large, and once more for what was smaller and fitted for a while.
			if got := troubles.Load(); got < 1 || got > 3 {
				t.Errorf("told %d times", got)
			}
			verified(t, dir)
			all, lines := records(t, dir)
			gap, end := all[len(all)-2].Gap, all[len(all)-1].Close
			if gap == nil || end == nil {
				t.Fatalf("the run does not end in a gap and a close: %+v", all[len(all)-2:])
			}
			if mode != producer.Batch {
				for _, a := range acknowledged {
					if evidence.DigestOf([]byte(lines[a.Seq])) != a.Digest {
						t.Errorf("record %d was acknowledged and is not there", a.Seq)
					}
				}
			}
			var declared, events, decided, differ uint64
			for _, r := range all {
				switch g := r.Gap; {
				case r.Decision != nil:
					decided++
				case g != nil:
					declared, events = declared+g.Lost, events+uint64(len(g.Events))
					// A slow disk may write what its caller no longer waits for: then it is recorded, and declared too.
					late := strings.HasPrefix(g.Reason, "answered without its record: ")
					if late {
						differ += g.Lost
					}
					if g.Reason != "disk full" && g.Reason != "too slow" && !late || g.Until.Before(g.From) {
						t.Errorf("%+v", g)
					}
				}
			}
			if declared != end.Counts.Lost || declared+decided != uint64(n)+differ || declared < uint64(lost) || events > declared || events == 0 {
				t.Errorf("%d asked, %d recorded (%d answered without), %d refused: the gaps have %d and name %d, the close says %+v", n, decided, differ, lost, declared, events, end.Counts)
			}
		})
	}
}

// What a caller gives up before it is written is not written, and declared.
func TestGivenUp(t *testing.T) {
	for _, mode := range []string{producer.Strict, producer.Blocking} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			o := serving(newKey(t), mode)
			o.Wait = time.Minute
			w := open(t, dir, o)
			seq := activate(t, w)
			late, cancel := context.WithCancelCause(t.Context())
			cancel(errors.New("the API server has gone"))
			rec, in := decision(t, 1)
			rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
			recorded := 0
			for range 100 {
				switch _, err := w.Append(late, rec, in); {
				case err == nil:
					recorded++
				case !strings.Contains(err.Error(), "the API server has gone"):
					t.Fatalf("append: %v", err)
				}
			}
			if err := w.Close(t.Context(), "stopped"); err != nil {
				t.Fatal(err)
			}
			verified(t, dir)
			all, _ := records(t, dir)
			lost, differ, written := uint64(0), uint64(0), 0
			for _, r := range all {
				if r.Gap != nil {
					lost += r.Gap.Lost
					if strings.HasPrefix(r.Gap.Reason, "answered without its record: ") {
						differ += r.Gap.Lost
					} else if r.Gap.Reason != "too slow" {
						t.Errorf("%+v", r.Gap)
					}
				}
				if r.Decision != nil {
					written++
				}
			}
			if int(lost)+recorded != 100 || int(differ)+recorded != written || all[len(all)-1].Close.Counts.Lost != lost {
				t.Errorf("%d acknowledged, %d written, %d in gaps, %d of them written, close says %+v", recorded, written, lost, differ, all[len(all)-1].Close.Counts)
			}
		})
	}
}

// Whose caller gave up while the record was written got another answer than it says. A Gap says so, before the run ends.
func TestGivenUpWhileWritten(t *testing.T) {
	for _, mode := range []string{producer.Strict, producer.Blocking} {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " closing=", closing), func(t *testing.T) {
				k, dir := newKey(t), t.TempDir()
				o := serving(k, mode)
				o.Wait = 50 * time.Millisecond
				w := open(t, dir, o)
				seq := activate(t, w)
				rec, in := decision(t, 7)
				rec.Decision.Activation, rec.Decision.PolicySet = seq, evidence.DigestOf([]byte("the policies"))
				ended := make(chan error, 1)
				first := true
				w.WhileListing(func() {
					if !first {
						return
					}
					first = false
					// Nothing is written now.
					asked := make(chan error, 1)
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					go func() {
						_, err := w.Append(ctx, rec, in)
						asked <- err
					}()
					if closing {
						time.Sleep(20 * time.Millisecond) // it is on its way by now
						go func() {
							_, err := w.Append(t.Context(), evidence.Record{Close: &evidence.Close{Reason: "stopped"}})
							ended <- err
						}()
					}
					if err := <-asked; err == nil {
						t.Error("it was acknowledged")
					}
				})
				if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
					t.Fatal(err)
				}
				if closing {
					if err := <-ended; err != nil {
						t.Fatal(err)
					}
				} else {
					// Nothing else need come for it to be declared.
					for begun := time.Now(); w.Stats().Records < 4; time.Sleep(time.Millisecond) {
						if time.Since(begun) > 10*time.Second {
							t.Fatal("no gap says so")
						}
					}
				}
				if err := w.Close(t.Context(), "stopped"); err != nil {
					t.Fatal(err)
				}
				v := verified(t, dir)
				if len(v.Holes) == 0 || v.Holes[0].Code != evidence.DeclaredGap || v.ExitCode() == 0 {
					t.Errorf("verify tells %v", v.Holes)
				}
				all, _ := records(t, dir)
				gap, end := all[3].Gap, all[4].Close
				if all[2].Decision == nil || gap == nil || end == nil || len(all) != 5 {
					t.Fatalf("%+v", all)
				}
				if want := "answered without its record: the answer given is not the one that record 2 says"; gap.Lost != 1 || gap.Reason != want || len(gap.Events) != 1 || gap.Events[0] != "7" || end.Counts.Lost != 1 || end.Counts.Decisions != 1 {
					t.Errorf("gap %+v, close %+v", gap, end)
				}
			})
		}
	}
}

// A Close is not written with what is not settled yet, for nothing can be declared after it.
func TestGivenUpJustBeforeTheClose(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	o := serving(k, producer.Strict)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var numbered atomic.Int32
	numbered.Store(100)
	o.Now = func() time.Time {
		if numbered.Add(1) == 2 {
			giveUp() // the decision is being written
			time.Sleep(100 * time.Millisecond)
		}
		return time.Now()
	}
	w := open(t, dir, o)
	rec, in := decision(t, 7)
	rec.Decision.Activation, rec.Decision.PolicySet = activate(t, w), evidence.DigestOf([]byte("the policies"))
	ended := make(chan error, 3)
	add := func(ctx context.Context, rec evidence.Record, keep ...any) {
		go func() {
			_, err := w.Append(ctx, rec, keep...)
			ended <- err
		}()
		time.Sleep(50 * time.Millisecond) // it is on its way by now
	}
	begun := false
	w.WhileListing(func() {
		if begun = !begun; !begun {
			numbered.Store(0)
			return
		}
		add(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}})
		add(ctx, rec, in)
		add(t.Context(), evidence.Record{Close: &evidence.Close{Reason: "stopped"}})
	})
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range 3 {
		if err := <-ended; errors.Is(err, context.Canceled) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	all, _ := records(t, dir)
	if failed != 1 || len(all) != 6 || all[3].Decision == nil || all[4].Gap == nil || all[4].Gap.Events[0] != "7" || all[5].Close == nil || all[5].Close.Counts.Lost != 1 {
		t.Errorf("%d failed: %d records, %+v", failed, len(all), all[2:])
	}
}
