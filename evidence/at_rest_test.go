//go:build unix

package evidence_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// moving is a folder whose writer goes on whenever somebody looks at it.
type moving struct {
	fs.ReadLinkFS
	step func(name string)
}

func (m moving) Open(name string) (fs.File, error) {
	m.step(name)
	return m.ReadLinkFS.Open(name)
}

func (m moving) Lstat(name string) (fs.FileInfo, error) {
	m.step(name)
	return m.ReadLinkFS.Lstat(name)
}

// growing is the folder of an admission run, and what appends so many records to it, and seals them.
func growing(t *testing.T, k key) (dir string, more func(records int), seal func()) {
	t.Helper()
	dir = t.TempDir()
	w, err := producer.Open(t.Context(), dir, producer.Options{Signer: k, Kind: "admission", Mode: producer.Strict, Run: "it goes on", Engine: evidence.Engine{Version: "test"}})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	t.Cleanup(func() { w.Close(context.Background(), "stopped") })
	pack, err := w.Object(strings.NewReader("the policies"))
	must(err)
	active, err := w.Append(t.Context(), evidence.Record{Activation: &evidence.Activation{PolicySet: pack, Pack: pack, Mode: "deny", Unknown: "deny"}})
	must(err)
	n := 0
	more = func(records int) {
		errs := make(chan error, records)
		for range records {
			in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: fmt.Sprint("c", n)}
			n++
			raw, err := evidence.Encode(in)
			must(err)
			rec := evidence.Record{Decision: &evidence.Decision{Event: in.Name, Source: "admission", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, Input: evidence.DigestOf(raw),
				Activation: active.Seq, PolicySet: pack, Results: []evidence.Result{{Policy: "a/b", Verdict: "fail"}}}}
			go func() {
				_, err := w.Append(context.Background(), rec, in)
				errs <- err
			}()
		}
		for range records {
			must(<-errs)
		}
		_, err := w.Checkpoint(t.Context())
		must(err)
	}
	return dir, more, func() {
		must(w.Seal(t.Context(), evidence.Seal{PolicySet: pack, Pack: pack}, nil, signer(t, k)))
	}
}

func there(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

// A folder that is written while it is listed, read and exported is at each moment one that verifies, and so is the bundle.
func TestBesideItsWriter(t *testing.T) {
	k := newKey(t)
	dir, more, seal := growing(t, k)
	more(1)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	steps := 0
	step := func(name string) {
		if steps++; steps > 40 {
			return
		}
		if more(1 + steps%3); steps%2 == 0 {
			seal()
		}
		// A tile fills up, and what there was of it is removed, when it was seen and not looked into.
		for strings.HasSuffix(name, ".p") && there(root, name) {
			more(20)
		}
	}
	for range 4 {
		steps = 0
		still, err := evidence.AtRest(moving{root.FS().(fs.ReadLinkFS), step})
		if err != nil {
			t.Fatal(err)
		}
		if steps < 20 {
			t.Errorf("it was looked at %d times", steps)
		}
		more(300)
		seal()
		v, err := evidence.Verify(still, evidence.Options{Now: time.Now()})
		if err != nil || v.ExitCode() != evidence.ExitIncomplete {
			t.Fatalf("%v: %+v", err, v)
		}
		again, err := evidence.Verify(fstest.MapFS(unpacked(t, exported(t, still, k, evidence.ExportOptions{}))), evidence.Options{Now: time.Now()})
		if err != nil || len(again.Problems) > 0 || again.Head != v.Head || again.Seals != v.Seals {
			t.Fatalf("exported: %v: %+v", err, again)
		}
	}
}

// What a writer was at when it was cut off is told and is no alteration; but for that a folder has its own files only.
func TestUnfinished(t *testing.T) {
	whole, _ := scan(t)
	for _, name := range []string{"reserve.tmp", "lock.tmp", "objects/123.tmp", "seals/000002.tmp/files.json", "seals/000002.tmp/statement.sigstore.json.tmp", "log/spare.tmp", "log/checkpoint.tmp",
		"log/.state/treeState1298498081", "log/tile/entries/000.p/81727887", "log/tile/0/0005577006791", "log/tile/entries/x001/0023"} {
		for sealed, f := range map[bool]folder{true: whole.clone(), false: whole.unsealed()} {
			f.put(name, []byte("half"))
			v := f.verify(t, evidence.Options{})
			if v.ExitCode() != evidence.ExitIncomplete || !slices.ContainsFunc(v.Holes, func(p evidence.Problem) bool { return p.Code == evidence.Unfinished && p.Place == name }) {
				t.Errorf("%s, sealed %t: %+v, %+v", name, sealed, v.Problems, v.Holes)
			}
		}
	}
	for _, name := range []string{"tmp", "objects/tmp", "objects/.tmp.d/x", "log/tile/entries/000.p/8172x", "log/.state/treeState1.x", "log/tile/8/0001", "log/tile/0/00a1"} {
		f := whole.clone()
		f.put(name, []byte("half"))
		if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("%s: %+v", name, v)
		}
	}
	k := newKey(t)
	bundle := unpacked(t, exported(t, fstest.MapFS(folderOf(t, k, "c", 2)), k, evidence.ExportOptions{}))
	bundle.put("evidence/reserve.tmp", nil)
	if v := bundle.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitUnverified {
		t.Errorf("in a bundle: %+v", v)
	}
}

// Founding a folder is cut off before there is anything to verify; what was recorded is not hidden by taking its producer away.
func TestNotFounded(t *testing.T) {
	whole, _ := scan(t)
	begun := folder(maps.Clone(whole))
	delete(begun, evidence.ProducerFile)
	if v := begun.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitUnverified {
		t.Errorf("without its producer: %+v", v)
	}
	maps.DeleteFunc(begun, func(name string, _ *fstest.MapFile) bool {
		return !slices.Contains([]string{evidence.SaltFile, evidence.KeyFile, evidence.TrustedRootFile, evidence.CheckpointFile}, name) && !strings.HasPrefix(name, "log/.state/")
	})
	if _, err := evidence.Verify(fstest.MapFS(begun), evidence.Options{}); err == nil || !strings.Contains(err.Error(), "cut off before anything was recorded") {
		t.Errorf("without anything: %v", err)
	}
}
