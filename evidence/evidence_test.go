//go:build unix

package evidence_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

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

// A record that is much in memory is refused before it is there, by whoever reads and by whoever writes.
func TestReadable(t *testing.T) {
	list := func(element string, n int) string {
		return `{"decision":{"results":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}}`
	}
	for name, c := range map[string]struct{ line, want string }{
		"many results":                {list("{}", 1<<17+1), ""},
		"one result more":             {list("{}", 1<<17+2), "the record has 131073 members and elements: at most 131072 can be read again"},
		"results that are null":       {list("null", 1<<20), "members and elements"},
		"twelve million bytes":        {list("{}", 4_000_000), "the record has 12000026 bytes: at most 8388608 can be read again"},
		"commas in a text":            {`{"change":{"what":"` + strings.Repeat(",", 1<<18) + `"}}`, ""},
		"commas after a quote in one": {`{"change":{"what":"\\\"` + strings.Repeat(",", 1<<18) + `"}}`, ""},
		"commas after a backslash":    {`{"change":{"what":"\\"` + strings.Repeat(",", 1<<18), "members and elements"},
		"as long as is read":          {strings.Repeat(" ", 8<<20), ""},
		"longer by one":               {strings.Repeat(" ", 8<<20+1), "bytes"},
	} {
		if err := evidence.Readable([]byte(c.line)); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	whole, _ := scan(t)
	for element, want := range map[string]string{strings.Repeat("{},", 4_000_000) + "{}": "a line is longer than 8388608 bytes", strings.Repeat("{},", 2_500_000) + "{}": "members and elements", strings.Repeat("null,", 1_500_000) + "{}": "members and elements"} {
		f := whole.clone()
		f.edit(evidence.RecordsFile(0), func(b []byte) []byte {
			return bytes.Join([][]byte{b, []byte(list(element, 1)), []byte("\n")}, nil)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, err := evidence.Verify(fstest.MapFS(f), evidence.Options{Now: readAt})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, v, evidence.RecordAltered, want)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 64 {
			t.Errorf("%.20s…: it took %d MiB", element, took)
		}
		folder, err := evidence.OpenFolder(fstest.MapFS(f))
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range folder.Records() {
		}
		if err == nil {
			t.Errorf("%.20s…: it is read where nobody verifies", element)
		}
	}
}
