//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// Each record in turn is left out (EVD-10), with and without a seal, and with all hashed anew.
func TestLeftOut(t *testing.T) {
	whole, _ := scan(t)
	records := evidence.RecordsFile(0)
	for n := range whole.lines(records) {
		f := whole.clone()
		f.put(records, bytes.Join(slices.Delete(f.lines(records), n, n+1), nil))
		refused(t, f.verify(t, evidence.Options{}), evidence.RecordMissing, fmt.Sprint("seq ", n))
		refused(t, f.unsealed().verify(t, evidence.Options{}), evidence.RecordMissing, fmt.Sprint("seq ", n))
		f = whole.clone()
		all := f.records(t)
		f.relog(chained(t, slices.Delete(all, n, n+1)))
		refused(t, f.verify(t, evidence.Options{}), evidence.RecordMissing, "")
		refused(t, f.unsealed().verify(t, evidence.Options{}), evidence.RecordMissing, "")
	}
}

// unreadable is a folder of which one file cannot be read.
type unreadable struct {
	fstest.MapFS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func (u unreadable) ReadFile(name string) ([]byte, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.ReadFile(name)
}

// What cannot be read says nothing about the evidence: it is neither taken for read nor called tampered. The salt is its owner's
// alone, and a reader needs no more of it than that it is there.
func TestUnreadable(t *testing.T) {
	whole, k := scan(t)
	for _, name := range whole.names() {
		v, err := evidence.Verify(unreadable{fstest.MapFS(whole), name}, evidence.Options{Now: readAt})
		if name == evidence.SaltFile {
			if err != nil || v.ExitCode() != evidence.ExitVerified || !slices.ContainsFunc(v.Unchecked, func(s string) bool { return strings.HasPrefix(s, "the bytes of salt, which you may not read") }) {
				t.Errorf("the salt cannot be read: %v, %+v", err, v)
			}
			continue
		}
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s cannot be read: %v, %+v", name, err, v)
		}
	}
	// Of the salt its presence and its size are checked all the same.
	f := whole.clone()
	f.edit(evidence.SaltFile, func(b []byte) []byte { return b[1:] })
	v, err := evidence.Verify(unreadable{fstest.MapFS(f), evidence.SaltFile}, evidence.Options{Now: readAt})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, v, evidence.FileAltered, "salt: it has 31 bytes, and had 32 when it was sealed")
	bundle := unpacked(t, exported(t, fstest.MapFS(whole), k, evidence.ExportOptions{Records: []uint64{4}}))
	for _, name := range bundle.names() {
		if v, err := evidence.Verify(unreadable{fstest.MapFS(bundle), name}, evidence.Options{Now: readAt}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s of a bundle cannot be read: %v, %+v", name, err, v)
		}
	}
}

// What breaks while it is read says nothing, either.
func TestReadFails(t *testing.T) {
	whole, _ := scan(t)
	for _, name := range whole.names() {
		if len(whole[name].Data) == 0 {
			continue
		}
		v, err := evidence.Verify(failing{fstest.MapFS(whole), name}, evidence.Options{Now: readAt})
		if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s cannot be read to its end: %v, %+v", name, err, v)
		}
	}
}

// failing is a folder of which one file cannot be read to its end.
type failing struct {
	fstest.MapFS
	name string
}

func (f failing) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if err == nil && name == f.name {
		file = failingFile{file}
	}
	return file, err
}

func (f failing) ReadFile(name string) ([]byte, error) {
	if name == f.name {
		return nil, errDisk
	}
	return f.MapFS.ReadFile(name)
}

type failingFile struct{ fs.File }

var errDisk = errors.New("the disk is broken")

func (failingFile) Read([]byte) (int, error) { return 0, errDisk }

// SIG-01: of two valid folders by one key every part of one is put into the other, alone and together with others.
func TestSwapped(t *testing.T) {
	t.Parallel()
	a, k := scan(t)
	b := folderOf(t, k, "cluster-b", 4).sealed(t)
	parts := []string{evidence.ProducerFile, evidence.SaltFile, "records/", "inputs/", "objects/", evidence.CheckpointFile, "log/tile/entries", "log/tile/0", "log/.state/treeState",
		"seals/000001/files.json", "seals/000001/checkpoint", "seals/000001/population", "seals/000001/statement"}
	of := func(f folder, part string) (names []string) {
		for _, name := range f.names() {
			if strings.HasPrefix(name, part) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			t.Fatalf("the folder has no %s", part)
		}
		return names
	}
	for set := 1; set < 1<<len(parts)-1; set++ {
		f := a.clone()
		var swapped []string
		for i, part := range parts {
			if set>>i&1 == 0 {
				continue
			}
			swapped = append(swapped, part)
			for _, name := range of(a, part) {
				delete(f, name)
			}
			for _, name := range of(b, part) {
				f[name] = b[name]
			}
		}
		if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitUnverified {
			t.Fatalf("%s of another folder: exit code %d", strings.Join(swapped, ", "), v.ExitCode())
		}
	}
	// The parts of what is signed, each from the other.
	for _, name := range []string{evidence.CheckpointFile, "seals/000001/checkpoint", "seals/000001/population.checkpoint"} {
		one, two := bytes.SplitAfter(a[name].Data, []byte("\n")), bytes.SplitAfter(b[name].Data, []byte("\n"))
		for i := range one {
			if bytes.Equal(one[i], two[i]) {
				continue
			}
			f := a.clone()
			mixed := slices.Clone(one)
			mixed[i] = two[i]
			f.put(name, bytes.Join(mixed, nil))
			refused(t, f.verify(t, evidence.Options{}), evidence.SignatureInvalid, name)
		}
	}
	name := "seals/000001/statement.sigstore.json"
	one, two := bytes.SplitAfter(a[name].Data, []byte(`"`)), bytes.SplitAfter(b[name].Data, []byte(`"`))
	swaps := 0
	for i := range one {
		if bytes.Equal(one[i], two[i]) {
			continue
		}
		f := a.clone()
		mixed := slices.Clone(one)
		mixed[i] = two[i]
		f.put(name, bytes.Join(mixed, nil))
		refused(t, f.verify(t, evidence.Options{}), evidence.SignatureInvalid, "the signature is not of this key and these bytes")
		swaps++
	}
	if swaps != 2 {
		t.Errorf("%d parts of the statements differ: want the payload and the signature", swaps)
	}
	// Every record's every member, taken from the record of the other log at the same place.
	for n, line := range a.lines(evidence.RecordsFile(0)) {
		for path, value := range members(t, b.lines(evidence.RecordsFile(0))[n]) {
			was := members(t, line)[path]
			if was == value || !bytes.Contains(line, []byte(was)) {
				continue
			}
			f := a.clone()
			f.edit(evidence.RecordsFile(0), func(text []byte) []byte {
				return bytes.Replace(text, line, bytes.Replace(line, []byte(was), []byte(value), 1), 1)
			})
			refused(t, f.verify(t, evidence.Options{}), evidence.RecordAltered, "")
		}
	}
}

// members are a record's members as JSON writes them, by their paths.
func members(t *testing.T, line []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, e := range v {
				walk(path+"/"+name, e)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprint(path, "/", i), e)
			}
		default:
			all[path] = string(encoded(t, v))
		}
	}
	var v any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatal(err)
	}
	walk("", v)
	return all
}

// What nobody signed is never taken for whole: exit code 2, whatever comes after it.
func TestUnsigned(t *testing.T) {
	whole, _ := scan(t)
	for name, c := range map[string]struct {
		do         func(folder)
		code, what string
	}{
		"no seal": {func(f folder) {
			for _, name := range f.names() {
				if strings.HasPrefix(name, "seals/") {
					delete(f, name)
				}
			}
		}, evidence.Unsealed, "the folder has no seal"},
		"records after the last head": {func(f folder) {
			all := f.records(t)
			next := all[7]
			next.Close, next.Open, next.Run = nil, &evidence.Open{Kind: "scan"}, "another"
			signed := f.clone()
			f.relog(chained(t, append(all, next)))
			for _, name := range []string{"log/tile/entries/000.p/8", "log/tile/0/000.p/8"} {
				f[name] = signed[name]
			}
		}, evidence.Unsealed, "1 record came after it, not signed yet"},
		"torn last line": {func(f folder) {
			f.edit(evidence.RecordsFile(0), func(b []byte) []byte { return append(b, `{"type":`...) })
		}, evidence.Unsealed, "the last line was not written whole"},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole.clone()
			c.do(f)
			if name == "torn last line" {
				f = f.unsealed()
			}
			v := f.verify(t, evidence.Options{})
			if v.ExitCode() != evidence.ExitIncomplete {
				t.Fatalf("exit code %d: %v", v.ExitCode(), v.Problems)
			}
			tells(t, v.Holes, c.code, c.what)
		})
	}
}
