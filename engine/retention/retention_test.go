package retention

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ExampleCovers() {
	ttl, _ := ParseDuration("8760h") // 365 days
	year, _ := ParseText("1y")
	fmt.Println(Covers(ttl, year)) // a leap year is longer
	// Output: false
}

func ExampleHorizon_String() {
	h, _ := Parse(GCSSeconds, "604800")
	fmt.Println(h, h.Text())
	// Output: 7 days 168h
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		n     Notation
		value any
		want  Horizon
	}{
		{Canonical, "35d", Horizon{Days: 35}},
		{Canonical, "5w", Horizon{Days: 35}},
		{Canonical, "6m", Horizon{Months: 6}},
		{Canonical, "6mo", Horizon{Months: 6}},
		{Canonical, "7y", Horizon{Years: 7}},
		{Canonical, "840h", Horizon{Exact: 840 * time.Hour}},
		{Canonical, "1y6mo2w1d12h", Horizon{1, 6, 15, 12 * time.Hour}},
		{Canonical, "6m0s", Horizon{Exact: 6 * time.Minute}},
		{Canonical, "1d90m0s", Horizon{Days: 1, Exact: 90 * time.Minute}},
		{GoDuration, "720h0m0s", Horizon{Exact: 720 * time.Hour}},
		{GoDuration, "90m", Horizon{Exact: 90 * time.Minute}},
		{Barman, "60d", Horizon{Days: 60}},
		{Barman, "8w", Horizon{Days: 56}},
		{Barman, "6m", Horizon{Days: 186}},
		{S3Days, int64(30), Horizon{Days: 30}},
		{S3Days, 30, Horizon{Days: 30}},
		{S3Days, json.Number("30"), Horizon{Days: 30}},
		{S3Years, float64(7), Horizon{Years: 7}},
		{EBSDays, "36500", Horizon{Days: 36500}},
		{EBSExpiration, map[string]any{"from": "2026-01-01T00:00:00Z", "until": "2026-01-31T01:00:00+01:00"}, Horizon{Exact: 720 * time.Hour}},
		{GCSSeconds, "2592000", Horizon{Exact: 720 * time.Hour}},
		{AzureDays, 146000.0, Horizon{Days: 146000}},
		{KopiaNanosecond, int64(math.MaxInt64), Horizon{Exact: math.MaxInt64}},
	} {
		if got, err := Parse(c.n, c.value); err != nil || got != c.want {
			t.Errorf("Parse(%s, %v) = %+v, %v, want %+v", c.n, c.value, got, err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	huge := strings.Repeat("9", 40)
	for _, c := range []struct {
		n     Notation
		value any
		want  string
	}{
		{Canonical, "", "want a number and a unit"},
		{Canonical, "0d", "no time at all"},
		{Canonical, "0s", "no time at all"},
		{Canonical, "-1d", "want a number"},
		{Canonical, "1d-1h", "want a number"},
		{Canonical, "1d+1h", "want a number"},
		{Canonical, "1y6m", "minutes to others"},
		{Canonical, "1d1y", "want a number"},
		{Canonical, "7Y", "want a number"},
		{Canonical, "7 y", "want a number"},
		{Canonical, "1001y", "a thousand years"},
		{Canonical, huge + "d", "a thousand years"},
		{Canonical, huge + "h", "want a number"},
		{Canonical, "7y\n", "want a number"},
		{Canonical, strings.Repeat("1h", 60), "longer than"},
		{Canonical, int64(7), "not a text"},
		{Canonical, nil, "not a text"},
		{GoDuration, "30d", "no unit for days"},
		{GoDuration, "1.5w", "no unit for days"},
		{GoDuration, "0s", "server's default"},
		{GoDuration, "-1h", "not positive"},
		{GoDuration, "9999999999h", "not a Go duration"},
		{GoDuration, 720.0, "not a text"},
		{Barman, "0d", "whole number"},
		{Barman, "60", "whole number"},
		{Barman, "6y", "whole number"},
		{Barman, "999999999d", "thousand years"},
		{Barman, "366000m", "thousand years"},
		{S3Days, 0, "out of range"},
		{S3Days, -1, "out of range"},
		{S3Days, 36501, "out of range"},
		{S3Days, 1.5, "not a whole number"},
		{S3Days, math.NaN(), "not a whole number"},
		{S3Days, math.Inf(1), "not a whole number"},
		{S3Days, true, "not a whole number"},
		{S3Days, "30d", "digits only"},
		{S3Days, "+30", "digits only"},
		{S3Years, 101, "out of range"},
		{GCSSeconds, "3155760001", "out of range"},
		{GCSSeconds, "9999999999999999999", "too large"},
		{KopiaNanosecond, 1e300, "not a whole number"},
		{EBSExpiration, "2030-01-01T00:00:00Z", "no from"},
		{EBSExpiration, map[string]any{"from": "2030-01-01T00:00:00Z", "until": "2029-01-01T00:00:00Z"}, "is not after"},
		{EBSExpiration, map[string]any{"from": "0001-01-01T00:00:00Z", "until": "2029-01-01T00:00:00Z"}, "292 years"},
		{EBSExpiration, map[string]any{"from": "tomorrow", "until": ""}, "RFC 3339"},
		{"fortnights", 2, "unknown notation"},
	} {
		got, err := Parse(c.n, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || got != (Horizon{}) {
			t.Errorf("Parse(%s, %v) = %+v, %v, want an error with %q", c.n, c.value, got, err, c.want)
		}
	}
}

func TestUntil(t *testing.T) {
	for _, c := range []struct{ start, horizon, want string }{
		{"2024-02-29T12:00:00Z", "1y", "2025-02-28T12:00:00Z"},
		{"2024-02-29T12:00:00Z", "4y", "2028-02-29T12:00:00Z"},
		{"2026-01-31T00:00:00Z", "1mo", "2026-02-28T00:00:00Z"},
		{"2026-01-31T00:00:00Z", "1mo1d", "2026-03-01T00:00:00Z"},
		{"2026-08-31T23:30:00+02:00", "6m", "2027-02-28T21:30:00Z"},
		{"2026-12-31T00:00:00Z", "1d24h", "2027-01-02T00:00:00Z"},
	} {
		start, _ := time.Parse(time.RFC3339, c.start)
		h, err := ParseText(c.horizon)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Until(start).Format(time.RFC3339); got != c.want {
			t.Errorf("%s from %s is %s, want %s", c.horizon, c.start, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"35d", "35d", true},
		{"35d", "840h", true},
		{"840h", "35d", true},
		{"839h59m59.999999999s", "35d", false},
		{"5w", "35d", true},
		{"365d", "1y", false},
		{"366d", "1y", true},
		{"1y", "365d", true},
		{"1y", "366d", false},
		{"12mo", "1y", true},
		{"1y", "12mo", true},
		{"2557d", "7y", true},  // one or two leap days
		{"2556d", "7y", false}, // two leap days
		{"7y", "2556d", false}, // none across 2100
		{"7y", "2555d", true},
		{"6mo", "181d", true},
		{"6mo", "182d", false},
		{"184d", "6mo", true},
		{"186d", "6mo", true},
		{"1mo", "28d", true},
		{"1mo", "29d", false},
		{"31d", "1mo", true},
		{"30d", "1mo", false},
		{"400y", "146097d", true},
		{"146097d", "400y", true},
		{"1000y", "1000y", true},
	} {
		have, _ := ParseText(c.have)
		want, _ := ParseText(c.want)
		if Covers(have, want) != c.ok {
			t.Errorf("Covers(%s, %s) is not %v", c.have, c.want, c.ok)
		}
		if Exceeds(want, have) == c.ok {
			t.Errorf("Exceeds(%s, %s) is not %v", c.want, c.have, !c.ok)
		}
	}
	huge := Horizon{Years: math.MaxInt}
	if Covers(huge, huge) || !Exceeds(Horizon{}, huge) {
		t.Error("a horizon beyond all arithmetic proves something")
	}
	if !Covers(Horizon{}, Horizon{}) || Exceeds(Horizon{}, Horizon{}) {
		t.Error("no time does not cover no time")
	}
}

func horizon() *rapid.Generator[Horizon] {
	return rapid.Custom(func(t *rapid.T) Horizon {
		h := Horizon{Years: rapid.IntRange(0, 8).Draw(t, "years"), Months: rapid.IntRange(0, 30).Draw(t, "months"), Days: rapid.IntRange(0, 400).Draw(t, "days")}
		h.Exact = time.Duration(rapid.IntRange(0, 60).Draw(t, "hours")) * time.Hour
		return h
	})
}

// Over every day of the 400-year cycle, the answer is what counting gives.
func TestCoversAgainstDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := horizon().Draw(t, "a"), horizon().Draw(t, "b")
		if rapid.Bool().Draw(t, "near") { // most pairs are far apart; bring them close
			b.Days, b.Exact = 0, 0
			apart := b.Until(time.Date(2001, 3, 1, 0, 0, 0, 0, time.UTC)).Sub(Horizon{a.Years, a.Months, 0, 0}.Until(time.Date(2001, 3, 1, 0, 0, 0, 0, time.UTC)))
			a.Days, a.Exact = int(apart/(24*time.Hour))+rapid.IntRange(-3, 3).Draw(t, "off"), 0
		}
		least := time.Duration(math.MaxInt64)
		for date := range 146_097 {
			start := time.Unix(int64(date)*86_400, 0)
			least = min(least, a.Until(start).Sub(b.Until(start)))
		}
		if Covers(a, b) != (least >= 0) {
			t.Fatalf("Covers(%+v, %+v) = %v; the least difference is %v", a, b, Covers(a, b), least)
		}
	})
}

func TestSlack(t *testing.T) { // the shortcut in least never decides against the count
	for months := 0; months <= cycleMonths; months += 1 + months/50 {
		low, high := leastDays(months, 0), -leastDays(0, months)
		if low <= about(months)-slack || high >= about(months)+slack {
			t.Fatalf("%d months last %d to %d days, about %d", months, low, high, about(months))
		}
	}
}

func TestTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := horizon().Draw(t, "h")
		h.Exact += time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "rest"))
		if h == (Horizon{}) {
			return
		}
		back, err := ParseText(h.Text())
		if err != nil || back != h {
			t.Fatalf("%+v is %q, read back %+v, %v", h, h.Text(), back, err)
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"7y": "7 years", "1y": "1 year", "168h": "7 days", "36h": "36 hours", "6m": "6 months", "1y6mo": "1 year 6 months",
		"90m0s": "1 hour 30 minutes", "1d1.5s": "1 day 1.5s",
	} {
		h, err := ParseText(text)
		if err != nil || h.String() != want {
			t.Errorf("%s: %q, %v, want %q", text, h, err, want)
		}
	}
	if s := (Horizon{}).String(); s != "no time" {
		t.Error(s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"35d", "6m", "1y6mo2w1d12h", "720h0m0s", "60d", "3155760000", "9223372036854775807", "1e9h", "0.1ns"} {
		f.Add(s, 1.5)
	}
	f.Fuzz(func(t *testing.T, text string, number float64) {
		for _, n := range Notations() {
			for _, value := range []any{text, number, int64(number), map[string]any{"from": "2026-01-01T00:00:00Z", "until": text}} {
				h, err := Parse(n, value)
				if err != nil {
					if strings.ContainsAny(err.Error(), "\n\r\x00") {
						t.Fatalf("%q is more than a line", err)
					}
					continue
				}
				if h == (Horizon{}) || h.Years < 0 || h.Months < 0 || h.Days < 0 || h.Exact < 0 || !Covers(h, h) {
					t.Fatalf("%s %v: %+v", n, value, h)
				}
				if back, err := ParseText(h.Text()); err != nil || back != h {
					t.Fatalf("%s %v: %+v is %q, read back %+v, %v", n, value, h, h.Text(), back, err)
				}
			}
		}
	})
}

func BenchmarkCovers(b *testing.B) {
	for _, c := range [][2]Horizon{{{Exact: 720 * time.Hour}, {Days: 30}}, {{Days: 2557}, {Years: 7}}, {{Days: 30}, {Years: 7}}} {
		b.Run(c[0].Text()+" of "+c[1].Text(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Covers(c[0], c[1])
			}
		})
	}
}
