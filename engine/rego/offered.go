package rego

import (
	"strings"
)

// offered lists the functions a rule may call. Every one gives the same answer wherever and whenever it runs, and stops:
// by itself, since its cost follows the size of what it is given, or by its guard, which refuses a call that would take
// too much or make too much. A nil guard says the function makes nothing and reads its arguments at most once.
var offered = map[string]guard{
	// Unification, which is what := is; OPA does not call it.
	"eq": nil, "assign": nil,
	"equal": comparing, "neq": comparing, "gt": comparing, "gte": comparing, "lt": comparing, "lte": comparing,
	"internal.member_2": among, "internal.member_3": among,

	"plus": numbers, "minus": numbers, "mul": numbers, "div": numbers, "rem": numbers,
	"abs": numbers, "ceil": numbers, "floor": numbers, "round": numbers, "format_int": numbers,
	"numbers.range": ranging, "numbers.range_step": ranging, "to_number": numeral,
	"units.parse": numeral, "units.parse_bytes": numeral,

	"count": nil, "sum": numbers, "product": multiplying, "max": reading, "min": reading, "sort": remaking,
	"and": remaking, "or": remaking, "union": remaking, "intersection": remaking,
	"array.concat": remaking, "array.flatten": remaking, "array.reverse": remaking, "array.slice": remaking,
	"object.get": nil, "object.keys": remaking, "object.remove": remaking, "object.filter": remaking,
	"object.union": remaking, "object.union_n": remaking, "object.subset": pairing,
	"graph.reachable": remaking, "walk": reading,

	"contains": nil, "startswith": nil, "endswith": nil, "trim_prefix": nil, "trim_suffix": nil, "trim_space": nil,
	"strings.any_prefix_match": reading, "strings.any_suffix_match": reading, "strings.count": nil,
	"indexof": searching, "indexof_n": findingAll, "trim": searching, "trim_left": searching, "trim_right": searching,
	"concat": joining, "sprintf": formatting, "internal.template_string": joining, "substring": copying,
	"lower": copying, "upper": copying, "strings.reverse": copying, "split": splitting,
	"replace": replacing, "strings.replace_n": replacingMany,
	"regex.match": matching, "regex.is_valid": matching, "regex.split": matching, "regex.find_n": matching,
	"regex.find_all_string_submatch_n": matching, "regex.replace": rewriting,

	"json.marshal": copying, "json.unmarshal": parsing, "json.is_valid": parsing,
	"base64.encode": encoding, "base64.decode": encoding, "base64.is_valid": encoding,
	"base64url.encode": encoding, "base64url.encode_no_pad": encoding, "base64url.decode": encoding,
	"hex.encode": encoding, "hex.decode": encoding, "urlquery.encode": encoding, "urlquery.decode": encoding,
	"uri.parse": copying, "uri.is_valid": copying, "crypto.sha256": reading,
	"semver.compare": shortText, "semver.is_valid": shortText,

	"time.parse_rfc3339_ns": shortText, "time.parse_duration_ns": shortText, "time.parse_ns": dating,
	"time.format": dating, "time.date": dating, "time.clock": dating, "time.weekday": dating, "time.add_date": dating, "time.diff": dating,

	"is_number": nil, "is_string": nil, "is_boolean": nil, "is_array": nil, "is_set": nil, "is_object": nil, "is_null": nil, "type_name": nil,
}

// unmetered functions make nothing: their guards look at what a call reads, so OPA need not put together the context that holds the
// meter. They are what rules call most.
var unmetered = []string{
	"equal", "neq", "gt", "gte", "lt", "lte", "internal.member_2", "internal.member_3", "plus", "mul", "div", "rem",
	"abs", "ceil", "floor", "round", "to_number", "units.parse", "units.parse_bytes", "max", "min",
	"strings.any_prefix_match", "strings.any_suffix_match", "regex.match", "time.parse_rfc3339_ns", "time.parse_duration_ns",
}

// refused says why functions of OPA are not offered and what to use in their place, by name or by the start of it.
var refused = []struct{ prefix, why string }{
	{"time.now_ns", "a rule must give the same answer when replayed; use input.now"},
	{"rand.", "a rule must give the same answer when replayed"},
	{"uuid.", "a rule must give the same answer when replayed"},
	{"opa.runtime", "a rule must give the same answer wherever it runs; use a parameter"},
	{"http.send", "a rule has no network; declare a fact"},
	{"net.", "a rule has no network; use a host function or a declared fact"},
	{"providers.", "a rule has no network and no credentials"},
	{"io.jwt.", "a rule judges objects and holds no keys"},
	{"crypto.", "its time is not bounded or its digest is weak; use crypto.sha256"},
	{"print", "a rule answers with violations and writes nothing"},
	{"internal.print", "a rule answers with violations and writes nothing"},
	{"trace", "a rule answers with violations and writes nothing"},
	{"glob.", "its time is not bounded; use regex.match or startswith"},
	{"regex.", "its time is not bounded; use regex.match"},
	{"yaml.", "aliases make it grow without bound; use json.unmarshal"},
	{"json.", "its time or size is not bounded, or it may fetch schemas; use object.get, object.filter or object.union"},
	{"graphql.", "its time is not bounded"},
	{"graph.", "the number of paths is not bounded; use graph.reachable"},
	{"rego.", "a rule judges objects, not rules"},
	{"bits.", "a shift makes numbers of any size"},
	{"strings.", "its time is not bounded; use sprintf, concat or split"},
	{"urlquery.", "use urlquery.encode or urlquery.decode"},
}

// reason says why a function is not offered.
func reason(name string) string {
	for _, r := range refused {
		if name == r.prefix || strings.HasSuffix(r.prefix, ".") && strings.HasPrefix(name, r.prefix) {
			return r.why
		}
	}
	return "its time and memory are not known to be bounded"
}
