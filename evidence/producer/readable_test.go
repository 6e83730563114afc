//go:build unix

package producer_test

import (
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
)

// What no reader takes is not written, and what comes after it is.
func TestUnreadableRecords(t *testing.T) {
	for name, rec := range map[string]evidence.Record{
		"too long":    {Change: &evidence.Change{What: "x", Detail: strings.Repeat("x", evidence.MaxRecord)}},
		"of too many": {Gap: &evidence.Gap{Lost: 1, Events: make([]string, 1<<18)}},
	} {
		dir, k := t.TempDir(), newKey(t)
		w := open(t, dir, scan(k))
		if _, err := w.Append(t.Context(), rec); err == nil || !strings.Contains(err.Error(), "can be read again") {
			t.Errorf("%s: %v", name, err)
		}
		long := evidence.Record{Change: &evidence.Change{What: "x", Detail: strings.Repeat("x", evidence.MaxRecord-4<<10)}}
		if a := appended(t, w, long); a.Seq != 1 {
			t.Errorf("%s: what came after it has seq %d", name, a.Seq)
		}
		appended(t, w, evidence.Record{Close: &evidence.Close{Reason: "stopped"}})
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
		if v := verified(t, dir); len(v.Problems) > 0 || v.Records != 3 {
			t.Errorf("%s: %d records, %v", name, v.Records, v.Problems)
		}
	}
}
