//go:build unix

package producer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// What is written to a file that no name leads to any more is acknowledged to nobody.
func TestReplacedUnderTheWriter(t *testing.T) {
	again := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			raw, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path+".tmp", raw, 0o644)
			}
			if err == nil {
				err = os.Rename(path+".tmp", path)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, harm := range map[string]func(t *testing.T, dir string){
		"records put back": again(firstRecords),
		"inputs put back":  again(firstInputs),
		"lock put back":    again(evidence.LockFile),
		"lock removed": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, evidence.LockFile)); err != nil {
				t.Fatal(err)
			}
		},
		"folder removed": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"folder restored": func(t *testing.T, dir string) {
			if err := os.CopyFS(dir+".new", os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir, dir+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir+".new", dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, dir := newKey(t), filepath.Join(t.TempDir(), "evidence")
			o := serving(k, producer.Strict)
			o.OnTrouble = func(error) {}
			w := open(t, dir, o)
			judge(t, w, 5)
			if _, err := w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			harm(t, dir)
			for range 3 {
				if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}}); err == nil || !strings.Contains(err.Error(), "not the one this run opened") {
					t.Errorf("append: %v", err)
				}
			}
			if err := w.Close(t.Context(), "stopped"); err == nil || !strings.Contains(err.Error(), "not the one this run opened") {
				t.Errorf("close: %v", err)
			}
			if _, err := os.Stat(dir); err != nil {
				return
			}
			// What is there goes on.
			w = open(t, dir, serving(k, producer.Strict))
			if err := w.Close(t.Context(), "stopped"); err != nil {
				t.Fatal(err)
			}
			if v := verified(t, dir); v.Records != 9 || v.Unsigned != 0 {
				t.Errorf("%d records, %d unsigned", v.Records, v.Unsigned)
			}
		})
	}
}

// It is looked at once more before anything is acknowledged.
func TestReplacedWhileWritten(t *testing.T) {
	dir := t.TempDir()
	var armed atomic.Bool
	o := serving(newKey(t), producer.Strict)
	o.OnTrouble = func(error) {}
	o.Now = func() time.Time {
		if armed.Swap(false) {
			if err := os.Rename(filepath.Join(dir, firstRecords+".tmp"), filepath.Join(dir, firstRecords)); err != nil {
				t.Error(err)
			}
		}
		return time.Now()
	}
	w := open(t, dir, o)
	judge(t, w, 5)
	raw, err := os.ReadFile(filepath.Join(dir, firstRecords))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, firstRecords+".tmp"), raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	if _, err := w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: "x"}}); err == nil || !strings.Contains(err.Error(), "not the one this run opened") {
		t.Errorf("append: %v", err)
	}
}

// What became durable before the folder was replaced is not put into the log of another.
func TestLogOfAnotherFolder(t *testing.T) {
	k := &failing{key: newKey(t)}
	dir := filepath.Join(t.TempDir(), "evidence")
	o := serving(k, producer.Strict)
	o.OnTrouble = func(error) {}
	w := open(t, dir, o)
	judge(t, w, 5)
	if _, err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := killed(t, dir)
	k.broken.Store(true)
	appended(t, w, evidence.Record{Change: &evidence.Change{What: "x"}})
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, dir); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	k.broken.Store(false)
	time.Sleep(time.Second) // it is tried again meanwhile
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.Close(ctx, "stopped"); err == nil || !strings.Contains(err.Error(), "not the one this run opened") {
		t.Errorf("close: %v", err)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("another folder was written to:\n%s\n%s", before, after)
	}
}

// Who takes the lock's file away has no second writer for it.
func TestLockRemoved(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	o := serving(k, producer.Strict)
	o.OnTrouble = func(error) {}
	w := open(t, dir, o)
	judge(t, w, 5)
	if err := os.Remove(filepath.Join(dir, evidence.LockFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := producer.Open(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "is writing to it") {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, evidence.LockFile)); err == nil {
		t.Error("who was refused made a lock")
	}
}

func TestAnotherCluster(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	of := func(uid string) producer.Options {
		o := serving(k, producer.Strict)
		if o.Cluster = nil; uid != "" {
			o.Cluster = &evidence.Cluster{UID: uid, Name: `a "name`}
		}
		return o
	}
	for _, uid := range []string{"", "c-1", "", "c-1"} {
		w := open(t, dir, of(uid))
		judge(t, w, 3)
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
	}
	w := open(t, dir, of("")) // of several
	rec, in := decision(t, 9)
	rec.Cluster = &evidence.Cluster{UID: "c-3"}
	appended(t, w, rec, in)
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	if _, err := producer.Open(t.Context(), dir, of("c-2")); err == nil || !strings.Contains(err.Error(), "the cluster with UID c-1, and this is the one with UID c-2: name a folder of its own") {
		t.Errorf("another cluster: %v", err)
	}
	for what, c := range map[string]struct{ uid, want string }{
		"of several, one of them another": {"c-2", "this is the one with UID c-2"},
		"one that does not say which":     {"", "it cannot be established that this one is: let it read the namespace kube-system"},
	} {
		o := of("")
		o.Clusters = []evidence.Cluster{{UID: "c-1"}, {UID: c.uid, Name: "prod"}}
		if _, err := producer.Open(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := snapshot(t, dir); after != before {
		t.Error("what was refused was altered")
	}
}

// What was judged is for nobody else to read.
func TestFolderIsPrivate(t *testing.T) {
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	made := filepath.Join(t.TempDir(), "evidence")
	open(t, made, serving(newKey(t), producer.Strict))
	if got := mode(made); got != 0o700 {
		t.Errorf("a folder of ours is %o", got)
	}
	there := t.TempDir()
	for _, name := range []string{"", "records", "inputs"} {
		path := filepath.Join(there, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	open(t, there, serving(newKey(t), producer.Strict))
	for _, name := range []string{"records", "inputs"} {
		if got := mode(filepath.Join(there, name)); got != 0o700 {
			t.Errorf("%s in a folder that was open to all is %o", name, got)
		}
	}
}
