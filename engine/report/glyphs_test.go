package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzGlyphs(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[0m", "日本\t語", "e\u0301\u202e\u200b\U000e0041", "\xff\xc3", "\u3164\ufe0f\u00a0"} {
		f.Add(s, 3, 10, false)
		f.Add(s, 0, 1, true)
	}
	f.Fuzz(func(t *testing.T, line string, from, width int, ascii bool) {
		from, width = from&0xff, width&0xff+leastWidth
		g := glyphs{ascii}
		for _, shown := range []string{g.escape(line), g.window(line, from, width)} {
			if !utf8.ValidString(shown) {
				t.Errorf("%q is shown as %q, which is not UTF-8", line, shown)
			}
			for _, r := range shown {
				if r < ' ' || r > '~' && (ascii || !visible(r)) {
					t.Errorf("%q is shown as %q", line, shown)
				}
			}
		}
		if got := g.columns(g.window(line, from, width)); got > width {
			t.Errorf("%q takes %d columns of %d", line, got, width)
		}
		if all := g.columns(line); from == 0 && all <= width && strings.TrimRight(g.window(line, 0, width), " ") != strings.TrimRight(g.escape(line), " ") {
			t.Errorf("%q is shown as %q, want all of it: %q", line, g.window(line, 0, width), g.escape(line))
		}
	})
}
