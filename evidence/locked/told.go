package locked

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"proviso.dev/proviso/evidence"
)

// maxTold is how many problems, and how many holes, of each code the objects of one log may have; the rest is counted, and what
// there are thousands of hides nothing else.
const maxTold = 100

// findings are problems or holes by their codes.
type findings map[string]*finding

// finding counts those of one code; first are the first by their places, in whichever order they are found.
type finding struct {
	n     int
	first []evidence.Problem
}

func (f findings) add(p evidence.Problem) {
	of := f[p.Code]
	if of == nil {
		of = &finding{}
		f[p.Code] = of
	}
	of.n++
	at, _ := slices.BinarySearchFunc(of.first, p, func(a, b evidence.Problem) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Text, b.Text))
	})
	if at < maxTold {
		of.first = slices.Insert(of.first, at, p)
		of.first = of.first[:min(len(of.first), maxTold)]
	}
}

func (f findings) told() (all []evidence.Problem) {
	for _, code := range slices.Sorted(maps.Keys(f)) {
		of := f[code]
		all = append(all, of.first...)
		if more := of.n - len(of.first); more > 0 {
			all = append(all, evidence.Problem{Code: code, Text: fmt.Sprintf("and %d more in the bucket", more)})
		}
	}
	return all
}
