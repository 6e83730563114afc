package evidence

import (
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// page writes the page for people. It needs nothing and runs nothing, and all it quotes stands as text between two tags.
func (d *derived) page(w io.Writer, m *Manifest) error {
	p := &pageWriter{w: newCounted(w)}
	p.text("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">\n<title>Evidence</title></head><body>\n<h1>Evidence</h1>\n")
	p.text("<p>Made of the records beside it. What it says is worth what <code>proviso-verify</code> says of the whole.</p>\n")
	p.table("", nil, func(row func(...string)) {
		row("Log", m.Producer.Origin)
		row("Producer", m.Producer.ID)
		row("Key of the log", "sha256:"+m.Signer)
		row("Head", fmt.Sprintf("%d records, root %s", m.Head.Size, m.Head.Root))
		row("Records here", fmt.Sprintf("%d, written from %s until %s", m.Records, d.first.Format(time.RFC3339), d.last.Format(time.RFC3339)))
		row("Left out", fmt.Sprintf("%d records; left out is %s", m.LeftOut, m.Filter.words()))
		for _, c := range d.clusters {
			row("Cluster", strings.Join(nonEmpty(c.Name, c.UID, c.Region, c.Jurisdiction), ", "))
		}
		row("Judged", fmt.Sprint(d.counts.Decisions))
		row("Results", fmt.Sprintf("%d pass, %d fail, %d unknown, %d not applicable, %d waived", d.counts.Pass, d.counts.Fail, d.counts.Unknown, d.counts.NotApplicable, d.counts.Waived))
		without := fmt.Sprint(d.without)
		if d.uncounted > 0 {
			without += ", and of " + plural(uint64(d.uncounted), "run", "runs") + " nobody can tell: records are left out"
		}
		row("Items without a result", without)
		row("Known to be missing", fmt.Sprintf("%d entries", d.lacking))
		for _, text := range d.simulations() {
			row("Simulated", text)
		}
	})
	p.table("Policies", []string{"Policy", "Severity", "Pass", "Fail", "Unknown", "Not applicable", "Waived"}, func(row func(...string)) {
		for _, id := range slices.Sorted(maps.Keys(d.policies)) {
			c := d.policies[id]
			row(id, c.severity, fmt.Sprint(c.Pass), fmt.Sprint(c.Fail), fmt.Sprint(c.Unknown), fmt.Sprint(c.NotApplicable), fmt.Sprint(c.Waived))
		}
	})
	p.table(more("Failed or unknown", d.failures, SummaryCSV), []string{"Record", "Subject", "Policy", "Verdict", "Why"}, func(row func(...string)) {
		for _, f := range d.failed {
			row(fmt.Sprint(f.seq), f.subject, f.policy, f.effect, f.text)
		}
	})
	p.table(more("Missing", d.lacking, GapsFile), []string{"Record", "At", "Kind", "Where", "Lost", "Why"}, func(row func(...string)) {
		for i := range d.missing {
			m := &d.missing[i]
			row(fmt.Sprint(m.Seq), m.At.Format(time.RFC3339), m.Kind, strings.Join(nonEmpty(m.Source, m.File), " "), fmt.Sprint(m.Lost), m.Reason)
		}
	})
	p.text("</body></html>\n")
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

func more(title string, n int, file string) string {
	if n <= told {
		return fmt.Sprintf("%s: %d", title, n)
	}
	return fmt.Sprintf("%s: %d, the first %d of them; all are in %s", title, n, told, file)
}

type pageWriter struct {
	w   *countedWriter
	err error
}

func (p *pageWriter) text(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

func (p *pageWriter) table(title string, head []string, rows func(row func(...string))) {
	line := func(tag string, cells []string) {
		p.text("<tr>")
		for _, c := range cells {
			p.text("<" + tag + ">" + html.EscapeString(oneLine(c)) + "</" + tag + ">")
		}
		p.text("</tr>\n")
	}
	if title != "" {
		p.text("<h2>" + html.EscapeString(title) + "</h2>\n")
	}
	p.text("<table border=\"1\">\n")
	if head != nil {
		line("th", head)
	}
	rows(func(cells ...string) { line("td", cells) })
	p.text("</table>\n")
}
