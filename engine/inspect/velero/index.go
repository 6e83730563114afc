package velero

import (
	"fmt"
	"hash/maphash"
	"strings"
	"unsafe"
)

// index holds the path and digest of every object of a tarball, in about 50 bytes and the object's name each: it is all
// that is kept of a tarball between reading it twice. It lives outside the heap until close.
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
	free    []func()
	// freeTable gives the table back.
	freeTable func()
}

const (
	nameChunk    = 1 << 20
	recordsChunk = 1 << 15
	firstTable   = 1 << 10
)

// record has no pointers, for it lies where the collector does not look.
type record struct {
	digest fingerprint
	item   uint64 // the object's hash where it counts as an item, else 0
	dir    uint32
	at     uint32 // in all the names
	length uint16
	marks  mark
}

// fingerprint is as much of an object's SHA-256 as tells two objects of one path apart.
type fingerprint [16]byte

type mark uint8

const (
	plain     mark = 1 << iota // seen under its plain path
	preferred                  // seen under its preferred version's path
	versioned                  // seen under another version's path, and known by that
	differs                    // seen with different contents
	yielded
)

// maxIndex is how many bytes of names, with what is kept beside them, any limit may ask for: what a record can point to.
const maxIndex = 1<<32 - 1

func newIndex(limit int64) *index {
	return &index{limit: min(limit, maxIndex), dirIDs: map[string]uint32{}, seed: maphash.MakeSeed()}
}

// close gives the memory back; the index is empty after it.
func (x *index) close() {
	for _, free := range x.free {
		free()
	}
	if x.freeTable != nil {
		x.freeTable()
	}
	*x = index{}
}

func (x *index) record(i int) *record { return &x.records[i/recordsChunk][i%recordsChunk] }

func (x *index) name(r *record) []byte {
	at := r.at % nameChunk
	return x.names[r.at/nameChunk][at : at+uint32(r.length)]
}

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
	if x.n == 0 {
		return nil
	}
	_, r := x.slot(path)
	return r
}

// add makes a record for a path that has none.
func (x *index) add(path string, digest fingerprint) (*record, error) {
	dir, name := split(path)
	id, known := x.dirIDs[dir]
	x.bytes += int64(len(name)) + 48
	if !known {
		x.bytes += int64(len(dir))
	}
	if x.bytes > x.limit {
		return nil, refuse("%d bytes of names", x.limit)
	}
	if err := x.grow(len(name)); err != nil {
		return nil, fmt.Errorf("keep the names of %d objects: %w", x.n, err)
	}
	slot, _ := x.slot(path)
	if !known {
		id = uint32(len(x.dirs))
		dir = strings.Clone(dir)
		x.dirs, x.dirIDs[dir] = append(x.dirs, dir), id
	}
	last := len(x.names) - 1
	at := len(x.names[last])
	x.names[last] = append(x.names[last], name...)
	r := x.record(x.n)
	*r = record{digest: digest, dir: id, at: uint32(last*nameChunk + at), length: uint16(len(name))}
	x.n++
	x.table[slot] = uint32(x.n)
	return r, nil
}

// grow makes room for one more record with a name of that length.
func (x *index) grow(name int) error {
	if last := len(x.names) - 1; last < 0 || len(x.names[last])+name > nameChunk {
		b, free, err := pages(nameChunk)
		if err != nil {
			return err
		}
		x.names, x.free = append(x.names, b[:0]), append(x.free, free)
	}
	if x.n == len(x.records)*recordsChunk {
		b, free, err := pages(recordsChunk * int(unsafe.Sizeof(record{})))
		if err != nil {
			return err
		}
		x.records, x.free = append(x.records, unsafe.Slice((*record)(unsafe.Pointer(&b[0])), recordsChunk)), append(x.free, free)
	}
	if (x.n+1)*4 <= len(x.table)*3 {
		return nil
	}
	slots := max(2*len(x.table), firstTable)
	b, free, err := pages(slots * 4)
	if err != nil {
		return err
	}
	if x.freeTable != nil {
		x.freeTable()
	}
	x.table, x.freeTable = unsafe.Slice((*uint32)(unsafe.Pointer(&b[0])), slots), free
	mask := slots - 1
	for n := range x.n {
		i := int(maphash.String(x.seed, x.path(x.record(n)))) & mask
		for x.table[i] != 0 {
			i = (i + 1) & mask
		}
		x.table[i] = uint32(n + 1)
	}
	return nil
}
