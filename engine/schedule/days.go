package schedule

import (
	"iter"
	"math/bits"
	"time"
)

// Day is one date on which a schedule runs.
type Day struct {
	// Date counts days from 1970-01-01 on the schedule's own calendar.
	Date int64
	// First and Last are the first and last run of the date, in Unix seconds. They are equal when it runs once. A date a
	// clock change repeats in part may be yielded twice, rising.
	First, Last int64
}

const (
	daySeconds = 86_400
	cycleDays  = 146_097 // days in 400 years of the Gregorian calendar
)

// Days yields the dates with a run at or after from, rising, for one 400-year cycle of the calendar and then the first
// one beyond it. It yields nothing for @every, whose runs hang on no date, and nothing for a schedule that never runs.
func (s Schedule) Days(from time.Time) iter.Seq[Day] {
	return func(yield func(Day) bool) {
		c := s.clock()
		if c.runs() == 0 {
			return
		}
		at := from.In(s.location(from))
		if from.Nanosecond() > 0 {
			at = at.Add(time.Second)
		}
		begin := at.Unix()
		end := begin + cycleDays*daySeconds
		w := walk{spec: s, clock: c, full: Day{First: c.first(0), Last: c.last(daySeconds)}, end: end, zone: at.Location(), yield: yield}
		limit := end + 9*366*daySeconds // no pattern that runs at all waits longer than eight years
		for begin < limit {
			_, offset := at.Zone()
			next := clockChange(at, limit)
			if !w.segment(begin, next.Unix(), int64(offset)) {
				return
			}
			begin, at = next.Unix(), next
		}
	}
}

// clockChange is the first instant after at with another offset from UTC, or limit.
func clockChange(at time.Time, limit int64) time.Time {
	_, offset := at.Zone()
	for next := at; ; {
		_, end := next.ZoneBounds()
		switch {
		case end.IsZero() || end.Unix() >= limit:
			return time.Unix(limit, 0).In(at.Location())
		case !end.After(next): // on the last day of a leap year ZoneBounds ends the year a day early
			end = next.Add(24 * time.Hour)
		}
		if _, other := end.Zone(); other != offset {
			return end
		}
		next = end
	}
}

type walk struct {
	spec     Schedule
	clock    clock
	full     Day   // first and last second of a whole day
	end      int64 // no more after the first date that runs from here on
	wall     int64 // where the wall clock stood when the segment before ended
	previous int64 // the last run so far; 0 before any
	zone     *time.Location
	yield    func(Day) bool
}

// segment yields the runs in [begin, stop), between which the offset from UTC stands still. It is false at the end.
func (w *walk) segment(begin, stop, offset int64) bool {
	begin, stop = begin+offset, stop+offset // to the wall clock
	before := w.wall
	w.wall = stop
	firstDate, lastDate := floorDiv(begin, daySeconds), floorDiv(stop-1, daySeconds)
	year, month, _ := civil(firstDate)
	for start := daysBefore(year, month); start <= lastDate; {
		length := monthLength(year, month)
		for set := w.spec.datesIn(month, start, length); set != 0; set &= set - 1 {
			date := start + int64(bits.TrailingZeros64(set)) - 1
			if date < firstDate || date > lastDate {
				continue
			}
			first, last := w.full.First, w.full.Last
			if date == firstDate || date == lastDate {
				first = w.clock.first(max(0, begin-date*daySeconds))
				last = w.clock.last(min(daySeconds, stop-date*daySeconds))
				if first < 0 || last < first {
					continue
				}
			}
			shift := date*daySeconds - offset
			first, last = first+shift, last+shift
			if midnight := date * daySeconds; date == firstDate && w.previous != 0 && before <= midnight && midnight < begin {
				// The operators' library looks for dates from midnight to midnight and may step over one that has none.
				next := w.spec.spec.Next(time.Unix(w.previous, 0).In(w.zone))
				if next.IsZero() || next.Unix() > last {
					continue
				}
				first = next.Unix()
			}
			if !w.yield(Day{date, first, last}) || first >= w.end {
				return false
			}
			w.previous = last
		}
		start += length
		if month++; month > 12 {
			year, month = year+1, 1
		}
	}
	return true
}

const star = 1 << 63 // set by the parser in a field that was * or ?

// datesIn is the set of days of a month that match, bit n for day n. A restricted day of the month and a restricted day
// of the week are alternatives; otherwise both must match.
func (s Schedule) datesIn(month int, start, length int64) uint64 {
	if s.spec.Month>>month&1 == 0 {
		return 0
	}
	weekday := int((start + 4) % 7) // 1970-01-01 was a Thursday
	if weekday < 0 {
		weekday += 7
	}
	week := s.spec.Dow & 0x7f
	week = (week>>weekday | week<<(7-weekday)) & 0x7f // bit 0 is now the weekday of the first
	byWeek := (week | week<<7 | week<<14 | week<<21 | week<<28) << 1
	byMonth := s.spec.Dom &^ star
	whole := uint64(1)<<(length+1) - 2
	if s.spec.Dom&star != 0 || s.spec.Dow&star != 0 {
		return byWeek & byMonth & whole
	}
	return (byWeek | byMonth) & whole
}

// weekly says that one week is like the next: neither month nor day of the month matters.
func (s Schedule) weekly() bool {
	const months, days = 0x1ffe, 0xfffffffe
	return s.spec != nil && s.spec.Month&months == months && s.spec.Dom&star != 0 && s.spec.Dom&days == days
}

// steady says that a location changes its clocks no more after an instant.
func steady(after time.Time, loc *time.Location) bool {
	_, change := after.In(loc).ZoneBounds()
	return change.IsZero()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func civil(date int64) (year int64, month int, day int) {
	t := time.Unix(date*daySeconds, 0).UTC()
	return int64(t.Year()), int(t.Month()), t.Day()
}

func daysBefore(year int64, month int) int64 {
	return floorDiv(time.Date(int(year), time.Month(month), 1, 0, 0, 0, 0, time.UTC).Unix(), daySeconds)
}

func monthLength(year int64, month int) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
