// Package schedule says how often a backup runs: it reads the cron notations backup operators read and finds the
// longest time between two runs. It never starts anything, never asks the clock and never guesses: a text no operator
// would run is an error. Start at [Parse] and [Schedule.LongestGap].
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"
)

// MaxLength is the longest schedule text, in bytes, that Parse reads.
const MaxLength = 512

// Schedule is one parsed schedule. The zero value never runs. A Schedule is immutable and safe for concurrent use.
type Schedule struct {
	text   string
	spec   *cron.SpecSchedule // the calendar pattern; nil for @every and for the zero value
	every  time.Duration      // the constant delay of @every; 0 otherwise
	random bool               // K8up picks minute, hour and day itself
}

// seconds reads the notation of CloudNativePG: seconds first, the day of the week optional.
var seconds = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.DowOptional | cron.Descriptor)

// random maps the forms K8up spreads over its cluster to a pattern with the same rhythm. K8up picks a day of the month
// no later than the 27th, so every month has it.
var random = map[string]string{
	"@hourly-random":  "0 * * * *",
	"@daily-random":   "0 0 * * *",
	"@weekly-random":  "0 0 * * 0",
	"@monthly-random": "0 0 1 * *",
	"@yearly-random":  "0 0 1 1 *",
}

const fiveFields = "write minute hour day-of-month month day-of-week, @daily or @every 6h"

// Parse reads a schedule as Velero does: five cron fields, descriptors such as @daily, @every with a Go duration, and a
// leading CRON_TZ= or TZ= with a name of the time zone database. It also reads K8up's @hourly-random to @yearly-random.
// Without a zone the schedule runs in the zone of the operator's process, which callers pass in as the location of a
// start instant. An unreadable text, an @every that is not positive and a text longer than [MaxLength] are errors; a
// pattern no date matches is not: [Schedule.LongestGap] says so.
func Parse(spec string) (Schedule, error) {
	if spec == "@annually-random" {
		return Schedule{}, refuse(spec, errors.New("K8up documents it but never runs it"), "write @yearly-random")
	}
	if same, ok := random[spec]; ok {
		s, err := parse(same, cron.ParseStandard, fiveFields)
		s.text, s.random = spec, true
		return s, err
	}
	return parse(spec, cron.ParseStandard, fiveFields)
}

// ParseWithSeconds reads a schedule as CloudNativePG does: seconds minute hour day-of-month month, then an optional day
// of the week. Five fields are therefore not what they are to [Parse]: "0 0 * * *" runs every hour. Descriptors, @every
// and zones are read as by Parse.
func ParseWithSeconds(spec string) (Schedule, error) {
	return parse(spec, seconds.Parse, "write second minute hour day-of-month month day-of-week")
}

func parse(spec string, read func(string) (cron.Schedule, error), wayOut string) (Schedule, error) {
	if len(spec) > MaxLength {
		return Schedule{}, fmt.Errorf("parse schedule: %d bytes, more than %d; %s", len(spec), MaxLength, wayOut)
	}
	if spec == "" {
		return Schedule{}, refuse(spec, errors.New("empty"), wayOut)
	}
	// The parser slices up to the first blank and panics when there is none.
	if zoned := strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ="); zoned && !strings.Contains(spec, " ") {
		return Schedule{}, refuse(spec, errors.New("a zone and no fields"), wayOut)
	}
	parsed, err := read(spec)
	if err != nil {
		return Schedule{}, refuse(spec, err, wayOut)
	}
	switch p := parsed.(type) {
	case *cron.SpecSchedule:
		return Schedule{text: spec, spec: p}, nil
	case cron.ConstantDelaySchedule:
		// The parser silently reads a delay under a second, even a negative one, as a second.
		if asked, _ := time.ParseDuration(spec[strings.LastIndexByte(spec, ' ')+1:]); asked < time.Second {
			return Schedule{}, refuse(spec, errors.New("a delay under a second"), "write @every 6h")
		}
		return Schedule{text: spec, every: p.Delay}, nil
	default:
		return Schedule{}, refuse(spec, fmt.Errorf("unexpected form %T", parsed), wayOut)
	}
}

// refuse words a parse error on one line, whatever bytes the text held.
func refuse(spec string, fact error, wayOut string) error {
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, fact.Error())
	return fmt.Errorf("parse schedule %q: %s; %s", spec, line, wayOut)
}

// String is the text the schedule was parsed from.
func (s Schedule) String() string { return s.text }

// Next is the first run after an instant, in that instant's location. It is false when there is none in the five years
// the operators look ahead, and for K8up's random forms, whose minute only K8up knows.
func (s Schedule) Next(after time.Time) (time.Time, bool) {
	switch {
	case s.random:
		return time.Time{}, false
	case s.every > 0:
		return cron.ConstantDelaySchedule{Delay: s.every}.Next(after), true
	case s.spec == nil:
		return time.Time{}, false
	}
	next := s.spec.Next(after)
	return next, !next.IsZero()
}

// location is where the pattern's wall clock hangs; a schedule that names no zone takes that of the instant asked about.
func (s Schedule) location(at time.Time) *time.Location {
	switch {
	case s.random:
		return time.UTC
	case s.spec == nil || s.spec.Location == time.Local:
		return at.Location()
	}
	return s.spec.Location
}
