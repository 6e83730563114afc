package retention

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"proviso.dev/proviso/engine/schedule"
)

func cronOf(t interface{ Fatal(...any) }, text string) schedule.Schedule {
	s, err := schedule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGFS(t *testing.T) {
	for _, c := range []struct {
		counts   Counts
		cron     string
		min, max string
	}{
		{Counts{Last: 7}, "0 3 * * *", "7d", "7d"},
		{Counts{Last: 24}, "0 * * * *", "1d", "1d"},
		{Counts{Last: 5}, "0 3 * * 1-5", "7d", "7d"},
		{Counts{Last: 10}, "@every 6h", "60h", "60h"},
		{Counts{Daily: 7}, "0 3 * * *", "7d", "7d"},
		{Counts{Daily: 7}, "0 * * * *", "145h", "145h"}, // the 23:00 run goes at 00:00 on the seventh day after
		{Counts{Daily: 7}, "0 3 * * 0", "49d", "49d"},   // seven dates that have one
		{Counts{Weekly: 4}, "0 3 * * 0", "28d", "28d"},
		{Counts{Monthly: 12}, "0 3 1 * *", "12mo", "12mo"},
		{Counts{Monthly: 12}, "0 3 * * *", "335d", "338d"}, // from the last of January, or of February, to the first a year on
		{Counts{Yearly: 7}, "@yearly", "7y", "7y"},
		{Counts{Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 3}, "0 3 * * *", "731d", "732d"},
		{Counts{Daily: 7}, "@every 24h", "7d", "7d"},
		{Counts{Daily: 7}, "", "6d", "8d"},
		{Counts{Hourly: 24, Daily: 30}, "", "29d", "698h"},
	} {
		var s *schedule.Schedule
		if c.cron != "" {
			parsed := cronOf(t, c.cron)
			s = &parsed
		}
		w, err := GFS(c.counts, s)
		if err != nil {
			t.Errorf("%+v %q: %v", c.counts, c.cron, err)
			continue
		}
		if w.Min.Text() != c.min || w.Max.Text() != c.max {
			t.Errorf("%+v %q: kept %s to %s, want %s to %s", c.counts, c.cron, w.Min.Text(), w.Max.Text(), c.min, c.max)
		}
	}
}

func TestGFSErrors(t *testing.T) {
	daily, never := cronOf(t, "@daily"), cronOf(t, "0 0 31 2 *")
	for _, c := range []struct {
		counts Counts
		s      *schedule.Schedule
	}{
		{Counts{}, &daily}, {Counts{Daily: -1}, &daily}, {Counts{Last: -1}, &daily}, {Counts{Last: 3}, nil},
		{Counts{Daily: 7}, &never}, {Counts{Yearly: 101}, &daily}, {Counts{Last: 1 << 40}, &daily}, {Counts{Hourly: 1 << 60}, nil},
		{Counts{Daily: 7}, new(schedule.Schedule)},
	} {
		if w, err := GFS(c.counts, c.s); err == nil {
			t.Errorf("%+v: %+v, want an error", c.counts, w)
		}
	}
}

// Keep by the rule, run by run, and see that no chosen backup goes before Min and none stays beyond Max.
func TestGFSAgainstRuns(t *testing.T) {
	crons := []string{"0 3 * * *", "0 */6 * * *", "30 2 * * 1-5", "0 0 1 * *", "0 12 * * 0", "@every 7h", "@every 36h", "0 0,23 * * *", "0 0 15,31 * *", "@every 100h"}
	rapid.Check(t, func(t *rapid.T) {
		u := unit(rapid.IntRange(0, 4).Draw(t, "unit"))
		n := rapid.IntRange(1, 6).Draw(t, "n")
		cron := rapid.SampledFrom(crons).Draw(t, "cron")
		s := cronOf(t, cron)
		counts := [...]Counts{{Hourly: n}, {Daily: n}, {Weekly: n}, {Monthly: n}, {Yearly: n}}[u]
		w, err := GFS(counts, &s)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		end := at.AddDate(14, 0, 0)
		type backup struct {
			made   time.Time
			period int64
		}
		var kept []backup // the last backup of each of the latest periods
		for {
			next, ok := s.Next(at)
			if !ok || next.After(end) {
				return
			}
			at = next
			period := floorDiv(next.Unix(), 3600)
			if u != hour {
				period = u.after(floorDiv(next.Unix(), 86_400))
			}
			if len(kept) > 0 && kept[len(kept)-1].period == period {
				kept = kept[:len(kept)-1]
			} else if len(kept) == n {
				gone := kept[0].made
				kept = kept[1:]
				if next.Before(w.Min.Until(gone)) || next.After(w.Max.Until(gone)) {
					t.Fatalf("%+v %s: made %v, gone %v, said %s to %s", counts, cron, gone, next, w.Min.Text(), w.Max.Text())
				}
			}
			kept = append(kept, backup{next, period})
		}
	})
}

func BenchmarkGFS(b *testing.B) {
	s := cronOf(b, "0 3 * * *")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = GFS(Counts{Last: 7, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 3}, &s)
	}
}
