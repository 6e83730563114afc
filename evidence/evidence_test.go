package evidence_test

import (
	"testing"

	"proviso.dev/proviso/evidence"
)

// What is written is read again to the same bytes, whatever strangers' texts hold.
func TestEncodeIsReadAgain(t *testing.T) {
	for _, text := range []string{"plain", "bad\xffbytes", `\ufffd`, `\\ufffd`, "\\\xff", "\ufffd", "<&>\u2028", "\x00\x1f", `"\"`} {
		type named struct {
			Text string `json:"text"`
		}
		line, err := evidence.Encode(named{text})
		if err != nil {
			t.Fatal(err)
		}
		var again named
		if err := evidence.Decode(line, &again); err != nil {
			t.Errorf("%q: %s: %v", text, line, err)
		}
	}
}
