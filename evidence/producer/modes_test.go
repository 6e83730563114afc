//go:build unix

package producer_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

func TestBatchAnswersAtOnce(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, serving(newKey(t), producer.Batch))
	judge(t, w, 1)
	rec, in := decision(t, 2)
	rec.Decision.Activation, rec.Decision.PolicySet = 1, evidence.DigestOf([]byte("the policies"))
	a := appended(t, w, rec, in)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); s.Records != 4 || s.Pending != 0 || s.Signed != 4 || s.UnsignedAge != 0 {
		t.Errorf("after a checkpoint: %+v", s)
	}
	if _, lines := records(t, dir); evidence.DigestOf([]byte(lines[a.Seq])) != a.Digest {
		t.Error("the record is not what was acknowledged")
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

func TestHeartbeats(t *testing.T) {
	dir := t.TempDir()
	o := serving(newKey(t), producer.Strict)
	o.Heartbeat = time.Millisecond
	o.Counts = func() evidence.Counts { return evidence.Counts{Requests: 7, DryRuns: 2, Decisions: 99} }
	w := open(t, dir, o)
	judge(t, w, 3)
	for w.Stats().Records < 20 {
		time.Sleep(time.Millisecond)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	all, _ := records(t, dir)
	end := all[len(all)-1].Close
	if end == nil || end.Counts != (evidence.Counts{Requests: 7, DryRuns: 2, Decisions: 3, Fail: 3}) {
		t.Errorf("close: %+v", end)
	}
	beat := all[len(all)-2].Heartbeat
	if beat == nil || *beat != end.Counts {
		t.Errorf("last heartbeat: %+v", beat)
	}
}

// A clock that errs is recorded as it is, and marked; the order of records is that of their numbers.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	o := serving(newKey(t), producer.Strict)
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	var mu sync.Mutex
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	w := open(t, dir, o)
	at := func(change time.Duration) {
		mu.Lock()
		now = now.Add(change)
		mu.Unlock()
		appended(t, w, evidence.Record{Change: &evidence.Change{What: "clock"}})
	}
	for _, change := range []time.Duration{0, -time.Hour * 24 * 365, time.Minute, time.Hour * 24 * 366, math.MaxInt64 / 8, -math.MaxInt64 / 8} {
		at(change)
	}
	mu.Lock()
	now = time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC)
	mu.Unlock()
	if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "clock"}}); err == nil {
		t.Error("a year that no text has was recorded")
	}
	mu.Lock()
	now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	mu.Unlock()
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
	all, _ := records(t, dir)
	var marks []bool
	for _, r := range all {
		marks = append(marks, r.Backwards)
	}
	if got, want := fmt.Sprint(marks), "[false false true true false false true true]"; got != want {
		t.Errorf("backwards %s, want %s", got, want)
	}
	// The latest time is known to the next run.
	w = open(t, dir, o)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if all, _ := records(t, dir); !all[len(all)-2].Backwards {
		t.Error("the next run does not know the latest time")
	}
}

func TestAppendRefuses(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, scan(newKey(t)))
	for name, rec := range map[string]evidence.Record{
		"no part":   {},
		"two parts": {Hole: &evidence.Hole{}, Change: &evidence.Change{}},
	} {
		if _, err := w.Append(t.Context(), rec); err == nil || !strings.Contains(err.Error(), "want one") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{}}, math.NaN()); err == nil {
		t.Error("a value that has no text was kept")
	}
	if err := w.Keep(t.Context(), strings.Repeat("x", 64<<20)); err == nil || !strings.Contains(err.Error(), "can be read again") {
		t.Errorf("keep what no reader takes: %v", err)
	}
	if s := w.Stats(); s.Records != 1 {
		t.Errorf("%d records", s.Records)
	}
}

func TestOptions(t *testing.T) {
	k := newKey(t)
	for want, alter := range map[string]func(*producer.Options){
		"no key to sign with":            func(o *producer.Options) { o.Signer = nil },
		"the run has no name":            func(o *producer.Options) { o.Run = "" },
		"a scan has no mode":             func(o *producer.Options) { o.Mode = producer.Strict },
		`kind "lint"`:                    func(o *producer.Options) { o.Kind = "lint" },
		`mode ""`:                        func(o *producer.Options) { o.Kind = "admission" },
		`mode "fast"`:                    func(o *producer.Options) { o.Kind, o.Mode = "admission", "fast" },
		"blocking needs a time to wait":  func(o *producer.Options) { o.Kind, o.Mode = "admission", producer.Blocking },
		"a bound of 1000 bytes: want at": func(o *producer.Options) { o.MaxBytes = 1000 },
	} {
		o := scan(k)
		alter(&o)
		if _, err := producer.Open(t.Context(), t.TempDir(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

// failing is a signer that does not sign for a while.
type failing struct {
	key
	broken atomic.Bool
}

func (f *failing) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if f.broken.Load() {
		return nil, errors.New("the KMS is away")
	}
	return f.key.Sign(ctx, message)
}

// Records are kept while nothing can be signed, and signed when it can again.
func TestSignerAway(t *testing.T) {
	k := &failing{key: newKey(t)}
	o := serving(k, producer.Strict)
	told := make(chan error, 100)
	o.OnTrouble = func(err error) { told <- err }
	dir := t.TempDir()
	w := open(t, dir, o)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.broken.Store(true)
	judge(t, w, 10)
	if err := <-told; !strings.Contains(err.Error(), "the KMS is away") {
		t.Errorf("told %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Checkpoint(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the KMS is away") {
		t.Errorf("checkpoint: %v", err)
	}
	if s := w.Stats(); s.Records != 12 || s.Signed >= 12 || s.UnsignedAge == 0 || s.Trouble == nil {
		t.Errorf("%+v", s)
	}
	k.broken.Store(false)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

// Where no file can be opened records are still kept, and the log follows later. Tessera would end the process.
func TestOutOfHandles(t *testing.T) {
	o := serving(newKey(t), producer.Strict)
	told := make(chan error, 100)
	o.OnTrouble = func(err error) { told <- err }
	dir := t.TempDir()
	w := open(t, dir, o)
	judge(t, w, 1)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Two more can be opened; Tessera wants three.
	var last int
	for last < 64 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		last = int(f.Fd())
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(last) + 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	appended(t, w, evidence.Record{Change: &evidence.Change{What: "flood"}})
	err := <-told
	if restored := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "open log: open "+dir) {
		t.Errorf("told %v", err)
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	verified(t, dir)
}

// What something else wrote into the log is found, and nothing more is recorded or signed.
func TestLogAltered(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"the tree": func(t *testing.T, dir string) {
			alter(t, dir, "log/.state/treeState", func([]byte) []byte { return []byte(`{"size":9,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}`) })
		},
		"entries": func(t *testing.T, dir string) {
			for _, name := range bundles(t, dir) {
				alter(t, dir, name, func(b []byte) []byte { return append(b, b[:34]...) })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := serving(newKey(t), producer.Strict)
			o.OnTrouble = func(error) {}
			dir := t.TempDir()
			w := open(t, dir, o)
			judge(t, w, 3)
			before, err := w.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			damage(t, dir)
			appended(t, w, evidence.Record{Change: &evidence.Change{What: "x"}})
			if _, err := w.Checkpoint(t.Context()); err == nil || !strings.Contains(err.Error(), "keep the folder as it is") {
				t.Errorf("checkpoint: %v", err)
			}
			for {
				if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}}); err != nil {
					break
				}
			}
			if err := w.Close(t.Context(), "stopped"); err == nil || !strings.Contains(err.Error(), "keep the folder as it is") {
				t.Errorf("close: %v", err)
			}
			if after, err := os.ReadFile(dir + "/log/checkpoint"); err != nil || !bytes.Equal(before, after) {
				t.Errorf("it was signed: %v", err)
			}
		})
	}
}

// A signer whose signature does not verify is not published.
func TestSignerLies(t *testing.T) {
	other := newKey(t)
	if _, err := producer.Open(t.Context(), t.TempDir(), scan(liar{newKey(t), other})); err == nil || !strings.Contains(err.Error(), "what the signer gave does not verify") {
		t.Errorf("%v", err)
	}
}

type liar struct{ key, other key }

func (l liar) Sign(ctx context.Context, m []byte) ([]byte, error) { return l.other.Sign(ctx, m) }
func (l liar) Public() crypto.PublicKey                           { return l.key.Public() }

// Tessera writes its log lines to standard error for the whole process; nothing of the ordinary makes it say anything.
func TestSaysNothing(t *testing.T) {
	var said bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(&said)
	defer klog.LogToStderr(true)
	dir := written(t, newKey(t), 300)
	verified(t, dir)
	klog.Flush()
	if said.Len() > 0 {
		t.Errorf("said %s", said.String())
	}
}

// Who has no time left to close ends all the same, in the midst of what goes on; the next run takes it up.
func TestCloseWithoutTime(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 20 {
		w := open(t, dir, serving(k, producer.Strict))
		judge(t, w, 10*n)
		if err := w.Close(gone, "stopped"); !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v", err)
		}
	}
	w := open(t, dir, serving(k, producer.Strict))
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if v := verified(t, dir); v.Counts.Decisions != 1900 || v.Unsigned != 0 {
		t.Errorf("%d decisions, %d unsigned", v.Counts.Decisions, v.Unsigned)
	}
}
