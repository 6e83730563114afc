//go:build unix

package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// scanOf is the folder of a scan of n items, each judged by six policies that name four controls: what the built-in policies
// say of a backup location. Every fifth rests on a fact that names the namespace of the first.
func scanOf(b testing.TB, k key, n int, subject func(i int) evidence.Subject) string {
	b.Helper()
	dir := b.TempDir()
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	w, err := producer.Open(ctx, dir, producer.Options{Signer: k, Kind: "scan", Run: "large", Engine: evidence.Engine{Version: "test", Program: evidence.DigestOf(nil)}})
	must(err)
	pack, err := w.Object(strings.NewReader("the policies"))
	must(err)
	set := evidence.DigestOf([]byte("the set"))
	active, err := w.Append(ctx, evidence.Record{Activation: &evidence.Activation{PolicySet: set, Pack: pack, Policies: 6, Mode: "deny", Unknown: "deny"}})
	must(err)
	var results []evidence.Result
	for i := range 6 {
		r := evidence.Result{Policy: fmt.Sprint("residency/location-region-allowed-", i), Digest: set, Severity: "critical", Verdict: verdicts[i%4], Effect: "record"}
		for j := range 4 {
			r.Controls = append(r.Controls, engine.Control{Framework: "nist800-53r5", ID: fmt.Sprint("cp-9.", j), Relation: "supports"})
		}
		if r.Verdict == "fail" {
			r.Violations = []engine.Violation{{Path: "spec.config.region", Message: "the region us-east-1 lies in US, want eu"}}
		}
		results = append(results, r)
	}
	var list bytes.Buffer
	var tree evidence.Tree
	var inputs []any
	items := make([]evidence.Item, n)
	for i := range n {
		sub := subject(i)
		in := evidence.Input{APIVersion: sub.APIVersion, Kind: sub.Kind, Namespace: sub.Namespace, Name: sub.Name, Source: sub.Source,
			Object: map[string]any{"spec": map[string]any{"provider": "aws", "config": map[string]any{"region": "us-east-1"}, "objectStorage": map[string]any{"bucket": fmt.Sprint("backups-", i)}}}}
		raw, err := evidence.Encode(in)
		must(err)
		items[i] = evidence.Item{N: i, Input: evidence.DigestOf(raw), Subject: &sub}
		if inputs = append(inputs, in); len(inputs) == 256 || i == n-1 {
			must(w.Keep(ctx, inputs...))
			inputs = nil
		}
		line, err := evidence.Encode(items[i])
		must(err)
		tree.Add(line)
		list.Write(append(line, '\n'))
	}
	object, err := w.Object(&list)
	must(err)
	population := &evidence.Population{Items: n, Root: tree.Root(), List: object}
	_, err = w.Append(ctx, evidence.Record{Population: population})
	must(err)
	before, err := w.Checkpoint(ctx)
	must(err)
	fact := map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "settings", "namespace": subject(0).Namespace}}
	kept, err := evidence.Encode(fact)
	must(err)
	must(w.Keep(ctx, fact))
	facts := []evidence.Fact{{Query: evidence.Query{Kind: "ConfigMap", Name: "settings"}, State: "found", Value: evidence.DigestOf(kept)}}
	var durable func() error
	for i := range n {
		d := &evidence.Decision{Event: strconv.Itoa(i), Source: "scan", Subject: *items[i].Subject, Now: readAt.UTC(), Input: items[i].Input, Activation: active.Seq, PolicySet: set, Results: results}
		if i%5 == 0 {
			d.Facts = facts
		}
		durable, err = w.Enqueue(ctx, evidence.Record{Decision: d})
		must(err)
		if i%1024 == 0 {
			must(durable())
		}
	}
	must(durable())
	_, err = w.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: "done"}})
	must(err)
	sign := signer(b, k)
	must(w.Seal(ctx, evidence.Seal{Population: population, PolicySet: set, Pack: pack, Complete: true}, before, sign))
	must(w.Close(ctx, "done"))
	return dir
}

// signer signs statements as evidence/cosign does.
func signer(t testing.TB, k key) func(context.Context, []byte) ([]byte, error) {
	return func(_ context.Context, statement []byte) ([]byte, error) { return bundleOf(t, k, statement), nil }
}

// tenant names the items of two tenants by turns.
func tenant(i int) evidence.Subject {
	return evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Namespace: fmt.Sprint("tenant-", i%2), Name: fmt.Sprintf("settings-%d-of-tenant-%d", i, i%2), Source: "cluster:"}
}

// exported is an export, as the bytes of the tar.
func exported(t testing.TB, from fs.FS, k key, o evidence.ExportOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	o.Key, o.Sign, o.Scratch = k.public(t), signer(t, k), t.TempDir()
	if _, err := evidence.Export(t.Context(), from, &b, &o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked is an export as a folder.
func unpacked(t testing.TB, raw []byte) folder {
	t.Helper()
	from, err := evidence.OpenArchive(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	f := folder{}
	err = fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, name)
		f.put(name, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f folder) manifest(t testing.TB) (m evidence.Manifest) {
	t.Helper()
	if err := json.Unmarshal(f[evidence.ManifestFile].Data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// reexported is an export whose manifest lists what is there now, signed anew: what an exporter can do who lies.
func (f folder) reexported(t testing.TB, k key, change func(*evidence.Manifest)) folder {
	t.Helper()
	m := f.manifest(t)
	m.Files = nil
	for _, name := range f.names() {
		if !strings.HasPrefix(name, "manifest.") {
			m.Files = append(m.Files, evidence.File{Path: name, Size: int64(len(f[name].Data)), Digest: evidence.DigestOf(f[name].Data)})
		}
	}
	if change != nil {
		change(&m)
	}
	raw := append(encoded(t, m), '\n')
	f.put(evidence.ManifestFile, raw)
	f.put(evidence.ManifestKey, k.public(t).PEM())
	f.put(evidence.ManifestStatement, bundleOf(t, k, encoded(t, evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.ExportType,
		Predicate: evidence.Exported{Producer: m.Producer.ID, Head: m.Head, Records: m.Records, LeftOut: m.LeftOut},
		Subject:   []evidence.StatementSubject{{Name: evidence.ManifestFile, Digest: map[string]string{"sha256": strings.TrimPrefix(string(evidence.DigestOf(raw)), "sha256:")}}}})))
	return f
}

// An export of all verifies; one of a part verifies as far as it goes, says what is left out, and holds nothing of that.
func TestExportFilters(t *testing.T) {
	k := newKey(t)
	from := os.DirFS(scanOf(t, k, 20, tenant))
	at := read(t, fmt.Sprint(from)).records(t)
	cases := map[string]struct {
		o       evidence.ExportOptions
		exit    int
		records []uint64
		said    string
		absent  []string
	}{
		"all":        {exit: evidence.ExitVerified, records: upTo(0, 23)},
		"no inputs":  {o: evidence.ExportOptions{Filter: evidence.Filter{WithoutInputs: true}}, exit: evidence.ExitIncomplete, records: upTo(0, 23), said: "21 values", absent: []string{"provider"}},
		"one tenant": {o: evidence.ExportOptions{Filter: evidence.Filter{Namespace: "tenant-1"}}, exit: evidence.ExitIncomplete, records: append(append([]uint64{0, 1, 2}, odd(4, 22)...), 23), said: "10 records, 1 value and 1 list of what scans would judge;", absent: []string{"tenant-0"}},
		// The records just outside of the period show where it begins and ends.
		"a period": {o: evidence.ExportOptions{Filter: evidence.Filter{From: at[8].At, Until: at[12].At}}, exit: evidence.ExitIncomplete, records: append([]uint64{0, 1, 2}, upTo(7, 12)...), said: "15 records"},
		"the end":  {o: evidence.ExportOptions{Filter: evidence.Filter{From: at[20].At}}, exit: evidence.ExitIncomplete, records: append([]uint64{0, 1, 2}, upTo(19, 23)...), said: "recorded before"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			raw := exported(t, from, k, c.o)
			f := unpacked(t, raw)
			v := f.verify(t, evidence.Options{})
			if len(v.Problems) > 0 || v.ExitCode() != c.exit {
				t.Fatalf("exit code %d, problems %v, holes %v", v.ExitCode(), v.Problems, v.Holes)
			}
			if c.said != "" {
				tells(t, v.Holes, evidence.LeftOut, c.said)
			}
			open, err := evidence.OpenFolder(fstest.MapFS(f))
			if err != nil {
				t.Fatal(err)
			}
			var seqs []uint64
			for rec, err := range open.Records() {
				if err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, rec.Seq)
			}
			if !slices.Equal(seqs, c.records) {
				t.Errorf("records %v, want %v", seqs, c.records)
			}
			for _, text := range append(c.absent, "salt", "lock\n") {
				if bytes.Contains(raw, []byte(text)) && !(text == "salt" && bytes.Contains(raw, []byte("\"path\":\"salt\""))) {
					t.Errorf("the export holds %q", text)
				}
			}
			for _, name := range []string{evidence.SaltFile, evidence.LockFile, "log/.state/treeState"} {
				if f["evidence/"+name] != nil {
					t.Errorf("the export has %s", name)
				}
			}
			again := exported(t, from, k, c.o)
			one, other := unpacked(t, raw), unpacked(t, again)
			for _, name := range one.names() {
				if !strings.HasSuffix(name, ".sigstore.json") && !bytes.Equal(one[name].Data, other[name].Data) {
					t.Errorf("exported twice, %s differs", name)
				}
			}
		})
	}
}

func upTo(first, last uint64) (all []uint64) {
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func odd(first, last uint64) (all []uint64) {
	for n := first; n <= last; n += 2 {
		all = append(all, n)
	}
	return all
}
