package retention

import (
	"errors"
	"fmt"
	"math"
	"time"

	"proviso.dev/proviso/engine/schedule"
)

// Window is how long keep counts keep what a schedule makes, while it runs on time.
//
// A count of periods (hourly to yearly) keeps the last backup of each of that many periods that have one, as restic and kopia do;
// a plain count keeps the newest. Min is how long the counts keep the backups they choose, at the worst: a
// backup thinned out because a later one of its hour or day replaced it may go sooner. No backup is kept longer than
// Max. Both are bounds that hold; they are exact for a plain count, and for daily to yearly counts of a pattern with dates.
// Nothing here allows for late runs or late pruning.
type Window struct{ Min, Max Horizon }

// Counts are the keep counts of a grandfather-father-son rule; zero means that the rule has no such count.
type Counts struct{ Last, Hourly, Daily, Weekly, Monthly, Yearly int }

type unit int

const (
	hour unit = iota
	day
	week
	month
	year
)

// length is the shortest and longest the unit lasts on a calendar without clock changes.
func (u unit) length() (low, high time.Duration) {
	const d = 24 * time.Hour
	return [...]time.Duration{time.Hour, d, 7 * d, 28 * d, 365 * d}[u], [...]time.Duration{time.Hour, d, 7 * d, 31 * d, 366 * d}[u]
}

// times is n of the unit.
func (u unit) times(n int) Horizon {
	return [...]Horizon{{Exact: time.Duration(n) * time.Hour}, {Days: n}, {Days: 7 * n}, {Months: n}, {Years: n}}[u]
}

// after is the first date after the period a date lies in; weeks begin on Monday.
func (u unit) after(date int64) int64 {
	switch u {
	case day:
		return date + 1
	case week:
		return floorDiv(date+3, 7)*7 + 4
	}
	y, m, _ := time.Unix(date*86_400, 0).UTC().Date()
	next := time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
	if u == year {
		next = time.Date(y+1, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	return floorDiv(next.Unix(), 86_400)
}

// maxCount keeps every sum within 292 years.
func (u unit) maxCount() int { return [...]int{876_000, 36_500, 5_200, 1_200, 100}[u] }

// reference is where the calendar is entered. Patterns are judged over 400 years from there, so the choice shifts no figure.
var reference = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Count is the window of a plain count: the newest n backups are kept.
func Count(n int, s schedule.Schedule) (Window, error) { return GFS(Counts{Last: n}, &s) }

// GFS is the window of keep counts together: what the count that keeps longest keeps. Without a schedule (nil) it is
// taken that a backup is made at least once in each period of the shortest count, and Last is an error. Periods are those
// of the schedule's own zone, UTC when it names none. Negative and huge counts and a rule that keeps nothing are errors.
func GFS(c Counts, s *schedule.Schedule) (Window, error) {
	var all []Window
	var shortest, longest time.Duration
	if s != nil {
		var err error
		if shortest, longest, err = s.Gaps(reference); err != nil {
			return Window{}, err
		}
	}
	if c.Last < 0 {
		return Window{}, negative("last", c.Last)
	}
	if c.Last > 0 {
		if s == nil {
			return Window{}, errors.New("measure keep counts: last says nothing without a schedule; give its cron text")
		}
		low, high, err := s.Span(reference, c.Last)
		if err != nil {
			return Window{}, err
		}
		all = append(all, Window{exactly(low), exactly(high)})
	}
	for u, n := range []int{c.Hourly, c.Daily, c.Weekly, c.Monthly, c.Yearly} {
		u, name := unit(u), [...]string{"hourly", "daily", "weekly", "monthly", "yearly"}[u]
		switch {
		case n < 0:
			return Window{}, negative(name, n)
		case n > u.maxCount():
			return Window{}, fmt.Errorf("measure keep counts: %s: %d is more than a hundred years; lower it", name, n)
		case n == 0:
			continue
		}
		if s == nil && longest == 0 {
			longest, _ = u.length()
		}
		w := bounds(u, n, shortest, longest)
		if s != nil && u != hour {
			if exact, ok := measure(u, n, s); ok {
				w = exact
			}
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return Window{}, errors.New("measure keep counts: no count is set, nothing is kept; set one")
	}
	w := all[0]
	for _, other := range all[1:] {
		if Covers(other.Min, w.Min) {
			w.Min = other.Min
		}
		switch {
		case Covers(w.Max, other.Max):
		case Covers(other.Max, w.Max):
			w.Max = other.Max
		default: // each is longer from some start: an exact time that covers both
			w.Max = exactly(max(w.Max.most(), other.Max.most()))
		}
	}
	return w, nil
}

func negative(name string, n int) error {
	return fmt.Errorf("measure keep counts: %s: %d is negative; some tools mean forever by it, Proviso does not guess", name, n)
}

// bounds needs only the gaps. A chosen backup is the last of its period; it goes when n later periods have one.
func bounds(u unit, n int, shortest, longest time.Duration) Window {
	unitLow, unitHigh := u.length()
	w := Window{Min: u.times(n - 1)}
	if runs := time.Duration(n) * shortest; shortest > 0 && longest <= math.MaxInt64/time.Duration(n) && Covers(exactly(runs), w.Min) {
		w.Min = exactly(runs) // n later periods take n later runs
	}
	var most float64 // float first: the sum may pass 292 years
	l, h := float64(longest), float64(unitHigh)
	switch {
	case shortest >= unitHigh: // never two in one period
		most = float64(n) * l
	case longest <= unitLow: // no period without one
		most = float64(n-1)*h + 2*l
	default:
		most = l + float64(n-1)*(h+l)
	}
	if most >= math.MaxInt64 {
		w.Max = Horizon{Years: maxYears}
		return w
	}
	w.Max = exactly(time.Duration(most))
	return w
}

// measure walks the dates of the schedule through 400 years. It is false when the schedule has none, or too few.
func measure(u unit, n int, s *schedule.Schedule) (Window, bool) {
	last := make([]int64, n+1) // the last run of the latest periods
	low, high := int64(math.MaxInt64), int64(-1)
	whole, atLeast, atMost := u.times(n), true, true
	ends, seen := int64(math.MinInt64), -1
	for d := range s.Days(reference) {
		if d.Date >= ends {
			ends = u.after(d.Date)
			if seen++; seen > n { // the first period may be cut short by the reference, so it is not judged
				made := last[(seen-n)%(n+1)]
				low, high = min(low, d.First-made), max(high, d.First-made)
				if u >= month && (atLeast || atMost) {
					end := whole.Until(time.Unix(made, 0)).Unix()
					atLeast, atMost = atLeast && d.First >= end, atMost && d.First <= end
				}
			}
		}
		last[seen%(n+1)] = d.Last
	}
	if high < 0 || high > math.MaxInt64/int64(time.Second) {
		return Window{}, false
	}
	w := Window{exactly(time.Duration(low) * time.Second), exactly(time.Duration(high) * time.Second)}
	if u >= month && atLeast && Covers(whole, w.Min) {
		w.Min = whole
	}
	if u >= month && atMost && Covers(w.Max, whole) {
		w.Max = whole
	}
	return w, true
}

// exactly is a duration, in days when it is whole days.
func exactly(d time.Duration) Horizon {
	const full = 24 * time.Hour
	if d%full == 0 {
		return Horizon{Days: int(d / full)}
	}
	return Horizon{Exact: d}
}

// most is the longest the horizon can last, capped at 292 years.
func (h Horizon) most() time.Duration {
	days := float64(-leastDays(0, h.Years*12+h.Months)) + float64(h.Days)
	if total := days*float64(24*time.Hour) + float64(h.Exact); total < math.MaxInt64 {
		return time.Duration(days)*24*time.Hour + h.Exact
	}
	return math.MaxInt64
}
