//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// Who has the folder and not the key: each thing done to it is refused for its own reason.
func TestOutsider(t *testing.T) {
	whole, k := scan(t)
	other := folderOf(t, k, "cluster-b", 4).sealed(t)
	origin := whole.producer(t).Origin
	records := evidence.RecordsFile(0)
	inputs := evidence.InputsFile(0)
	relined := func(f folder, change func([][]byte) [][]byte) {
		f.put(records, bytes.Join(change(f.lines(records)), nil))
	}
	// rehashed is all that can be made anew without the key: the chain and the tiles.
	rehashed := func(f folder, change func([]evidence.Record) []evidence.Record) {
		f.relog(chained(t, change(f.records(t))))
	}
	checkpoint, seal := evidence.CheckpointFile, evidence.SealDir(1)+"/"
	statement, population := seal+evidence.SealStatement, seal+evidence.SealPopulation
	for name, c := range map[string]struct {
		do         func(folder)
		code, what string
	}{
		"EVD-02 record removed": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { return slices.Delete(l, 4, 5) })
		}, evidence.RecordMissing, "the record with seq 4 is in the log, and not here"},
		"EVD-02 first record removed": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { return l[1:] })
		}, evidence.RecordMissing, "seq 0"},
		"EVD-02 last record removed": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { return l[:len(l)-1] })
		}, evidence.RecordMissing, "seq 7"},
		"EVD-02 records swapped": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { l[4], l[5] = l[5], l[4]; return l })
		}, evidence.OrderBroken, "which is not its place"},
		"EVD-02 record twice": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { return slices.Insert(l, 5, l[4]) })
		}, evidence.OrderBroken, "the record has seq 4, which is not its place"},
		"EVD-02 record replayed at the end": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { return append(l, l[4]) })
		}, evidence.OrderBroken, "the record has seq 4, which is not its place"},
		"EVD-02 record altered": {func(f folder) {
			f.edit(records, func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"verdict":"fail"`), []byte(`"verdict":"pass"`), 1)
			})
		}, evidence.RecordAltered, "the record with seq 4 is not the one the log has there"},
		"EVD-02 chain mended after an alteration": {func(f folder) {
			rehashed(f, func(all []evidence.Record) []evidence.Record {
				all[4].Decision.Results[0].Verdict = "pass"
				return all
			})
		}, evidence.RootDiffers, "the records give another root at 8"},
		"EVD-02 record removed and all hashed anew": {func(f folder) {
			rehashed(f, func(all []evidence.Record) []evidence.Record { return slices.Delete(all, 4, 5) })
		}, evidence.RecordMissing, "the record with seq 7 is not there"},
		"EVD-02 end cut off and all hashed anew": {func(f folder) {
			rehashed(f, func(all []evidence.Record) []evidence.Record { return all[:6] })
		}, evidence.RecordMissing, "the record with seq 6 is not there"},
		"EVD-02 records in another order and all hashed anew": {func(f folder) {
			rehashed(f, func(all []evidence.Record) []evidence.Record { all[4], all[5] = all[5], all[4]; return all })
		}, evidence.RootDiffers, "another root"},
		"EVD-02 head of an earlier time": {func(f folder) {
			f.put(checkpoint, f[population].Data)
		}, evidence.Rollback, "it speaks of 8 records, and the head of the log of 3"},
		"EVD-02 head of an earlier time, and a record more": {func(f folder) {
			f.put(checkpoint, f[population].Data)
			rehashed(f, func(all []evidence.Record) []evidence.Record {
				return append(all, evidence.Record{Type: evidence.RecordType, Producer: all[0].Producer, Run: all[0].Run, At: all[7].At, Change: &evidence.Change{}})
			})
		}, evidence.Rollback, "an old head was put in its place"},
		"EVD-02 head in the place of the population's": {func(f folder) {
			f.put(population, f[checkpoint].Data)
		}, evidence.PopulationWrong, "it was signed at 8, and record 2 lists the population and record 3 is the first to judge it"},
		"EVD-02 head of nothing in the place of the population's": {func(f folder) {
			f.put(population, headOf(t, k, origin, nil, 0))
		}, evidence.PopulationWrong, "it was signed at 0"},
		"EVD-02 head of another log": {func(f folder) {
			f.put(checkpoint, other[checkpoint].Data)
		}, evidence.SignatureInvalid, "no signature of it is of this key and this log"},
		"EVD-02 head with a second signature": {func(f folder) {
			f.edit(checkpoint, func(b []byte) []byte {
				return append(b, other[checkpoint].Data[bytes.LastIndex(other[checkpoint].Data, []byte("— ")):]...)
			})
		}, evidence.SignatureInvalid, "want one signature and no other"},
		"EVD-02 head without a signature": {func(f folder) {
			f.edit(checkpoint, func(b []byte) []byte { return b[:bytes.Index(b, []byte("— "))] })
		}, evidence.SignatureInvalid, "malformed note"},
		"EVD-02 tile of level 0 forged": {func(f folder) {
			f.edit("log/tile/0/000.p/8", func(b []byte) []byte { b[40] ^= 1; return b })
		}, evidence.LogAltered, "log/tile/0/000.p/8: it is not what the records give"},
		"EVD-02 entries forged": {func(f folder) {
			f.edit("log/tile/entries/000.p/8", func(b []byte) []byte { b[40] ^= 1; return b })
		}, evidence.LogAltered, "log/tile/entries/000.p/8: it is not what the records give"},
		"EVD-02 entries of another length": {func(f folder) {
			f.edit("log/tile/entries/000.p/8", func(b []byte) []byte { b[1]--; return b })
		}, evidence.LogAltered, "its entries are no digests"},
		"EVD-02 entries of none": {func(f folder) { f.put("log/tile/entries/000.p/8", nil) }, evidence.LogAltered, "it is not what the records give"},
		"EVD-02 partial tile longer than the log": {func(f folder) {
			f.put("log/tile/0/000.p/9", append(bytes.Clone(f["log/tile/0/000.p/8"].Data), make([]byte, 32)...))
		}, evidence.RecordMissing, "it speaks of 9 entries, and there are 8"},
		"EVD-02 full tile longer than the log":   {func(f folder) { f.put("log/tile/0/000", make([]byte, 256*32)) }, evidence.RecordMissing, "it speaks of 256 entries, and there are 8"},
		"EVD-02 tile beyond the log":             {func(f folder) { f.put("log/tile/0/001.p/1", make([]byte, 32)) }, evidence.RecordMissing, "log/tile/0/001.p/1: it speaks of records that are not there"},
		"EVD-02 tile of a level the log has not": {func(f folder) { f.put("log/tile/1/000.p/1", make([]byte, 32)) }, evidence.RecordMissing, "log/tile/1/000.p/1"},
		"EVD-02 tile misnamed":                   {func(f folder) { f.put("log/tile/00/000.p/8", f["log/tile/0/000.p/8"].Data) }, evidence.FileUnlisted, "a log has no such tile"},
		"EVD-02 tile that is true and not sealed": {func(f folder) {
			f.put("log/tile/0/000.p/7", f["log/tile/0/000.p/8"].Data[:7*32])
		}, evidence.FileUnlisted, "the newest seal does not list it"},
		"EVD-02 tile missing": {func(f folder) { delete(f, "log/tile/0/000.p/8") }, evidence.LogAltered, "the tile is not there"},

		"EVD-04 record of another cluster": {func(f folder) {
			relined(f, func(l [][]byte) [][]byte { l[4] = other.lines(records)[4]; return l })
		}, evidence.OtherLog, "it was written by "},
		"EVD-04 all records of another cluster": {func(f folder) { f[records] = other[records] }, evidence.OtherLog, "it was written by "},
		"EVD-04 seal of another folder": {func(f folder) {
			for _, name := range other.names() {
				if strings.HasPrefix(name, seal) {
					f[name] = other[name]
				}
			}
		}, evidence.OtherLog, "it seals the log " + other.producer(t).Origin},
		"EVD-04 whole log of another": {func(f folder) {
			for _, name := range other.names() {
				if strings.HasPrefix(name, "log/") {
					f[name] = other[name]
				}
			}
		}, evidence.SignatureInvalid, "no signature of it is of this key and this log"},
		"EVD-04 producer of another": {func(f folder) { f[evidence.ProducerFile] = other[evidence.ProducerFile] }, evidence.OtherLog, "it was written by "},
		"EVD-04 cluster renamed": {func(f folder) {
			f.edit(records, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("cluster-a"), []byte("cluster-b")) })
		}, evidence.RecordAltered, "the record with seq 0 is not the one the log has there"},

		"input altered": {func(f folder) {
			f.edit(inputs, func(b []byte) []byte { return bytes.Replace(b, []byte(`"n":"2"`), []byte(`"n":"3"`), 1) })
		}, evidence.InputAltered, "the value has another digest"},
		"input removed": {func(f folder) { f.put(inputs, bytes.Join(f.lines(inputs)[1:], nil)) }, evidence.InputMissing, "record 3: what was judged, "},
		"fact removed": {func(f folder) {
			l := f.lines(inputs)
			f.put(inputs, bytes.Join(l[:len(l)-1], nil))
		}, evidence.InputMissing, "record 6: a fact, "},
		"inputs swapped": {func(f folder) {
			f.edit(inputs, func(b []byte) []byte {
				l := f.lines(inputs)
				var one, two map[string]json.RawMessage
				if json.Unmarshal(l[0], &one) != nil || json.Unmarshal(l[1], &two) != nil {
					t.Fatal("inputs")
				}
				b = bytes.Replace(b, one["digest"], []byte(`"x"`), 1)
				b = bytes.Replace(b, two["digest"], one["digest"], 1)
				return bytes.Replace(b, []byte(`"x"`), two["digest"], 1)
			})
		}, evidence.InputAltered, "another digest"},
		"EVD-08 input erased, and nothing says so": {func(f folder) { erase(t, f, 0, "") }, evidence.InputMissing, "was erased, and no record says so"},
		"EVD-08 input erased, and who has no key says so": {func(f folder) {
			d := erase(t, f, 0, "")
			rehashed(f, func(all []evidence.Record) []evidence.Record {
				return append(all, evidence.Record{Type: evidence.RecordType, Producer: all[0].Producer, Run: all[0].Run, At: all[7].At, Erasure: &evidence.Erasure{Inputs: []engine.Digest{d}, Reason: "law"}})
			})
			for name := range f {
				if strings.HasPrefix(name, seal) {
					delete(f, name)
				}
			}
		}, evidence.InputMissing, "was erased, and no record says so"},
		"input called erased that is there": {func(f folder) {
			f.edit(inputs, func(b []byte) []byte { return bytes.Replace(b, []byte("}}}\n"), []byte("}},\"erased\":\"no\"}\n"), 1) })
		}, evidence.InputAltered, "the value is there, and is called erased"},
		"object altered": {func(f folder) {
			f.edit(evidence.ObjectFile(f.seal(t).Pack), func(b []byte) []byte { b[0] ^= 1; return b })
		}, evidence.ObjectAltered, "it is not what its name says"},
		"policies removed": {func(f folder) { delete(f, evidence.ObjectFile(f.seal(t).Pack)) }, evidence.ObjectMissing, "the policies it puts into force"},
		"list of the population removed": {func(f folder) {
			delete(f, evidence.ObjectFile(f.seal(t).Population.List))
		}, evidence.ObjectMissing, "the list of the population"},
		"list of the population altered": {func(f folder) {
			f.edit(evidence.ObjectFile(f.seal(t).Population.List), func(b []byte) []byte { return bytes.Replace(b, []byte(`"c1"`), []byte(`"c9"`), 1) })
		}, evidence.PopulationWrong, "it speaks of 4 items, 0 of them holes, with root "},

		"salt altered":  {func(f folder) { f.edit(evidence.SaltFile, func(b []byte) []byte { b[0] ^= 1; return b }) }, evidence.FileAltered, "salt: it is not what it was when it was sealed"},
		"state altered": {func(f folder) { f.put("log/.state/treeState", []byte("{}")) }, evidence.FileAltered, "log/.state/treeState"},
		"file added":    {func(f folder) { f.put("inputs/0000000001.jsonl", []byte("\n")) }, evidence.FileUnlisted, "the newest seal does not list it"},
		"link added": {func(f folder) {
			f["objects/"+strings.Repeat("0", 64)] = &fstest.MapFile{Data: []byte("../salt"), Mode: fs.ModeSymlink | 0o777}
		}, evidence.FileUnlisted, "it is no plain file"},
		"producer's line without its end": {func(f folder) {
			f.edit(evidence.ProducerFile, func(b []byte) []byte { return bytes.TrimSpace(b) })
		}, evidence.FileAltered, "its line has no end"},
		"file of no evidence added":                      {func(f folder) { f.put("README", nil) }, evidence.FileUnlisted, "evidence has no such file"},
		"file removed":                                   {func(f folder) { delete(f, evidence.LockFile) }, evidence.FileMissing, "the newest seal lists it, and it is not there"},
		"head without population in a seal that has one": {func(f folder) { delete(f, population) }, evidence.FileMissing, evidence.SealPopulation},
		"producer of another format": {func(f folder) {
			f.edit(evidence.ProducerFile, func(b []byte) []byte { return bytes.Replace(b, []byte(`"format":1`), []byte(`"format":2`), 1) })
		}, evidence.WrongStatement, "it is of format 2: this version reads format 1"},
		"producer's key altered": {func(f folder) {
			f.edit(evidence.ProducerFile, func(b []byte) []byte { return bytes.Replace(b, []byte("+"), []byte("x+"), 1) })
		}, evidence.FileAltered, "the verifier key is not that of cosign.pub"},
		"key written otherwise": {func(f folder) { f.edit(evidence.KeyFile, func(b []byte) []byte { return append([]byte("\n"), b...) }) }, evidence.FileAltered, "it is not as it is written"},
		"trusted root filled":   {func(f folder) { f.put(evidence.TrustedRootFile, []byte("{}")) }, evidence.FileAltered, "it is not the empty root"},
		"another key":           {func(f folder) { f.put(evidence.KeyFile, newKey(t).public(t).PEM()) }, evidence.SignatureInvalid, "it names another key"},
		"seal's list altered": {func(f folder) {
			f.edit(seal+evidence.SealFiles, func(b []byte) []byte { return bytes.Replace(b, []byte(`"size":`), []byte(`"size":1`), 1) })
		}, evidence.FileAltered, "it is not the list that was signed"},
		"seal's statement removed": {func(f folder) { delete(f, statement) }, evidence.FileMissing, evidence.SealStatement},
		"first seal removed, second kept": {func(f folder) {
			for _, name := range f.names() {
				if rest, ok := strings.CutPrefix(name, seal); ok {
					f[evidence.SealDir(2)+"/"+rest] = f[name]
					delete(f, name)
				}
			}
		}, evidence.FileMissing, "seals/000001/statement.sigstore.json"},
		"seal twice": {func(f folder) {
			for _, name := range f.names() {
				if rest, ok := strings.CutPrefix(name, seal); ok {
					f[evidence.SealDir(2)+"/"+rest] = f[name]
				}
			}
		}, evidence.OrderBroken, "it is seal 1, not 2"},
		"a file larger than is read": {func(f folder) {
			f.edit(checkpoint, func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) })
		}, evidence.FileAltered, "at most 65536 are read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole.clone()
			c.do(f)
			refused(t, f.verify(t, evidence.Options{}), c.code, c.what)
		})
	}
}

// erase takes the n-th value from the inputs, and returns its digest.
func erase(t *testing.T, f folder, n int, why string) engine.Digest {
	t.Helper()
	name := evidence.InputsFile(0)
	lines := f.lines(name)
	var v evidence.KeptValue
	if err := json.Unmarshal(lines[n], &v); err != nil {
		t.Fatal(err)
	}
	if why == "" {
		why = "somebody asked"
	}
	lines[n] = append(encoded(t, evidence.KeptValue{Digest: v.Digest, Erased: why}), '\n')
	f.put(name, bytes.Join(lines, nil))
	return v.Digest
}
