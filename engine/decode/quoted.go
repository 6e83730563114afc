package decode

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// quoted reads a string. It shares memory with the text where it holds no escape.
func (r *jsonReader) quoted() string {
	start := r.pos
	r.pos++
	plainASCII := true
	for i := r.pos; i < len(r.text); i++ {
		for i+8 <= len(r.text) && ordinary(r.text[i:i+8]) {
			i += 8
		}
		if i == len(r.text) {
			break
		}
		switch c := r.text[i]; {
		case c == '"':
			text := r.text[r.pos:i]
			if !plainASCII && !utf8.ValidString(text) {
				r.invalidUTF8(r.pos, text)
			}
			r.pos = i + 1
			return text
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.fail(i, "the control character %q stands in a string (write it as an escape, or close the string)", c)
		case c >= utf8.RuneSelf:
			plainASCII = false
		}
	}
	r.fail(start, "a string is not closed (the file is cut short)")
	return ""
}

// ordinary reports whether eight bytes are ASCII, none of them a control character, a quote or a backslash.
func ordinary(s string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, slash := w^each*'"', w^each*'\\'
	return (w|(w-each*' ')|(quote-each)|(slash-each))&high == 0
}

func (r *jsonReader) invalidUTF8(from int, text string) {
	r.fail(from+max(invalidUTF8(text), 0), "a byte is not UTF-8 (save the file as UTF-8)")
}

// invalidUTF8 is where the first byte that is not UTF-8 stands, or -1.
func invalidUTF8(text string) int {
	if utf8.ValidString(text) {
		return -1
	}
	for i, c := range text {
		if c == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) {
			return i
		}
	}
	return -1
}

// escaped reads on from the first backslash of a string.
func (r *jsonReader) escaped(start, i int) string {
	b := append(r.unescaped[:0], r.text[r.pos:i]...)
	for i < len(r.text) {
		c := r.text[i]
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				r.invalidUTF8(r.pos, r.text[r.pos:i])
			}
			r.pos, r.unescaped = i+1, b
			return string(b)
		case c < ' ':
			r.fail(i, "the control character %q stands in a string (write it as an escape, or close the string)", c)
		case c != '\\':
			from := i
			for i++; i+8 <= len(r.text) && ordinary(r.text[i:i+8]); i += 8 {
			}
			b = append(b, r.text[from:i]...)
			continue
		}
		if i+1 >= len(r.text) {
			break
		}
		j := strings.IndexByte(`"\/bfnrt`, r.text[i+1])
		if j >= 0 {
			b = append(b, "\"\\/\b\f\n\r\t"[j])
			i += 2
			continue
		}
		c1, err := hex4(r.text[i:])
		if err != nil {
			r.fail(i, "%w", err)
		}
		i += 6
		if utf16.IsSurrogate(c1) {
			c2, err := hex4(r.text[i:])
			if c1 = utf16.DecodeRune(c1, c2); err != nil || c1 == utf8.RuneError {
				r.fail(i-6, "half a surrogate pair stands in a string (write both halves)")
			}
			i += 6
		}
		b = utf8.AppendRune(b, c1)
	}
	r.fail(start, "a string is not closed (the file is cut short)")
	return ""
}

func hex4(text string) (rune, error) {
	if len(text) < 6 || text[:2] != `\u` {
		return 0, errors.New("an unknown escape stands in a string (write \\\\ for a backslash)")
	}
	n, err := strconv.ParseUint(text[2:6], 16, 32)
	if err != nil {
		return 0, errors.New("an escape wants four hexadecimal digits after \\u")
	}
	return rune(n), nil
}
