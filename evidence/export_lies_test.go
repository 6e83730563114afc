//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// bundle is a small export with one record signed on its own, what it was made of, and its key; tests that alter it clone it.
var bundle = struct {
	sync.Once
	raw []byte
	folder
	key
}{}

func export(t testing.TB) (folder, key) {
	t.Helper()
	bundle.Do(func() {
		bundle.key = newKey(t)
		dir, err := os.MkdirTemp("", "proviso-export-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		scanInto(t, dir, bundle.key, "cluster-a", 4)
		bundle.raw = exported(t, os.DirFS(dir), bundle.key, evidence.ExportOptions{Records: []uint64{4, 5}})
		bundle.folder = unpacked(t, bundle.raw)
	})
	return bundle.folder.clone().sealed(t), bundle.key
}

// Whoever alters an export is seen without signing it anew; and who signs it anew can say nothing that the log does not say.
func TestExportLies(t *testing.T) {
	other, otherKey := scan(t)
	const (
		first  = "0000000004"
		second = "0000000005"
		record = "evidence/records/0000000000.jsonl"
		inputs = "evidence/inputs/0000000000.jsonl"
	)
	swap := func(a, b string) func(folder) { return func(f folder) { f[a], f[b] = f[b], f[a] } }
	edit := func(name, old, to string) func(folder) {
		return func(f folder) {
			if !bytes.Contains(f[name].Data, []byte(old)) {
				panic(name + " has no " + old)
			}
			f.edit(name, func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(to), 1) })
		}
	}
	for name, c := range map[string]struct {
		change func(folder)
		resign bool
		say    func(*evidence.Manifest)
		code   string
		what   string
	}{
		"the page":                    {change: edit(evidence.SummaryHTML, "fail", "pass"), code: evidence.FileAltered, what: "summary.html: it is not what the manifest says"},
		"the page, signed":            {change: edit(evidence.SummaryHTML, "fail", "pass"), resign: true, code: evidence.FileAltered, what: "summary.html: it is not what the records give"},
		"the table, signed":           {change: edit(evidence.SummaryCSV, "a/b", "a/c"), resign: true, code: evidence.FileAltered, what: "summary.csv: it is not what the records give"},
		"the gaps, signed":            {change: func(f folder) { f.put(evidence.GapsFile, []byte("[]\n")) }, resign: true, code: evidence.FileAltered, what: "gaps.json: it is not what the records give"},
		"no page, signed":             {change: func(f folder) { delete(f, evidence.SummaryHTML) }, resign: true, code: evidence.FileAltered, what: "summary.html"},
		"the instructions":            {change: edit(evidence.InstructionsFile, "openssl", "opensl"), code: evidence.FileAltered, what: evidence.InstructionsFile},
		"another file":                {change: func(f folder) { f.put("evidence/extra", nil) }, code: evidence.FileUnlisted, what: "evidence/extra: the manifest does not list it"},
		"another file, signed":        {change: func(f folder) { f.put("extra", nil) }, resign: true, code: evidence.FileUnlisted, what: "extra: evidence has no such file"},
		"a salt, signed":              {change: func(f folder) { f.put("evidence/salt", nil) }, resign: true, code: evidence.FileUnlisted, what: "salt"},
		"a file less":                 {change: func(f folder) { delete(f, inputs) }, code: evidence.FileMissing, what: inputs},
		"no manifest":                 {change: func(f folder) { delete(f, evidence.ManifestFile) }, code: evidence.FileMissing, what: evidence.ManifestFile},
		"no signature":                {change: func(f folder) { delete(f, evidence.ManifestStatement) }, code: evidence.FileMissing, what: evidence.ManifestStatement},
		"no key":                      {change: func(f folder) { delete(f, evidence.ManifestKey) }, code: evidence.FileMissing, what: evidence.ManifestKey},
		"another manifest":            {change: edit(evidence.ManifestFile, `"leftOut":0`, `"leftOut":1`), code: evidence.FileAltered, what: "not the manifest that was signed"},
		"a key of somebody else":      {change: func(f folder) { f.put(evidence.ManifestKey, otherKey.public(t).PEM()) }, code: evidence.SignatureInvalid, what: evidence.ManifestStatement},
		"a seal as statement":         {change: func(f folder) { f[evidence.ManifestStatement] = f["evidence/seals/000001/statement.sigstore.json"] }, code: evidence.WrongStatement, what: "open statement"},
		"a record as statement":       {change: func(f folder) { f[evidence.ManifestStatement] = f["bundles/"+first+".sigstore.json"] }, code: evidence.WrongStatement, what: "open statement"},
		"an input less, signed":       {change: func(f folder) { f.put(inputs, bytes.Join(f.lines(inputs)[1:], nil)) }, resign: true, code: evidence.InputMissing, what: "what was judged"},
		"an input hidden, signed":     {change: func(f folder) { hide(t, f, inputs) }, resign: true, code: evidence.CountsDiffer, what: "inputs left out"},
		"an input hidden, undeclared": {change: func(f folder) { hide(t, f, inputs) }, resign: true, say: func(m *evidence.Manifest) { m.InputsLeftOut = 1 }, code: evidence.InputMissing, what: "the filter does not say so"},
		"an input more, signed":       {change: func(f folder) { f.edit(inputs, func(b []byte) []byte { return append(b, keptLine(t, "more")...) }) }, resign: true, code: evidence.FileAltered, what: "when it was sealed"},
		"no inputs, signed":           {change: func(f folder) { delete(f, inputs) }, resign: true, code: evidence.FileMissing, what: "the newest seal lists it"},
		"a record altered, signed":    {change: edit(record, `"fail"`, `"pass"`), resign: true, code: evidence.RecordAltered, what: "is not the one the log has there"},
		"an object altered, signed":   {change: func(f folder) { f.edit(objectIn(f), func(b []byte) []byte { return append(b, 'x') }) }, resign: true, code: evidence.ObjectAltered},
		"a seal altered, signed":      {change: func(f folder) { delete(f, "evidence/seals/000001/files.json") }, resign: true, code: evidence.FileMissing},
		"bundles swapped, signed":     {change: swap("bundles/"+first+".sigstore.json", "bundles/"+second+".sigstore.json"), resign: true, code: evidence.WrongStatement, what: "not about a decision at 4"},
		"proofs swapped, signed":      {change: swap("proofs/"+first+".tlog-proof", "proofs/"+second+".tlog-proof"), resign: true, code: evidence.RecordAltered, what: "no proof of this record"},
		"a proof altered, signed":     {change: func(f folder) { f.edit("proofs/"+first+".tlog-proof", flipHash) }, resign: true, code: evidence.RecordAltered, what: "not in the log"},
		"subjects swapped, signed":    {change: swap("bundles/"+first+".input.json", "bundles/"+second+".input.json"), resign: true, code: evidence.InputAltered},
		"a bundle less, signed":       {change: func(f folder) { delete(f, "bundles/"+first+".sigstore.json") }, resign: true, code: evidence.FileMissing, what: "bundles/" + first},
		"a record that never was":     {change: func(f folder) { f.put("bundles/"+first+".sigstore.json", invented(t, f)) }, resign: true, code: evidence.RecordAltered, what: "not in the log"},
		"a subject that never was": {change: func(f folder) {
			f.put("bundles/"+first+".sigstore.json", aboutOther(t, f, "", strings.Repeat("0", 64)))
		}, resign: true, code: evidence.WrongStatement, what: "its subject is not what the record judges"},
		"a subject by another name":  {change: func(f folder) { f.put("bundles/"+first+".sigstore.json", aboutOther(t, f, "other", "")) }, resign: true, code: evidence.WrongStatement, what: "its subject is not what the record judges"},
		"a proof under another head": {change: func(f folder) { otherHead(f, "proofs/"+first+".tlog-proof") }, resign: true, code: evidence.RecordAltered, what: "the head in it is not the head of the log"},
		"evidence of another":        {change: func(f folder) { replaceEvidence(f, other) }, resign: true, code: evidence.OtherLog, what: "it is about the log"},
		"another format":             {resign: true, say: func(m *evidence.Manifest) { m.Format = 2 }, code: evidence.WrongStatement, what: "format 2"},
		"other counts":               {resign: true, say: func(m *evidence.Manifest) { m.Counts.Fail-- }, code: evidence.CountsDiffer, what: "it counts"},
		"other clusters":             {resign: true, say: func(m *evidence.Manifest) { m.Clusters[0].UID = "cluster-b" }, code: evidence.CountsDiffer, what: "clusters"},
		"another seed":               {resign: true, say: func(m *evidence.Manifest) { m.Seed = "AAAA" }, code: evidence.CountsDiffer, what: "the seed"},
		"another time":               {resign: true, say: func(m *evidence.Manifest) { m.First = m.First.Add(-time.Hour) }, code: evidence.CountsDiffer, what: "first"},
		"fewer ranges":               {resign: true, say: func(m *evidence.Manifest) { m.Included[0].First = 1 }, code: evidence.CountsDiffer, what: "record 0: it is there, and the manifest does not say so"},
		"a record signed unasked":    {change: func(f folder) { f.put("bundles/0000000003.sigstore.json", invented(t, f)) }, resign: true, code: evidence.FileUnlisted, what: "bundles/0000000003.sigstore.json: the manifest does not say that the record is signed"},
		"a proof unasked":            {change: func(f folder) { f["proofs/0000000003.tlog-proof"] = f["proofs/"+first+".tlog-proof"] }, resign: true, code: evidence.FileUnlisted, what: "proofs/0000000003"},
		"signed, and not said":       {change: func(f folder) { f.put("bundles/"+second+".sigstore.json", invented(t, f)) }, resign: true, say: func(m *evidence.Manifest) { m.Signed = m.Signed[:1] }, code: evidence.FileUnlisted, what: "bundles/" + second},
		"signed twice":               {resign: true, say: func(m *evidence.Manifest) { m.Signed = []uint64{4, 4, 5} }, code: evidence.WrongStatement, what: "not in its order"},
		"signed backwards":           {resign: true, say: func(m *evidence.Manifest) { m.Signed = []uint64{5, 4} }, code: evidence.WrongStatement, what: "not in its order"},
		"signed too many":            {resign: true, say: func(m *evidence.Manifest) { m.Signed = upTo(0, 10_000) }, code: evidence.WrongStatement, what: "or more than 10000"},
		"another root of trust":      {change: func(f folder) { f.put(evidence.TrustedRootFile, []byte("{}")) }, resign: true, code: evidence.FileAltered, what: "trusted_root.json: it is not the empty root"},
		"no instructions":            {change: func(f folder) { delete(f, evidence.InstructionsFile) }, resign: true, code: evidence.FileMissing, what: "VERIFY.md: it is not there"},
		"no seal, signed":            {change: func(f folder) { unseal(f, 1) }, resign: true, code: evidence.CountsDiffer, what: "it says seals 1, and there is 0"},
		"another head":               {resign: true, say: func(m *evidence.Manifest) { m.Head.Size-- }, code: evidence.CountsDiffer, what: "the head"},
	} {
		t.Run(name, func(t *testing.T) {
			f, k := export(t)
			if c.change != nil {
				c.change(f)
			}
			if c.resign {
				f.reexported(t, k, c.say)
			}
			refused(t, f.verify(t, evidence.Options{}), c.code, c.what)
		})
	}
}

// objectIn is the name of an object in an export.
func objectIn(f folder) string {
	for _, name := range f.names() {
		if strings.HasPrefix(name, "evidence/objects/") {
			return name
		}
	}
	return ""
}

// hide puts the digest alone in place of an export's first input.
func hide(t *testing.T, f folder, name string) {
	lines := f.lines(name)
	var kept evidence.KeptValue
	if err := json.Unmarshal(lines[0], &kept); err != nil {
		t.Fatal(err)
	}
	lines[0] = append(encoded(t, evidence.KeptValue{Digest: kept.Digest, Erased: "left out of the export"}), '\n')
	f.put(name, bytes.Join(lines, nil))
}

// unseal takes a seal away from an export.
func unseal(f folder, n int) {
	maps.DeleteFunc(f, func(name string, _ *fstest.MapFile) bool {
		return strings.HasPrefix(name, "evidence/"+evidence.SealDir(n)+"/")
	})
}

// flipHash alters the first hash of a proof.
func flipHash(b []byte) []byte {
	at := bytes.IndexByte(b, '\n') + 1
	at += bytes.IndexByte(b[at:], '\n') + 1
	b[at] = "AB"[btoi(b[at] == 'A')]
	return b
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// invented is a bundle about a record that says something else than the one in the log.
func invented(t *testing.T, f folder) []byte {
	rec := evidence.Record{}
	if err := json.Unmarshal(f.lines("evidence/records/0000000000.jsonl")[4], &rec); err != nil {
		t.Fatal(err)
	}
	rec.Decision.Results[0].Verdict = "pass"
	return bundleOf(t, bundle.key, encoded(t, evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.RecordType, Predicate: rec,
		Subject: []evidence.StatementSubject{{Name: "v1/ConfigMap/" + rec.Decision.Subject.Name, Digest: map[string]string{"sha256": strings.TrimPrefix(string(rec.Decision.Input), "sha256:")}}}}))
}

// aboutOther is a bundle with a record of the log whose subject is called otherwise, or has another digest.
func aboutOther(t *testing.T, f folder, name, digest string) []byte {
	rec := evidence.Record{}
	if err := json.Unmarshal(f.lines("evidence/records/0000000000.jsonl")[4], &rec); err != nil {
		t.Fatal(err)
	}
	if name == "" {
		name = "v1/ConfigMap/" + rec.Decision.Subject.Name
	}
	if digest == "" {
		digest = strings.TrimPrefix(string(rec.Decision.Input), "sha256:")
	}
	return bundleOf(t, bundle.key, encoded(t, evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.RecordType, Predicate: rec,
		Subject: []evidence.StatementSubject{{Name: name, Digest: map[string]string{"sha256": digest}}}}))
}

// otherHead puts an older head of the same log into a proof.
func otherHead(f folder, name string) {
	f.edit(name, func(b []byte) []byte {
		proof, _, _ := bytes.Cut(b, []byte("\n\n"))
		return append(append(proof, "\n\n"...), f["evidence/seals/000001/population.checkpoint"].Data...)
	})
}

// keptLine is a line of inputs.
func keptLine(t *testing.T, value string) []byte {
	return append(encoded(t, evidence.KeptValue{Digest: evidence.DigestOf(encoded(t, value)), Value: value}), '\n')
}

// The statement says in short what the manifest says at length: who reads the one alone is told nothing else.
func TestExportStatement(t *testing.T) {
	f, k := export(t)
	m := f.manifest(t)
	f.put(evidence.ManifestStatement, bundleOf(t, k, encoded(t, evidence.Statement{Type: evidence.StatementType, PredicateType: evidence.ExportType,
		Predicate: evidence.Exported{Producer: m.Producer.ID, Head: m.Head, Records: m.Records + 1},
		Subject:   []evidence.StatementSubject{{Name: evidence.ManifestFile, Digest: map[string]string{"sha256": strings.TrimPrefix(string(evidence.DigestOf(f[evidence.ManifestFile].Data)), "sha256:")}}}})))
	refused(t, f.verify(t, evidence.Options{}), evidence.WrongStatement, "it says something else than the manifest")
}

// replaceEvidence puts another folder into an export.
func replaceEvidence(f, other folder) {
	maps.DeleteFunc(f, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, "evidence/") })
	for name, file := range other {
		if name != evidence.SaltFile && name != evidence.LockFile && !strings.HasPrefix(name, "log/.state/") {
			f["evidence/"+name] = file
		}
	}
}

// No bit of the tar can be altered: not of a file, not of a header, not of what lies between.
func TestExportFlips(t *testing.T) {
	export(t)
	for at := 0; at < len(bundle.raw); at += 1 + at%37 {
		raw := bytes.Clone(bundle.raw)
		raw[at] ^= 1 << (at % 8)
		from, err := evidence.OpenArchive(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			continue
		}
		if v, err := evidence.Verify(from, evidence.Options{Now: readAt}); err == nil && v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("byte %d of %d was altered, and the exit code is %d", at, len(raw), v.ExitCode())
		}
	}
}

// What resources are called does nothing to who reads of them, in a browser or in a spreadsheet.
func TestExportEscapes(t *testing.T) {
	names := []string{"<script>alert(1)</script>", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\uFF1D1", "a\r\nb,c", `"><img src=x onerror=alert(1)>`, "a\u202Eb", "<!--", "&lt;"}
	k := newKey(t)
	dir := scanOf(t, k, len(names), func(i int) evidence.Subject {
		return evidence.Subject{APIVersion: names[i], Kind: names[i], Namespace: names[i], Name: names[i], Source: names[i], File: names[i]}
	})
	f := unpacked(t, exported(t, os.DirFS(dir), k, evidence.ExportOptions{}))
	if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitVerified {
		t.Fatalf("problems %v, holes %v", v.Problems, v.Holes)
	}
	page := string(f[evidence.SummaryHTML].Data)
	if !strings.Contains(page, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'">`) {
		t.Error("the page allows more than nothing")
	}
	known := map[string]bool{}
	for _, tag := range strings.Fields("!DOCTYPE html head meta title body h1 h2 p code table tr th td") {
		known[tag], known["/"+tag] = true, true
	}
	for _, after := range strings.Split(page, "<")[1:] {
		if tag, _, _ := strings.Cut(strings.FieldsFunc(after, func(r rune) bool { return r == '>' || r == ' ' })[0], ">"); !known[tag] {
			t.Errorf("the page has a tag %q", tag)
		}
	}
	for _, text := range []string{"\u202E", "\r"} {
		if strings.Contains(page, text) {
			t.Errorf("the page has %q", text)
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(f[evidence.SummaryCSV].Data)).ReadAll()
	if err != nil || len(rows) != len(names)+1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if start := strings.TrimLeft(cell, " "); start != "" && strings.ContainsAny(string([]rune(start)[:1]), "=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20") {
				t.Errorf("a cell is a formula: %q", cell)
			}
		}
	}
}

// What is known to be missing is told, and nothing is made of it.
func TestExportGaps(t *testing.T) {
	f, k := scan(t)
	records := f.records(t)
	last := records[len(records)-1]
	extra := func(change func(*evidence.Record)) evidence.Record {
		r := last
		r.Close = nil
		change(&r)
		return r
	}
	records = append(records[:len(records)-1],
		extra(func(r *evidence.Record) {
			r.Hole = &evidence.Hole{Source: "bucket", File: "x", Kind: "hole", Reason: "access denied"}
		}),
		extra(func(r *evidence.Record) {
			r.Gap = &evidence.Gap{Lost: 3, From: last.At.Add(-time.Minute), Until: last.At, Reason: "disk full"}
		}),
		extra(func(r *evidence.Record) {
			r.Erasure = &evidence.Erasure{Inputs: []engine.Digest{evidence.DigestOf(nil)}, Reason: "asked for"}
		}))
	open := insider{key: k}.resign(t, f.unsealed(), records)
	x := unpacked(t, exported(t, fstest.MapFS(open), k, evidence.ExportOptions{}))
	v := x.verify(t, evidence.Options{})
	if len(v.Problems) > 0 || v.ExitCode() != evidence.ExitIncomplete {
		t.Errorf("exit code %d: %v", v.ExitCode(), v.Problems)
	}
	var gaps []evidence.Missing
	if err := json.Unmarshal(x[evidence.GapsFile].Data, &gaps); err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, g := range gaps {
		told += fmt.Sprint(g.Kind, " ", g.Lost, "; ")
	}
	if want := "hole 0; gap 3; erasure 1; unclosed 0; "; told != want {
		t.Errorf("gaps are %q, want %q", told, want)
	}
	for _, text := range []string{"access denied", "disk full", "asked for", "no end is here"} {
		if !bytes.Contains(x[evidence.SummaryHTML].Data, []byte(text)) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

// What a tenant is shown leaves out facts, and nothing that was judged of the tenant's own.
func TestExportHidesNoInput(t *testing.T) {
	k := newKey(t)
	whole := unpacked(t, exported(t, os.DirFS(scanOf(t, k, 6, tenant)), k, evidence.ExportOptions{Filter: evidence.Filter{Namespace: "tenant-1"}}))
	if v := whole.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
		t.Fatalf("problems %v, holes %v", v.Problems, v.Holes)
	}
	hide(t, whole, "evidence/"+evidence.InputsFile(0))
	whole.reexported(t, k, func(m *evidence.Manifest) { m.InputsLeftOut++ })
	refused(t, whole.verify(t, evidence.Options{}), evidence.InputMissing, "record 4: what was judged")
}

// panics is a file system that panics where records are read, which is done beside the caller.
type panics struct{ fstest.MapFS }

func (p panics) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "records/") {
		panic("injected")
	}
	return p.MapFS.Open(name)
}

// A panic beside the caller reaches the caller, who has an exit code for it: the runtime's own is that of incomplete evidence.
func TestVerifyPanics(t *testing.T) {
	f, _ := scan(t)
	defer func() {
		if p := recover(); p != "injected" {
			t.Errorf("recovered %v", p)
		}
	}()
	_, err := evidence.Verify(panics{fstest.MapFS(f)}, evidence.Options{Now: readAt})
	t.Errorf("no panic: %v", err)
}
