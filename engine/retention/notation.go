package retention

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Notation names a way to write down how long a thing is kept.
type Notation string

// The notations Parse reads. Keep counts are not here: see [GFS] and [Count].
const (
	Canonical       Notation = "text"              // "35d", "5w", "6mo" or "6m" (months), "7y", "840h", "1y6mo12h"; what parameters hold
	GoDuration      Notation = "go-duration"       // "720h0m0s": Velero ttl, Longhorn retainAge; there is no unit for days
	Barman          Notation = "barman"            // "60d", "8w", "6m": CloudNativePG; Barman counts 31 days for a month
	S3Days          Notation = "s3-days"           // object lock default retention Days, 1 to 36500
	S3Years         Notation = "s3-years"          // object lock default retention Years, 1 to 100
	EBSDays         Notation = "ebs-days"          // snapshot lockDuration, 1 to 36500
	EBSExpiration   Notation = "ebs-expiration"    // {"from": RFC3339, "until": RFC3339}: lockExpirationDate seen from an instant
	GCSSeconds      Notation = "gcs-seconds"       // retentionPeriod, a string of seconds, up to 3155760000
	AzureDays       Notation = "azure-days"        // immutabilityPeriodSinceCreationInDays, 1 to 146000
	KopiaNanosecond Notation = "kopia-nanoseconds" // retention period as int64 nanoseconds
)

// Notations lists every Notation in the order above.
func Notations() []Notation {
	return []Notation{Canonical, GoDuration, Barman, S3Days, S3Years, EBSDays, EBSExpiration, GCSSeconds, AzureDays, KopiaNanosecond}
}

const maxText = 64 // bytes of a text

// Parse reads a value in a notation. Texts are strings; numbers may be any whole number Go or JSON carries, or a string
// of digits. A value that is not positive, not whole, out of the notation's own range or of another type is an error.
func Parse(n Notation, value any) (Horizon, error) {
	h, err := parse(n, value)
	if err != nil {
		return Horizon{}, fmt.Errorf("parse retention %s as %s: %w", quote(value), n, err)
	}
	return h, nil
}

// ParseText reads the canonical text of parameters: years, months, weeks and days in that order, each at most once,
// then a Go duration. A lone "6m" is six months here; inside a longer text it is refused, and "6mo" is never in doubt.
func ParseText(s string) (Horizon, error) { return Parse(Canonical, s) }

// ParseDuration reads a Go duration, as Velero and Longhorn do. "30d" is an error: neither knows a day.
func ParseDuration(s string) (Horizon, error) { return Parse(GoDuration, s) }

func parse(n Notation, value any) (Horizon, error) {
	switch n {
	case Canonical, GoDuration, Barman:
		s, ok := value.(string)
		switch {
		case !ok:
			return Horizon{}, errors.New("not a text; write it in quotes with its unit")
		case len(s) > maxText:
			return Horizon{}, fmt.Errorf("longer than %d bytes", maxText)
		case n == Canonical:
			return parseText(s)
		case n == GoDuration:
			return parseDuration(s)
		}
		return parseBarman(s)
	case S3Days, EBSDays:
		return counted(value, 36_500, func(n int) Horizon { return Horizon{Days: n} })
	case S3Years:
		return counted(value, 100, func(n int) Horizon { return Horizon{Years: n} })
	case AzureDays:
		return counted(value, 146_000, func(n int) Horizon { return Horizon{Days: n} })
	case GCSSeconds:
		return counted(value, 3_155_760_000, func(n int) Horizon { return Horizon{Exact: time.Duration(n) * time.Second} })
	case KopiaNanosecond:
		return counted(value, math.MaxInt64, func(n int) Horizon { return Horizon{Exact: time.Duration(n)} })
	case EBSExpiration:
		return parseExpiration(value)
	}
	return Horizon{}, fmt.Errorf("unknown notation; want one of %v", Notations())
}

func counted(value any, most int64, horizon func(int) Horizon) (Horizon, error) {
	n, err := whole(value)
	if err != nil {
		return Horizon{}, err
	}
	if n < 1 || n > most {
		return Horizon{}, fmt.Errorf("out of range, want 1 to %d", most)
	}
	return horizon(int(n)), nil
}

// whole reads an integer from whatever YAML, JSON, Rego or CEL made of it.
func whole(value any) (int64, error) {
	switch v := value.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case float64:
		if v != math.Trunc(v) || math.Abs(v) >= 1<<53 { // false for NaN and the infinities as well
			return 0, errors.New("not a whole number; write one")
		}
		return int64(v), nil
	case json.Number:
		return whole(v.String())
	case string:
		if v == "" || len(v) > 19 || strings.Trim(v, "0123456789") != "" {
			return 0, errors.New("not a whole number; write digits only")
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, errors.New("too large")
		}
		return n, nil
	}
	return 0, errors.New("not a whole number; write one")
}

var (
	dayUnit   = regexp.MustCompile(`^[0-9.]+[dwy]`)
	barman    = regexp.MustCompile(`^([1-9][0-9]*)([dwm])$`)
	canonical = regexp.MustCompile(`^(?:([0-9]+)y)?(?:([0-9]+)mo)?(?:([0-9]+)w)?(?:([0-9]+)d)?(.*)$`)
	loneM     = regexp.MustCompile(`^[0-9]+m$`)
)

func parseDuration(s string) (Horizon, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && dayUnit.MatchString(s):
		return Horizon{}, errors.New("a Go duration has no unit for days, weeks or years; write hours, as 720h")
	case err != nil:
		return Horizon{}, errors.New("not a Go duration; write hours, as 720h")
	case d <= 0:
		return Horizon{}, errors.New("not positive; Velero reads zero as its server's default, state that instead")
	}
	return Horizon{Exact: d}, nil
}

func parseBarman(s string) (Horizon, error) {
	m := barman.FindStringSubmatch(s)
	if m == nil {
		return Horizon{}, errors.New("want a whole number and d, w or m, as 60d")
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > maxDays {
		return Horizon{}, errors.New("more than a thousand years")
	}
	n *= map[string]int{"d": 1, "w": 7, "m": 31}[m[2]]
	if n > maxDays {
		return Horizon{}, errors.New("more than a thousand years")
	}
	return Horizon{Days: n}, nil
}

func parseText(s string) (Horizon, error) {
	var h Horizon
	if loneM.MatchString(s) {
		s = strings.TrimSuffix(s, "m") + "mo"
	}
	m := canonical.FindStringSubmatch(s)
	if s == "" || m == nil {
		return Horizon{}, errors.New("want a number and a unit, as 35d, 5w, 6mo, 7y or 840h")
	}
	for i, field := range []struct {
		to   *int
		days int
		most int
	}{{&h.Years, 1, maxYears}, {&h.Months, 1, maxMonths}, {&h.Days, 7, maxDays / 7}, {&h.Days, 1, maxDays}} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil || n > field.most {
			return Horizon{}, errors.New("more than a thousand years")
		}
		*field.to += n * field.days
	}
	if rest := m[5]; rest != "" {
		if rest != s && loneM.MatchString(rest) {
			return Horizon{}, errors.New("m is months to some and minutes to others; write 6mo or 6m0s")
		}
		d, err := time.ParseDuration(rest)
		if err != nil || rest[0] == '-' || rest[0] == '+' {
			return Horizon{}, errors.New("want a number and a unit, as 35d, 5w, 6mo, 7y or 840h")
		}
		h.Exact = d
	}
	if h == (Horizon{}) {
		return Horizon{}, errors.New("no time at all; want more than zero")
	}
	return h, nil
}

func parseExpiration(value any) (Horizon, error) {
	m, _ := value.(map[string]any)
	var at [2]time.Time
	for i, key := range []string{"from", "until"} {
		s, ok := m[key].(string)
		if !ok {
			return Horizon{}, fmt.Errorf(`no %s; want {"from": time, "until": time} in RFC 3339`, key)
		}
		var err error
		if at[i], err = time.Parse(time.RFC3339, s); err != nil {
			return Horizon{}, fmt.Errorf("%s is not an RFC 3339 time, as 2031-01-01T00:00:00Z", key)
		}
	}
	return Between(at[0], at[1])
}

// quote shows a value on one line, cut short.
func quote(value any) string {
	switch v := value.(type) {
	case string:
		if len(v) > maxText {
			v = v[:maxText] + "…"
		}
		return strconv.Quote(v)
	case nil, bool, int, int64, float64:
		return fmt.Sprint(v)
	case json.Number:
		return quote(v.String())
	case map[string]any:
		return "of a map"
	case []any:
		return "of a list"
	}
	return fmt.Sprintf("of type %T", value)
}
