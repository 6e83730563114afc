//go:build unix

package evidence_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
)

// longLog is the folder of a log of n records, which nothing seals, and its lines.
func longLog(t *testing.T, n int) (folder, [][]byte) {
	t.Helper()
	base, k := scan(t)
	f := base.unsealed()
	open := base.records(t)[0]
	all := records{with(open, func(r *evidence.Record) { r.Open = &evidence.Open{Kind: "admission", Mode: "strict"} })}
	for len(all) < n {
		all = append(all, with(open, func(r *evidence.Record) { r.Change = &evidence.Change{What: "w"} }))
	}
	lines := chained(t, all)
	f.relog(lines)
	f.put(evidence.CheckpointFile, headOf(t, k, f.producer(t).Origin, lines, n))
	for name := range f {
		if strings.HasPrefix(name, "inputs/") || strings.HasPrefix(name, "objects/") {
			delete(f, name)
		}
	}
	if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete || v.Records != uint64(n) || v.Head.Size != uint64(n) {
		t.Fatalf("to begin with: %v, %d records", v.Problems, v.Records)
	}
	return f, lines
}

// EVD-02: a tile of any level that is not what the records give is refused, and so is a log whose files are out of step.
func TestLongLogs(t *testing.T) {
	t.Parallel()
	// The log of so many records has tiles of three levels.
	tall, _ := longLog(t, 256*256+300)
	whole, lines := longLog(t, 8300)
	_, k := scan(t)
	origin := whole.producer(t).Origin
	flipped := func(name string) func(folder) {
		return func(f folder) {
			f.edit(name, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}
	}
	second := evidence.RecordsFile(evidence.SegmentRecords)
	for name, c := range map[string]struct {
		whole      folder
		do         func(folder)
		code, what string
	}{
		"entries":                  {whole, flipped("log/tile/entries/000"), evidence.LogAltered, "log/tile/entries/000: it is not what the records give"},
		"entries at the end":       {whole, flipped("log/tile/entries/032.p/108"), evidence.LogAltered, "log/tile/entries/032.p/108: it is not"},
		"level 0":                  {whole, flipped("log/tile/0/020"), evidence.LogAltered, "log/tile/0/020: it is not"},
		"level 1":                  {tall, flipped("log/tile/1/000"), evidence.LogAltered, "log/tile/1/000: it is not"},
		"level 1 at the end":       {tall, flipped("log/tile/1/001.p/1"), evidence.LogAltered, "log/tile/1/001.p/1: it is not"},
		"level 2":                  {tall, flipped("log/tile/2/000.p/1"), evidence.LogAltered, "log/tile/2/000.p/1: it is not"},
		"level 1 missing":          {tall, func(f folder) { delete(f, "log/tile/1/001.p/1") }, evidence.LogAltered, "log/tile/1/001.p/1: the tile is not there"},
		"level 2 missing":          {tall, func(f folder) { delete(f, "log/tile/2/000.p/1") }, evidence.LogAltered, "log/tile/2/000.p/1: the tile is not there"},
		"level 3 that cannot be":   {tall, func(f folder) { f.put("log/tile/3/000.p/1", make([]byte, 32)) }, evidence.RecordMissing, "log/tile/3/000.p/1: it speaks of records that are not there"},
		"stale tile":               {whole, func(f folder) { f["log/tile/0/020"] = f["log/tile/0/019"] }, evidence.LogAltered, "log/tile/0/020: it is not"},
		"file of records missing":  {whole, func(f folder) { delete(f, second) }, evidence.RecordMissing, "the record with seq 4096 is in the log, and not here"},
		"files of records swapped": {whole, func(f folder) { f[second], f[evidence.RecordsFile(0)] = f[evidence.RecordsFile(0)], f[second] }, evidence.OrderBroken, "the record has seq 4096, which is not its place"},
		"record in the next file": {whole, func(f folder) {
			l := f.lines(evidence.RecordsFile(0))
			f.put(evidence.RecordsFile(0), bytes.Join(l[:4095], nil))
			f.edit(second, func(b []byte) []byte { return append(l[4095], b...) })
		}, evidence.OrderBroken, "the record has seq 4095, which is not its place"},
		"torn in the middle":          {whole, func(f folder) { f.edit(evidence.RecordsFile(0), func(b []byte) []byte { return b[:len(b)-1] }) }, evidence.RecordMissing, "the record with seq 4095 is in the log, and not here"},
		"a page of zeros in a record": {whole, func(f folder) { f.edit(second, func(b []byte) []byte { clear(b[8192 : 8192+4096]); return b }) }, evidence.RecordAltered, second},
		"two pages swapped": {whole, func(f folder) {
			f.edit(second, func(b []byte) []byte {
				one := bytes.Clone(b[4096:8192])
				copy(b[4096:], b[8192:8192+4096])
				copy(b[8192:], one)
				return b
			})
		}, evidence.RecordAltered, second},
		"unsigned records after a hole in the files": {whole, func(f folder) {
			short := lines[:100]
			f.relog(short)
			f.put(evidence.CheckpointFile, headOf(t, k, origin, short, 100))
			f.put(second, bytes.Join(lines[4096:8192], nil))
		}, evidence.RecordMissing, "the records from seq 100 to 4095 are not there"},
		"files after the end": {whole, func(f folder) {
			f.relog(lines[:100])
			f.put(evidence.CheckpointFile, headOf(t, k, origin, lines, 100))
			f.put(evidence.RecordsFile(2*evidence.SegmentRecords), bytes.Join(lines[8192:8193], nil))
		}, evidence.OrderBroken, "records/0000000002.jsonl: the file before it is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.whole.clone()
			c.do(f)
			refused(t, f.verify(t, evidence.Options{}), c.code, c.what)
		})
	}
	// The log as it was at every head, and one off.
	for _, n := range []int{0, 1, 2, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097} {
		f := whole.clone()
		f.relog(lines[:n])
		f.put(evidence.CheckpointFile, headOf(t, k, origin, lines, n))
		if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
			t.Errorf("log of %d: %v", n, v.Problems)
		}
		if n == 0 {
			tells(t, f.verify(t, evidence.Options{}).Holes, evidence.Unclosed, "the log has no record")
			continue
		}
		f.put(evidence.CheckpointFile, headOf(t, k, origin, slices.Concat(lines[:n-1], lines[n:n+1]), n))
		refused(t, f.verify(t, evidence.Options{}), evidence.RootDiffers, fmt.Sprint("another root at ", n))
	}
}
