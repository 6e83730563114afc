package region

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// builtinSets name groups of countries.
//
// eu is the 27 member states: not Britain, Switzerland or Norway. eea adds the three EFTA states that apply the GDPR.
//
// gdpr-adequate is the third countries for which the European Commission had an adequacy decision under Article 45 GDPR
// on 2025-07-01, as the Commission lists them:
// https://commission.europa.eu/law/law-topic/data-protection/international-dimension-data-protection/adequacy-decisions_en.
// A country whose decision is younger is not in it, which errs on the strict side. It does not hold the EEA itself. Canada's covers commercial
// organisations only. The United States are left out: theirs covers only organisations certified under the Data Privacy
// Framework, which no region name proves. A decision made later belongs in a set of the user's own.
//
// cn is mainland China, without Hong Kong, Macao and Taiwan, which have codes of their own.
var builtinSets = map[string]string{
	"eu":            "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK",
	"eea":           "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK",
	"gdpr-adequate": "AD AR CA CH FO GB GG IL IM JE JP KR NZ UY",
	// us, cn and ru are countries, and so sets of themselves.
}

// countryCodes is every officially assigned ISO 3166-1 alpha-2 code.
const countryCodes = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ " +
	"VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"

// set is a group of countries, and of regions counted in whatever their country is.
type set struct {
	countries map[string]bool // upper case
	regions   map[[2]string]bool
}

func (s *set) add(other *set) {
	maps.Copy(s.countries, other.countries)
	maps.Copy(s.regions, other.regions)
}

func countries(codes ...string) *set {
	s := &set{map[string]bool{}, map[[2]string]bool{}}
	for _, c := range codes {
		s.countries[c] = true
	}
	return s
}

// contains says that every country and area of the place is in the set, or the region itself is.
func (s *set) contains(p Place, areas map[string]*set) bool {
	if p.Region != "" && s.regions[[2]string{p.Provider, p.Region}] {
		return true
	}
	for _, c := range p.Countries {
		if !s.countries[c] {
			return false
		}
	}
	for _, a := range p.Areas {
		area, ok := areas[a]
		if !ok || len(area.countries) == 0 {
			return false // Proviso does not know every country the area may mean
		}
		for c := range area.countries {
			if !s.countries[c] {
				return false
			}
		}
	}
	return len(p.Countries)+len(p.Areas) > 0
}

// addSets resolves the user's sets, which may name countries, regions and each other.
func (t *Table) addSets(user map[string][]string) []error {
	var errs []error
	fail := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("set %q: "+format, append([]any{name}, args...)...))
	}
	raw := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(user)) {
		key := strings.ToLower(name)
		switch _, twice := raw[key]; {
		case !wellFormed(key):
			fail(name, "not a name; use letters, digits, dots and dashes")
		case twice:
			fail(name, "defined twice, case aside; choose one")
		case t.sets[key] != nil:
			fail(name, "Proviso defines it already and it stays as it is; choose another name")
		case len(user[name]) == 0:
			fail(name, "empty; list countries, sets or regions")
		default:
			raw[key] = user[name]
		}
	}
	const visiting = 1
	state := map[string]int{}
	var resolve func(name string) *set
	resolve = func(name string) *set {
		if s := t.sets[name]; s != nil && state[name] != visiting {
			return s
		}
		if state[name] == visiting {
			fail(name, "contains itself; break the circle")
			return countries()
		}
		state[name] = visiting
		s := countries()
		for _, member := range raw[name] {
			key := strings.ToLower(member)
			if t.sets[key] != nil || raw[key] != nil {
				s.add(resolve(key))
				continue
			}
			id, err := t.member(key)
			if err != nil {
				fail(name, "%w", err)
				continue
			}
			s.regions[id] = true
		}
		delete(state, name)
		t.sets[name] = s
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		resolve(name)
	}
	return errs
}

// member finds a region named in a set, as "eu-central-1" or "ovh/gra". Short names, such as OVHcloud's "uk", must name their
// cloud: whoever writes "uk" may well mean a country.
func (t *Table) member(name string) ([2]string, error) {
	if provider, region, ok := strings.Cut(name, "/"); ok {
		if _, found := t.regions[provider][region]; found {
			return [2]string{provider, region}, nil
		}
		return [2]string{}, fmt.Errorf("%q is not a region Proviso knows; declare it under regions: in proviso.yaml", name)
	}
	var found [][2]string
	for _, provider := range slices.Sorted(maps.Keys(t.regions)) {
		if _, ok := t.regions[provider][name]; ok && (len(name) > 3 || t.regions[provider][name].Custom) {
			found = append(found, [2]string{provider, name})
		}
	}
	switch len(found) {
	case 0:
		return [2]string{}, fmt.Errorf("%q is no country code, set or region%s", name, t.suggest(name))
	case 1:
		return found[0], nil
	}
	return [2]string{}, fmt.Errorf("%q is a region of %s and of %s; write %s/%s", name, found[0][0], found[1][0], found[0][0], name)
}

// Within says that everything the place may hold lies inside the union of the sets: every country it names and every
// area, whichever countries that area means. A set name is one of [Table.Sets], in either case. No sets, an unknown
// name and a place with neither country nor area are errors.
func (t *Table) Within(p Place, sets []string) (bool, error) {
	if len(sets) == 0 {
		return false, fmt.Errorf("compare places: no sets given; name at least one, as eu")
	}
	union := countries()
	for _, name := range sets {
		s := t.sets[strings.ToLower(name)]
		if s == nil {
			return false, fmt.Errorf("compare places: %q is not a set Proviso knows%s", clip(name), t.suggest(strings.ToLower(name)))
		}
		union.add(s)
	}
	if len(p.Countries)+len(p.Areas) == 0 {
		return false, fmt.Errorf("compare places: %q names no country; locate it first", clip(p.Region))
	}
	return union.contains(p, t.sets), nil
}

// Sets lists the names of all sets, country codes included, in lower case and sorted.
func (t *Table) Sets() []string { return slices.Sorted(maps.Keys(t.sets)) }

// suggest is "; did you mean …" for a set name one or two letters off, or the way out.
func (t *Table) suggest(name string) string {
	switch name {
	case "uk", "england", "britain", "united-kingdom":
		return `; did you mean "gb"?`
	case "usa":
		return `; did you mean "us"?`
	case "gdpr", "europe":
		return `; did you mean "eea" or "eu"?`
	}
	best, most := "", 3
	if len(name) < 4 { // two letters off is any other country code
		most = 1
	}
	if len(name) <= 64 {
		for _, known := range t.Sets() {
			if d := distance(name, known); d < most {
				best, most = known, d
			}
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; define it under sets: in proviso.yaml"
}

// distance is the number of letters to insert, delete or replace between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
