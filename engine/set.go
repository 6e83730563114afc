package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Set is policies compiled, sorted by id, and indexed by group and kind, so that a subject costs what its matching
// policies cost and not what the loaded ones would. It is immutable and may be used by many goroutines.
type Set struct {
	policies []*compiled
	exact    map[groupKind][]*compiled
	// wild holds the policies with "*" for a group or kind; they are merged into exact for every kind named there.
	wild    []*compiled
	waivers map[string][]*Waiver
	ledger  []*Waiver
	limit   time.Duration
	digest  Digest
}

type groupKind struct{ group, kind string }

// DefaultLimit is how long one rule may run on one subject.
const DefaultLimit = time.Second

// NewSet compiles policies. Every problem is reported, not just the first.
func NewSet(policies []Policy) (*Set, error) {
	s := &Set{exact: map[groupKind][]*compiled{}, limit: DefaultLimit}
	var errs []error
	for i := range policies {
		c, err := compile(&policies[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.policies = append(s.policies, c)
	}
	slices.SortFunc(s.policies, func(a, b *compiled) int { return strings.Compare(a.ID, b.ID) })
	for i, c := range s.policies {
		if i > 0 && s.policies[i-1].ID == c.ID {
			errs = append(errs, fmt.Errorf("policy %q: it is there twice", c.ID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.index()
	return s, nil
}

func (s *Set) index() {
	for _, c := range s.policies {
		wild := false
		for _, row := range c.Match {
			for _, kind := range row.Kinds {
				if row.Group == "*" || kind == "*" {
					wild = true
				} else {
					s.exact[groupKind{row.Group, kind}] = nil
				}
			}
		}
		if wild {
			s.wild = append(s.wild, c)
		}
	}
	for _, c := range s.policies {
		for _, row := range c.Match {
			for _, kind := range row.Kinds {
				gk := groupKind{row.Group, kind}
				if list, ok := s.exact[gk]; ok && (len(list) == 0 || list[len(list)-1] != c) && !slices.Contains(s.wild, c) {
					s.exact[gk] = append(list, c)
				}
			}
		}
	}
	for gk, list := range s.exact {
		for _, c := range s.wild {
			if c.Match.names(gk.group, gk.kind) {
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b *compiled) int { return strings.Compare(a.ID, b.ID) })
		s.exact[gk] = list
	}
	h := sha256.New()
	for _, c := range s.policies {
		params, err := json.Marshal(c.Params) // keys are sorted
		fmt.Fprintf(h, "%s %s %s %v %d %d\n", c.ID, c.Digest, params, err, c.Mode, c.Unknown)
	}
	s.digest = Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}

// matching is the policies that name the kind, sorted by id.
func (s *Set) matching(group, kind string) []*compiled {
	if list, ok := s.exact[groupKind{group, kind}]; ok {
		return list
	}
	var list []*compiled
	for _, c := range s.wild {
		if c.Match.names(group, kind) {
			list = append(list, c)
		}
	}
	return list
}

// WithWaivers is the same set with these waivers in place of its own.
func (s *Set) WithWaivers(waivers []Waiver) (*Set, error) {
	with := *s
	with.waivers, with.ledger = map[string][]*Waiver{}, nil
	var errs []error
	seen := map[string]bool{}
	for i := range waivers {
		w := &waivers[i]
		if err := w.Validate(); err != nil {
			errs = append(errs, err)
		} else if seen[w.ID] {
			errs = append(errs, fmt.Errorf("waiver %q: it is there twice", w.ID))
		}
		seen[w.ID] = true
		with.waivers[w.Policy] = append(with.waivers[w.Policy], w)
		with.ledger = append(with.ledger, w)
	}
	byID := func(a, b *Waiver) int { return strings.Compare(a.ID, b.ID) }
	for _, list := range with.waivers {
		slices.SortFunc(list, byID)
	}
	slices.SortFunc(with.ledger, byID)
	return &with, errors.Join(errs...)
}

// WithLimit is the same set with another limit on the time one rule may take on one subject.
func (s *Set) WithLimit(limit time.Duration) *Set {
	with := *s
	with.limit = limit
	return &with
}

// Digest identifies the policies with their parameters and modes.
func (s *Set) Digest() Digest { return s.digest }

// Waivers lists the waivers, sorted by id.
func (s *Set) Waivers() []*Waiver { return s.ledger }

// Policies lists the policies, sorted by id.
func (s *Set) Policies() []*Policy {
	list := make([]*Policy, len(s.policies))
	for i, c := range s.policies {
		list[i] = c.Policy
	}
	return list
}

// Matches reports whether any policy names the kind.
func (s *Set) Matches(group, kind string) bool { return len(s.matching(group, kind)) > 0 }

// Kinds are the groups and kinds that policies are for, each once, sorted; "*" is any.
func (s *Set) Kinds() [][2]string {
	seen := map[[2]string]bool{}
	for _, c := range s.policies {
		for _, row := range c.Match {
			for _, kind := range row.Kinds {
				seen[[2]string{row.Group, kind}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// Rows are what policies are for and at which operations: each group and kind once, sorted, with every version where one
// policy names none. Kinds are single.
func (s *Set) Rows() []MatchRow {
	rows := map[[2]string]*MatchRow{}
	every := map[[2]string]bool{}
	for _, c := range s.policies {
		for _, m := range c.Match {
			operations := m.Operations
			if len(operations) == 0 {
				operations = []string{Create, Update}
			}
			for _, kind := range m.Kinds {
				gk := [2]string{m.Group, kind}
				if rows[gk] == nil {
					rows[gk] = &MatchRow{Group: m.Group, Kinds: []string{kind}}
				}
				every[gk] = every[gk] || len(m.Versions) == 0
				rows[gk].Versions = append(rows[gk].Versions, m.Versions...)
				rows[gk].Operations = append(rows[gk].Operations, operations...)
			}
		}
	}
	list := make([]MatchRow, 0, len(rows))
	for _, gk := range s.Kinds() {
		row := rows[gk]
		if every[gk] {
			row.Versions = nil
		}
		for _, of := range []*[]string{&row.Versions, &row.Operations} {
			slices.Sort(*of)
			*of = slices.Compact(*of)
		}
		list = append(list, *row)
	}
	return list
}

// FactKinds are the groups and kinds that policies ask facts of.
func (s *Set) FactKinds() map[[2]string]bool {
	kinds := map[[2]string]bool{}
	for _, c := range s.policies {
		for _, q := range c.Facts {
			kinds[[2]string{q.Group, q.Kind}] = true
		}
	}
	return kinds
}

// Misspelt finds what in a subject differs only in case from what policies are for: its kind, or keys on the paths they
// declare.
func (s *Set) Misspelt(sub *Subject) []Misspelling {
	list := s.matching(sub.Group(), sub.Kind)
	if _, exact := s.exact[groupKind{sub.Group(), sub.Kind}]; !exact {
		for gk := range s.exact {
			if strings.EqualFold(gk.kind, sub.Kind) && strings.EqualFold(gk.group, sub.Group()) {
				path, want := "kind", gk.kind
				if gk.kind == sub.Kind {
					path, want = "apiVersion", gk.group+"/"+sub.Version()
				}
				return []Misspelling{{path, want}}
			}
		}
	}
	var declared []Path
	for _, c := range list {
		for _, d := range c.declared {
			if d.root == "object" {
				declared = append(declared, d.path)
			}
		}
	}
	return Misspellings(sub.Object, declared)
}
