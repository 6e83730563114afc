package decode

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// errNoJSON is what a YAML number is that JSON cannot write.
var errNoJSON = errors.New("neither infinity nor \"not a number\" can be sent to Kubernetes (quote it if text is meant)")

// plain is the value of a scalar without quotes and tags, by the rules of YAML 1.1 as Kubernetes' clients apply them:
// yes, no, on, off, y and n are booleans, 0644 and 0o644 are octal, underscores in numbers are skipped, dates are text.
func plain(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	switch text[0] {
	case 'y', 'Y', 'n', 'N', 't', 'T', 'f', 'F', 'o', 'O', '~':
		return word(text), nil
	case '.', '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return number(text)
	}
	return text, nil
}

func word(text string) any {
	if len(text) > len("false") {
		return text
	}
	switch text {
	case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true
	case "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false
	case "~", "null", "Null", "NULL":
		return nil
	}
	return text
}

func number(text string) (any, error) {
	v := numeric(text)
	if f, ok := v.(float64); ok {
		return wireNumber(f)
	}
	if u, ok := v.(uint64); ok {
		return float64(u), nil
	}
	return v, nil
}

// numeric is the number that text is in YAML, as int64, uint64 or float64, or text itself.
func numeric(text string) any {
	if text[0] == '.' {
		switch text {
		case ".nan", ".NaN", ".NAN":
			return math.NaN()
		case ".inf", ".Inf", ".INF":
			return math.Inf(1)
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
		return text
	}
	switch text {
	case "+.inf", "+.Inf", "+.INF":
		return math.Inf(1)
	case "-.inf", "-.Inf", "-.INF":
		return math.Inf(-1)
	}
	bare := text
	if strings.IndexByte(text, '_') >= 0 {
		bare = strings.ReplaceAll(text, "_", "")
	}
	if !looksNumeric(bare) {
		return text
	}
	if strings.IndexByte(bare, '.') < 0 {
		if n, err := strconv.ParseInt(bare, 0, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(bare, 0, 64); err == nil {
			return n
		}
	}
	if decimal(bare) {
		if f, err := strconv.ParseFloat(bare, 64); err == nil {
			return f
		}
	}
	// 0b takes a sign behind it, because Kubernetes' YAML library reads it so.
	if digits, ok := strings.CutPrefix(bare, "0b"); ok {
		if n, err := strconv.ParseInt(digits, 2, 64); err == nil {
			return n
		}
	}
	return text
}

// looksNumeric sorts out image tags, versions, dates and quantities before any conversion is tried, which would allocate
// an error for each.
func looksNumeric(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c == '+', c == '-', c == '.', c == 'x', c == 'X', c == 'o', c == 'O':
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// decimal reports whether text is [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
func decimal(text string) bool {
	digits := func() (n int) {
		for text != "" && text[0] >= '0' && text[0] <= '9' {
			text = text[1:]
			n++
		}
		return n
	}
	sign := func() {
		if text != "" && (text[0] == '-' || text[0] == '+') {
			text = text[1:]
		}
	}
	sign()
	whole := digits()
	if rest, ok := strings.CutPrefix(text, "."); ok {
		text = rest
		if digits() == 0 && whole == 0 {
			return false
		}
	} else if whole == 0 {
		return false
	}
	if text != "" && (text[0] == 'e' || text[0] == 'E') {
		text = text[1:]
		sign()
		if digits() == 0 {
			return false
		}
	}
	return text == ""
}

// wireNumber is what becomes of f once it was written as JSON, without a fraction where it has none, and read again.
func wireNumber(f float64) (any, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, errNoJSON
	case f != math.Trunc(f) || math.Abs(f) >= 1e21:
		return f, nil
	case math.Abs(f) < 1<<53:
		return int64(f), nil
	}
	if n, err := strconv.ParseInt(strconv.FormatFloat(f, 'f', -1, 64), 10, 64); err == nil {
		return n, nil
	}
	return f, nil
}

// keyText is the key that a scalar key becomes in JSON.
func keyText(text string) (string, error) {
	if text == "" || text == "~" {
		return "", errNullKey
	}
	var v any = text
	switch text[0] {
	case '.', '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		v = numeric(text)
	default:
		if v, _ = plain(text); v == nil {
			return "", errNullKey
		}
	}
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		// 32 bits, because Kubernetes' YAML library writes such keys so.
		if math.IsInf(float64(float32(v)), 0) || math.IsNaN(v) {
			return "", errNoJSON
		}
		return strconv.FormatFloat(v, 'g', -1, 32), nil
	case uint64:
		return "", errors.New("the key is a number larger than 64 bits hold (quote it)")
	}
	return text, nil
}

var errNullKey = errors.New("the key is empty or null (write a key before the colon, or quote it)")

// tagged is the value of a scalar that carries a tag, in short form such as !!int.
func tagged(tag, text string) (any, error) {
	mismatch := func() (any, error) {
		return nil, fmt.Errorf("the tag %s does not fit the value (remove the tag)", tag)
	}
	switch tag {
	case "!!str":
		return text, nil
	case "!!binary":
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("the tag !!binary wants base64: %w", err)
		}
		if !utf8.Valid(data) {
			return nil, errors.New("the tag !!binary holds bytes that are not UTF-8, which JSON cannot carry (use binaryData)")
		}
		return string(data), nil
	case "!!null", "!!bool", "!!int", "!!float", "!!timestamp":
	default:
		return text, nil // a tag of some other tool says nothing to Kubernetes
	}
	if tag == "!!timestamp" {
		for _, layout := range []string{"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2"} {
			if _, err := time.Parse(layout, text); err == nil && strings.IndexByte(text, '-') == 4 {
				return text, nil
			}
		}
		return mismatch()
	}
	v, err := plain(text)
	if err != nil {
		return nil, err
	}
	fits := false
	switch v.(type) {
	case nil:
		fits = tag == "!!null"
	case bool:
		fits = tag == "!!bool"
	case int64, float64:
		switch numeric(text).(type) {
		case int64:
			if tag == "!!float" {
				return wireNumber(float64(numeric(text).(int64)))
			}
			fits = tag == "!!int"
		case uint64:
			fits = tag == "!!int"
		case float64:
			fits = tag == "!!float"
		}
	}
	if !fits {
		return mismatch()
	}
	return v, nil
}
