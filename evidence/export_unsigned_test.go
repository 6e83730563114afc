//go:build unix

package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// resumed is a folder to which an unsigned record was added: somebody began to scan, and was killed.
func (f folder) resumed(t *testing.T) folder {
	t.Helper()
	f = f.clone()
	all := f.records(t)
	next := like(all[len(all)-1])
	next.Open, next.Run = &evidence.Open{Kind: "scan"}, "killed"
	f.put(evidence.RecordsFile(0), bytes.Join(chained(t, append(all, next)), nil))
	return f
}

// An export is as incomplete as the folder it was made of: what is unsigned or unsealed there is told.
func TestExportOfUnsealed(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	scanInto(t, dir, k, "cluster-a", 3)
	scanInto(t, dir, k, "cluster-a", 3)
	whole := read(t, dir).sealed(t)
	added := func(name, text string) func(folder) folder {
		return func(f folder) folder {
			f.edit(name, func(b []byte) []byte { return append(b, text...) })
			return f
		}
	}
	for name, c := range map[string]struct {
		change func(folder) folder
		what   string
		gap    string
	}{
		"no seal": {func(f folder) folder { return f.unsealed() }, "the folder has no seal", ""},
		"the newest seal gone": {func(f folder) folder {
			for name := range f {
				if strings.HasPrefix(name, evidence.SealDir(2)+"/") {
					delete(f, name)
				}
			}
			return f
		}, "7 records came after the newest seal", ""},
		"a record after the head": {func(f folder) folder { return f.resumed(t) }, "1 record came after it, not signed yet", `"kind":"unsigned","seq":14`},
		"killed while listing": {func(f folder) folder {
			return added(evidence.InputsFile(0), string(keptLine(t, "listed")))(f.resumed(t))
		},
			"1 record came after it, not signed yet", `"lost":1`},
		"killed while writing": {func(f folder) folder { return added(evidence.RecordsFile(0), `{"type":`)(f.resumed(t)) }, "2 records came after it", `"lost":2`},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.change(whole.clone())
			if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
				t.Fatalf("the folder: exit code %d: %v", v.ExitCode(), v.Problems)
			}
			for what, o := range map[string]evidence.ExportOptions{"whole": {}, "without inputs": {Filter: evidence.Filter{WithoutInputs: true}}} {
				x := unpacked(t, exported(t, fstest.MapFS(f), k, o))
				v := x.verify(t, evidence.Options{})
				if v.ExitCode() != evidence.ExitIncomplete {
					t.Errorf("%s: exit code %d: %v", what, v.ExitCode(), v.Problems)
				}
				tells(t, v.Holes, evidence.Unsealed, c.what)
				if !bytes.Contains(x[evidence.GapsFile].Data, []byte(c.gap)) {
					t.Errorf("%s: gaps.json does not say %s: %s", what, c.gap, x[evidence.GapsFile].Data)
				}
			}
		})
	}
}

// What an exporter makes of a folder that goes on after its seal is still what was sealed, and so are its seals.
func TestExportOfUnsealedLies(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	scanInto(t, dir, k, "cluster-a", 3)
	scanInto(t, dir, k, "cluster-a", 3)
	inputs := "evidence/" + evidence.InputsFile(0)
	grown := read(t, dir).resumed(t)
	grown.edit(evidence.InputsFile(0), func(b []byte) []byte { return append(b, keptLine(t, "listed")...) })
	for name, c := range map[string]struct {
		change     func(folder)
		say        func(*evidence.Manifest)
		code, what string
	}{
		"inputs in another order": {func(f folder) {
			l := f.lines(inputs)
			l[0], l[1] = l[1], l[0]
			f.put(inputs, bytes.Join(l, nil))
		}, nil, evidence.FileAltered, "it is not what it was when it was sealed"},
		"nothing unsigned":       {func(folder) {}, func(m *evidence.Manifest) { m.Unsigned = 0 }, evidence.FileAltered, "it is not what it was when it was sealed"},
		"the newest seal gone":   {func(f folder) { unseal(f, 2) }, nil, evidence.CountsDiffer, "it says seals 2, and there is 1"},
		"every seal gone":        {func(f folder) { unseal(f, 1); unseal(f, 2) }, nil, evidence.CountsDiffer, "it says seals 2, and there is 0"},
		"other numbers unsigned": {func(folder) {}, func(m *evidence.Manifest) { m.Unsigned = 3 }, evidence.FileAltered, "gaps.json: it is not what the records give"},
	} {
		t.Run(name, func(t *testing.T) {
			f := unpacked(t, exported(t, fstest.MapFS(grown), k, evidence.ExportOptions{}))
			c.change(f)
			refused(t, f.reexported(t, k, c.say).verify(t, evidence.Options{}), c.code, c.what)
		})
	}
	// Who says that there were no seals is told so.
	f := unpacked(t, exported(t, fstest.MapFS(grown), k, evidence.ExportOptions{}))
	unseal(f, 1)
	unseal(f, 2)
	v := f.reexported(t, k, func(m *evidence.Manifest) { m.Seals = 0 }).verify(t, evidence.Options{})
	tells(t, v.Holes, evidence.Unsealed, "the folder has no seal")
}
