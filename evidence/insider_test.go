//go:build unix

package evidence_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

type records = []evidence.Record

// like is a record of the same run and time as another, with nothing said yet.
func like(r evidence.Record) evidence.Record {
	return evidence.Record{Type: r.Type, Producer: r.Producer, Run: r.Run, At: r.At, Engine: r.Engine, Cluster: r.Cluster}
}

func with(r evidence.Record, say func(*evidence.Record)) evidence.Record {
	r = like(r)
	say(&r)
	return r
}

// decides changes a copy of what a record decides.
func decides(r *evidence.Record, change func(*evidence.Decision)) {
	d := *r.Decision
	d.Results = slices.Clone(d.Results)
	change(&d)
	r.Decision = &d
}

// Who has the key can sign what does not hold together, and it is refused for what it is. The records are open, activation,
// population, four decisions, close.
func TestInsider(t *testing.T) {
	whole, k := scan(t)
	if v := (insider{key: k}).resign(t, whole, whole.records(t)).verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitVerified {
		t.Fatalf("signed anew as it was: %v %v", v.Problems, v.Holes)
	}
	swapped := func(i, j int) func(records) records {
		return func(r records) records { r[i], r[j] = r[j], r[i]; return r }
	}
	at := func(i int, say func(*evidence.Record)) func(records) records {
		return func(r records) records { say(&r[i]); return r }
	}
	insert := func(i int, say func(*evidence.Record)) func(records) records {
		return func(r records) records { return slices.Insert(r, i, with(r[i-1], say)) }
	}
	same := func(r records) records { return r }
	// relisted gives the population another list, with the number of items and the root that the population speaks of, or true ones.
	relisted := func(change func([][]byte) [][]byte) (func(records) records, func(folder)) {
		list := evidence.ObjectFile(whole.seal(t).Population.List)
		text := bytes.Join(change(whole.lines(list)), nil)
		d := evidence.DigestOf(text)
		return at(2, func(r *evidence.Record) {
				p := *r.Population
				p.List = d
				r.Population = &p
			}), func(f folder) {
				f.put(evidence.ObjectFile(d), text)
			}
	}
	reversed := func(b []byte) []byte {
		var l evidence.FileList
		if err := evidence.Decode(bytes.TrimSpace(b), &l); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(l.Files)
		return append(encoded(t, l), '\n')
	}
	removed, removedFile := relisted(func(l [][]byte) [][]byte { return l[:3] })
	nulled, nulledFile := relisted(func(l [][]byte) [][]byte { l[1] = []byte("null\n"); return l })
	twice, twiceFile := relisted(func(l [][]byte) [][]byte { l[1] = l[0]; return l })
	torn, tornFile := relisted(func(l [][]byte) [][]byte { l[3] = bytes.TrimSpace(l[3]); return l })
	long, longFile := relisted(func(l [][]byte) [][]byte { return append(l, make([]byte, 64<<20+2)) })
	verifier := k.public(t).VerifierKey
	for name, c := range map[string]struct {
		records    func(records) records
		in         insider
		code, what string
	}{
		"item judged twice": {func(r records) records {
			r = slices.Insert(r, 4, r[3])
			r[8].Close = &evidence.Close{Reason: "done", Counts: counts(5, 2)}
			return r
		},
			insider{}, evidence.ItemWithout, "item 0 has a second result"},
		"item without a result": {func(r records) records {
			r = slices.Delete(r, 3, 4)
			r[6].Close = &evidence.Close{Reason: "done", Counts: counts(3, 0)}
			return r
		},
			insider{}, evidence.ItemWithout, "1 item of the population has no result; the first is item 0, ConfigMap c0"},
		"results of items swapped": {func(r records) records {
			r[3].Decision.Event, r[4].Decision.Event = "1", "0"
			return r
		}, insider{}, evidence.ItemWithout, "it judges something else than item 1 of the population"},
		"input swapped": {func(r records) records {
			r[3].Decision.Input, r[4].Decision.Input = r[4].Decision.Input, r[3].Decision.Input
			return r
		}, insider{}, evidence.ItemWithout, "it judges something else than item 0"},
		"subject renamed":                          {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Subject.Name = "other" }) }), insider{}, evidence.ItemWithout, "it judges something else than item 0"},
		"event of no item":                         {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Event = "9" }) }), insider{}, evidence.ItemWithout, "the population has no item 9"},
		"event that is no number":                  {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Event = "one" }) }), insider{}, evidence.ItemWithout, `the event "one" is no item`},
		"decision before the population is listed": {swapped(2, 3), insider{}, evidence.ItemWithout, "the population has no item 0"},
		"population signed after judging":          {same, insider{population: 5}, evidence.PopulationWrong, "it was signed at 5, and record 2 lists the population and record 3 is the first to judge it"},
		"population signed before it is listed":    {same, insider{population: 2}, evidence.PopulationWrong, "it was signed at 2"},
		"no population":                            {func(r records) records { return slices.Delete(r, 2, 3) }, insider{seal: func(s *evidence.Seal) { s.Population = nil }}, evidence.PopulationWrong, "has no population"},
		"two populations":                          {func(r records) records { return slices.Insert(r, 3, r[2]) }, insider{}, evidence.PopulationWrong, "lists its population twice"},
		"population of other items":                {at(2, func(r *evidence.Record) { p := *r.Population; p.Items = 3; r.Population = &p }), insider{}, evidence.PopulationWrong, "it speaks of 3 items"},
		"population of another root": {at(2, func(r *evidence.Record) {
			p := *r.Population
			p.Root = strings.Repeat("A", 43) + "="
			r.Population = &p
		}), insider{}, evidence.PopulationWrong, "with root AAAA"},
		"population of more holes":              {at(2, func(r *evidence.Record) { p := *r.Population; p.Holes = 1; r.Population = &p }), insider{}, evidence.PopulationWrong, "1 of them holes"},
		"item taken from the list":              {removed, insider{files: removedFile}, evidence.PopulationWrong, "the list has 3, 0"},
		"item that is null":                     {nulled, insider{files: nulledFile}, evidence.PopulationWrong, "read the list of the population"},
		"item twice in the list":                {twice, insider{files: twiceFile}, evidence.PopulationWrong, "item 1 is not as it must be"},
		"list that is torn":                     {torn, insider{files: tornFile}, evidence.PopulationWrong, "unexpected EOF"},
		"list with a line that has no end":      {long, insider{files: longFile}, evidence.PopulationWrong, "a line is longer than 67108864 bytes"},
		"list that is not there":                {at(2, func(r *evidence.Record) { p := *r.Population; p.List = evidence.DigestOf(nil); r.Population = &p }), insider{}, evidence.ObjectMissing, "the list of the population"},
		"seal of another population":            {same, insider{seal: func(s *evidence.Seal) { p := *s.Population; p.Items++; s.Population = &p }}, evidence.PopulationWrong, "it speaks of another population than the records"},
		"seal of no population":                 {same, insider{seal: func(s *evidence.Seal) { s.Population = nil }}, evidence.PopulationWrong, "it speaks of another population than the records"},
		"head of a population the seal has not": {same, insider{seal: func(s *evidence.Seal) { s.Population = nil }}, evidence.FileUnlisted, "the seal speaks of no population"},

		"results where no policy was asked": {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Problems = []string{"odd"} }) }), insider{}, evidence.WrongStatement, "record 3: it says that no policy was asked, and what policies said"},

		"activation of another": {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Activation = 0 }) }), insider{}, evidence.OrderBroken, "of record 0, and"},
		"policies of another": {at(3, func(r *evidence.Record) {
			decides(r, func(d *evidence.Decision) { d.PolicySet = evidence.DigestOf(nil) })
		}), insider{}, evidence.OrderBroken, "are in force"},
		"policies of another webhook": {at(3, func(r *evidence.Record) { decides(r, func(d *evidence.Decision) { d.Webhook = "other" }) }), insider{}, evidence.OrderBroken, "it judges before any policies are in force"},
		"judged before any policies":  {func(r records) records { return slices.Delete(r, 1, 2) }, insider{population: 2}, evidence.OrderBroken, "it judges before any policies are in force"},
		"policies changed between": {func(r records) records {
			r = slices.Insert(r, 4, r[1])
			r[4].Activation = &evidence.Activation{PolicySet: "sha256:other", Pack: r[1].Activation.Pack}
			return r
		}, insider{}, evidence.OrderBroken, "and sha256:other of record 4 are in force"},
		"policies that are not there": {at(1, func(r *evidence.Record) { a := *r.Activation; a.Pack = evidence.DigestOf(nil); r.Activation = &a }), insider{}, evidence.ObjectMissing, "the policies it puts into force"},
		"seal of other policies":      {same, insider{seal: func(s *evidence.Seal) { s.PolicySet = "sha256:other" }}, evidence.WrongStatement, "it speaks of the policies sha256:other, which were not in force last"},
		"seal of another pack":        {same, insider{seal: func(s *evidence.Seal) { s.Pack = "sha256:other" }}, evidence.WrongStatement, "which were not in force last"},

		"close counts more":             {at(7, func(r *evidence.Record) { r.Close = &evidence.Close{Reason: "done", Counts: counts(9, 0)} }), insider{}, evidence.CountsDiffer, "record 7: it counts 9 decisions, "},
		"heartbeat counts more":         {insert(5, func(r *evidence.Record) { r.Heartbeat = &evidence.Counts{Decisions: 3} }), insider{}, evidence.CountsDiffer, "record 5: it counts 3 decisions, "},
		"complete, and something holed": {insert(7, func(r *evidence.Record) { r.Hole = &evidence.Hole{Kind: "broken", Reason: "r"} }), insider{}, evidence.WrongStatement, "it speaks of a complete run, and the records do not"},
		"complete, and it failed":       {at(7, func(r *evidence.Record) { c := *r.Close; c.Reason = "failed"; r.Close = &c }), insider{}, evidence.WrongStatement, "it speaks of a complete run, and the records do not"},

		"close in the middle": {insert(5, func(r *evidence.Record) { r.Close = &evidence.Close{Reason: "done", Counts: counts(2, 1)} }), insider{}, evidence.OrderBroken, "record 6: it belongs to no run that is open"},
		"second open":         {insert(5, func(r *evidence.Record) { r.Open = &evidence.Open{Kind: "scan"} }), insider{}, evidence.OrderBroken, "what it says of the end of the one before is not so"},
		"open that calls a closed run unclosed": {func(r records) records {
			return append(r, with(r[7], func(r *evidence.Record) { r.Open = &evidence.Open{Kind: "admission", Unclosed: true} }))
		}, insider{}, evidence.OrderBroken, "what it says of the end of the one before is not so"},
		"no open":                         {func(r records) records { return r[1:] }, insider{}, evidence.OrderBroken, "record 0: it belongs to no run that is open"},
		"record of another run":           {at(4, func(r *evidence.Record) { r.Run = "other" }), insider{}, evidence.OrderBroken, "record 4: it belongs to no run that is open"},
		"record of two parts":             {at(4, func(r *evidence.Record) { r.Change = &evidence.Change{What: "w"} }), insider{}, evidence.WrongStatement, "it has 2 parts: want one"},
		"record of no part":               {insert(5, func(*evidence.Record) {}), insider{}, evidence.WrongStatement, "it has 0 parts: want one"},
		"record of another type":          {at(4, func(r *evidence.Record) { r.Type = evidence.SealType }), insider{}, evidence.WrongStatement, "want " + evidence.RecordType},
		"record of another writer":        {at(4, func(r *evidence.Record) { r.Producer = "other" }), insider{}, evidence.OtherLog, "it was written by other"},
		"judged after it was handed over": {insert(5, func(r *evidence.Record) { r.Key = &evidence.KeyChange{Next: verifier("next")} }), insider{}, evidence.OrderBroken, "record 6: the log was handed over to next, and judges all the same"},
		"handed over to nobody":           {insert(7, func(r *evidence.Record) { r.Key = &evidence.KeyChange{Next: "next+00000000+AA=="} }), insider{}, evidence.WrongStatement, "it binds this log to another: verifier key"},
		"handed over to itself":           {insert(7, func(r *evidence.Record) { r.Key = &evidence.KeyChange{Next: verifier(whole.producer(t).Origin)} }), insider{}, evidence.WrongStatement, "it names the log it is in"},
		"handed over to two": {func(r records) records {
			for _, next := range []string{"one", "other"} {
				r = slices.Insert(r, 7, with(r[6], func(r *evidence.Record) { r.Decision, r.Key = nil, &evidence.KeyChange{Next: verifier(next)} }))
			}
			return r
		}, insider{}, evidence.WrongStatement, "an earlier record names other"},
		"head of one before that another signed": {insert(7, func(r *evidence.Record) {
			r.Key = &evidence.KeyChange{Before: verifier("before"), Head: string(headOf(t, k, "other", nil, 0))}
		}), insider{}, evidence.WrongStatement, "it binds this log to another"},
		"next and before": {insert(7, func(r *evidence.Record) {
			r.Key = &evidence.KeyChange{Next: verifier("next"), Head: string(headOf(t, k, "next", nil, 0))}
		}), insider{}, evidence.WrongStatement, "want one of next, and before"},
		"time goes back": {at(4, func(r *evidence.Record) { r.At = r.At.Add(-time.Hour) }), insider{}, evidence.OrderBroken, "what it says of the clock do not agree"},
		"time goes back later": {func(r records) records {
			r[3].At = r[3].At.Add(time.Hour)
			r[4].At, r[4].Backwards = r[4].At.Add(time.Minute), true
			r[5].At, r[6].At, r[7].At = r[5].At.Add(2*time.Minute), r[6].At.Add(time.Hour), r[7].At.Add(time.Hour)
			return r
		}, insider{}, evidence.OrderBroken, "record 5: its time"},
		"time does not go back": {at(4, func(r *evidence.Record) { r.Backwards = true }), insider{}, evidence.OrderBroken, "record 4: its time"},

		"list of files written otherwise": {same, insider{list: func(b []byte) []byte { return append([]byte(" "), b...) }}, evidence.FileAltered, "files.json: decode evidence: the text is not as it is written"},
		"list of files out of order":      {same, insider{list: reversed}, evidence.FileAltered, "is not in its order"},
		"seal of another log":             {same, insider{seal: func(s *evidence.Seal) { s.Origin = "other" }}, evidence.OtherLog, "it seals the log other"},
		"seal of another producer":        {same, insider{seal: func(s *evidence.Seal) { s.Producer = "other" }}, evidence.OtherLog, "it seals the log"},
		"seal of another number":          {same, insider{seal: func(s *evidence.Seal) { s.Number = 2 }}, evidence.OrderBroken, "it is seal 2, not 1"},
		"seal of another run":             {same, insider{seal: func(s *evidence.Seal) { s.Run = "other" }}, evidence.WrongStatement, "the log has no scan other that begins at record 0"},
		"seal of another kind":            {same, insider{seal: func(s *evidence.Seal) { s.Kind = "admission" }}, evidence.WrongStatement, "the log has no admission"},
		"seal of another begin":           {same, insider{seal: func(s *evidence.Seal) { s.First = 1 }}, evidence.WrongStatement, "that begins at record 1"},
		"seal of another size":            {same, insider{seal: func(s *evidence.Seal) { s.Size = 7 }}, evidence.OtherLog, "it is not the head that was sealed"},
		"seal of another root":            {same, insider{seal: func(s *evidence.Seal) { s.Root = strings.Repeat("A", 43) + "=" }}, evidence.OtherLog, "it is not the head that was sealed"},
		"input that is not there":         {same, insider{files: func(f folder) { f.put(evidence.InputsFile(0), bytes.Join(f.lines(evidence.InputsFile(0))[1:], nil)) }}, evidence.InputMissing, "what was judged"},
		"input erased, undeclared":        {same, insider{files: func(f folder) { erase(t, f, 0, "") }}, evidence.InputMissing, "was erased, and no record says so"},
		"log cut off, root kept":          {same, insider{files: func(f folder) { f.put(evidence.RecordsFile(0), bytes.Join(f.lines(evidence.RecordsFile(0))[:6], nil)) }}, evidence.RecordMissing, "seq 6"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.key = k
			refused(t, c.in.resign(t, whole, c.records(whole.records(t))).verify(t, evidence.Options{}), c.code, c.what)
		})
	}
}

// Each record names the one before it, whatever the log over them says.
func TestChain(t *testing.T) {
	whole, k := scan(t)
	f := whole.unsealed()
	lines := chained(t, f.records(t))
	last := &lines[len(lines)-1]
	previous := evidence.DigestOf(bytes.TrimSpace(lines[len(lines)-2]))
	*last = bytes.Replace(*last, []byte(previous), []byte(evidence.DigestOf(nil)), 1)
	f.relog(lines)
	f.put(evidence.CheckpointFile, headOf(t, k, f.producer(t).Origin, lines, len(lines)))
	refused(t, f.verify(t, evidence.Options{}), evidence.ChainBroken, "record 7: it does not follow the record before it")
}

// counts are those of n decisions of the scan, of which some passed twice.
func counts(n, passed int) evidence.Counts {
	c := evidence.Counts{Decisions: uint64(n), Pass: uint64(passed)}
	return c
}

// What is declared is incomplete, and not refused.
func TestDeclared(t *testing.T) {
	whole, k := scan(t)
	closed := func(r records, reason string, counts evidence.Counts) {
		r[len(r)-1].Close = &evidence.Close{Reason: reason, Counts: counts}
	}
	full := whole.records(t)[7].Close.Counts
	var gone engine.Digest
	lines := whole.lines(evidence.ObjectFile(whole.seal(t).Population.List))
	lines[3] = append(encoded(t, evidence.Item{N: 3, Hole: &evidence.Hole{Source: "bucket", File: "broken.yaml", Kind: "broken", Reason: "it is broken"}}), '\n')
	holed := bytes.Join(lines, nil)
	var root evidence.Tree
	for _, line := range lines {
		root.Add(bytes.TrimSpace(line))
	}
	for name, c := range map[string]struct {
		records    func(records) records
		in         insider
		code, what string
	}{
		"EVD-08 input erased": {func(r records) records {
			return slices.Insert(r, 7, with(r[6], func(r *evidence.Record) {
				r.Erasure = &evidence.Erasure{Inputs: []engine.Digest{gone}, Reason: "asked to"}
			}))
		}, insider{files: func(f folder) { erase(t, f, 0, "") }}, evidence.Erased, "1 input was erased: asked to"},
		"item that became a hole": {func(r records) records {
			n, c := 0, full
			r[3] = with(r[3], func(r *evidence.Record) { r.Hole = &evidence.Hole{Item: &n, Kind: "broken", Reason: "it went away"} })
			c.Decisions, c.Pass, c.Holes = 3, 0, 1
			closed(r, "done", c)
			return r
		}, insider{}, evidence.DeclaredHole, "it went away"},
		"item that is known to be there and was not read": {func(r records) records {
			p := *r[2].Population
			p.Holes, p.List, p.Root = 1, evidence.DigestOf(holed), root.Root()
			r[2].Population = &p
			r = slices.Delete(r, 6, 7)
			c := full
			c.Decisions, c.NotApplicable = 3, 0
			closed(r, "done", c)
			return r
		}, insider{files: func(f folder) { f.put(evidence.ObjectFile(evidence.DigestOf(holed)), holed) }}, evidence.DeclaredHole, "bucket broken.yaml: it is broken"},
		"gap": {func(r records) records {
			return slices.Insert(r, 7, with(r[6], func(r *evidence.Record) { r.Gap = &evidence.Gap{Lost: 3, Reason: "too slow"} }))
		}, insider{}, evidence.DeclaredGap, "3 requests have no record, between"},
		"lost without a gap": {func(r records) records {
			c := full
			c.Lost = 2
			closed(r, "done", c)
			return r
		}, insider{}, evidence.DeclaredGap, "2 requests have no record, and gaps tell of 0"},
		"run that failed": {func(r records) records { closed(r, "failed: disk full", full); return r }, insider{}, evidence.Unclosed, "the run ended before it was done: failed: disk full"},
		"run that was interrupted while it judged": {func(r records) records {
			r = slices.Delete(r, 5, 7)
			c := full
			c.Decisions, c.Unknown, c.NotApplicable = 2, 0, 0
			closed(r, "failed: interrupted", c)
			return r
		}, insider{}, evidence.Unclosed, "2 items of the population have no result; the first is item 2, ConfigMap c2: the run was not done"},
		"run that failed before it listed": {func(r records) records {
			r = append(r[:2], r[7])
			closed(r, "failed: interrupted", evidence.Counts{})
			return r
		}, insider{seal: func(s *evidence.Seal) { s.Population = nil }}, evidence.Unclosed, "the run ended before it was done"},
		"run without a close": {func(r records) records { return r[:7] }, insider{}, evidence.Unclosed, "has no end"},
		"run that was cut off, and the next": {func(r records) records {
			next := with(r[6], func(r *evidence.Record) {
				r.Open, r.Run = &evidence.Open{Kind: "admission", Mode: "strict", Unclosed: true}, "next"
			})
			return append(r[:7], next, with(next, func(r *evidence.Record) { r.Close = &evidence.Close{Reason: "stopped"} }))
		}, insider{}, evidence.Unclosed, "has no end"},
		"silence": {func(r records) records {
			open := with(r[7], func(r *evidence.Record) { r.Open, r.Run = &evidence.Open{Kind: "admission", Mode: "strict"}, "next" })
			late := with(open, func(r *evidence.Record) { r.Close, r.At = &evidence.Close{Reason: "stopped"}, r.At.Add(6*time.Minute) })
			return append(r, open, late)
		}, insider{}, evidence.Silent, "nothing was written for 6m0s before it"},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole.clone()
			gone = f.records(t)[3].Decision.Input
			c.in.key = k
			seal := c.in.seal
			c.in.seal = func(s *evidence.Seal) {
				s.Complete = false
				if seal != nil {
					seal(s)
				}
			}
			f = c.in.resign(t, f, c.records(f.records(t)))
			if strings.Contains(name, "before it listed") {
				delete(f, evidence.SealDir(1)+"/"+evidence.SealPopulation)
			}
			v := f.verify(t, evidence.Options{})
			if v.ExitCode() != evidence.ExitIncomplete {
				t.Fatalf("exit code %d, want %d: %v", v.ExitCode(), evidence.ExitIncomplete, v.Problems)
			}
			tells(t, v.Holes, c.code, c.what)
		})
	}
}
