package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var reference = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ExampleSchedule_LongestGap() {
	s, err := Parse("0 3 * * 1-5") // working days at three
	if err != nil {
		fmt.Println(err)
		return
	}
	gap, err := s.LongestGap(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	fmt.Println(gap, err)
	// Output: 72h0m0s <nil>
}

func TestLongestGap(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		spec string
		want time.Duration
	}{
		{"* * * * *", time.Minute},
		{"*/15 * * * *", 15 * time.Minute},
		{"7,22 * * * *", 45 * time.Minute},
		{"0 */7 * * *", 7 * time.Hour}, // 21:00 to 00:00 is three hours
		{"30 1,13 * * *", 12 * time.Hour},
		{"0 9-17 * * *", 16 * time.Hour},
		{"0 9-17 * * 1-5", 64 * time.Hour},
		{"@hourly", time.Hour},
		{"@daily", day},
		{"@midnight", day},
		{"@weekly", 7 * day},
		{"@monthly", 31 * day},
		{"@yearly", 366 * day},
		{"@annually", 366 * day},
		{"@every 6h", 6 * time.Hour},
		{"@every 90m", 90 * time.Minute},
		{"@every 1h30m10.9s", 90*time.Minute + 10*time.Second},
		{"@hourly-random", time.Hour},
		{"@daily-random", day},
		{"@weekly-random", 7 * day},
		{"@monthly-random", 31 * day},
		{"@yearly-random", 366 * day},
		{"0 0 31 * *", 61 * day},          // March to May
		{"0 0 30 * *", 60 * day},          // Jan 30 to Mar 30 in a leap year
		{"0 0 29 * *", 59 * day},          // Jan 29 to Mar 29 in a common year
		{"0 0 29 2 *", (8*365 + 1) * day}, // 2096 to 2104
		{"0 0 1 */3 *", 92 * day},         // quarters
		{"0 0 13 * 5", 7 * day},           // the 13th or a Friday
		{"0 0 1 * */2", 2 * day},          // a step is no star: the first, or Sun Tue Thu Sat
		{"0 0 */2 * *", 2 * day},          // 31st then 1st is one day
		{"0 0 * * 0", 7 * day},
		{"CRON_TZ=UTC 0 0 * * *", day},
		{"TZ=Asia/Tokyo 0 0 * * *", day},
		{"CRON_TZ=Europe/Berlin 0 0 * * *", 25 * time.Hour},
		{"CRON_TZ=Europe/Berlin 30 2 * * *", 47 * time.Hour}, // skipped when the clock springs
		{"CRON_TZ=Europe/Berlin 0 * * * *", time.Hour},
		{"CRON_TZ=America/New_York 0 0 * * 0", 7*day + time.Hour},
	} {
		s, err := Parse(c.spec)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.spec, err)
			continue
		}
		got, err := s.LongestGap(reference)
		if err != nil || got != c.want {
			t.Errorf("LongestGap(%q) = %v, %v, want %v", c.spec, got, err, c.want)
		}
	}
}

func TestParseWithSeconds(t *testing.T) {
	for spec, want := range map[string]time.Duration{
		"0 0 0 * * *":    24 * time.Hour,
		"0 0 * * *":      time.Hour, // five fields are seconds first as well
		"*/10 * * * * *": 10 * time.Second,
		"@daily":         24 * time.Hour,
		"0 30 3 * * MON": 7 * 24 * time.Hour,
	} {
		s, err := ParseWithSeconds(spec)
		if err != nil {
			t.Errorf("ParseWithSeconds(%q): %v", spec, err)
			continue
		}
		if got, err := s.LongestGap(reference); got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", spec, got, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"":                            "empty",
		"0 3 * *":                     "expected exactly 5 fields",
		"0 0 3 * * *":                 "expected exactly 5 fields",
		"@fortnightly":                "unrecognized descriptor",
		"@annually-random":            "write @yearly-random",
		"@every -6h":                  "a delay under a second",
		"@every 0s":                   "a delay under a second",
		"@every 1d":                   "failed to parse duration",
		"TZ=UTC":                      "a zone and no fields",
		"CRON_TZ=Mars/Base 0 * * * *": "bad location",
		"60 * * * *":                  "above maximum",
		"0 0 * * 7":                   "above maximum",
		"a b c d e":                   "failed to parse int",
		"0 0\n* * \x00*":              "parse schedule",
		strings.Repeat("1,", 300):     "more than 512",
	} {
		_, err := Parse(spec)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("Parse(%.40q) = %v, want one line with %q", spec, err, want)
		}
	}
	for _, spec := range []string{"0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", ", * * * *", "0 0 31 2 ?"} {
		s, err := Parse(spec)
		if err != nil {
			t.Errorf("Parse(%q): %v", spec, err)
			continue
		}
		if gap, err := s.LongestGap(reference); err == nil || !strings.Contains(err.Error(), "it never runs") {
			t.Errorf("LongestGap(%q) = %v, %v, want that it never runs", spec, gap, err)
		}
		if _, ok := s.Next(reference); ok {
			t.Errorf("Next(%q) found a run", spec)
		}
	}
	if _, err := (Schedule{}).LongestGap(reference); err == nil {
		t.Error("the zero schedule has a gap")
	}
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "Asia/Tokyo"}

// Clocks that change at midnight: there the library now and then adds a run on the date before.
var midnightZones = []string{"Atlantic/Azores", "America/Havana", "Africa/Cairo", "America/Santiago", "Asia/Beirut"}

func spec(zones []string) *rapid.Generator[string] {
	field := func(least, most int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			switch rapid.IntRange(0, 4).Draw(t, "form") {
			case 0, 1:
				return "*"
			case 2:
				return fmt.Sprintf("*/%d", rapid.IntRange(1, most).Draw(t, "step"))
			case 3:
				low := rapid.IntRange(least, most).Draw(t, "low")
				return fmt.Sprintf("%d-%d", low, rapid.IntRange(low, most).Draw(t, "high"))
			}
			return fmt.Sprintf("%d,%d", rapid.IntRange(least, most).Draw(t, "a"), rapid.IntRange(least, most).Draw(t, "b"))
		})
	}
	return rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("CRON_TZ=%s %s %s %s %s %s", rapid.SampledFrom(zones).Draw(t, "zone"),
			field(0, 59).Draw(t, "minute"), field(0, 23).Draw(t, "hour"), field(1, 31).Draw(t, "dom"),
			field(1, 12).Draw(t, "month"), field(0, 6).Draw(t, "dow"))
	})
}

// The operators' own library, run by run, never waits longer than we say, nor shorter.
func TestGapsAgainstRuns(t *testing.T) {
	t.Run("whole days", func(t *testing.T) { checkGaps(t, zones, true) })
	t.Run("no midnight", func(t *testing.T) { checkGaps(t, midnightZones, false) })
}

func checkGaps(t *testing.T, zones []string, both bool) {
	rapid.Check(t, func(t *rapid.T) {
		text := spec(zones).Draw(t, "spec")
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		from := reference.Add(time.Duration(rapid.Int64Range(0, 5*365*24*3600).Draw(t, "from")) * time.Second)
		low, high, err := s.Gaps(from)
		if err != nil {
			if next, ok := s.Next(from); ok {
				t.Fatalf("%s: %v, yet it runs %v", text, err, next)
			}
			return
		}
		at, ok := s.Next(from.Add(-time.Second))
		for range 500 {
			next, more := s.Next(at)
			if !ok || !more {
				break
			}
			if next.Sub(at) > high || both && next.Sub(at) < low {
				t.Fatalf("%s: %v to %v is %v, want %v to %v", text, at, next, next.Sub(at), low, high)
			}
			at = next
		}
	})
}

func TestGapsAreSeen(t *testing.T) { // exact, not only a bound: each figure is met by real runs
	for _, text := range []string{"0 0 31 * *", "0 0 13 * 5", "CRON_TZ=Europe/Berlin 0 0 1 * *", "CRON_TZ=America/New_York 30 1 * * 0",
		"CRON_TZ=Europe/Berlin 30 2 * * *", "CRON_TZ=Australia/Sydney 15 2,14 * * *", "CRON_TZ=America/Havana 0 0 * * *", "CRON_TZ=Europe/Berlin 0 12 * 3 0"} {
		s, _ := Parse(text)
		low, high, err := s.Gaps(reference)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := s.Next(reference)
		var sawLow, sawHigh bool
		for range 40_000 {
			next, ok := s.Next(at)
			if !ok {
				break
			}
			sawLow, sawHigh = sawLow || next.Sub(at) == low, sawHigh || next.Sub(at) == high
			if sawLow && sawHigh {
				break
			}
			at = next
		}
		if !sawLow || !sawHigh {
			t.Errorf("%s: %v to %v, low seen %v, high seen %v", text, low, high, sawLow, sawHigh)
		}
	}
}

func TestSpanAgainstRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := spec(zones).Draw(t, "spec")
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(1, 40).Draw(t, "n")
		low, high, err := s.Span(reference, n)
		if err != nil {
			return
		}
		var runs []time.Time
		for at := reference; len(runs) < 400; {
			next, ok := s.Next(at)
			if !ok {
				break
			}
			runs, at = append(runs, next), next
		}
		for i := n; i < len(runs); i++ {
			if d := runs[i].Sub(runs[i-n]); d < low || d > high {
				t.Fatalf("%s: %d runs from %v take %v, said %v to %v", text, n, runs[i-n], d, low, high)
			}
		}
	})
}

func TestSpan(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		spec      string
		n         int
		low, high time.Duration
	}{
		{"0 3 * * *", 7, 7 * day, 7 * day},
		{"0 */6 * * *", 4, day, day},
		{"0 3 * * 1-5", 5, 7 * day, 7 * day},
		{"0 3 1 * *", 12, 365 * day, 366 * day},
		{"0 0,1 * * *", 3, 25 * time.Hour, 47 * time.Hour},
		{"@every 6h", 10, 60 * time.Hour, 60 * time.Hour},
		{"CRON_TZ=Europe/Berlin 0 4 * * *", 7, 7*day - time.Hour, 7*day + time.Hour},
	} {
		s, err := Parse(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		low, high, err := s.Span(reference, c.n)
		if err != nil || low != c.low || high != c.high {
			t.Errorf("Span(%q, %d) = %v, %v, %v, want %v, %v", c.spec, c.n, low, high, err, c.low, c.high)
		}
	}
	s, _ := Parse("@daily")
	for _, n := range []int{0, -1, MaxSpan + 1} {
		if _, _, err := s.Span(reference, n); err == nil {
			t.Errorf("Span of %d runs", n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0 3 * * *", "@daily", "@every 6h", "CRON_TZ=Europe/Berlin 0 0 * * *", "TZ=", "TZ= ", "*/0 * * * *", "@every 9999999h", ", , , , ,", "@every  1h", "1/18446744073709551615 * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Schedule, error){Parse, ParseWithSeconds} {
			s, err := parse(text)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\r\x00") {
					t.Fatalf("%q: %q is more than a line", text, err)
				}
				continue
			}
			low, high, err := s.Gaps(reference)
			if err == nil && (low < time.Second || high < low) {
				t.Fatalf("%q: %v to %v", text, low, high)
			}
		}
	})
}

func BenchmarkLongestGap(b *testing.B) {
	for _, text := range []string{"0 3 * * *", "*/15 * * * *", "@monthly", "0 0 29 2 *", "0 0 31 2 *", "CRON_TZ=Europe/Berlin 30 2 * * *", "@every 6h"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			s, err := Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				_, _ = s.LongestGap(reference)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"0 3 * * *", "CRON_TZ=Europe/Berlin 30 2 * * *"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Parse(text)
			}
		})
	}
}
