package rego

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reading: the call reads its arguments whole and makes little.
func reading(args []*ast.Term) (cost, error) {
	_, err := readable(args[:min(len(args), 2)]...)
	return cost{}, err
}

// comparing is reading where both sides have parts.
func comparing(args []*ast.Term) (cost, error) {
	if composite(args[0]) && composite(args[1]) {
		return reading(args[:2])
	}
	return cost{}, nil
}

// among is a search for a value among others. It compares with each, which is cheap where the value is short.
func among(args []*ast.Term) (cost, error) {
	for i, a := range args[:2] {
		if s, ok := a.Value.(ast.String); composite(a) && (i == 0 || len(args) > 2) || ok && len(s) > 1<<10 {
			return reading(args)
		}
	}
	return cost{}, nil
}

// remaking: the result is a collection of parts of the arguments, or of parts of their parts.
func remaking(args []*ast.Term) (cost, error) {
	if _, err := readable(args...); err != nil {
		return cost{}, err
	}
	made := cost{}
	for _, a := range args {
		made.elements += length(a.Value)
		switch v := a.Value.(type) {
		case *ast.Array:
			v.Foreach(func(e *ast.Term) { made.elements += length(e.Value) })
		case ast.Set:
			v.Foreach(func(e *ast.Term) { made.elements += length(e.Value) })
		}
	}
	return made, nil
}

// pairing compares each part of one argument with each of the other.
func pairing(args []*ast.Term) (cost, error) {
	a, err := readable(args[0])
	if err != nil {
		return cost{}, err
	}
	b, err := readable(args[1])
	if err != nil {
		return cost{}, err
	}
	return cost{}, work(a.text+a.elements, b.text+b.elements)
}

// maxDigits bounds numbers. Arithmetic on numbers of any size takes any time and memory, and "1e999999999" is short.
const maxDigits = 400

// numbers: each number among the arguments, and in lists among them, has a bounded size.
func numbers(args []*ast.Term) (cost, error) {
	digits := 0
	number := func(t *ast.Term) error {
		n, ok := t.Value.(ast.Number)
		if digits += len(n); ok && !small(string(n)) || digits > maxOperand {
			return fmt.Errorf("a number is too large: want at most %d digits", maxDigits)
		}
		return nil
	}
	for _, a := range args[:min(len(args), 2)] {
		var err error
		switch v := a.Value.(type) {
		case *ast.Array:
			err = v.Iter(number)
		case ast.Set:
			if err = v.Iter(number); err == nil && composite(args[1]) {
				return remaking(args[:2]) // minus of sets
			}
		default:
			err = number(a)
		}
		if err != nil {
			return cost{}, err
		}
	}
	return cost{}, nil
}

// multiplying: a product has as many digits as its factors together, and OPA writes out their exponents.
func multiplying(args []*ast.Term) (cost, error) {
	if c, err := numbers(args[:1]); err != nil {
		return c, err
	}
	digits := 0
	add := func(t *ast.Term) {
		n, _ := t.Value.(ast.Number)
		digits += len(n)
		if _, exponent, ok := strings.Cut(strings.ToLower(string(n)), "e"); ok {
			e, _ := strconv.Atoi(exponent)
			digits += max(e, -e)
		}
	}
	switch v := args[0].Value.(type) {
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	}
	if digits > maxProduct {
		return cost{}, fmt.Errorf("the factors have %d digits together, want at most %d", digits, maxProduct)
	}
	return cost{}, nil
}

// maxProduct bounds the digits of a product.
const maxProduct = 10_000

// small reports whether a number's text has few digits and a small exponent.
func small(n string) bool {
	if len(n) < 20 && !strings.ContainsAny(n, "eE") {
		return true
	}
	digits, exponent, _ := strings.Cut(strings.ToLower(n), "e")
	return len(digits) <= maxDigits && len(strings.TrimLeft(exponent, "+-0")) <= 3
}

// numeral: text that becomes a number.
func numeral(args []*ast.Term) (cost, error) {
	if s, ok := args[0].Value.(ast.String); ok && (len(s) > maxDigits || !small(strings.TrimRight(string(s), "iIbB"))) {
		return cost{}, fmt.Errorf("the text is too long for a number: want at most %d digits", maxDigits)
	}
	return numbers(args[:1])
}

// maxShort is the length of text that is a date, a version or a layout.
const maxShort = 256

// shortText: text that has one of a few forms, all short.
func shortText(args []*ast.Term) (cost, error) {
	for _, a := range args {
		if s, ok := a.Value.(ast.String); ok && len(s) > maxShort {
			return cost{}, fmt.Errorf("the text has %d bytes, want at most %d", len(s), maxShort)
		}
	}
	return cost{}, nil
}

// localZones are the layouts with the abbreviation of a zone, which means what the machine's own zone makes of it.
var localZones = []string{"MST", "UnixDate", "RFC822", "RFC850", "RFC1123"}

// dating: zones other than UTC are refused, for their rules are those of the machine.
func dating(args []*ast.Term) (cost, error) {
	if layout, ok := args[0].Value.(ast.String); ok {
		for _, z := range localZones {
			if string(layout) == z || strings.Contains(string(layout), "MST") {
				return cost{}, fmt.Errorf("the layout %q has a zone by its abbreviation, want an offset", layout)
			}
		}
	}
	for _, a := range args {
		list, ok := a.Value.(*ast.Array)
		for i := 1; ok && i < min(list.Len(), 3); i++ {
			s, _ := list.Elem(i).Value.(ast.String)
			if i == 1 && s != "" && s != "UTC" {
				return cost{}, fmt.Errorf("the zone %s is not offered, since its rules differ between machines: use UTC", list.Elem(i))
			}
			if len(s) > maxShort {
				return cost{}, fmt.Errorf("the layout has %d bytes, want at most %d", len(s), maxShort)
			}
		}
	}
	if _, err := numbers(args); err != nil {
		return cost{}, err
	}
	return shortText(args)
}

// ranging counts the numbers of a range.
func ranging(args []*ast.Term) (cost, error) {
	var n [3]int64
	n[2] = 1
	for i, a := range args[:min(len(args), 3)] {
		number, ok := a.Value.(ast.Number)
		if !ok {
			continue // the result's variable, or a mistake that the function reports
		}
		if n[i], ok = number.Int64(); !ok || n[i] > 1<<53 || n[i] < -1<<53 {
			return cost{}, fmt.Errorf("%s is no whole number below 2^53", number)
		}
	}
	count := n[1] - n[0]
	return cost{elements: int(max(count, -count)/max(n[2], 1)) + 1}, nil
}

// joining: the result is the text of the arguments, with the first, a separator, between the parts of the others.
func joining(args []*ast.Term) (cost, error) {
	made := cost{}
	separator, _ := args[0].Value.(ast.String)
	for _, a := range args[:min(len(args), 2)] {
		c, err := readable(a)
		if err != nil {
			return c, err
		}
		made.text += c.text + 8*c.elements
		if composite(a) {
			made.text += len(separator) * length(a.Value)
		}
	}
	return made, nil
}

// copying: the result is about as long as the arguments.
func copying(args []*ast.Term) (cost, error) {
	c, err := readable(args[0])
	return cost{text: c.text + c.elements}, err
}

// encoding: the result is up to three times as long, which is what percent signs make of bytes.
func encoding(args []*ast.Term) (cost, error) {
	c, err := readable(args[0])
	return cost{text: 3*c.text + 6*c.elements}, err
}

// plainText is how many bytes a list of texts and numbers has, and whether it is one.
func plainText(list *ast.Term) (size int, ok bool) {
	array, ok := list.Value.(*ast.Array)
	if !ok {
		return 0, false
	}
	array.Foreach(func(t *ast.Term) {
		switch v := t.Value.(type) {
		case ast.String:
			size += len(v)
		case ast.Number:
			size += len(v)
		default:
			ok = false
		}
	})
	return size, ok
}

// formatting: sprintf. A width makes text of nothing, and an index uses an argument more than once.
func formatting(args []*ast.Term) (cost, error) {
	c, err := readable(args[1])
	if err != nil {
		return c, err
	}
	format, _ := args[0].Value.(ast.String)
	verbs, digits, within, quoted := 0, 0, false, false
	for _, r := range format {
		switch {
		case r == '%':
			verbs++
			within, digits = !within, 0
		case within && r == '*':
			return cost{}, errors.New("a width of * is not offered: write the number")
		case within && r >= '0' && r <= '9':
			if digits++; digits > 3 {
				return cost{}, errors.New("a width or precision has more than three digits")
			}
		case within && strings.ContainsRune("+-# .[]", r):
			digits = 0
		default:
			quoted = quoted || within && strings.ContainsRune("qxXU", r)
			within = false
		}
	}
	times := 1
	if strings.Contains(string(format), "[") {
		times = max(verbs, 1)
	}
	// %q and %x make up to four bytes of one and %U more, as do lists and objects, whose text is quoted; a width adds up to 999
	// to each verb.
	text := 4 * c.text
	if plain, ok := plainText(args[1]); ok && !quoted {
		text = plain
	}
	made := len(format) + times*(text+8*c.elements)
	if strings.ContainsAny(string(format), "0123456789") {
		made += verbs * 999
	}
	return cost{text: made}, nil
}

func splitting(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	by, _ := args[1].Value.(ast.String)
	return cost{elements: strings.Count(string(s), string(by)) + 1}, nil
}

// searching looks for one text in another, rune by rune.
func searching(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	wanted, _ := args[1].Value.(ast.String)
	return cost{}, work(len(s), len(wanted))
}

// findingAll is searching for every place where one text is in another.
func findingAll(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	_, err := searching(args)
	return cost{elements: len(s)}, err
}

func replacing(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	old, _ := args[1].Value.(ast.String)
	by, _ := args[2].Value.(ast.String)
	return cost{text: len(s) + strings.Count(string(s), string(old))*len(by)}, nil
}

// replacingMany: every byte may be replaced by the longest replacement.
func replacingMany(args []*ast.Term) (cost, error) {
	c, err := readable(args[0])
	s, _ := args[1].Value.(ast.String)
	longest := 0
	if patterns, ok := args[0].Value.(ast.Object); ok && err == nil {
		patterns.Foreach(func(_, v *ast.Term) {
			by, _ := v.Value.(ast.String)
			longest = max(longest, len(by))
		})
	}
	if err == nil {
		err = work(len(s), c.elements)
	}
	return cost{text: len(s) + (len(s)+1)*longest}, err
}

// parsing: the text is JSON; what it becomes has an element for each comma and bracket.
func parsing(args []*ast.Term) (cost, error) {
	s, _ := args[0].Value.(ast.String)
	return cost{text: len(s), elements: strings.Count(string(s), ",") + strings.Count(string(s), "[") + strings.Count(string(s), "{") + 1}, nil
}

func work(a, b int) error {
	if b > 0 && a > maxWork/b {
		return fmt.Errorf("it would take %d times %d steps", a, b)
	}
	return nil
}

func composite(t *ast.Term) bool {
	switch t.Value.(type) {
	case *ast.Array, ast.Object, ast.Set:
		return true
	}
	return false
}

func length(v ast.Value) int {
	switch v := v.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Object:
		return v.Len()
	case ast.Set:
		return v.Len()
	}
	return 0
}
