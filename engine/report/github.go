package report

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"proviso.dev/proviso/engine"
)

// GitHub writes workflow commands, which GitHub Actions shows at the lines of a pull request: an error for what is
// denied and for what was not read, a warning for what is warned of, a notice for what is waived or only recorded; last
// the run in one sentence. GitHub shows the first ten of each level of a step; its log has them all. What passes is
// counted and never annotated.
func GitHub(w io.Writer, r engine.Report, _ Options) error {
	out := bufio.NewWriter(w)
	var files fileCount
	notManifests := 0
	for result := range r.Results {
		switch u := result.Unread; {
		case u == nil:
			files.see(result.Subject)
			for i := range result.Decisions {
				if d := &result.Decisions[i]; d.Verdict == engine.Fail || d.Verdict == engine.Unknown {
					annotateDecision(out, result.Subject, d)
				}
			}
		case export(u):
			annotate(out, "warning", u.Position, "not understood", unreadText(u))
		case u.Kind == engine.NotManifest:
			notManifests++
		default:
			annotate(out, "error", u.Position, "not read", unreadText(u))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	t := r.Trailer()
	for _, use := range t.Waivers {
		if note := ledger(use); note != "" {
			annotate(out, "warning", engine.Position{}, "waiver "+use.ID, note)
		}
	}
	if why := incomplete(t); len(why) > 0 {
		level := "warning"
		if t.Unknown == 0 && t.Broken == 0 && t.Holes == 0 || t.Summary.Matched == 0 {
			level = "error" // nothing above says it
		}
		annotate(out, level, engine.Position{}, "incomplete", strings.Join(why, "; "))
	}
	if notManifests > 0 {
		fmt.Fprintln(out, plural(notManifests, "document is no Kubernetes object", "documents are no Kubernetes objects"))
	}
	fmt.Fprintln(out, summary(t, files.n))
	return out.Flush()
}

func annotateDecision(w io.Writer, s *engine.Subject, d *engine.Decision) {
	level := "error"
	switch {
	case d.Effect == engine.EffectRecord:
		level = "notice"
	case d.Effect == engine.EffectWarn:
		level = "warning"
	}
	for _, p := range points(s, d) {
		lines := []string{safe(p.message), "at: " + safe(strings.TrimSpace(s.String()+" "+p.path))}
		lines = append(lines, details(s, d)...)
		annotateSafe(w, level, p.at, label(d)+" "+name(d.Policy), strings.Join(lines, "\n"))
	}
}

func annotate(w io.Writer, level string, at engine.Position, title, message string) {
	annotateSafe(w, level, at, title, safe(message))
}

// annotateSafe writes one command. The message is escaped already but for what ends a command.
func annotateSafe(w io.Writer, level string, at engine.Position, title, message string) {
	var properties []string
	if at.File != "" {
		properties = append(properties, "file="+githubProperty(safe(strings.TrimPrefix(filepath.ToSlash(at.File), "./"))))
		if at.Line > 0 {
			properties = append(properties, fmt.Sprintf("line=%d", at.Line))
			if at.Column > 0 {
				properties = append(properties, fmt.Sprintf("col=%d", at.Column))
			}
		}
	}
	properties = append(properties, "title="+githubProperty(safe(title)))
	fmt.Fprintf(w, "::%s %s::%s\n", level, strings.Join(properties, ","), githubMessage.Replace(message))
}

var githubMessage = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

var githubPropertyReplacer = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")

func githubProperty(text string) string { return githubPropertyReplacer.Replace(text) }
