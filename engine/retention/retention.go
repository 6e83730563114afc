// Package retention says how long a backup is kept: it reads every notation storage and backup software uses into one
// [Horizon] and compares horizons exactly, in calendar time. It never asks the clock, and a value it cannot read is an
// error, never a guess. Start at [Parse], [Covers] and [GFS].
package retention

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Horizon is a length of time in calendar terms: from a start instant, first Years and Months, then Days, then Exact.
// A month that lacks the start's day ends on its last one; a year is a calendar year; a day is 24 hours, because all
// arithmetic is in UTC. The zero Horizon is no time at all. Fields are not negative in any Horizon this package returns.
type Horizon struct {
	Years, Months, Days int
	Exact               time.Duration
}

// Limits on what Parse reads: nothing is kept longer than a thousand years.
const (
	maxYears  = 1_000
	maxMonths = 12 * maxYears
	maxDays   = 366 * maxYears
)

// sound says that the fields are small enough for exact arithmetic.
func (h Horizon) sound() bool {
	within := func(v, most int) bool { return -most <= v && v <= most }
	return within(h.Years, 4*maxYears) && within(h.Months, 4*maxMonths) && within(h.Days, 4*maxDays)
}

// Until is the instant a thing made at start is no longer kept, in UTC.
func (h Horizon) Until(start time.Time) time.Time {
	start = start.UTC()
	year, month, day := start.Date()
	hour, minute, second := start.Clock()
	index := year*12 + int(month) - 1 + h.Years*12 + h.Months
	year, m := index/12, index%12
	if m < 0 {
		year, m = year-1, m+12
	}
	month = time.Month(m + 1)
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(year, month, min(day, last)+h.Days, hour, minute, second, start.Nanosecond(), time.UTC).Add(h.Exact)
}

// Between is the exact time from start to end. It errs unless end is after start, and beyond 292 years.
func Between(start, end time.Time) (Horizon, error) {
	d := end.Sub(start)
	if d <= 0 {
		return Horizon{}, fmt.Errorf("measure retention: %s is not after %s; a lock must end after it begins",
			end.Format(time.RFC3339), start.Format(time.RFC3339))
	}
	if !start.Add(d).Equal(end) {
		return Horizon{}, fmt.Errorf("measure retention: %s to %s is more than 292 years; write years instead",
			start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return Horizon{Exact: d}, nil
}

// Covers says that, from every possible start instant, have keeps at least as long as want. So 366 days cover a year and
// 365 do not, 6 months cover 181 days and not 182. Fields beyond a few thousand years are not compared: false.
func Covers(have, want Horizon) bool {
	return have.sound() && want.sound() && least(have, want) >= 0
}

// Exceeds says that, from some start instant, have keeps longer than max. It is the opposite of Covers(max, have).
func Exceeds(have, max Horizon) bool {
	return !Covers(max, have)
}

// least is the sign of the smallest difference between the ends of two horizons over all start instants.
func least(a, b Horizon) int {
	const daySeconds = 24 * 60 * 60
	monthsA, monthsB := a.Years*12+a.Months, b.Years*12+b.Months
	seconds := (int64(a.Days)-int64(b.Days))*daySeconds + int64(a.Exact/time.Second) - int64(b.Exact/time.Second)
	if monthsA != monthsB {
		if rough := seconds + about(monthsA-monthsB)*daySeconds; rough > slack*daySeconds {
			return 1
		} else if rough < -slack*daySeconds {
			return -1
		}
	}
	seconds += leastDays(monthsA, monthsB) * daySeconds
	nanos := int64(a.Exact%time.Second) - int64(b.Exact%time.Second)
	switch { // nanos lies within two seconds, so it decides only near zero
	case seconds >= 2:
		return 1
	case seconds <= -2:
		return -1
	}
	return cmp.Compare(seconds*int64(time.Second)+nanos, 0)
}

const (
	cycleMonths = 400 * 12 // after 400 years the calendar repeats
	cycleDays   = 146_097
)

// leastDays is the least number of days from a date plus b months to the same date plus a months, over all dates.
func leastDays(a, b int) int64 {
	if a == b {
		return 0
	}
	starts := monthStarts()
	first := func(index int) (day, length int64) {
		cycle, month := floorDiv(int64(index), cycleMonths), index%cycleMonths
		if month < 0 {
			month += cycleMonths
		}
		return cycle*cycleDays + starts[month], starts[month+1] - starts[month]
	}
	best := int64(1 << 62)
	for start := range cycleMonths {
		firstA, lengthA := first(start + a)
		firstB, lengthB := first(start + b)
		// Up to the 28th no month clamps the day, so that day stands for all before it.
		for day := int64(28); day <= starts[start+1]-starts[start]; day++ {
			best = min(best, firstA-firstB+min(day, lengthA)-min(day, lengthB))
		}
	}
	return best
}

// slack is more than the days by which a number of months can differ from its average length, clamped days included.
const slack = 6

// about is the average length of a number of months in days, rounded down.
func about(months int) int64 { return floorDiv(int64(months)*cycleDays, cycleMonths) }

// monthStarts holds, for each month of a 400-year cycle and the one after, the days from the cycle's start to its first.
var monthStarts = sync.OnceValue(func() *[cycleMonths + 1]int64 {
	var starts [cycleMonths + 1]int64
	day := int64(0)
	for i := range cycleMonths {
		starts[i] = day
		// Year 2000 begins a cycle; day 0 of the next month is the last of this one.
		day += int64(time.Date(2000+i/12, time.Month(i%12+2), 0, 0, 0, 0, 0, time.UTC).Day())
	}
	starts[cycleMonths] = day
	return &starts
})

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// String says the horizon in words: "7 years", "1 year 6 months", "30 days", "36 hours". Exact time in whole days is
// said in days.
func (h Horizon) String() string {
	days, exact := h.Days, h.Exact
	if exact%(24*time.Hour) == 0 {
		days, exact = days+int(exact/(24*time.Hour)), 0
	}
	var words []string
	say := func(n int64, unit string) {
		if n != 0 {
			if n != 1 {
				unit += "s"
			}
			words = append(words, fmt.Sprintf("%d %s", n, unit))
		}
	}
	say(int64(h.Years), "year")
	say(int64(h.Months), "month")
	say(int64(days), "day")
	say(int64(exact/time.Hour), "hour")
	say(int64(exact%time.Hour/time.Minute), "minute")
	if rest := exact % time.Minute; rest%time.Second == 0 {
		say(int64(rest/time.Second), "second")
	} else {
		words = append(words, rest.String())
	}
	if len(words) == 0 {
		return "no time"
	}
	return strings.Join(words, " ")
}

// Text is the canonical text, which Parse reads back as [Text] notation: "7y", "1y6mo", "35d", "720h". Months are "mo"
// because "6m" means months to some and minutes to others. The zero Horizon is "0s", which Parse refuses.
func (h Horizon) Text() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{h.Years, "y"}, {h.Months, "mo"}, {h.Days, "d"}} {
		if part.n != 0 {
			fmt.Fprintf(&b, "%d%s", part.n, part.unit)
		}
	}
	switch {
	case h.Exact == 0 && b.Len() > 0:
	case h.Exact%time.Hour == 0 && h.Exact != 0:
		fmt.Fprintf(&b, "%dh", h.Exact/time.Hour)
	default:
		b.WriteString(h.Exact.String())
	}
	return b.String()
}
