//go:build unix

package evidence_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// Any altered bit of any file is seen (EVD-07): every byte here, in another of its bits each, and every bit with PROVISO_LARGE.
func TestFlips(t *testing.T) {
	t.Parallel()
	whole, _ := scan(t)
	type flip struct {
		name string
		at   int
		bit  int
	}
	all := make(chan flip)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for one := range all {
				f := whole.clone()
				f.edit(one.name, func(b []byte) []byte {
					b[one.at] ^= 1 << one.bit
					return b
				})
				v, err := evidence.Verify(fstest.MapFS(f), evidence.Options{Now: readAt})
				if err != nil || v.ExitCode() != evidence.ExitUnverified {
					t.Errorf("%s: bit %d of byte %d flipped, %q: error %v, %+v", one.name, one.bit, one.at, f[one.name].Data[max(0, one.at-20):one.at+1], err, v)
				}
			}
		})
	}
	large := os.Getenv("PROVISO_LARGE") != ""
	for _, name := range whole.names() {
		for at := range whole[name].Data {
			for bit := range 8 {
				if large || bit == at%8 {
					all <- flip{name, at, bit}
				}
			}
		}
	}
	close(all)
	wg.Wait()
}

// Every file can be taken away, cut, made longer, emptied, put in another's place or be there twice, and it is seen.
func TestFiles(t *testing.T) {
	whole, _ := scan(t)
	see := func(what string, f folder) {
		t.Helper()
		v, err := evidence.Verify(fstest.MapFS(f), evidence.Options{Now: readAt})
		if err != nil || v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("%s: error %v, %+v", what, err, v)
		}
	}
	for _, name := range whole.names() {
		f := whole.clone()
		delete(f, name)
		see(name+" taken away", f)
		f = whole.clone()
		f.edit(name, func(b []byte) []byte { return append(b, '\n') })
		see(name+" with a line end more", f)
		f.edit(name, func(b []byte) []byte { return append(b, make([]byte, 4096)...) })
		see(name+" with a page of zeros more", f)
		f = whole.clone()
		f[name] = &fstest.MapFile{Data: []byte("elsewhere"), Mode: os.ModeSymlink | 0o777}
		see(name+" as a link", f)
		f = whole.clone()
		delete(f, name)
		f.put(name+"/inner", whole[name].Data)
		see(name+" as a folder", f)
		size := len(whole[name].Data)
		for _, n := range []int{0, 1, size / 2, size - 1} {
			if n < 0 || n >= size {
				continue
			}
			f = whole.clone()
			f.edit(name, func(b []byte) []byte { return b[:n] })
			see(fmt.Sprintf("%s cut to %d bytes", name, n), f)
			f.edit(name, func(b []byte) []byte { return append(b, make([]byte, size-n)...) })
			if !bytes.Equal(f[name].Data, whole[name].Data) { // a hash may end in zeros
				see(fmt.Sprintf("%s with zeros from byte %d on", name, n), f)
			}
		}
		for _, other := range whole.names() {
			if !bytes.Equal(whole[name].Data, whole[other].Data) {
				f = whole.clone()
				f[name] = whole[other]
				see(other+" in the place of "+name, f)
			}
		}
	}
	for _, name := range []string{"notes.txt", "producer.json.bak", ".hidden", "records/0000000001.jsonl", "records/0000000000.jsonl.gz", "records/9999999999.jsonl", "records/-000000001.jsonl", "records/abcdefghij.jsonl",
		"inputs/0000000001.jsonl", "objects/" + strings.Repeat("0", 64), "objects/x/" + strings.Repeat("0", 64), "log/tile/0/001", "log/tile/entries/000.p/001", "log/tile/9/000", "log/tile/0/x001/x/001", "log/.state/other",
		"seals/000002/files.json", "seals/000001/other", "seals/1/files.json", "seals/000001/deeper/files.json", "a/" + strings.Repeat("deep/", 500) + "er", "cosign.key"} {
		f := whole.clone()
		f.put(name, []byte("{}\n"))
		see(name+" added", f)
		// Where nothing was sealed, files that evidence does not have are told all the same.
		v := f.unsealed().verify(t, evidence.Options{})
		if strings.HasPrefix(name, "seals/") || name == "log/.state/other" {
			continue
		}
		if v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("%s added where nothing was sealed: %+v", name, v)
		}
	}
}

// What files are called does not decide how much is read.
func TestHugeNumbers(t *testing.T) {
	whole, k := scan(t)
	f := whole.clone()
	f.put("records/4294967295.jsonl", nil)
	refused(t, f.verify(t, evidence.Options{}), evidence.OrderBroken, "the file before it is not there")
	p := whole.producer(t)
	f = whole.clone()
	f.put(evidence.CheckpointFile, signedNote(t, k, p.Origin, fmt.Sprintf("%s\n%d\n%s\n", p.Origin, uint64(1)<<62, strings.Split(string(f[evidence.CheckpointFile].Data), "\n")[2])))
	refused(t, f.verify(t, evidence.Options{}), evidence.RecordMissing, "it speaks of 4611686018427387904 records, and there are")
}
