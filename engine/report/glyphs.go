package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glyphs turns strangers' text into what may be shown. ascii escapes everything that is not ASCII.
type glyphs struct{ ascii bool }

// safe is text with everything escaped that is not plainly visible.
func safe(text string) string { return glyphs{}.escape(text) }

func (g glyphs) escape(text string) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	for text != "" {
		shown, _, size := g.cell(text)
		b.WriteString(shown)
		text = text[size:]
	}
	return b.String()
}

func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// tab is how a tab in a source line is shown: of one width wherever it stands, so that cut lines stay aligned.
const tab = "    "

// cell is the first character of text as it is shown, the columns that takes, and the bytes it was.
func (g glyphs) cell(text string) (shown string, columns, size int) {
	if c := text[0]; c >= ' ' && c <= '~' {
		return text[:1], 1, 1
	}
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == '\t':
		return tab, len(tab), 1
	case r == '\n':
		shown = `\n`
	case r == '\r':
		shown = `\r`
	case r == utf8.RuneError && size == 1:
		shown = fmt.Sprintf(`\x%02x`, text[0])
	case r < 0x100 && (g.ascii || !visible(r)):
		shown = fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000 && (g.ascii || !visible(r)):
		shown = fmt.Sprintf(`\u%04x`, r)
	case g.ascii || !visible(r):
		shown = fmt.Sprintf(`\U%08x`, r)
	default:
		return text[:size], columnsOf(r), size
	}
	return shown, len(shown), size
}

// visible reports whether a reader sees r for what it is. Escape sequences, bidirectional controls, zero-width
// characters, unusual spaces, fillers and variation selectors are not.
func visible(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// wide holds the blocks whose characters take two columns on a terminal.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x231a, Hi: 0x231b, Stride: 1}, {Lo: 0x23e9, Hi: 0x23ec, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0x33ff, Stride: 1}, {Lo: 0x3400, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1}, {Lo: 0xa960, Hi: 0xa97f, Stride: 1}, {Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, {Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x1b2ff, Stride: 1}, {Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

func columnsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && unicode.Is(wide, r):
		return 2
	}
	return 1
}

// columns is the width of text as it is shown.
func (g glyphs) columns(text string) int {
	n := 0
	for text != "" {
		_, columns, size := g.cell(text)
		n += columns
		text = text[size:]
	}
	return n
}

func (g glyphs) ellipsis() string {
	if g.ascii {
		return "..."
	}
	return "…"
}

// window shows the columns of line from from on, at most width of them, and marks where it was cut.
func (g glyphs) window(line string, from, width int) string {
	mark := g.ellipsis()
	markColumns := g.columns("…")
	if g.ascii {
		markColumns = len(mark)
	}
	start, end := from, from+width
	var b strings.Builder
	out := from
	if from > 0 {
		b.WriteString(mark)
		start += markColumns
		out += markColumns
	}
	cut := g.columns(line) > end
	if cut {
		end -= markColumns
	}
	for at := 0; line != "" && at < end; {
		shown, columns, size := g.cell(line)
		line = line[size:]
		if at >= start && at+columns <= end {
			b.WriteString(strings.Repeat(" ", at-out)) // half of a wide character was cut away
			b.WriteString(shown)
			out = at + columns
		}
		at += columns
	}
	if cut {
		b.WriteString(mark)
	}
	return b.String()
}

// column is where the character number (from 1) of line is shown, counted in columns from 0. A number past the end is
// the end.
func (g glyphs) column(line string, number int) int {
	n := 0
	for i := 1; i < number && line != ""; i++ {
		_, columns, size := g.cell(line)
		n += columns
		line = line[size:]
	}
	return n
}
