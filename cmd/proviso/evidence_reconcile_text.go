package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// text writes what came of it for people. What it quotes of the log cannot alter a terminal.
func (r *reconciling) text(w io.Writer) error {
	var b strings.Builder
	say := func(when bool, format string, args ...any) {
		if when {
			b.WriteString(strings.ReplaceAll(printable(fmt.Sprintf(format, args...)), "\n", " ") + "\n")
		}
	}
	writes := func(n uint64) string { return countOf(n, "write", "writes") }
	for _, wrong := range r.Wrong {
		say(true, "differs: %s", wrong)
	}
	say(r.Different > mostTold, "and %d more", r.Different-min(r.Different, mostTold))
	for _, g := range r.Gaps {
		say(true, "gap: %s between %s and %s: %s", writes(g.Lost), g.From.Format(time.RFC3339), g.Until.Format(time.RFC3339), g.Reason)
		for _, request := range g.Requests {
			say(true, "  %s", request)
		}
		more := g.Lost - uint64(len(g.Requests))
		say(more > 0, "  and %d more", more)
	}
	say(r.Declared > 0, "%s without a record declared already", writes(r.Declared))
	say(len(r.Gaps) > 0 && r.key == nil, "the gaps are not signed: name the first folder's key with --key")
	say(r.Signed > 0, "%s in signed gaps now, in %s", writes(r.Signed), r.folders[0].dir)
	for _, unseen := range r.UnseenRecords {
		say(true, "no event: %s", unseen)
	}
	say(r.Unseen > 0, "%s named by no event: the log may not be whole; or its policy leaves out what was denied, an answer did not arrive in time, one request was asked about more than once as deletecollection is, or somebody else than the API server asked", countOf(r.Unseen, "record", "records"))
	say(r.Outside > 0 && r.Writes > 0, "%s from before or after the time of the log: give all of it, or know why it is only a part", countOf(r.Outside, "record is", "records are"))
	say(r.Cut > 0, "%s in half an event, which was left out: the log may not be whole", countOf(r.Cut, "file ends", "files end"))
	say(r.StatusWrites > 0, "of updates by Velero's server the API server does not ask where they write status alone, and the log does not show what they wrote")
	say(len(r.wanted) == 0, "nothing in the folders says what was to be judged: writes that nobody was asked about could not be told")
	say(r.Writes == 0, "no write is in the log: nothing was compared")
	if r.Writes == 0 {
		_, err := io.WriteString(w, b.String())
		return err
	}
	say(true, "%s from %s to %s:", writes(r.Writes), r.From.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	for i, part := range []struct {
		n         uint64
		one, many string
	}{
		{r.Recorded, "names its record", "name their record"},
		{r.Missing + r.Declared, "was let in without a record", "were let in without a record"},
		{r.Different, "differs from what was recorded", "differ from what was recorded"},
		{r.Unchanged, "changed nothing that is judged", "changed nothing that is judged"},
		{r.Unjudged, "is of nothing that was to be judged", "are of nothing that was to be judged"},
		{r.StatusWrites, "is an update by Velero's server that names no record", "are updates by Velero's server that name no record"},
		{r.Before, "was let in before it was on record what is to be judged", "were let in before it was on record what is to be judged"},
		{r.Refused, "was not let in, and names no record", "were not let in, and name no record"},
		{r.Repeated, "without a record is told again", "without a record are told again"},
	} {
		say(i == 0 || part.n > 0, "  %s", countOf(part.n, part.one, part.many))
	}
	say(r.Twofold > 0, "  %s twice: one webhook answered and another failed open, or there is a record after all", countOf(r.Twofold, "of them counts", "of them count"))
	_, err := io.WriteString(w, b.String())
	return err
}
