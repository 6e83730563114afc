package report

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"proviso.dev/proviso/engine"
)

const (
	// sarifResults is how many results of one run GitHub takes.
	sarifResults = 25000
	// sarifTags is how many tags of one rule GitHub takes.
	sarifTags = 20
	// srcroot names the folder relative paths start from.
	srcroot = "%SRCROOT%"
)

// SARIF writes a SARIF 2.1.0 log of one run: a rule for each policy that judged something, a result for each violation
// and each unknown, a notification for each thing not read. What is waived is a result with a suppression. An unknown is
// of kind open, and so, as the standard wants, of level none. What passes is never a result, for GitHub would show it as
// an alert.
//
// A log holds its rules and counts before its results, so it is kept until the run ends: at most 25,000 results, which is
// what GitHub takes. Past that the least severe go, waived ones first, and a notification says how many.
func SARIF(w io.Writer, r engine.Report, o Options) error {
	s := &sarifRun{rules: map[string]int{}, driver: sarif.NewToolComponent().WithName("proviso")}
	if o.Version != "" {
		s.driver.WithVersion(o.Version)
	}
	var missed unreads
	for result := range r.Results {
		if result.Unread != nil {
			missed.add(result.Unread)
			continue
		}
		for i := range result.Decisions {
			if err := s.decision(result.Subject, &result.Decisions[i]); err != nil {
				return err
			}
		}
	}
	log := sarif.NewReport().AddRun(s.run(r, &missed))
	log.Schema = "https://json.schemastore.org/sarif-2.1.0.json"
	text, err := sarifJSON(log)
	if err != nil {
		return err
	}
	return s.write(w, text)
}

// sarifJSON is v as JSON that is safe to show.
func sarifJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(visibleJSON(bytes.TrimSpace(buf.Bytes()))), nil
}

// ranks is the number of ranks a result may have: waived, and each severity.
const ranks = int(engine.Critical) + 2

// sarifRun collects the results of a run, by rank. They are kept as the JSON they will be, which takes a fraction of
// what the library's values take.
type sarifRun struct {
	driver  *sarif.ToolComponent
	rules   map[string]int // a policy's id to its place among the driver's rules
	results [ranks][][]byte
	kept    int
	cut     map[engine.Severity]int
	waived  int // of the cut
}

func (s *sarifRun) decision(sub *engine.Subject, d *engine.Decision) error {
	rule, ok := s.rules[d.Policy.ID]
	if !ok {
		rule = len(s.driver.Rules)
		s.rules[d.Policy.ID] = rule
		s.driver.Rules = append(s.driver.Rules, sarifRule(d.Policy))
	}
	if d.Verdict != engine.Fail && d.Verdict != engine.Unknown {
		return nil
	}
	rank := int(d.Policy.Severity) + 1
	if d.Waived {
		rank = 0
	}
	seen := map[string]int{}
	for _, p := range points(sub, d) {
		n := seen[p.path]
		seen[p.path]++
		if !s.room(rank) {
			continue
		}
		text, err := sarifJSON(sarifResult(sub, d, p, n).WithRuleIndex(rule))
		if err != nil {
			return err
		}
		s.results[rank] = append(s.results[rank], text)
	}
	return nil
}

// write writes the log with the results in their place, the gravest first.
func (s *sarifRun) write(w io.Writer, log []byte) error {
	const empty = `"results":[]` // within a text its quotes would be escaped, so it is there once
	head, tail, ok := bytes.Cut(log, []byte(empty))
	if !ok {
		return errors.New("write SARIF: the log has no place for results")
	}
	out := bufio.NewWriter(w)
	out.Write(head)
	out.WriteString(`"results":[`)
	between := "\n"
	for rank := ranks - 1; rank >= 0; rank-- {
		for _, text := range s.results[rank] {
			out.WriteString(between)
			out.Write(text)
			between = ",\n"
		}
	}
	out.WriteString("]")
	out.Write(tail)
	out.WriteString("\n")
	return out.Flush()
}

// room makes room for a result of a rank, and reports whether there is.
func (s *sarifRun) room(rank int) bool {
	if s.kept < sarifResults {
		s.kept++
		return true
	}
	least := slices.IndexFunc(s.results[:], func(l [][]byte) bool { return len(l) > 0 })
	out := min(least, rank)
	if s.cut == nil {
		s.cut = map[engine.Severity]int{}
	}
	if out == 0 {
		s.waived++
	} else {
		s.cut[engine.Severity(out-1)]++
	}
	if least >= rank {
		return false
	}
	list := s.results[least]
	list[len(list)-1] = nil
	s.results[least] = list[:len(list)-1]
	return true
}

func (s *sarifRun) run(r engine.Report, missed *unreads) *sarif.Run {
	run := sarif.NewRun().WithTool(sarif.NewTool().WithDriver(s.driver)).WithColumnKind("unicodeCodePoints")
	run.OriginalUriBaseIds = map[string]sarif.ArtifactLocation{
		srcroot: *sarif.NewArtifactLocation().WithDescription(sarif.NewTextMessage("The folder proviso ran in.")),
	}
	return run.AddInvocation(s.invocation(r, missed))
}

func (s *sarifRun) invocation(r engine.Report, missed *unreads) *sarif.Invocation {
	t := r.Trailer()
	inv := sarif.NewInvocation().WithExecutionSuccessful(t.Complete).WithStartTimeUtc(r.At.UTC().Format(time.RFC3339))
	note := func(level, text string) *sarif.Notification {
		n := sarif.NewNotification().WithLevel(level).WithMessage(sarif.NewTextMessage(text))
		inv.ToolExecutionNotifications = append(inv.ToolExecutionNotifications, n)
		return n
	}
	for _, why := range incomplete(t) {
		note(sarif.LevelError, "incomplete: "+why)
	}
	for _, u := range missed.kept {
		level := sarif.LevelError
		if u.Kind == engine.NotManifest {
			level = sarif.LevelNote
		}
		note(level, unreadKinds[u.Kind].name+": "+safe(fmt.Sprint(u.Err))).AddLocation(sarifLocation(u.Position, u.Source))
	}
	for kind := range unreadKinds {
		if n := missed.omitted(engine.UnreadKind(kind)); n > 0 {
			note(sarif.LevelWarning, fmt.Sprintf("%d more of kind %s are not listed", n, unreadKinds[kind].name))
		}
	}
	if s.cut != nil {
		left := bySeverity(s.cut)
		if s.waived > 0 {
			left = strings.TrimPrefix(fmt.Sprintf("%s, %d waived", left, s.waived), ", ")
		}
		note(sarif.LevelWarning, fmt.Sprintf("only the %d gravest results are listed; left out: %s", sarifResults, left))
	}
	for _, use := range t.Waivers {
		if text := ledger(use); text != "" {
			inv.ToolConfigurationNotifications = append(inv.ToolConfigurationNotifications,
				sarif.NewNotification().WithMessage(sarif.NewTextMessage(safe(text))))
		}
	}
	return inv
}

// sarifLevels and securitySeverity are what a severity is called in SARIF, and the score GitHub reads it from.
var (
	sarifLevels      = [...]string{sarif.LevelWarning, sarif.LevelNote, sarif.LevelWarning, sarif.LevelError, sarif.LevelError}
	securitySeverity = [...]string{"", "2.0", "5.5", "8.0", "9.5"}
)

func sarifRule(p *engine.Policy) *sarif.ReportingDescriptor {
	title := cmp.Or(safe(p.Title), safe(p.ID))
	help := paragraph("Fix: ", p.Fix, glyphs{})
	help = append(help, paragraph("Why: ", controls(p), glyphs{})...)
	help = append(help, "More: "+safe(explain(p)))
	bag := sarif.NewPropertyBag().AddTag("security")
	if score := securitySeverity[p.Severity]; score != "" {
		bag.Add("security-severity", score)
	}
	if p.Ref != "" {
		bag.Add("ref", p.Ref)
	}
	for _, c := range p.Controls {
		if tag := safe(c.Framework + "/" + c.ID); len(bag.Tags) < sarifTags && !slices.Contains(bag.Tags, tag) {
			bag.AddTag(tag)
		}
	}
	return sarif.NewRule(p.ID).
		WithName(safe(name(p))).
		WithShortDescription(sarif.NewMultiformatMessageString().WithText(title)).
		WithFullDescription(sarif.NewMultiformatMessageString().WithText(title)).
		WithHelp(sarif.NewMultiformatMessageString().WithText(strings.Join(help, "\n"))).
		WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(sarifLevels[p.Severity])).
		WithProperties(bag)
}

func sarifResult(s *engine.Subject, d *engine.Decision, p point, nth int) *sarif.Result {
	message := safe(p.message)
	res := sarif.NewRuleResult(d.Policy.ID)
	switch {
	case d.Verdict == engine.Unknown:
		message = "unknown, which is not a pass: " + message
		res.Kind, res.Level = "open", sarif.LevelNone
	case d.Effect == engine.EffectDeny || d.Waived:
		res.Level = sarifLevels[d.Policy.Severity]
	case d.Effect == engine.EffectWarn:
		res.Level = sarif.LevelWarning
	default:
		res.Level = sarif.LevelNote
	}
	if note := waiver(d); note != "" && !d.Waived {
		message += "\n" + safe(note)
	}
	if s.Origin.Template != "" {
		message += "\nfrom " + safe(s.Origin.Template)
	}
	if d.Waived {
		res.AddSuppression(sarif.NewSuppression().WithKind("external").WithStatus("accepted").WithJustification(safe(waiver(d))))
	}
	at := sarifLocation(p.at, s.Origin.Source)
	at.LogicalLocations = append(at.LogicalLocations, sarif.NewLogicalLocation().WithKind("resource").
		WithFullyQualifiedName(safe(strings.TrimSpace(s.APIVersion+" "+s.String()+" "+p.path))))
	return res.WithMessage(sarif.NewTextMessage(message)).AddLocation(at).
		WithPartialFingerprints(map[string]string{"provisoFinding/v1": fingerprint(s, d, p, nth)})
}

// fingerprint is the same for the same finding wherever its line moves: it is made of the policy, the file, the object
// and the path. Of several findings at one path nth tells them apart.
func fingerprint(s *engine.Subject, d *engine.Decision, p point, nth int) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q %q %d", d.Policy.ID, filepath.ToSlash(p.at.File), s.Group(), s.Kind, s.Namespace, s.Name, p.path, nth)
	return hex.EncodeToString(h.Sum(nil))
}

// sarifLocation is a place in a file. GitHub takes no result without one, so a source without files stands for its file.
func sarifLocation(p engine.Position, source string) *sarif.Location {
	physical := sarif.NewPhysicalLocation().WithArtifactLocation(sarifArtifact(cmp.Or(p.File, source, "-")))
	if p.Line > 0 {
		region := sarif.NewRegion().WithStartLine(p.Line)
		if p.Column > 0 {
			region.WithStartColumn(p.Column)
		}
		physical.WithRegion(region)
	}
	return sarif.NewLocationWithPhysicalLocation(physical)
}

func sarifArtifact(file string) *sarif.ArtifactLocation {
	file = filepath.ToSlash(file)
	if scheme, rest, ok := strings.Cut(file, "://"); ok && !strings.ContainsAny(scheme, ":/?#%") {
		host, path, _ := strings.Cut(rest, "/")
		return sarif.NewArtifactLocation().WithURI((&url.URL{Scheme: scheme, Host: host, Path: "/" + path}).String())
	}
	if strings.HasPrefix(file, "/") {
		return sarif.NewArtifactLocation().WithURI((&url.URL{Scheme: "file", Path: file}).String())
	}
	return sarif.NewArtifactLocation().WithURI((&url.URL{Path: strings.TrimPrefix(file, "./")}).String()).WithURIBaseID(srcroot)
}
