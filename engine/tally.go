package engine

import (
	"slices"
	"strings"
	"time"
)

// Summary counts what a run found. Matched counts the subjects that any policy names; the verdicts count decisions.
type Summary struct {
	Subjects      int `json:"subjects"`
	Matched       int `json:"matched"`
	Policies      int `json:"policies"`
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Unknown       int `json:"unknown"`
	NotApplicable int `json:"notApplicable"`
	Waived        int `json:"waived"`
	Unread        int `json:"unread"`
}

// WaiverUse says how a waiver fared in a run: how many fails and unknowns it covers, expired or not.
type WaiverUse struct {
	*Waiver
	State WaiverState
	Hides int
}

// Coverage says how much of what should be judged was. Expected counts pairs of a subject and a policy that names its
// kind, Covered those whose verdict is not unknown.
type Coverage struct {
	Expected, Covered int
	// FilesWithoutPolicy are the files none of whose subjects any policy names: their count, and the first of them.
	FilesWithoutPolicy int
	FirstFiles         []string
	// KindsWithoutPolicy counts the subjects that no policy names, by kind, sorted by it.
	KindsWithoutPolicy []KindCount
}

// KindCount is how many subjects of a kind there were.
type KindCount struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

const (
	// maxFiles is how many files without a policy are named.
	maxFiles = 100
	// maxKinds is how many kinds without a policy are told apart; the rest are counted together, under the kind "…".
	maxKinds = 200
)

// Trailer closes a report.
type Trailer struct {
	Summary  Summary
	Coverage Coverage
	Waivers  []WaiverUse
	// Broken and Holes count the unread: input that is broken, and things known to exist that were not seen.
	Broken, Holes int
	// NotManifests counts the well-formed documents that are no Kubernetes object.
	NotManifests int
	// Denied counts decisions whose effect is deny and verdict fail; Failed counts unwaived fails by severity.
	Denied int
	Failed map[Severity]int
	// Unknown counts unwaived unknowns, UnknownFacts those of them whose sole cause is an unanswered fact.
	Unknown, UnknownFacts int
	// Stopped is whether the run ended before the inspector did.
	Stopped bool
	// Complete is whether something was judged, everything was read and nothing is unknown.
	Complete bool
	// Since says what changed since an earlier run; nil where there is none to compare with.
	Since *Since
}

// tally counts while a run streams.
type tally struct {
	Trailer
	now     time.Time
	waivers []*Waiver
	hides   map[string]int
	kinds   map[groupKind]int
	file    string
	covered bool
}

func newTally(s *Set, now time.Time) *tally {
	t := &tally{now: now, waivers: s.ledger, hides: map[string]int{}, kinds: map[groupKind]int{}}
	t.Failed = map[Severity]int{}
	t.Summary.Policies = len(s.policies)
	return t
}

func (t *tally) add(r Result) {
	if r.Unread != nil {
		switch r.Unread.Kind {
		case NotManifest:
			t.NotManifests++
			return
		case Hole:
			t.Holes++
		default:
			t.Broken++
		}
		t.Summary.Unread++
		return
	}
	if file, _ := r.Subject.Origin.Archive(); file != t.file {
		t.endFile()
		t.file, t.covered = file, false
	}
	t.Summary.Subjects++
	if len(r.Decisions) > 0 {
		t.Summary.Matched++
		t.covered = true
	} else {
		gk := groupKind{r.Subject.Group(), r.Subject.Kind}
		if _, known := t.kinds[gk]; !known && len(t.kinds) >= maxKinds {
			gk = groupKind{kind: "…"}
		}
		t.kinds[gk]++
	}
	for i := range r.Decisions {
		t.decision(&r.Decisions[i])
	}
}

// Archive is the file a place lies in, and whether that is an archive: what lies in one is written ARCHIVE.tar.gz!ENTRY. A
// ! alone is part of a name.
func (p Position) Archive() (file string, within bool) {
	const end = ".tar.gz"
	before, _, within := strings.Cut(p.File, end+"!")
	if !within {
		return p.File, false
	}
	return before + end, true
}

func (t *tally) decision(d *Decision) {
	t.Coverage.Expected++
	if d.Verdict != Unknown {
		t.Coverage.Covered++
	}
	if d.Waiver != nil {
		t.hides[d.Waiver.ID]++
	}
	if d.Waived {
		t.Summary.Waived++
	}
	switch d.Verdict {
	case Pass:
		t.Summary.Pass++
	case NotApplicable:
		t.Summary.NotApplicable++
	case Fail:
		t.Summary.Fail++
		if !d.Waived {
			t.Failed[d.Policy.Severity]++
		}
		if d.Effect == EffectDeny {
			t.Denied++
		}
	default:
		t.Summary.Unknown++
		if !d.Waived {
			t.Unknown++
			if d.Cause == CauseFact {
				t.UnknownFacts++
			}
		}
	}
}

func (t *tally) endFile() {
	if t.file == "" || t.covered {
		return
	}
	t.Coverage.FilesWithoutPolicy++
	if len(t.Coverage.FirstFiles) < maxFiles {
		t.Coverage.FirstFiles = append(t.Coverage.FirstFiles, t.file)
	}
}

func (t *tally) trailer() Trailer {
	t.endFile()
	t.file = ""
	t.Coverage.KindsWithoutPolicy = nil
	for gk, n := range t.kinds {
		t.Coverage.KindsWithoutPolicy = append(t.Coverage.KindsWithoutPolicy, KindCount{gk.group, gk.kind, n})
	}
	slices.SortFunc(t.Coverage.KindsWithoutPolicy, func(a, b KindCount) int { return cmp(a.Kind, b.Kind, a.Group, b.Group) })
	t.Waivers = nil
	for _, w := range t.waivers {
		use := WaiverUse{Waiver: w, State: w.State(t.now), Hides: t.hides[w.ID]}
		if use.Hides == 0 && use.State != WaiverExpired {
			use.State = WaiverUnused
		}
		t.Waivers = append(t.Waivers, use)
	}
	t.Complete = !t.Stopped && t.Broken == 0 && t.Holes == 0 && t.Summary.Unknown == 0 && t.Summary.Matched > 0
	return t.Trailer
}
