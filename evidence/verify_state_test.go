//go:build unix

package evidence_test

import (
	"bytes"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
)

// What the log keeps beside itself is checked though the folder has grown since it was sealed, or never was sealed.
func TestState(t *testing.T) {
	k := newKey(t)
	dir, more, seal := growing(t, k)
	more(3)
	first := read(t, dir)
	seal()
	sealed := read(t, dir)
	more(2)
	grown := read(t, dir)
	const version, lock, state = "log/.state/version", "log/.state/publish.lock", "log/.state/treeState"
	for what, whole := range map[string]folder{"grown": grown, "never sealed": first, "sealed": sealed} {
		if v := whole.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
			t.Fatalf("%s, to begin with: %+v", what, v)
		}
		see := func(name, how, code string, change func([]byte) []byte) {
			t.Helper()
			f := whole.clone()
			f.edit(name, change)
			v := f.verify(t, evidence.Options{})
			if v.ExitCode() != evidence.ExitUnverified || len(v.Problems) != 1 || v.Problems[0].Place != name || code != "" && v.Problems[0].Code != code {
				t.Errorf("%s, %s %s: %v", what, name, how, v.Problems)
			}
		}
		for _, name := range []string{version, state} {
			for at := range whole[name].Data {
				see(name, "with a bit flipped", "", func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			}
		}
		for _, name := range []string{version, lock, "log/.state/treeState.lock", state} {
			see(name, "with a byte more", evidence.FileAltered, func(b []byte) []byte { return append(b, '1') })
			see(name, "that is huge", evidence.FileAltered, func([]byte) []byte { return bytes.Repeat([]byte("1"), 1<<20) })
			f := whole.clone()
			delete(f, name)
			refused(t, f.verify(t, evidence.Options{}), evidence.FileMissing, name+": it is not there")
		}
		for _, name := range []string{"evil1", "version.bak", "treeState.lock1", "gcState", "a/version"} {
			f := whole.clone()
			f.put("log/.state/"+name, nil)
			refused(t, f.verify(t, evidence.Options{}), evidence.FileUnlisted, name+": evidence has no such file")
		}
	}
	f := grown.clone()
	f[state] = first[state]
	refused(t, f.verify(t, evidence.Options{}), evidence.LogAltered, "it speaks of 5 records, and the head of the log, which is signed after it is written, of 7")
	f = first.clone()
	f[state] = grown[state]
	refused(t, f.verify(t, evidence.Options{}), evidence.RecordMissing, "it speaks of 7 records, and there are 5")
	// The head is signed after the tiles and the state are written.
	f = grown.clone()
	f[evidence.CheckpointFile] = first[evidence.CheckpointFile]
	if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
		t.Errorf("with its head to be signed: %v", v.Problems)
	}
}

// What somebody put beside the seals is none, and no seal is missing for it; a seal that is taken away is.
func TestBesideSeals(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	for range 3 {
		scanInto(t, dir, k, "cluster-a", 1)
	}
	whole := read(t, dir).sealed(t)
	for _, name := range []string{"seals/backup/files.json", "seals/.DS_Store", "seals/1/files.json", "seals/0000004/files.json", "seals/000000/files.json", "objects/" + strings.Repeat("A", 64), "objects/" + strings.Repeat("z", 64)} {
		f := whole.clone()
		f.put(name, nil)
		v := f.verify(t, evidence.Options{})
		if refused(t, v, evidence.FileUnlisted, name+": evidence has no such file"); len(v.Problems) != 1 || v.Seals != 3 {
			t.Errorf("%s: %d seals, %v", name, v.Seals, v.Problems)
		}
	}
	f := whole.clone()
	for _, name := range []string{evidence.SealFiles, evidence.SealCheckpoint, evidence.SealPopulation, evidence.SealStatement} {
		delete(f, evidence.SealDir(2)+"/"+name)
	}
	refused(t, f.verify(t, evidence.Options{}), evidence.FileMissing, "seals/000002/statement.sigstore.json: it is not there, and seals/000003 is")
}
