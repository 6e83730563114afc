package host

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"proviso.dev/proviso/engine/retention"
	"proviso.dev/proviso/engine/schedule"
)

// reference is the instant from which schedules are measured. Their patterns are judged over 400 years from there, so it
// shifts no figure; it is fixed so that a replay gives the same answer. Schedules without a zone are read in UTC.
var reference = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// loneMinutes is a text that Go reads as minutes and parameters as months.
var loneMinutes = regexp.MustCompile(`^[0-9]+m$`)

// kept reads what an object says it keeps. A lone "6m" there is refused: nobody knows which notation it came from.
func kept(v any) (retention.Horizon, error) {
	if s, ok := v.(string); ok && loneMinutes.MatchString(s) {
		return retention.Horizon{}, fmt.Errorf("parse retention %q: minutes to Velero, months to Barman; pass it through retention.horizon with its notation", s)
	}
	return retention.Parse(retention.Canonical, v)
}

// wanted reads a parameter, where a lone "6m" is six months.
func wanted(v any) (retention.Horizon, error) { return retention.Parse(retention.Canonical, v) }

func both(args []any) (a, b retention.Horizon, err error) {
	if a, err = kept(args[0]); err == nil {
		b, err = wanted(args[1])
	}
	return a, b, err
}

func retentionFuncs() []Func {
	return []Func{
		{
			Name: "retention.covers", Args: []Arg{{"have", Any}, {"want", Any}}, Result: Bool,
			Doc: "Whether have keeps at least as long as want, whenever it starts. Both are texts such as \"720h\", \"35d\", \"7y\"; an error for anything else.",
			Call: func(args []any) (any, error) {
				have, want, err := both(args)
				return retention.Covers(have, want), err
			},
		},
		{
			Name: "retention.exceeds", Args: []Arg{{"have", Any}, {"max", Any}}, Result: Bool,
			Doc: "Whether have keeps longer than max from some start. Texts as for retention.covers.",
			Call: func(args []any) (any, error) {
				have, most, err := both(args)
				return retention.Exceeds(have, most), err
			},
		},
		{
			Name: "retention.horizon", Args: []Arg{{"notation", String}, {"value", Any}}, Result: String,
			Doc: "A value in a notation (go-duration, barman, s3-days, s3-years, ebs-days, ebs-expiration, gcs-seconds, azure-days, kopia-nanoseconds, text) as canonical text.",
			Call: func(args []any) (any, error) {
				n := retention.Notation(args[0].(string))
				if !slices.Contains(retention.Notations(), n) {
					return nil, fmt.Errorf("notation %q is unknown; want one of %v", clip(args[0].(string)), retention.Notations())
				}
				h, err := retention.Parse(n, args[1])
				return h.Text(), err
			},
		},
		{
			Name: "retention.gfs", Args: []Arg{{"counts", Map}, {"cron", String}}, Result: Map,
			Doc:  "How long keep counts {last, hourly, daily, weekly, monthly, yearly} keep what a cron schedule makes: {min, max} as canonical texts. With cron \"\" a backup per shortest period is assumed.",
			Call: gfs,
		},
		{
			Name: "retention.text", Args: []Arg{{"x", Any}}, Result: String,
			Doc: "A canonical text in words, such as \"7 years\" or \"30 days\".",
			Call: func(args []any) (any, error) {
				h, err := wanted(args[0])
				return h.String(), err
			},
		},
	}
}

func gfs(args []any) (any, error) {
	given := args[0].(map[string]any)
	var c retention.Counts
	fields := map[string]*int{"last": &c.Last, "hourly": &c.Hourly, "daily": &c.Daily, "weekly": &c.Weekly, "monthly": &c.Monthly, "yearly": &c.Yearly}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		to, ok := fields[key]
		if !ok {
			return nil, fmt.Errorf("count %q is not one of last, hourly, daily, weekly, monthly, yearly", clip(key))
		}
		n, ok := counted(given[key])
		if !ok {
			return nil, fmt.Errorf("count %s is not a whole number", key)
		}
		*to = n
	}
	var s *schedule.Schedule
	if cron := args[1].(string); cron != "" {
		parsed, err := schedule.Parse(cron)
		if err != nil {
			return nil, err
		}
		s = &parsed
	}
	w, err := retention.GFS(c, s)
	if err != nil {
		return nil, err
	}
	return map[string]any{"min": w.Min.Text(), "max": w.Max.Text()}, nil
}

// counted reads a whole number small enough to be a count; absent (null) is none.
func counted(v any) (int, bool) {
	switch n := v.(type) {
	case nil:
		return 0, true
	case int64:
		return int(n), math.MinInt32 <= n && n <= math.MaxInt32
	case float64:
		return int(n), n == math.Trunc(n) && math.Abs(n) <= math.MaxInt32
	}
	return 0, false
}

func scheduleFuncs() []Func {
	cron := Arg{"cron", String}
	return []Func{
		{
			Name: "schedule.valid", Args: []Arg{cron}, Result: Bool,
			Doc: "Whether Velero reads the schedule and some date ever matches it.",
			Call: func(args []any) (any, error) {
				_, err := longest(schedule.Parse, args[0])
				return err == nil, nil
			},
		},
		{
			Name: "schedule.longest_gap", Args: []Arg{cron}, Result: String,
			Doc: "The longest time between two consecutive runs, as a Go duration text. Without a zone the schedule is read in UTC.",
			Call: func(args []any) (any, error) {
				gap, err := longest(schedule.Parse, args[0])
				return retention.Horizon{Exact: gap}.Text(), err
			},
		},
		{
			Name: "schedule.longest_gap_with_seconds", Args: []Arg{cron}, Result: String,
			Doc: "As schedule.longest_gap, for six fields that start with seconds, as CloudNativePG's ScheduledBackup has them.",
			Call: func(args []any) (any, error) {
				gap, err := longest(schedule.ParseWithSeconds, args[0])
				return retention.Horizon{Exact: gap}.Text(), err
			},
		},
		{
			Name: "schedule.within", Args: []Arg{cron, {"limit", String}}, Result: Bool,
			Doc: "Whether no two consecutive runs are further apart than the limit, a text such as \"24h\" or \"1d\".",
			Call: func(args []any) (any, error) {
				gap, err := longest(schedule.Parse, args[0])
				if err != nil {
					return nil, err
				}
				limit, err := wanted(args[1])
				if err != nil {
					return nil, err
				}
				return retention.Covers(limit, retention.Horizon{Exact: gap}), nil
			},
		},
	}
}

func longest(parse func(string) (schedule.Schedule, error), cron any) (time.Duration, error) {
	s, err := parse(cron.(string))
	if err != nil {
		return 0, err
	}
	return s.LongestGap(reference)
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
