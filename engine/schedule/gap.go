package schedule

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// LongestGap is the longest time between two consecutive runs that follow from. It is exact for the pattern over the
// whole 400-year cycle of the calendar that begins there: month lengths, February 29 across 2100, day of month or day
// of week, and every clock change the zone's rules foresee. Runs are the instants whose wall clock matches, so a run in
// the hour a clock change skips is lost and one in the hour it repeats happens twice, as in Velero. (Where clocks change
// at midnight the operators' library now and then adds a run on the date before; such a run is not counted on.) A
// schedule that names no zone is read in from's location; K8up's random forms are read in UTC. A schedule that never
// runs is an error.
func (s Schedule) LongestGap(from time.Time) (time.Duration, error) {
	_, longest, err := s.Gaps(from)
	return longest, err
}

// Gaps is the shortest and the longest time between two consecutive runs that follow from; see [Schedule.LongestGap].
func (s Schedule) Gaps(from time.Time) (shortest, longest time.Duration, err error) {
	if s.every > 0 {
		return s.every, s.every, nil
	}
	low, high := int64(math.MaxInt64), int64(0)
	previous, runs := int64(0), 0
	repeats := s.weekly() && steady(from, s.location(from))
	for day := range s.Days(from) {
		if repeats && runs > 8 {
			break // every step between dates of a week has been seen
		}
		if runs > 0 {
			low, high = min(low, day.First-previous), max(high, day.First-previous)
		}
		previous = day.Last
		runs++
	}
	if runs < 2 {
		return 0, 0, s.never()
	}
	if c := s.clock(); c.runs() > 1 {
		inLow, inHigh := c.gaps()
		low, high = min(low, inLow), max(high, inHigh)
	}
	return time.Duration(low) * time.Second, time.Duration(high) * time.Second, nil
}

func (s Schedule) never() error {
	return fmt.Errorf("measure schedule %q: no date matches, it never runs; correct day and month", s.text)
}

// MaxSpan is the largest n that [Schedule.Span] takes.
const MaxSpan = 100_000

// Span is the shortest and the longest time from a run to the n-th run after it: what a plain count of n keeps. It is
// exact in a zone without clock changes and for patterns that run once a day; elsewhere it is a bound that holds: n times the
// shortest and n times the longest gap. It errs when n is not within 1 and [MaxSpan], and for a schedule that never runs.
func (s Schedule) Span(from time.Time, n int) (shortest, longest time.Duration, err error) {
	if n < 1 || n > MaxSpan {
		return 0, 0, fmt.Errorf("measure schedule %q: a count of %d, want 1 to %d", s.text, n, MaxSpan)
	}
	low, high, err := s.Gaps(from)
	if err != nil {
		return 0, 0, err
	}
	if high > math.MaxInt64/time.Duration(n) {
		return 0, 0, fmt.Errorf("measure schedule %q: %d runs take longer than 292 years; lower the count", s.text, n)
	}
	bound := func() (time.Duration, time.Duration, error) {
		return low * time.Duration(n), high * time.Duration(n), nil
	}
	if s.every > 0 || low == high {
		return bound()
	}
	times := s.clock().times()
	if k := len(times); k > 1 {
		if !steady(from, s.location(from)) {
			return bound()
		}
		return s.spanOfDays(from, n, times)
	}
	return s.spanOfDays(from, n, []int64{0})
}

// spanOfDays slides over the days that match. With k runs on each, the n-th later run is q days on, or q+1 when the day
// wraps, whatever the day: so the extremes over days and those over times of day are independent.
func (s Schedule) spanOfDays(from time.Time, n int, times []int64) (shortest, longest time.Duration, err error) {
	k := len(times)
	q, r := n/k, n%k
	stay, wrap := wide, wide
	for i := range times {
		if j := i + r; j < k {
			stay = stay.with(times[j] - times[i])
		} else {
			wrap = wrap.with(times[j-k] - times[i])
		}
	}
	near, far := wide, wide
	ring := make([]int64, q+2) // the last q+1 days
	i := 0
	for day := range s.Days(from) {
		at := day.First
		if k > 1 { // the first day may be cut short by from; the zone is steady, so dates tell as much
			at = day.Date * daySeconds
		}
		ring[i%len(ring)] = at
		if i >= q {
			near = near.with(at - ring[(i-q)%len(ring)])
		}
		if i > q {
			far = far.with(at - ring[(i-q-1)%len(ring)])
		}
		i++
	}
	if i <= q+1 {
		return 0, 0, fmt.Errorf("measure schedule %q: fewer than %d runs in 400 years; lower the count", s.text, n)
	}
	all := wide
	if stay != wide {
		all = all.with(near.low + stay.low).with(near.high + stay.high)
	}
	if wrap != wide {
		all = all.with(far.low + wrap.low).with(far.high + wrap.high)
	}
	if all.high > math.MaxInt64/int64(time.Second) {
		return 0, 0, fmt.Errorf("measure schedule %q: %d runs take longer than 292 years; lower the count", s.text, n)
	}
	return time.Duration(all.low) * time.Second, time.Duration(all.high) * time.Second, nil
}

// reach is the smallest and the largest of the values seen.
type reach struct{ low, high int64 }

var wide = reach{math.MaxInt64, math.MinInt64}

func (r reach) with(v int64) reach { return reach{min(r.low, v), max(r.high, v)} }

// clock is the set of times of day a pattern runs at: every combination of its hours, minutes and seconds.
type clock struct{ hours, minutes, seconds []int64 }

func (s Schedule) clock() clock {
	if s.spec == nil {
		return clock{}
	}
	return clock{ones(s.spec.Hour, 24), ones(s.spec.Minute, 60), ones(s.spec.Second, 60)}
}

func ones(set uint64, limit int) []int64 {
	var out []int64
	for i := range limit {
		if set>>i&1 == 1 {
			out = append(out, int64(i))
		}
	}
	return out
}

// runs is how many times of day there are.
func (c clock) runs() int { return len(c.hours) * len(c.minutes) * len(c.seconds) }

// times lists the seconds of the day, rising.
func (c clock) times() []int64 {
	out := make([]int64, 0, c.runs())
	for _, h := range c.hours {
		for _, m := range c.minutes {
			for _, s := range c.seconds {
				out = append(out, h*3600+m*60+s)
			}
		}
	}
	return out
}

// gaps is the shortest and longest step between neighbours in times, found field by field; runs must exceed one.
func (c clock) gaps() (low, high int64) {
	r := wide
	over := func(values []int64, unit, carried int64) {
		for i := 1; i < len(values); i++ {
			r = r.with((values[i]-values[i-1])*unit - carried)
		}
	}
	secondSpan := c.seconds[len(c.seconds)-1] - c.seconds[0]
	minuteSpan := (c.minutes[len(c.minutes)-1]-c.minutes[0])*60 + secondSpan
	over(c.seconds, 1, 0)
	over(c.minutes, 60, secondSpan)
	over(c.hours, 3600, minuteSpan)
	return r.low, r.high
}

// first is the earliest time of day at or after lo, last the latest before hi; -1 when there is none.
func (c clock) first(lo int64) int64 {
	for _, h := range c.hours {
		if h*3600+3599 < lo {
			continue
		}
		for _, m := range c.minutes {
			for _, s := range c.seconds {
				if t := h*3600 + m*60 + s; t >= lo {
					return t
				}
			}
		}
	}
	return -1
}

func (c clock) last(hi int64) int64 {
	for _, h := range slices.Backward(c.hours) {
		if h*3600 >= hi {
			continue
		}
		for _, m := range slices.Backward(c.minutes) {
			for _, s := range slices.Backward(c.seconds) {
				if t := h*3600 + m*60 + s; t < hi {
					return t
				}
			}
		}
	}
	return -1
}
