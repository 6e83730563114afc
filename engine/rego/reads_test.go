package rego

import (
	"slices"
	"strings"
	"testing"
)

func TestReads(t *testing.T) {
	for name, c := range map[string]struct{ body, rest, want string }{
		"a list of a list of": {`some x in wrap(wrap(wrap(input.object.a))); y := wrap(x); some z in wrap(y); z == 1`,
			"wrap(x) := x if is_array(x)\nwrap(x) := [x] if not is_array(x)", "object.a object.a[*] object.a[*][*] object.a[*][*][*]"},
		"plain":                 {`input.object.spec.ttl == 1`, "", "object.spec.ttl"},
		"quoted key":            {`input.object.metadata.labels["a.b/c"] == 1`, "", `object.metadata.labels["a.b/c"]`},
		"every root":            {`[input.operation, input.now, input.user.username, input.old.a, input.facts.ns.x] == [1, 2, 3, 4, 5]`, "", "facts.ns.x now old.a operation user.username"},
		"presence":              {`input.object.spec.on`, "", "object.spec.on"},
		"negation":              {`not input.object.spec.on`, "", "object.spec.on"},
		"alias":                 {`s := input.object.spec; s.a == 1; s.b.c == 2`, "", "object.spec.a object.spec.b.c"},
		"alias of alias":        {`s := input.object.spec; u := s.t; u.a == 1`, "", "object.spec.t.a"},
		"alias never used":      {`s := input.object.spec.x`, "", "object.spec.x"},
		"alias of everything":   {`i := input; i.object.a == 1`, "", "object.a"},
		"alias compared":        {`s := input.object.a; s == input.params.b`, "", "object.a params.b"},
		"index":                 {`input.object.list[0].a == 1`, "", "object.list[*].a"},
		"wildcard":              {`input.object.list[_].a == 1`, "", "object.list[*].a"},
		"some in":               {`some x in input.object.list; x.a == 1`, "", "object.list[*].a"},
		"some in, not used":     {`some x in input.object.list`, "", "object.list[*]"},
		"some key in":           {`some i, x in input.object.list; sprintf("%d", [i]) == x.a`, "", "object.list[*].a"},
		"some key, not value":   {`some k, _ in input.object.labels; startswith(k, "a")`, "", "object.labels[*]"},
		"some index":            {`some i; input.object.l[i].a == input.old.l[i].b`, "", "object.l[*].a old.l[*].b"},
		"some in params, equal": {`some x in input.params.list; x == input.object.a`, "", "object.a params.list[*]"},
		"computed key":          {`k := input.params.key; input.object[k] == 1`, "", "object params.key"},
		"computed deeper":       {`k := "x"; input.object.spec[k].a == 1`, "", "object.spec"},
		"key in brackets":       {`input.object[input.params.k].a == 1`, "", "object params.k"},
		"computed root":         {`k := "object"; input[k].a == 1`, "", "facts now object old operation params user"},
		"iterated root":         {`some x in input; x.a == 1`, "", "facts.a now.a object.a old.a operation.a params.a user.a"},
		"whole document":        {`count(input) == 7`, "", "facts now object old operation params user"},
		"membership":            {`input.object.a in input.params.list`, "", "object.a params.list[*]"},
		"membership with key":   {`"k", "v" in input.object.labels`, "", "object.labels"},
		"whole to a function":   {`count(input.object.list) == 1`, "", "object.list"},
		"alias to a function":   {`s := input.object.spec; count(s) == 1; s.a == 1`, "", "object.spec object.spec.a"},
		"result of a function":  {`s := object.union(input.object.a, input.params.b); s.c == 1`, "", "object.a params.b"},
		"host function":         {`test.double(input.object.a, input.params.b) == 1`, "", "object.a params.b"},
		"object.get key":        {`object.get(input.object, "a", 1) == 1`, "", "object.a"},
		"object.get path":       {`object.get(input.object, ["a", "b", 0], input.params.d) == 1`, "", "object.a.b[*] params.d"},
		"object.get alias":      {`s := object.get(input.object, ["a", "b"], {}); s.c == 1`, "", "object.a.b.c"},
		"object.get computed":   {`object.get(input.object.a, [input.params.k], 1) == 1`, "", "object.a params.k"},
		"object.get variable":   {`k := "x"; object.get(input.object.a, k, 1) == 1`, "", "object.a"},
		"comprehension":         {`count([x.a | some x in input.object.list; x.b > 1]) == 1`, "", "object.list[*].a object.list[*].b"},
		"comprehension alias":   {`xs := [x | some x in input.object.list]; xs[0].a == 1`, "", "object.list[*].a"},
		"set comprehension":     {`xs := {x | some x in input.object.list}; some y in xs; y.a == 1`, "", "object.list[*].a"},
		"set taken apart":       {`xs := {[x, 1] | some x in input.object.list}; xs[[y, 1]]; y.a == 1`, "", "object.list[*] object.list[*].a"},
		"object comprehension":  {`xs := {x.n: x | some x in input.object.list}; xs.foo.a == 1`, "", "object.list[*].a object.list[*].n"},
		"nested comprehension":  {`count({y | some x in input.object.list; y := [z.b | some z in x.a]}) > 1`, "", "object.list[*].a[*].b"},
		"every":                 {`every x in input.object.list { x.a == input.params.b }`, "", "object.list[*].a params.b"},
		"every with key":        {`every i, x in input.object.list { i < x.a }`, "", "object.list[*].a"},
		"every, not used":       {`every _ in input.object.list { input.params.b }`, "", "object.list[*] params.b"},
		"every of every":        {`every x in input.object.list { every y in x.l { y.a > 1 } }`, "", "object.list[*].l[*].a"},
		"array taken apart":     {`[a, b] := [input.object.x, input.object.y]; a.c == 1; b > 1`, "", "object.x.c object.y"},
		"list taken apart":      {`[a, b] := input.object.list; a.c == b`, "", "object.list object.list[*] object.list[*].c"},
		"object taken apart":    {`{"k": a} := input.object.m; a == 1`, "", "object.m object.m.k"},
		"object made":           {`m := {"k": input.object.a}; m.k.b == 1`, "", "object.a.b"},
		"object made, whole":    {`m := {"k": input.object.a}; m == {"k": 1}`, "", "object.a"},
		"function":              {`f(input.object.spec)`, `f(x) if x.a == 1`, "object.spec.a"},
		"function, whole":       {`f(input.object.spec)`, `f(x) if count(x) == 1`, "object.spec"},
		"function, not used":    {`f(input.object.spec)`, `f(_) if true`, "object.spec"},
		"function of function":  {`f(input.object.spec)`, "f(y) if g(y.a)\ng(z) if z.b > 1", "object.spec.a.b"},
		"function gives part":   {`f(input.object).a == 1`, `f(x) := x.spec`, "object.spec.a"},
		"function with else":    {`f(input.object) == 1`, `f(x) := 1 if { x.a == 1 } else := x.b if { x.c == 1 }`, "object.a object.b object.c"},
		"function of literal":   {`f(input.object.a, input.object.b) == 1`, `f("x", y) := y.c`, "object.a object.b.c"},
		"function called twice": {`f(input.object.a); f(input.old.b)`, `f(x) if x.c == 1`, "object.a.c old.b.c"},
		"function of the same":  {`f(input.object.a, input.object.b)`, `f(x, x) if true`, "object.a object.b"},
		"rule":                  {`spec.a == 1`, `spec := input.object.spec`, "object.spec.a"},
		"rule with default":     {`on == true`, "default on := false\non if input.object.a", "object.a"},
		"rule of a set":         {`some n in names; n == "x"`, `names contains x.n if some x in input.object.list`, "object.list[*].n"},
		"rule of a set, key":    {`names[n]; n.a == "x"`, `names contains x if some x in input.object.list`, "object.list[*] object.list[*].a"},
		"rule of an object":     {`by.foo.a == 1`, `by[x.n] := x if some x in input.object.list`, "object.list[*].a object.list[*].n"},
		"rule of objects":       {`by[_].foo.a == 1`, `by.all[x.n] := x if some x in input.object.list`, "object.list[*].a object.list[*].n"},
		"import":                {`p.a == 1`, "", "params.a"},
		"walk":                  {`walk(input.object.spec, [_, v]); v == 1`, "", "object.spec"},
		"template":              {`$"{input.object.a}" == "x"`, "", "object.a"},
		"names like another's":  {`walk(input.object.a, [_, x]); x.b == 1; f(1)`, `f(y) if { x := input.params.c; x.d == y }`, "object.a params.c.d"},
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.Replace(module(c.body)+c.rest, "\n\n", "\nimport input.params as p\n", 1)
			var got []string
			for _, r := range compile(t, source).Reads() {
				got = append(got, r.Path)
				if r.Line < 3 || r.Column < 1 {
					t.Errorf("%s is at %d:%d", r.Path, r.Line, r.Column)
				}
			}
			slices.Sort(got)
			got = slices.Compact(got)
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestReadsAreWhereTheyAreWritten(t *testing.T) {
	source := "package a.b\n\nviolations contains {\"message\": m, \"path\": \"ü\"} if {\n\ts := input.object.spec\n\t\"ü\" != s.ttl\n\tm := sprintf(\"%v\", [s.x])\n}\n"
	r := compile(t, source)
	var got []string
	for _, read := range r.Reads() {
		got = append(got, read.Path)
		line := strings.Split(source, "\n")[read.Line-1]
		if !strings.HasPrefix(string([]rune(line)[read.Column-1:]), strings.Replace(read.Path, "object.spec", "s", 1)) {
			t.Errorf("%s is at %d:%d: %s", read.Path, read.Line, read.Column, line)
		}
	}
	if len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestLint(t *testing.T) {
	r := compile(t, "package a.b\nimport input.params as p\nviolations contains {\"message\": \"m\"} if {\n\tf(1)\n\tx := 1\n}\nf(y) if helper[y]\nhelper contains 1\nlost := 1 if also\nalso if true\nalso if false\n")
	var got []string
	for _, p := range r.Lint() {
		got = append(got, strings.ReplaceAll(p.Message, "\n", " "))
		if p.Line < 2 || p.Column < 1 {
			t.Errorf("%q is at %d:%d", p.Message, p.Line, p.Column)
		}
	}
	want := "import.*|assigned var x unused|rule lost is never reached from violations|rule also is never reached from violations"
	if len(got) != 4 || !strings.Contains(got[0], "unused") || strings.Join(got[1:], "|") != strings.TrimPrefix(want, "import.*|") {
		t.Errorf("got %q", got)
	}
	if got := compile(t, module("true")).Lint(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
