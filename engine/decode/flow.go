package decode

import "strings"

// flow reads a list in [] or a mapping in {} that ends on its line, and says where it ended.
func (r *blockReader) flow(offset int) (any, *place, int) {
	r.enter()
	closer := byte(']')
	var m map[string]any
	list := []any{}
	at := r.where(offset, true)
	if r.text[offset] == '{' {
		closer, m = '}', map[string]any{}
		if at != nil {
			at.fields = map[string]*place{}
		}
	}
	i := r.spaces(offset + 1)
	for first := true; r.text[i] != closer || !first; first = false {
		var key string
		var keyAt Position
		if at != nil && m != nil {
			keyAt = r.position(i)
		}
		if m != nil {
			if key, i = r.key(i); i < 0 || r.text[i] != ' ' {
				unusual()
			}
			if _, twice := m[key]; twice {
				unusual()
			}
			i = r.spaces(i)
		}
		var v any
		var where *place
		v, where, i = r.flowValue(i)
		if m != nil {
			m[key] = v
		} else {
			list = append(list, v)
		}
		if at != nil && m != nil {
			where.key = keyAt
			at.fields[key] = where
		} else if at != nil {
			at.items = append(at.items, where)
		}
		i = r.spaces(i)
		if r.text[i] == closer {
			break
		}
		if r.text[i] != ',' || r.text[i+1] != ' ' {
			unusual()
		}
		i = r.spaces(i + 1)
	}
	r.depth--
	if m != nil {
		return m, at, i + 1
	}
	return list, at, i + 1
}

func (r *blockReader) spaces(offset int) int {
	for r.text[offset] == ' ' {
		offset++
	}
	return offset
}

func (r *blockReader) flowValue(offset int) (any, *place, int) {
	switch c := r.text[offset]; {
	case c == '[', c == '{':
		return r.flow(offset)
	case c == '"', c == '\'':
		r.count()
		v, end := r.quoted(offset)
		return v, r.where(offset, false), end
	case c == '-' && !keyByte[r.text[offset+1]], !keyByte[c]:
		unusual()
	}
	r.count()
	end := offset
	for keyByte[r.text[end]] {
		end++
	}
	switch r.text[end] {
	case ',', ']', '}':
	case ' ':
		if next := r.text[r.spaces(end)]; next != ']' && next != '}' {
			unusual()
		}
	default:
		unusual()
	}
	return r.resolve(r.text[offset:end]), r.where(offset, false), end
}

// literal reads a block scalar in the style "|", "|-" or "|+" whose header stands at offset, below a key or dash in
// column indent.
func (r *blockReader) literal(offset, indent int) string {
	header := offset + 1
	chomp := r.text[header]
	if chomp == '-' || chomp == '+' {
		header++
	}
	r.lineEnd(header)
	var lines []string // each with its line feed, without its indentation
	size, kept, deep := 0, 0, -1
	for end := r.end; end+1 < len(r.text); {
		start := end + 1
		stop := start + strings.IndexByte(r.text[start:], '\n')
		first := start
		for r.text[first] == ' ' {
			first++
		}
		blank := first == stop
		switch {
		case deep < 0 && (blank || first-start <= indent || r.text[first] == '\t'):
			unusual() // nothing in it, or its indentation is not plain to see
		case deep < 0:
			deep = first - start
		}
		if !blank && first-start < deep {
			if r.text[first] == '\t' {
				unusual()
			}
			break
		}
		line := "\n"
		if stop-start > deep {
			line = r.text[start+deep : stop+1]
			kept = len(lines) + 1
		}
		lines = append(lines, line)
		size += len(line)
		r.end, end = stop, stop
		r.line++
	}
	if deep < 0 {
		unusual()
	}
	if chomp != '+' {
		lines = lines[:kept]
	}
	var b strings.Builder
	b.Grow(size)
	for _, line := range lines {
		b.WriteString(line)
	}
	if chomp == '-' {
		return strings.TrimSuffix(b.String(), "\n")
	}
	return b.String()
}
