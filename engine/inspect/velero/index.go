package velero

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"strings"
)

// index holds the path and digest of every object of a tarball, in about 60 bytes and the object's name each: it is all
// that is kept of a tarball between reading it twice.
type index struct {
	limit   int64
	dirs    []string
	dirIDs  map[string]uint32
	names   [][]byte // chunks of nameChunk bytes
	records [][]record
	n       int
	bytes   int64
	table   []uint32 // record number + 1, by hash
	seed    maphash.Seed
}

const (
	nameChunk    = 1 << 18
	recordsChunk = 1 << 12
)

type record struct {
	digest [sha256.Size]byte
	dir    uint32
	chunk  uint32
	at     uint32
	length uint16
	marks  mark
}

type mark uint8

const (
	plain     mark = 1 << iota // seen under its plain path
	preferred                  // seen under its preferred version's path
	versioned                  // seen under another version's path, and known by that
	differs                    // seen with different contents
	yielded
	secret
)

func newIndex(limit int64) *index {
	return &index{limit: limit, dirIDs: map[string]uint32{}, table: make([]uint32, 1<<10), seed: maphash.MakeSeed()}
}

func (x *index) record(i int) *record { return &x.records[i/recordsChunk][i%recordsChunk] }

func (x *index) name(r *record) []byte { return x.names[r.chunk][r.at : r.at+uint32(r.length)] }

func (x *index) path(r *record) string { return x.dirs[r.dir] + string(x.name(r)) }

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i], path[i:]
}

// slot is where the path stands in the table, or where it would.
func (x *index) slot(path string) (slot int, r *record) {
	dir, name := split(path)
	id, known := x.dirIDs[dir]
	mask := len(x.table) - 1
	for i := int(maphash.String(x.seed, path)) & mask; ; i = (i + 1) & mask {
		if x.table[i] == 0 {
			return i, nil
		}
		r := x.record(int(x.table[i]) - 1)
		if known && r.dir == id && string(x.name(r)) == name {
			return i, r
		}
	}
}

func (x *index) find(path string) *record {
	_, r := x.slot(path)
	return r
}

// add makes a record for a path that has none.
func (x *index) add(path string, digest [sha256.Size]byte) (*record, error) {
	if x.bytes += int64(len(path)) + 48; x.bytes > x.limit {
		return nil, refuse("%d bytes of names", x.limit)
	}
	if (x.n+1)*4 > len(x.table)*3 {
		x.grow()
	}
	slot, _ := x.slot(path)
	dir, name := split(path)
	id, known := x.dirIDs[dir]
	if !known {
		id = uint32(len(x.dirs))
		dir = strings.Clone(dir)
		x.dirs, x.dirIDs[dir] = append(x.dirs, dir), id
	} else {
		x.bytes -= int64(len(dir))
	}
	if last := len(x.names) - 1; last < 0 || len(x.names[last])+len(name) > nameChunk {
		x.names = append(x.names, make([]byte, 0, nameChunk))
	}
	chunk := len(x.names) - 1
	at := len(x.names[chunk])
	x.names[chunk] = append(x.names[chunk], name...)
	if x.n%recordsChunk == 0 {
		x.records = append(x.records, make([]record, recordsChunk))
	}
	r := x.record(x.n)
	*r = record{digest: digest, dir: id, chunk: uint32(chunk), at: uint32(at), length: uint16(len(name))}
	x.n++
	x.table[slot] = uint32(x.n)
	return r, nil
}

func (x *index) grow() {
	x.table = make([]uint32, 2*len(x.table))
	mask := len(x.table) - 1
	for n := range x.n {
		i := int(maphash.String(x.seed, x.path(x.record(n)))) & mask
		for x.table[i] != 0 {
			i = (i + 1) & mask
		}
		x.table[i] = uint32(n + 1)
	}
}

// sum digests "path digest\n" of every record, sorted by path.
func (x *index) sum() string {
	order := make([]uint32, x.n)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int {
		a, b := x.record(int(i)), x.record(int(j))
		if a.dir == b.dir {
			return bytes.Compare(x.name(a), x.name(b))
		}
		c, d := x.dirs[a.dir], x.dirs[b.dir]
		if strings.HasPrefix(c, d) || strings.HasPrefix(d, c) {
			return cmp.Compare(x.path(a), x.path(b))
		}
		return cmp.Compare(c, d)
	})
	h := sha256.New()
	line := make([]byte, 0, 256)
	for _, i := range order {
		r := x.record(int(i))
		line = append(append(append(line[:0], x.dirs[r.dir]...), x.name(r)...), ' ')
		line = append(hex.AppendEncode(line, r.digest[:]), '\n')
		h.Write(line)
	}
	return hex.EncodeToString(h.Sum(nil))
}
