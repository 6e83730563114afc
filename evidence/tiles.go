package evidence

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileWidth = 256
	// entries is the level of the bundles of leaves.
	entries = -1
	// maxLevel is the highest that 2^63 leaves need.
	maxLevel = 7
	leafSize = 32
	// partialTile stands between the path of a tile that is not full and how many entries it has.
	partialTile = ".p/"
)

// tile names a tile of the log (c2sp.org/tlog-tiles).
type tile struct {
	level int
	index uint64
}

func (t tile) path(width int) string {
	level := "entries"
	if t.level != entries {
		level = strconv.Itoa(t.level)
	}
	name := fmt.Sprintf("%03d", t.index%1000)
	for n := t.index / 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	name = "log/tile/" + level + "/" + name
	if width < tileWidth {
		name = fmt.Sprintf("%s%s%d", name, partialTile, width)
	}
	return name
}

// parseTile reads what path writes, and nothing else.
func parseTile(name string) (t tile, width int, ok bool) {
	rest, ok := strings.CutPrefix(name, "log/tile/")
	if !ok {
		return t, 0, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	t.level, width = entries, tileWidth
	if level != "entries" {
		n, err := strconv.Atoi(level)
		if err != nil || n > maxLevel {
			return t, 0, false
		}
		t.level = n
	}
	if at, w, partial := strings.Cut(rest, partialTile); partial {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 || n >= tileWidth {
			return t, 0, false
		}
		rest, width = at, n
	}
	for _, part := range strings.Split(rest, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "x"), 10, 64)
		if err != nil || t.index > 1<<50 {
			return t, 0, false
		}
		t.index = t.index*1000 + n
	}
	return t, width, t.path(width) == name
}

// tiles computes every tile of a log as leaves are added, and holds the files against them.
type tiles struct {
	v *verification
	Tree
	// files are the widths there are of each tile.
	files map[tile][]int
	// open is the tile being filled at each level, and how many hashes are in it.
	open [maxLevel + 1]bytes.Buffer
	done [maxLevel + 1]uint64
	leaf bytes.Buffer
}

func newTiles(v *verification) *tiles {
	t := &tiles{v: v, files: map[tile][]int{}}
	for name := range v.files {
		if !strings.HasPrefix(name, "log/tile/") {
			continue
		}
		if at, width, ok := parseTile(name); ok {
			t.files[at] = append(t.files[at], width)
		} else {
			v.problem(FileUnlisted, name, "a log has no such tile")
		}
	}
	return t
}

// add appends the leaf of the next record.
func (t *tiles) add(leaf []byte) {
	t.leaf.WriteByte(0)
	t.leaf.WriteByte(leafSize)
	t.leaf.Write(leaf)
	if t.leaf.Len() == tileWidth*(leafSize+2) {
		t.check(tile{entries, t.size / tileWidth}, t.leaf.Bytes(), leafSize+2)
		t.leaf.Reset()
	}
	h := tlog.RecordHash(leaf)
	t.addHash(h)
	t.put(0, h)
}

func (t *tiles) put(level int, h tlog.Hash) {
	open := &t.open[level]
	open.Write(h[:])
	if open.Len() < tileWidth*tlog.HashSize || level == maxLevel {
		return
	}
	t.check(tile{level, t.done[level]}, open.Bytes(), tlog.HashSize)
	var above Tree
	for at := 0; at < open.Len(); at += tlog.HashSize {
		above.addHash(tlog.Hash(open.Bytes()[at : at+tlog.HashSize]))
	}
	open.Reset()
	t.done[level]++
	t.put(level+1, above.edge[0])
}

// check holds the files of a tile against what it must hold, and forgets them.
func (t *tiles) check(at tile, want []byte, each int) {
	for _, width := range t.files[at] {
		name := at.path(width)
		if width*each > len(want) {
			t.v.problem(RecordMissing, name, "it speaks of %d entries, and there are %d", width, len(want)/each)
			continue
		}
		if raw, ok := t.v.read(name, int64(width*each)); ok && !bytes.Equal(raw, want[:width*each]) {
			t.v.problem(LogAltered, name, "it is not what the records give")
		}
	}
	delete(t.files, at)
}

// end checks the tiles that are not full, and that those a reader of the head needs are there.
func (t *tiles) end() {
	if n := t.leaf.Len(); n > 0 {
		t.check(tile{entries, t.size / tileWidth}, t.leaf.Bytes(), leafSize+2)
	}
	for level := range t.open {
		if t.open[level].Len() > 0 {
			t.check(tile{level, t.done[level]}, t.open[level].Bytes(), tlog.HashSize)
		}
	}
	for at, widths := range t.files {
		t.v.problem(RecordMissing, at.path(slices.Max(widths)), "it speaks of records that are not there")
	}
	// A head that speaks of more than there is was told already.
	for at, width := range tilesOf(min(t.v.Head.Size, t.Size())) {
		if !slices.ContainsFunc([]int{width, tileWidth}, func(w int) bool { return t.v.files[at.path(w)] != nil }) {
			t.v.problem(LogAltered, at.path(width), "the tile is not there")
		}
	}
}

// tilesOf are the tiles that a reader of a log of that size needs, and their widths.
func tilesOf(size uint64) iter.Seq2[tile, int] {
	return func(yield func(tile, int) bool) {
		each := func(level int, size uint64) bool {
			for index := uint64(0); index*tileWidth < size; index++ {
				if !yield(tile{level, index}, int(min(tileWidth, size-index*tileWidth))) {
					return false
				}
			}
			return true
		}
		more := each(entries, size)
		for level := 0; more && size > 0 && level <= maxLevel; level, size = level+1, size/tileWidth {
			more = each(level, size)
		}
	}
}

// leaves reads the leaves of a bundle of entries, as many as there are.
func (v *verification) leaves(index uint64) [][]byte {
	at := tile{entries, index}
	widths := v.tiles.files[at]
	if len(widths) == 0 {
		return nil
	}
	name := at.path(slices.Max(widths))
	raw, ok := v.read(name, tileWidth*(leafSize+2))
	if !ok {
		return nil
	}
	var all [][]byte
	for ; len(raw) >= leafSize+2 && raw[0] == 0 && raw[1] == leafSize; raw = raw[leafSize+2:] {
		all = append(all, raw[2:leafSize+2])
	}
	if len(raw) > 0 {
		v.problem(LogAltered, name, "its entries are no digests")
	}
	return all
}
