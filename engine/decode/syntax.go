package decode

import "strings"

// maxSyntaxDepth is how deep isJSON follows; kubectl's JSON reader stops there as well.
const maxSyntaxDepth = 10_000

// isJSON reports whether text is one JSON value, by its syntax alone: what is wrong with its keys and numbers is left to
// the reader. It allocates nothing.
func isJSON(text []byte) bool {
	end := syntaxSpace(text, syntaxValue(text, syntaxSpace(text, 0), 0))
	return end == len(text)
}

// notJSON is an offset behind every text.
const notJSON = int(^uint(0)>>1) - 1

func syntaxSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// syntaxValue is where the value at i ends.
func syntaxValue(text []byte, i, depth int) int {
	if i >= len(text) || depth > maxSyntaxDepth {
		return notJSON
	}
	switch c := text[i]; c {
	case '{':
		return syntaxCollection(text, i, depth, '}')
	case '[':
		return syntaxCollection(text, i, depth, ']')
	case '"':
		return syntaxString(text, i)
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if word[0] == c && len(text)-i >= len(word) && string(text[i:i+len(word)]) == word {
				return i + len(word)
			}
		}
		return notJSON
	}
	return syntaxNumber(text, i)
}

func syntaxCollection(text []byte, i, depth int, closer byte) int {
	i = syntaxSpace(text, i+1)
	if i < len(text) && text[i] == closer {
		return i + 1
	}
	for i < len(text) {
		if closer == '}' {
			if text[i] != '"' {
				return notJSON
			}
			i = syntaxSpace(text, syntaxString(text, i))
			if i >= len(text) || text[i] != ':' {
				return notJSON
			}
			i = syntaxSpace(text, i+1)
		}
		i = syntaxSpace(text, syntaxValue(text, i, depth+1))
		switch {
		case i >= len(text):
			return notJSON
		case text[i] == closer:
			return i + 1
		case text[i] != ',':
			return notJSON
		}
		i = syntaxSpace(text, i+1)
	}
	return notJSON
}

func syntaxString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return notJSON
		case c == '\\':
			i++
			if i >= len(text) || strings.IndexByte(`"\/bfnrtu`, text[i]) < 0 {
				return notJSON
			}
			if text[i] != 'u' {
				continue
			}
			for range 4 {
				i++
				if i >= len(text) || strings.IndexByte("0123456789abcdefABCDEF", text[i]) < 0 {
					return notJSON
				}
			}
		}
	}
	return notJSON
}

func syntaxNumber(text []byte, i int) int {
	digits := func() bool {
		start := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > start
	}
	next := func(set string) bool {
		if i < len(text) && strings.IndexByte(set, text[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	next("-")
	if !next("0") && !digits() || next(".") && !digits() {
		return notJSON
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return notJSON
		}
	}
	return i
}
