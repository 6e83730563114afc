package selection

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// glob is a pattern as Velero's library reads it: * and ** are any text, ? one character, [abc] and [a-c] one of several,
// [!…] none of them, {a,b} alternatives, \ takes the next character as it is. The alternatives of a glob are spelled out,
// so each element of the outer list is one plain sequence.
type glob [][]step

type step struct {
	// any is any text; one is any character; otherwise the character is among set, or is not where not is true.
	any, one, not bool
	set           []rune
	lo, hi        rune
}

// maxAlternatives bounds what {…} may multiply to.
const maxAlternatives = 1024

func compileGlob(pattern string) (glob, error) {
	if !utf8.ValidString(pattern) {
		return nil, fmt.Errorf("pattern %q is not UTF-8", pattern)
	}
	g, rest, err := alternatives([]rune(pattern), 0)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("pattern %q: unexpected %q", pattern, string(rest))
	}
	return g, nil
}

// alternatives reads up to the end, or at a depth up to the comma or brace that ends the alternative.
func alternatives(text []rune, depth int) (glob, []rune, error) {
	g := glob{nil}
	add := func(s step) {
		for i := range g {
			g[i] = append(g[i], s)
		}
	}
	for len(text) > 0 {
		r := text[0]
		switch {
		case depth > 0 && (r == ',' || r == '}'):
			return g, text, nil
		case r == '*':
			add(step{any: true})
			text = text[1:]
		case r == '?':
			add(step{one: true})
			text = text[1:]
		case r == '[':
			s, rest, err := class(text[1:])
			if err != nil {
				return nil, nil, err
			}
			add(s)
			text = rest
		case r == '{':
			var inner glob
			for text[0] != '}' {
				one, rest, err := alternatives(text[1:], depth+1)
				if err != nil {
					return nil, nil, err
				}
				if len(rest) == 0 {
					return nil, nil, fmt.Errorf("a brace is not closed")
				}
				inner, text = append(inner, one...), rest
			}
			text = text[1:]
			if len(g)*len(inner) > maxAlternatives {
				return nil, nil, fmt.Errorf("more than %d alternatives", maxAlternatives)
			}
			var product glob
			for _, head := range g {
				for _, tail := range inner {
					product = append(product, slices.Concat(head, tail))
				}
			}
			g = product
		default:
			if r == '\\' {
				if text = text[1:]; len(text) == 0 {
					return g, nil, nil
				}
				r = text[0]
			}
			add(step{set: []rune{r}})
			text = text[1:]
		}
	}
	return g, nil, nil
}

// class reads what follows an opening bracket. The library takes either one range or a list of characters, not both.
func class(text []rune) (step, []rune, error) {
	var s step
	if len(text) > 0 && text[0] == '!' {
		s.not, text = true, text[1:]
	}
	if len(text) > 3 && text[1] == '-' {
		if text[3] != ']' || text[2] < text[0] {
			return s, nil, fmt.Errorf("a range in brackets stands alone and rises")
		}
		s.lo, s.hi = text[0], text[2]
		return s, text[4:], nil
	}
	for len(text) > 0 && text[0] != ']' {
		if text[0] == '\\' && len(text) > 1 {
			text = text[1:]
		}
		s.set, text = append(s.set, text[0]), text[1:]
	}
	if len(text) == 0 || len(s.set) == 0 {
		return s, nil, fmt.Errorf("brackets are empty or not closed")
	}
	return s, text[1:], nil
}

func (g glob) match(name string) bool {
	text := []rune(name)
	return slices.ContainsFunc(g, func(steps []step) bool { return matchSteps(steps, text) })
}

// matchSteps needs to go back to the last "any" only, since a later one can always take what an earlier one left.
func matchSteps(steps []step, text []rune) bool {
	s, t, backStep, backText := 0, 0, -1, 0
	for t < len(text) || s < len(steps) {
		switch {
		case s < len(steps) && steps[s].any:
			backStep, backText = s, t
			s++
			continue
		case s < len(steps) && t < len(text) && steps[s].takes(text[t]):
			s, t = s+1, t+1
			continue
		case backStep < 0 || backText >= len(text):
			return false
		}
		backText++
		s, t = backStep+1, backText
	}
	return true
}

func (s step) takes(r rune) bool {
	switch {
	case s.one:
		return true
	case s.lo > 0:
		return (s.lo <= r && r <= s.hi) != s.not
	}
	return slices.Contains(s.set, r) != s.not
}

// globs is a sorted list of distinct patterns.
type globs struct {
	texts    []string
	compiled []glob
	// broken is the place of the first pattern that is none: Velero asks no pattern from there on.
	broken int
}

func newGlobs(texts []string) globs {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	texts = slices.Compact(texts)
	s := globs{texts: texts, broken: len(texts)}
	for i, text := range texts {
		g, err := compileGlob(text)
		if err != nil {
			s.broken = min(s.broken, i)
		}
		s.compiled = append(s.compiled, g)
	}
	return s
}

func (s globs) has(text string) bool {
	_, ok := slices.BinarySearch(s.texts, text)
	return ok
}

// match gives the pattern that matches.
func (s globs) match(name string) (string, bool) {
	for i, g := range s.compiled[:s.broken] {
		if g.match(name) {
			return s.texts[i], true
		}
	}
	return "", false
}

// matchesAny is whether a name is in a list of names and patterns.
func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		g, err := compileGlob(p)
		return p == name || err == nil && wild(p) && g.match(name)
	})
}
