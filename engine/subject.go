// Package engine owns the words of Proviso (Subject, Policy, Fact, Verdict, Waiver, Report) and the one function
// that decides, [Set.Judge]. It knows no policy language, no Kubernetes client, no network, no files, no logger and
// no clock: what a decision needs is handed in, so the same decision can be made again years later.
//
// Start at [NewSet], [Set.Judge] and [Set.Run].
package engine

import (
	"context"
	"iter"
	"strings"
)

// Digest is "sha256:" and 64 lower-case hexadecimal digits; empty where nothing was hashed.
type Digest string

// The operations of an admission request. A scan has none: the empty string.
const (
	Create = "CREATE"
	Update = "UPDATE"
	Delete = "DELETE"
)

// Subject is one thing that is judged: a Kubernetes object as it was found, or an artifact written as an object of
// group artifact.proviso.dev. Nothing in it is altered once it is judged.
type Subject struct {
	APIVersion, Kind, Namespace, Name string
	// Operation is Create, Update or Delete at admission, Create in lint, and empty in a scan.
	Operation string
	// Object is the thing as it is or will be; Old is what it replaces. On Delete both are the deleted object.
	// Values are nil, bool, int64, float64, string, []any and map[string]any. A nil map reads as an empty one.
	Object, Old map[string]any
	// User is who asked (username, groups, uid, extra); empty outside admission.
	User   map[string]any
	Origin Origin
}

// Group is the API group, empty for the core group.
func (s *Subject) Group() string {
	if g, _, ok := strings.Cut(s.APIVersion, "/"); ok {
		return g
	}
	return ""
}

// Version is the version without the group.
func (s *Subject) Version() string {
	if _, v, ok := strings.Cut(s.APIVersion, "/"); ok {
		return v
	}
	return s.APIVersion
}

// String names the subject for people: Kind namespace/name.
func (s *Subject) String() string {
	name := s.Name
	if s.Namespace != "" {
		name = s.Namespace + "/" + name
	}
	if name == "" {
		return s.Kind
	}
	return s.Kind + " " + name
}

// Position is a place in a source. Line and Column count from 1, Column in code points; 0 is not known.
type Position struct {
	File         string
	Line, Column int
}

// Origin says where a subject came from.
type Origin struct {
	// Source is what was inspected, as the user named it.
	Source string
	// Position is where the subject starts.
	Position
	// Template is the file a rendered document was made from (Helm's "# Source:" comment), or empty.
	Template string
	// Digest is that of the bytes the subject was read from.
	Digest Digest
	// Locate gives the place of a path of the object, or of the nearest ancestor that is there. Nil where the source has
	// no lines.
	Locate func(path string) Position
	// Lines gives the source's lines first to last, counted from 1 and both included, as far as they belong to the subject's
	// document. The slice is the caller's. Nil where there are none.
	Lines func(first, last int) []string
}

// Place is where path stands in the source, or the subject's own place where that is not known.
func (o Origin) Place(path string) Position {
	if o.Locate != nil {
		if p := o.Locate(path); p.Line > 0 {
			return p
		}
	}
	return o.Position
}

// Inspector turns one source into subjects. What it cannot read it yields as an error, an [Unread] where it can say
// more, and goes on.
type Inspector interface {
	Inspect(ctx context.Context) iter.Seq2[*Subject, error]
}

// Severity orders policies by harm.
type Severity uint8

// The severities, from least to most. Zero is none.
const (
	NoSeverity Severity = iota
	Low
	Medium
	High
	Critical
)

var severities = []string{"", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severities[s] }

// ParseSeverity reads low, medium, high or critical.
func ParseSeverity(text string) (Severity, bool) {
	for i, s := range severities {
		if s == text && i > 0 {
			return Severity(i), true
		}
	}
	return NoSeverity, false
}
