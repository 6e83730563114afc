package locked

import (
	"fmt"
	"testing"

	"proviso.dev/proviso/evidence"
)

// Many findings of one code hide none of another, and the same are told in whichever order they are found.
func TestFindings(t *testing.T) {
	const many = 150
	f, back := findings{}, findings{}
	at := func(n int) evidence.Problem {
		return evidence.Problem{Code: Unlocked, Place: fmt.Sprintf("a/%03d", n), Text: "not locked"}
	}
	for n := range many {
		f.add(at(n))
		back.add(at(many - 1 - n))
	}
	for _, of := range []findings{f, back} {
		of.add(evidence.Problem{Code: Hidden, Place: "z", Text: "deleted"})
	}
	told := f.told()
	if fmt.Sprint(told) != fmt.Sprint(back.told()) {
		t.Error("the order in which they were found is told")
	}
	if len(told) != 1+maxTold+1 || told[0].Code != Hidden || told[maxTold] != at(maxTold-1) || told[maxTold+1].Text != "and 50 more in the bucket" {
		t.Errorf("told %v", told)
	}
}
