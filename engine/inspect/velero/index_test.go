package velero

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// More names than fit one page of anything the index is made of are all found again, each with what it was kept with.
func TestIndexKeepsEveryName(t *testing.T) {
	x := newIndex(1 << 30)
	defer x.close()
	path := func(n int) string { return fmt.Sprintf("resources/pods/namespaces/ns-%d/a-pod-%d.json", n%97, n) }
	digest := func(n int) (f fingerprint) {
		binary.LittleEndian.PutUint64(f[:], uint64(n))
		return f
	}
	const many = 3*recordsChunk + 7
	for n := range many {
		if x.find(path(n)) != nil {
			t.Fatalf("%s is there before it was added", path(n))
		}
		r, err := x.add(path(n), digest(n))
		if err != nil {
			t.Fatal(err)
		}
		r.marks = mark(n % 8)
	}
	if len(x.names) < 2 || len(x.records) < 2 {
		t.Fatalf("%d pages of names and %d of records are no test", len(x.names), len(x.records))
	}
	for n := range many {
		r := x.find(path(n))
		if r == nil || r.digest != digest(n) || r.marks != mark(n%8) || x.path(x.record(n)) != path(n) {
			t.Fatalf("%s was kept as %+v", path(n), r)
		}
	}
	x.close()
	if x.find(path(0)) != nil {
		t.Error("a closed index still finds a name")
	}
}

func TestIndexRefusesPastItsLimit(t *testing.T) {
	x := newIndex(1000)
	defer x.close()
	var err error
	n := 0
	for ; n < 100 && err == nil; n++ {
		_, err = x.add(fmt.Sprintf("resources/pods/cluster/p%d.json", n), fingerprint{})
	}
	if !errors.Is(err, errLimit) || n < 10 || n > 20 {
		t.Errorf("after %d names: %v", n, err)
	}
}
