//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// recordingOf is a scan that records into a new folder.
func recordingOf(t *testing.T) (r *recording, dir string) {
	t.Helper()
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "evidence")
	r = &recording{key: key, within: 10 * time.Second}
	if r.Writer, err = producer.Open(t.Context(), dir, producer.Options{Signer: key, Kind: "scan", Run: "one", Engine: evidence.Engine{Version: "test"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.Close(ctx, "the test ended")
	})
	if r.spool, err = newSpool(); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// A scan whose log cannot be written ends all the same.
func TestScanEndsWithoutALog(t *testing.T) {
	r, dir := recordingOf(t)
	r.within = 500 * time.Millisecond
	if _, err := r.signed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "log/.state"), filepath.Join(dir, "log/.stateX")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		_, err := r.signed(context.Background())
		ended <- err
		ended <- r.abandon(context.Background(), err)
	}()
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "log's state") {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it never ends")
		}
	}
}

// Many records that could not be kept are told of once, and what is signed is bounded; who interrupts a scan has a Close too.
func TestScanTellsOnce(t *testing.T) {
	for name, interrupted := range map[string]bool{"disk": false, "interrupted": true} {
		t.Run(name, func(t *testing.T) {
			r, dir := recordingOf(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			why := errors.New("no space left " + strings.Repeat("é", 1000))
			if interrupted {
				why = context.Canceled
				cancel()
			}
			for range 1000 {
				r.pending = append(r.pending, func() error { return why })
			}
			err := r.finish(ctx, engine.Trailer{})
			want := "(and 999 records after it)"
			if interrupted {
				want = "interrupted"
			}
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 2200 {
				t.Errorf("it says %d bytes: %v", len(err.Error()), err)
			}
			_, all := kept(t, dir)
			end := all[len(all)-1].Close
			if end == nil || !strings.HasPrefix(end.Reason, "failed: ") || len(end.Reason) > mostReason+10 || strings.ContainsRune(end.Reason, '\uFFFD') {
				t.Errorf("the run ends with %+v", end)
			}
		})
	}
}

// What was listed and cannot be read again ends the recording: its item has no result. What the list names as a hole has.
func TestScanReadsAgain(t *testing.T) {
	r, _ := recordingOf(t)
	r.items = []listedItem{{input: evidence.DigestOf([]byte("x"))}, {}}
	gone := &engine.Result{Unread: &engine.Unread{Err: errors.New("gone")}}
	if err := r.record(t.Context(), 0, gone); err == nil || !strings.Contains(err.Error(), "item 0 was listed and cannot be read again") {
		t.Errorf("an item: %v", err)
	}
	if err := r.record(t.Context(), 1, gone); err != nil {
		t.Errorf("a hole: %v", err)
	}
}

// Secrets have no business in a file, and come back in their order.
func TestSpoolHoldsSecrets(t *testing.T) {
	s, err := newSpool()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []string
	for _, kind := range []string{"ConfigMap", "Secret", "ConfigMap", "Secret"} {
		sub := &engine.Subject{APIVersion: "v1", Kind: kind, Name: "n", Object: map[string]any{"data": map[string]any{"password": "of-the-" + kind}}}
		if err := s.add(sub, nil); err != nil {
			t.Fatal(err)
		}
		want = append(want, kind)
	}
	var got []string
	for sub, err := range s.Inspect(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, sub.Kind)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("listed %q, read %q", want, got)
	}
	info, err := s.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, info.Size())
	if _, err := s.file.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("of-the-ConfigMap")) || bytes.Contains(raw, []byte("of-the-Secret")) || bytes.Contains(raw, []byte(`"Secret"`)) {
		t.Errorf("in the file is %s", raw)
	}
}
