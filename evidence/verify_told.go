package evidence

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// maxTold is how many problems, and how many holes, of each code are told; the rest is counted. What there are thousands of
// hides nothing else.
const maxTold = 100

// tally counts problems or holes by their codes.
type tally map[string]uint64

// tells counts one, and reports whether it is among those that are told.
func (t tally) tells(code string) bool {
	t[code]++
	return t[code] <= maxTold
}

// rest says how many there are besides those that are told.
func (t tally) rest() (more []Problem) {
	for _, code := range slices.Sorted(maps.Keys(t)) {
		if n := t[code]; n > maxTold {
			more = append(more, Problem{code, "", fmt.Sprintf("and %d more", n-maxTold)})
		}
	}
	return more
}

// continued is a checkpoint somebody kept that the log continues.
type continued struct {
	place string
	size  uint64
}

// tellContinued says which checkpoints the log was held against. A bucket has one of each seal.
func (v *verification) tellContinued() {
	switch n := len(v.continued); n {
	case 0:
	case 1:
		c := v.continued[0]
		v.Checked = append(v.Checked, fmt.Sprintf("the log continues the checkpoint of %s you kept (%s)", plural(c.size, "record", "records"), c.place))
	default:
		newest := slices.MaxFunc(v.continued, func(a, b continued) int { return cmp.Compare(a.size, b.size) })
		v.Checked = append(v.Checked, fmt.Sprintf("the log continues the %d checkpoints you kept, the newest of them of %s (%s)", n, plural(newest.size, "record", "records"), newest.place))
	}
}
